"""msgpack bodies, in the same wire format as Truss."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from ..words import kind_of
from .density import check_msgpack
from .ndarray_codec import check_keys, decode_numpy, encode_array, encode_scalar
from .values import Converters, DecodeError, convert

MISTAKES = (ValueError, TypeError, RecursionError, msgpack.UnpackException)


def msgpack_decode(body: bytes | memoryview) -> Any:
    """Decode msgpack, and the maps that `msgpack_encode` writes for other types.

    Source: github.com/msgpack/msgpack/blob/master/spec.md. Map keys are str or bin, as Truss
    writes them. Arrays are writable and in C order.

    Raises:
        DecodeError: the body is not such msgpack, or holds an ext type or too many empty lists.
    """
    try:
        check_complete(body)
        check_msgpack(body)
        return msgpack.unpackb(body, **OPTIONS)
    except MISTAKES as error:
        raise refusal(error) from None


def refusal(error: Exception) -> DecodeError:
    """What is wrong with a body, of which msgpack raises one of MISTAKES."""
    reason = str(error) or "it has a byte that starts no type"
    if isinstance(error, DecodeError):
        return error
    if isinstance(error, (msgpack.StackError, RecursionError)):
        reason = "it is nested too deeply"
    elif isinstance(error, msgpack.OutOfData):
        reason = "it is truncated"
    return DecodeError(f"the body is not msgpack: {reason}")


def msgpack_encode(value: Any) -> bytes:
    """Encode a value as msgpack, in the wire format of Truss and msgpack-numpy.

    A type that msgpack lacks becomes a map with bin keys:

    | value | map |
    |---|---|
    | numpy array or scalar, complex | as msgpack-numpy writes it |
    | datetime, date, time, timedelta, Decimal, UUID | as Truss writes it |

    Tuples, sets and arrays of objects become lists. So do arrays of datetime64 and timedelta64:
    their items are datetimes and timedeltas, or ISO 8601 strings out of the range of these.

    Raises:
        TypeError: a value cannot be encoded. The message names its type.
    """
    try:
        body: bytes = msgpack.packb(value, default=_default)
    except (ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"the value cannot be encoded as msgpack: {error}") from error
    return body


def _default(value: Any) -> Any:
    """msgpack's `default`. msgpack calls it only once for a value."""
    converted = convert(value, _CONVERTERS)
    if isinstance(converted, _NATIVE_TYPES):
        return converted
    return _default(converted)


def _encode_datetime(moment: dt.datetime) -> dict[bytes, Any]:
    # pandas.Timestamp's own isoformat adds nanoseconds, which no reader accepts.
    text = dt.datetime.isoformat(moment)
    if text.endswith("+00:00"):
        text = text.removesuffix("+00:00") + "Z"
    return {b"__dt_datetime_iso__": True, b"data": text}


def _encode_timedelta(span: dt.timedelta) -> dict[bytes, Any]:
    return {b"__dt_timedelta__": True, b"data": [span.days, span.seconds, span.microseconds]}


def _refuse_int(number: int) -> Any:
    raise TypeError(f"msgpack has ints of at most 64 bits, this int has {number.bit_length()} bits")


_NATIVE_TYPES = (
    type(None),
    bool,
    int,
    float,
    str,
    bytes,
    bytearray,
    memoryview,
    list,
    tuple,
    dict,
)
_CONVERTERS: Converters = (
    (np.ndarray, encode_array),
    (np.generic, encode_scalar),
    (complex, lambda number: {b"complex": True, b"data": complex.__repr__(number)}),
    (dt.datetime, _encode_datetime),
    (dt.date, lambda day: {b"__dt_date_iso__": True, b"data": dt.date.isoformat(day)}),
    (dt.time, lambda time: {b"__dt_time_iso__": True, b"data": dt.time.isoformat(time)}),
    (dt.timedelta, _encode_timedelta),
    (Decimal, lambda number: {b"__decimal__": True, b"data": str(number)}),
    (uuid.UUID, lambda ident: {b"__uuid__": True, b"data": str(ident)}),
    (int, _refuse_int),
)


def check_complete(body: bytes | memoryview) -> None:
    """Check that the body holds as many bytes as its headers claim, before any value is built.

    `unpackb` allocates a list as long as its header claims before it reads an item, on each of
    up to a thousand levels. In a complete body, the claimed lengths are in sum less than its own.
    """
    unpacker = msgpack.Unpacker(read_size=len(body), max_buffer_size=len(body))
    unpacker.feed(body)
    unpacker.skip()


def _refuse_ext(code: int, data: bytes) -> Any:
    raise DecodeError(f"the body holds the msgpack ext type {code}: send no ext types")


def decode_map(mapping: dict[Any, Any]) -> Any:
    if MARKERS.isdisjoint(mapping):
        return mapping
    if b"nd" in mapping:
        return decode_numpy(mapping)
    return _decode_value(next(marker for marker in _PARSERS if marker in mapping), mapping)


def _decode_value(marker: bytes, mapping: dict[Any, Any]) -> Any:
    name = marker.decode()
    expected, data_type, parse = _PARSERS[marker]
    check_keys(mapping, name, {marker, b"data"})
    if mapping[marker] is not True:
        raise DecodeError(f"{name}: must be true, it is {kind_of(mapping[marker])}")
    data = mapping[b"data"]
    try:
        if type(data) is data_type:
            return parse(data)
    except (ValueError, ArithmeticError):
        pass
    raise DecodeError(f"{name}: data must be {expected}, it is {kind_of(data)}")


def _utc_offset(text: str) -> str:
    """Write `Z` as an offset: Python 3.10 does not parse `Z`."""
    if text.endswith("Z"):
        return text.removesuffix("Z") + "+00:00"
    return text


def _parse_datetime(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(_utc_offset(text))


def _parse_time(text: str) -> dt.time:
    return dt.time.fromisoformat(_utc_offset(text))


def _parse_timedelta(parts: list[Any]) -> dt.timedelta:
    if [type(part) for part in parts] != [int, int, int]:
        raise ValueError("not days, seconds, microseconds")
    return dt.timedelta(*parts)


# What data must be, its type, and what parses it.
_PARSERS: dict[bytes, tuple[str, type, Callable[[Any], Any]]] = {
    b"complex": ("a complex number as a string", str, complex),
    b"__dt_datetime_iso__": ("an ISO 8601 datetime", str, _parse_datetime),
    b"__dt_date_iso__": ("an ISO 8601 date", str, dt.date.fromisoformat),
    b"__dt_time_iso__": ("an ISO 8601 time", str, _parse_time),
    b"__dt_timedelta__": ("a list of days, seconds, microseconds", list, _parse_timedelta),
    b"__decimal__": ("a decimal number as a string", str, Decimal),
    b"__uuid__": ("a UUID as a string", str, uuid.UUID),
}
MARKERS = frozenset({b"nd", *_PARSERS})
OPTIONS = {
    "object_hook": decode_map,
    "ext_hook": _refuse_ext,
    "max_ext_len": 0,
    "raw": False,
    "strict_map_key": True,
}
