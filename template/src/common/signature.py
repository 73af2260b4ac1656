"""Converts the rows of a request to what the model takes, as `model.input` of `config.yaml` says.

The forms of `model.input` and their fields are in `schema.py`. Without one, rows of numbers or
lists become an array, and texts and objects stay a list.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from .errors import InvalidInput
from .schema import (
    TEXT,
    ArrayInput,
    Column,
    JsonInput,
    ModelInput,
    Shape,
    TableInput,
    Tensor,
    TensorsInput,
    TextInput,
    read_input,
)

NUMERIC = "biuf"
STAND_INS = {"bfloat16": "float32"}  # numpy's dtypes for those that it lacks
WHOLE = re.compile(r"u?int\d+|bool")  # the dtypes that hold no NaN
Array = np.ndarray[Any, np.dtype[Any]]


class Signature:
    """What a model takes. Its only public method is `inputs`.

    Args:
        described: `model.input` of a Config, or the same as `config.yaml` has it; None takes any
            rows.

    Raises:
        ConfigError: a value in what `config.yaml` has is not allowed.
    """

    def __init__(self, described: ModelInput | Mapping[str, Any] | None) -> None:
        if isinstance(described, Mapping):
            described = read_input(described or None)
        if type(described) not in CONVERTERS:
            raise TypeError(f"a Signature needs config.model.input, it got {described!r:.80}")
        self._convert: Callable[[Any], Any] = partial(CONVERTERS[type(described)], described)

    def inputs(self, rows: Any) -> Any:
        """The rows as the model takes them.

        Args:
            rows: `instances` of a request: a list of rows, or an array whose first axis is rows.

        Raises:
            InvalidInput: a row does not fit. The message names it, what was expected and what came.
        """
        if not isinstance(rows, (list, np.ndarray)):
            raise InvalidInput(f"instances must be a list of rows, it is {_kind(rows)}")
        if isinstance(rows, np.ndarray) and rows.ndim == 0:
            raise InvalidInput("instances must be a list of rows, it is a single value")
        if not len(rows):
            raise InvalidInput("instances is empty: send at least one row")
        return self._convert(rows)


# ---- one converter for each form of `model.input` ----


def _array(described: ArrayInput, rows: Any) -> Array:
    names = described.names
    if names and isinstance(rows, list) and any(isinstance(row, dict) for row in rows):
        rows = [_named(row, index, names) for index, row in enumerate(rows)]
    return _fitting(rows, described.shape, described.dtype)


def _tensors(described: TensorsInput, rows: Any) -> dict[str, Array]:
    names = described.names
    listed = [_named(row, index, names, "input") for index, row in enumerate(rows)]
    columns = zip(described.inputs, zip(*listed, strict=True), strict=True)
    return {tensor.name: _tensor(tensor, list(values)) for tensor, values in columns}


def _table(described: TableInput, rows: Any) -> Any:
    import pandas

    if isinstance(rows, np.ndarray):
        rows = rows.tolist()
    listed = [_cells(row, index, described.names) for index, row in enumerate(rows)]
    columns = zip(described.columns, zip(*listed, strict=True), strict=True)
    return pandas.DataFrame(
        {column.name: _column(column, list(values)) for column, values in columns}
    )


def _texts(described: TextInput, rows: Any) -> list[str]:
    texts = _as_list(rows)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"instances[{index}] must be a string, it is {_kind(text)}")
    return texts


def _json(described: JsonInput, rows: Any) -> list[Any]:
    return _as_list(rows)


def _any_rows(described: None, rows: Any) -> Any:
    if isinstance(rows, np.ndarray) or isinstance(rows[0], (str, dict)):
        return rows
    return _to_array(rows, numeric=False)


CONVERTERS: dict[type, Callable[[Any, Any], Any]] = {
    ArrayInput: _array,
    TensorsInput: _tensors,
    TableInput: _table,
    TextInput: _texts,
    JsonInput: _json,
    type(None): _any_rows,
}


def _as_list(rows: Any) -> list[Any]:
    if isinstance(rows, np.ndarray):
        rows = rows.tolist()
    return list(rows)


# ---- arrays ----


def _tensor(tensor: Tensor, values: list[Any]) -> Array:
    """The values of one input, one of each row."""
    try:
        return _fitting(values, tensor.shape, tensor.dtype)
    except InvalidInput as error:
        raise InvalidInput(f"{tensor.name!r} of {error}") from None


def _fitting(rows: Any, shape: Shape, dtype: str | None) -> Array:
    """The rows as one array, checked against the shape."""
    if dtype == TEXT:
        return _text_array(rows, shape)
    array = rows
    if not isinstance(rows, np.ndarray):
        array = _to_array(rows, numeric=dtype is not None)
    if shape is not None and not _fits(array.shape[1:], shape):
        raise InvalidInput(_misfit(rows, shape))
    return _cast(array, dtype)


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    """None in `expected` stands for any size."""
    return len(shape) == len(expected) and all(
        size is None or size == found for size, found in zip(expected, shape, strict=True)
    )


def _to_array(rows: list[Any], numeric: bool) -> Array:
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
        raise InvalidInput(f"{_place(values, odd)} must be a number or null, it is {_kind(odd)}")
    return values


def _text_array(rows: Any, shape: Shape) -> Array:
    """An array of Python's strings. A row that is a list of one may be the string alone."""
    listed = _as_list(rows)
    if shape == (1,):
        listed = [_wrapped(row) for row in listed]
    values = _to_array(listed, numeric=False).astype(object)
    if shape is not None and not _fits(values.shape[1:], shape):
        raise InvalidInput(_misfit(listed, shape))
    if odd := [item for item in values.flat if not isinstance(item, str)]:
        raise InvalidInput(f"{_place(values, odd[0])} must be a string, it is {_kind(odd[0])}")
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


# ---- objects, lists and columns ----


def _named(row: Any, index: int, names: Sequence[str], of: str = "feature") -> list[Any]:
    """A row that is an object keyed by name, in the model's order."""
    if not isinstance(row, dict):
        also = f" ({_listing(names)})"
        if of == "feature":
            also = ", as the others are"
        raise InvalidInput(
            f"instances[{index}] must be an object keyed by {of} name{also}, it is {_kind(row)}"
        )
    if missing := [name for name in names if name not in row]:
        raise InvalidInput(
            f"instances[{index}] lacks {_listing(missing)}; the model takes {_listing(names)}"
        )
    if unknown := [name for name in row if name not in names]:
        raise InvalidInput(
            f"instances[{index}] has {_listing(unknown)}; the model takes {_listing(names)}"
        )
    return [row[name] for name in names]


def _cells(row: Any, index: int, names: Sequence[str]) -> list[Any]:
    """A row of a table, an object or a list, in the columns' order."""
    if isinstance(row, dict):
        return _named(row, index, names)
    if not isinstance(row, (list, tuple)):
        raise InvalidInput(
            f"instances[{index}] must be a list or an object keyed by feature name,"
            f" it is {_kind(row)}"
        )
    if len(row) != len(names):
        raise InvalidInput(
            f"instances[{index}] has {len(row)} values, the model takes {len(names)}:"
            f" {_listing(names)}"
        )
    return list(row)


def _column(column: Column, values: list[Any]) -> Any:
    """One feature as a pandas Series in the model's dtype; null becomes NaN."""
    import pandas

    _check_type(column.name, column.type, values)
    values = [math.nan if value is None else value for value in values]
    if column.categories:
        return _categorical(column.categories, values)
    if column.dtype:
        return _series(column.name, values, column.dtype)
    return pandas.Series(values)


def _categorical(categories: Sequence[Any], values: list[Any]) -> Any:
    """A categorical Series, in which an unknown category is missing."""
    import pandas

    known = [value if value in categories else None for value in values]
    return pandas.Series(pandas.Categorical(known, categories=list(categories)))


def _series(name: str, values: list[Any], dtype: str) -> Any:
    try:
        return _cast_values(values, dtype)
    except (TypeError, ValueError, OverflowError):
        odd = next((value for value in values if not _castable(value, dtype)), values)
        raise InvalidInput(
            f"instances: {name!r} must be of dtype {dtype}, it is {_kind(odd)}"
        ) from None


def _cast_values(values: list[Any], dtype: str) -> Any:
    """A Series in a dtype; in a wider one, as pandas chooses it, if that cannot hold the values."""
    import pandas

    series = pandas.Series(values, dtype=object if dtype == "object" else None)
    whole = WHOLE.fullmatch(dtype) is not None
    if whole and (series.dtype.kind == "f" or series.isna().any()):
        return series.astype("float64")
    with np.errstate(over="ignore"):
        cast = series.astype(dtype)
    wraps = whole and series.dtype.kind in "iu" and bool((cast != series).any())
    if wraps:
        return series
    return cast


def _castable(value: Any, dtype: str) -> bool:
    try:
        _cast_values([value], dtype)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


_TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float, np.number),
    "boolean": (bool, np.bool_),
    "string": (str,),
    "any": (str, int, float, np.generic),
}
_EXPECTED = {
    "number": "a number or null",
    "boolean": "a boolean or null",
    "string": "a string or null",
    "any": "a string, a number or null",
}


def _check_type(name: str, kind: str, values: Iterable[Any]) -> None:
    allowed = _TYPES[kind]
    for index, value in enumerate(values):
        if value is None:
            continue
        if not isinstance(value, allowed) or (kind == "number" and isinstance(value, bool)):
            raise InvalidInput(
                f"instances[{index}]: {name!r} must be {_EXPECTED[kind]}, it is {_kind(value)}"
            )


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
        return f"instances[0] must be a row with {wanted}, it is {_kind(row)}"
    return f"instances[0]: the model takes {wanted} a row, this one has {came}"


def _unequal(rows: list[Any]) -> str:
    """The message that names the first row whose shape differs from that of the first."""
    sizes = [_size(row) for row in rows]
    for index, size in enumerate(sizes):
        if size != sizes[0]:
            return (
                f"instances[{index}] must be like instances[0], which has {sizes[0]}:"
                f" it is {_kind(rows[index])}"
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


def _kind(value: Any) -> str:
    """What a parsed value is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {value[:40]!r}"
    if isinstance(value, (int, float)):
        return f"the number {value!r}"[:60]
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    return f"a value of type {type(value).__name__}"


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    if len(names) > 8:
        return f"{shown} and {len(names) - 8} more"
    return shown
