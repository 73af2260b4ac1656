"""What a model refers to, read off the pickling of it: nothing is stored and nothing is ever unpickled."""

import copyreg
import pickle
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pickle import whichmodule  # type: ignore[attr-defined]  # typeshed leaves it out
from types import FunctionType
from typing import Any

from generator.errors import ModelError

_PROTOCOL = 5  # the first with out-of-band buffers: arrays are passed by reference
_PATH_LENGTH = 20  # steps into the model that an error follows: each pickles the rest once more

_MENDS = (
    ("<lambda>", "replace the lambda by a function in an importable module"),
    ("local object", "define it at the top level of an importable module"),
    ("<locals>", "define it at the top level of an importable module"),
    ("not the same object", "make the model anew with the definition that its module holds now"),
    ("attribute lookup", "define it under that name at the top level of its module"),
    ("recursion", "nest the model less deeply, or raise sys.setrecursionlimit"),
)
_OTHER_MEND = (
    "leave it out of the model's state by __getstate__, or replace it by something that pickles"
)


def references(obj: object) -> dict[str, str]:
    """Everything that a pickle of `obj` refers to, as {module name: a qualified name in it, as an example}.

    Classes, functions and instances' types count, the standard library's too, in the order in which
    pickling meets them. Raises ModelError where `obj` cannot be pickled.
    """
    pickler = _ReferencePickler()
    try:
        with warnings.catch_warnings():
            # to find where a ufunc lives, pickle tries its name on every module, deprecated ones too
            warnings.simplefilter("ignore")
            pickler.dump(obj)
    except Exception as error:  # the object's own __reduce__ and __getstate__ may raise anything
        raise ModelError(_explain(obj, error)) from error
    return pickler.references


def definitions(obj: object) -> list[Any]:
    """Every class and function that a pickle of `obj` refers to, those too that cannot be found by their names.

    What cannot be pickled for another reason ends the list: `references` tells what that is.
    """
    pickler = _DefinitionPickler()
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pickler.dump(obj)
    return pickler.definitions


def lookup(module: str, name: str) -> Any:
    """What a loaded module holds under a qualified name; None where it holds nothing there."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


class _Sink:
    """A file that discards what is written to it."""

    def write(self, data: bytes, /) -> int:
        return len(data)


def _leave_out_of_band(buffer: pickle.PickleBuffer) -> None:
    """Keep a buffer out of the stream: a false result means that its content is not copied."""


class _ReferencePickler(pickle.Pickler):
    """Writes nothing, notes which module and name each object comes from."""

    def __init__(self) -> None:
        super().__init__(_Sink(), protocol=_PROTOCOL, buffer_callback=_leave_out_of_band)
        self.references: dict[str, str] = {}

    def reducer_override(self, obj: Any, /) -> Any:
        if issubclass(type(obj), type) or type(obj) is FunctionType:
            self._note(obj, obj.__qualname__)
            return NotImplemented
        reduced = _reduce(obj)
        if isinstance(reduced, str):  # pickled by its name: a builtin, a ufunc, a cached function
            self._note(obj, reduced)
        else:
            self._note(type(obj), type(obj).__qualname__)
        return reduced

    def _note(self, obj: Any, name: str) -> None:
        self.references.setdefault(whichmodule(obj, name), name)


class _DefinitionPickler(pickle.Pickler):
    """Writes nothing, notes classes and functions; one that is not found by its name passes as if it were."""

    def __init__(self) -> None:
        super().__init__(_Sink(), protocol=_PROTOCOL, buffer_callback=_leave_out_of_band)
        self.definitions: list[Any] = []

    def reducer_override(self, obj: Any, /) -> Any:
        if isinstance(obj, (type, FunctionType)):
            self.definitions.append(obj)
            return NotImplemented if lookup(obj.__module__, obj.__qualname__) is obj else (str, ())
        reduced = _reduce(obj)
        if isinstance(reduced, str) and isinstance(getattr(obj, "__module__", None), str):
            self.definitions.append(obj)
        return reduced


class _PartPickler(_ReferencePickler):
    """Takes what is above the part as written, so that a part which refers back is not blamed."""

    def __init__(self, above: list[object]) -> None:
        super().__init__()
        self._above = {id(obj) for obj in above}

    def persistent_id(self, obj: object, /) -> str | None:
        return "above" if id(obj) in self._above else None


def _reduce(obj: Any) -> Any:
    """What pickle itself would ask `obj` for."""
    if type(obj).__module__ == "torch.storage":  # numbers only, of which a pickle would hold a copy
        return str, ()
    registered = copyreg.dispatch_table.get(type(obj))
    return registered(obj) if registered else obj.__reduce_ex__(_PROTOCOL)


def _explain(obj: object, error: Exception) -> str:
    path = "" if isinstance(error, RecursionError) else _culprit(obj)
    reason = " ".join(str(error).split()) or type(error).__name__
    mend = next((mend for sign, mend in _MENDS if sign in reason), _OTHER_MEND)
    return f"the model cannot be pickled: {path}{reason}: {mend}"


def _culprit(obj: object) -> str:
    """The path of the innermost part of `obj` that fails by itself, or nothing if that is `obj`."""
    path, above = "", [obj]
    while len(above) < _PATH_LENGTH:
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
    """The attributes that a pickle of `obj` would hold, where they can be told."""
    try:
        reduced = _reduce(obj)
    except Exception:
        return {}
    state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
    return state if isinstance(state, dict) else {}


def _pickles(obj: object, above: list[object]) -> bool:
    try:
        _PartPickler(above).dump(obj)
    except Exception:
        return False
    return True
