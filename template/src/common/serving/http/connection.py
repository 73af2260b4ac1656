"""uvicorn's HTTP protocol with a fast path for predict requests, and one write per response.

Only this module and exchange.py rely on uvicorn's internals; tests/serving/test_uvicorn.py fails if
they change.
"""

import asyncio
from enum import IntEnum
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..pool import Pool, full
from ..predict_routes import (
    CLOSE,
    CSV,
    JSON,
    RETRY_AFTER,
    Headers,
    PredictRoutes,
    Refused,
    error_answer,
)
from .connections import Connections, Wait
from .exchange import Exchange, response_head
from .lingering import linger
from .write_buffer import WriteBuffer

PIECE_BYTES = 2048  # parsed at a time, where requests may end in them
LARGE_READ_BYTES = 1 << 16  # after which other connections have their turn
MAX_PIPELINED = 32  # requests on a connection that wait behind another
SMALL_BODY_BYTES = 1 << 14  # the connections' limit bounds smaller bodies


class Stage(IntEnum):
    """How much of a request has come."""

    NONE = 0
    HEAD = 1
    BODY = 2
    ALL = 3


class HTTPProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a fast path for plain requests, a write buffer, and limits.

    A plain request is a POST to a predict route with a Content-Length, neither encoded nor a
    CloudEvent, and not pipelined. It goes to the workers without a task, an ASGI scope or
    messages. Every other request goes through ASGI, where the same `PredictRoutes` decide.

    uvicorn writes a response's head and body with two system calls, and wakes the client for the
    head alone; the buffer joins them. uvicorn also sets a timer after each response and cancels it
    at the next request; here `Connections` looks after all connections.

    A head has a limit. So have the requests that wait behind another one: the rest of what came is
    kept unparsed, and no more is read. And no request asks for another protocol: a server may
    ignore `Upgrade`, says RFC 9110, 7.8. httptools takes the body of a request that has it for data
    of the other protocol, and what is sent after it for a new request. So the head of such a
    request is parsed a second time, without that field.
    """

    _stage = Stage.NONE
    _asks_upgrade = False
    _may_be_large = False
    _has_room = True  # False for a connection beyond the limit
    _counts_body = False
    _open_bytes = 0  # of a head whose end has not come
    _body_left = 0  # of a plain request, in bytes
    _held_bytes = 0  # of a body, counted in the pool's `held`
    _waits = False  # for a response before it goes on with what follows
    _has_ended = False
    _kept: bytes | memoryview = b""
    _refusal: Refused | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.buffer = WriteBuffer(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self.buffer))
        self.routes: PredictRoutes = self.app.routes
        self.pool: Pool = self.app.workers
        self._max_head_bytes = self.routes.max_head_bytes
        self._connections: Connections = self.app.connections
        self._has_room = self._connections.open(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.close(self)
        self._release()
        super().connection_lost(exc)

    # ---- parsing ----

    def data_received(self, data: bytes) -> None:
        """Parse data; the callbacks below are told what is in it."""
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if self._waits:
            self._kept = b"".join((self._kept, data))
        elif len(data) <= PIECE_BYTES:
            self._parse(data)
        else:
            self._parse_pieces(memoryview(data))
            if len(data) > LARGE_READ_BYTES:
                self.buffer.give_way()

    def _parse_pieces(self, data: memoryview) -> None:
        """Parse data until so many requests wait that the rest of it must wait too."""
        while data and not self._waits:
            size = max(PIECE_BYTES, self._body_left)
            self._parse(data[:size])
            data = data[size:]
            if len(self.pipeline) >= MAX_PIPELINED:
                self._wait()
        self._kept = data

    def _parse(self, data: bytes | memoryview) -> None:
        size, headers = len(data), self.headers
        if size > self._max_head_bytes:
            self._may_be_large = True
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._parse_again(memoryview(data)[upgrade.args[0] :])
            if self._stage is Stage.HEAD:
                self._may_be_large = True
                if self.headers is headers:  # else it began somewhere in this data
                    self._open_bytes += size
                if self._open_bytes > self._max_head_bytes:
                    self._refuse_head()
            elif self._may_be_large:
                self._may_be_large = False
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

    def _head_without_upgrade(self) -> bytes:
        """The request line and the header fields that were parsed last, without `Upgrade`."""
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        version = self.parser.get_http_version().encode("ascii")
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        return b"".join((line, *fields, b"\r\n"))

    def _wait(self) -> None:
        """Read no more until a response is complete."""
        self._waits = True
        self.buffer.hold_reading()

    def _go_on(self) -> None:
        """Parse what was kept, once few requests wait."""
        if len(self.pipeline) > MAX_PIPELINED // 2 or self.transport.is_closing():
            return
        kept, self._kept, self._waits = self._kept, b"", False
        self._parse_pieces(memoryview(kept))
        if not self._waits:
            self.buffer.release_reading()

    # ---- what the parser has found ----

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._stage = Stage.HEAD
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        self._open_bytes = 0
        if self._may_be_large:
            self._check_head()
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._asks_upgrade = True
            return
        if (exchange := self._plain_exchange()) is not None:
            self._stage, self.cycle = Stage.BODY, exchange
            return
        self._body_left, self._counts_body = 0, True
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        self._stage, self.headers = Stage.BODY, []  # trailers are no header fields
        if not self._has_room:
            self.cycle.keep_alive = False

    def _plain_exchange(self) -> Any:
        """The exchange for a plain request; None for any other request."""
        route = self.routes.by_target.get(self.url)
        if route is None or self._is_busy() or self.expect_100_continue or self.flow.write_paused:
            return None
        headers = Headers(self.headers)
        if route.table is not None and headers.media_type == CSV:
            route = route.table
        if self.parser.get_method() != b"POST" or not self.routes.is_plain(route, headers):
            return None
        if headers.connection and self.parser.get_http_version() != "1.1":
            return None
        if self.routes.answers_pages and any(name == b"origin" for name, _ in self.headers):
            return None
        if not self._has_room:
            limit = self._connections.limit
            setting = "serving.max_connections, or the limit of open files"
            self._refuse(503, f"{limit} connections are busy already ({setting}); try again later")
        self._body_left = headers.length
        self._counts_body = headers.length > SMALL_BODY_BYTES
        return Exchange(self, route, headers, self.parser.should_keep_alive())

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def on_body(self, body: bytes) -> None:
        cycle: Any = self.cycle
        if self._counts_body and not cycle.response_complete:
            self._hold(len(body))
        if type(cycle) is Exchange:
            self._body_left -= len(body)
            cycle.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._asks_upgrade:
            return
        self._stage = Stage.ALL
        cycle: Any = self.cycle
        if type(cycle) is Exchange:
            if self._held_bytes:
                self._release()  # the pool counts it from now on
            cycle.start()
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        self.buffer.flush()
        is_last = not self.pipeline
        if is_last:
            self._release()
        super().on_response_complete()
        if self._refusal is not None and is_last:
            self.loop.call_soon(self._end, self._refusal)
        elif self._refusal is None and self._waits:
            self.loop.call_soon(self._go_on)

    def on_exchange_complete(self) -> None:
        """Do what `on_response_complete` does, without a timer, where the connection stays open."""
        if self.pipeline or self._waits:
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()

    # ---- limits ----

    def _hold(self, size: int) -> None:
        """Count what came of a body. Where there is no room, the largest upload makes room."""
        self._held_bytes += size
        held = self.pool.held
        held.size += size
        while held.is_full:
            largest: Any = self._connections.largest_upload()
            if largest is None or largest is self:
                self._refuse(503, full(held.limit))
            largest.end_upload()

    def _release(self) -> None:
        self.pool.held.size -= self._held_bytes
        self._held_bytes = 0

    @property
    def upload_bytes(self) -> int:
        """The bytes held of a body whose end has not come."""
        if self._stage is not Stage.BODY:
            return 0
        return self._held_bytes

    def end_upload(self) -> None:
        """End the connection: the bytes of its body are needed."""
        self._end(Refused(503, full(self.pool.held.limit)))

    def wait(self) -> tuple[Wait, Any, int]:
        """What the connection waits for, for which request, and its bytes so far."""
        unread = self.buffer.get_write_buffer_size()
        if unread:
            return Wait.READER, None, -unread
        if self._stage is Stage.BODY and not self.buffer.is_held:
            return Wait.BODY, self.headers, self._body_bytes()
        if self._is_busy() or self.pipeline:
            return Wait.US, None, 0
        if self._stage is Stage.ALL:
            return Wait.REQUEST, self.headers, 0
        return Wait.HEAD, self.headers, 0

    def _body_bytes(self) -> int:
        cycle: Any = self.cycle
        if type(cycle) is Exchange:
            return sum(map(len, cycle.parts))
        return self._held_bytes

    def expire(self, wait: Wait) -> None:
        """End the connection: the client has taken too long."""
        if wait == Wait.BODY:
            slow = "the body came too slowly (serving.body_timeout_seconds in config.yaml)"
            self._end(Refused(408, slow))
        elif wait == Wait.HEAD and self._stage is Stage.HEAD:
            slow = "the head came too slowly (serving.header_timeout_seconds in config.yaml)"
            self._end(Refused(408, slow))
        elif wait == Wait.READER:
            self.transport.abort()
        else:
            self.transport.close()

    def make_room(self) -> None:
        """Close the connection, because another one needs its place."""
        self.transport.close()

    def _check_head(self) -> None:
        """Refuse a head that is too large."""
        size = sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        if max(size, len(self.url)) > self._max_head_bytes:
            self._refuse_head()

    def _refuse_head(self) -> None:
        """Refuse the head that is parsed, because it is too large."""
        limit = self._max_head_bytes
        status, what = 431, "the header fields are"
        if len(self.url) > limit:
            status, what = 414, "the request line is"
        setting = "serving.max_head_bytes in config.yaml"
        self._refuse(status, f"{what} larger than {limit} bytes ({setting})")

    def _refuse(self, status: int, message: str) -> None:
        """Refuse the request that is parsed.

        Raises:
            HttpParserError: always.
        """
        self._refusal = Refused(status, message)
        raise httptools.HttpParserError(message)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or refused, after what came before it; then close."""
        if self._refusal is None:
            self._refusal = Refused(400, "the request is not valid HTTP/1.1")
        if self._stage is Stage.BODY and self.pipeline:
            self.pipeline.popleft()  # the refused request: its body never ends
        elif self._stage is Stage.BODY or not self._is_busy():
            self._end(self._refusal)
            return
        self._wait()

    def _end(self, refusal: Refused) -> None:
        """Send an answer, and close the connection once the client has had time to read it."""
        if self._has_ended or self.transport.is_closing():
            return
        self._has_ended = self._waits = True
        self._release()
        if self._is_busy():
            self._drop_request()
        elif self._stage is Stage.BODY:  # which was answered before its end
            self.transport.close()
            return
        body = error_answer(refusal.status, refusal).body
        headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), CLOSE]
        if refusal.status == 503:
            headers.append(RETRY_AFTER)
        lines = [b"%b: %b\r\n" % header for header in headers]
        head = response_head(refusal.status, tuple(self.server_state.default_headers))
        self.buffer.write_through(b"".join((head, *lines, b"\r\n", body)))
        linger(self.buffer, self, self.loop)

    def _drop_request(self) -> None:
        """Free the body that has come, and let nothing wait for the rest."""
        cycle: Any = self.cycle
        cycle.disconnected = True
        cycle.message_event.set()
        if type(cycle) is Exchange:
            cycle.parts.clear()
        else:
            cycle.body.clear()
