"""A plain request and its response, without ASGI."""

import asyncio
import logging
import time
from functools import lru_cache
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ...errors import Unanswered
from ...link.frames import Response
from ..compression import HeaderList, compressed
from ..pool import Pool
from ..predict_routes import CLOSE, Headers, PredictRoutes, Refused, Route, error_answer
from ..streams import Stream, form_of
from .write_buffer import WriteBuffer

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """What an exchange uses of its connection, an HTTPProtocol."""

    routes: PredictRoutes
    pool: Pool
    buffer: WriteBuffer
    flow: Any
    transport: Any
    server_state: Any

    def on_response_complete(self) -> None: ...
    def on_exchange_complete(self) -> None: ...


class Exchange:
    """A plain request and its response.

    uvicorn's protocol uses it as a RequestResponseCycle, and the pool as a future.

    Args:
        protocol: the connection.
        route: the request's route.
        headers: the request's headers.
        keep_alive: whether the connection stays open.

    Attributes:
        parts: the body, in the pieces that it came in.
        response_complete, disconnected, keep_alive, message_event: as in RequestResponseCycle.
    """

    __slots__ = (
        "disconnected",
        "keep_alive",
        "message_event",
        "parts",
        "response_complete",
        "_headers",
        "_protocol",
        "_request_id",
        "_route",
        "_start",
    )

    def __init__(
        self, protocol: Connection, route: Route, headers: Headers, keep_alive: bool
    ) -> None:
        self._protocol = protocol
        self._route = route
        self._headers = headers
        self.keep_alive = keep_alive
        self.parts: list[bytes] = []
        self.response_complete = self.disconnected = False
        self.message_event: NullEvent | Leaving = NULL_EVENT

    def start(self) -> None:
        """Send the request, whose body is complete, to the workers."""
        routes = self._protocol.routes
        self._request_id = routes.request_id(self._headers)
        self._start = time.perf_counter()
        try:
            parts = routes.worker_body(self._route, self._headers, self.parts)
            said = routes.said(self._headers.fields)
            kind, request_id = self._route.kind, self._request_id
            self._protocol.pool.ask(kind, parts, request_id, self, said, takes_stream=True)
        except (Refused, Unanswered) as error:
            self.set_result(error_answer(error.status, error))

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.disconnected or self.response_complete

    def set_exception(self, error: Unanswered) -> None:
        self.set_result(error_answer(error.status, error))

    def set_result(self, answer: Response | Stream) -> None:
        """Send the response. The pool checks `done` first."""
        routes = self._protocol.routes
        if isinstance(answer, Stream):
            self.message_event = Leaving(answer)
            asyncio.ensure_future(self._send_stream(answer)).add_done_callback(_retrieve)
            return
        headers, body = routes.response(answer, self._request_id)
        if len(body) >= routes.compress_from and (coding := routes.coding(self._headers)):
            done = compressed(coding, headers, body)
            done.add_done_callback(lambda message: self._send(answer.status, *message.result()))
        else:
            self._send(answer.status, headers, body)

    def _send(self, status: int, headers: HeaderList, body: bytes) -> None:
        protocol, routes = self._protocol, self._protocol.routes
        if not self.keep_alive and not routes.draining:
            headers.append(CLOSE)
        lines = [b"%b: %b\r\n" % header for header in headers]
        head = response_head(status, tuple(protocol.server_state.default_headers))
        protocol.buffer.write_through(b"".join((head, *lines, b"\r\n", body)))
        self.response_complete = True
        if CLOSE in headers:
            protocol.transport.close()
            protocol.on_response_complete()
        else:
            protocol.on_exchange_complete()
        took = time.perf_counter() - self._start
        routes.count(self._route.name, status, self._request_id, took)

    async def _send_stream(self, stream: Stream) -> None:
        """Send an answer chunk by chunk, as fast as the client reads."""
        protocol, routes = self._protocol, self._protocol.routes
        form = form_of(self._headers.fields)
        headers = routes.stream_fields(stream, form, self._request_id)
        # Without chunks of HTTP/1.1, the end of the connection is the end of the answer.
        keep_alive = self.keep_alive and not routes.draining
        headers.append((b"transfer-encoding", b"chunked") if keep_alive else CLOSE)
        lines = [b"%b: %b\r\n" % header for header in headers]
        head = response_head(stream.status, tuple(protocol.server_state.default_headers))
        protocol.buffer.write_through(b"".join((head, *lines, b"\r\n")))
        async for part in stream.parts(form):
            if self.disconnected:
                break
            if keep_alive:
                part = b"%x\r\n%b\r\n" % (len(part), part)
            protocol.buffer.write_through(part)
            await protocol.flow.drain()
        stream.cancel()
        took = time.perf_counter() - self._start
        routes.count(self._route.name, stream.status, self._request_id, took)
        if self.disconnected:
            return
        self.response_complete = True
        if keep_alive:
            protocol.buffer.write_through(b"0\r\n\r\n")
            protocol.on_exchange_complete()
        else:
            protocol.transport.close()
            protocol.on_response_complete()


def _retrieve(sending: "asyncio.Future[None]") -> None:
    """Log why a stream could not be sent."""
    if not sending.cancelled() and (error := sending.exception()) is not None:
        logger.error("a stream could not be sent: %r", error, exc_info=error)


class Leaving:
    """What uvicorn sets when the client has left: nobody waits for the stream any more."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def set(self) -> None:
        self._stream.cancel()


@lru_cache(maxsize=64)
def response_head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The first lines of a response: the status, and the headers that all responses share."""
    return STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])


class NullEvent:
    """An event that no task waits for."""

    def set(self) -> None:
        pass


NULL_EVENT = NullEvent()
