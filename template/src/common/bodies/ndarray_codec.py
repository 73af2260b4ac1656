"""numpy's arrays and scalars in msgpack: msgpack-numpy's maps, and everything that is checked before one is made."""

from __future__ import annotations

import functools
import itertools
import math
import operator
import re
from collections.abc import Set
from typing import Any

import numpy as np

from .values import Array, DecodeError, DType, array_items, scalar_item, shown

_MAX_DIMENSIONS = 32  # numpy 1's own limit
_MAX_FORMAT_DEPTH = 16
_MAX_ITEM_BYTES = 1 << 20
# `tolist` makes a list of some 60 bytes for each row, however few bytes of data the row has.
_SPARE_ROWS = 256
_ROWS_PER_BYTE = 4
_FORMAT = re.compile(r"[<>|](b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SUV][1-9][0-9]{0,6})")


def pack_array(array: Array) -> Any:
    """An array as a map, or as lists where `decode_numpy` would not take it back."""
    if isinstance(array, np.ma.MaskedArray):
        return array_items(array)
    try:
        wire, data = _pack_items(array)
    except DecodeError:
        return array_items(array)
    kind = b"V" if array.dtype.names else b""
    return {b"nd": True, b"type": wire, b"kind": kind, b"shape": array.shape, b"data": data}


def pack_scalar(scalar: np.generic) -> Any:
    """A numpy scalar as a map, or as Python's value where `decode_numpy` would not take it back."""
    try:
        wire, data = _pack_items(np.asarray(scalar))
    except DecodeError:
        return scalar_item(scalar)
    return {b"nd": False, b"type": wire, b"data": data}


def _pack_items(array: Array) -> tuple[Any, bytes]:
    """The format and the data of an array, without the padding that a structured dtype may have.

    Raises:
        DecodeError: `msgpack_decode` would not take it back.
    """
    wire = _wire_format(array.dtype)
    dtype = _parse_format(wire, array.ndim)
    check_size(dtype, array.shape, array.size * dtype.itemsize)
    return wire, (array if array.dtype == dtype else array.astype(dtype)).tobytes()


def _wire_format(dtype: DType) -> Any:
    if dtype.names is None:
        return dtype.str
    return [_wire_field(name, dtype[name]) for name in dtype.names]


def _wire_field(name: str, dtype: DType) -> list[Any]:
    shape: list[int] = []
    while dtype.subdtype is not None:
        shape.extend(dtype.shape)
        dtype = dtype.subdtype[0]
    return [name, _wire_format(dtype), shape] if shape else [name, _wire_format(dtype)]


def decode_numpy(mapping: dict[Any, Any]) -> Any:
    """The array or scalar that a map with the key `nd` stands for.

    Raises:
        DecodeError: it stands for none, or for one that is not taken.
    """
    if mapping[b"nd"] is True:
        return _decode_array(mapping)
    if mapping[b"nd"] is False:
        check_keys(mapping, "nd", {b"nd", b"type", b"data"})
        return build_array(mapping[b"type"], (), mapping[b"data"])[()]
    raise DecodeError(f"nd: must be true or false, not {shown(mapping[b'nd'])}")


def _decode_array(mapping: dict[Any, Any]) -> Array:
    # Old versions of msgpack-numpy wrote no kind.
    check_keys(mapping, "nd", {b"nd", b"type", b"shape", b"data"}, {b"kind"})
    expected = b"V" if isinstance(mapping[b"type"], list) else b""
    kind = mapping.get(b"kind", expected)
    if type(kind) is not bytes or kind != expected:
        raise DecodeError(f"kind: must be {expected!r} with such a type, not {shown(kind)}")
    return build_array(mapping[b"type"], parse_shape(mapping[b"shape"], "shape"), mapping[b"data"])


def build_array(wire: Any, shape: tuple[int, ...], data: Any) -> Array:
    if not isinstance(data, bytes):
        raise DecodeError(f"data: must be bin, not {shown(data)}")
    dtype = _parse_format(wire, len(shape))
    check_size(dtype, shape, len(data))
    array: Array = np.ndarray(shape, dtype=dtype, buffer=data).copy()
    _check_items(array)
    return array


def check_keys(
    mapping: dict[Any, Any], name: str, required: Set[bytes], optional: Set[bytes] = frozenset()
) -> None:
    """Refuse a map that has not just these keys."""
    if missing := required - mapping.keys():
        raise DecodeError(f"{name}: the map lacks {min(missing)!r}")
    for key in mapping.keys() - required - optional:
        raise DecodeError(f"{name}: the map has a key too many, {shown(key)}")


def check_size(dtype: DType, shape: tuple[int, ...], length: int) -> None:
    """Refuse an array that its data does not fill, or that grows beyond measure once it is used."""
    if math.prod(shape) * dtype.itemsize != length:
        raise DecodeError(
            f"data: {length} bytes are not shape {shape} of {dtype.itemsize} bytes each"
        )
    if length and len(shape) <= _ROWS_PER_BYTE and dtype.kind != "V":
        return  # it has no more rows on each of its axes than bytes
    if not length and math.prod(filter(None, shape)) * dtype.itemsize > _MAX_ITEM_BYTES:
        raise DecodeError(f"shape: {shape} is too large for an array without elements")
    if _count_rows(dtype, shape) > _SPARE_ROWS + _ROWS_PER_BYTE * length:
        raise DecodeError(f"shape: {shape} has too many rows for {length} bytes of data")


def _count_rows(dtype: DType, shape: tuple[int, ...]) -> int:
    """How many lists and records `tolist` makes of an array."""
    lists = sum(itertools.accumulate(shape[:-1], operator.mul, initial=1)) if shape else 0
    return lists + math.prod(shape) * _count_item_rows(dtype)


def _count_item_rows(dtype: DType) -> int:
    if dtype.subdtype is not None:
        return _count_rows(*dtype.subdtype)
    return 1 + sum(_count_item_rows(dtype[name]) for name in dtype.names) if dtype.names else 0


def _check_items(array: Array) -> None:
    """Refuse what numpy takes but cannot give out as values: bools of 2, characters beyond Unicode."""
    for name in array.dtype.names or ():
        _check_items(array[name])
    if not array.size:
        return
    if array.dtype.kind == "b" and np.frombuffer(array.tobytes(), np.uint8).max() > 1:
        raise DecodeError("data: a bool is neither 0 nor 1")
    if array.dtype.kind == "U":
        code_points = np.frombuffer(
            array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder)
        )
        surrogates = (code_points >= 0xD800) & (code_points < 0xE000)
        if code_points.max() > 0x10FFFF or surrogates.any():
            raise DecodeError("data: a character is not one of Unicode")


def parse_shape(value: Any, name: str) -> tuple[int, ...]:
    if type(value) is not list or any(type(size) is not int or size < 0 for size in value):
        raise DecodeError(f"{name}: must be a list of ints that are not negative")
    if len(value) > _MAX_DIMENSIONS:
        raise DecodeError(f"{name}: {len(value)} dimensions are more than {_MAX_DIMENSIONS}")
    return tuple(value)


def _parse_format(wire: Any, dimensions: int, depth: int = 0) -> DType:
    """The dtype of a format: `dtype.str`, or for a structured one a list of fields as in `dtype.descr`.

    `dimensions` is how many the arrays around it have, `depth` how many formats are.
    """
    if isinstance(wire, str):
        return _parse_plain_format(wire)
    if type(wire) is not list or not wire:
        raise DecodeError(f"type: must be a dtype's string or a list of fields, not {shown(wire)}")
    if depth == _MAX_FORMAT_DEPTH:
        raise DecodeError(f"type: more than {_MAX_FORMAT_DEPTH} levels of fields")
    return _structured([_parse_field(field, dimensions, depth) for field in wire])


@functools.lru_cache(maxsize=256)
def _parse_plain_format(text: str) -> DType:
    if not _FORMAT.fullmatch(text):
        raise DecodeError(f"type: {shown(text)} is not a dtype that is taken")
    try:
        dtype = np.dtype(text)
    except TypeError:  # long doubles differ from machine to machine
        raise DecodeError(f"type: {text!r} is not a dtype of this machine") from None
    _check_item_bytes(dtype.itemsize)
    return dtype


def _parse_field(field: Any, dimensions: int, depth: int) -> tuple[str, DType]:
    if type(field) is not list or len(field) not in (2, 3) or not isinstance(field[0], str):
        raise DecodeError("type: a field must be [name, format] or [name, format, shape]")
    shape = parse_shape(field[2], "type") if len(field) == 3 else ()
    dimensions += len(shape)
    if dimensions > _MAX_DIMENSIONS:
        raise DecodeError(
            f"type: a field with {dimensions} dimensions, more than {_MAX_DIMENSIONS}"
        )
    dtype = _parse_format(field[1], dimensions, depth + 1)
    _check_item_bytes(math.prod(shape) * dtype.itemsize)
    return field[0], np.dtype((dtype, shape)) if shape else dtype


def _check_item_bytes(count: int) -> None:
    if not 0 < count <= _MAX_ITEM_BYTES:
        raise DecodeError(f"type: an element of {count} bytes, not of 1 to {_MAX_ITEM_BYTES}")


def _structured(fields: list[tuple[str, DType]]) -> DType:
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


def _is_raw(dtype: DType) -> bool:
    return dtype.kind == "V" and dtype.names is None and dtype.subdtype is None
