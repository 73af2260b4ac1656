"""Definitions of the running session (a script's `__main__`, a notebook) as the readable source of a module.

Source is where Python's tracebacks find it: in the script, or in `linecache`, to which IPython gives every cell.
"""

import __future__

import ast
import builtins
import linecache
import os
import symtable
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType, ModuleType
from typing import Any

from ..errors import ModelError
from .imports import absolute
from .pickle_references import lookup
from .staleness import fingerprint, fingerprints, functions

MAIN = "__main__"
_DOCSTRING = '''"""Code of the model that was defined in {origin}, written out when the scaffold was made.

The model's file refers to what is here as `session_code.NAME`. Edit it as you like, but keep the names.
"""'''
_NESTING = (
    ast.If,
    ast.Try,
    ast.With,
    ast.For,
    ast.While,
    ast.ExceptHandler,
)  # what may stand around a definition


@dataclass(frozen=True)
class Definition:
    """A `def` or `class` at the top level.

    Attributes:
        name: what it defines.
        text: its source.
        place: where it stands among all others: the number of its file, and the line.
        uses: the global names in it.
        first: those of them that it uses while it is being defined: bases, decorators, defaults.
        chains: what it reads of global names, as `np.linalg.norm`.
    """

    name: str
    text: str
    place: tuple[int, int]
    uses: frozenset[str]
    first: frozenset[str]
    chains: frozenset[str]


class Session:
    """What `__main__` holds, and the source of it."""

    def __init__(self) -> None:
        self._namespace = vars(sys.modules[MAIN])
        self._found: dict[str, Definition | None] = {}
        self._parsed: dict[str, ast.Module] = {}

    def closure(self, name: str) -> dict[str, Definition] | None:
        """The definition of a name and all that it uses in turn; None where source cannot give all of it.

        Raises:
            ModelError: the source is not what was run, or a class has none.
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
        """The module that holds the definitions, with what they need."""
        ordered = list(_ordered(definitions))
        lines = {
            line
            for each in ordered
            for used in each.uses
            for line in self._lines(used, each.chains) or ()
        }
        constants = sorted(line for line in lines if not line.startswith(("import ", "from ")))
        imports = list(_merged(lines.difference(constants)))
        if self._flags:
            imports.insert(0, "from __future__ import annotations")
        head = "\n\n".join("\n".join(part) for part in (imports, constants) if part)
        parts = [
            _DOCSTRING.format(origin=self._origin) + (f"\n\n{head}" if head else ""),
            *(d.text for d in ordered),
        ]
        return "\n\n\n".join(parts) + "\n"

    def value(self, name: str) -> Any:
        """What the session holds under a name."""
        return self._namespace[name]

    @property
    def _origin(self) -> str:
        file = self._namespace.get("__file__")
        return os.path.basename(file) if file else "a notebook or an interactive session"

    @property
    def _flags(self) -> int:
        """How the session compiles: `from __future__ import annotations` leaves its name behind."""
        future = __future__.annotations
        return future.compiler_flag if self._namespace.get("annotations") is future else 0

    def _definition(self, name: str) -> Definition | None:
        if name not in self._found:
            self._found[name] = self._find(name, self._namespace.get(name))
        return self._found[name]

    def _find(self, name: str, value: Any) -> Definition | None:
        ours = [function for function in functions(value) if function.__module__ == MAIN]
        own_files = dict.fromkeys(
            f.__code__.co_filename for f in ours if linecache.getlines(f.__code__.co_filename)
        )
        is_class = isinstance(value, type)
        nodes = [
            (file, node)
            for file in own_files or self._files * is_class
            for node in self._nodes(file, name)
        ]
        if not nodes and own_files:
            raise _changed(name, *own_files)
        if not nodes and is_class and not ours and self._files:
            raise ModelError(
                f"{MAIN}.{name} is a dynamically made class, of which there is no source: "
                f"define it with a class statement, or in a module of its own, and make the model anew"
            )
        if not nodes:
            return None
        lines = {function.__code__.co_firstlineno for function in ours}
        around = [
            (file, node) for file, node in nodes if lines & set(range(_start(node), _end(node)))
        ]
        file, node = (around or nodes)[-1]
        self._check_unchanged(name, file, ours)
        return self._read(name, file, node)

    def _check_unchanged(self, name: str, file: str, ours: list[FunctionType]) -> None:
        compiled = fingerprints(
            compile(self._parse(file), file, "exec", flags=self._flags, dont_inherit=True)
        )
        codes = [function.__code__ for function in ours if function.__code__.co_filename == file]
        if not compiled.issuperset(map(fingerprint, codes)):
            raise _changed(name, file)

    def _read(self, name: str, file: str, node: ast.stmt) -> Definition:
        lines = linecache.getlines(file)[_start(node) - 1 : _end(node) - 1]
        # a string over several lines must not be dedented with the rest
        text = ast.unparse(node) if node.col_offset else "".join(lines).rstrip()
        table = symtable.symtable(text, file, "exec")
        place = (self._files.index(file) if file in self._files else len(self._files), _start(node))
        uses = frozenset(_globals(table, through_functions=True)) - {name}
        first = frozenset(_globals(table, through_functions=False)) - {name}
        return Definition(name, text, place, uses, first, frozenset(_chains(node)))

    @cached_property
    def _files(self) -> list[str]:
        """Where definitions may stand: the script, and the cells in the order in which they ran."""
        script = self._namespace.get("__file__")
        cells = [
            file for file, entry in linecache.cache.items() if len(entry) > 1 and entry[1] is None
        ]
        return [file for file in (script, *cells) if file and linecache.getlines(file)]

    def _nodes(self, file: str, name: str) -> list[ast.stmt]:
        return [
            node for node in _top_level(self._parse(file)) if getattr(node, "name", None) == name
        ]

    def _parse(self, file: str) -> ast.Module:
        if file not in self._parsed:
            linecache.checkcache(file)
            try:
                self._parsed[file] = ast.parse("".join(linecache.getlines(file)))
            except SyntaxError:  # a cell that never ran, or a script that changed
                self._parsed[file] = ast.Module([], [])
        return self._parsed[file]

    def _is_defined_here(self, name: str) -> bool:
        value = self._namespace.get(name)
        is_definition = isinstance(value, (type, FunctionType)) or "__wrapped__" in getattr(
            value, "__dict__", ()
        )
        return is_definition and getattr(value, "__module__", None) == MAIN

    def _lines(self, name: str, chains: Iterable[str]) -> list[str] | None:
        """The lines that give a global name what it holds here; None where no line can."""
        if name not in self._namespace or name.startswith("__") or self._is_defined_here(name):
            return []
        value = self._namespace[name]
        if value is getattr(builtins, name, None):
            return []
        if isinstance(value, ModuleType):
            alias = "" if value.__name__ == name else f" as {name}"
            return [f"import {value.__name__}{alias}", *_submodules(name, value, chains)]
        for module, attribute in (*self._imported(name), *_origins(value)):
            if lookup(module, attribute) is value:
                return [
                    f"from {module} import {attribute}"
                    + (f" as {name}" if attribute != name else "")
                ]
        return [f"{name} = {value!r}"] if _is_literal(value) else None

    def _imported(self, name: str) -> Iterator[tuple[str, str]]:
        """What the session's own imports say the name is."""
        for file in self._files:
            for node in ast.walk(self._parse(file)):
                if isinstance(node, ast.ImportFrom):
                    module = absolute(node, self._namespace.get("__package__") or "")
                    yield from (
                        (module, each.name)
                        for each in node.names
                        if (each.asname or each.name) == name
                    )


def _changed(name: str, file: str) -> ModelError:
    return ModelError(
        f"{file} changed since {MAIN}.{name} was defined by it: run it again, and make the model anew"
    )


def _top_level(node: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield child
        elif isinstance(child, _NESTING):
            yield from _top_level(child)


def _start(node: Any) -> int:
    lines: list[int] = [node.lineno, *(decorator.lineno for decorator in node.decorator_list)]
    return min(lines)


def _end(node: Any) -> int:
    """The line after the last."""
    last: int = node.end_lineno
    return last + 1


def _globals(table: symtable.SymbolTable, through_functions: bool) -> Iterator[str]:
    """The names that a definition takes from its module."""
    is_module = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (is_module or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        if through_functions or child.get_type() != "function":
            yield from _globals(child, through_functions)


def _chains(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        text = ast.unparse(part) if isinstance(part, ast.Attribute) else ""
        if text.replace(".", "").isidentifier():
            yield text


def _submodules(name: str, module: ModuleType, chains: Iterable[str]) -> Iterator[str]:
    """Imports of the submodules that are read as attributes: importing the package may not load them."""
    for chain in chains:
        root, *attributes = chain.split(".")
        found: Any = module if root == name else None
        for attribute in attributes:
            inner = getattr(found, attribute, None)
            if (
                not isinstance(inner, ModuleType)
                or inner.__name__ != f"{found.__name__}.{attribute}"
            ):
                break
            found = inner
            yield f"import {found.__name__}"


def _merged(imports: Iterable[str]) -> Iterator[str]:
    """Sorted, with one line for all that comes from one module."""
    merged: dict[str, list[str]] = {}
    for line in sorted(imports):
        start, _, name = line.partition(" import ")
        merged.setdefault(start, []).extend([name] if name else [])
    for start, names in merged.items():
        yield f"{start} import {', '.join(names)}" if names else start


def _origins(value: Any) -> Iterator[tuple[str, str]]:
    """The modules that a definition may be imported from: public ones first, then the one that it says it is of."""
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


_LITERALS = (type(None), bool, int, float, complex, str, bytes, tuple, list, dict, set)


def _ordered(definitions: Iterable[Definition]) -> Iterator[Definition]:
    """As they were defined, but each after those that it uses while it is being defined."""
    waiting = {
        definition.name: definition
        for definition in sorted(definitions, key=lambda each: each.place)
    }
    while waiting:
        ready = (each for each in waiting.values() if not each.first & waiting.keys())
        chosen = next(ready, next(iter(waiting.values())))
        del waiting[chosen.name]
        yield chosen
