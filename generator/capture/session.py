"""Writes definitions of the running session as the source of a module.

A session is a script's `__main__` or a notebook. The source is in the script, or in `linecache`,
where IPython puts every cell.
"""

import __future__

import ast
import builtins
import linecache
import os
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..errors import ModelError
from .changes.staleness import fingerprint, fingerprints, functions
from .definition import Definition, line_numbers, ordered, read, statements
from .imports import absolute_name
from .pickle_references import lookup

MAIN = "__main__"
_DOCSTRING = '''"""Code of the model, defined in {origin} and copied when the scaffold was made.

The model's file refers to it as `session_code.NAME`: edit it as you like, but keep the names.
"""'''
_LITERALS = (type(None), bool, int, float, complex, str, bytes, tuple, list, dict, set)


class Session:
    """What `__main__` holds, and its source."""

    def __init__(self) -> None:
        self._namespace = vars(sys.modules[MAIN])
        self._found: dict[str, Definition | None] = {}
        self._parsed: dict[str, ast.Module] = {}

    def closure(self, name: str) -> dict[str, Definition] | None:
        """A definition and all that it uses in turn; None if source cannot rebuild all of that.

        Raises:
            ModelError: the source changed since it ran, or a class has no source.
        """
        found: dict[str, Definition] = {}
        queue = [name]
        while queue:
            name = queue.pop()
            definition = self._definition(name)
            if definition is None:
                return None
            found[name] = definition
            for used in definition.uses - found.keys():
                if self._is_defined_here(used):
                    queue.append(used)
                elif self._lines(used, definition.chains) is None:
                    return None
        return found

    def text(self, definitions: Iterable[Definition]) -> str:
        """The source of a module that holds the definitions and what they use."""
        parts = list(ordered(definitions))
        lines = {
            line
            for each in parts
            for used in each.uses
            for line in self._lines(used, each.chains) or ()
        }
        constants = sorted(line for line in lines if not line.startswith(("import ", "from ")))
        imports = list(_merged(lines.difference(constants)))
        if self._flags:
            imports.insert(0, "from __future__ import annotations")
        docstring = _DOCSTRING.format(origin=self._origin)
        head = filter(None, [docstring, "\n".join(imports), "\n".join(constants)])
        return "\n\n\n".join(["\n\n".join(head), *(each.text for each in parts)]) + "\n"

    def value(self, name: str) -> Any:
        """What the session holds under a name."""
        return self._namespace[name]

    @property
    def _origin(self) -> str:
        file: str | None = self._namespace.get("__file__")
        if not file:
            return "a notebook or an interactive session"
        return os.path.basename(file)

    @property
    def _flags(self) -> int:
        """The compiler flags of `from __future__ import annotations`, if the session has it."""
        is_used = self._namespace.get("annotations") is __future__.annotations
        if is_used:
            return __future__.annotations.compiler_flag
        return 0

    def _definition(self, name: str) -> Definition | None:
        if name not in self._found:
            self._found[name] = self._find(name, self._namespace.get(name))
        return self._found[name]

    def _find(self, name: str, value: Any) -> Definition | None:
        codes = [each.__code__ for each in functions(value) if each.__module__ == MAIN]
        nodes = self._candidates(name, value, codes)
        if not nodes:
            return None
        lines = {code.co_firstlineno for code in codes}
        around = [(file, node) for file, node in nodes if lines & set(line_numbers(node))]
        file, node = (around or nodes)[-1]
        self._check_unchanged(name, file, codes)
        file_number = [*self._files, file].index(file)
        return read(name, node, linecache.getlines(file), file_number)

    def _candidates(
        self, name: str, value: Any, codes: list[CodeType]
    ) -> list[tuple[str, ast.stmt]]:
        """The statements that may have defined a name, each with its file."""
        is_class = isinstance(value, type)
        own_files = list(dict.fromkeys(filter(_has_source, (code.co_filename for code in codes))))
        files = own_files
        if is_class and not own_files:
            files = self._files
        nodes = [(file, node) for file in files for node in statements(self._parse(file), name)]
        if not nodes and own_files:
            raise _changed(name, ", ".join(own_files))
        if not nodes and is_class and not codes and self._files:
            raise ModelError(
                f"{MAIN}.{name} is a dynamically made class, which has no source: define it with a "
                "class statement or in a module of its own, and create the model again"
            )
        return nodes

    def _check_unchanged(self, name: str, file: str, codes: list[CodeType]) -> None:
        compiled = fingerprints(
            compile(self._parse(file), file, "exec", flags=self._flags, dont_inherit=True)
        )
        own = (fingerprint(code) for code in codes if code.co_filename == file)
        if not compiled.issuperset(own):
            raise _changed(name, file)

    @cached_property
    def _files(self) -> list[str]:
        """The files of the session: the script, and the cells in the order in which they ran."""
        script = self._namespace.get("__file__")
        entries = linecache.cache.items()
        cells = [file for file, entry in entries if len(entry) > 1 and entry[1] is None]
        return [file for file in (script, *cells) if file and _has_source(file)]

    def _parse(self, file: str) -> ast.Module:
        if file not in self._parsed:
            linecache.checkcache(file)
            try:
                self._parsed[file] = ast.parse("".join(linecache.getlines(file)))
            except SyntaxError:  # a cell that did not run, or a script that changed
                self._parsed[file] = ast.Module([], [])
        return self._parsed[file]

    def _is_defined_here(self, name: str) -> bool:
        value = self._namespace.get(name)
        is_wrapper = "__wrapped__" in getattr(value, "__dict__", ())
        is_definition = is_wrapper or isinstance(value, (type, FunctionType))
        return is_definition and getattr(value, "__module__", None) == MAIN

    def _lines(self, name: str, chains: Iterable[str]) -> list[str] | None:
        """The lines of source that rebuild a global name; None if there are none."""
        if name not in self._namespace or name.startswith("__") or self._is_defined_here(name):
            return []
        value = self._namespace[name]
        if value is getattr(builtins, name, None):
            return []
        if isinstance(value, ModuleType):
            statement = _with_alias(f"import {value.__name__}", value.__name__, name)
            return [statement, *_submodules(name, value, chains)]
        for module, attribute in (*self._imported(name), *_origins(value)):
            if lookup(module, attribute) is value:
                return [_with_alias(f"from {module} import {attribute}", attribute, name)]
        if _is_literal(value):
            return [f"{name} = {value!r}"]
        return None

    def _imported(self, name: str) -> Iterator[tuple[str, str]]:
        """The modules that the session's own statements import a name from."""
        for file in self._files:
            for node in ast.walk(self._parse(file)):
                if isinstance(node, ast.ImportFrom):
                    module = absolute_name(node, self._namespace.get("__package__") or "")
                    yield from (
                        (module, each.name)
                        for each in node.names
                        if (each.asname or each.name) == name
                    )


def _changed(name: str, file: str) -> ModelError:
    return ModelError(
        f"{file} changed since it defined {MAIN}.{name}: run it again, and create the model again"
    )


def _has_source(file: str) -> bool:
    return bool(linecache.getlines(file))


def _with_alias(statement: str, imported: str, name: str) -> str:
    """An import statement that gives what it imports another name, if that is needed."""
    if imported == name:
        return statement
    return f"{statement} as {name}"


def _submodules(name: str, module: ModuleType, chains: Iterable[str]) -> Iterator[str]:
    """Imports of the submodules that chains read: importing the package may not load them."""
    for chain in chains:
        root, *attributes = chain.split(".")
        if root == name:
            yield from _imports_along(module, attributes)


def _imports_along(module: ModuleType, attributes: Iterable[str]) -> Iterator[str]:
    for attribute in attributes:
        inner = getattr(module, attribute, None)
        if not isinstance(inner, ModuleType) or inner.__name__ != f"{module.__name__}.{attribute}":
            return
        module = inner
        yield f"import {module.__name__}"


def _merged(imports: Iterable[str]) -> Iterator[str]:
    """Import statements in order, with one `from module import ...` for each module."""
    merged: dict[str, list[str]] = {}
    for line in sorted(imports):
        start, _, name = line.partition(" import ")
        merged.setdefault(start, []).append(name)
    for start, names in merged.items():
        if start.startswith("from "):
            yield f"{start} import {', '.join(names)}"
        else:
            yield start


def _origins(value: Any) -> Iterator[tuple[str, str]]:
    """Where a definition may be imported from: public modules first, then the one it names."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if isinstance(module, str) and isinstance(name, str) and name.isidentifier():
        parents = module.split(".")
        paths = [parents[:depth] for depth in range(len(parents), 0, -1)]
        yield from (
            (".".join(path), name)
            for path in paths
            if not any(part.startswith("_") for part in path)
        )
        yield module, name


def _is_literal(value: Any) -> bool:
    try:
        return type(value) in _LITERALS and bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
