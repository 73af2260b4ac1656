"""What JSON and msgpack share: values that neither knows, brought nearer to what both write."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import reprlib
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
DType = np.dtype[Any]
Forms = tuple[tuple[Any, Callable[[Any], Any]], ...]
# pandas' NA and NaT, known by name so that no worker has to import pandas for them.
_MISSING = frozenset({"NAType", "NaTType"})
_FINER_THAN_MICROSECONDS = frozenset({"ns", "ps", "fs", "as"})
_ISO_DURATIONS = {
    "Y": "P{}Y",
    "M": "P{}M",
    "W": "P{}W",
    "D": "P{}D",
    "h": "PT{}H",
    "m": "PT{}M",
    "s": "PT{}S",
}


class DecodeError(ValueError):
    """The body is not what the route takes. The message is one line for the client."""


def step(value: Any, forms: Forms) -> Any:
    """Bring a value one step nearer to what the encoder writes itself."""
    if type(value).__name__ in _MISSING:
        return None
    for types, form in forms:
        if isinstance(value, types):
            return form(value)
    return _builtin(value)


def _builtin(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Sequence, Set)):
        return list(value)
    if not isinstance(value, type):
        if dataclasses.is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if hasattr(value, "columns") and hasattr(value, "to_dict"):
            return _table(value)
        for method in ("to_numpy", "toarray", "tolist"):
            if hasattr(value, method):
                return getattr(value, method)()
    raise TypeError(f"a value of type {type_name(value)} cannot be serialized")


def _table(frame: Any) -> Any:
    """The rows of a DataFrame: by name where each column has one of its own, else as lists."""
    names = list(frame.columns)
    named = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return frame.to_dict(orient="records") if named else frame.to_numpy()


def array_items(array: Array) -> Any:
    """The items of an array as nested lists of Python's values, records as dicts."""
    if array.dtype.names:
        return list(array) if array.ndim else _record(array)
    return _times(array) if array.dtype.kind in "mM" else array.tolist()


def scalar_item(scalar: np.generic) -> Any:
    """A numpy scalar as Python's value."""
    if scalar.dtype.names:
        return _record(scalar)
    return _time(scalar) if scalar.dtype.kind in "mM" else scalar.item()


def _record(record: Any) -> dict[str, Any]:
    return {name: record[name] for name in record.dtype.names}


def _times(array: Array) -> Any:
    nat: Any = np.array("NaT", dtype=array.dtype)
    plain = np.ma.filled(array, nat)
    values = np.empty(plain.size, dtype=object)
    values[:] = [_time(scalar) for scalar in plain.ravel()]
    return values.reshape(plain.shape).tolist()


def _time(scalar: Any) -> Any:
    """Python's own value for a datetime64 or timedelta64; ISO 8601 where Python has none, None for NaT."""
    unit, _ = np.datetime_data(scalar.dtype)
    value = scalar.item()
    if isinstance(value, int) and unit in _FINER_THAN_MICROSECONDS:
        value = scalar.astype(f"{scalar.dtype.kind}8[us]").item()
    if isinstance(value, int):
        return str(scalar) if isinstance(scalar, np.datetime64) else _iso_duration(scalar)
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return dt.datetime.combine(value, dt.time())
    return value


def _iso_duration(span: np.timedelta64) -> str | int:
    whole = span.astype("m8[s]") if np.datetime_data(span.dtype)[0] == "ms" else span
    unit, step = np.datetime_data(whole.dtype)
    count = int(whole.astype(np.int64)) * step
    return _ISO_DURATIONS[unit].format(count) if unit in _ISO_DURATIONS else count


def type_name(value: Any) -> str:
    """The type of a value as messages name it."""
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def shown(value: Any) -> str:
    """A value in a message: short, on one line, and never the repr of a container of unknown depth."""
    if isinstance(value, (str, bytes)):
        return reprlib.repr(value[:60])
    return (
        repr(value) if value is None or isinstance(value, (bool, int, float)) else type_name(value)
    )
