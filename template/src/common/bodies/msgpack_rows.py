"""The first rows of a body of msgpack, before all of it is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgpack  # type: ignore[import-untyped]

from .density import Steps, check_msgpack
from .msgpack_codec import MARKERS, OPTIONS, check_complete, msgpack_decode, msgpack_encode
from .values import Encoder

WINDOW_BYTES = 1 << 14  # of the first rows
MOST_BYTES = 1 << 18  # of further ones

_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
_ARRAY = struct.Struct(">BI")
_EMPTY = b"\x90"
_ENDS = (ValueError, msgpack.UnpackException, IndexError)


class MsgpackRows:
    """Reads rows under `instances`, from the first one on.

    Args:
        body: the msgpack.

    Raises:
        ValueError: no list under `instances` is in sight.
    """

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = memoryview(body)
        try:
            self._list, self._at, self._count = _start_of_rows(self._body)
        except _ENDS:
            raise ValueError("no rows are in sight") from None
        self._left = self._count

    def batches(self) -> Iterator[list[Any]]:
        """Rows, in their order. Ends before one that is larger than MOST_BYTES."""
        size = WINDOW_BYTES
        while self._left:
            window = self._body[self._at : self._at + size]
            count, end = _whole(window, self._left)
            if count:
                yield msgpack_decode(b"".join([_ARRAY.pack(0xDD, count), window[:end]]))
                self._at, self._left = self._at + end, self._left - count
            elif size == MOST_BYTES:
                return
            size = MOST_BYTES

    def next_row(self, most: int) -> tuple[int, int]:
        """How many lists, and how many values, the row after the batches begins with.

        Args:
            most: so many of both are enough.
        """
        lists = values = 0
        unpacker, window = _unpacker(self._body[self._at : self._at + MOST_BYTES])
        try:
            while self._left and lists + values < most:
                if window[unpacker.tell()] in _ARRAYS:
                    unpacker.read_array_header()
                    lists += 1
                else:
                    unpacker.skip()
                    values += 1
        except _ENDS:
            pass
        return lists, values

    def exceed(self, lists: int, values: int) -> Steps[bool]:
        """Whether the body is too short for its rows, if each has so many lists and values."""
        yield
        return self._count * (lists + values) > len(self._body)

    def others(self) -> Steps[dict[str, Any]]:
        """The body without its rows.

        Raises:
            ValueError: it is no msgpack, or has other rows too.
        """
        yield
        unpacker, rest = _unpacker(self._body[self._list :])
        unpacker.skip()
        found = msgpack_decode(
            b"".join([self._body[: self._list], _EMPTY, rest[unpacker.tell() :]])
        )
        if found["instances"] != []:
            raise ValueError("the body has two lists of instances")
        del found["instances"]
        return dict(found)


class MsgpackPieces:
    """Decodes a body of msgpack that has many rows, some of them at a time.

    Args:
        body: the msgpack.

    Attributes:
        decoded: what `msgpack_decode` returns for the body, and the encoder of the response, once
            all pieces are decoded. None where `msgpack_decode` has to decode the body, or to say
            what is wrong with it.
        batches: the rows of each piece, so that they can be freed in pieces, too.
    """

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = body
        self.decoded: tuple[Any, Encoder] | None = None
        self.error: Exception | None = None  # decoding the whole body shows what is wrong
        self.batches: list[list[Any]] = []

    def __iter__(self) -> Steps[None]:
        """Decode, with a pause after each piece. A piece takes a few milliseconds."""
        try:
            check_complete(self._body)
            yield
            check_msgpack(self._body)
            yield
            yield from self._decode()
        except Exception:  # `msgpack_decode` shows what is wrong
            return

    def _decode(self) -> Iterator[None]:
        body = memoryview(self._body)
        unpacker = msgpack.Unpacker(max_buffer_size=len(body), **OPTIONS)
        unpacker.feed(body)
        found: dict[Any, Any] = {}
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            if key == "instances" and key not in found and body[unpacker.tell()] in _ARRAYS:
                found[key] = []
                yield from self._rows(unpacker, unpacker.read_array_header(), found[key])
            else:
                found[key] = unpacker.unpack()
        whole = unpacker.tell() == len(body) and {str, bytes}.issuperset(map(type, found))
        if whole and MARKERS.isdisjoint(found):
            self.decoded = found, msgpack_encode

    def _rows(self, unpacker: Any, count: int, decoded: list[Any]) -> Iterator[None]:
        step = max(1, count * MOST_BYTES // len(self._body))
        for start in range(0, count, step):
            batch = list(islice(unpacker, min(step, count - start)))
            decoded += batch
            self.batches.append(batch)
            yield


def _start_of_rows(body: memoryview) -> tuple[int, int, int]:
    """Where the list starts, where its first row does, and how many there are."""
    unpacker, _ = _unpacker(body[:WINDOW_BYTES])
    for _ in range(unpacker.read_map_header()):
        key_at = unpacker.tell()
        unpacker.skip()
        at = unpacker.tell()
        if msgpack_decode(body[key_at:at]) == "instances":
            count = unpacker.read_array_header()
            return at, unpacker.tell(), count
        unpacker.skip()
    raise ValueError("there are no instances")


def _whole(window: memoryview, most: int) -> tuple[int, int]:
    """How many rows of a window are whole, and where they end."""
    count = end = 0
    unpacker, _ = _unpacker(window)
    try:
        while count < most:
            unpacker.skip()
            count, end = count + 1, unpacker.tell()
    except _ENDS:
        pass
    return count, end


def _unpacker(data: memoryview) -> tuple[Any, memoryview]:
    unpacker = msgpack.Unpacker(max_buffer_size=len(data))
    unpacker.feed(data)
    return unpacker, data
