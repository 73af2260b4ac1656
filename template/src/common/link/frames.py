"""The protocol between the server and a worker: length-prefixed frames over a Unix socket pair.

All numbers are big-endian. A frame to the worker is

    length u32 | ident u64 | kind u8 | size of the request id u16 | request id | body

and one from the worker is

    length u32 | ident u64 | status u16 | kind u8 | body

Where the highest bit of a kind is set, its body starts with a u32 and as many bytes of JSON:
what is said beside the body (`serving/beside.py`).

`length` counts the bytes after it. `ident` is the number of the request that a frame belongs to;
0 is the worker itself. A V2 body starts with a u32: the size of the JSON before its raw data, or 0
if all of it is JSON. A GRPC body is a message of V2's ModelInfer in protobuf's wire format. A CSV
body starts with a byte that says what its first line is, a `FirstLine`.
"""

import dataclasses
import json
import os
import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ..routes import OwnersRoute

RECEIVE_BYTES = 1 << 21
LARGE_BYTES = 1 << 14  # from this size on, a view is faster than a copy
LENGTH = struct.Struct("!I")
REQUEST = struct.Struct("!IQBH")
RESPONSE = struct.Struct("!IQHB")
STATS = struct.Struct("!III5d")
V2_HEAD = struct.Struct("!I")
CREDIT = 16  # chunks that a stream may send ahead of its client
BESIDE = 0x80  # the highest bit of a kind
PHASES = ("decode", "preprocess", "predict", "postprocess", "encode")
Frame = bytes | memoryview


class Kind(IntEnum):
    """What a frame's body is."""

    JSON = 0
    MSGPACK = 1
    CONFIG = 2
    READY = 3
    FAILED = 4
    STATS = 5
    V2 = 6
    EVENT = 8  # a structured CloudEvent
    TRIAL = 7  # to the worker: JSON with rows, to try whether they are independent
    GRPC = 9
    BROKEN = 10  # from the worker: why its model can answer nothing more
    SCORING = 11  # JSON of MLflow's scoring protocol
    CSV = 12
    CHUNK = 15  # from the worker: a part of an answer, as JSON; more may come
    END = 16  # from the worker: the end of a stream, with an error as JSON if it is one
    MORE = 17  # to the worker: how many chunks more a stream may send, a u32
    CANCEL = 18  # to the worker: nobody waits for a stream any more
    ROUTE = 14  # the body of a request to a route of the owner's
    ALIVE = 19  # from the worker: its event loop goes on
    STUCK = 20  # from the worker: why its event loop does not go on
    HEALTH = 13  # to the worker, and from it with the reason where it is not well


@dataclass(frozen=True)
class Ready:
    """What a worker says of the owner's code when it is ready.

    Attributes:
        reads_context: whether a hook reads what is said of a request beside its body.
        tells_health: whether it can be asked for its health.
        closes: whether it has something to close.
        routes: the owner's routes.
        is_async: whether hooks or routes are `async def`.
    """

    reads_context: bool = False
    tells_health: bool = False
    closes: bool = False
    routes: tuple[OwnersRoute, ...] = ()
    is_async: bool = False

    def pack(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def unpack(cls, body: bytes) -> "Ready":
        said = json.loads(body)
        routes = tuple(OwnersRoute.of(own) for own in said["routes"])
        return cls(**{**said, "routes": routes})


class FirstLine(IntEnum):
    """What the first line of a CSV body is, as the parameter `header` of its media type says."""

    NAMES = 0  # where nothing is said
    PRESENT = 1  # names, whatever they look like
    ABSENT = 2  # a row


def event_parts(answer: bytes) -> tuple[dict[str, Any], bytes]:
    """The attributes and the JSON of the answer to an event, as `bodies/events.py` encodes it."""
    (size,) = V2_HEAD.unpack_from(answer)
    end = V2_HEAD.size + size
    attributes = {}
    if size:
        attributes = json.loads(answer[V2_HEAD.size : end])
    return attributes, answer[end:]


@dataclass(slots=True)
class Stats:
    """Statistics of one call of `predict`; of none where `requests` is 0.

    Attributes:
        requests: how many requests shared the call.
        rows: how many rows they had in total.
        seconds: how long each of PHASES took, for all of them in total.
        ended: 1 if an answer has ended the sharing of calls since the statistics before.
    """

    requests: int
    rows: int
    seconds: tuple[float, ...]
    ended: int = 0

    def pack(self) -> bytes:
        return STATS.pack(self.requests, self.rows, self.ended, *self.seconds)

    @classmethod
    def unpack(cls, body: bytes) -> "Stats":
        requests, rows, ended, *seconds = STATS.unpack(body)
        return cls(requests, rows, tuple(seconds), ended)


def request_head(ident: int, kind: int, request_id: str, size: int, beside: bytes = b"") -> bytes:
    """The bytes before a body of `size` bytes in a frame to the worker."""
    name = request_id.encode()
    length = REQUEST.size - LENGTH.size + len(name) + size
    if not beside:
        return REQUEST.pack(length, ident, kind, len(name)) + name
    said = LENGTH.pack(len(beside)) + beside
    return REQUEST.pack(length + len(said), ident, kind | BESIDE, len(name)) + name + said


@dataclass(slots=True)
class Request:
    """A frame to the worker.

    Attributes:
        beside: what is said of the request beside its body; nothing where no hook reads it.
    """

    ident: int
    kind: int
    request_id: str
    body: bytes | memoryview
    beside: bytes = b""

    def pack(self) -> bytes:
        size, beside = len(self.body), self.beside
        return request_head(self.ident, self.kind, self.request_id, size, beside) + self.body

    @classmethod
    def unpack(cls, frame: Frame) -> "Request":
        _, ident, kind, size = REQUEST.unpack_from(frame)
        start = REQUEST.size + size
        request_id = str(frame[REQUEST.size : start], "utf-8")
        if kind < BESIDE:
            return cls(ident, kind, request_id, frame[start:])
        beside, body = _parted(frame, start)
        return cls(ident, kind ^ BESIDE, request_id, body, beside)


@dataclass(slots=True)
class Response:
    """A frame from the worker.

    Attributes:
        beside: what a hook says beside the body: header fields.
    """

    ident: int
    status: int
    kind: int
    body: bytes
    beside: bytes = b""

    def pack(self) -> bytes:
        size = RESPONSE.size - LENGTH.size + len(self.body)
        if not self.beside:
            return RESPONSE.pack(size, self.ident, self.status, self.kind) + self.body
        said = LENGTH.pack(len(self.beside)) + self.beside
        head = RESPONSE.pack(size + len(said), self.ident, self.status, self.kind | BESIDE)
        return b"".join((head, said, self.body))

    @classmethod
    def unpack(cls, frame: Frame) -> "Response":
        _, ident, status, kind = RESPONSE.unpack_from(frame)
        if kind < BESIDE:
            return cls(ident, status, kind, bytes(frame[RESPONSE.size :]))
        beside, body = _parted(frame, RESPONSE.size)
        return cls(ident, status, kind ^ BESIDE, bytes(body), beside)


def _parted(frame: Frame, start: int) -> tuple[bytes, Frame]:
    """What is said beside a body, and the body, in a frame from `start` on."""
    (size,) = LENGTH.unpack_from(frame, start)
    start += LENGTH.size
    return bytes(frame[start : start + size]), frame[start + size :]


class Splitter:
    """Splits a stream of bytes into frames."""

    def __init__(self) -> None:
        self._part = bytearray()  # a frame that is not complete yet

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that are complete with this chunk."""
        frames: list[Frame] = []
        view, at = memoryview(chunk), 0
        if self._part:
            while (missing := _size(self._part) - len(self._part)) > 0 and at < len(view):
                self._part += view[at : at + missing]
                at += missing
            if missing > 0:
                return frames
            frames.append(memoryview(self._part))
        while (end := at + _size(view, at)) <= len(view):
            if end - at < LARGE_BYTES:
                frames.append(chunk[at:end])
            else:
                frames.append(view[at:end])
            at = end
        self._part = bytearray(view[at:])
        return frames


def _size(data: bytearray | memoryview, at: int = 0) -> int:
    """The size of the frame that starts at `at`; of its length alone while that is incomplete."""
    if len(data) - at < LENGTH.size:
        return LENGTH.size
    return int(LENGTH.size + LENGTH.unpack_from(data, at)[0])


def receive(connection: socket.socket, splitter: Splitter, poll_seconds: float = 0) -> list[Frame]:
    """Every frame that has arrived; waits for the first one.

    Args:
        connection: the socket to read.
        splitter: holds the part of a frame that has arrived before.
        poll_seconds: how long to poll for the next frame before sleeping until it comes.

    Raises:
        EOFError: the other side has closed.
    """
    while True:
        chunk = _poll(connection, poll_seconds)
        if chunk is None:
            chunk = connection.recv(RECEIVE_BYTES)
        if not chunk:
            raise EOFError
        if frames := splitter.feed(chunk):
            return frames


def _poll(connection: socket.socket, seconds: float) -> bytes | None:
    """What arrives within the time; None if nothing does."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        try:
            return connection.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            os.sched_yield()  # another process may be about to send the frame
    return None
