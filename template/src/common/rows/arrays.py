"""Rows as a numpy array of the model's dtype."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..schema import TEXT, Shape, Tensor
from ..words import kind_of
from .parsed import as_list

NUMERIC = "biuf"
STAND_INS = {"bfloat16": "float32"}  # numpy's dtypes for those that it lacks
Array = np.ndarray[Any, np.dtype[Any]]


def tensor_array(tensor: Tensor, values: list[Any]) -> Array:
    """The values of one input, one of each row."""
    try:
        return fitting(values, tensor.shape, tensor.dtype)
    except InvalidInput as error:
        raise InvalidInput(f"{tensor.name!r} of {error}") from None


def fitting(rows: Any, shape: Shape, dtype: str | None) -> Array:
    """The rows as one array, checked against the shape."""
    if dtype == TEXT:
        return _text_array(rows, shape)
    array = rows
    if not isinstance(rows, np.ndarray):
        array = to_array(rows, numeric=dtype is not None)
    if shape is not None and not _fits(array.shape[1:], shape):
        raise InvalidInput(_misfit(rows, shape))
    return _cast(array, dtype)


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    """None in `expected` stands for any size."""
    return len(shape) == len(expected) and all(
        size is None or size == found for size, found in zip(expected, shape, strict=True)
    )


def to_array(rows: list[Any], numeric: bool) -> Array:
    """Rows as parsed from a body, as an array. None becomes NaN between numbers.

    Raises:
        InvalidInput: the rows differ in shape, or hold something other than numbers although they
            must be `numeric`.
    """
    try:
        array = np.array(rows)
    except (ValueError, OverflowError, TypeError):
        raise InvalidInput(_unequal(rows)) from None
    if array.dtype.kind in NUMERIC:
        return array
    if array.dtype.kind == "O" and any(isinstance(item, (list, dict)) for item in array.flat):
        raise InvalidInput(_unequal(rows))
    values = np.array(rows, dtype=object)
    odd = next((item for item in values.flat if not _numeric(item)), None)
    if odd is None:
        return _floats(values)
    if numeric:
        raise InvalidInput(f"{_place(values, odd)} must be a number or null, it is {kind_of(odd)}")
    return values


def _text_array(rows: Any, shape: Shape) -> Array:
    """An array of Python's strings. A row that is a list of one may be the string alone."""
    listed = as_list(rows)
    if shape == (1,):
        listed = [_wrapped(row) for row in listed]
    values = to_array(listed, numeric=False).astype(object)
    if shape is not None and not _fits(values.shape[1:], shape):
        raise InvalidInput(_misfit(listed, shape))
    if odd := [item for item in values.flat if not isinstance(item, str)]:
        raise InvalidInput(f"{_place(values, odd[0])} must be a string, it is {kind_of(odd[0])}")
    return values


def _wrapped(row: Any) -> Any:
    if isinstance(row, str):
        return [row]
    return row


def _numeric(item: Any) -> bool:
    return item is None or isinstance(item, (int, float, np.number, np.bool_))


def _floats(values: Array) -> Array:
    try:
        return values.astype(np.float64)
    except OverflowError:
        raise InvalidInput("instances holds a number that does not fit 64 bits") from None


@lru_cache(maxsize=64)
def _numpy_dtype(name: str) -> np.dtype[Any]:
    return np.dtype(STAND_INS.get(name, name))


def _cast(array: Array, dtype: str | None) -> Array:
    """The array in the model's dtype, where no value changes.

    Floats for a model trained on whole numbers stay floats, and whole numbers that do not fit stay
    as they are: the model in memory would get them like that.
    """
    if dtype is None:
        return array
    target = _numpy_dtype(dtype)
    if array.dtype == target:
        return array
    if array.dtype.kind not in NUMERIC:
        if target.kind in NUMERIC:
            raise InvalidInput(
                f"instances must hold numbers, it is an array of dtype {array.dtype}"
            )
        return array
    if target.kind not in "biu":
        with np.errstate(over="ignore"):
            return array.astype(target, copy=False)
    return _whole(array, target)


def _whole(array: Array, target: np.dtype[Any]) -> Array:
    """The array in a dtype of whole numbers, or as it is where a value does not fit."""
    if array.dtype.kind == "f":
        return array
    cast = array.astype(target, copy=False)
    if np.array_equal(cast, array):
        return cast
    return array


# ---- messages ----


def _misfit(rows: Any, expected: Sequence[int | None]) -> str:
    row = rows[0]
    shape = list(np.shape(row))
    flat = len(expected) == 1
    wanted, came = f"shape {list(expected)}", f"shape {shape}"
    if flat:
        wanted = f"{expected[0]} values"
    if flat and len(shape) == 1:
        came = f"{shape[0]}"
    if not shape:
        return f"instances[0] must be a row with {wanted}, it is {kind_of(row)}"
    return f"instances[0]: the model takes {wanted} a row, this one has {came}"


def _unequal(rows: list[Any]) -> str:
    """The message that names the first row whose shape differs from that of the first."""
    sizes = [_size(row) for row in rows]
    for index, size in enumerate(sizes):
        if size != sizes[0]:
            return (
                f"instances[{index}] must be like instances[0], which has {sizes[0]}:"
                f" it is {kind_of(rows[index])}"
            )
    return (
        "instances: the values in a row must be numbers, strings or null, or lists of equal length"
    )


def _size(row: Any) -> str:
    if isinstance(row, list):
        return f"{len(row)} values"
    return "no list"


def _place(values: Array, odd: Any) -> str:
    position = next(index for index, item in np.ndenumerate(values) if item is odd)
    return "instances" + "".join(f"[{index}]" for index in position)
