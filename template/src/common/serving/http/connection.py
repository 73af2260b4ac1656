"""uvicorn's HTTP protocol with a fast path for predict requests, and one write per response.

Only this module and exchange.py rely on uvicorn's internals; tests/serving/test_uvicorn.py fails if
they change.
"""

import asyncio
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..pool import Pool
from ..predict_routes import CLOSE, JSON, Headers, PredictRoutes, Refused, error_answer
from .exchange import Exchange, response_head
from .write_buffer import WriteBuffer


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
        head = response_head(refusal.status, tuple(self.server_state.default_headers))
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
