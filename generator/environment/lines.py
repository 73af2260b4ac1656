"""The lines of a requirements.txt: pins with their reasons, and the lines that the user gives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement

from ..arguments import argument
from ..errors import SettingError
from .wheels import Wheel

GIVEN = "given by you"

# The options of a requirements.txt that a scaffold keeps. pip uses all of them, uv some.
_VALUE_OPTIONS = (
    "--extra-index-url",
    "--index-url",
    "-i",
    "--find-links",
    "-f",
    "--no-binary",
    "--only-binary",
)
_FLAGS = ("--pre", "--prefer-binary", "--no-index")
_VALUE_OPTION = re.compile(r"(-[-a-z]+)(?:\s+|=)(\S+)")
_COMMENT = re.compile(r"(?:^|\s+)#\s*(.*)$")


@dataclass(frozen=True)
class Pin:
    """A requirement line (PEP 508), and why it is there."""

    line: str
    reason: str


@dataclass
class Requirements:
    """The content of a requirements.txt.

    Attributes:
        pins: one for each distribution.
        options: the option lines, each with a comment.
        versions: maps the canonical name of each distribution that is not only a dependency to
            its full version here.
        wheels: those that travel with the scaffold.
    """

    pins: list[Pin] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    wheels: list[Wheel] = field(default_factory=list)

    def text(self) -> str:
        """The file's text, which pip and uv both read."""
        lines = [*self.options, *(f"{pin.line}  # {pin.reason}" for pin in self.pins)]
        return "".join(f"{line}\n" for line in lines)


def parse(lines: Sequence[str]) -> Requirements:
    """The user's lines: requirements (PEP 508), options, comments and blank lines.

    Raises:
        SettingError: a line is something else.
    """
    if isinstance(lines, str):
        raise SettingError(
            f"{argument('requirements')}: {lines!r} is one string: give a list with a string for"
            " each line"
        )
    given = Requirements()
    for text in lines:
        if not isinstance(text, str):
            raise SettingError(
                f"{argument('requirements')}: {text!r} is not a string: give a list with a string"
                " for each line"
            )
        line, reason = _split_comment(text.strip())
        if line.startswith("-"):
            given.options.append(f"{_option(line)}  # {reason}")
        elif line:
            _check(line)
            given.pins.append(Pin(line, reason))
    return given


def _split_comment(line: str) -> tuple[str, str]:
    """The line without its comment, and the reason for its pin."""
    comment = _COMMENT.search(line)
    if not comment:
        return line, GIVEN
    return line[: comment.start()], ": ".join(filter(None, [GIVEN, comment[1]]))


def _option(line: str) -> str:
    """The option as it is written into the file: pip allows several forms."""
    if line in _FLAGS:
        return line
    match = _VALUE_OPTION.fullmatch(line)
    if match and match[1] in _VALUE_OPTIONS:
        return f"{match[1]} {match[2]}"
    known = ", ".join([*(f"{option} VALUE" for option in _VALUE_OPTIONS), *_FLAGS])
    raise SettingError(
        f"{argument('requirements')}: {line!r} is not an option that a scaffold can keep: give one"
        f" of {known}"
    )


def _check(line: str) -> None:
    try:
        Requirement(line)
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(
            f"{argument('requirements')}: {line!r} is not a requirement ({reason}): "
            "give name==version, name @ https://... or name @ git+https://..."
        ) from None
