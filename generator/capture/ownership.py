"""Tells which modules are the user's own. Their code is copied, and no other module's."""

import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from ..environment.installed import Environment
from ..environment.lines import parse
from ..errors import ModelError
from ..importing import is_source, locate
from .captured import RESERVED
from .staleness import changed_name

_STANDARD = tuple(os.path.join(sysconfig.get_path(kind), "") for kind in ("stdlib", "platstdlib"))


class Ownership:
    """Tells the user's own modules from those of installed distributions.

    Args:
        environment: what is installed.
        given: the user's requirement lines. What they provide counts as installed.
    """

    def __init__(self, environment: Environment, given: Sequence[str]) -> None:
        self._environment = environment
        self._given = _names(given)
        self._given_path: dict[str, None] = {}
        self._local: dict[str, bool] = {}

    @property
    def path(self) -> list[str]:
        """Directories for `sys.path`, from which none of the user's own code is importable."""
        return [*self._environment.path, *self._given_path]

    def is_local(self, module: str) -> bool:
        """Whether the module is one of the user's own files."""
        if module not in self._local:
            self._local[module] = not is_standard(module) and self._is_users(module)
        return self._local[module]

    def _is_users(self, module: str) -> bool:
        top = module.partition(".")[0]
        owner = self._environment.owner(module)
        names = {canonicalize_name(top)}
        if owner is not None:
            names.add(canonicalize_name(owner.name))
        if names & self._given:
            self._given_path[_import_directory(top)] = None
            return False
        if owner is not None:
            return owner.is_project
        spec = locate(module)
        # site-packages may hold packages without a record of their files: they are installed too
        return not (spec and "-packages" in os.path.dirname(str(spec.origin)))

    def check_copyable(self, module: str, spec: ModuleSpec) -> None:
        """Refuse a module whose copy would not do in the scaffold what the module does here.

        Raises:
            ModelError: its name is taken, it is no Python source, or its file changed.
        """
        self._check_name(module.partition(".")[0])
        _check_source(spec)

    def _check_name(self, top: str) -> None:
        if taken := self._taken(top):
            spec = locate(top)
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
        spec, installed = locate(top), PathFinder.find_spec(top, self._environment.path)
        if installed and spec and installed.has_location and installed.origin != spec.origin:
            return f"is also installed, at {installed.origin}"
        return None


def is_standard(module: str) -> bool:
    """Whether the module is of the standard library."""
    if module.partition(".")[0] not in sys.stdlib_module_names:
        return False
    spec = locate(module)
    return spec is None or not spec.has_location or str(spec.origin).startswith(_STANDARD)


def _names(given: Sequence[str]) -> set[NormalizedName]:
    return {canonicalize_name(Requirement(pin.line).name) for pin in parse(given).pins}


def _import_directory(top: str) -> str:
    """The directory that a top-level module is imported from."""
    spec = locate(top)
    if spec is None:
        return "."
    place = next(iter(spec.submodule_search_locations or ()), str(spec.origin))
    return str(Path(place).parent)


def _check_source(spec: ModuleSpec) -> None:
    where = f"module {spec.name} ({spec.origin})"
    if not is_source(spec):
        raise ModelError(
            f"{where} is not Python source and belongs to no installed distribution, so it runs on "
            "this machine only: publish it, and give a line for it, as in "
            f'requirements=["{spec.name.partition(".")[0]} @ git+https://..."]'
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
