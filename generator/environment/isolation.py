"""A directory to import from that holds some of the distributions that are installed here.

It consists of links. What is not linked is absent, for `import` and for `importlib.metadata` alike,
as it will be on a machine where only these distributions are installed.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

from .gpu import stand_in
from .installed import Environment, Installed
from .pins import walk

GENERATOR = "scaffold-generator"
_PACKAGE = "__init__.py"
_SHARED = (b"extend_path", b"declare_namespace")  # what makes an __init__.py a namespace's
_MOST_NAMESPACE_BYTES = 2000


# How libraries say that another one is missing: only what comes first is an error of Python's.
_MODULE = re.compile(r"No module named '([\w.]+)'")
_WORDS = re.compile(
    r"install (?:-\S+ )*[`'\"]?([\w.-]+)"
    r"|[Mm]issing (?:optional )?dependency [`'\"]?([\w.-]+)"
    r"|requires? (?:the )?[`'\"]?([\w.-]+)"
    r"|([\w-]+)[`'\"]?(?:[<>=]=?[\w.]+)? (?:is|are) (?:required|needed|not installed|missing)"
    r"|([\w-]+)[`'\"]? (?:to be|must be|should be) installed"
    r"|[Ii]mport(?:ing)? [`'\"]?([\w.-]+)[`'\"]? failed"
)


def required(requirements: str, environment: Environment) -> list[Installed] | None:
    """What a requirements.txt installs, with all dependencies, as far as that is installed here.

    A package's build for the CPU stands for the one for CUDA where that is not here. None if it has
    a line that is neither a requirement nor an option that changes nothing.
    """
    roots: dict[NormalizedName, set[str]] = {}
    for text in requirements.splitlines():
        line = text.partition(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("-"):
            if line.startswith(("-r", "--requirement", "-e", "--editable")):
                return None
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            return None
        name = canonicalize_name(stand_in(requirement.name, environment))
        roots.setdefault(name, set()).update(requirement.extras)
    names = dict.fromkeys([*roots, *walk(environment, roots)])
    return [environment[name] for name in names if name in environment]


def lacking(
    message: str, environment: Environment, present: Iterable[Installed] | None
) -> Installed | None:
    """The distribution that an error says is missing, if it is installed here.

    Args:
        message: the error of a process that had only some distributions.
        environment: what is installed here.
        present: those that the process had; None if it had all.
    """
    if present is None:
        return None
    known = {canonicalize_name(each.name) for each in present} | {"pip", GENERATOR}
    words = [word for found in _WORDS.findall(message) for word in found if word]
    for name in (*_MODULE.findall(message), *words):
        name = name.strip(".-")
        found = environment.owner(name)
        if found is None and name in environment:
            found = environment[name]
        if found is not None and canonicalize_name(found.name) not in known:
            return found
    return None


def link(distributions: Iterable[Installed], directory: Path) -> None:
    """Link the files of distributions into a directory.

    A package is linked as a whole. A directory that distributions share, as namespace packages are,
    is made, and what is in it is linked.

    Args:
        distributions: those to link.
        directory: an empty one.
    """
    for installed in distributions:
        _link(Path(installed.location), installed.files, directory)


def _link(source: Path, files: Iterable[str], target: Path) -> None:
    inside: dict[str, list[str]] = {}
    for file in files:
        name, _, rest = file.partition("/")
        inside.setdefault(name, []).append(rest)
    for name, rests in inside.items():
        if name in ("", "..", "."):  # a script, or data outside of the directory
            continue
        if any(rests) and _is_shared(source / name):
            (target / name).mkdir(exist_ok=True)
            _link(source / name, filter(None, rests), target / name)
        else:
            _link_one(source / name, target / name)


def _is_shared(directory: Path) -> bool:
    """Whether other distributions may have files in a directory."""
    try:
        with (directory / _PACKAGE).open("rb") as file:
            start = file.read(_MOST_NAMESPACE_BYTES)
    except OSError:
        return True
    return any(sign in start for sign in _SHARED) and len(start) < _MOST_NAMESPACE_BYTES


def _link_one(source: Path, target: Path) -> None:
    with suppress(FileExistsError):
        target.symlink_to(source)
    if source.suffix == ".py":
        compiled = Path(cache_from_source(str(target)))
        compiled.parent.mkdir(exist_ok=True)
        with suppress(FileExistsError):
            compiled.symlink_to(cache_from_source(str(source)))
