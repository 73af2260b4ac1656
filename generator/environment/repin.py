"""The pins of another model in a requirements.txt that its owner has edited."""

from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..errors import RequirementError
from .pins import GIVEN, Requirements


def given_lines(generated: str) -> list[str]:
    """Those of the generated lines that the owner had given for them, as they were given."""
    lines = []
    for text in generated.splitlines():
        line, _, reason = text.partition("  # ")
        by, _, comment = reason.partition(": ")
        if by == GIVEN:
            lines.append(f"{line}  # {comment}" if comment else line)
    return lines


def repinned(current: str, generated: str, new: Requirements) -> str:
    """The owner's requirements.txt with new pins in it.

    A line that stands as it was generated gives way to the new pin, or goes where the new model does not need it. The
    owner's own lines stay, and what the owner has removed stays away.

    Args:
        current: the file's text.
        generated: the lines of it that the generator wrote, of whatever model it was made with.
        new: what the new model needs.

    Raises:
        RequirementError: a line of the owner's does not admit what the new model was trained with.
    """
    before = {line.strip() for line in generated.splitlines()}
    fresh = _by_name(new.text().splitlines())
    options = new.options
    lines: list[str] = []
    for line in current.splitlines():
        name = _name(line)
        if line.strip() not in before:
            _check_admitted(line, fresh.pop(name, []) if name else [])
            lines.append(line)
        elif name is not None:
            lines += fresh.pop(name, [])
    known = _by_name(before)
    lines += [line for name, added in fresh.items() if name not in known for line in added]
    first = next(
        (number for number, line in enumerate(lines) if not line.startswith("#")), len(lines)
    )
    lines[first:first] = [option for option in options if option not in lines]
    return "".join(f"{line}\n" for line in lines)


def _by_name(lines: Iterable[str]) -> dict[str, list[str]]:
    named: dict[str, list[str]] = {}
    for line in lines:
        if (name := _name(line)) is not None:
            named.setdefault(name, []).append(line)
    return named


def _requirement(line: str) -> Requirement | None:
    """The requirement on a line; None where it is a comment, an option, or nothing that PEP 508 knows."""
    text = line.strip() if line.strip().startswith("#") else line.partition(" #")[0].strip()
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _name(line: str) -> str | None:
    requirement = _requirement(line)
    return None if requirement is None else canonicalize_name(requirement.name)


def _check_admitted(line: str, pins: Iterable[str]) -> None:
    """Find that the owner's line and the pins of the new model can both be had."""
    own = _requirement(line)
    for pin in map(_requirement, pins):
        if own is None or own.url or pin is None or pin.url:
            continue
        versions = [specifier.version for specifier in pin.specifier]
        if not all(own.specifier.contains(version, prereleases=True) for version in versions):
            raise RequirementError(
                f"requirements.txt: {line.strip()!r} is yours, the new model was trained with {pin}: change the line"
            )
