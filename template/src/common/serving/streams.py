"""Answers that come chunk by chunk, from a worker to a client that may read slowly.

A stream is Server-Sent Events where the client accepts them, else JSON Lines. An event has a chunk
as its data. The last event is `end`, or `error` with the message.

Sources: https://html.spec.whatwg.org/multipage/server-sent-events.html and https://jsonlines.org.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from ..errors import Unanswered
from ..link.frames import CREDIT, Kind, Response
from .beside import HeaderList

EVENTS = b"text/event-stream"
LINES = b"application/x-ndjson"
# nginx would gather an answer before it passes it on.
UNBUFFERED: HeaderList = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
HALF = CREDIT // 2


@dataclass(frozen=True)
class Form:
    """How chunks are written.

    Attributes:
        media_type: of the answer.
        start: before each chunk.
        error: before the error that ends a stream.
        stop: after each of them.
        last: at the end of a stream without an error.
    """

    media_type: bytes
    start: bytes
    error: bytes
    stop: bytes
    last: bytes


FORMS = {
    EVENTS: Form(EVENTS, b"data: ", b"event: error\ndata: ", b"\n\n", b"event: end\ndata: {}\n\n"),
    LINES: Form(LINES, b"", b"", b"\n", b""),
}


def form_of(headers: HeaderList) -> Form:
    """The form that a client accepts."""
    accepted = b",".join(value for name, value in headers if name == b"accept").lower()
    return FORMS[EVENTS if EVENTS in accepted else LINES]


class Stream:
    """An answer whose chunks have begun to come.

    Args:
        first: the worker's frame with the first chunk, which is fed like the others.
        grant: lets the worker send so many chunks more.
        cancel: tells the worker that nobody waits any more.

    Attributes:
        status, beside, kind: as those of a Response.
        error: why it has ended, as JSON, where that is not the regular end.
    """

    kind = Kind.CHUNK

    def __init__(
        self, first: Response, grant: Callable[[int], None], cancel: Callable[[], None]
    ) -> None:
        self.status, self.beside = first.status, first.beside
        self._grant, self._cancel = grant, cancel
        self._chunks: deque[bytes] = deque()
        self.error: bytes | None = None
        self._ended = False
        self._came = asyncio.Event()
        self._taken = 0

    @property
    def is_held_up(self) -> bool:
        """Whether the worker may send no more until the client has read."""
        return len(self._chunks) + self._taken >= CREDIT

    def feed(self, chunk: bytes) -> None:
        """Take a chunk from the worker."""
        self._chunks.append(chunk)
        self._came.set()

    def end(self, error: bytes | None = None) -> None:
        """No more chunks come.

        Args:
            error: why, as JSON, where it is not the regular end.
        """
        self._ended, self.error = True, error
        self._came.set()

    def cancel(self) -> None:
        """Nobody waits for more."""
        if not self._ended:
            self._chunks.clear()
            self.end()
            self._cancel()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks, as they come. After the last one, `error` says whether there is one."""
        while True:
            while self._chunks:
                yield self._chunks.popleft()
                self._count()
            if self._ended:
                return
            self._came.clear()
            await self._came.wait()

    async def parts(self, form: Form) -> AsyncIterator[bytes]:
        """The bytes of the answer."""
        async for chunk in self.chunks():
            yield b"".join((form.start, chunk, form.stop))
        if self.error is not None:
            yield b"".join((form.error, self.error, form.stop))
        elif form.last:
            yield form.last

    def _count(self) -> None:
        self._taken += 1
        if self._taken == HALF and not self._ended:
            self._taken = 0
            self._grant(HALF)


def refused(stream: Stream) -> Unanswered:
    """The error where an answer cannot be a stream, which is ended."""
    stream.cancel()
    return Unanswered(501, "no streams here: post JSON to :predict, or call ModelStreamInfer")
