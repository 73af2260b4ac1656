"""Pickles functions and classes by value with cloudpickle, if source cannot rebuild them."""

import dis
import io
import pickle
from collections.abc import Iterator
from types import CodeType, ModuleType
from typing import Any

import cloudpickle

from ..errors import ModelError
from .pickle_references import Named, written_as

_PLACEHOLDER = (str, ())  # pickled in place of what is only recorded; this pickle is discarded


def references(definition: Any) -> tuple[list[Named], list[str]]:
    """What a definition, or another value, refers to by name, and the modules that it imports.

    Raises:
        ModelError: it holds something that cannot be pickled.
    """
    pickler = _ReferencePickler(definition)
    try:
        pickler.dump(definition)
    except Exception as error:  # an object may raise anything when it is pickled
        reason = " ".join(str(error).split()) or type(error).__name__
        name = getattr(definition, "__qualname__", None) or type(definition).__qualname__
        module = getattr(definition, "__module__", None) or type(definition).__module__
        raise ModelError(
            f"{module}.{name} cannot be pickled by value: "
            f"{reason}: define it in a module of your own that creates what it needs"
        ) from error
    return pickler.named, [*pickler.modules, *_imported(getattr(definition, "__code__", None))]


def dump(values: Any) -> bytes:
    """The pickle of values. What no module holds, or the session's module, is pickled by value."""
    return bytes(cloudpickle.dumps(values, protocol=pickle.DEFAULT_PROTOCOL))


def _imported(code: CodeType | None) -> Iterator[str]:
    """The modules that code imports when it runs, and what may be modules: a name in one."""
    if code is None:
        return
    module = ""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            module = str(instruction.argval)
            yield module
        elif instruction.opname == "IMPORT_FROM":
            yield f"{module}.{instruction.argval}"
        elif isinstance(instruction.argval, CodeType):
            yield from _imported(instruction.argval)


class _ReferencePickler(cloudpickle.Pickler):
    """Pickles one definition by value. It only records the others that it refers to."""

    def __init__(self, definition: Any) -> None:
        super().__init__(io.BytesIO())
        self._definition = definition
        self.named: list[Named] = []
        self.modules: list[str] = []

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, io.IOBase):  # cloudpickle would store the file's content
            raise pickle.PicklingError(f"{obj!r} is an open file")
        if isinstance(obj, ModuleType):
            self.modules.append(obj.__name__)
            return _PLACEHOLDER
        if obj is self._definition or obj is str:
            return super().reducer_override(obj)
        written, name = written_as(obj, self.dispatch_table)
        if not name:
            return written
        self.named.append(Named.of(obj, name))
        return _PLACEHOLDER
