"""Pins everything that a model needs, in the versions that are installed here."""

import re
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urldefrag

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from .. import layout
from ..arguments import argument
from ..errors import RequirementError
from .gpu import NEEDED_BY, TORCH, Variants
from .installed import Environment, Installed, module_file
from .lines import Pin, Requirements, parse
from .wheels import OPTION, Wheel, wheel_of

_NOTHING: Mapping[str, str] = MappingProxyType({})

# PEP 610 forbids installers to record passwords. This removes one that was recorded anyway.
_CREDENTIALS = re.compile(r"^(https?://)(?!\$\{)[^/@]+@")

_TORCH_INDEX = "https://download.pytorch.org/whl/"
_TORCH_VARIANT = re.compile(r"cpu|xpu|cu\d+|rocm\d+(\.\d+)*")


def infer(
    modules: Mapping[str, str],
    environment: Environment,
    *,
    imported: Mapping[str, str] = _NOTHING,
    always: Mapping[str, str] = _NOTHING,
    given: Sequence[str] = (),
    gpu: bool = False,
) -> Requirements:
    """The pins for everything that a model needs, and for its dependencies, as installed here.

    Args:
        modules: maps each module that the model refers to, to a name in it as an example.
        environment: what is installed here.
        imported: maps each module that captured code imports, to the file of that code.
        always: maps each distribution that is needed in any case, to the reason.
        given: the user's lines. Each replaces the pin of the same distribution.
        gpu: whether the model runs on an NVIDIA GPU: then the builds for CUDA are pinned.

    Raises:
        RequirementError: something cannot be installed on another machine.
        SettingError: a line in `given` is not a requirement or an option.
    """
    lines = parse(given)
    own = _by_name(lines.pins)
    direct = _direct(environment, modules, imported, always, own)
    variants = Variants(environment, gpu)
    direct |= variants.beside(direct)
    needed = _needed(environment, direct, own, variants)
    replaced = {name for name in (*direct, *needed) if variants.names(name) & own.keys()}
    pinned = [environment[name] for name in (*direct, *needed) if name not in replaced]
    as_here = [installed for installed in pinned if not variants.is_other(installed)]
    wheels = _wheels(environment, as_here)
    _refuse_local(installed for installed in as_here if _key(installed) not in wheels)
    reasons = {name: why for name, why in {**needed, **direct}.items() if name not in replaced}
    pins = {
        name: _pin(environment[name], why, wheels.get(name), variants)
        for name, why in reasons.items()
    }
    wanted = [pin for name, pin in pins.items() if name in direct]
    wanted += [Pin(line, reason) for line, reason in variants.missing(pins, own).items()]
    others = [pin for name, pin in pins.items() if name not in direct]
    names = [name for name in sorted({*direct, *own}) if name in environment]
    return Requirements(
        pins=_sorted([*lines.pins, *wanted]) + _sorted(others),
        options=[
            *lines.options,
            *_wheels_option(wheels, lines.options),
            *_torch_options(as_here, lines.options),
        ],
        versions={name: environment[name].version for name in names},
        wheels=list(wheels.values()),
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
    """The distributions that are needed directly, each with the reason."""
    reasons: dict[NormalizedName, str] = {}
    for module, use, reason in _uses(modules, imported):
        if owner := _owner(environment, module, use, own):
            reasons.setdefault(owner, reason)
    for name, reason in always.items():
        key = canonicalize_name(name)
        reasons[key] = "; ".join(filter(None, [reasons.get(key), reason]))
    return reasons


def _uses(
    modules: Mapping[str, str], imported: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Each module, what uses it, and the reason for its pin."""
    for module, name in modules.items():
        yield module, f"{module}.{name}", f"the model: {module}.{name}"
    for module, file in imported.items():
        yield module, f"{module}, imported by {file}", f"imported by {file}"


def _owner(
    environment: Environment, module: str, use: str, own: Collection[NormalizedName]
) -> NormalizedName | None:
    """The distribution to pin for a module; None for the standard library."""
    if module.partition(".")[0] in sys.stdlib_module_names:
        return None
    owner = environment.owner(module)
    if owner is not None:
        return canonicalize_name(owner.name)
    return _given_owner(module, use, own)


def _given_owner(module: str, use: str, own: Collection[NormalizedName]) -> NormalizedName:
    """The distribution of the user's line that has the same name as the module."""
    top = module.partition(".")[0]
    name = canonicalize_name(top)
    if name in own:
        return name
    where = f"{use} ({module_file(module) or 'defined in this session'})"
    fix = "move it to a module of an installed package"
    if top != "__main__":
        line = f"{name} @ git+https://..."
        fix += f", or give a line for it, as in {argument('requirements', [line])}"
    raise RequirementError(f"{where} belongs to no installed distribution: {fix}")


def _needed(
    environment: Environment,
    direct: Collection[NormalizedName],
    own: Mapping[NormalizedName, Sequence[Requirement]],
    variants: Variants,
) -> dict[NormalizedName, str]:
    """The installed distributions that are dependencies of the others, each with the reason."""
    roots = {
        name: {extra for line in own.get(name, ()) for extra in line.extras}
        for name in (*direct, *own)
    }
    replaced = {
        name for name in own if name in environment and not _admits(own[name], environment[name])
    }
    requesters = walk(environment, roots, replaced, variants.extras)
    return {
        name: f"{NEEDED_BY}{', '.join(sorted(names, key=str.lower))}"
        for name, names in requesters.items()
        if name not in roots
    }


def _admits(lines: Iterable[Requirement], installed: Installed) -> bool:
    return any(line.specifier.contains(installed.version, prereleases=True) for line in lines)


def walk(
    environment: Environment,
    roots: Mapping[NormalizedName, set[str]],
    replaced: Collection[NormalizedName] = (),
    more: Callable[[Installed], Collection[str]] = lambda installed: (),
) -> dict[NormalizedName, set[str]]:
    """All dependencies of the roots with their extras, each with the names of what requires it.

    A distribution that the user replaces with another version may have other dependencies: the
    walk ends there. `more` tells the extras that a distribution has in any case.
    """
    requesters: dict[NormalizedName, set[str]] = {}
    followed: dict[NormalizedName, set[str]] = {}
    queue = deque(roots.items())
    while queue:
        name, extras = queue.popleft()
        is_followed = name in followed and extras <= followed[name]
        if is_followed or name in replaced or name not in environment:
            continue
        followed[name] = followed.get(name, set()) | extras | {*more(environment[name])}
        for requirement in environment[name].dependencies(followed[name]):
            key = canonicalize_name(requirement.name)
            if requirement.name in environment:
                queue.append((key, requirement.extras))
                if key != name:
                    requesters.setdefault(key, set()).add(environment[name].name)
    return requesters


def _key(installed: Installed) -> NormalizedName:
    return canonicalize_name(installed.name)


def _wheels(environment: Environment, pinned: Iterable[Installed]) -> dict[NormalizedName, Wheel]:
    """The wheels of those that were installed from a wheel or a project on this machine."""
    found = {each: wheel_of(each, environment.builds_wheels) for each in pinned}
    return {_key(each): wheel for each, wheel in found.items() if wheel is not None}


def _wheels_option(wheels: Mapping[NormalizedName, Wheel], given: Iterable[str]) -> list[str]:
    """The option by which an installer finds the wheels, if the user does not give it."""
    if not wheels or any(line.partition("  #")[0] == OPTION for line in given):
        return []
    return [f"{OPTION}  # holds what was installed from a file: {', '.join(sorted(wheels))}"]


def _refuse_local(pinned: Iterable[Installed]) -> None:
    local = {installed.name: installed.local for installed in pinned if installed.local}
    if local:
        names = ", ".join(f"{name} (from {path})" for name, path in local.items())
        line = f"{next(iter(local))} @ git+https://..."
        raise RequirementError(
            f"{names} cannot be installed on another machine: install it from a wheel, which then"
            f" travels with the scaffold, or pass {argument('wheels', True)}, which builds one of a"
            f" project, or give a line for it, as in {argument('requirements', [line])}"
        )


def _pin(installed: Installed, reason: str, wheel: Wheel | None, variants: Variants) -> Pin:
    name = variants.label(installed)
    public, _, label = installed.version.partition("+")
    if wheel is not None:
        place = f"{layout.WHEELS}/{wheel.name}"
        return Pin(f"{name}=={wheel.version}", f"{reason}; from {place}")
    if variants.is_other(installed):
        return Pin(f"{name}=={public}", f"{reason}; {variants.note(installed)}")
    if installed.origin:
        return Pin(f"{name} @ {_direct_reference(installed.origin)}", reason)
    if label and not _torch_index(installed):
        reason += f"; its local label +{label} is dropped: no public index is known to serve it"
    return Pin(f"{name}=={public}", reason)


def _torch_options(pinned: Iterable[Installed], given: Iterable[str]) -> list[str]:
    """The indexes that serve the variants of torch and its family, if the user names none."""
    served: dict[str, list[str]] = {}
    for installed in pinned:
        index = _torch_index(installed)
        if index and index not in " ".join(given).split():
            served.setdefault(index, []).append(installed.name)
    return [
        f"--extra-index-url {index}  # serves the {index.rpartition('/')[2]} variant of "
        + ", ".join(names)
        for index, names in served.items()
    ]


def _torch_index(installed: Installed) -> str | None:
    public, _, label = installed.version.partition("+")
    from_index = canonicalize_name(installed.name) in TORCH and not installed.origin
    if not from_index or not _TORCH_VARIANT.fullmatch(label):
        return None
    if ".dev" in public:
        return f"{_TORCH_INDEX}nightly/{label}"
    return f"{_TORCH_INDEX}{label}"


def _direct_reference(origin: Mapping[str, Any]) -> str:
    """The URL of a requirement (PEP 508) from a record of PEP 610."""
    url = _CREDENTIALS.sub(r"\1", urldefrag(origin["url"]).url)
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    parts = [_hash(origin.get("archive_info", {}))]
    if "subdirectory" in origin:
        parts.append(f"subdirectory={origin['subdirectory']}")
    fragment = "&".join(filter(None, parts))
    return "#".join(filter(None, [url, fragment]))


def _hash(archive: Mapping[str, Any]) -> str:
    """ALGORITHM=DIGEST of an archive, "" if unknown. Old records have `hash`, new ones `hashes`."""
    hashes: Mapping[str, str] = archive.get("hashes") or {}
    for algorithm in ("sha256", *hashes):
        if algorithm in hashes:
            return f"{algorithm}={hashes[algorithm]}"
    return str(archive.get("hash", ""))
