"""Functions and classes without source that can stand alone, pickled by value with cloudpickle."""

import io
import pickle
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle

from ..errors import ModelError

_NOTED = (str, ())  # stands for what is met: nobody reads the pickle


def references(definition: Any) -> tuple[list[Any], list[str]]:
    """The classes and functions, and the names of the modules, that the code of a definition refers to.

    Raises:
        ModelError: it holds something that cannot be pickled.
    """
    pickler = _Explorer(definition)
    try:
        pickler.dump(definition)
    except Exception as error:  # what it holds may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{definition.__module__}.{definition.__qualname__} cannot be pickled by value: {reason}: "
            "define it in a module of your own, and let it make there what it needs"
        ) from error
    return pickler.definitions, pickler.modules


def dump(definitions: dict[str, Any]) -> bytes:
    """The pickle of named definitions, by value."""
    return bytes(cloudpickle.dumps(definitions, protocol=pickle.DEFAULT_PROTOCOL))


class _Explorer(cloudpickle.Pickler):
    """Goes into one definition, as cloudpickle does, and only notes the others that it meets."""

    def __init__(self, definition: Any) -> None:
        super().__init__(io.BytesIO())
        self._definition = definition
        self.definitions: list[Any] = []
        self.modules: list[str] = []

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, io.IOBase):  # cloudpickle would read it
            raise pickle.PicklingError(f"{obj!r} is an open file")
        if isinstance(obj, ModuleType):
            self.modules.append(obj.__name__)
            return _NOTED
        if isinstance(obj, (type, FunctionType)) and obj not in (self._definition, str):
            self.definitions.append(obj)
            return _NOTED
        return super().reducer_override(obj)
