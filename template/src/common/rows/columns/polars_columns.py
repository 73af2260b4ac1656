"""Columns of polars: what makes each from the values of a request, in the dtype of training.

A dtype is written as `String`, `Int64`, `Datetime[us]`, `Datetime[us, UTC]`, `Duration[ns]`,
`Decimal[9, 2]`, `List[Float64]` or `Array[Float64, 3]`.
"""

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ...errors import ConfigError, InvalidInput
from ...schema import Column
from . import times
from .cells import Build, Cells
from .number_columns import reader
from .times import counter

READ = ("String", "Categorical", "Boolean", "Date", "Time", "Binary", "Null")
ITEMS = re.compile(r"((List|Array)\[)*(String|Boolean|U?Int\d+|Float\d+)[\], \d]*")
Reader = Callable[[list[Any]], list[Any]]


def frame(columns: dict[str, Any]) -> Any:
    """A DataFrame of columns."""
    import polars

    return polars.DataFrame(columns)


def builder(column: Column) -> Build:
    """What makes a column.

    Raises:
        ConfigError: there is no such dtype, or no column of it can be made.
    """
    import polars

    if column.categories is not None:
        return _enumerated(column, column.categories)
    if column.dtype is None:
        return _untyped(column)
    dtype, read = dtype_of(column.dtype), _reader(column, column.dtype)

    def build(values: list[Any]) -> Any:
        return polars.Series(read(values), dtype=dtype)

    def build_lists(values: list[Any]) -> Any:
        try:
            return build(values)
        except (TypeError, ValueError, polars.exceptions.PolarsError):
            _refuse_odd(column, values, dtype)

    def build_counts(values: list[Any]) -> Any:
        return polars.Series(read(values), dtype=polars.Int64).cast(dtype)

    if column.dtype.startswith(("Datetime[", "Duration[")):
        return build_counts
    if column.dtype.startswith(("List[", "Array[")):
        return build_lists
    return build


def _refuse_odd(column: Column, values: list[Any], dtype: Any) -> NoReturn:
    """Name the first list that a column of lists cannot hold."""
    import polars

    for row, value in enumerate(values):
        try:
            polars.Series([value], dtype=dtype)
        except (TypeError, ValueError, polars.exceptions.PolarsError):
            Cells(column).refuse(row, value, f"a list that {column.dtype} can hold, or null")
    raise InvalidInput(f"instances: {column.name!r} must be lists that {column.dtype} can hold")


def dtype_of(name: str) -> Any:
    """polars' dtype of a name.

    Raises:
        ConfigError: there is none.
    """
    import polars

    kind, *parts = _parts(name)
    try:
        if kind in ("List", "Array"):
            return getattr(polars, kind)(dtype_of(parts[0]), *map(int, parts[1:]))
        if kind == "Decimal":
            return polars.Decimal(*map(int, parts))
        if parts:
            return getattr(polars, kind)(*parts)
        return getattr(polars, kind)()
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(
            f"config.yaml: model.input.columns: polars makes no dtype of {name!r}: {error}"
        ) from error


def _parts(name: str) -> list[str]:
    """`Array`, `List[Int8]` and `3` of `Array[List[Int8], 3]`."""
    kind, _, rest = name.partition("[")
    inner = rest.removesuffix("]")
    if kind == "List" and inner:
        return [kind, inner]
    if kind == "Array" and inner:
        return [kind, *inner.rsplit(", ", 1)]
    return [kind, *filter(None, inner.split(", "))]


def _reader(column: Column, name: str) -> Reader:
    kind, *parts = _parts(name)
    if kind == "Datetime":
        return Cells(column, read=counter(parts[0], _offset(*parts[1:]))).read
    if kind == "Duration":
        return Cells(column, read=lambda length: times.count(length, parts[0])).read
    if kind == "Decimal":
        return Cells(column, read=lambda number: _rescaled(number, int(parts[1]))).read
    if kind.startswith(("Int", "UInt", "Float")):
        return _numbers(column, np.dtype(kind.lower()))
    if kind in READ or (kind in ("List", "Array") and ITEMS.fullmatch(parts[0])):
        return Cells(column).read
    raise ConfigError(
        f"config.yaml: model.input.columns: {column.name!r} has the dtype {name}, for which JSON"
        " has no form here"
    )


def _numbers(column: Column, dtype: np.dtype[Any]) -> Reader:
    read = reader(column, dtype)
    if column.missing == "NaN":
        return lambda values: [math.nan if value is None else value for value in read(values)]
    return read


def _rescaled(number: Any, scale: int) -> Any:
    if not number.is_finite() or -number.as_tuple().exponent > scale:
        raise ValueError(f"it has more than {scale} digits after the point")
    return number


def _offset(zone: str | None = None) -> Callable[[int], int] | None:
    """What says how far a zone's clock is from UTC, in nanoseconds; None without a zone."""
    if zone is None:
        return None

    def offset(clock: int) -> int:
        import polars

        local = polars.Series([clock // 1000], dtype=polars.Int64).cast(polars.Datetime("us"))
        try:
            utc = local.dt.replace_time_zone(zone).to_physical()[0]
        except polars.exceptions.PolarsError:
            raise ValueError(times.SET.format(zone)) from None
        return (clock // 1000 - int(utc)) * 1000

    return offset


def _enumerated(column: Column, categories: tuple[Any, ...]) -> Build:
    import polars

    cells, dtype, known = Cells(column), polars.Enum(list(categories)), frozenset(categories)

    def build(values: list[Any]) -> Any:
        read = list(cells.read(values))
        for row, value in enumerate(read):
            if value is not None and value not in known:
                if column.unknown is None:
                    cells.refuse(row, value)
                read[row] = None
        return polars.Series(read, dtype=dtype)

    return build


def _untyped(column: Column) -> Build:
    """What polars makes of the values: the dtype is not known."""
    import polars

    cells = Cells(column)
    return lambda values: polars.Series(cells.read(values))
