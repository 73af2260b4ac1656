"""Finds what a model's pickle refers to. Nothing is stored, and nothing is unpickled."""

import copyreg
import pickle
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pickle import whichmodule  # type: ignore[attr-defined]  # typeshed leaves it out
from types import FunctionType
from typing import Any

from ..errors import ModelError

_PROTOCOL = 5  # the first with out-of-band buffers, which keep arrays from being copied
_MAX_PATH_LENGTH = 20  # of the path in an error: each step pickles the rest once more

_PLACEHOLDER = (str, ())  # pickled in place of what is only recorded

# A part of pickle's error message, and how to fix that error
_FIXES = (
    ("<lambda>", "replace the lambda with a function in an importable module"),
    ("local object", "define it at the top level of an importable module"),
    ("<locals>", "define it at the top level of an importable module"),
    ("not the same object", "create the model again with the definition that its module holds"),
    ("attribute lookup", "define it under that name at the top level of its module"),
    ("recursion", "nest the model less deeply, or raise sys.setrecursionlimit"),
)
_OTHER_FIX = "leave it out of the state in __getstate__, or replace it with a picklable object"


@dataclass(frozen=True, eq=False)
class Named:
    """Something that a pickle refers to by name: a class, a function, a dtype, a singleton.

    Attributes:
        value: what it is.
        module: the module that the pickle names.
        name: the qualified name in it.
    """

    value: Any
    module: str
    name: str

    @classmethod
    def of(cls, value: Any, name: str = "") -> "Named":
        """The name under which pickle writes a class or a function, or another value's `name`."""
        name = name or getattr(value, "__qualname__", None) or value.__name__
        return cls(value, whichmodule(value, name), name)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def is_definition(self) -> bool:
        """Whether it is a class or a function of Python: what can be pickled by value."""
        return isinstance(self.value, (type, FunctionType))

    @property
    def is_importable(self) -> bool:
        """Whether its module holds it under its name."""
        return lookup(self.module, self.name) is self.value


def references(obj: object) -> dict[str, str]:
    """The modules that a pickle of `obj` refers to, each with a qualified name in it as an example.

    Classes, functions and the types of instances count, the standard library's too. They come in
    the order in which pickle meets them.

    Raises:
        ModelError: `obj` cannot be pickled.
    """
    pickler = _ReferencePickler()
    try:
        with warnings.catch_warnings():
            # pickle looks for a ufunc in every module, in deprecated ones too
            warnings.simplefilter("ignore")
            pickler.dump(obj)
    except Exception as error:  # the object's own __reduce__ and __getstate__ may raise anything
        raise ModelError(_explain(obj, error)) from error
    return pickler.references


def definitions(obj: object) -> list[Named]:
    """Everything that a pickle of `obj` refers to by name, importable under that name or not.

    The list ends at the first object that cannot be pickled: `references` raises the error for it.
    """
    pickler = _DefinitionPickler()
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pickler.dump(obj)
    return pickler.definitions


def lookup(module: str, name: str) -> Any:
    """The object with this qualified name in a loaded module; None if there is none."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def written_as(obj: Any, reducers: Mapping[Any, Any] = copyreg.dispatch_table) -> tuple[Any, str]:
    """What pickle writes for an object, and under which name; "" for what is not written by name.

    Args:
        obj: any object but those that pickle never reduces, such as numbers and lists.
        reducers: the pickler's own reducers, by type.

    Returns:
        What `reducer_override` may return, and the qualified name.
    """
    if isinstance(obj, (type, FunctionType)):
        return NotImplemented, obj.__qualname__
    reduced = _reduce(obj, reducers)
    if isinstance(reduced, str):  # a builtin, a ufunc, a dtype, a cached function
        return reduced, reduced
    return reduced, ""


class _Sink:
    """A file that discards what is written to it."""

    def write(self, data: bytes, /) -> int:
        return len(data)


def _leave_out_of_band(buffer: pickle.PickleBuffer) -> None:
    """Keep a buffer out of the pickle: pickle does not copy it when the result is false."""


class _ReferencePickler(pickle.Pickler):
    """Writes nothing. It records the module and the name that each object comes from."""

    def __init__(self) -> None:
        super().__init__(_Sink(), protocol=_PROTOCOL, buffer_callback=_leave_out_of_band)
        self.references: dict[str, str] = {}

    def reducer_override(self, obj: Any, /) -> Any:
        written, name = written_as(obj)
        if name:
            self._note(obj, name)
        else:
            self._note(type(obj), type(obj).__qualname__)
        return written

    def _note(self, obj: Any, name: str) -> None:
        self.references.setdefault(whichmodule(obj, name), name)


class _DefinitionPickler(pickle.Pickler):
    """Writes nothing. It records what is pickled by name, importable under that name or not."""

    def __init__(self) -> None:
        super().__init__(_Sink(), protocol=_PROTOCOL, buffer_callback=_leave_out_of_band)
        self.definitions: list[Named] = []

    def reducer_override(self, obj: Any, /) -> Any:
        written, name = written_as(obj)
        if not name:
            return written
        named = Named.of(obj, name)
        self.definitions.append(named)
        if named.is_importable:
            return written
        return _PLACEHOLDER


class _PartPickler(_ReferencePickler):
    """Pickles a part of a model. It skips the objects around the part, which it may refer to."""

    def __init__(self, above: list[object]) -> None:
        super().__init__()
        self._above = {id(obj) for obj in above}

    def persistent_id(self, obj: object, /) -> str | None:
        if id(obj) in self._above:
            return "above"
        return None


def _reduce(obj: Any, reducers: Mapping[Any, Any] = copyreg.dispatch_table) -> Any:
    """What pickle itself would reduce `obj` to."""
    if type(obj).__module__ == "torch.storage":  # it holds numbers only, and would be copied
        return _PLACEHOLDER
    registered = reducers.get(type(obj))
    if registered:
        return registered(obj)
    return obj.__reduce_ex__(_PROTOCOL)


def _explain(obj: object, error: Exception) -> str:
    path = ""
    if not isinstance(error, RecursionError):
        path = _failing_path(obj)
    reason = " ".join(str(error).split()) or type(error).__name__
    fix = next((fix for sign, fix in _FIXES if sign in reason), _OTHER_FIX)
    return f"the model cannot be pickled: {path}{reason}: {fix}"


def _failing_path(obj: object) -> str:
    """The innermost part that fails by itself, as in `model.steps[0]: `; "" for `obj` itself."""
    path, above = "", [obj]
    while len(above) < _MAX_PATH_LENGTH:
        failing = (found for found in _parts(above[-1]) if not _pickles(found[1], above))
        step, part = next(failing, ("", None))
        if not step:
            break
        path, above = path + step, [*above, part]
    return path and f"model{' '.join(path.split())}: "


def _parts(obj: Any) -> Iterator[tuple[str, object]]:
    if isinstance(obj, dict):
        yield from ((f"[{key!r}]", value) for key, value in obj.items())
    elif isinstance(obj, (list, tuple)):
        yield from ((f"[{index}]", value) for index, value in enumerate(obj))
    else:
        yield from ((f".{name}", value) for name, value in _state(obj).items())


def _state(obj: Any) -> dict[str, object]:
    """The attributes that a pickle of `obj` would hold, if they are known."""
    try:
        reduced = _reduce(obj)
    except Exception:
        return {}
    if isinstance(reduced, tuple) and len(reduced) > 2 and isinstance(reduced[2], dict):
        return reduced[2]
    return {}


def _pickles(obj: object, above: list[object]) -> bool:
    try:
        _PartPickler(above).dump(obj)
    except Exception:
        return False
    return True
