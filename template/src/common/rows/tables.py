"""Rows as a pandas DataFrame with the columns that the model was fitted on."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..schema import Column, TableInput
from ..words import kind_of, listing
from .parsed import as_list, named

WHOLE = re.compile(r"u?int\d+|bool")  # the dtypes that hold no NaN


def table(described: TableInput, rows: Any) -> Any:
    """Rows, each an object or a list, as a DataFrame."""
    import pandas

    listed = [_cells(row, index, described.names) for index, row in enumerate(as_list(rows))]
    columns = zip(described.columns, zip(*listed, strict=True), strict=True)
    return pandas.DataFrame(
        {column.name: _column(column, list(values)) for column, values in columns}
    )


def _cells(row: Any, index: int, names: Sequence[str]) -> list[Any]:
    """A row of a table, an object or a list, in the columns' order."""
    if isinstance(row, dict):
        return named(row, index, names)
    if not isinstance(row, (list, tuple)):
        raise InvalidInput(
            f"instances[{index}] must be a list or an object keyed by feature name,"
            f" it is {kind_of(row)}"
        )
    if len(row) != len(names):
        raise InvalidInput(
            f"instances[{index}] has {len(row)} values, the model takes {len(names)}:"
            f" {listing(names)}"
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
            f"instances: {name!r} must be of dtype {dtype}, it is {kind_of(odd)}"
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
                f"instances[{index}]: {name!r} must be {_EXPECTED[kind]}, it is {kind_of(value)}"
            )
