"""JSON bodies, with conversions for the types of numpy, pandas and Python that JSON lacks."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import operator
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import orjson

from ..rows.columns.times import duration_text, nanoseconds
from ..words import type_name
from .density import check_json
from .values import (
    Array,
    Converters,
    DecodeError,
    array_to_list,
    convert,
    scalar_to_python,
    time_to_iso,
)

# orjson itself would leave out the fields of a dataclass that start with an underscore.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS
# A few items are encoded faster as Python values. float32 is left out: Python writes more digits.
_FEW_ITEMS = 16
_SAME_AS_PYTHON = "?bBhHiIlLqQd"


def json_decode(body: bytes | memoryview) -> Any:
    """Decode JSON (RFC 8259) in UTF-8.

    Raises:
        DecodeError: the body is not JSON. `NaN`, `Infinity`, numbers out of a double's range, lone
            surrogates, more than 1024 levels, and too many empty lists are refused too.
    """
    check_json(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"the body is not JSON: {error}") from None


def json_encode(value: Any) -> bytes:
    """Encode a value as JSON (RFC 8259) in UTF-8.

    | value | JSON |
    |---|---|
    | numpy array or scalar, pandas Series, sparse matrix, sequence | number, string, list |
    | structured array, DataFrame whose column names are strings | list of objects |
    | set | list: the numbers in order, then the rest in the order of its text |
    | NaN, infinity, NaT, NA, masked element | `null` |
    | complex | `[re, im]` |
    | datetime, date, time, datetime64 | string, ISO 8601 |
    | timedelta, timedelta64 | string, ISO 8601 duration, to the nanosecond |
    | Decimal, UUID, pandas Interval and Period | string |
    | bytes | string if it is UTF-8, else `{"b64": "..."}` as in TensorFlow Serving's REST API |
    | key that is not a string | the JSON of the key, as a string |

    Raises:
        TypeError: a value cannot be encoded. The message names its type.
    """
    try:
        return orjson.dumps(value, _default, _OPTIONS)
    except TypeError:
        return _encode_converted(value)


def _default(value: Any) -> Any:
    """orjson's `default`: it is called for each value that orjson does not support."""
    return convert(value, _CONVERTERS)


def _encode_converted(value: Any) -> bytes:
    try:
        return orjson.dumps(_convert_all(value), _default, _OPTIONS)
    except (ValueError, RecursionError) as error:
        raise TypeError(f"the value cannot be encoded as JSON: {error}") from error


def _convert_all(value: Any) -> Any:
    """Convert on every level what orjson refuses without calling `_default`."""
    if value is None or isinstance(value, (str, bool, orjson.Fragment)):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, enum.Enum):
        return _convert_number(value)
    if isinstance(value, dict):
        return _convert_dict(value)
    if isinstance(value, (list, tuple)):
        return [_convert_all(item) for item in value]
    return _convert_all(_default(value))


def _convert_number(number: int | float) -> Any:
    if isinstance(number, float):
        return float(number)
    if -(1 << 63) <= number < 1 << 64:
        return number
    return orjson.Fragment(int.__repr__(number))


def _convert_dict(mapping: dict[Any, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = {}
    for key, value in mapping.items():
        name = _convert_key(key)
        if name in converted:
            raise TypeError(f"two keys of a dict are {name[:60]!r} in JSON: rename one")
        converted[name] = _convert_all(value)
    return converted


def _convert_key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    text = json_encode(key).decode()
    if text.startswith(("[", "{")):
        raise TypeError(f"a dict key of type {type_name(key)} cannot be a key in JSON: use a str")
    if text.startswith('"'):
        return str(orjson.loads(text))
    return text


def _convert_array(array: Array) -> Any:
    """An array of numbers as encoded JSON, any other as lists.

    orjson must not encode other arrays: it writes NaT as a date in 1677 or 1970.
    """
    if (
        type(array) is not np.ndarray
        or not array.ndim
        or array.dtype.kind not in "biuf"
        or array.itemsize > 8
    ):
        return array_to_list(array, time_to_iso)
    if array.size <= _FEW_ITEMS and array.dtype.char in _SAME_AS_PYTHON:
        return array.tolist()
    dtype = array.dtype
    if dtype.char == "e":  # float16, which older versions of orjson do not support
        dtype = np.dtype(np.float32)
    native = np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))
    return orjson.Fragment(orjson.dumps(native, option=orjson.OPT_SERIALIZE_NUMPY))


def _convert_scalar(scalar: np.generic) -> Any:
    # `item` would return a longdouble or a clongdouble unchanged.
    if isinstance(scalar, np.floating):
        return float(scalar)
    if isinstance(scalar, np.complexfloating):
        return complex(scalar)
    if scalar.dtype.kind in "mM":
        return time_to_iso(scalar)
    return scalar_to_python(scalar)


def _convert_bytes(data: bytes | bytearray | memoryview) -> Any:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}


_CONVERTERS: Converters = (
    (np.ndarray, _convert_array),
    (np.generic, _convert_scalar),
    (complex, lambda number: [number.real, number.imag]),
    ((dt.date, dt.time), operator.methodcaller("isoformat")),
    (dt.timedelta, lambda span: duration_text(nanoseconds(span))),
    ((Decimal, uuid.UUID), str),
    ((bytes, bytearray, memoryview), _convert_bytes),
    (float, float),
)
