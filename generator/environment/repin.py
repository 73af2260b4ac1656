"""Puts the pins of another model into a requirements.txt that its owner may have edited."""

from collections.abc import Iterable, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..errors import RequirementError
from .lines import GIVEN, Requirements, parse


def given_lines(generated: str) -> list[str]:
    """The owner's lines in a generated requirements.txt, as the owner gave them."""
    lines = []
    for text in generated.splitlines():
        line, _, reason = text.partition("  # ")
        by, _, comment = reason.partition(": ")
        if by == GIVEN:
            lines.append("  # ".join(filter(None, [line, comment])))
    return lines


def with_new(before: Iterable[str], new: Sequence[str]) -> list[str]:
    """The owner's lines, where new lines replace those of the same package, or the same option.

    Raises:
        SettingError: a new line is neither a requirement nor an option.
    """
    replaced = {_subject(line) for line in parse(new).text().splitlines()}
    return [*(line for line in before if _subject(line) not in replaced), *new]


def _subject(line: str) -> str:
    """What a line is about: the canonical name of its package, else the option itself."""
    return _name(line) or line.partition("  #")[0]


def repinned(current: str, generated: str, new: Requirements) -> str:
    """The owner's requirements.txt with new pins.

    A new pin replaces the generated line of its distribution. A generated line that the new model
    does not need is removed. The owner's own lines stay, and lines that the owner removed are not
    added again.

    Args:
        current: the file's text.
        generated: all lines that the generator wrote into it, for this or an earlier model.
        new: what the new model needs.

    Raises:
        RequirementError: one of the owner's lines excludes the version that the new model needs.
    """
    before = {line.strip() for line in generated.splitlines()}
    fresh = _by_name(new.text().splitlines())
    lines: list[str] = []
    for line in current.splitlines():
        pins = fresh.pop(_name(line), [])
        if line.strip() in before:
            lines += pins
        else:
            _check_admitted(line, pins)
            lines.append(line)
    known = _by_name(before)
    lines += [line for name, added in fresh.items() if name not in known for line in added]
    return "".join(f"{line}\n" for line in _with_options(lines, new.options))


def _with_options(lines: list[str], options: Iterable[str]) -> list[str]:
    """The lines with those of the options that are missing, after the comments at the top."""
    numbers = (number for number, line in enumerate(lines) if not line.startswith("#"))
    first = next(numbers, len(lines))
    missing = [option for option in options if option not in lines]
    return [*lines[:first], *missing, *lines[first:]]


def _by_name(lines: Iterable[str]) -> dict[str, list[str]]:
    """The lines with a requirement, by its name."""
    named: dict[str, list[str]] = {}
    for line in lines:
        if name := _name(line):
            named.setdefault(name, []).append(line)
    return named


def _requirement(line: str) -> Requirement | None:
    """The requirement on a line (PEP 508); None for a comment, an option or anything else."""
    try:
        return Requirement(line.partition(" #")[0].strip())
    except InvalidRequirement:
        return None


def _name(line: str) -> str:
    """The canonical name in the requirement on a line; "" if there is none."""
    requirement = _requirement(line)
    if requirement is None:
        return ""
    return canonicalize_name(requirement.name)


def _check_admitted(line: str, pins: Iterable[str]) -> None:
    """Refuse an owner's line that excludes the versions of the new model's pins."""
    own = _requirement(line)
    for pin in map(_requirement, pins):
        if own is None or own.url or pin is None or pin.url:
            continue
        versions = [specifier.version for specifier in pin.specifier]
        if not all(own.specifier.contains(version, prereleases=True) for version in versions):
            raise RequirementError(
                f"requirements.txt: {line.strip()!r} is yours, the new model was trained with "
                f"{pin}: change the line to allow that"
            )
