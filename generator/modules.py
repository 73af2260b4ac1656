"""Modules and what they import, told from their files: nothing is imported for it."""

import ast
import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SOURCE_SUFFIXES, ModuleSpec, SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any

_MISSING_IS_FINE = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_NEVER_RUN = {"TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'"}  # conditions, in a module's own code


def locate(name: str) -> ModuleSpec | None:
    """Where a module was imported from, or would be; None where there is no telling, and where there is none."""
    if name in sys.modules:
        return _recorded(name, sys.modules[name])
    parent = name.rpartition(".")[0]
    package = locate(parent) if parent else None
    path = package.submodule_search_locations if package else None
    if parent and path is None:
        return None
    found = (finder.find_spec(name, path) for finder in sys.meta_path if hasattr(finder, "find_spec"))
    return next(filter(None, found), None)


def _recorded(name: str, module: ModuleType | None) -> ModuleSpec | None:
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    file = getattr(module, "__file__", None)
    return spec or (importlib.util.spec_from_file_location(name, file) if file else None)


def is_source(spec: ModuleSpec) -> bool:
    """Whether the module is a file of Python source."""
    return spec.has_location and str(spec.origin).endswith(tuple(SOURCE_SUFFIXES))


@dataclass(frozen=True)
class Import:
    """A module that source imports.

    Attributes:
        module: its absolute name.
        required: whether it must be there. A name that `from package import name` takes may be no module at all, and
            what stands in `try` may be missing.
        written: the import as it stands in the source.
    """

    module: str
    required: bool
    written: str


def imports(tree: ast.AST, package: str) -> Iterator[Import]:
    """Everything that source imports when it is imported or run, wherever in it that stands.

    Args:
        tree: the parsed source.
        package: the package that relative imports start from, "" for a top-level module.
    """
    for node, optional in _statements(tree, False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, not optional, ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            module = absolute(node, package)
            yield Import(module, not optional, ast.unparse(node))
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", False, ast.unparse(node))


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that an import names, seen from its package."""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1] if node.level else []
    return ".".join([*base, *filter(None, [node.module])])


def _statements(node: ast.AST, optional: bool) -> Iterator[tuple[ast.AST, bool]]:
    """The nodes below, each with whether its failing to import is provided for."""
    children: list[tuple[ast.AST, bool]]
    if isinstance(node, ast.If) and ast.unparse(node.test) in _NEVER_RUN:
        children = [(child, optional) for child in node.orelse]
    elif isinstance(node, ast.Try) and any(map(_catches, node.handlers)):
        tried = [*node.body, *node.handlers]  # what the handler imports stands in for what was tried
        children = [(child, True) for child in tried] + [(child, optional) for child in (*node.orelse, *node.finalbody)]
    else:
        children = [(child, optional) for child in ast.iter_child_nodes(node)]
    for child, provided in children:
        yield child, provided
        yield from _statements(child, provided)


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in _MISSING_IS_FINE for kind in kinds)


def change(module: ModuleType, source: bytes) -> str | None:
    """What in a loaded module is not what its source says now: the name of it; None where nothing is."""
    loader = getattr(module.__spec__, "loader", None)
    if not isinstance(loader, SourceFileLoader):  # one that rewrites what it loads, as pytest's does
        return None
    compiled = fingerprints(compile(source, str(module.__file__), "exec", dont_inherit=True))
    for value in list(vars(module).values()):
        for function in functions(value):
            ours = (function.__module__, function.__code__.co_filename) == (module.__name__, module.__file__)
            if ours and fingerprint(function.__code__) not in compiled:
                return function.__qualname__
    return _changed_constant(module, ast.parse(source))


def _changed_constant(module: ModuleType, tree: ast.Module) -> str | None:
    """A name in capitals, a constant by convention, that holds another literal than the one it is assigned."""
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    stored = Counter(name.id for name in names if isinstance(name.ctx, ast.Store))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, _literal(node.value)
            held = vars(module).get(name)
            same = value is None or (type(held) is type(value) and held == value)
            if name.isupper() and stored[name] == 1 and not same:
                return name
    return None


def _literal(node: ast.expr) -> Any:
    """The value of a literal; None where it is none."""
    with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ast.literal_eval(node)
    return None


def functions(value: Any) -> Iterator[FunctionType]:
    """The functions of a definition: itself, or the methods of a class and of the classes in it."""
    while not isinstance(value, type) and "__wrapped__" in getattr(value, "__dict__", ()):
        value = value.__wrapped__
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, type):
        for member in list(vars(value).values()):
            for part in _callables(member):
                if getattr(part, "__qualname__", "").startswith(f"{value.__qualname__}."):
                    yield from functions(part)


def _callables(member: Any) -> list[Any]:
    if isinstance(member, property):
        return [member.fget, member.fset, member.fdel]
    return [getattr(member, "__func__", member)]


def fingerprints(code: CodeType) -> set[Any]:
    """The fingerprints of the code and of all code in it."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return {fingerprint(code)}.union(*map(fingerprints, inner))


def fingerprint(code: CodeType) -> Any:
    """Equal for code that does the same, wherever it stands in its file."""
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return (code.co_name, code.co_code, *names, *counts, tuple(map(_constant, code.co_consts)))


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return fingerprint(value)
    if isinstance(value, (tuple, frozenset)):
        return type(value)(map(_constant, value))
    return type(value), repr(value)
