"""Whether what is in memory is still what its source says."""

import ast
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any


def change(module: ModuleType, source: bytes) -> str | None:
    """What in a loaded module is not what its source says now: the name of it; None where nothing is."""
    loader = getattr(module.__spec__, "loader", None)
    if not isinstance(
        loader, SourceFileLoader
    ):  # one that rewrites what it loads, as pytest's does
        return None
    compiled = fingerprints(compile(source, str(module.__file__), "exec", dont_inherit=True))
    for value in list(vars(module).values()):
        for function in functions(value):
            ours = (function.__module__, function.__code__.co_filename) == (
                module.__name__,
                module.__file__,
            )
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
