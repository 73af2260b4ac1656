"""Columns of pandas that Arrow holds, such as int64[pyarrow]."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...schema import Column
from . import times
from .cells import Build, Cells
from .formats import form_name
from .number_columns import reader
from .time_columns import offset_in

DECIMAL = re.compile(r"decimal(?P<bits>128|256)\((?P<precision>\d+), (?P<scale>\d+)\)\[pyarrow\]")


def arrow(column: Column, dtype: Any) -> Build:
    import pandas
    import pyarrow

    kind = dtype.pyarrow_dtype
    read = _reader(column, dtype)

    def build(values: list[Any]) -> Any:
        return pandas.arrays.ArrowExtensionArray(pyarrow.array(read(values), type=kind))

    return build


def _reader(column: Column, dtype: Any) -> Callable[[list[Any]], list[Any]]:
    from pyarrow import types

    kind = dtype.pyarrow_dtype
    if types.is_timestamp(kind):
        return Cells(column, read=times.counter(kind.unit, offset_in(_zone(kind.tz)))).read
    if types.is_duration(kind):
        return Cells(column, read=lambda length: times.count(length, kind.unit)).read
    if types.is_integer(kind) or types.is_floating(kind):
        return reader(column, np.dtype(kind.to_pandas_dtype()))
    if types.is_decimal(kind):
        return Cells(column, read=lambda number: _rescaled(number, kind)).read
    if form_name(column) not in ("any", "list", "object"):
        return Cells(column).read
    raise ConfigError(
        f"config.yaml: model.input.columns: {column.name!r} has the dtype {column.dtype}, for which"
        " JSON has no form here"
    )


def _zone(name: str | None) -> Any:
    import pandas

    if name is None:
        return None
    return pandas.DatetimeTZDtype("s", name).tz


def _rescaled(number: Any, kind: Any) -> Any:
    import pyarrow

    pyarrow.scalar(number, type=kind)  # ArrowInvalid is a ValueError
    return number


def decimal_dtype(name: str) -> Any:
    """The dtype of a name such as `decimal128(7, 2)[pyarrow]`, which pandas writes and does not
    read; None for any other name."""
    import pandas
    import pyarrow

    found = DECIMAL.fullmatch(name)
    if found is None:
        return None
    make = getattr(pyarrow, f"decimal{found['bits']}")
    return pandas.ArrowDtype(make(int(found["precision"]), int(found["scale"])))
