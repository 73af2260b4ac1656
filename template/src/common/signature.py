"""Rows of a request become what the model takes, as `model.input` in `config.yaml` describes it.

kind: array     a numpy array: `shape` of one row, `dtype`; null where any will do; texts where `dtype` is "string"
kind: tensors   a dict of such arrays: `inputs`, each with `name`, `shape`, `dtype`; a row is an object keyed by name
kind: table     a pandas DataFrame: `columns`, each with `name`, `type`, `dtype` and perhaps `categories`
kind: text      a list of strings
kind: json      the list of rows as it came, whatever each is
null            whatever came: an array where rows are numbers or lists, else the list as it is
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .errors import InvalidInput

NUMERIC = "biuf"
TEXT = "string"
STAND_INS = {"bfloat16": "float32"}  # numpy's dtypes for those that it lacks
WHOLE = re.compile(r"u?int\d+|bool")  # the dtypes that hold no NaN
Array = np.ndarray[Any, np.dtype[Any]]


class Signature:
    """What a model takes. `inputs` is its one method.

    Args:
        document: `model.input` of `config.yaml`, or None.
    """

    def __init__(self, document: dict[str, Any] | None) -> None:
        self._document = document or {"kind": None}
        converters = {
            "array": self._array,
            "tensors": self._tensors,
            "table": self._table,
            "text": self._text,
            "json": self._json,
            None: self._anything,
        }
        self._convert = converters[self._document["kind"]]

    def inputs(self, rows: Any) -> Any:
        """The rows as the model takes them.

        Args:
            rows: `instances` of a request: a list of rows, or an array whose first axis is rows.

        Raises:
            InvalidInput: a row does not fit; names it, what was expected and what came.
        """
        if not isinstance(rows, (list, np.ndarray)):
            raise InvalidInput(f"instances must be a list of rows, it is {_kind(rows)}")
        if isinstance(rows, np.ndarray) and rows.ndim == 0:
            raise InvalidInput("instances must be a list of rows, it is a single value")
        if not len(rows):
            raise InvalidInput("instances is empty: send at least one row")
        return self._convert(rows)

    def _array(self, rows: Any) -> Array:
        shape, dtype = self._document["shape"], self._document.get("dtype")
        names = self._document.get("names")
        if names and isinstance(rows, list) and any(isinstance(row, dict) for row in rows):
            rows = [_named(row, index, names) for index, row in enumerate(rows)]
        return _fitting(rows, shape, dtype)

    def _tensors(self, rows: Any) -> dict[str, Array]:
        inputs = self._document["inputs"]
        names = [item["name"] for item in inputs]
        listed = [_named(row, index, names, "input") for index, row in enumerate(rows)]
        columns = zip(inputs, zip(*listed, strict=True), strict=True)
        return {item["name"]: _input(item, list(values)) for item, values in columns}

    def _table(self, rows: Any) -> Any:
        import pandas

        columns = self._document["columns"]
        names = [column["name"] for column in columns]
        if isinstance(rows, np.ndarray):
            rows = rows.tolist()
        rows = [
            _named(row, i, names) if isinstance(row, dict) else _listed(row, i, names)
            for i, row in enumerate(rows)
        ]
        values = zip(*rows, strict=True)
        return pandas.DataFrame(
            {c["name"]: _column(c, list(v)) for c, v in zip(columns, values, strict=True)}
        )

    def _text(self, rows: Any) -> list[str]:
        texts = rows.tolist() if isinstance(rows, np.ndarray) else rows
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidInput(f"instances[{index}] must be a text, it is {_kind(text)}")
        return list(texts)

    def _json(self, rows: Any) -> list[Any]:
        return rows.tolist() if isinstance(rows, np.ndarray) else list(rows)

    def _anything(self, rows: Any) -> Any:
        if isinstance(rows, np.ndarray) or isinstance(rows[0], (str, dict)):
            return rows
        return _to_array(rows, numeric=False)


def _input(described: dict[str, Any], values: list[Any]) -> Array:
    """The values of one input, a row each."""
    try:
        return _fitting(values, described["shape"], described.get("dtype"))
    except InvalidInput as error:
        raise InvalidInput(f"{described['name']!r} of {error}") from None


def _fitting(rows: Any, shape: Sequence[int | None] | None, dtype: str | None) -> Array:
    """The rows as one array, found to have the shape."""
    if dtype == TEXT:
        return _texts(rows, shape)
    array = rows if isinstance(rows, np.ndarray) else _to_array(rows, numeric=dtype is not None)
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
        InvalidInput: the rows differ in shape, or hold what is no number although `numeric`.
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


def _texts(rows: Any, shape: Sequence[int | None] | None) -> Array:
    """An array of Python's texts. Where a row is a list of one text, the text alone will do."""
    listed = rows.tolist() if isinstance(rows, np.ndarray) else rows
    if shape is not None and list(shape) == [1]:
        listed = [[row] if isinstance(row, str) else row for row in listed]
    values = _to_array(listed, numeric=False).astype(object)
    if shape is not None and not _fits(values.shape[1:], shape):
        raise InvalidInput(_misfit(listed, shape))
    if odd := [item for item in values.flat if not isinstance(item, str)]:
        raise InvalidInput(f"{_place(values, odd[0])} must be a text, it is {_kind(odd[0])}")
    return values


def _numeric(item: Any) -> bool:
    return item is None or isinstance(item, (int, float, np.number, np.bool_))


def _floats(values: Array) -> Array:
    try:
        return values.astype(np.float64)
    except OverflowError:
        raise InvalidInput("instances holds a number that does not fit 64 bits") from None


def _cast(array: Array, dtype: str | None) -> Array:
    """The array in the model's dtype, where that loses nothing that was sent.

    Floats for a model trained on whole numbers stay floats, and whole numbers that do not fit stay as they are: so
    they would in a call of the model in memory.
    """
    target = None if dtype is None else np.dtype(STAND_INS.get(dtype, dtype))
    if target is None or array.dtype.kind not in NUMERIC:
        if target is not None and target.kind in NUMERIC:
            raise InvalidInput(
                f"instances must hold numbers, it is an array of dtype {array.dtype}"
            )
        return array
    if array.dtype == target:
        return array
    if array.dtype.kind == "f" and target.kind in "biu":
        return array
    with np.errstate(over="ignore"):
        cast = array.astype(target, copy=False)
    return array if target.kind in "biu" and not np.array_equal(cast, array) else cast


def _named(row: Any, index: int, names: Sequence[str], of: str = "feature") -> list[Any]:
    """A row that is an object keyed by name, in the model's order."""
    if not isinstance(row, dict):
        also = ", as the others are" if of == "feature" else f" ({_listing(names)})"
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


def _listed(row: Any, index: int, names: Sequence[str]) -> list[Any]:
    if not isinstance(row, (list, tuple)):
        raise InvalidInput(
            f"instances[{index}] must be a list or an object keyed by feature name, it is {_kind(row)}"
        )
    if len(row) != len(names):
        raise InvalidInput(
            f"instances[{index}] has {len(row)} values, the model takes {len(names)}: {_listing(names)}"
        )
    return list(row)


def _column(column: dict[str, Any], values: list[Any]) -> Any:
    """The values of one feature as a pandas Series in the dtype that the model was fitted on; null becomes NaN."""
    import pandas

    name, dtype = column["name"], column.get("dtype")
    _check_type(name, column.get("type", "any"), values)
    values = [math.nan if value is None else value for value in values]
    if categories := column.get("categories"):
        known = [
            value if value in categories else None for value in values
        ]  # an unknown one is missing
        return pandas.Series(pandas.Categorical(known, categories=categories))
    return _series(name, values, dtype) if dtype else pandas.Series(values)


def _series(name: str, values: list[Any], dtype: str) -> Any:
    try:
        return _cast_values(values, dtype)
    except (TypeError, ValueError, OverflowError):
        odd = next((value for value in values if not _castable(value, dtype)), values)
        raise InvalidInput(
            f"instances: {name!r} must be of dtype {dtype}, it is {_kind(odd)}"
        ) from None


def _cast_values(values: list[Any], dtype: str) -> Any:
    """A Series in a dtype; in a wider one where that cannot hold the values, as pandas itself would have it."""
    import pandas

    series = pandas.Series(values, dtype=object if dtype == "object" else None)
    whole = WHOLE.fullmatch(dtype) is not None
    if whole and (series.dtype.kind == "f" or series.isna().any()):
        return series.astype("float64")
    with np.errstate(over="ignore"):
        cast = series.astype(dtype)
    wraps = whole and series.dtype.kind in "iu" and bool((cast != series).any())
    return series if wraps else cast


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


def _check_type(name: str, kind: str, values: Iterable[Any]) -> None:
    allowed = _TYPES[kind]
    for index, value in enumerate(values):
        if value is None:
            continue
        if not isinstance(value, allowed) or (kind == "number" and isinstance(value, bool)):
            expected = "a text, a number or null" if kind == "any" else f"a {kind} or null"
            raise InvalidInput(
                f"instances[{index}]: {name!r} must be {expected}, it is {_kind(value)}"
            )


def _misfit(rows: Any, expected: Sequence[int | None]) -> str:
    row = rows[0]
    shape = list(np.shape(row))
    flat = len(expected) == 1
    wanted = f"{expected[0]} values" if flat else f"shape {list(expected)}"
    if not shape:
        return f"instances[0] must be a row with {wanted}, it is {_kind(row)}"
    came = f"{shape[0]}" if len(shape) == 1 and flat else f"shape {shape}"
    return f"instances[0]: the model takes {wanted} a row, this one has {came}"


def _unequal(rows: list[Any]) -> str:
    """Names the first row whose shape is not the first row's."""
    sizes = [len(row) if isinstance(row, list) else None for row in rows]
    for index, size in enumerate(sizes):
        if size != sizes[0]:
            first = f"{sizes[0]} values" if sizes[0] is not None else "no list"
            return f"instances[{index}] must be like instances[0], which has {first}: it is {_kind(rows[index])}"
    return "instances: the values in a row must be numbers, texts or null, or lists of equal length"


def _place(values: Array, odd: Any) -> str:
    position = next(index for index, item in np.ndenumerate(values) if item is odd)
    return "instances" + "".join(f"[{index}]" for index in position)


def _kind(value: Any) -> str:
    """What a parsed value is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, (int, float)):
        return f"the number {value!r}"[:60]
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return "an object" if isinstance(value, dict) else f"a value of type {type(value).__name__}"


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
