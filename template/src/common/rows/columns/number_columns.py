"""Columns of numbers and booleans, as numpy and pandas have them."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ...errors import InvalidInput
from ...schema import Column
from ...words import kind_of
from .cells import Build, Cells

Array = np.ndarray[Any, np.dtype[Any]]
EXACT = 2**53  # the whole numbers up to this one are exact in float64
WIDE = (np.dtype(np.int64), np.dtype(np.uint64))


def floats(column: Column, dtype: np.dtype[Any]) -> Build:
    cells = Cells(column)

    def build(values: list[Any]) -> Array:
        if (array := cells.array(values)) is not None:
            return array.astype(np.float64, copy=False).astype(dtype, copy=False)
        return np.array(cells.read(values), dtype=dtype)  # None becomes NaN

    def build_narrow(values: list[Any]) -> Array:
        with np.errstate(over="ignore"):  # to infinity, as in memory
            return build(values)

    if dtype.itemsize < 8:
        return build_narrow
    return build


def whole(column: Column, dtype: np.dtype[Any]) -> Build:
    """Whole numbers of numpy, among which none can be missing.

    A null, and a number with a fraction, make the column one of floats, as they do in memory. A
    whole number that no float equals is refused then.
    """
    cells = Cells(column)
    low, high = limits(dtype)

    def build(values: list[Any]) -> Array:
        array = cells.array(values)
        if array is not None and _are_within(array, low, high):
            return array.astype(dtype, copy=False)
        read = cells.read(values)
        if set(map(type, read)) != {int}:
            read = [_as_whole(value, low, high) for value in read]
        if any(type(value) is not int for value in read):
            return exact_floats(column.name, read)
        if _fits(read, low, high):
            return np.array(read, dtype=dtype)
        return _wider(cells, read)

    return build


def _fits(values: list[int], low: int, high: int) -> bool:
    return low <= min(values) and max(values) <= high


def _are_within(array: Array, low: int, high: int) -> bool:
    """Whether an array is one of whole numbers between these."""
    return array.dtype.kind == "i" and low <= int(array.min()) and int(array.max()) <= high


def limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The lowest and the highest number of a dtype."""
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _as_whole(value: Any, low: int, high: int) -> Any:
    """5 for 5.0, which is the same number in JSON; any other number, and None, as it is."""
    if type(value) is float and value.is_integer() and low <= value <= high:
        return int(value)
    return value


def _wider(cells: Cells, values: list[int]) -> Array:
    """Numbers that their dtype cannot hold, in one of 64 bits, as in memory."""
    fitting = [wide for wide in WIDE if _fits(values, *limits(wide))]
    if not fitting:
        low, high = limits(WIDE[0])
        odd = next(index for index, value in enumerate(values) if not low <= value <= high)
        cells.refuse(odd, values[odd], "a whole number of 64 bits or null")
    return np.array(values, dtype=fitting[0])


def exact_floats(name: str, values: list[Any]) -> Array:
    """Numbers and None as floats.

    Raises:
        InvalidInput: no float equals one of the numbers.
    """
    odd = next((index for index, value in enumerate(values) if _inexact(value)), None)
    if odd is not None:
        other = next(value for value in values if type(value) is not int)
        raise InvalidInput(
            f"instances[{odd}]: {name!r} is {values[odd]}, which no float equals, and beside"
            f" {kind_of(other)} the column becomes one of floats: send that row by itself"
        )
    return np.array(values, dtype=np.float64)


def _inexact(value: Any) -> bool:
    return type(value) is int and abs(value) > EXACT and int(float(value)) != value


def booleans(column: Column, dtype: np.dtype[Any]) -> Build:
    """Booleans of numpy; floats beside null, for which it has no boolean."""
    cells = Cells(column)

    def build(values: list[Any]) -> Array:
        read = cells.read(values)
        if None in read:
            return np.array(read, dtype=np.float64)
        return np.array(read, dtype=dtype)

    return build


def masked(column: Column, dtype: Any) -> Build:
    """A dtype of pandas that has NA beside numbers or booleans, such as Int64."""
    read = reader(column, dtype.numpy_dtype)
    make = dtype.construct_array_type()
    zero = dtype.numpy_dtype.type(0).item()

    def build(values: list[Any]) -> Any:
        found = read(values)
        missing = np.array([value is None for value in found], dtype=bool)
        filled = np.array(_filled(found, zero), dtype=dtype.numpy_dtype)
        return make(filled, missing)

    return build


def _filled(values: Iterable[Any], zero: Any) -> list[Any]:
    return [zero if value is None else value for value in values]


def reader(column: Column, dtype: np.dtype[Any]) -> Callable[[list[Any]], list[Any]]:
    """Reads what a dtype of numpy holds exactly, and None for null and NaN."""
    if dtype.kind not in "iu":
        return _float_reader(Cells(column))
    low, high = limits(dtype)
    bounds = f" from {low} to {high}" * (dtype.itemsize < 8)
    numbers = Cells(column, f"a whole number{bounds} or null")

    def read(values: list[Any]) -> list[Any]:
        array = numbers.array(values)
        if array is not None and _are_within(array, low, high):
            return values
        found = [_as_whole(_none_for_nan(value), low, high) for value in numbers.read(values)]
        for index, value in enumerate(found):
            if value is not None and (type(value) is not int or not low <= value <= high):
                numbers.refuse(index, value)
        return found

    return read


def _float_reader(cells: Cells) -> Callable[[list[Any]], list[Any]]:
    def read(values: list[Any]) -> list[Any]:
        array = cells.array(values)
        if array is not None and not np.isnan(array).any():
            return values
        return list(map(_none_for_nan, cells.read(values)))

    return read


def _none_for_nan(value: Any) -> Any:
    if type(value) is float and math.isnan(value):
        return None
    return value
