"""Rows as a numpy array of the model's dtype."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..schema import BYTES, TEXT, Shape, Tensor
from ..words import kind_of
from . import numbers, texts
from .columns import times
from .columns.formats import FORMS, STAND_INS
from .many_rows import many
from .numbers import Array, DType
from .packed import are_many
from .parsed import as_list

__all__ = [
    "Array",
    "fitting",
    "numpy_dtype",
    "sparse",
    "tensor_array",
    "to_array",
    "within",
]

TIMES = {"M": "date-time", "m": "duration"}  # kinds of dtypes, and their forms in JSON
NAT = -(2**63)  # what numpy counts for NaT
ITEMS: dict[str | None, texts.Item] = {TEXT: texts.text_or_bytes, BYTES: texts.to_bytes}


def tensor_array(tensor: Tensor, values: list[Any]) -> Array:
    """The values of one input, one of each row. A row of one value may be the value alone."""
    if tensor.shape == (1,):
        values = [value if isinstance(value, (list, np.ndarray)) else [value] for value in values]
    try:
        return within(fitting(values, tensor.shape, tensor.dtype), tensor.below)
    except InvalidInput as error:
        raise InvalidInput(f"{tensor.name!r} of {error}") from None


def fitting(rows: Any, shape: Shape, dtype: str | None) -> Array:
    """The rows as one array in the dtype, checked against the shape.

    Raises:
        InvalidInput: a row has another shape, or a value is not of the dtype.
    """
    if dtype in ITEMS:
        return _items(rows, shape, ITEMS[dtype])
    target = numpy_dtype(dtype)
    if target is not None and target.kind in TIMES and not _holds_times(rows):
        return _items(rows, shape, _to_count(target)).astype(np.int64).view(target)
    array = rows
    if target is not None and target.kind == "O":
        array = _objects(as_list(rows))
    elif not isinstance(rows, np.ndarray):
        array = to_array(rows, target)
    if target is not None and target.kind == "c":
        array = numbers.complexes(array)
    if shape is not None and not _fits(array.shape[1:], shape):
        raise InvalidInput(_misfit(rows[0], array.shape[1:], shape))
    return numbers.cast(array, target)


def within(array: Array, below: int | None) -> Array:
    """The array, if all of its numbers name one of so many things: on a GPU, one that does not
    leaves the model broken.

    Raises:
        InvalidInput: a number does not; the message has the first.
    """
    if below is None or array.dtype.kind not in numbers.WHOLE + "f":
        return array
    wrong = ~((array > -1) & (array < below))  # not a number is wrong too
    if wrong.any():
        index = tuple(int(part) for part in np.argwhere(wrong)[0])
        raise InvalidInput(
            f"{numbers.place(index)} must be from 0 to {below - 1}, it is {array[index]}"
        )
    return array


@lru_cache(maxsize=64)
def numpy_dtype(name: str | None) -> DType | None:
    """numpy's dtype of a name in `config.yaml`; None for strings and bytes, and for any.

    Raises:
        TypeError: numpy has none, or its values have no form in a body.
    """
    if name is None or name in ITEMS:
        return None
    dtype: DType = np.dtype(STAND_INS.get(name, name))
    if dtype.kind in TIMES and np.datetime_data(dtype)[0] not in times.UNITS:
        raise TypeError(f"no unit of {dtype} is known")
    return dtype


def _holds_times(rows: Any) -> bool:
    return isinstance(rows, np.ndarray) and rows.dtype.kind in TIMES


def _to_count(target: DType) -> texts.Item:
    """What converts a date or a duration to a count of the dtype's unit, in UTC; null is NaT."""
    unit = str(np.datetime_data(target)[0])
    counted = times.counter(unit, None)

    def convert(value: Any) -> int:
        if value is None:
            return NAT
        text = times.text_of(value)
        try:
            if isinstance(text, str) and target.kind == "M":
                return counted(times.moment(text))
            if isinstance(text, str):
                return times.count(times.duration(text), unit)
        except ValueError:
            pass
        wanted = FORMS[TIMES[target.kind]].words
        raise InvalidInput(f"must be {wanted} or null, it is {kind_of(value)}")

    return convert


def sparse(kind: str, array: Array) -> Any:
    """An array of shape [n, columns] in one of SciPy's sparse formats. Zeros are absent in it."""
    import scipy.sparse

    return getattr(scipy.sparse, kind)(array)


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    """None in `expected` stands for any size."""
    return len(shape) == len(expected) and all(
        size is None or size == found for size, found in zip(expected, shape, strict=True)
    )


def to_array(rows: list[Any], target: DType | None = None) -> Array:
    """Rows as parsed from a body, as an array of numbers; None is NaN.

    Args:
        rows: the rows.
        target: the dtype that the model takes. Without one, rows that hold something other than
            numbers become an array of objects.

    Raises:
        InvalidInput: the rows differ in shape, or do not hold what the model takes.
    """
    if are_many(rows) and (found := many(rows, target)) is not None:
        return found
    try:
        array = np.array(rows)
    except (ValueError, OverflowError, TypeError):
        raise InvalidInput(_unequal(rows)) from None
    if numbers.are_exact(array, target) or array.dtype.kind == "c":
        return array
    values = _objects(rows)
    if target is not None or all(numbers.is_number(item) for item in values.flat):
        return numbers.numbers(values, target)
    if any(isinstance(item, dict) for item in values.flat):
        raise InvalidInput(_unequal(rows))
    return values


def _objects(rows: Any) -> Array:
    """The values of nested lists of equal lengths, as they are."""
    values: Array = np.array(rows, dtype=object)
    if any(isinstance(item, (list, tuple)) for item in values.flat):
        raise InvalidInput(_unequal(rows))
    return values


def _items(rows: Any, shape: Shape, convert: texts.Item) -> Array:
    """An array of strings or bytes. A row that is a list of one may be the value alone."""
    listed = as_list(rows)
    if shape == (1,):
        listed = [_wrapped(row) for row in listed]
    values = _objects(listed)
    if shape is not None and not _fits(values.shape[1:], shape):
        raise InvalidInput(_misfit(listed[0], values.shape[1:], shape))
    for index, item in np.ndenumerate(values):
        try:
            values[index] = convert(item)
        except InvalidInput as error:
            raise InvalidInput(f"{numbers.place(index)} {error}") from None
    return values


def _wrapped(row: Any) -> Any:
    if isinstance(row, (str, bytes)) or texts.is_b64(row):
        return [row]
    return row


# ---- messages ----


def _misfit(row: Any, shape: Sequence[int], expected: Sequence[int | None]) -> str:
    wanted, came = _in_words(expected), _in_words(shape)
    if not expected:
        return f"instances[0] must be a single value, it is {kind_of(row)}"
    if not shape:
        return f"instances[0] must be a row with {wanted}, it is {kind_of(row)}"
    if len(shape) == len(expected) == 1:
        came = str(shape[0])
    return f"instances[0]: the model takes {wanted} a row, this one has {came}"


def _in_words(shape: Sequence[int | None]) -> str:
    sizes = ["any" if size is None else str(size) for size in shape]
    if len(sizes) != 1:
        return f"shape [{', '.join(sizes)}]"
    if sizes == ["any"]:
        return "a list of values"
    return f"{sizes[0]} values"


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
