"""uvicorn's HTTP protocol with a fast path for predict requests, and one write per response.

Only this module relies on uvicorn's internals; tests/serving/test_uvicorn.py fails if they change.
"""

import asyncio
import time
from functools import lru_cache
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ..errors import Unanswered
from ..link.frames import Response
from .pool import Pool
from .predict_routes import CLOSE, JSON, Headers, PredictRoutes, Refused, Route, error_answer

MAX_BUFFER_BYTES = 1 << 16


class HTTPProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a fast path for plain requests and a write buffer.

    A plain request is a POST to a predict route with a Content-Length, neither encoded nor a
    CloudEvent, and not pipelined. It goes to the workers without a task, an ASGI scope or
    messages. Every other request goes through ASGI, where the same `PredictRoutes` decide.

    uvicorn writes a response's head and body with two system calls, and wakes the client for the
    head alone; the buffer joins them. uvicorn also sets a timer after each response and cancels it
    at the next request; here one timer per connection closes it when it is idle.

    A head has a limit. And no request asks for another protocol: a server may ignore `Upgrade`,
    says RFC 9110, 7.8. httptools takes the body of a request that has it for data of the other
    protocol, and what is sent after it for a new request. So the head of such a request is parsed a
    second time, without that field.
    """

    _asks_upgrade = False
    _head_is_open = _may_be_large = False
    _open_bytes = 0  # of a head whose end has not come
    _refusal: Refused | None = None
    _idle_since: float | None = None
    _idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.buffer = WriteBuffer(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self.buffer))
        self.routes: PredictRoutes = self.app.routes
        self.pool: Pool = self.app.workers
        self._max_head_bytes = self.routes.max_head_bytes

    def data_received(self, data: bytes) -> None:
        """Parse data; the callbacks below are told what is in it."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        size, headers = len(data), self.headers
        if size > self._max_head_bytes:
            self._may_be_large = True
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._parse_again(memoryview(data)[upgrade.args[0] :])
            if self._head_is_open:
                self._may_be_large = True
                if self.headers is headers:  # else it began somewhere in this data
                    self._open_bytes += size
                if self._open_bytes > self._max_head_bytes:
                    self._refuse_head()
        except httptools.HttpParserError as error:
            self.send_400_response(str(error))

    def _parse_again(self, rest: memoryview) -> None:
        """Parse the head of a request without `Upgrade`, then what came after it.

        A new parser does that: this one takes nothing more after `Connection: close`.
        """
        while self.parser.get_method() != b"CONNECT":
            self._asks_upgrade = False
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.parser.feed_data(head)
            try:
                if rest:
                    self.parser.feed_data(rest)
                break
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]

    def on_message_begin(self) -> None:
        self._idle_since = None
        self.url = b""
        self.headers = []
        self._head_is_open = True
        self.expect_100_continue = False

    def _head_without_upgrade(self) -> bytes:
        """The request line and the header fields that were parsed last, without `Upgrade`."""
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        version = self.parser.get_http_version().encode("ascii")
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        return b"".join((line, *fields, b"\r\n"))

    def _check_head(self) -> None:
        """Refuse a head that is too large."""
        self._may_be_large = False
        size = sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        if max(size, len(self.url)) > self._max_head_bytes:
            self._refuse_head()

    def _refuse_head(self) -> None:
        """End the connection, because the head that is parsed is too large.

        Raises:
            HttpParserError: always.
        """
        limit = self._max_head_bytes
        status, what = 431, "the header fields are"
        if len(self.url) > limit:
            status, what = 414, "the request line is"
        setting = "serving.max_head_bytes in config.yaml"
        self._refusal = Refused(status, f"{what} larger than {limit} bytes ({setting})")
        raise httptools.HttpParserError(str(self._refusal))

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or too large, and close the connection."""
        refusal = self._refusal or Refused(400, "the request is not valid HTTP/1.1")
        body = error_answer(refusal.status, refusal).body
        headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), CLOSE]
        lines = [b"%b: %b\r\n" % header for header in headers]
        head = _head(refusal.status, tuple(self.server_state.default_headers))
        self.buffer.write_through(b"".join((head, *lines, b"\r\n", body)))
        self.transport.close()

    def on_headers_complete(self) -> None:
        self._head_is_open = False
        self._open_bytes = 0
        if self._may_be_large:
            self._check_head()
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._asks_upgrade = True
            return
        if (exchange := self._plain_exchange()) is not None:
            self.cycle = exchange
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()

    def _plain_exchange(self) -> Any:
        """The exchange for a plain request; None for any other request."""
        route = self.routes.by_target.get(self.url)
        busy = self.cycle is not None and not self.cycle.response_complete
        if route is None or busy or self.expect_100_continue or self.flow.write_paused:
            return None
        headers = Headers(self.headers)
        if self.parser.get_method() != b"POST" or not self.routes.is_plain(route, headers):
            return None
        if headers.connection and self.parser.get_http_version() != "1.1":
            return None
        return Exchange(self, route, headers, self.parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        cycle: Any = self.cycle
        if type(cycle) is Exchange:
            cycle.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._asks_upgrade:
            return
        cycle: Any = self.cycle
        if type(cycle) is Exchange:
            cycle.start()
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self.buffer.flush()
        super().on_response_complete()

    def on_exchange_complete(self) -> None:
        """Do what `on_response_complete` does, with one timer, where the connection stays open."""
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
        self, protocol: HTTPProtocol, route: Route, headers: Headers, keep_alive: bool
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
            self._protocol.pool.ask(self._route.kind, parts, self._request_id, self)
        except (Refused, Unanswered) as error:
            self.set_result(error_answer(error.status, error))

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.disconnected or self.response_complete

    def set_exception(self, error: Unanswered) -> None:
        self.set_result(error_answer(error.status, error))

    def set_result(self, answer: Response) -> None:
        """Send the response. The pool checks `done` first."""
        protocol, routes = self._protocol, self._protocol.routes
        headers, body = routes.response(answer, self._request_id)
        if not self.keep_alive and not routes.draining:
            headers.append(CLOSE)
        lines = [b"%b: %b\r\n" % header for header in headers]
        head = _head(answer.status, tuple(protocol.server_state.default_headers))
        protocol.buffer.write_through(b"".join((head, *lines, b"\r\n", body)))
        self.response_complete = True
        if CLOSE in headers:
            protocol.transport.close()
            protocol.on_response_complete()
        else:
            protocol.on_exchange_complete()
        took = time.perf_counter() - self._start
        routes.count(self._route.name, answer.status, self._request_id, took)


@lru_cache(maxsize=64)
def _head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The first lines of a response: the status, and the headers that all responses share."""
    return STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])


class NullEvent:
    """An event that no task waits for."""

    def set(self) -> None:
        pass


NULL_EVENT = NullEvent()


class WriteBuffer:
    """A transport that joins small writes.

    It writes when it is flushed, when it is full, or in the next iteration of the event loop.

    Args:
        transport: the transport that it writes to.
        loop: the transport's event loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        self._scheduled = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_BUFFER_BYTES:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._scheduled_flush)

    def write_through(self, data: bytes) -> None:
        """Write at once, after what is in the buffer."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.write(data)

    def flush(self) -> None:
        """Write what is in the buffer."""
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def _scheduled_flush(self) -> None:
        self._scheduled = False
        self.flush()
