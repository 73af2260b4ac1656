"""The values of one column of a request, checked and read from their JSON form."""

import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np

from ...errors import InvalidInput
from ...schema import Column
from ...words import kind_of
from ..packed import FEW_VALUES, Array, packed
from ..texts import to_bytes
from . import times
from .formats import form_name, words

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?|[+-]?Infinity", re.ASCII)
_NONE = type(None)
NUMBERS = (int, float)
_MISSING = ("NAType", "NaTType")  # pandas', which code of the owner's may put into rows

Build = Callable[[list[Any]], Any]
"""Makes a column of a DataFrame from one value of each row, None for null."""


def _decimal(text: str) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no decimal number")
    return Decimal(text)


# What each form's values are in a body, and what reads them.
READERS: dict[str, tuple[tuple[type, ...], Callable[[Any], Any] | None]] = {
    "number": ((int, float), None),
    "boolean": ((bool,), None),
    "string": ((str,), None),
    "list": ((list,), None),
    "object": ((dict,), None),
    "scalar": ((str, int, float, bool), None),
    "any": ((str, int, float, bool, list, dict), None),
    "date-time": ((str,), times.moment),
    "date": ((str,), times.day),
    "time": ((str,), times.time),
    "duration": ((str,), times.duration),
    "decimal": ((str,), _decimal),
    "uuid": ((str,), uuid.UUID),
    "bytes": ((str, bytes, dict), to_bytes),
    "period": ((str,), None),
    "interval": ((str,), None),
}


class Cells:
    """Reads the values of a column.

    Args:
        column: the column.
        expected: what a value must be, in words; by default what its form says.
        read: converts what its form reads; None where that is the value. It raises ValueError for
            a value that the column cannot hold, with the reason.
    """

    def __init__(
        self,
        column: Column,
        expected: str | None = None,
        read: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = column.name
        self._expected = expected or words(column)
        allowed, self._parse = READERS[form_name(column)]
        self._allowed = frozenset((*allowed, _NONE))
        self._read = read
        self._takes_numbers = self._allowed.issuperset(NUMBERS) and self._parse is read is None

    def array(self, values: list[Any]) -> Array | None:
        """Many values as an array, where all are floats, or all are whole numbers of 32 bits."""
        if len(values) > FEW_VALUES and self._takes_numbers and type(values[0]) in NUMBERS:
            return packed(values)
        return None

    def read(self, values: list[Any]) -> list[Any]:
        """The values as Python has them; None stands for null.

        Raises:
            InvalidInput: a value is not of the column's form, or the column cannot hold it.
        """
        if self._allowed.issuperset(map(type, values)) and self._parse is self._read is None:
            return values
        return [self._one(index, value) for index, value in enumerate(values)]

    def _one(self, index: int, value: Any) -> Any:
        plain = _plain(value)
        if plain is None:
            return None
        if type(plain) not in self._allowed:
            self.refuse(index, value)
        if self._parse is not None:
            plain = self._parsed(index, plain, self._parse)
        if self._read is None:
            return plain
        try:
            return self._read(plain)
        except (ValueError, ArithmeticError) as error:
            self.refuse(index, value, reason=f": {error}")

    def _parsed(self, index: int, value: Any, parse: Callable[[Any], Any]) -> Any:
        try:
            return parse(value)
        except (ValueError, ArithmeticError):
            self.refuse(index, value)

    def refuse(
        self, index: int, value: Any, expected: str | None = None, reason: str = ""
    ) -> NoReturn:
        """Raise the InvalidInput that names a value and what it must be."""
        raise InvalidInput(
            f"instances[{index}]: {self.name!r} must be {expected or self._expected},"
            f" it is {kind_of(value)}{reason}"
        )


def _plain(value: Any) -> Any:
    """A value that msgpack or an array brought, as JSON would have it."""
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, (np.datetime64, np.timedelta64)) and np.isnat(value):
        return None
    if isinstance(value, np.timedelta64):
        value = value.astype("m8[ns]").astype(np.int64).item()
        return times.duration_text(value)
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    return times.text_of(value)
