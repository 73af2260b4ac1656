"""msgpack bodies, on the wire what Truss writes. The decoder takes bodies from the network and never unpickles."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np

from .ndarray_codec import check_keys, decode_numpy, pack_array, pack_scalar
from .values import DecodeError, Forms, shown, step


def msgpack_decode(body: bytes | memoryview) -> Any:
    """Decode msgpack (github.com/msgpack/msgpack/blob/master/spec.md) with what `msgpack_encode` adds to it.

    Map keys are str or bin, as with Truss and by msgpack's own default; ext types are refused. Arrays come
    out writable and in C order.
    """
    try:
        _check_complete(body)
        return msgpack.unpackb(
            body,
            object_hook=_decode_map,
            ext_hook=_refuse_ext,
            max_ext_len=0,
            raw=False,
            strict_map_key=True,
        )
    except DecodeError:
        raise
    except (msgpack.StackError, RecursionError):
        raise DecodeError(
            "the body is not msgpack that can be read: it is nested too deeply"
        ) from None
    except msgpack.OutOfData:
        raise DecodeError("the body is not msgpack: it is truncated") from None
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        reason = str(error) or "a byte that no type starts with"
        raise DecodeError(f"the body is not msgpack that can be read: {reason}") from None


def msgpack_encode(value: Any) -> bytes:
    """Encode a value as msgpack, on the wire what Truss and msgpack-numpy write.

    What msgpack lacks becomes a map with bin keys: the formats of arrays, numpy scalars and complex numbers
    are msgpack-numpy's, those of datetimes, dates, times, timedeltas, Decimals and UUIDs are Truss's. Tuples,
    sets and arrays of objects become lists; arrays of datetime64 and timedelta64 lists of datetimes and
    timedeltas, or of ISO 8601 strings where Python's range ends.

    Raises:
        TypeError: a value has no msgpack form; the message names its type.
    """
    try:
        body: bytes = msgpack.packb(value, default=_msgpack_default)
    except (ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"the value has no msgpack form: {error}") from error
    return body


def _msgpack_default(value: Any) -> Any:
    # msgpack does not ask a second time.
    form = step(value, _MSGPACK_FORMS)
    return form if isinstance(form, _MSGPACK_TYPES) else _msgpack_default(form)


def _pack_datetime(moment: dt.datetime) -> dict[bytes, Any]:
    # The base class's method: pandas.Timestamp's own adds nanoseconds, which no reader takes.
    text = dt.datetime.isoformat(moment)
    zulu = text[: -len("+00:00")] + "Z" if text.endswith("+00:00") else text
    return {b"__dt_datetime_iso__": True, b"data": zulu}


def _pack_timedelta(span: dt.timedelta) -> dict[bytes, Any]:
    return {b"__dt_timedelta__": True, b"data": [span.days, span.seconds, span.microseconds]}


def _refuse_int(number: int) -> Any:
    raise TypeError(f"an int of {number.bit_length()} bits has no msgpack form: 64 is the most")


_MSGPACK_TYPES = (
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
_MSGPACK_FORMS: Forms = (
    (np.ndarray, pack_array),
    (np.generic, pack_scalar),
    (complex, lambda number: {b"complex": True, b"data": complex.__repr__(number)}),
    (dt.datetime, _pack_datetime),
    (dt.date, lambda day: {b"__dt_date_iso__": True, b"data": dt.date.isoformat(day)}),
    (dt.time, lambda time: {b"__dt_time_iso__": True, b"data": dt.time.isoformat(time)}),
    (dt.timedelta, _pack_timedelta),
    (Decimal, lambda number: {b"__decimal__": True, b"data": str(number)}),
    (uuid.UUID, lambda ident: {b"__uuid__": True, b"data": str(ident)}),
    (int, _refuse_int),
)


def _check_complete(body: bytes | memoryview) -> None:
    """Walk through the whole body before anything of it is built.

    `unpackb` makes a list as long as its header says before it has seen an item, and does so on each of a
    thousand levels. In a body that is complete the lengths add up to less than its own.
    """
    unpacker = msgpack.Unpacker(read_size=len(body), max_buffer_size=len(body))
    unpacker.feed(body)
    unpacker.skip()


def _refuse_ext(code: int, data: bytes) -> Any:
    raise DecodeError(f"the body holds msgpack's ext type {code}, which is not taken")


def _decode_map(mapping: dict[Any, Any]) -> Any:
    if _MARKERS.isdisjoint(mapping):
        return mapping
    if b"nd" in mapping:
        return decode_numpy(mapping)
    return _decode_value(next(marker for marker in _PARSERS if marker in mapping), mapping)


def _decode_value(marker: bytes, mapping: dict[Any, Any]) -> Any:
    name = marker.decode()
    data_type, parse = _PARSERS[marker]
    check_keys(mapping, name, {marker, b"data"})
    data = mapping[b"data"]
    if mapping[marker] is not True or type(data) is not data_type:
        raise DecodeError(f"{name}: must be true, with data of type {data_type.__name__}")
    try:
        return parse(data)
    except (ValueError, ArithmeticError):
        raise DecodeError(f"{name}: data does not parse: {shown(data)}") from None


def _utc_offset(text: str) -> str:
    """`Z` as the offset that Python 3.10 knows as well."""
    return f"{text[:-1]}+00:00" if text.endswith("Z") else text


def _parse_datetime(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(_utc_offset(text))


def _parse_time(text: str) -> dt.time:
    return dt.time.fromisoformat(_utc_offset(text))


def _parse_timedelta(parts: list[Any]) -> dt.timedelta:
    if [type(part) for part in parts] != [int, int, int]:
        raise ValueError("not days, seconds, microseconds")
    return dt.timedelta(*parts)


_PARSERS: dict[bytes, tuple[type, Callable[[Any], Any]]] = {
    b"complex": (str, complex),
    b"__dt_datetime_iso__": (str, _parse_datetime),
    b"__dt_date_iso__": (str, dt.date.fromisoformat),
    b"__dt_time_iso__": (str, _parse_time),
    b"__dt_timedelta__": (list, _parse_timedelta),
    b"__decimal__": (str, Decimal),
    b"__uuid__": (str, uuid.UUID),
}
_MARKERS = frozenset({b"nd", *_PARSERS})
