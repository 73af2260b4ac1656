"""protobuf's wire format: reads fields one by one, without protobuf's package and without numpy.

Fields that are read one by one are counted, so that no message takes a long time.

Source: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...errors import DecodeError

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)
SIZES = {FIXED64: 8, FIXED32: 4}

MOST_FIELDS = 1 << 18  # that are read one by one
MOST_BYTES = 10  # of a varint
MOST_TAG = (1 << 32) - 1

Field = tuple[int, int, Any]
"""A field's number, its wire type and its value: an int for VARINT, else a memoryview."""


@dataclass(slots=True)
class Budget:
    """How many fields may still be read one by one."""

    left: int = MOST_FIELDS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise DecodeError(f"the message has more than {MOST_FIELDS} fields: send fewer")


def fields(data: memoryview, budget: Budget) -> Iterator[Field]:
    """The fields of a message, without its groups.

    Raises:
        DecodeError: it is not protobuf's wire format, or has too many fields.
    """
    at = 0
    while at < len(data):
        number, wire, value, at = field_at(data, at, budget)
        if wire == GROUP:
            at = group_end(data, at, number, budget)
        else:
            yield number, wire, value


def text(value: memoryview, name: str) -> str:
    """A field of type string.

    Raises:
        DecodeError: it is not UTF-8. The message starts with `name`.
    """
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(f"{name}: must be UTF-8: {error.reason}") from None


def signed(value: int) -> int:
    """The int64 of a varint."""
    if value >> 63:
        return value - (1 << 64)
    return value


def field_at(data: memoryview, at: int, budget: Budget) -> tuple[int, int, Any, int]:
    """The field at `at`, and where it ends. The value of a group is not read."""
    budget.spend()
    tag, at = varint_at(data, at)
    number, wire = tag >> 3, tag & 7
    if not number or tag > MOST_TAG or wire > FIXED32 or wire == END_GROUP:
        raise DecodeError(f"the message is malformed: {tag} is no tag of a field")
    if wire == VARINT:
        value, at = varint_at(data, at)
        return number, wire, value, at
    if wire == GROUP:
        return number, wire, None, at
    size = SIZES.get(wire)
    if size is None:
        size, at = varint_at(data, at)
    return number, wire, bytes_at(data, at, size), at + size


def group_end(data: memoryview, at: int, number: int, budget: Budget) -> int:
    """Where a group ends whose first field is at `at`. Groups are an old form that may nest."""
    opened = [number]
    while opened:
        tag, after = varint_at(data, at)
        if tag & 7 == END_GROUP and tag >> 3 == opened[-1]:
            opened.pop()
            at = after
            continue
        number, wire, _, at = field_at(data, at, budget)
        if wire == GROUP:
            opened.append(number)
    return at


def varint_at(data: memoryview, at: int) -> tuple[int, int]:
    """The varint at `at`, and where it ends."""
    value = 0
    for shift, byte in enumerate(data[at : at + MOST_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + shift + 1
    if len(data) - at < MOST_BYTES:
        raise DecodeError("the message ends within a field")
    raise DecodeError("the message is malformed: a varint has more than 10 bytes")


def bytes_at(data: memoryview, at: int, size: int) -> memoryview:
    if size > len(data) - at:
        raise DecodeError(
            f"the message ends within a field: {size} bytes are announced, {len(data) - at} follow"
        )
    return data[at : at + size]
