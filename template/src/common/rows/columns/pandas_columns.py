"""Columns of pandas: what makes each from the values of a request, in the dtype of training.

Each is made in its dtype directly. pandas' own inference depends on the values that a request
happens to hold: an id beside a null becomes a float, and a column of nulls is none of texts.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...schema import Column
from . import number_columns, time_columns, times
from .arrow_columns import arrow, decimal_dtype
from .cells import Build, Cells
from .formats import form_name

_NUMBERS = {int, float, type(None)}
_OBJECTS: dict[str, Callable[[Any], Any]] = {
    "date-time": times.datetime,
    "duration": times.timedelta,
}


def builder(column: Column) -> Build:
    """What makes a column.

    Raises:
        ConfigError: there is no such dtype, or no column of it can be made.
    """
    if column.categories is not None:
        return _categorical(column, column.categories)
    if column.dtype is None:
        return _untyped(column)
    dtype = dtype_of(column.dtype)
    kind = type(dtype).__name__
    if isinstance(dtype, np.dtype):
        kind = dtype.kind
    elif hasattr(dtype, "numpy_dtype") and kind not in _BUILDERS:
        kind = "masked"
    if kind not in _BUILDERS:
        raise ConfigError(
            f"config.yaml: model.input.columns: {column.name!r} has the dtype {column.dtype},"
            " for which JSON has no form here"
        )
    return _BUILDERS[kind](column, dtype)


def frame(columns: dict[str, Any]) -> Any:
    """A DataFrame of columns."""
    import pandas

    return pandas.DataFrame(columns)


def dtype_of(name: str) -> Any:
    """pandas' dtype of a name.

    Raises:
        ConfigError: there is none.
    """
    import pandas

    try:
        if name.startswith("decimal"):
            return decimal_dtype(name) or pandas.api.types.pandas_dtype(name)
        return pandas.api.types.pandas_dtype(name)
    except (TypeError, ValueError, NotImplementedError, ImportError) as error:
        raise ConfigError(
            f"config.yaml: model.input.columns: pandas makes no dtype of {name!r}: {error}"
        ) from error


def _texts(column: Column, dtype: Any) -> Build:
    import pandas

    cells = Cells(column)
    return lambda values: pandas.array(cells.read(values), dtype=dtype)


def _objects(column: Column, dtype: Any) -> Build:
    import pandas

    cells = Cells(column, read=_OBJECTS.get(column.format or ""))
    kinds = {"None": None, "NA": pandas.NA, "NaT": pandas.NaT}
    missing = kinds.get(column.missing or "", math.nan)

    def build(values: list[Any]) -> Any:
        read = cells.read(values)
        return pandas.Series([missing if value is None else value for value in read], dtype=object)

    return build


def _untyped(column: Column) -> Build:
    """What pandas makes of the values: the dtype is not known."""
    import pandas

    cells = Cells(column)

    def build(values: list[Any]) -> Any:
        if (array := cells.array(values)) is not None:
            return pandas.Series(array)
        read = cells.read(values)
        kinds = set(map(type, read))
        if kinds <= _NUMBERS and kinds != {int}:
            return pandas.Series(number_columns.exact_floats(column.name, read))
        return pandas.Series([math.nan if value is None else value for value in read])

    return build


def _untyped_category(column: Column, dtype: Any) -> Build:
    """A category column whose categories are not known."""
    build = _untyped(column)
    return lambda values: build(values).astype(dtype)


def _sparse(column: Column, dtype: Any) -> Build:
    import pandas

    dense = builder(replace(column, dtype=str(dtype.subtype)))

    def build(values: list[Any]) -> Any:
        array = dense(values)
        fitting = pandas.SparseDtype(array.dtype, dtype.fill_value)
        return pandas.arrays.SparseArray(array, dtype=fitting)

    return build


# ---- categories ----

Codes = Callable[[list[Any]], Any]
"""The place of each value among the categories; -1 for null and for an unknown category."""


def _categorical(column: Column, categories: tuple[Any, ...]) -> Build:
    import pandas

    plain = builder(replace(column, dtype=column.categories_dtype, categories=None))
    values = plain(list(categories))
    index = pandas.Index(values, dtype=values.dtype)
    dtype = pandas.CategoricalDtype(index, ordered=bool(column.ordered))
    cells, codes_of = Cells(column), _codes(column, categories, index, plain)

    def build(values: list[Any]) -> Any:
        cells.read(values)
        codes = codes_of(values)
        if column.unknown is None:
            for row, (code, value) in enumerate(zip(codes, values, strict=True)):
                if code == -1 and value is not None:
                    cells.refuse(row, value)
        return pandas.Categorical.from_codes(codes, dtype=dtype)

    return build


def _codes(column: Column, categories: tuple[Any, ...], index: Any, plain: Build) -> Codes:
    if not categories:
        return lambda values: [-1] * len(values)
    if form_name(column) == "string":
        places = {text: place for place, text in enumerate(categories)}
        return lambda values: [places.get(value, -1) for value in values]

    def codes(values: list[Any]) -> Any:
        known = [categories[0] if value is None else value for value in values]
        found = index.get_indexer(plain(known))
        found[[value is None for value in values]] = -1
        return found

    return codes


_BUILDERS: dict[str, Callable[[Column, Any], Build]] = {
    # numpy's, by their kind
    "b": number_columns.booleans,
    "i": number_columns.whole,
    "u": number_columns.whole,
    "f": number_columns.floats,
    "M": time_columns.moments,
    "m": time_columns.durations,
    "O": _objects,
    "U": _objects,  # `str`, before pandas 3
    # pandas', by their class
    "masked": number_columns.masked,
    "ArrowDtype": arrow,
    "CategoricalDtype": _untyped_category,
    "DatetimeTZDtype": time_columns.moments,
    "IntervalDtype": time_columns.intervals,
    "PeriodDtype": time_columns.periods,
    "SparseDtype": _sparse,
    "StringDtype": _texts,
}
