"""JSON bodies, with a form for what numpy, pandas and Python have and JSON lacks."""

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

from .values import Array, DecodeError, Forms, array_items, scalar_item, step, type_name

# orjson itself would leave out the fields of a dataclass that start with an underscore.
_JSON_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS
_FEW_ITEMS = 16  # are written faster as Python's values


def json_decode(body: bytes | memoryview) -> Any:
    """Decode a JSON text (RFC 8259) in UTF-8.

    Literals that are not JSON (`NaN`, `Infinity`), numbers out of a double's range, lone surrogates and more
    than 1024 levels raise `DecodeError`.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"the body is not JSON: {error}") from None


def json_encode(value: Any) -> bytes:
    """Encode a value as JSON (RFC 8259) in UTF-8.

    | value | JSON |
    |---|---|
    | numpy arrays and scalars, pandas' Series, sparse matrices, sets, sequences | numbers, strings, lists |
    | structured arrays; pandas' DataFrame with named columns | list of objects by field or column |
    | NaN, infinity, NaT, NA, masked elements | `null` |
    | complex | `[re, im]` |
    | datetime, date, time, datetime64 | string, ISO 8601 |
    | timedelta, timedelta64 | number of seconds; years and months as an ISO 8601 duration |
    | Decimal, UUID | string |
    | bytes | string where they are UTF-8, else `{"b64": "..."}`, as in TensorFlow Serving's REST API and V1 |
    | keys that are not strings | the JSON of the key, as a string |

    Raises:
        TypeError: a value has no JSON form; the message names its type.
    """
    try:
        return orjson.dumps(value, _json_default, _JSON_OPTIONS)
    except TypeError:
        return _json_encode_tree(value)


def _json_encode_tree(value: Any) -> bytes:
    try:
        return orjson.dumps(_json_tree(value), _json_default, _JSON_OPTIONS)
    except (ValueError, RecursionError) as error:
        raise TypeError(f"the value has no JSON form: {error}") from error


def _json_tree(value: Any) -> Any:
    """Rebuild a value so that nothing is left on which orjson gives up without asking `_json_default`."""
    if value is None or isinstance(value, (str, bool, orjson.Fragment)):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, enum.Enum):
        return _json_number(value)
    if isinstance(value, dict):
        return _json_object(value)
    if isinstance(value, (list, tuple)):
        return [_json_tree(item) for item in value]
    return _json_tree(_json_default(value))


def _json_number(number: int | float) -> Any:
    if isinstance(number, float):
        return float(number)
    return number if -(1 << 63) <= number < 1 << 64 else orjson.Fragment(int.__repr__(number))


def _json_object(mapping: dict[Any, Any]) -> dict[str, Any]:
    tree = {_json_key(key): _json_tree(value) for key, value in mapping.items()}
    if len(tree) != len(mapping):
        raise TypeError("two keys of a dict have the same JSON form")
    return tree


def _json_key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    text = json_encode(key).decode()
    if text.startswith(("[", "{")):
        raise TypeError(f"a dict's key of type {type_name(key)} has no JSON form")
    return str(orjson.loads(text)) if text.startswith('"') else text


def _json_default(value: Any) -> Any:
    return step(value, _JSON_FORMS)


def _json_array(array: Array) -> Any:
    """A fragment of JSON for numbers; for the rest what `_json_default` is asked about again.

    orjson gets to see no other arrays than these: of NaT it makes a date in 1677 or 1970.
    """
    if (
        type(array) is not np.ndarray
        or not array.ndim
        or array.dtype.kind not in "biuf"
        or array.itemsize > 8
    ):
        return array_items(array)
    if (
        array.size <= _FEW_ITEMS and array.dtype.char in "?bBhHiIlLqQd"
    ):  # no float32, whose digits would be more
        return array.tolist()
    # Older versions of orjson have no float16.
    dtype = np.dtype(np.float32) if array.dtype.kind == "f" and array.itemsize == 2 else array.dtype
    native = np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))
    return orjson.Fragment(orjson.dumps(native, option=orjson.OPT_SERIALIZE_NUMPY))


def _json_scalar(scalar: np.generic) -> Any:
    # `item` gives a long double back as it is.
    if isinstance(scalar, np.floating):
        return float(scalar)
    if isinstance(scalar, np.complexfloating):
        return complex(scalar)
    return scalar_item(scalar)


def _json_bytes(data: bytes | bytearray | memoryview) -> Any:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}


_JSON_FORMS: Forms = (
    (np.ndarray, _json_array),
    (np.generic, _json_scalar),
    (complex, lambda number: [number.real, number.imag]),
    ((dt.date, dt.time), operator.methodcaller("isoformat")),
    (dt.timedelta, operator.methodcaller("total_seconds")),
    ((Decimal, uuid.UUID), str),
    ((bytes, bytearray, memoryview), _json_bytes),
    (float, float),
)
