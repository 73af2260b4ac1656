"""numpy's arrays and scalars in msgpack, in the wire format of msgpack-numpy.

Source: github.com/lebedov/msgpack-numpy. An array is the map {nd: true, type, kind, shape, data}, a
scalar {nd: false, type, data}, with bin keys. `type` is numpy's `dtype.str`, or for a structured
dtype a list of fields as in `dtype.descr`. `data` holds the items in C order.

Everything is checked before an array is made. Objects are refused: nothing is unpickled.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import re
from collections.abc import Set
from typing import Any

import numpy as np

from ..words import kind_of, shown
from .values import Array, DecodeError, DType, array_to_list, scalar_to_python

_MAX_DIMENSIONS = 32  # numpy 1's limit
_MAX_DESCR_DEPTH = 16
_MAX_ITEM_BYTES = 1 << 20
# `tolist` makes a list of about 60 bytes for each row, however few bytes of data the row has.
_SPARE_ROWS = 256
_ROWS_PER_BYTE = 4
_PLAIN_DTYPE = re.compile(r"[<>|](b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SUV][1-9][0-9]{0,6})")


def encode_array(array: Array) -> Any:
    """An array as msgpack-numpy's map, or as lists where `decode_numpy` would refuse the map."""
    if isinstance(array, np.ma.MaskedArray):
        return array_to_list(array)
    try:
        descr, data = _encode_items(array)
    except DecodeError:
        return array_to_list(array)
    kind = _kind(descr)
    return {b"nd": True, b"type": descr, b"kind": kind, b"shape": array.shape, b"data": data}


def encode_scalar(scalar: np.generic) -> Any:
    """A numpy scalar as msgpack-numpy's map, or as a Python value where that would be refused."""
    try:
        descr, data = _encode_items(np.asarray(scalar))
    except DecodeError:
        return scalar_to_python(scalar)
    return {b"nd": False, b"type": descr, b"data": data}


def _encode_items(array: Array) -> tuple[Any, bytes]:
    """The `type` and the `data` of an array. Padding between the fields of records is left out.

    Raises:
        DecodeError: `decode_numpy` would refuse them.
    """
    descr = _dtype_to_descr(array.dtype)
    dtype = _descr_to_dtype(descr, array.ndim)
    check_size(dtype, array.shape, array.size * dtype.itemsize)
    if array.dtype != dtype:
        array = array.astype(dtype)
    return descr, array.tobytes()


def _dtype_to_descr(dtype: DType) -> Any:
    if dtype.names is None:
        return dtype.str
    return [_field_to_descr(name, dtype[name]) for name in dtype.names]


def _field_to_descr(name: str, dtype: DType) -> list[Any]:
    shape: list[int] = []
    while dtype.subdtype is not None:
        shape.extend(dtype.shape)
        dtype = dtype.subdtype[0]
    field = [name, _dtype_to_descr(dtype)]
    if shape:
        field.append(shape)
    return field


def _kind(descr: Any) -> bytes:
    if isinstance(descr, list):
        return b"V"
    return b""


def decode_numpy(mapping: dict[Any, Any]) -> Any:
    """Decode a map that has the key `nd` to an array or a numpy scalar.

    Raises:
        DecodeError: the map is not in the wire format, or its type is not supported.
    """
    if mapping[b"nd"] is True:
        return _decode_array(mapping)
    if mapping[b"nd"] is False:
        check_keys(mapping, "nd", {b"nd", b"type", b"data"})
        return build_array(mapping[b"type"], (), mapping[b"data"])[()]
    raise DecodeError(f"nd: must be true or false, it is {kind_of(mapping[b'nd'])}")


def _decode_array(mapping: dict[Any, Any]) -> Array:
    # Old versions of msgpack-numpy wrote no kind.
    check_keys(mapping, "nd", {b"nd", b"type", b"shape", b"data"}, {b"kind"})
    expected = _kind(mapping[b"type"])
    kind = mapping.get(b"kind", expected)
    if type(kind) is not bytes or kind != expected:
        raise DecodeError(f"kind: must be {expected!r} for this type, it is {kind_of(kind)}")
    return build_array(mapping[b"type"], parse_shape(mapping[b"shape"], "shape"), mapping[b"data"])


def build_array(descr: Any, shape: tuple[int, ...], data: Any) -> Array:
    """An array from its `type`, its shape and the bytes of its items.

    Raises:
        DecodeError: the type is not supported, or the data does not fit the type and the shape.
    """
    if not isinstance(data, (bytes, memoryview)):
        raise DecodeError(f"data: must be bytes (msgpack's bin), it is {kind_of(data)}")
    dtype = _descr_to_dtype(descr, len(shape))
    check_size(dtype, shape, len(data))
    array: Array = np.ndarray(shape, dtype=dtype, buffer=data).copy()
    _check_items(array)
    return array


def check_keys(
    mapping: dict[Any, Any], name: str, required: Set[bytes], optional: Set[bytes] = frozenset()
) -> None:
    """Check that a map has all required keys, and no other than these and the optional ones.

    Raises:
        DecodeError: it does not. The message starts with `name`.
    """
    if missing := required - mapping.keys():
        raise DecodeError(f"{name}: the map has no key {min(missing)!r}: add it")
    for key in mapping.keys() - required - optional:
        raise DecodeError(f"{name}: the map has the unknown key {shown(key)}: remove it")


def check_size(dtype: DType, shape: tuple[int, ...], length: int) -> None:
    """Check the length of the data in bytes, and that the array is not huge without much data.

    Raises:
        DecodeError: the data does not fill the array, or `tolist` would take too much memory.
    """
    needed = math.prod(shape) * dtype.itemsize
    if needed != length:
        raise DecodeError(
            f"data: must have {needed} bytes for the shape {list(shape)}, it has {length}"
        )
    if length and len(shape) <= _ROWS_PER_BYTE and dtype.kind != "V":
        return  # no axis has more rows than there are bytes
    if not length and math.prod(filter(None, shape)) * dtype.itemsize > _MAX_ITEM_BYTES:
        raise DecodeError(f"shape: {list(shape)} is too large for an array without elements")
    if _count_rows(dtype, shape) > _SPARE_ROWS + _ROWS_PER_BYTE * length:
        raise DecodeError(f"shape: {list(shape)} has too many rows for {length} bytes of data")


def _count_rows(dtype: DType, shape: tuple[int, ...]) -> int:
    """The number of lists and records that `tolist` makes of an array."""
    records = math.prod(shape) * _count_item_rows(dtype)
    if not shape:
        return records
    return records + sum(itertools.accumulate(shape[:-1], operator.mul, initial=1))


def _count_item_rows(dtype: DType) -> int:
    if dtype.subdtype is not None:
        return _count_rows(*dtype.subdtype)
    if not dtype.names:
        return 0
    return 1 + sum(_count_item_rows(dtype[name]) for name in dtype.names)


def _check_items(array: Array) -> None:
    """Check the bytes of bools and strings: numpy itself accepts any bytes.

    Raises:
        DecodeError: a bool is not 0 or 1, or a code point is not a Unicode character.
    """
    for name in array.dtype.names or ():
        _check_items(array[name])
    if not array.size:
        return
    if array.dtype.kind == "b" and np.frombuffer(array.tobytes(), np.uint8).max() > 1:
        raise DecodeError("data: the byte of a bool must be 0 or 1")
    if array.dtype.kind == "U":
        byte_order = array.dtype.byteorder
        code_points = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(byte_order))
        surrogates = (code_points >= 0xD800) & (code_points < 0xE000)
        if code_points.max() > 0x10FFFF or surrogates.any():
            raise DecodeError("data: a code point is not a Unicode character: encode it as UTF-32")


def parse_shape(value: Any, name: str) -> tuple[int, ...]:
    """A shape from a list of integers.

    Raises:
        DecodeError: it is not such a list, or has over 32 dimensions. The message starts with
            `name`.
    """
    if type(value) is not list:
        raise DecodeError(f"{name}: must be a list of integers, it is {kind_of(value)}")
    if len(value) > _MAX_DIMENSIONS:
        raise DecodeError(
            f"{name}: must have at most {_MAX_DIMENSIONS} dimensions, it has {len(value)}"
        )
    for size in value:
        if type(size) is not int or size < 0:
            raise DecodeError(
                f"{name}: must hold integers that are not negative, it holds {kind_of(size)}"
            )
    return tuple(value)


def _descr_to_dtype(descr: Any, dimensions: int, depth: int = 0) -> DType:
    """The dtype of a map's `type`.

    Args:
        descr: a string as in `dtype.str`, or a list of fields as in `dtype.descr`.
        dimensions: how many dimensions the arrays around it have.
        depth: how many structured dtypes it is nested in.
    """
    if isinstance(descr, str):
        return _plain_dtype(descr)
    if type(descr) is not list or not descr:
        raise DecodeError(
            f"type: must be numpy's dtype.str or a list of fields, it is {kind_of(descr)}"
        )
    if depth == _MAX_DESCR_DEPTH:
        raise DecodeError(f"type: must have at most {_MAX_DESCR_DEPTH} levels of fields")
    return _structured_dtype([_decode_field(field, dimensions, depth) for field in descr])


@functools.lru_cache(maxsize=256)
def _plain_dtype(text: str) -> DType:
    if not _PLAIN_DTYPE.fullmatch(text):
        raise DecodeError(
            f"type: {shown(text)} is not supported: send numbers, bools, strings or bytes, "
            "with numpy's dtype.str as type"
        )
    try:
        dtype = np.dtype(text)
    except TypeError:  # a longdouble, whose size differs from machine to machine
        raise DecodeError(f"type: {text!r} does not exist on this machine: send '<f8'") from None
    _check_item_bytes(dtype.itemsize)
    return dtype


def _decode_field(field: Any, dimensions: int, depth: int) -> tuple[str, DType]:
    if type(field) is not list or len(field) not in (2, 3) or not isinstance(field[0], str):
        raise DecodeError(
            "type: a field must be the list [name, type] or [name, type, shape], "
            f"it is {kind_of(field)}"
        )
    name, descr, *rest = field
    shape: tuple[int, ...] = ()
    if rest:
        shape = parse_shape(rest[0], "type")
    dimensions += len(shape)
    if dimensions > _MAX_DIMENSIONS:
        raise DecodeError(
            f"type: a field must have at most {_MAX_DIMENSIONS} dimensions, "
            f"{name[:40]!r} has {dimensions}"
        )
    dtype = _descr_to_dtype(descr, dimensions, depth + 1)
    _check_item_bytes(math.prod(shape) * dtype.itemsize)
    return name, np.dtype((dtype, shape))


def _check_item_bytes(count: int) -> None:
    if not 0 < count <= _MAX_ITEM_BYTES:
        raise DecodeError(f"type: an element must have 1 to {_MAX_ITEM_BYTES} bytes, not {count}")


def _structured_dtype(fields: list[tuple[str, DType]]) -> DType:
    """The dtype of fields. One of raw bytes without a name is padding, as in numpy.lib.format."""
    name, dtype = fields[0]
    if len(fields) == 1 and not name and _is_raw(dtype):
        return dtype
    offsets = [0, *itertools.accumulate(dtype.itemsize for _, dtype in fields)]
    _check_item_bytes(offsets[-1])
    kept = [at for at, (name, dtype) in enumerate(fields) if name or not _is_raw(dtype)]
    names = [fields[at][0] for at in kept]
    if not all(names) or not 0 < len(names) == len(set(names)):
        raise DecodeError("type: the names of fields must be distinct and not empty")
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
