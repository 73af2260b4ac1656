"""The server's ASGI application: the predict routes, and a fallback application for the rest."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ..config import Config
from ..errors import Unanswered
from ..link.frames import Kind, Response
from . import metrics
from .applications.page import with_page
from .beside import CURRENT, Beside, told
from .compression import (
    ACCEPTED,
    DECODERS,
    REQUESTS,
    HeaderList,
    Malformed,
    TooLarge,
    compressed,
    decompress,
)
from .http.connections import Connections
from .predict_routes import Headers, PredictRoutes, Refused, Route, Workers, error_answer
from .streams import Stream, form_of

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class Application:
    """Sends predict requests to the workers, and all others to the fallback application.

    Args:
        config: the scaffold's configuration.
        workers: answers the predict routes.
        fallback: answers every other route.

    Attributes:
        routes: the predict routes.
        workers: answers them.
        connections: the open connections.
    """

    def __init__(self, config: Config, workers: Workers, fallback: ASGIApplication) -> None:
        metrics.tell_model(config)
        self.routes = PredictRoutes(config, workers)
        self.workers = workers
        self.connections = Connections(config.serving)
        self._fallback = fallback
        if config.serving.page:
            self._fallback = with_page(fallback)
        self._server = config.server
        self._application: ASGIApplication = self._answer
        if origins := config.serving.cors_origins:
            from .cross_origin import allowing

            self._application = allowing(origins, self._answer, workers.own_routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._fallback(scope, receive, send)
        routes, path, method = self.routes, scope["path"], scope["method"]
        if method == "HEAD":
            send = _without_body(send)
        headers = Headers(scope["headers"])
        route = routes.route(path, method, headers)
        request_id = routes.request_id(headers)
        name = self._route_name(route)
        start = time.perf_counter()
        own: str | None = None
        answer: Response | Stream
        try:
            if route is not None:
                routes.check(route, path, method, headers)
            elif (own := routes.own_route(path, method)) is not None:
                name = own
            body = await self._body(headers, receive)
            if body is None:
                return None  # the client disconnected
            if headers.coding and body:
                body = await self._decompressed(headers.coding, body)
            if route is None and own is None:
                marked, replayed = _marked(scope, request_id, body), _replay(body, receive)
                return await self._fall_back(marked, replayed, send, request_id)
            start = time.perf_counter()
            if route is None:
                answer = await self._ask_own(scope, body, request_id)
            else:
                parts = routes.worker_body(route, headers, [body])
                said = routes.said(scope["headers"], scope["query_string"])
                whole = b"".join(parts)
                answer = await self.workers.submit_stream(route.kind, whole, request_id, said)
        except (Refused, Unanswered) as error:
            answer = error_answer(error.status, error)
        if isinstance(answer, Stream):
            await self._send_stream(answer, headers, request_id, receive, send, method == "HEAD")
            routes.count(name, answer.status, request_id, time.perf_counter() - start)
            return None
        took = time.perf_counter() - start
        fields, body = routes.response(answer, request_id, routes.allowed(path))
        if len(body) >= routes.compress_from and (coding := routes.coding(headers)):
            fields, body = await compressed(coding, fields, body)
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": body})
        routes.count(name, answer.status, request_id, took)
        return None

    async def _ask_own(self, scope: Scope, body: bytes, request_id: str) -> Response | Stream:
        """A worker's answer at a route of the owner's."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        sent = told(scope["headers"], scope["query_string"], method=method, path=scope["path"])
        return await self.workers.submit_stream(Kind.ROUTE, body, request_id, sent)

    async def _send_stream(
        self,
        stream: Stream,
        headers: Headers,
        request_id: str,
        receive: Receive,
        send: Send,
        is_head: bool,
    ) -> None:
        """Send an answer chunk by chunk, until its end or until the client has left."""
        form = form_of(headers.fields)
        fields = self.routes.stream_fields(stream, form, request_id)
        if is_head:
            stream.cancel()
        leaving = asyncio.ensure_future(_until_left(receive, stream))
        try:
            await send({"type": "http.response.start", "status": stream.status, "headers": fields})
            async for part in stream.parts(form):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            stream.cancel()

    def _route_name(self, route: Route | None) -> str:
        if route is None:
            return self._server
        return route.name

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The complete body; None if the client disconnected before its end.

        Raises:
            Refused: the body is too large.
        """
        self.routes.check_size(headers.length)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            self.routes.check_size(len(body))
            if not message.get("more_body"):
                return bytes(body)

    async def _decompressed(self, coding: bytes, body: bytes) -> bytes:
        """A body without its coding. A thread decompresses it, so that the event loop goes on.

        Raises:
            Refused: the coding is not known, or the body is not of it, or too large without it.
        """
        if coding not in DECODERS:
            name, known = coding.decode("latin-1"), ACCEPTED.decode()
            raise Refused(415, f"Content-Encoding must be one of {known}, it is {name}")
        limit, loop = self.routes.max_body_bytes, asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(REQUESTS, decompress, coding, body, limit)
        except Malformed as error:
            raise Refused(400, str(error)) from None
        except TooLarge:
            self.routes.check_size(limit + 1)
            raise

    async def _fall_back(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Let the fallback application answer, and count the answer like one of ours.

        HEAD is GET for it: RFC 9110, 9.3.2.
        """
        start = time.perf_counter()
        status = 500
        held = Beside(self.routes.said(scope["headers"], scope["query_string"]))
        CURRENT.set(held)
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 200:
                    status = held.status
                extra = [(b"x-request-id", request_id.encode("ascii")), *held.fields]
                extra += self.routes.extra_headers(status, extra)
                message = {**message, "status": status, "headers": [*_fields(message), *extra]}
            await send(message)

        try:
            await self._fallback(scope, receive, send_marked)
        except Exception as error:  # that application has answered 500 itself
            details = {"request_id": request_id}
            logger.error("%s failed: %r", scope["path"], error, exc_info=error, extra=details)
        finally:
            if scope["method"] == "POST":
                took = time.perf_counter() - start
                self.routes.count(self._server, status, request_id, took)


async def _until_left(receive: Receive, stream: Stream) -> None:
    """End a stream when its client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.cancel()


def _fields(message: Message) -> HeaderList:
    """The fields of a response's head. `Allow` has HEAD where it has GET."""
    return [
        (name, value + b", HEAD" if name.lower() == b"allow" and value == b"GET" else value)
        for name, value in message.get("headers", [])
    ]


def _without_body(send: Send) -> Send:
    """A `send` that sends heads alone."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head


def _marked(scope: Scope, request_id: str, body: bytes) -> Scope:
    """The scope with this request id in its headers, and with what is true of the body as it is."""
    own = {b"x-request-id": request_id.encode("ascii")}
    if body:
        own[b"content-length"] = b"%d" % len(body)
    others = {b"content-encoding", *own}
    headers = [(name, value) for name, value in scope["headers"] if name not in others]
    return {**scope, "headers": [*headers, *own.items()]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was already read, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        if messages:
            return messages.pop()
        return await receive()

    return replay
