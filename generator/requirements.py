"""The running environment as a requirements.txt: a pin for all that a model needs, with the reason for it.

Everything is read from the metadata of what is installed (`importlib.metadata`):

- name, version and dependencies: the core metadata specification
  (https://packaging.python.org/en/latest/specifications/core-metadata/);
- where a distribution came from, if not from an index: PEP 610's `direct_url.json`
  (https://packaging.python.org/en/latest/specifications/direct-url/);
- the variant of a build: the local label of its version, which is the part after `+` (PEP 440).
"""

import json
import os
import re
import sys
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    distributions,
    packages_distributions,
)
from types import MappingProxyType
from typing import Any
from urllib.parse import urldefrag, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from generator.errors import RequirementError, SettingError
from generator.modules import locate

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

# A scaffold runs in a Linux container, wherever it is made.
_CONTAINER = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}

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
        raise SettingError(f"requirements: {lines!r} is one string: give a list with a string for each line")
    given = Requirements()
    for text in lines:
        if not isinstance(text, str):
            raise SettingError(f"requirements: {text!r} is no string: give a list with a string for each line")
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
    raise SettingError(f"requirements: {line!r} is no option that a scaffold can keep: give one of {known}")


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
    wanted = [*lines.pins, *(_pin(environment[name], direct[name]) for name in direct if name not in own)]
    return Requirements(
        pins=_sorted(wanted) + _sorted(_pin(environment[name], needed[name]) for name in needed),
        options=[*lines.options, *_torch_options(pinned, lines.options)],
        versions={name: environment[name].version for name in sorted({*direct, *own}) if name in environment},
    )


def _by_name(pins: Iterable[Pin]) -> dict[NormalizedName, list[Requirement]]:
    named: dict[NormalizedName, list[Requirement]] = {}
    for requirement in (Requirement(pin.line) for pin in pins):
        named.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return named


def _sorted(pins: Iterable[Pin]) -> list[Pin]:
    return sorted(pins, key=lambda pin: pin.line.lower())


class Installed:
    """An installed distribution. What its metadata says is read when it is asked for, once."""

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution

    @cached_property
    def name(self) -> str:
        return self._distribution.metadata["Name"]

    @cached_property
    def version(self) -> str:
        return self._distribution.version

    @cached_property
    def location(self) -> str:
        return os.path.realpath(str(self._distribution.locate_file("")))

    @cached_property
    def origin(self) -> dict[str, Any]:
        """PEP 610's record of what was asked for, or nothing if it came from an index."""
        origin: dict[str, Any] = json.loads(self._distribution.read_text("direct_url.json") or "{}")
        from_conda = (self._distribution.read_text("INSTALLER") or "").strip() == "conda"
        # a package from conda holds the path on the machine that built it
        return {} if from_conda and _is_file(origin) else origin

    @cached_property
    def local(self) -> str | None:
        """The project or archive on this machine that it was installed from, if that is so."""
        if _is_file(self.origin):
            return _path(self.origin["url"])
        return self.location if self.in_project else None

    @property
    def is_project(self) -> bool:
        """Whether it was installed from a project's directory on this machine, not from an archive."""
        return self.local is not None and "archive_info" not in self.origin

    @cached_property
    def in_project(self) -> bool:
        """Whether the metadata lies in the project itself: setup.py develop, before PEP 610."""
        return bool(self._distribution.read_text("PKG-INFO")) and not self.location.endswith("-packages")

    @cached_property
    def requires(self) -> list[Requirement]:
        """Its dependencies; a line that PEP 508 forbids is one that no installer honours either."""
        requirements = []
        for line in self._distribution.requires or ():
            with suppress(InvalidRequirement):
                requirements.append(Requirement(line))
        return requirements

    def dependencies(self, extras: Collection[str]) -> Iterator[Requirement]:
        """What it requires in the container with these extras."""
        environments = [{**_CONTAINER, "extra": extra} for extra in ("", *extras)]
        for requirement in self.requires:
            if not requirement.marker or any(map(requirement.marker.evaluate, environments)):
                yield requirement

    def lists(self, file: str) -> bool:
        """Whether the record of what was installed names the file."""
        if not _is_inside(file, self.location):
            return False
        path = os.path.relpath(file, self.location).replace(os.sep, "/")
        return f"\n{path}," in f"\n{self._record}"

    @cached_property
    def _record(self) -> str:
        return self._distribution.read_text("RECORD") or ""


class Environment:
    """What is installed for the running interpreter."""

    def __init__(self) -> None:
        self._found: dict[NormalizedName, Installed | None] = {}

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def __getitem__(self, name: str) -> Installed:
        installed = self._find(name)
        if installed is None:
            raise RequirementError(
                f"{name} is not installed, and the scaffold needs it: install it, "
                f'or give a line for it, as in requirements=["{name}==1.0"]'
            )
        return installed

    def _find(self, name: str) -> Installed | None:
        key = canonicalize_name(name)
        if key not in self._found:
            try:
                self._found[key] = Installed(distribution(name))
            except PackageNotFoundError:
                self._found[key] = None
        return self._found[key]

    def owner(self, module: str) -> Installed | None:
        """The distribution that the module was installed with."""
        file = _file(module)
        if not file:
            return self._only_provider(module)
        for installed in self._all:
            if installed.lists(file):
                return installed
        provider = self._only_provider(module)
        if provider and _is_inside(file, provider.location):
            return provider  # a system's package manager may leave no record
        projects = [found for found in self._all if found.local and _is_inside(file, found.local)]
        return max(projects, key=lambda project: len(project.local or ""), default=None)

    @cached_property
    def path(self) -> list[str]:
        """The directories of `sys.path` that distributions were installed into, which no project of this machine is."""
        installed = {found.location for found in self._all if not found.in_project}
        return [directory for directory in sys.path if os.path.realpath(directory) in installed]

    def _only_provider(self, module: str) -> Installed | None:
        """The distribution that the top-level name is of, if it is of one only."""
        names = {name for name in self._providers.get(module.partition(".")[0], ()) if name}
        return self[names.pop()] if len(names) == 1 else None

    @cached_property
    def _providers(self) -> Mapping[str, Sequence[str]]:
        # the records come first: this takes 0.1 s and more, and on Python 3.10 knows declared names only
        return packages_distributions()

    @cached_property
    def _all(self) -> list[Installed]:
        return [Installed(found) for found in distributions()]


def _file(module: str) -> str | None:
    """The file of the module, or of the innermost package around it that has one."""
    file = _own_file(module)
    if file:
        # links among the directories only: an installer may link each file into its cache
        return os.path.join(os.path.realpath(os.path.dirname(file)), os.path.basename(file))
    parent = module.rpartition(".")[0]
    return _file(parent) if parent else None


def _own_file(module: str) -> str | None:
    if module in sys.modules:
        return getattr(sys.modules[module], "__file__", None)
    spec = locate(module)
    return spec.origin if spec and spec.has_location else None


def _is_inside(file: str, directory: str) -> bool:
    return file.startswith(os.path.join(os.path.realpath(directory), ""))


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
    roots = {name: {extra for line in own.get(name, ()) for extra in line.extras} for name in (*direct, *own)}
    replaced = {name for name in own if name in environment and not _admits(own[name], environment[name])}
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
        if name in replaced or name not in environment or (name in followed and extras <= followed[name]):
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


def _is_file(origin: Mapping[str, Any]) -> bool:
    return urlsplit(str(origin.get("url"))).scheme == "file"


def _path(url: str) -> str:
    from urllib.request import url2pathname  # 20 ms, and rarely needed

    return url2pathname(urlsplit(url).path)


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
