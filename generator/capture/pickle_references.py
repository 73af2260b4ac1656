"""Finds what a model's pickle refers to. Nothing is stored, and nothing is unpickled."""

import copyreg
import pickle
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
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


def definitions(obj: object) -> list[Any]:
    """Every class and function that a pickle of `obj` refers to, importable by name or not.

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
        if issubclass(type(obj), type) or type(obj) is FunctionType:
            self._note(obj, obj.__qualname__)
            return NotImplemented
        reduced = _reduce(obj)
        if isinstance(reduced, str):  # pickled by name: a builtin, a ufunc, a cached function
            self._note(obj, reduced)
        else:
            self._note(type(obj), type(obj).__qualname__)
        return reduced

    def _note(self, obj: Any, name: str) -> None:
        self.references.setdefault(whichmodule(obj, name), name)


class _DefinitionPickler(pickle.Pickler):
    """Writes nothing. It records classes and functions, importable by name or not."""

    def __init__(self) -> None:
        super().__init__(_Sink(), protocol=_PROTOCOL, buffer_callback=_leave_out_of_band)
        self.definitions: list[Any] = []

    def reducer_override(self, obj: Any, /) -> Any:
        if isinstance(obj, (type, FunctionType)):
            self.definitions.append(obj)
            if lookup(obj.__module__, obj.__qualname__) is obj:
                return NotImplemented
            return _PLACEHOLDER
        reduced = _reduce(obj)
        if isinstance(reduced, str) and isinstance(getattr(obj, "__module__", None), str):
            self.definitions.append(obj)
        return reduced


class _PartPickler(_ReferencePickler):
    """Pickles a part of a model. It skips the objects around the part, which it may refer to."""

    def __init__(self, above: list[object]) -> None:
        super().__init__()
        self._above = {id(obj) for obj in above}

    def persistent_id(self, obj: object, /) -> str | None:
        if id(obj) in self._above:
            return "above"
        return None


def _reduce(obj: Any) -> Any:
    """What pickle itself would reduce `obj` to."""
    if type(obj).__module__ == "torch.storage":  # it holds numbers only, and would be copied
        return _PLACEHOLDER
    registered = copyreg.dispatch_table.get(type(obj))
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
