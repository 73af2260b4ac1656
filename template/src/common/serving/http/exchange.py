"""A plain request and its response, without ASGI."""

import time
from functools import lru_cache
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from ...errors import Unanswered
from ...link.frames import Response
from ..compression import HeaderList, compressed
from ..pool import Pool
from ..predict_routes import CLOSE, Headers, PredictRoutes, Refused, Route, error_answer
from .write_buffer import WriteBuffer


class Connection(Protocol):
    """What an exchange uses of its connection, an HTTPProtocol."""

    routes: PredictRoutes
    pool: Pool
    buffer: WriteBuffer
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
        self.message_event = NULL_EVENT

    def start(self) -> None:
        """Send the request, whose body is complete, to the workers."""
        routes = self._protocol.routes
        self._request_id = routes.request_id(self._headers)
        self._start = time.perf_counter()
        try:
            parts = routes.worker_body(self._route, self._headers, self.parts)
            said = routes.said(self._headers.fields)
            self._protocol.pool.ask(self._route.kind, parts, self._request_id, self, said)
        except (Refused, Unanswered) as error:
            self.set_result(error_answer(error.status, error))

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.disconnected or self.response_complete

    def set_exception(self, error: Unanswered) -> None:
        self.set_result(error_answer(error.status, error))

    def set_result(self, answer: Response) -> None:
        """Send the response. The pool checks `done` first."""
        routes = self._protocol.routes
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


@lru_cache(maxsize=64)
def response_head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The first lines of a response: the status, and the headers that all responses share."""
    return STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])


class NullEvent:
    """An event that no task waits for."""

    def set(self) -> None:
        pass


NULL_EVENT = NullEvent()
