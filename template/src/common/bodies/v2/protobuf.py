"""protobuf's wire format: reads repeated fields and writes fields, without protobuf's package.

Numbers are converted many at a time. `protobuf_fields.py` reads other fields, one by one.

Source: https://protobuf.dev/programming-guides/encoding
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..values import Array, DecodeError
from .protobuf_fields import (
    BYTES,
    GROUP,
    MOST_BYTES,
    VARINT,
    Budget,
    bytes_at,
    field_at,
    group_end,
    varint_at,
)

PIECE = 1 << 20  # bytes of numbers that are converted together
FIRST_PIECE = 1 << 6


@dataclass(frozen=True, slots=True)
class Scalar:
    """The type of a repeated field.

    Attributes:
        wire: the wire type of one value.
        dtype: the dtype of its values; None for bytes.
    """

    wire: int
    dtype: np.dtype[Any] | None = None


# ---- reading ----


class Repeated:
    """Collects the values of one repeated field, packed or not.

    Args:
        scalar: their type.
        most: so many values are enough: of the rest, hardly any are read.
    """

    def __init__(self, scalar: Scalar, most: int = sys.maxsize) -> None:
        self._scalar = scalar
        self._most = most
        self._arrays: list[Array] = []
        self._items: list[bytes] = []

    def read(self, data: memoryview, at: int) -> int:
        """Collect the fields that start at `at` and have one tag; returns where they end."""
        scalar, wire, most = self._scalar, data[at] & 7, self._most - len(self)
        if scalar.dtype is None:
            return _read_items(data, at, self._items, self._most)
        if wire == BYTES:
            size, start = varint_at(data, at + 1)
            values = bytes_at(data, start, size)
            self._arrays.append(packed(values, scalar, most))
            return start + size
        run = _varint_run if wire == VARINT else _fixed_run
        return run(data, at, scalar.dtype, self._arrays, most)

    def takes(self, wire: int) -> bool:
        """Whether a field of this wire type holds such values. If not, it is an unknown field."""
        return wire in (self._scalar.wire, BYTES)

    @property
    def is_full(self) -> bool:
        """Whether there are enough values."""
        return len(self) >= self._most

    def __len__(self) -> int:
        return len(self._items) + sum(map(len, self._arrays))

    def values(self) -> Array | list[bytes]:
        """All that was collected."""
        if self._scalar.dtype is None:
            return self._items
        if len(self._arrays) == 1:
            return self._arrays[0]
        return np.concatenate([np.empty(0, self._scalar.dtype), *self._arrays])


def read_repeated(data: memoryview, known: dict[int, Repeated], budget: Budget) -> None:
    """Collect the repeated fields of a message whose numbers are below 16, until one is full.

    Args:
        data: the message.
        known: what collects a field, by its number.
        budget: limits all other fields.

    Raises:
        DecodeError: it is not protobuf's wire format, or has too many fields.
    """
    at = 0
    while at < len(data) and not any(repeated.is_full for repeated in known.values()):
        repeated = known.get(data[at] >> 3)
        if data[at] < 0x80 and repeated is not None and repeated.takes(data[at] & 7):
            budget.spend()
            at = repeated.read(data, at)
            continue
        number, wire, _, at = field_at(data, at, budget)
        if wire == GROUP:
            at = group_end(data, at, number, budget)
        elif number in known and known[number].takes(wire):
            raise DecodeError("the message is malformed: a tag is longer than it needs to be")


def packed(data: memoryview, scalar: Scalar, most: int = sys.maxsize) -> Array:
    """The numbers of a packed field; the first ones if there are more than `most`.

    Raises:
        DecodeError: the data is no list of such numbers.
    """
    assert scalar.dtype is not None
    if scalar.wire == VARINT:
        codes = np.frombuffer(data, np.uint8)
        if len(codes) > most * MOST_BYTES:
            codes = _whole_varints(codes[: most * MOST_BYTES])
        return _packed_varints(codes, scalar.dtype)
    if len(data) % scalar.dtype.itemsize:
        raise DecodeError(
            f"a packed field must have a multiple of {scalar.dtype.itemsize} bytes, "
            f"it has {len(data)}"
        )
    values: Array = np.frombuffer(data, scalar.dtype)[:most].copy()
    return values


def _read_items(data: memoryview, at: int, items: list[bytes], most: int) -> int:
    """Collect the consecutive fields with the tag at `at`, whose values are bytes."""
    tag, size = data[at], FIRST_PIECE
    while at < len(data) and data[at] == tag and len(items) < most:
        done = _read_short(bytes(data[at : at + size]), tag, items)
        at, size = at + done, min(4 * size, PIECE)
        if not done:
            length, start = varint_at(data, at + 1)
            items.append(bytes(bytes_at(data, start, length)))
            at, size = start + length, FIRST_PIECE
    return at


def _read_short(piece: bytes, tag: int, items: list[bytes]) -> int:
    """Collect values of less than 128 bytes that are complete; returns where they end."""
    at, last = 0, len(piece) - 1
    while at < last and piece[at] == tag and piece[at + 1] < 0x80:
        end = at + 2 + piece[at + 1]
        if end > last + 1:
            break
        items.append(piece[at + 2 : end])
        at = end
    return at


# ---- many numbers ----


def _whole_varints(data: Array) -> Array:
    """The first varints of a part that holds them."""
    ends = np.flatnonzero(data < 0x80)
    if not len(ends):
        raise DecodeError("the message is malformed: a varint has more than 10 bytes")
    return data[: int(ends[-1]) + 1]


def _packed_varints(data: Array, dtype: np.dtype[Any]) -> Array:
    """The numbers of varints that follow each other."""
    count = int(np.count_nonzero(data < 0x80))
    if count == len(data):
        same: Array = data.astype(dtype)
        return same
    if data[-1] >= 0x80:
        raise DecodeError("the message ends within a field")
    values = np.empty(count, dtype)
    at = done = 0
    while at < len(data):
        piece = data[at : at + PIECE]
        ends = np.flatnonzero(piece < 0x80)
        starts = np.concatenate(([0], ends[:-1] + 1))
        found = _of_varints(piece, starts, ends, dtype)
        values[done : done + len(found)] = found
        done += len(found)
        at += int(ends[-1]) + 1
    return values


def _of_varints(data: Array, starts: Array, ends: Array, dtype: np.dtype[Any]) -> Array:
    """The numbers of varints that start and end at these places. There is at least one."""
    lengths = ends - starts + 1
    if not len(lengths) or (longest := int(lengths.max())) > MOST_BYTES:
        raise DecodeError("the message is malformed: a varint has more than 10 bytes")
    values = (data[starts] & 0x7F).astype(np.uint64)
    for place in range(1, longest):
        longer = np.flatnonzero(lengths > place)
        bits = (data[starts[longer] + place] & 0x7F).astype(np.uint64)
        values[longer] |= bits << np.uint64(7 * place)
    if dtype.kind == "b":
        return np.not_equal(values, 0)
    return values.astype(f"u{dtype.itemsize}").view(dtype)


def _varint_run(
    data: memoryview, at: int, dtype: np.dtype[Any], arrays: list[Array], most: int
) -> int:
    """Collect the numbers of consecutive fields with the tag at `at`. A tag is a varint too."""
    tag, size = data[at], FIRST_PIECE
    while at < len(data) and data[at] == tag and most > 0:
        piece = np.frombuffer(data[at : at + size], np.uint8)
        ends = np.flatnonzero(piece < 0x80)
        pairs = len(ends) // 2
        if not pairs:
            varint_at(data, at + 1)  # says what is wrong
        tags, ends = ends[: 2 * pairs : 2], ends[1 : 2 * pairs : 2]
        starts = np.concatenate(([0], ends[:-1] + 1))
        same = (starts == tags) & (piece[starts] == tag)
        count = pairs if same.all() else int(same.argmin())
        arrays.append(_of_varints(piece, tags[:count] + 1, ends[:count], dtype))
        at += int(ends[count - 1]) + 1
        most -= count
        if count < pairs:
            break
        size = min(4 * size, PIECE)
    return at


def _fixed_run(
    data: memoryview, at: int, dtype: np.dtype[Any], arrays: list[Array], most: int
) -> int:
    """Collect the numbers of consecutive fields with the tag at `at`, of a fixed size."""
    tag, step, rows = data[at], 1 + dtype.itemsize, FIRST_PIECE
    while at < len(data) and data[at] == tag and most > 0:
        complete = min(rows, (len(data) - at) // step)
        if not complete:
            bytes_at(data, at + 1, dtype.itemsize)  # says what is wrong
        piece = np.frombuffer(data[at : at + complete * step], np.uint8).reshape(-1, step)
        same = piece[:, 0] == tag
        count = complete if same.all() else int(same.argmin())
        arrays.append(piece[:count, 1:].copy().view(dtype).reshape(-1))
        at += count * step
        most -= count
        if count < complete:
            break
        rows = min(4 * rows, PIECE)
    return at


# ---- writing ----


def varint(value: int) -> bytes:
    """The varint of an integer from 0 on."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def head(number: int, size: int) -> bytes:
    """What is in front of a field's value of `size` bytes."""
    return varint(number << 3 | BYTES) + varint(size)


def field(number: int, value: bytes) -> bytes:
    """A field of bytes, a string, a message or packed numbers; nothing if it is empty."""
    if not value:
        return b""
    return head(number, len(value)) + value


def pack(values: Array, scalar: Scalar) -> bytes:
    """The value of a packed field."""
    assert scalar.dtype is not None
    values = values.astype(scalar.dtype, copy=False).reshape(-1)
    if scalar.wire != VARINT or scalar.dtype.kind == "b":
        return values.tobytes()
    return b"".join(
        _write_varints(values[start : start + PIECE // 8].astype(np.int64).view(np.uint64))
        for start in range(0, len(values), PIECE // 8)
    )


def _write_varints(values: Array) -> bytes:
    lengths = np.ones(len(values), np.int64)
    for place in range(1, MOST_BYTES):
        longer = values >= np.uint64(1 << 7 * place)
        if not longer.any():
            break
        lengths += longer
    starts = np.cumsum(lengths) - lengths
    written = np.empty(int(lengths.sum()), np.uint8)
    for place in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > place)
        bits = (values[longer] >> np.uint64(7 * place)).astype(np.uint8) & 0x7F
        more = (lengths[longer] > place + 1).astype(np.uint8) << 7
        written[starts[longer] + place] = bits | more
    return written.tobytes()
