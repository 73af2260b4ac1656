"""The owner's own code: what a model refers to and no installed distribution holds goes into `src/model/`.

- A module from a file is copied with its package path, and so are the local modules that it imports in turn.
- A definition of the session (a script's `__main__`, a notebook) is written as source into `session_code.py`.
- What has no source that could stand alone, such as a lambda, is pickled by value into `pickled_code.pickle`.

Nothing is imported for it, and whatever cannot travel is an error here.
"""

import ast
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FunctionType
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from ..environment.installed import Environment
from ..environment.pins import parse
from ..errors import ModelError
from ..importing import is_source, locate
from .captured import PICKLE, PICKLED_CODE, RESERVED, SESSION_CODE, Captured
from .imports import Import, imports
from .pickle_references import lookup
from .session import MAIN, Definition, Session
from .staleness import change

_LOADER = Path(__file__).with_name(f"{PICKLED_CODE}.py")
_STANDARD = tuple(os.path.join(sysconfig.get_path(kind), "") for kind in ("stdlib", "platstdlib"))


def capture(definitions: Iterable[Any], given: Sequence[str] = ()) -> Captured:
    """The code that travels with a model.

    Args:
        definitions: the classes and functions that the model refers to, the owner's and all others.
        given: the owner's requirement lines: what they provide is no code to copy.

    Raises:
        ModelError: something cannot travel; the message names it, and what to do.
    """
    capturing = _Capturing(given)
    for definition in definitions:
        capturing.add(definition)
    return capturing.finish()


class _Capturing:
    """One capture: definitions are added, and draw in what they need."""

    def __init__(self, given: Sequence[str]) -> None:
        self._environment = Environment()
        self._given = _names(given)
        self._session = Session()
        self._captured = Captured()
        self._definitions: dict[str, Definition] = {}
        self._values: dict[str, Any] = {}
        self._local: dict[str, bool] = {}
        self._given_path: dict[str, None] = {}

    def add(self, definition: Any, pickled: bool = False) -> None:
        """Take a definition and what it needs; `pickled` says that code pickled by value refers to it."""
        module = definition.__module__
        name = getattr(definition, "__qualname__", None) or definition.__name__
        if lookup(module, name) is definition:
            self._add_named(definition, module, name, pickled)
        elif isinstance(definition, FunctionType):
            self._add_value(definition)
        elif module == MAIN or self._is_local(module):
            raise _not_by_name(definition)

    def finish(self) -> Captured:
        """All that was taken, ready to be written."""
        captured = self._captured
        for name in self._definitions:
            captured.names += _with_members(self._session.value(name), SESSION_CODE)
        if self._definitions:
            self._write_code(
                f"{SESSION_CODE}.py", self._session.text(self._definitions.values()).encode()
            )
        if self._values:
            self._write_values()
        captured.modules |= {SESSION_CODE, PICKLED_CODE}
        captured.path = [*self._environment.path, *self._given_path] if captured.files else []
        return captured

    def _write_values(self) -> None:
        from . import by_value

        captured = self._captured
        with captured.renamed():
            captured.files[PICKLE] = by_value.dump(self._values)
        captured.files[_LOADER.name] = _LOADER.read_bytes()
        captured.names += [(value, PICKLED_CODE, name) for name, value in self._values.items()]

    def _add_named(self, definition: Any, module: str, name: str, pickled: bool) -> None:
        if module == MAIN:
            closure = self._session.closure(name.partition(".")[0])
            if closure is None:
                self._add_value(definition)
            else:
                self._definitions |= closure
        elif pickled:
            self._add_import(module, PICKLE)
        elif self._is_local(module):
            self._copy(module)

    def _add_value(self, definition: Any) -> None:
        if any(value is definition for value in self._values.values()):
            return
        from . import by_value

        name = re.sub(r"\W+", "_", definition.__qualname__).strip("_")
        self._values[f"{name}_{len(self._values)}" if name in self._values else name] = definition
        definitions, modules = by_value.references(definition)
        for found in definitions:
            self.add(found, pickled=True)
        for module in modules:
            self._add_import(module, PICKLE)

    def _add_import(self, module: str, file: str) -> None:
        if _is_standard(module):
            return
        if self._is_local(module):
            self._copy(module)
        else:
            self._captured.imports.setdefault(module, file)

    def _copy(self, module: str) -> None:
        """Copy the module's file, those of the packages around it, and those of the local modules it imports."""
        if module in self._captured.modules:
            return
        if parent := module.rpartition(".")[0]:
            self._copy(parent)
        spec = locate(module)
        if spec is None or (not spec.has_location and not spec.submodule_search_locations):
            raise ModelError(
                f"module {module} works in the running process only: put what it holds into a file"
            )
        self._captured.modules.add(module)
        if spec.has_location:
            self._check_name(module.partition(".")[0])
            _check_source(spec)
            file = module.replace(".", "/") + (
                "/__init__.py" if spec.submodule_search_locations is not None else ".py"
            )
            self._write_code(file, Path(str(spec.origin)).read_bytes(), spec)

    def _write_code(self, file: str, source: bytes, spec: ModuleSpec | None = None) -> None:
        self._captured.files[file] = source
        for found in imports(_parse(source, spec), (spec.parent or "") if spec else ""):
            self._follow(found, file)

    def _follow(self, found: Import, file: str) -> None:
        if _is_standard(found.module):
            return
        if locate(found.module) is not None:
            self._add_import(found.module, file)
        elif found.required:
            raise ModelError(
                f"{file}: no file is found for {found.module} of '{found.written}', an import that only works in the "
                f"running process, if there: install {found.module}, or put it beside {file} as a file"
            )

    def _is_local(self, module: str) -> bool:
        """Whether the module is of the owner's own files, and of none that a requirement line provides."""
        if module not in self._local:
            self._local[module] = not _is_standard(module) and self._is_owners(module)
        return self._local[module]

    def _is_owners(self, module: str) -> bool:
        top = module.partition(".")[0]
        owner = self._environment.owner(module)
        if {canonicalize_name(top), canonicalize_name(owner.name) if owner else ""} & self._given:
            self._given_path[_root(top)] = None
            return False
        if owner is not None:
            return owner.is_project
        spec = locate(module)
        # a package that somebody installed without a record of it is no code to copy
        return not (spec and "-packages" in os.path.dirname(str(spec.origin)))

    def _check_name(self, top: str) -> None:
        """A module whose name something else takes would be the other one in the scaffold."""
        spec = locate(top)
        installed = PathFinder.find_spec(top, self._environment.path)
        if top in RESERVED:
            taken = "is a name of the scaffold's own"
        elif top in sys.stdlib_module_names:
            taken = "is a module of the standard library"
        elif installed and spec and installed.has_location and installed.origin != spec.origin:
            taken = f"is installed too, at {installed.origin}"
        else:
            return
        raise ModelError(
            f"module {top} ({spec and spec.origin}) cannot be copied: {top} {taken}; rename yours"
        )


def _names(given: Sequence[str]) -> set[NormalizedName]:
    return {canonicalize_name(Requirement(pin.line).name) for pin in parse(given).pins}


def _is_standard(module: str) -> bool:
    if module.partition(".")[0] not in sys.stdlib_module_names:
        return False
    spec = locate(module)
    return spec is None or not spec.has_location or str(spec.origin).startswith(_STANDARD)


def _root(top: str) -> str:
    """The directory to import a module from."""
    spec = locate(top)
    places = [str(spec.origin)] if spec and spec.has_location else []
    places += (spec and spec.submodule_search_locations) or []
    directory = Path(places[0]).parent if places else Path()
    return str(
        directory.parent
        if spec and spec.has_location and spec.submodule_search_locations
        else directory
    )


def _check_source(spec: ModuleSpec) -> None:
    where = f"module {spec.name} ({spec.origin})"
    if not is_source(spec):
        raise ModelError(
            f"{where} is no Python source, and no installed distribution holds it, so it runs on this machine only: "
            f'publish it, and give the line for it, as in requirements=["{spec.name.partition(".")[0]} @ git+https://..."]'
        )
    try:
        source = Path(str(spec.origin)).read_bytes()
        changed = change(sys.modules[spec.name], source) if spec.name in sys.modules else None
    except (OSError, SyntaxError) as error:
        raise ModelError(
            f"{where} changed since it was imported, and cannot be read now: {error}"
        ) from error
    if changed:
        raise ModelError(
            f"{where} changed since it was imported: {changed} in the running process is not what the file says; "
            "restart the session, and make the model with the file as it is"
        )


def _parse(source: bytes, spec: ModuleSpec | None) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise ModelError(
            f"{spec.origin if spec else SESSION_CODE} is not Python: {error}"
        ) from error


def _with_members(definition: Any, module: str) -> list[tuple[Any, str, str]]:
    """The definition and the classes and functions in it, which pickles name too."""
    members = vars(definition).values() if isinstance(definition, type) else ()
    inner = [getattr(member, "__func__", member) for member in members]
    prefix = f"{definition.__qualname__}."
    ours = [
        item for item in inner if isinstance(item, (type, FunctionType)) and item.__module__ == MAIN
    ]
    found = [(definition, module, definition.__qualname__)]
    for item in ours:
        if item.__qualname__.startswith(prefix):
            found += _with_members(item, module)
    return found


def _not_by_name(definition: Any) -> ModelError:
    name = f"{definition.__module__}.{definition.__qualname__}"
    if lookup(definition.__module__, definition.__qualname__) is not None:
        return ModelError(
            f"two different classes are called {name}: the model's own, and the one that its module holds now; "
            "make the model anew with the latter"
        )
    return ModelError(
        f"{name} is a dynamically made class, which its module does not hold under that name: "
        "define it with a class statement at the top level of a module, and make the model anew"
    )
