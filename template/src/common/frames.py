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
from functools import cached_property

RECEIVE_BYTES = 1 << 20
LENGTH = struct.Struct("!I")
REQUEST = struct.Struct("!IQBH")
RESPONSE = struct.Struct("!IQHB")
STATS = struct.Struct("!II5d")
V2_HEAD = struct.Struct("!I")
PHASES = ("decode", "preprocess", "predict", "postprocess", "encode")


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


def pack_request(ident: int, kind: int, request_id: str, body: bytes) -> bytes:
    """A frame to the worker."""
    name = request_id.encode()
    return REQUEST.pack(REQUEST.size - LENGTH.size + len(name) + len(body), ident, kind, len(name)) + name + body


@dataclass(slots=True)
class Request:
    """A frame to the worker."""

    ident: int
    kind: int
    request_id: str
    body: bytes

    def pack(self) -> bytes:
        return pack_request(self.ident, self.kind, self.request_id, self.body)

    @classmethod
    def unpack(cls, frame: bytes) -> "Request":
        _, ident, kind, size = REQUEST.unpack_from(frame)
        start = REQUEST.size + size
        return cls(ident, kind, frame[REQUEST.size : start].decode(), frame[start:])


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
    def unpack(cls, frame: bytes) -> "Response":
        _, ident, status, kind = RESPONSE.unpack_from(frame)
        return cls(ident, status, kind, frame[RESPONSE.size :])


class Splitter:
    """Cuts a stream of bytes into frames, each with its length in front."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @cached_property
    def space(self) -> memoryview:
        """Where `receive` reads into: made anew for each call, so much memory would cost more than the call."""
        return memoryview(bytearray(RECEIVE_BYTES))

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """The frames that are whole now."""
        buffer = self._buffer
        buffer += chunk
        frames, start, end = [], 0, len(buffer)
        with memoryview(buffer) as view:
            while end - start >= LENGTH.size:
                stop = start + LENGTH.size + LENGTH.unpack_from(view, start)[0]
                if stop > end:
                    break
                frames.append(bytes(view[start:stop]))
                start = stop
        if start:
            del buffer[:start]
        return frames


def receive(connection: socket.socket, splitter: Splitter, poll_seconds: float = 0) -> list[bytes]:
    """Every frame that has arrived, at least one.

    Args:
        connection: the socket to read.
        splitter: what holds the part of a frame that has arrived before.
        poll_seconds: how long to stay awake for the next frame before sleeping until it comes.

    Raises:
        EOFError: the other side has closed.
    """
    while True:
        size = _polled(connection, splitter.space, poll_seconds)
        if size is None:
            size = connection.recv_into(splitter.space)
        if not size:
            raise EOFError
        if frames := splitter.feed(splitter.space[:size]):
            return frames


def _polled(connection: socket.socket, space: memoryview, seconds: float) -> int | None:
    """How many bytes came within the time; None where none did."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        try:
            return connection.recv_into(space, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            os.sched_yield()  # whoever is to send the frame goes first
    return None
