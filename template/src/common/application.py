"""The server's ASGI application: the predict routes themselves, and another application behind for all else.

Source of the routes: KServe's V1 and V2 protocols, and Truss's `predict_binary`.
"""

import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Protocol

from . import metrics
from .config import Config
from .errors import Unanswered
from .frames import V2_HEAD, Kind, Response

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("access")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = b"application/json"
MSGPACK = b"application/msgpack"
OCTETS = b"application/octet-stream"
PREDICT = re.compile(r"/v1/models/([^/]*):(predict|predict_binary)")
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# Media types with which a body on the JSON route is the application's behind to read.
OTHER_TYPES = {b"application/cloudevents+json", b"application/ld+json", OCTETS}
JSON_LENGTH = b"inference-header-content-length"
RETRY_AFTER = (b"retry-after", b"1")
CLOSE = (b"connection", b"close")


class Refused(Exception):
    """A request that is answered without asking the model."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Route:
    """One of the predict routes."""

    name: str
    kind: Kind
    media_types: frozenset[bytes]
    hint: str


ROUTES = {
    "predict": Route("predict", Kind.JSON, frozenset({JSON}), "send Content-Type: application/json"),
    "predict_binary": Route(
        "predict_binary",
        Kind.MSGPACK,
        frozenset({MSGPACK, b"application/x-msgpack", b"application/vnd.msgpack", OCTETS}),
        "send Content-Type: application/msgpack",
    ),
    "infer": Route(
        "infer",
        Kind.V2,
        frozenset({JSON, OCTETS}),
        "send Content-Type: application/json, or application/octet-stream with Inference-Header-Content-Length",
    ),
}
MEDIA_TYPES: dict[int, bytes] = {Kind.JSON: JSON, Kind.MSGPACK: MSGPACK, Kind.V2: JSON}


class Workers(Protocol):
    """Who answers what the predict routes take."""

    draining: bool

    def submit(self, kind: Kind, body: bytes, request_id: str) -> Awaitable[Response]:
        """The answer to a body. Raises Unanswered where there is none."""
        ...


class Application:
    """Routes requests to the workers or to the application behind.

    Args:
        config: the scaffold's configuration.
        pool: the workers.
        behind: what answers all but the predict routes.
    """

    def __init__(self, config: Config, pool: Workers, behind: ASGIApplication) -> None:
        self._name = config.name
        self._max_body_bytes = config.serving.max_body_bytes
        self._access_log = config.serving.access_log
        self._pool = pool
        self._application = behind
        self._server = config.server
        self._routes = {f"/v1/models/{self._name}:{name}": ROUTES[name] for name in ("predict", "predict_binary")}
        self._routes[f"/v2/models/{self._name}/infer"] = ROUTES["infer"]
        self._counters: dict[tuple[str, int], Any] = {}
        self._latencies = {route: metrics.LATENCY.labels(route) for route in (*ROUTES, self._server)}
        self._ids = token_hex(4)
        self._requests = 0
        self.draining = False

    def drain(self) -> None:
        """From now on tell clients to close their connections, and probes that the server is not ready."""
        self.draining = self._pool.draining = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        headers = Headers(scope["headers"])
        route = self._route(scope, headers)
        request_id = self._request_id(headers)
        start = time.perf_counter()
        try:
            if route is not None:
                self._check(route, scope, headers)
            body = await self._body(headers, receive)
            if body is None:
                return None  # the client went away
            if route is None:
                return await self._behind(_marked(scope, request_id), _replayed(body, receive), send, request_id)
            start = time.perf_counter()
            if route.kind == Kind.V2:
                body = V2_HEAD.pack(_json_size(headers, len(body))) + body
            answer = await self._pool.submit(route.kind, body, request_id)
        except (Refused, Unanswered) as error:
            answer = Response(0, error.status, Kind.JSON, json.dumps({"error": str(error)}).encode())
        took = time.perf_counter() - start
        await self._send(send, answer, request_id)
        self._count(route.name if route else self._server, answer.status, request_id, took)
        return None

    def _route(self, scope: Scope, headers: "Headers") -> Route | None:
        """The route that this application answers itself; None leaves the request to the one behind."""
        route = self._routes.get(scope["path"])
        if route is None:
            match = PREDICT.fullmatch(scope["path"])
            return ROUTES["predict_binary"] if match and match[2] == "predict_binary" else None
        if scope["method"] != "POST" or route.kind == Kind.MSGPACK:
            return route
        if route.kind == Kind.V2:
            return None if headers.event else route
        return None if headers.encoded or headers.event or headers.media_type in OTHER_TYPES else route

    def _check(self, route: Route, scope: Scope, headers: "Headers") -> None:
        """Refuse what needs no body to be refused."""
        if scope["path"] not in self._routes:
            raise Refused(404, f"there is no model {_name(scope['path'])!r} here, the model is {self._name!r}")
        if scope["method"] != "POST":
            raise Refused(405, f"the method must be POST, it is {scope['method']}")
        if headers.encoded or (headers.media_type and headers.media_type not in route.media_types):
            came = "an encoded body" if headers.encoded else headers.media_type.decode("latin-1")
            raise Refused(415, f"this route does not take {came}: {route.hint}")

    async def _body(self, headers: "Headers", receive: Receive) -> bytes | None:
        """The whole body; None where the client went away before it was whole."""
        if headers.length > self._max_body_bytes:
            raise self._too_large()
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > self._max_body_bytes:
                raise self._too_large()
            return body
        return await self._collect(message, receive)

    async def _collect(self, message: Message, receive: Receive) -> bytes | None:
        body = bytearray()
        while message["type"] == "http.request":
            body += message.get("body", b"")
            if len(body) > self._max_body_bytes:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(body)
            message = await receive()
        return None

    def _too_large(self) -> Refused:
        limit = self._max_body_bytes
        return Refused(413, f"the body is larger than {limit} bytes (serving.max_body_bytes in config.yaml)")

    def _request_id(self, headers: "Headers") -> str:
        """The client's X-Request-Id where it is a plain word, else a new one."""
        if headers.request_id and REQUEST_ID.fullmatch(headers.request_id):
            return headers.request_id.decode("ascii")
        self._requests += 1
        return f"{self._ids}-{self._requests:x}"

    def _count(self, route: str, status: int, request_id: str, took: float) -> None:
        counter = self._counters.get((route, status))
        if counter is None:
            counter = self._counters[route, status] = metrics.REQUESTS.labels(route, status)
        counter.inc()
        self._latencies[route].observe(took)
        if self._access_log:
            text = f"{route} {status} {took * 1000:.3f} ms"
            access_logger.info(text, extra={"request_id": request_id})

    async def _send(self, send: Send, answer: Response, request_id: str) -> None:
        body, media_type = answer.body, MEDIA_TYPES[answer.kind]
        headers = [(b"x-request-id", request_id.encode("ascii"))]
        if answer.kind == Kind.V2:
            (size,) = V2_HEAD.unpack_from(body)
            body = body[V2_HEAD.size :]
            if size:
                media_type = OCTETS
                headers.append((JSON_LENGTH, b"%d" % size))
        headers += [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
        if answer.status == 503:
            headers.append(RETRY_AFTER)
        elif answer.status == 405:
            headers.append((b"allow", b"POST"))
        if self.draining:
            headers.append(CLOSE)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _behind(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """The application behind answers, and its answer is counted as ours are."""
        start = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(b"x-request-id", request_id.encode("ascii"))]
                extra += [RETRY_AFTER] if status == 503 else []
                extra += [CLOSE] if self.draining else []
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        try:
            await self._application(scope, receive, watched)
        except Exception as error:  # it is answered: 500 by that application itself
            logger.error("%s failed: %r", scope["path"], error, exc_info=error, extra={"request_id": request_id})
        finally:
            if scope["method"] == "POST":
                self._count(self._server, status, request_id, time.perf_counter() - start)


class Headers:
    """The few headers that decide who answers a request."""

    __slots__ = ("encoded", "event", "json_size", "length", "media_type", "request_id")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.encoded = self.event = False
        self.length = 0
        self.media_type = self.request_id = b""
        self.json_size: bytes | None = None
        for name, value in headers:
            if name == b"content-type":
                self.media_type = value.split(b";", 1)[0].strip().lower()
            elif name == b"content-length":
                self.length = int(value) if value.isdigit() else 0
            elif name == b"x-request-id":
                self.request_id = value
            elif name == JSON_LENGTH:
                self.json_size = value
            elif name == b"content-encoding":
                self.encoded = value.lower() != b"identity"
            elif name.startswith(b"ce-"):
                self.event = True


def _json_size(headers: Headers, length: int) -> int:
    """How many bytes of a body of V2 are JSON, with raw data behind; 0 where all are.

    Raises:
        Refused: the client does not say.
    """
    told = headers.json_size
    if told is None and headers.media_type != OCTETS:
        return 0
    if told is not None and told.isdigit() and 0 < int(told) <= length:
        return int(told)
    came = "it is missing" if told is None else f"it is {told.decode('latin-1')!r}"
    raise Refused(400, f"Inference-Header-Content-Length must be between 1 and {length}, the body's length, {came}")


def _name(path: str) -> str:
    match = PREDICT.fullmatch(path)
    return match[1] if match else path


def _marked(scope: Scope, request_id: str) -> Scope:
    """The scope with the request's id, whoever gave it."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
    return {**scope, "headers": [*headers, (b"x-request-id", request_id.encode("ascii"))]}


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
