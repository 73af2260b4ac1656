"""uvicorn's HTTP protocol, with a way of its own for the predict routes and responses sent in one piece."""

import asyncio
import time
from functools import lru_cache
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..errors import Unanswered
from ..link.frames import Response
from .pool import Pool
from .predict_routes import CLOSE, Headers, Predictions, Refused, Route, error_answer

MOST_BYTES = 1 << 16


class HTTPProtocol(HttpToolsProtocol):
    """uvicorn's own, but that plain requests of the predict routes reach the workers, and what it writes through.

    A plain request is a POST with a length, not encoded and no event, and the only one on its connection: it needs no
    task, no scope and no messages. Every other goes the way of ASGI, where the same `Predictions` decide.

    uvicorn writes a response's head, then its body: two calls of the system, and the client wakes for a head alone. And
    it sets a timer after each response and cancels it when the next request comes; here one timer looks after them all.
    """

    _idle_since: float | None = None
    _idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.gathering = Gathering(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self.gathering))
        self.predictions: Predictions = self.app.predictions
        self.pool: Pool = self.app.workers

    def on_message_begin(self) -> None:
        self._idle_since = None
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        if (exchange := self._exchange()) is not None:
            self.cycle = exchange
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()

    def _exchange(self) -> Any:
        """What stands for a plain request of a predict route; None for another."""
        route = self.predictions.plain.get(self.url)
        busy = self.cycle is not None and not self.cycle.response_complete
        if route is None or busy or self.expect_100_continue or self.flow.write_paused:
            return None
        headers = Headers(self.headers)
        if self.parser.get_method() != b"POST" or not self.predictions.is_plain(route, headers):
            return None
        if headers.connection and (
            self.parser.get_http_version() != "1.1" or self.parser.should_upgrade()
        ):
            return None
        return Exchange(self, route, headers, self.parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        cycle: Any = self.cycle
        if type(cycle) is Exchange:
            cycle.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        cycle: Any = self.cycle
        if type(cycle) is Exchange:
            cycle.ask()
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self.gathering.flush()
        super().on_response_complete()

    def on_exchanged(self) -> None:
        """A plain request was answered, and the connection stays: as uvicorn's, but for its timer."""
        if self.pipeline:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._close_when_idle()

    def _close_when_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is not None:
            left = self._idle_since + self.timeout_keep_alive - self.loop.time()
            if left > 0:
                self._idle_timer = self.loop.call_later(left, self._close_when_idle)
            elif not self.transport.is_closing():
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)


class Exchange:
    """A plain request and its answer: a RequestResponseCycle to uvicorn's protocol, and a future to the pool.

    Args:
        protocol: the connection's.
        route: what the request is for.
        headers: the request's.
        keep_alive: whether the connection stays open.

    Attributes:
        parts: the body, as it came.
        response_complete, disconnected, keep_alive, message_event: as a RequestResponseCycle has them.
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
        self, protocol: HTTPProtocol, route: Route, headers: Headers, keep_alive: bool
    ) -> None:
        self._protocol = protocol
        self._route = route
        self._headers = headers
        self.keep_alive = keep_alive
        self.parts: list[bytes] = []
        self.response_complete = self.disconnected = False
        self.message_event = NOBODY_WAITS

    def ask(self) -> None:
        """The request is whole."""
        predictions = self._protocol.predictions
        self._request_id = predictions.request_id(self._headers)
        self._start = time.perf_counter()
        try:
            framed = predictions.framed(self._route, self._headers, self.parts)
            self._protocol.pool.ask(self._route.kind, framed, self._request_id, self)
        except (Refused, Unanswered) as error:
            self.set_result(error_answer(error.status, error))

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.disconnected or self.response_complete

    def set_exception(self, error: Unanswered) -> None:
        self.set_result(error_answer(error.status, error))

    def set_result(self, answer: Response) -> None:
        """Respond. The pool asks `done` before."""
        protocol, predictions = self._protocol, self._protocol.predictions
        fields, body = predictions.fields(answer, self._request_id)
        if not self.keep_alive and not predictions.draining:
            fields.append(CLOSE)
        lines = [b"%b: %b\r\n" % field for field in fields]
        protocol.gathering.write_through(
            b"".join(
                (
                    _start(answer.status, tuple(protocol.server_state.default_headers)),
                    *lines,
                    b"\r\n",
                    body,
                )
            )
        )
        self.response_complete = True
        if CLOSE in fields:
            protocol.transport.close()
            protocol.on_response_complete()
        else:
            protocol.on_exchanged()
        took = time.perf_counter() - self._start
        predictions.count(self._route.name, answer.status, self._request_id, took)


@lru_cache(maxsize=64)
def _start(status: int, fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """How a response begins: its status, and the fields that are the same for a second."""
    return STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % field for field in fields])


class NobodyWaits:
    """An event that no task waits for."""

    def set(self) -> None:
        pass


NOBODY_WAITS = NobodyWaits()


class Gathering:
    """A transport that keeps what is written to it: until it is flushed, or full, or the loop comes round.

    Args:
        transport: where it goes then.
        loop: the loop that the transport belongs to.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        self._awaits_turn = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST_BYTES:
            self.flush()
        elif not self._awaits_turn:
            self._awaits_turn = True
            self._loop.call_soon(self._turn)

    def write_through(self, data: bytes) -> None:
        """Write at once, after what was kept."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.write(data)

    def flush(self) -> None:
        """Write what was kept."""
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def _turn(self) -> None:
        self._awaits_turn = False
        self.flush()
