"""The first rows of a body of msgpack, before all of it is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]

from .density import Steps
from .msgpack_codec import msgpack_decode, msgpack_encode
from .msgpack_decoder import MsgpackDecoder
from .places import Places
from .values import Encoder

WINDOW_BYTES = 1 << 14  # of the first rows
MOST_BYTES = 1 << 18  # of further ones

PATH = ("instances",)
ROWS, NO_ROWS = Places('"instances"', rows=(PATH,)), Places(dropped=(PATH,))
_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
_ARRAY = struct.Struct(">BI")
_ENDS = (ValueError, msgpack.UnpackException, IndexError)


class MsgpackRows:
    """Reads rows under `instances`, from the first one on. They must be found first.

    Args:
        body: the msgpack.
    """

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = memoryview(body)
        self._at = self._count = self._left = 0

    def find(self) -> Steps[None]:
        """Find the first row.

        Raises:
            ValueError: there is no list of rows, or no long one behind much else.
            DecodeError: too much else comes before, or what does is no msgpack.
        """
        try:
            self._at, self._count = _start_of_rows(self._body)
        except _ENDS:
            self._at, self._count = yield from MsgpackDecoder(self._body, ROWS).find_rows()
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
        decoder = MsgpackDecoder(self._body, NO_ROWS)
        found = yield from decoder.value(is_checked=True)
        if decoder.repeats:
            raise ValueError("the body has a key twice")
        del found["instances"]
        return dict(found)


class MsgpackPieces:
    """Decodes a large body of msgpack, some of its rows at a time.

    Args:
        body: the msgpack.

    Attributes:
        decoded: what `msgpack_decode` returns for the body, and the encoder of the response, once
            all pieces are decoded.
        error: why they cannot be.
        batches: the rows of each piece, so that they can be freed in pieces, too.
    """

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = body
        self.decoded: tuple[Any, Encoder] | None = None
        self.error: Exception | None = None
        self.batches: list[list[Any]] = []

    def __iter__(self) -> Steps[None]:
        """Decode, with a pause after each piece. A piece takes a few milliseconds."""
        try:
            decoder = MsgpackDecoder(self._body, ROWS)
            self.batches = decoder.batches
            self.decoded = (yield from decoder.value()), msgpack_encode
        except Exception as error:
            self.error = error


def _start_of_rows(body: memoryview) -> tuple[int, int]:
    """Where the first row starts, and how many there are."""
    unpacker, _ = _unpacker(body[:WINDOW_BYTES])
    for _ in range(unpacker.read_map_header()):
        key_at = unpacker.tell()
        unpacker.skip()
        at = unpacker.tell()
        if msgpack_decode(body[key_at:at]) == "instances":
            count = unpacker.read_array_header()
            return unpacker.tell(), count
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
