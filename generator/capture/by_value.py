"""Pickles functions and classes by value with cloudpickle, if source cannot rebuild them."""

import io
import pickle
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle

from ..errors import ModelError

_PLACEHOLDER = (str, ())  # pickled in place of what is only recorded; this pickle is discarded


def references(definition: Any) -> tuple[list[Any], list[str]]:
    """What the code of a definition refers to: classes and functions, and names of modules.

    Raises:
        ModelError: it holds something that cannot be pickled.
    """
    pickler = _ReferencePickler(definition)
    try:
        pickler.dump(definition)
    except Exception as error:  # an object may raise anything when it is pickled
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{definition.__module__}.{definition.__qualname__} cannot be pickled by value: "
            f"{reason}: define it in a module of your own that creates what it needs"
        ) from error
    return pickler.definitions, pickler.modules


def dump(definitions: dict[str, Any]) -> bytes:
    """The pickle of named definitions, by value."""
    return bytes(cloudpickle.dumps(definitions, protocol=pickle.DEFAULT_PROTOCOL))


class _ReferencePickler(cloudpickle.Pickler):
    """Pickles one definition by value. It only records the others that it refers to."""

    def __init__(self, definition: Any) -> None:
        super().__init__(io.BytesIO())
        self._definition = definition
        self.definitions: list[Any] = []
        self.modules: list[str] = []

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, io.IOBase):  # cloudpickle would store the file's content
            raise pickle.PicklingError(f"{obj!r} is an open file")
        if isinstance(obj, ModuleType):
            self.modules.append(obj.__name__)
            return _PLACEHOLDER
        if isinstance(obj, (type, FunctionType)) and obj not in (self._definition, str):
            self.definitions.append(obj)
            return _PLACEHOLDER
        return super().reducer_override(obj)
