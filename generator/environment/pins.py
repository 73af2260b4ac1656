"""The running environment as a requirements.txt: a pin for all that a model needs, with the reason for it."""

import re
import sys
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urldefrag

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from ..errors import RequirementError, SettingError
from .installed import Environment, Installed, _file

_NOTHING: Mapping[str, str] = MappingProxyType({})
GIVEN = "given by you"

# Options of a requirements.txt, with a value and without one: pip honours them, uv honours or skips them.
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
_OPTION = re.compile(r"(-[-a-z]+)(?:(?:\s+|=)(\S+))?")
_COMMENT = re.compile(r"(?:^|\s+)#\s*(.*)$")


# PEP 610 forbids what follows to be recorded; should an installer slip, no password is to travel.
_CREDENTIALS = re.compile(r"^(https?://)(?!\$\{)[^/@]+@")

_TORCH = frozenset({"torch", "torchvision", "torchaudio"})
_TORCH_INDEX = "https://download.pytorch.org/whl/"
_TORCH_VARIANT = re.compile(r"cpu|xpu|cu\d+|rocm\d+(\.\d+)*")


@dataclass(frozen=True)
class Pin:
    """A requirement line (PEP 508) and why it is there."""

    line: str
    reason: str


@dataclass
class Requirements:
    """What a requirements.txt holds.

    `options` are its option lines with their comments. `versions` maps the canonical name of every
    installed distribution that is wanted for itself, not for another's sake, to its full version here.
    """

    pins: list[Pin] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The content of the requirements.txt, which pip and uv both read."""
        lines = [*self.options, *(f"{pin.line}  # {pin.reason}" for pin in self.pins)]
        return "".join(f"{line}\n" for line in lines)


def parse(lines: Sequence[str]) -> Requirements:
    """The user's lines: requirements (PEP 508), options, comments and blank lines; else a SettingError."""
    if isinstance(lines, str):
        raise SettingError(
            f"requirements: {lines!r} is one string: give a list with a string for each line"
        )
    given = Requirements()
    for text in lines:
        if not isinstance(text, str):
            raise SettingError(
                f"requirements: {text!r} is no string: give a list with a string for each line"
            )
        line, reason = _split_comment(text.strip())
        if line.startswith("-"):
            given.options.append(f"{_option(line)}  # {reason}")
        elif line:
            _check(line)
            given.pins.append(Pin(line, reason))
    return given


def _split_comment(line: str) -> tuple[str, str]:
    comment = _COMMENT.search(line)
    if not comment:
        return line, GIVEN
    return line[: comment.start()], ": ".join(filter(None, [GIVEN, comment[1]]))


def _option(line: str) -> str:
    match = _OPTION.fullmatch(line)
    name, value = match.groups() if match else (line, None)
    if name in (_VALUE_OPTIONS if value else _FLAGS):
        return f"{name} {value}" if value else name
    known = ", ".join([*(f"{option} VALUE" for option in _VALUE_OPTIONS), *_FLAGS])
    raise SettingError(
        f"requirements: {line!r} is no option that a scaffold can keep: give one of {known}"
    )


def _check(line: str) -> None:
    try:
        Requirement(line)
    except InvalidRequirement as error:
        reason = str(error).partition("\n")[0]
        raise SettingError(
            f"requirements: {line!r} is no requirement ({reason}): "
            "give name==version, name @ https://... or name @ git+https://..."
        ) from None


def infer(
    modules: Mapping[str, str],
    *,
    imported: Mapping[str, str] = _NOTHING,
    always: Mapping[str, str] = _NOTHING,
    given: Sequence[str] = (),
) -> Requirements:
    """The pins for what provides `modules`, and for all that it needs in turn, as installed here.

    `modules` maps each importable module that the model refers to, to a name in it as an example;
    `imported` maps each module that copied code imports, to the file of that code;
    `always` maps each distribution that is needed in any case, to the reason; `given` holds the user's
    lines, each of which stands instead of what would be inferred for the same distribution.
    Raises RequirementError for what cannot be installed elsewhere, SettingError for a line in `given`.
    """
    lines, environment = parse(given), Environment()
    own = _by_name(lines.pins)
    direct = _direct(environment, modules, imported, always, own)
    needed = _needed(environment, direct, own)
    pinned = [environment[name] for name in (*direct, *needed) if name not in own]
    _refuse_local(pinned)
    wanted = [
        *lines.pins,
        *(_pin(environment[name], direct[name]) for name in direct if name not in own),
    ]
    return Requirements(
        pins=_sorted(wanted) + _sorted(_pin(environment[name], needed[name]) for name in needed),
        options=[*lines.options, *_torch_options(pinned, lines.options)],
        versions={
            name: environment[name].version
            for name in sorted({*direct, *own})
            if name in environment
        },
    )


def _by_name(pins: Iterable[Pin]) -> dict[NormalizedName, list[Requirement]]:
    named: dict[NormalizedName, list[Requirement]] = {}
    for requirement in (Requirement(pin.line) for pin in pins):
        named.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return named


def _sorted(pins: Iterable[Pin]) -> list[Pin]:
    return sorted(pins, key=lambda pin: pin.line.lower())


def _direct(
    environment: Environment,
    modules: Mapping[str, str],
    imported: Mapping[str, str],
    always: Mapping[str, str],
    own: Collection[NormalizedName],
) -> dict[NormalizedName, str]:
    """The distributions that are needed for themselves, each with the reason."""
    reasons: dict[NormalizedName, str] = {}
    for module, example in modules.items():
        owner = _owner(environment, module, example, own)
        if owner:
            reasons.setdefault(owner, f"the model: {module}.{example}")
    for module, file in imported.items():
        owner = _owner(environment, module, f"(imported by {file})", own)
        if owner:
            reasons.setdefault(owner, f"imported by {file}")
    for name, reason in always.items():
        key = canonicalize_name(name)
        reasons[key] = f"{reasons[key]}; {reason}" if key in reasons else reason
    return reasons


def _owner(
    environment: Environment, module: str, example: str, own: Collection[NormalizedName]
) -> NormalizedName | None:
    """The distribution to pin for the module; none for the standard library."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        return None
    owner = environment.owner(module)
    return canonicalize_name(owner.name) if owner else _owner_outside(module, example, own)


def _owner_outside(module: str, example: str, own: Collection[NormalizedName]) -> NormalizedName:
    """What stands for a module of no installed distribution: the user's line of the same name."""
    top = module.partition(".")[0]
    name = canonicalize_name(top)
    if name in own:
        return name
    where = f"{module}.{example} ({_file(module) or 'defined in this session'})"
    mend = "move it to a module of an installed package"
    if top != "__main__":
        mend += f', or give the requirement that provides it, as in requirements=["{name} @ git+https://..."]'
    raise RequirementError(f"{where} belongs to no installed distribution: {mend}")


def _needed(
    environment: Environment,
    direct: Collection[NormalizedName],
    own: Mapping[NormalizedName, Sequence[Requirement]],
) -> dict[NormalizedName, str]:
    """The installed distributions that the direct ones and the user's need in turn, each with the reason."""
    roots = {
        name: {extra for line in own.get(name, ()) for extra in line.extras}
        for name in (*direct, *own)
    }
    replaced = {
        name for name in own if name in environment and not _admits(own[name], environment[name])
    }
    requesters = _walk(environment, roots, replaced)
    return {
        name: f"needed by {', '.join(sorted(names, key=str.lower))}"
        for name, names in requesters.items()
        if name not in roots
    }


def _admits(lines: Iterable[Requirement], installed: Installed) -> bool:
    return any(line.specifier.contains(installed.version, prereleases=True) for line in lines)


def _walk(
    environment: Environment,
    roots: Mapping[NormalizedName, set[str]],
    replaced: Collection[NormalizedName],
) -> dict[NormalizedName, set[str]]:
    """All that the roots with their extras need in turn, each with the names of what needs it.

    What is replaced by another version is not followed: its dependencies may be others.
    """
    requesters: dict[NormalizedName, set[str]] = {}
    followed: dict[NormalizedName, set[str]] = {}
    queue = deque(roots.items())
    while queue:
        name, extras = queue.popleft()
        if (
            name in replaced
            or name not in environment
            or (name in followed and extras <= followed[name])
        ):
            continue
        followed[name] = followed.get(name, set()) | extras
        for requirement in environment[name].dependencies(followed[name]):
            key = canonicalize_name(requirement.name)
            if requirement.name in environment:
                queue.append((key, requirement.extras))
                if key != name:
                    requesters.setdefault(key, set()).add(environment[name].name)
    return requesters


def _refuse_local(pinned: Iterable[Installed]) -> None:
    local = {installed.name: installed.local for installed in pinned if installed.local}
    if local:
        names = ", ".join(f"{name} (from {path})" for name, path in local.items())
        raise RequirementError(
            f"{names} cannot be installed on another machine: publish it, install it from git, "
            f'or give a line for it, as in requirements=["{next(iter(local))} @ git+https://..."]'
        )


def _pin(installed: Installed, reason: str) -> Pin:
    if installed.origin:
        return Pin(f"{installed.name} @ {_direct_reference(installed.origin)}", reason)
    public, _, label = installed.version.partition("+")
    if label and not _torch_index(installed):
        reason += f"; its local label +{label} is dropped: no public index is known to serve it"
    return Pin(f"{installed.name}=={public}", reason)


def _torch_options(pinned: Iterable[Installed], given: Iterable[str]) -> list[str]:
    """The indexes that serve the variants of torch and its family, unless the user's options name them."""
    served: dict[str, list[str]] = {}
    for installed in pinned:
        index = _torch_index(installed)
        if index and index not in " ".join(given).split():
            served.setdefault(index, []).append(installed.name)
    return [
        f"--extra-index-url {index}  # serves the {index.rpartition('/')[2]} variant of {', '.join(names)}"
        for index, names in served.items()
    ]


def _torch_index(installed: Installed) -> str | None:
    public, _, label = installed.version.partition("+")
    from_index = canonicalize_name(installed.name) in _TORCH and not installed.origin
    if not from_index or not _TORCH_VARIANT.fullmatch(label):
        return None
    return f"{_TORCH_INDEX}{'nightly/' if '.dev' in public else ''}{label}"


def _direct_reference(origin: Mapping[str, Any]) -> str:
    """The URL of a requirement (PEP 508) for what PEP 610 recorded."""
    url = _CREDENTIALS.sub(r"\1", urldefrag(origin["url"]).url)
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    parts = [_hash(origin.get("archive_info", {})), _subdirectory(origin)]
    fragment = "&".join(filter(None, parts))
    return f"{url}#{fragment}" if fragment else url


def _hash(archive: Mapping[str, Any]) -> str:
    """ALGORITHM=DIGEST, if the archive's hash is known: from `hashes`, or from `hash` as it once was."""
    hashes = archive.get("hashes") or {}
    algorithm = "sha256" if "sha256" in hashes else next(iter(hashes), "")
    return f"{algorithm}={hashes[algorithm]}" if hashes else archive.get("hash", "")


def _subdirectory(origin: Mapping[str, Any]) -> str:
    return f"subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
