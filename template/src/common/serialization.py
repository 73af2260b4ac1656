"""The bodies of requests and responses: JSON, and msgpack that carries numpy's arrays and Python's types.

Bodies come from the network, so both decoders raise `DecodeError` and nothing else, never unpickle, and take
no memory that the body's own length does not account for.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import functools
import itertools
import math
import operator
import re
import reprlib
import uuid
from collections.abc import Callable, Mapping, Sequence, Set
from decimal import Decimal
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
import orjson

_Array = npt.NDArray[Any]
_DType = np.dtype[Any]
_Forms = tuple[tuple[Any, Callable[[Any], Any]], ...]

_MAX_DIMENSIONS = 32  # numpy 1's own limit
_MAX_FORMAT_DEPTH = 16
_MAX_ITEM_BYTES = 1 << 20
# `tolist` makes a list of some 60 bytes for each row, however few bytes of data the row has.
_SPARE_ROWS = 256
_ROWS_PER_BYTE = 4

_FORMAT = re.compile(r"[<>|](b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SUV][1-9][0-9]{0,6})")

# orjson itself would leave out the fields of a dataclass that start with an underscore.
_JSON_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS

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


def json_decode(body: bytes) -> Any:
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


def msgpack_decode(body: bytes) -> Any:
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
        raise DecodeError("the body is not msgpack that can be read: it is nested too deeply") from None
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
        raise TypeError(f"a dict's key of type {_type_name(key)} has no JSON form")
    return str(orjson.loads(text)) if text.startswith('"') else text


def _json_default(value: Any) -> Any:
    return _step(value, _JSON_FORMS)


def _json_array(array: _Array) -> Any:
    """A fragment of JSON for numbers; for the rest what `_json_default` is asked about again.

    orjson gets to see no other arrays than these: of NaT it makes a date in 1677 or 1970.
    """
    if (
        type(array) is not np.ndarray
        or not array.ndim
        or array.dtype.kind not in "biuf"
        or array.itemsize > 8
    ):
        return _array_items(array)
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
    return _scalar_item(scalar)


def _json_bytes(data: bytes | bytearray | memoryview) -> Any:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}


_JSON_FORMS: _Forms = (
    (np.ndarray, _json_array),
    (np.generic, _json_scalar),
    (complex, lambda number: [number.real, number.imag]),
    ((dt.date, dt.time), operator.methodcaller("isoformat")),
    (dt.timedelta, operator.methodcaller("total_seconds")),
    ((Decimal, uuid.UUID), str),
    ((bytes, bytearray, memoryview), _json_bytes),
    (float, float),
)


def _step(value: Any, forms: _Forms) -> Any:
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
    raise TypeError(f"a value of type {_type_name(value)} cannot be serialized")


def _table(frame: Any) -> Any:
    """The rows of a DataFrame: by name where each column has one of its own, else as lists."""
    names = list(frame.columns)
    named = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return frame.to_dict(orient="records") if named else frame.to_numpy()


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _array_items(array: _Array) -> Any:
    if array.dtype.names:
        return list(array) if array.ndim else _record(array)
    return _times(array) if array.dtype.kind in "mM" else array.tolist()


def _scalar_item(scalar: np.generic) -> Any:
    if scalar.dtype.names:
        return _record(scalar)
    return _time(scalar) if scalar.dtype.kind in "mM" else scalar.item()


def _record(record: Any) -> dict[str, Any]:
    return {name: record[name] for name in record.dtype.names}


def _times(array: _Array) -> Any:
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


def _msgpack_default(value: Any) -> Any:
    # msgpack does not ask a second time.
    form = _step(value, _MSGPACK_FORMS)
    return form if isinstance(form, _MSGPACK_TYPES) else _msgpack_default(form)


def _pack_array(array: _Array) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        return _array_items(array)
    try:
        wire, data = _pack_items(array)
    except DecodeError:
        return _array_items(array)
    kind = b"V" if array.dtype.names else b""
    return {b"nd": True, b"type": wire, b"kind": kind, b"shape": array.shape, b"data": data}


def _pack_scalar(scalar: np.generic) -> Any:
    try:
        wire, data = _pack_items(np.asarray(scalar))
    except DecodeError:
        return _scalar_item(scalar)
    return {b"nd": False, b"type": wire, b"data": data}


def _pack_items(array: _Array) -> tuple[Any, bytes]:
    """The format and the data of an array, without the padding that a structured dtype may have.

    Raises:
        DecodeError: `msgpack_decode` would not take it back.
    """
    wire = _wire_format(array.dtype)
    dtype = _parse_format(wire, array.ndim)
    _check_size(dtype, array.shape, array.size * dtype.itemsize)
    return wire, (array if array.dtype == dtype else array.astype(dtype)).tobytes()


def _wire_format(dtype: _DType) -> Any:
    if dtype.names is None:
        return dtype.str
    return [_wire_field(name, dtype[name]) for name in dtype.names]


def _wire_field(name: str, dtype: _DType) -> list[Any]:
    shape: list[int] = []
    while dtype.subdtype is not None:
        shape.extend(dtype.shape)
        dtype = dtype.subdtype[0]
    return [name, _wire_format(dtype), shape] if shape else [name, _wire_format(dtype)]


def _pack_datetime(moment: dt.datetime) -> dict[bytes, Any]:
    # The base class's method: pandas.Timestamp's own adds nanoseconds, which no reader takes.
    text = dt.datetime.isoformat(moment)
    zulu = text[: -len("+00:00")] + "Z" if text.endswith("+00:00") else text
    return {b"__dt_datetime_iso__": True, b"data": zulu}


def _pack_timedelta(span: dt.timedelta) -> dict[bytes, Any]:
    return {b"__dt_timedelta__": True, b"data": [span.days, span.seconds, span.microseconds]}


def _refuse_int(number: int) -> Any:
    raise TypeError(f"an int of {number.bit_length()} bits has no msgpack form: 64 is the most")


_MSGPACK_TYPES = (type(None), bool, int, float, str, bytes, bytearray, memoryview, list, tuple, dict)
_MSGPACK_FORMS: _Forms = (
    (np.ndarray, _pack_array),
    (np.generic, _pack_scalar),
    (complex, lambda number: {b"complex": True, b"data": complex.__repr__(number)}),
    (dt.datetime, _pack_datetime),
    (dt.date, lambda day: {b"__dt_date_iso__": True, b"data": dt.date.isoformat(day)}),
    (dt.time, lambda time: {b"__dt_time_iso__": True, b"data": dt.time.isoformat(time)}),
    (dt.timedelta, _pack_timedelta),
    (Decimal, lambda number: {b"__decimal__": True, b"data": str(number)}),
    (uuid.UUID, lambda ident: {b"__uuid__": True, b"data": str(ident)}),
    (int, _refuse_int),
)


def _check_complete(body: bytes) -> None:
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
        return _decode_numpy(mapping)
    return _decode_value(next(marker for marker in _PARSERS if marker in mapping), mapping)


def _decode_value(marker: bytes, mapping: dict[Any, Any]) -> Any:
    name = marker.decode()
    data_type, parse = _PARSERS[marker]
    _check_keys(mapping, name, {marker, b"data"})
    data = mapping[b"data"]
    if mapping[marker] is not True or type(data) is not data_type:
        raise DecodeError(f"{name}: must be true, with data of type {data_type.__name__}")
    try:
        return parse(data)
    except (ValueError, ArithmeticError):
        raise DecodeError(f"{name}: data does not parse: {_shown(data)}") from None


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


def _decode_numpy(mapping: dict[Any, Any]) -> Any:
    if mapping[b"nd"] is True:
        return _decode_array(mapping)
    if mapping[b"nd"] is False:
        _check_keys(mapping, "nd", {b"nd", b"type", b"data"})
        return _build_array(mapping[b"type"], (), mapping[b"data"])[()]
    raise DecodeError(f"nd: must be true or false, not {_shown(mapping[b'nd'])}")


def _decode_array(mapping: dict[Any, Any]) -> _Array:
    # Old versions of msgpack-numpy wrote no kind.
    _check_keys(mapping, "nd", {b"nd", b"type", b"shape", b"data"}, {b"kind"})
    expected = b"V" if isinstance(mapping[b"type"], list) else b""
    kind = mapping.get(b"kind", expected)
    if type(kind) is not bytes or kind != expected:
        raise DecodeError(f"kind: must be {expected!r} with such a type, not {_shown(kind)}")
    return _build_array(mapping[b"type"], _parse_shape(mapping[b"shape"], "shape"), mapping[b"data"])


def _build_array(wire: Any, shape: tuple[int, ...], data: Any) -> _Array:
    if not isinstance(data, bytes):
        raise DecodeError(f"data: must be bin, not {_shown(data)}")
    dtype = _parse_format(wire, len(shape))
    _check_size(dtype, shape, len(data))
    array: _Array = np.ndarray(shape, dtype=dtype, buffer=data).copy()
    _check_items(array)
    return array


def _check_keys(
    mapping: dict[Any, Any], name: str, required: Set[bytes], optional: Set[bytes] = frozenset()
) -> None:
    if missing := required - mapping.keys():
        raise DecodeError(f"{name}: the map lacks {min(missing)!r}")
    for key in mapping.keys() - required - optional:
        raise DecodeError(f"{name}: the map has a key too many, {_shown(key)}")


def _check_size(dtype: _DType, shape: tuple[int, ...], length: int) -> None:
    """Refuse an array that its data does not fill, or that grows beyond measure once it is used."""
    if math.prod(shape) * dtype.itemsize != length:
        raise DecodeError(f"data: {length} bytes are not shape {shape} of {dtype.itemsize} bytes each")
    if not length and math.prod(filter(None, shape)) * dtype.itemsize > _MAX_ITEM_BYTES:
        raise DecodeError(f"shape: {shape} is too large for an array without elements")
    if _count_rows(dtype, shape) > _SPARE_ROWS + _ROWS_PER_BYTE * length:
        raise DecodeError(f"shape: {shape} has too many rows for {length} bytes of data")


def _count_rows(dtype: _DType, shape: tuple[int, ...]) -> int:
    """How many lists and records `tolist` makes of an array."""
    lists = sum(itertools.accumulate(shape[:-1], operator.mul, initial=1)) if shape else 0
    return lists + math.prod(shape) * _count_item_rows(dtype)


def _count_item_rows(dtype: _DType) -> int:
    if dtype.subdtype is not None:
        return _count_rows(*dtype.subdtype)
    return 1 + sum(_count_item_rows(dtype[name]) for name in dtype.names) if dtype.names else 0


def _check_items(array: _Array) -> None:
    """Refuse what numpy takes but cannot give out as values: bools of 2, characters beyond Unicode."""
    for name in array.dtype.names or ():
        _check_items(array[name])
    if not array.size:
        return
    if array.dtype.kind == "b" and np.frombuffer(array.tobytes(), np.uint8).max() > 1:
        raise DecodeError("data: a bool is neither 0 nor 1")
    if array.dtype.kind == "U":
        code_points = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
        surrogates = (code_points >= 0xD800) & (code_points < 0xE000)
        if code_points.max() > 0x10FFFF or surrogates.any():
            raise DecodeError("data: a character is not one of Unicode")


def _parse_shape(value: Any, name: str) -> tuple[int, ...]:
    if type(value) is not list or any(type(size) is not int or size < 0 for size in value):
        raise DecodeError(f"{name}: must be a list of ints that are not negative")
    if len(value) > _MAX_DIMENSIONS:
        raise DecodeError(f"{name}: {len(value)} dimensions are more than {_MAX_DIMENSIONS}")
    return tuple(value)


def _parse_format(wire: Any, dimensions: int, depth: int = 0) -> _DType:
    """The dtype of a format: `dtype.str`, or for a structured one a list of fields as in `dtype.descr`.

    `dimensions` is how many the arrays around it have, `depth` how many formats are.
    """
    if isinstance(wire, str):
        return _parse_plain_format(wire)
    if type(wire) is not list or not wire:
        raise DecodeError(f"type: must be a dtype's string or a list of fields, not {_shown(wire)}")
    if depth == _MAX_FORMAT_DEPTH:
        raise DecodeError(f"type: more than {_MAX_FORMAT_DEPTH} levels of fields")
    return _structured([_parse_field(field, dimensions, depth) for field in wire])


@functools.lru_cache(maxsize=256)
def _parse_plain_format(text: str) -> _DType:
    if not _FORMAT.fullmatch(text):
        raise DecodeError(f"type: {_shown(text)} is not a dtype that is taken")
    try:
        dtype = np.dtype(text)
    except TypeError:  # long doubles differ from machine to machine
        raise DecodeError(f"type: {text!r} is not a dtype of this machine") from None
    _check_item_bytes(dtype.itemsize)
    return dtype


def _parse_field(field: Any, dimensions: int, depth: int) -> tuple[str, _DType]:
    if type(field) is not list or len(field) not in (2, 3) or not isinstance(field[0], str):
        raise DecodeError("type: a field must be [name, format] or [name, format, shape]")
    shape = _parse_shape(field[2], "type") if len(field) == 3 else ()
    dimensions += len(shape)
    if dimensions > _MAX_DIMENSIONS:
        raise DecodeError(f"type: a field with {dimensions} dimensions, more than {_MAX_DIMENSIONS}")
    dtype = _parse_format(field[1], dimensions, depth + 1)
    _check_item_bytes(math.prod(shape) * dtype.itemsize)
    return field[0], np.dtype((dtype, shape)) if shape else dtype


def _check_item_bytes(count: int) -> None:
    if not 0 < count <= _MAX_ITEM_BYTES:
        raise DecodeError(f"type: an element of {count} bytes, not of 1 to {_MAX_ITEM_BYTES}")


def _structured(fields: list[tuple[str, _DType]]) -> _DType:
    """As numpy.lib.format reads `dtype.descr`: a nameless field of raw bytes is padding, not a field."""
    name, dtype = fields[0]
    if len(fields) == 1 and not name and _is_raw(dtype):
        return dtype
    offsets = [0, *itertools.accumulate(dtype.itemsize for _, dtype in fields)]
    _check_item_bytes(offsets[-1])
    kept = [at for at, (name, dtype) in enumerate(fields) if name or not _is_raw(dtype)]
    names = [fields[at][0] for at in kept]
    if not all(names) or not 0 < len(names) == len(set(names)):
        raise DecodeError("type: fields must have names, each its own")
    return np.dtype(
        {
            "names": names,
            "formats": [fields[at][1] for at in kept],
            "offsets": [offsets[at] for at in kept],
            "itemsize": offsets[-1],
        }
    )


def _is_raw(dtype: _DType) -> bool:
    return dtype.kind == "V" and dtype.names is None and dtype.subdtype is None


def _shown(value: Any) -> str:
    """A value in a message: short, on one line, and never the repr of a container of unknown depth."""
    if isinstance(value, (str, bytes)):
        return reprlib.repr(value[:60])
    return repr(value) if value is None or isinstance(value, (bool, int, float)) else _type_name(value)
