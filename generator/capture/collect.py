"""Collects the user's own code that a model refers to, for `src/model/`.

- A module in a file is copied with its package path, and so are the local modules that it imports.
- A definition of the session (a script's `__main__`, a notebook) is written as source into
  `session_code.py`.
- What source alone cannot rebuild, such as a lambda, is pickled by value into
  `pickled_code.pickle`.
- A copied package brings its files that are not code, and the owner may name more: `data_files.py`.

Nothing is imported for this. Code that cannot be captured is an error here.
"""

import ast
import contextlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType
from typing import Any

from ..environment.installed import Environment
from ..errors import ModelError
from .captured import CHANGED_CODE, CHANGES, OWN_CODE, PICKLE, PICKLED_CODE, SESSION_CODE, Captured
from .captured import named as renamed
from .changes.find import Change
from .changes.patched import check_unpatched
from .data_files import import_root, named_files, package_files, real
from .definition import Definition
from .imports import Import, imports
from .ownership import Module, Ownership
from .pickle_references import Named, lookup
from .session import MAIN, Session

_LOADER = Path(__file__).with_name(f"{PICKLED_CODE}.py")
_ABSENT = Path(__file__).with_name("absent_generator.py")
_GENERATOR = __name__.partition(".")[0]
_CHANGER = Path(__file__).with_name("changes") / f"{CHANGED_CODE}.py"
_CHANGED = f"""

# The session had changed what is defined above: this puts it back.
import {CHANGED_CODE}  # noqa: E402
"""


def capture(
    definitions: Iterable[Named],
    environment: Environment,
    given: Sequence[str] = (),
    files: Sequence[Path] = (),
    changed: Sequence[Change] = (),
) -> Captured:
    """The user's own code that a model needs.

    Args:
        definitions: what the model refers to by name, the user's and all others.
        environment: what is installed here.
        given: the user's requirement lines. What they provide is not copied.
        files: further files and directories of the user's.
        changed: what is no longer as its source says.

    Raises:
        ModelError: something cannot be captured. The message names it and how to fix it.
    """
    capturing = _Capturing(Ownership(environment, given))
    for definition in definitions:
        capturing.add(definition)
    for change in changed:
        capturing.add_change(change)
    return capturing.finish(files)


class _Capturing:
    """One capture. Each definition that is added brings what it needs."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._session = Session()
        self._captured = Captured()
        self._definitions: dict[str, Definition] = {}
        self._values: dict[str, Any] = {}
        self._copied: dict[str, str] = {}
        self._changes: list[Change] = []

    def add(self, named: Named, pickle: str = "") -> None:
        """Add what something refers to by name, and what that needs.

        Args:
            named: a class, a function, or a value that pickle writes by name.
            pickle: the pickle of code that refers to it, if one does.
        """
        if named.is_importable:
            self._add_named(named, pickle)
        elif isinstance(named.value, FunctionType):
            self._add_value(named.value)
        elif named.module == MAIN or self._ownership.module(named.module).is_local:
            raise _not_importable(named)

    def finish(self, files: Sequence[Path]) -> Captured:
        """The capture with everything that was added, ready to be written.

        Args:
            files: further files and directories of the user's.
        """
        captured = self._captured
        for name in self._definitions:
            captured.names += _with_members(self._session.value(name), SESSION_CODE)
        if self._definitions:
            source = self._session.text(self._definitions.values()).encode()
            self._write_code(f"{SESSION_CODE}.py", source)
            captured.sources[SESSION_CODE] = f"{SESSION_CODE}.py"
        if self._values:
            self._write_values()
        if self._changes:
            self._write_changes()
        captured.modules |= {*OWN_CODE}
        self._add_files(files)
        if captured.files or captured.data:
            captured.path = self._ownership.path
        captured.given = self._ownership.given
        return captured

    def _add_files(self, files: Sequence[Path]) -> None:
        """Add the files that the user names, and those of the copied packages."""
        captured = self._captured
        captured.roots = self._roots()
        for name, file in named_files(files, captured.roots).items():
            if name.endswith(".py"):
                self._add_named_code(name, file)
            else:
                captured.data[name] = file
        captured.data |= package_files(self._copied, files)

    def _add_named_code(self, name: str, file: Path) -> None:
        """Add a module that the user names, and what it imports.

        Args:
            name: its path in `src/model/`.
            file: its file.
        """
        path = name.removesuffix(".py").removesuffix("/__init__")
        module = self._ownership.module(path.replace("/", "."))
        if module.spec is not None and real(Path(str(module.spec.origin))) == file:
            self._copy(module)
        elif name not in self._captured.files:
            package = name.rpartition("/")[0].replace("/", ".")
            self._write_code(name, file.read_bytes(), package, str(file))

    def _roots(self) -> list[Path]:
        """The directories that the user's own modules are imported from."""
        roots = [import_root(name, file) for name, file in self._copied.items()]
        if self._definitions or self._values:
            script = getattr(sys.modules[MAIN], "__file__", None) or "a notebook's cell"
            roots.append(real(Path(script)).parent)
        return list(dict.fromkeys(roots))

    def _write_values(self) -> None:
        from . import by_value

        captured = self._captured
        with captured.renamed():
            captured.files[PICKLE] = by_value.dump(self._values)
        captured.files[_LOADER.name] = _LOADER.read_bytes()
        captured.names += [(value, PICKLED_CODE, name) for name, value in self._values.items()]

    def _write_changes(self) -> None:
        from . import by_value

        captured = self._captured
        with captured.renamed(), _as_values(self._changes):
            written = [(*change.place, change.values) for change in self._changes]
            captured.files[CHANGES] = by_value.dump(written)
        captured.files[_CHANGER.name] = _CHANGER.read_bytes()
        captured.changed = [str(change) for change in self._changes]
        for module in {change.module for change in self._changes}:
            captured.files[captured.sources[module]] += _CHANGED.encode()

    def _add_named(self, named: Named, pickle: str) -> None:
        """Add what its module holds under its name."""
        if named.module == MAIN:
            self._add_of_session(named)
        elif pickle:
            self._add_import(self._ownership.module(named.module), pickle)
        elif named.module.partition(".")[0] == _GENERATOR:
            raise ModelError(f"the model holds {named}, the generator's own: leave it out of it")
        elif (found := self._ownership.module(named.module)).is_local:
            self._copy(found)
        elif not found.is_standard:
            check_unpatched(named, self._is_users)

    def _is_users(self, module: str) -> bool:
        return module == MAIN or (module in sys.modules and self._ownership.module(module).is_local)

    def _add_of_session(self, named: Named) -> None:
        closure = self._session.closure(named.name.partition(".")[0])
        if closure is not None:
            self._definitions |= closure
        elif named.is_definition:
            self._add_value(named.value)
        else:
            raise ModelError(
                f"{named} is pickled by name, and no source rebuilds it: define it in a module of "
                "your own, and create the model again"
            )

    def _add_value(self, definition: Any) -> None:
        """Add a definition to pickle by value, and what it refers to."""
        if any(value is definition for value in self._values.values()):
            return
        name = re.sub(r"\W+", "_", definition.__qualname__).strip("_")
        if name in self._values:
            name = f"{name}_{len(self._values)}"
        self._values[name] = definition
        self._add_used(definition, PICKLE)

    def _add_used(self, value: Any, pickle: str) -> None:
        """Add what a value refers to that is pickled by value."""
        from . import by_value

        found, modules = by_value.references(value)
        for named in found:
            self.add(named, pickle)
        for name in modules:
            module = self._ownership.module(name)
            if module.spec is not None or name in sys.modules:
                self._add_import(module, pickle)

    def add_change(self, change: Change) -> None:
        """Add what the session has changed in captured code, and what that needs.

        An object that cannot be pickled is left as its source says, with a warning.
        """
        try:
            with _as_values([change]):
                for value in change.values:
                    self._add_used(value, CHANGES)
        except ModelError as error:
            if change.is_exact:
                raise
            warnings.warn(f"{change} is served as its source says: {error}", stacklevel=6)
        else:
            self._changes.append(change)

    def _add_import(self, module: Module, file: str) -> None:
        """Copy a module that a file imports, or note it as a package to pin."""
        if module.top == _GENERATOR:
            self._stand_in(module.name)
        elif module.is_local:
            self._copy(module)
        elif not module.is_standard:
            self._captured.imports.setdefault(module.name, file)

    def _stand_in(self, module: str) -> None:
        """Write what stands for a module of the generator: no scaffold holds the generator."""
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            file = f"{'/'.join(parts[:depth])}/__init__.py"
            self._captured.files[file] = _ABSENT.read_bytes()
        self._captured.modules.add(module)

    def _copy(self, module: Module) -> None:
        """Copy a module's file, its parent packages, and the local modules that it imports."""
        if module.name in self._captured.modules:
            return
        if parent := module.name.rpartition(".")[0]:
            self._copy(self._ownership.module(parent))
        source, spec = self._ownership.source(module), module.spec
        self._captured.modules.add(module.name)
        if source is not None and spec is not None:
            file = _copied_path(module.name, spec)
            self._copied[module.name] = str(spec.origin)
            self._captured.sources[module.name] = file
            self._write_code(file, source, spec.parent or "", spec.origin)

    def _write_code(
        self, file: str, source: bytes, package: str = "", origin: str | None = SESSION_CODE
    ) -> None:
        self._captured.files[file] = source
        for found in imports(_parse(source, origin), package):
            self._follow(found, file)

    def _follow(self, found: Import, file: str) -> None:
        module = self._ownership.module(found.module)
        if module.spec is not None:
            self._add_import(module, file)
        elif found.required and not module.is_standard:
            raise ModelError(
                f"{file}: no file is found for {found.module} of '{found.written}', an import that "
                f"can work in the running process only: install {found.module}, or put a file for "
                f"it beside {file}"
            )


@contextlib.contextmanager
def _as_values(changes: Iterable[Change]) -> Iterator[None]:
    """Inside this context, the functions that changes put in are pickled by value."""
    with contextlib.ExitStack() as stack:
        for function in filter(None, map(_own_function, changes)):
            stack.enter_context(renamed(function, MAIN, function.__qualname__))
        yield


def _own_function(change: Change) -> FunctionType | None:
    """The function that a change puts into the place that it has the name of.

    By its name, a pickle would refer to what the source has there.
    """
    for value in change.values:
        function = getattr(value, "__func__", value)
        if isinstance(function, FunctionType):
            own = ".".join(filter(None, [change.qualname, change.name]))
            if (function.__module__, function.__qualname__) == (change.module, own):
                return function
    return None


def _copied_path(module: str, spec: ModuleSpec) -> str:
    """The path of a module's copy in `src/model/`."""
    path = module.replace(".", "/")
    if spec.submodule_search_locations is None:
        return f"{path}.py"
    return f"{path}/__init__.py"


def _parse(source: bytes, origin: str | None) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise ModelError(
            f"{origin} is not valid Python: {error}; correct it, and create the model again"
        ) from error


def _with_members(definition: Any, module: str) -> list[tuple[Any, str, str]]:
    """A definition, and the classes and functions in it: pickles refer to them by name too."""
    found = [(definition, module, definition.__qualname__)]
    for member in _members(definition):
        found += _with_members(member, module)
    return found


def _members(definition: Any) -> Iterator[Any]:
    """The classes and functions that a class of the session defines in its body."""
    if not isinstance(definition, type):
        return
    for value in vars(definition).values():
        member = getattr(value, "__func__", value)
        is_definition = isinstance(member, (type, FunctionType)) and member.__module__ == MAIN
        if is_definition and member.__qualname__.startswith(f"{definition.__qualname__}."):
            yield member


def _not_importable(named: Named) -> ModelError:
    if lookup(named.module, named.name) is not None:
        return ModelError(
            f"two different classes are called {named}: the model's own, and the one that its "
            "module holds now; create the model again, with the latter"
        )
    return ModelError(
        f"{named} is a dynamically made class, which its module does not hold under that name: "
        "define it with a class statement at the top level of a module, and create the model again"
    )
