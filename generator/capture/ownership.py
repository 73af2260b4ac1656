"""Modules: where each comes from, and which are the user's own. Only their code is copied."""

import os
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from ..arguments import argument
from ..environment.installed import Environment
from ..environment.lines import parse
from ..errors import ModelError
from ..importing import is_source, locate
from .captured import RESERVED
from .changes.staleness import changed_name

_STANDARD = tuple(os.path.join(sysconfig.get_path(kind), "") for kind in ("stdlib", "platstdlib"))


class Module:
    """A module, located without importing it.

    Args:
        name: its absolute name.
        is_users: whether a module that is not of the standard library is one of the user's files.

    Attributes:
        name: its absolute name.
        spec: where it comes from; None if that is unknown.
    """

    def __init__(self, name: str, is_users: "Callable[[Module], bool]") -> None:
        self.name = name
        self.spec = locate(name)
        self._is_users = is_users

    @property
    def top(self) -> str:
        """The name of its top-level package."""
        return self.name.partition(".")[0]

    @cached_property
    def is_standard(self) -> bool:
        """Whether it is of the standard library."""
        if self.top not in sys.stdlib_module_names:
            return False
        spec = self.spec
        return spec is None or not spec.has_location or str(spec.origin).startswith(_STANDARD)

    @cached_property
    def is_local(self) -> bool:
        """Whether it is one of the user's own files."""
        return not self.is_standard and self._is_users(self)


class Ownership:
    """Distinguishes the user's own modules from those of installed distributions.

    Args:
        environment: what is installed.
        given: the user's requirement lines. What they provide counts as installed.
    """

    def __init__(self, environment: Environment, given: Sequence[str]) -> None:
        self._environment = environment
        self._given = _names(given)
        self._given_places: dict[Path, None] = {}
        self._modules: dict[str, Module] = {}

    @property
    def path(self) -> list[str]:
        """Directories for `sys.path`, from which none of the user's own code is importable."""
        return [*self._environment.path, *(str(place.parent) for place in self._given_places)]

    @property
    def given(self) -> list[Path]:
        """The files and packages that the user's lines provide, or that a wheel is built of."""
        return list(self._given_places)

    def module(self, name: str) -> Module:
        """The module of a name. Each is located once."""
        if name not in self._modules:
            self._modules[name] = Module(name, self._is_users)
        return self._modules[name]

    def source(self, module: Module) -> bytes | None:
        """The source to copy; None for a namespace package, which has none.

        Raises:
            ModelError: the copy would not work in the scaffold: the module has no file, its name is
                taken, it is not Python source, or its file changed since it was imported.
        """
        spec = module.spec
        if spec is None or (not spec.has_location and not spec.submodule_search_locations):
            raise ModelError(
                f"module {module.name} exists in the running process only: put its code into a file"
            )
        if not spec.has_location:
            return None
        self._check_name(module.top)
        _check_source(spec)
        return Path(str(spec.origin)).read_bytes()

    def _is_users(self, module: Module) -> bool:
        owner = self._environment.owner(module.name)
        names = {canonicalize_name(module.top)}
        if owner is not None:
            names.add(canonicalize_name(owner.name))
        if names & self._given or self._environment.is_built(owner):
            self._given_places[_place(self.module(module.top).spec)] = None
            return False
        if owner is not None:
            return owner.is_project
        # site-packages may hold packages without a record of their files: they are installed too
        return not (module.spec and "-packages" in os.path.dirname(str(module.spec.origin)))

    def _check_name(self, top: str) -> None:
        if taken := self._taken(top):
            spec = self.module(top).spec
            raise ModelError(
                f"module {top} ({spec and spec.origin}) cannot be copied: {top} {taken}; "
                "rename your module"
            )

    def _taken(self, top: str) -> str | None:
        """Why the name would mean another module in the scaffold; None if it would not."""
        if top in RESERVED:
            return "is a name that the scaffold itself uses"
        if top in sys.stdlib_module_names:
            return "is a module of the standard library"
        spec = self.module(top).spec
        installed = PathFinder.find_spec(top, self._environment.path)
        if installed and spec and installed.has_location and installed.origin != spec.origin:
            return f"is also installed, at {installed.origin}"
        return None


def _names(given: Sequence[str]) -> set[NormalizedName]:
    return {canonicalize_name(Requirement(pin.line).name) for pin in parse(given).pins}


def _place(spec: ModuleSpec | None) -> Path:
    """The file or the directory of a top-level module."""
    if spec is None:
        return Path("unknown")
    return Path(next(iter(spec.submodule_search_locations or ()), str(spec.origin)))


def _check_source(spec: ModuleSpec) -> None:
    where = f"module {spec.name} ({spec.origin})"
    if not is_source(spec):
        line = f"{spec.name.partition('.')[0]} @ git+https://..."
        raise ModelError(
            f"{where} is not Python source and belongs to no installed distribution, so it runs on "
            "this machine only: publish it, and give a line for it, as in "
            f"{argument('requirements', [line])}"
        )
    try:
        changed = _changed(spec)
    except (OSError, SyntaxError) as error:
        raise ModelError(
            f"{where} changed since it was imported, and cannot be read now: {error}; "
            "restore the file, or restart the session and create the model again"
        ) from error
    if changed:
        raise ModelError(
            f"{where} changed since it was imported: {changed} in the running process differs from "
            "the file; restart the session, and create the model again with the file as it is"
        )


def _changed(spec: ModuleSpec) -> str | None:
    """The name of something that differs between a module in memory and its file."""
    source = Path(str(spec.origin)).read_bytes()
    module = sys.modules.get(spec.name)
    if module is None:
        return None
    return changed_name(module, source)
