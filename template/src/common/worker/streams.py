"""Answers that come chunk by chunk: what a `predict`, or a route of the owner's, yields.

The server lets a stream send `CREDIT` chunks ahead of its client, and then one for each that it has
passed on. So a client that reads slowly holds few chunks, and others have their turn meanwhile.
"""

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..link.frames import CREDIT, Kind, Request, Response

# Kinds of bodies whose chunks are JSON: each is one line of it, or one event.
IN_JSON = (Kind.JSON, Kind.ROUTE, Kind.SCORING, Kind.CSV)
# Those whose chunks are answers as the protocol has them, V2's as JSON.
IN_TENSORS = (Kind.V2, Kind.GRPC)


def is_stream(value: Any) -> bool:
    """Whether a value is what a function with `yield` returns."""
    return inspect.isgenerator(value) or inspect.isasyncgen(value)


def yields(function: Any) -> bool:
    """Whether a function has `yield`."""
    inner = inspect.unwrap(function)
    return inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)


def close_unsent(values: Any) -> None:
    """Close what nobody will send. An asynchronous generator has not begun yet."""
    if inspect.isgenerator(values):
        values.close()


@dataclass(slots=True)
class Stream:
    """An answer of which more may come.

    Attributes:
        frame: the request.
        values: yields what is to be sent.
        chunk: makes the Response of a value, or of an error.
        failed: makes the Response of an exception.
        credit: how many chunks it may send.
        begun: whether it has sent one.
    """

    frame: Request
    values: Iterator[Any]
    chunk: Callable[[Any], Response]
    failed: Callable[[BaseException], Response]
    credit: int = CREDIT
    begun: bool = False

    def made(self, value: Any) -> Response:
        """The chunk of a value, or the end where it cannot be sent."""
        response = self.chunk(value)
        if response.status >= 400 and (self.begun or response.kind != Kind.CHUNK):
            return ended_by(self, response)
        return response


class Streams:
    """The streams of a worker. Each has its turn, one chunk at a time; new ones come first."""

    def __init__(self) -> None:
        self._all: dict[int, Stream] = {}
        self._new: deque[int] = deque()
        self._turns: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def can_go_on(self) -> bool:
        """Whether a stream may send a chunk now."""
        return bool(self._new or self._turns)

    def add(self, stream: Stream) -> None:
        self._all[stream.frame.ident] = stream
        self._new.append(stream.frame.ident)

    def step(self) -> Response | None:
        """The next chunk, or the end, of the stream whose turn it is."""
        ident = (self._new or self._turns).popleft()
        stream = self._all.get(ident)
        if stream is None:
            return None
        response = self._next(stream)
        if response.kind == Kind.CHUNK:
            stream.begun = True
            stream.credit -= 1
            if stream.credit:
                self._turns.append(ident)
        else:
            self._end(stream)
        return response

    def grant(self, ident: int, chunks: int) -> None:
        """Let a stream send so many chunks more."""
        stream = self._all.get(ident)
        if stream is None:
            return
        if not stream.credit:
            self._turns.append(ident)
        stream.credit += chunks

    def cancel(self, ident: int) -> Response | None:
        """End a stream, for which nobody waits any more."""
        stream = self._all.get(ident)
        if stream is None:
            return None
        self._end(stream)
        return Response(ident, 200, Kind.END, b"")

    def close(self) -> None:
        """End all of them."""
        for stream in list(self._all.values()):
            self._end(stream)

    def _next(self, stream: Stream) -> Response:
        ident = stream.frame.ident
        try:
            value = next(stream.values)
        except StopIteration:
            return Response(ident, 200, Kind.END, b"")
        except BaseException as error:
            return ended_by(stream, stream.failed(error))
        return stream.made(value)

    def _end(self, stream: Stream) -> None:
        self._all.pop(stream.frame.ident, None)
        try:
            stream.values.close()  # type: ignore[attr-defined]
        except BaseException as error:  # of the owner's `finally`
            stream.failed(error)


def ended_by(stream: Stream, response: Response) -> Response:
    """An error in a stream: before its first chunk an answer, after it the end."""
    if not stream.begun:
        return response
    return Response(response.ident, response.status, Kind.END, response.body)
