"""The wire between the server and a worker: frames with a length in front, over a Unix socket pair.

All numbers are big-endian. A frame to the worker is

    length u32 | ident u64 | kind u8 | size of the request id u16 | request id | body

and one from the worker is

    length u32 | ident u64 | status u16 | kind u8 | body

`length` counts what follows it. `ident` says which request a frame belongs to; 0 is the worker itself. A body of V2 has
the size of the JSON in front of its raw data before it, a u32; 0 where all of it is JSON.
"""

import os
import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

RECEIVE_BYTES = 1 << 21
LARGE_BYTES = 1 << 14  # to copy so much takes longer than to look at it where it is
LENGTH = struct.Struct("!I")
REQUEST = struct.Struct("!IQBH")
RESPONSE = struct.Struct("!IQHB")
STATS = struct.Struct("!II5d")
V2_HEAD = struct.Struct("!I")
PHASES = ("decode", "preprocess", "predict", "postprocess", "encode")
Frame = bytes | memoryview


class Kind(IntEnum):
    """What a body is."""

    JSON = 0
    MSGPACK = 1
    CONFIG = 2
    READY = 3
    FAILED = 4
    STATS = 5
    V2 = 6


@dataclass(slots=True)
class Stats:
    """What one call of `predict` took.

    Attributes:
        requests: how many requests shared the call.
        rows: how many rows they had together.
        seconds: how long each of PHASES took, of all of them together.
    """

    requests: int
    rows: int
    seconds: tuple[float, ...]

    def pack(self) -> bytes:
        return STATS.pack(self.requests, self.rows, *self.seconds)

    @classmethod
    def unpack(cls, body: bytes) -> "Stats":
        requests, rows, *seconds = STATS.unpack(body)
        return cls(requests, rows, tuple(seconds))


def request_head(ident: int, kind: int, request_id: str, size: int) -> bytes:
    """What stands before a body of so many bytes in a frame to the worker."""
    name = request_id.encode()
    return (
        REQUEST.pack(REQUEST.size - LENGTH.size + len(name) + size, ident, kind, len(name)) + name
    )


@dataclass(slots=True)
class Request:
    """A frame to the worker."""

    ident: int
    kind: int
    request_id: str
    body: bytes | memoryview

    def pack(self) -> bytes:
        return request_head(self.ident, self.kind, self.request_id, len(self.body)) + self.body

    @classmethod
    def unpack(cls, frame: Frame) -> "Request":
        _, ident, kind, size = REQUEST.unpack_from(frame)
        start = REQUEST.size + size
        return cls(ident, kind, str(frame[REQUEST.size : start], "utf-8"), frame[start:])


@dataclass(slots=True)
class Response:
    """A frame from the worker."""

    ident: int
    status: int
    kind: int
    body: bytes

    def pack(self) -> bytes:
        size = RESPONSE.size - LENGTH.size + len(self.body)
        return RESPONSE.pack(size, self.ident, self.status, self.kind) + self.body

    @classmethod
    def unpack(cls, frame: Frame) -> "Response":
        _, ident, status, kind = RESPONSE.unpack_from(frame)
        return cls(ident, status, kind, bytes(frame[RESPONSE.size :]))


class Splitter:
    """Cuts a stream of bytes into frames, each with its length in front."""

    def __init__(self) -> None:
        self._part = bytearray()  # a frame that is not whole yet

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that are whole now."""
        frames: list[Frame] = []
        view, at = memoryview(chunk), 0
        if self._part:
            while (lacking := _size(self._part) - len(self._part)) > 0 and at < len(view):
                self._part += view[at : at + lacking]
                at += lacking
            if lacking > 0:
                return frames
            frames.append(memoryview(self._part))
        while (end := at + _size(view, at)) <= len(view):
            frames.append(chunk[at:end] if end - at < LARGE_BYTES else view[at:end])
            at = end
        self._part = bytearray(view[at:])
        return frames


def _size(data: bytearray | memoryview, at: int = 0) -> int:
    """How many bytes the frame has that begins there; as many as tell it, where those are not all here."""
    return (
        LENGTH.size + LENGTH.unpack_from(data, at)[0]
        if len(data) - at >= LENGTH.size
        else LENGTH.size
    )


def receive(connection: socket.socket, splitter: Splitter, poll_seconds: float = 0) -> list[Frame]:
    """Every frame that has arrived, at least one.

    Args:
        connection: the socket to read.
        splitter: what holds the part of a frame that has arrived before.
        poll_seconds: how long to stay awake for the next frame before sleeping until it comes.

    Raises:
        EOFError: the other side has closed.
    """
    while True:
        chunk = _polled(connection, poll_seconds)
        if chunk is None:
            chunk = connection.recv(RECEIVE_BYTES)
        if not chunk:
            raise EOFError
        if frames := splitter.feed(chunk):
            return frames


def _polled(connection: socket.socket, seconds: float) -> bytes | None:
    """What came within the time; None where nothing did."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        try:
            return connection.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            os.sched_yield()  # whoever is to send the frame goes first
    return None
