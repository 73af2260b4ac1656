"""The predict routes, whoever brings their requests: which one a request is for, what it is refused for, its answer.

Source of the routes: KServe's V1 and V2 protocols, and Truss's `predict_binary`.
"""

import json
import logging
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from secrets import token_hex
from typing import Protocol

from ..config import Config
from ..link.frames import V2_HEAD, Kind, Response
from . import metrics

access_logger = logging.getLogger("access")

JSON = b"application/json"
MSGPACK = b"application/msgpack"
OCTETS = b"application/octet-stream"
PREDICT = re.compile(r"/v1/models/([^/]*):(predict|predict_binary)")
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# Media types with which a body on the JSON route is for the application behind to read.
OTHER_TYPES = {b"application/cloudevents+json", b"application/ld+json", OCTETS}
V2 = Kind.V2  # to look it up in its class would take longer than to compare it
JSON_LENGTH = b"inference-header-content-length"
RETRY_AFTER = (b"retry-after", b"1")
CLOSE = (b"connection", b"close")
FIELDS = list[tuple[bytes, bytes]]


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
    "predict": Route(
        "predict", Kind.JSON, frozenset({JSON}), "send Content-Type: application/json"
    ),
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


class Predictions:
    """The predict routes of one model.

    Args:
        config: the scaffold's configuration.
        workers: who answers.

    Attributes:
        draining: whether clients are told to close their connections.
        plain: the routes by a request's target as it is usually written.
    """

    def __init__(self, config: Config, workers: Workers) -> None:
        self._name = config.name
        self._max_body_bytes = config.serving.max_body_bytes
        self._access_log = config.serving.access_log
        self._workers = workers
        self._routes = {
            f"/v1/models/{self._name}:{name}": ROUTES[name]
            for name in ("predict", "predict_binary")
        }
        self._routes[f"/v2/models/{self._name}/infer"] = ROUTES["infer"]
        self.plain = {path.encode(): route for path, route in self._routes.items()}
        self._requests_answered = metrics.Requests()
        self._ids = token_hex(4)
        self._requests = 0
        self.draining = False

    def drain(self) -> None:
        """From now on tell clients to close their connections, and probes that the server is not ready."""
        self.draining = self._workers.draining = True

    def route(self, path: str, method: str, headers: "Headers") -> Route | None:
        """The route that a request is for; None where another application answers it."""
        route = self._routes.get(path)
        if route is None:
            match = PREDICT.fullmatch(path)
            return ROUTES["predict_binary"] if match and match[2] == "predict_binary" else None
        if method != "POST" or route.kind == Kind.MSGPACK:
            return route
        if route.kind == Kind.V2:
            return None if headers.event else route
        return (
            None if headers.encoded or headers.event or headers.media_type in OTHER_TYPES else route
        )

    def check(self, route: Route, path: str, method: str, headers: "Headers") -> None:
        """Refuse what needs no body to be refused.

        Raises:
            Refused: the model is not asked.
        """
        if path not in self._routes:
            raise Refused(
                404, f"there is no model {_name(path)!r} here, the model is {self._name!r}"
            )
        if method != "POST":
            raise Refused(405, f"the method must be POST, it is {method}")
        if headers.encoded or (headers.media_type and headers.media_type not in route.media_types):
            came = "an encoded body" if headers.encoded else headers.media_type.decode("latin-1")
            raise Refused(415, f"this route does not take {came}: {route.hint}")

    def is_plain(self, route: Route, headers: "Headers") -> bool:
        """Whether a POST to a route has a body of a known length that the route takes."""
        usual = not headers.media_type or headers.media_type in route.media_types
        return (
            usual
            and not headers.encoded
            and not headers.event
            and 0 < headers.length <= self._max_body_bytes
        )

    def check_size(self, size: int) -> None:
        """Refuse a body that is too large, with `Refused`."""
        if size > self._max_body_bytes:
            limit = self._max_body_bytes
            raise Refused(
                413,
                f"the body is larger than {limit} bytes (serving.max_body_bytes in config.yaml)",
            )

    def request_id(self, headers: "Headers") -> str:
        """The client's X-Request-Id where it is a plain word, else a new one."""
        if headers.request_id and REQUEST_ID.fullmatch(headers.request_id):
            return headers.request_id.decode("ascii")
        self._requests += 1
        return f"{self._ids}-{self._requests:x}"

    def framed(self, route: Route, headers: "Headers", parts: list[bytes]) -> list[bytes]:
        """A body, in the parts that it came in, as the workers take it.

        Raises:
            Refused: a body of V2 does not say how much of it is JSON.
        """
        if route.kind != V2:
            return parts
        return [V2_HEAD.pack(_json_size(headers, sum(map(len, parts)))), *parts]

    def fields(self, answer: Response, request_id: str) -> tuple[FIELDS, bytes]:
        """The header fields and the body of a response."""
        body, media_type = answer.body, MEDIA_TYPES[answer.kind]
        fields = [(b"x-request-id", request_id.encode("ascii"))]
        if answer.kind == V2:
            (size,) = V2_HEAD.unpack_from(body)
            body = body[V2_HEAD.size :]
            if size:
                media_type = OCTETS
                fields.append((JSON_LENGTH, b"%d" % size))
        fields += ((b"content-type", media_type), (b"content-length", b"%d" % len(body)))
        if answer.status == 405:
            fields.append((b"allow", b"POST"))
        if answer.status != 200 or self.draining:
            fields += self.more_fields(answer.status)
        return fields, body

    def more_fields(self, status: int) -> FIELDS:
        """The header fields that every response has, whoever made it."""
        return ([RETRY_AFTER] if status == 503 else []) + ([CLOSE] if self.draining else [])

    def count(self, route: str, status: int, request_id: str, took: float) -> None:
        """Count an answer, in the metrics and in the log."""
        self._requests_answered.add(route, status, took)
        if self._access_log:
            text = f"{route} {status} {took * 1000:.3f} ms"
            access_logger.info(text, extra={"request_id": request_id})


class Headers:
    """The few headers that decide who answers a request."""

    __slots__ = (
        "connection",
        "encoded",
        "event",
        "json_size",
        "length",
        "media_type",
        "request_id",
    )

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.connection = self.encoded = self.event = False
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
            elif name == b"connection":
                self.connection = True
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
    raise Refused(
        400,
        f"Inference-Header-Content-Length must be between 1 and {length}, the body's length, {came}",
    )


def error_answer(status: int, error: Exception) -> Response:
    """The answer that an error stands for."""
    return Response(0, status, Kind.JSON, json.dumps({"error": str(error)}).encode())


def _name(path: str) -> str:
    match = PREDICT.fullmatch(path)
    return match[1] if match else path
