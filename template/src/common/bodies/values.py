"""Conversions that the JSON and the msgpack encoder share."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import numbers
from collections.abc import Callable, Mapping, Sequence, Set
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DecodeError as DecodeError
from ..rows.columns.times import DAY, SECOND, duration_text
from ..words import type_name

Array = npt.NDArray[Any]
DType = np.dtype[Any]
Encoder = Callable[[Any], bytes]  # of a response
Converters = tuple[tuple[Any, Callable[[Any], Any]], ...]  # types, and what converts their values

# pandas' NA and NaT are recognised by name, so that no worker has to import pandas.
_MISSING = frozenset({"NAType", "NaTType"})
_DIGITS = {"ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}
_FINER_THAN_MICROSECONDS = frozenset({"ns", "ps", "fs", "as"})
_SECONDS: dict[str, int | Fraction] = {"W": 604_800, "D": DAY, "h": 3_600, "m": 60, "s": 1}
_SECONDS |= {unit: Fraction(1, 10**digits) for unit, digits in _DIGITS.items()}
_TEXTS = frozenset({"Interval", "Period"})  # pandas', whose text is their form in JSON


def convert(value: Any, converters: Converters) -> Any:
    """Convert a value that an encoder does not support. The result may need converting again.

    Args:
        value: any value.
        converters: the encoder's own converters. They come before those that all encoders share.

    Raises:
        TypeError: no converter takes the value. The message names its type.
    """
    name = type(value).__name__
    if name in _MISSING:
        return None
    if name in _TEXTS and type(value).__module__.startswith("pandas"):
        return str(value)
    for types, converter in converters:
        if isinstance(value, types):
            return converter(value)
    return _to_builtin(value)


def _to_builtin(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=_rank)
    if isinstance(value, (Sequence, Set)):
        return list(value)
    if not isinstance(value, type):
        if dataclasses.is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if hasattr(value, "columns") and hasattr(value, "to_dict"):
            return frame_rows(value)
        for method in ("to_numpy", "toarray", "tolist"):
            if hasattr(value, method):
                return getattr(value, method)()
    raise TypeError(f"a value of type {type_name(value)} cannot be serialized")


def _rank(item: Any) -> tuple[int, Any, str]:
    """Orders a set: numbers, then the rest as text. Its own order differs in each process."""
    if isinstance(item, numbers.Real) and item == item:
        return 0, item, ""
    if isinstance(item, frozenset):
        return 1, 0, str(sorted(item, key=_rank))
    return 1, 0, str(item)


def frame_rows(frame: Any) -> Any:
    """The rows of a DataFrame: dicts if its column names are distinct strings, else lists."""
    if hasattr(frame, "to_dicts"):  # polars', which has no other names
        return frame.to_dicts()
    names = list(frame.columns)
    if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
        return frame.to_dict(orient="records")
    return frame.to_numpy()


def array_to_list(array: Array, time: Callable[[Any], Any] | None = None) -> Any:
    """An array as nested lists of Python values, with records as dicts.

    Args:
        array: the array.
        time: converts a datetime64 or a timedelta64; by default to Python's own type.
    """
    if array.dtype.kind in "mM":
        return _times_to_list(array, time or _time_to_python)
    if not array.dtype.names:
        return array.tolist()
    if array.ndim:
        return list(array)
    return _record_to_dict(array)


def scalar_to_python(scalar: np.generic) -> Any:
    """A numpy scalar as a Python value, a record as a dict."""
    if scalar.dtype.names:
        return _record_to_dict(scalar)
    if scalar.dtype.kind in "mM":
        return _time_to_python(scalar)
    return scalar.item()


def _record_to_dict(record: Any) -> dict[str, Any]:
    return {name: record[name] for name in record.dtype.names}


def _times_to_list(array: Array, time: Callable[[Any], Any]) -> Any:
    nat: Any = np.array("NaT", dtype=array.dtype)
    plain = np.ma.filled(array, nat)
    values = np.empty(plain.size, dtype=object)
    values[:] = [time(scalar) for scalar in plain.ravel()]
    return values.reshape(plain.shape).tolist()


def _time_to_python(scalar: Any) -> Any:
    """A datetime64 or timedelta64 as Python's own type, or None for NaT.

    What is out of the range of Python's type becomes an ISO 8601 string.
    """
    unit, _ = np.datetime_data(scalar.dtype)
    value = scalar.item()
    if isinstance(value, int) and unit in _FINER_THAN_MICROSECONDS:
        value = scalar.astype(f"{scalar.dtype.kind}8[us]").item()
    if isinstance(value, int) and isinstance(scalar, np.datetime64):
        return str(scalar)
    if isinstance(value, int):
        return _iso_duration(scalar)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime.combine(value, dt.time())
    return value


def time_to_iso(scalar: Any) -> Any:
    """A datetime64 or timedelta64 as ISO 8601 writes it, to the nanosecond; None for NaT.

    Python's own datetime stands for one that has no nanoseconds.
    """
    if np.isnat(scalar):
        return None
    if isinstance(scalar, np.timedelta64):
        return _iso_duration(scalar)
    if scalar.astype("M8[us]") != scalar:
        return str(scalar)
    return _time_to_python(scalar)


def _iso_duration(span: np.timedelta64) -> str | int:
    """A duration; a bare number for one without a unit."""
    unit, size = np.datetime_data(span.dtype)
    count = int(span.astype(np.int64)) * size
    if unit in ("Y", "M"):  # they have no fixed length
        return f"P{count}{unit}"
    if unit == "generic":
        return count
    return duration_text(int(_SECONDS[unit] * count * SECOND))
