"""Columns of times, durations, periods and intervals, as pandas has them."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ...schema import Column
from . import times
from .cells import Build, Cells

Array = np.ndarray[Any, np.dtype[Any]]
NAT = -(2**63)  # as datetime64 and timedelta64 hold it

_COMMON = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?Z?)?", re.ASCII)
_INTERVAL = re.compile(r"(?P<open>[\[(])(?P<left>[^,]+), (?P<right>[^,]+)(?P<close>[\])])")
_CLOSED = {"[]": "both", "()": "neither", "(]": "right", "[)": "left"}


def moments(column: Column, dtype: Any) -> Build:
    """datetime64: in the column's own zone, or in UTC without a zone."""
    import pandas

    zone = getattr(dtype, "tz", None)
    unit, _ = np.datetime_data(getattr(dtype, "base", dtype))
    cells = Cells(column, read=times.counter(unit, offset_in(zone)))

    def read(values: list[Any]) -> Array:
        return _with_nat(cells.read(values)).view(f"M8[{unit}]")

    def build(values: list[Any]) -> Array:
        at_once = _at_once(values, unit)
        if at_once is not None:
            return at_once
        return read(values)

    def build_zoned(values: list[Any]) -> Any:
        return pandas.Series(read(values)).dt.tz_localize("UTC").dt.tz_convert(zone)

    if zone is None:
        return build
    return build_zoned


def _at_once(values: list[Any], unit: str) -> Array | None:
    """What numpy reads at once, which is many times as fast; None for any other form."""
    try:
        if not all(value is None or _COMMON.fullmatch(value) for value in values):
            return None
        texts = ["NaT" if value is None else value.removesuffix("Z") for value in values]
        exact = np.array(texts, dtype="M8[us]")
    except (TypeError, ValueError):
        return None
    found = exact.astype(f"M8[{unit}]")
    if np.array_equal(found.astype(exact.dtype).view(np.int64), exact.view(np.int64)):
        return found
    return None


def offset_in(zone: Any) -> Callable[[int], int] | None:
    """What says how far a zone's clock is from UTC, in nanoseconds; None without a zone."""
    import pandas

    if zone is None:
        return None

    def offset(clock: int) -> int:
        try:
            local = pandas.Timestamp(clock // times.SECOND, unit="s").tz_localize(zone)
        except Exception:  # pytz's are no ValueError
            raise ValueError(times.SET.format(zone)) from None
        return times.nanoseconds(local.utcoffset())

    return offset


def durations(column: Column, dtype: np.dtype[Any]) -> Build:
    unit, _ = np.datetime_data(dtype)
    cells = Cells(column, read=lambda length: times.count(length, unit))
    return lambda values: _with_nat(cells.read(values)).view(f"m8[{unit}]")


def _with_nat(counts: list[int | None]) -> Array:
    return np.array([NAT if count is None else count for count in counts], dtype=np.int64)


def periods(column: Column, dtype: Any) -> Build:
    import pandas

    def period(text: str) -> Any:
        found = pandas.Period(text.partition("/")[0], dtype.freq)
        if str(found) != text:  # pandas reads far more than it writes
            raise ValueError(f"it is no {dtype}")
        return found

    cells = Cells(column, read=period)
    return lambda values: pandas.array(cells.read(values), dtype=dtype)


def intervals(column: Column, dtype: Any) -> Build:
    import pandas

    number: Callable[[str], float] = _whole
    if dtype.subtype.kind == "f":
        number = float

    def interval(text: str) -> Any:
        found = _INTERVAL.fullmatch(text)
        if found is None or _CLOSED[found["open"] + found["close"]] != dtype.closed:
            raise ValueError(f"it is no {dtype}")
        return pandas.Interval(number(found["left"]), number(found["right"]), dtype.closed)

    cells = Cells(column, read=interval)
    return lambda values: pandas.array(cells.read(values), dtype=dtype)


def _whole(text: str) -> int:
    """The number of `2` and of `2.0`, as pandas writes it in a column that has missing values."""
    return int(text.removesuffix(".0"))
