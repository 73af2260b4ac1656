"""What the definitions of modules hold, in a form that two processes can compare.

This module runs in the owner's session, and as a script of its own in a clean process. There it
imports nothing of the generator:

    python -c SOURCE RESULT MODULE...
"""

import dis
import functools
import hashlib
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

MOST_DEPTH = 6
MOST_PARTS = 10_000  # of one value
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
CONTAINERS = (list, tuple, set, frozenset, dict)
WRAPPERS = (property, classmethod, staticmethod, functools.partial, functools.cached_property)
PARTS = ("fget", "fset", "fdel", "__func__", "func", "args", "keywords")
DEFAULTS = ("__defaults__", "__kwdefaults__")

Place = tuple[str, str]
"""Where something is: the qualified name of a class or a function, "" for the module, and a name in
it."""


def places(members: Mapping[str, Any], module: str) -> Iterator[tuple[Place, Any]]:
    """What the definitions of a module hold: each place and the value that is there.

    Of a module's data only plain values count: others may be what it was trained on.

    Args:
        members: the module's members by name.
        module: its name.
    """
    for name, value in list(members.items()):
        if _is_sources(name, value) and (is_code(value) or is_plain(value)):
            yield ("", name), value
        yield from _inside(name, value, module)


def _inside(qualname: str, value: Any, module: str) -> Iterator[tuple[Place, Any]]:
    """What is inside of a definition, if this module defines it."""
    function = getattr(value, "__func__", value)
    if isinstance(function, FunctionType):
        yield from (((qualname, name), getattr(function, name)) for name in DEFAULTS)
    is_own = isinstance(value, type) and value.__module__ == module
    if not is_own or value.__qualname__ != qualname:
        return
    for name, member in list(vars(value).items()):
        if _is_sources(name, member):
            yield (qualname, name), member
        yield from _inside(f"{qualname}.{name}", member, module)


def _is_sources(name: str, value: Any) -> bool:
    """Whether a member may come from the source. Python itself adds others, such as `__doc__`."""
    is_pythons = name.startswith("__") and name.endswith("__")
    if isinstance(value, ModuleType):
        return False
    return not is_pythons or isinstance(value, (FunctionType, *WRAPPERS))


def is_code(value: Any) -> bool:
    """Whether a value is a class, a function or something around one."""
    return isinstance(value, (type, FunctionType, MethodType, *WRAPPERS))


def is_plain(value: Any) -> bool:
    """Whether a value consists of texts, numbers and the like, and is not large."""
    waiting, count = [value], 0
    while waiting:
        item, count = waiting.pop(), count + 1
        if type(item) is dict:
            waiting += [*item.keys(), *item.values()]
        elif type(item) in CONTAINERS:
            waiting += item
        elif type(item) not in PLAIN:
            return False
        if count + len(waiting) > MOST_PARTS:
            return False
    return True


def fingerprint(value: Any) -> Any:
    """A text or nested lists: equal for values that do the same, in this and another process."""
    return _Fingerprint().of(value, ())


class _Fingerprint:
    """Reads one value, up to a depth and a number of parts."""

    def __init__(self) -> None:
        self._left = MOST_PARTS

    def of(self, value: Any, above: tuple[int, ...]) -> Any:
        """The fingerprint of a value inside of the objects with the ids `above`."""
        self._left -= 1
        if isinstance(value, PLAIN):
            return [type(value).__name__, repr(value)]
        if id(value) in above or len(above) > MOST_DEPTH or self._left < 0:
            return "..."
        return [_kind(value), *self._parts(value, (*above, id(value)))]

    def _parts(self, value: Any, above: tuple[int, ...]) -> Iterator[Any]:
        match value:
            case FunctionType():
                yield hashlib.sha256(repr(_code(value.__code__)).encode()).hexdigest()
                yield from (self.of(_content(cell), above) for cell in value.__closure__ or ())
            case MethodType():
                yield from (self.of(value.__func__, above), _kind(value.__self__))
            case type():
                yield "class"
            case ModuleType():
                yield value.__name__
            case dict():
                pairs = [[self.of(part, above) for part in pair] for pair in value.items()]
                yield from sorted(pairs, key=repr)
            case list() | tuple():
                yield from (self.of(item, above) for item in value)
            case set() | frozenset():
                yield from sorted((self.of(item, above) for item in value), key=repr)
            case _ if isinstance(value, WRAPPERS):
                yield from (self.of(getattr(value, part, None), above) for part in PARTS)
            case _ if hasattr(value, "tobytes") and hasattr(value, "dtype"):
                yield from (str(value.dtype), str(getattr(value, "shape", "")), _bytes(value))
            case _:
                yield self.of(getattr(value, "__dict__", getattr(value, "pattern", None)), above)


def _kind(value: Any) -> str:
    kind = type(value)
    if isinstance(value, type):
        kind = value
    return f"{kind.__module__}.{kind.__qualname__}"


def _bytes(array: Any) -> str:
    if array.dtype == object:
        return ""
    return hashlib.sha256(array.tobytes()).hexdigest()


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _code(code: CodeType) -> Any:
    """What the code does, whatever its file and its line numbers.

    A compiler calls `np.dot` in one of two ways: it matters whether the same file imports `np`,
    which a notebook does in another cell.
    """
    names = (code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    return ([*_instructions(code)], *names, *counts)


def _instructions(code: CodeType) -> Iterator[Any]:
    for found in dis.get_instructions(code):
        if found.opname in ("CACHE", "PUSH_NULL"):
            continue
        name = found.opname.replace("LOAD_METHOD", "LOAD_ATTR")
        if found.opcode in dis.hasconst:
            yield name, _constant(found.argval)
        elif found.opcode in (*dis.hasjrel, *dis.hasjabs):
            yield name
        else:
            yield name, str(found.argval)


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _code(value)
    if isinstance(value, frozenset):
        return sorted(repr(_constant(item)) for item in value)
    if isinstance(value, tuple):
        return [_constant(item) for item in value]
    return type(value).__name__, repr(value)


def taken(members: Mapping[str, Any], module: str) -> list[tuple[str, str, Any]]:
    """The fingerprints of all places of a module."""
    return [(*place, fingerprint(value)) for place, value in places(members, module)]


def main() -> None:
    """Write the fingerprints of modules, or why they cannot be imported, into a file."""
    result, *modules = sys.argv[1:]
    found: dict[str, Any] = {}
    for module in modules:
        try:
            found[module] = taken(vars(importlib.import_module(module)), module)
        except (Exception, SystemExit) as error:
            found[module] = f"{type(error).__name__}: {error}"
    with open(result, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
