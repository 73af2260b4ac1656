"""Checks whether code in memory still matches its source."""

import ast
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any


def changed_name(module: ModuleType, source: bytes) -> str | None:
    """The name of something in a loaded module that differs from its source; None if equal."""
    loader = getattr(module.__spec__, "loader", None)
    if not isinstance(loader, SourceFileLoader):  # others, such as pytest's, rewrite what they load
        return None
    compiled = fingerprints(compile(source, str(module.__file__), "exec", dont_inherit=True))
    for function in _own_functions(module):
        if fingerprint(function.__code__) not in compiled:
            return function.__qualname__
    return _changed_constant(module, ast.parse(source))


def _own_functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions in a module that its own file defines."""
    for value in list(vars(module).values()):
        for function in functions(value):
            is_own_file = function.__code__.co_filename == module.__file__
            if is_own_file and function.__module__ == module.__name__:
                yield function


def _changed_constant(module: ModuleType, tree: ast.Module) -> str | None:
    """The name of a constant that holds another literal than the one in the source.

    A constant is a name in capitals that the source assigns once.
    """
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    assigned = Counter(name.id for name in names if isinstance(name.ctx, ast.Store))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, _literal(node.value)
            held = vars(module).get(name)
            same = value is None or (type(held) is type(value) and held == value)
            if name.isupper() and assigned[name] == 1 and not same:
                return name
    return None


def _literal(node: ast.expr) -> Any:
    """The value of a literal; None for any other expression."""
    with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ast.literal_eval(node)
    return None


def functions(value: Any) -> Iterator[FunctionType]:
    """The functions of a definition: itself, or the methods of a class and of its inner classes."""
    while not isinstance(value, type) and "__wrapped__" in getattr(value, "__dict__", ()):
        value = value.__wrapped__
    if isinstance(value, FunctionType):
        yield value
    elif isinstance(value, type):
        for member in list(vars(value).values()):
            for part in parts(member):
                if getattr(part, "__qualname__", "").startswith(f"{value.__qualname__}."):
                    yield from functions(part)


def parts(member: Any) -> list[Any]:
    """The functions of a member of a class: itself, or those of a property or a classmethod."""
    if isinstance(member, property):
        return [member.fget, member.fset, member.fdel]
    return [getattr(member, "__func__", member)]


def fingerprints(code: CodeType) -> set[Any]:
    """The fingerprints of the code and of all code inside it."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return {fingerprint(code)}.union(*map(fingerprints, inner))


def fingerprint(code: CodeType) -> Any:
    """A value that is equal for code that does the same, whatever its line numbers."""
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return (code.co_name, code.co_code, *names, *counts, tuple(map(_constant, code.co_consts)))


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return fingerprint(value)
    if isinstance(value, (tuple, frozenset)):
        return type(value)(map(_constant, value))
    return type(value), repr(value)
