"""The predict routes: they choose a request's route, check the request and build its response.

Source of the routes: KServe's V1 and V2 protocols, and Truss's `predict_binary`; those of
`platforms.py` for the others.
"""

import json
import logging
import math
import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Protocol

from ..config import Config
from ..link.frames import V2_HEAD, FirstLine, Kind, Response
from ..platforms import SCORING, VERTEX
from ..routes import OwnersRoute
from ..words import no_version
from . import beside, metrics
from .compression import ACCEPTED, HeaderList, accepted, coding_of
from .streams import UNBUFFERED, Form, Stream

access_logger = logging.getLogger("access")

JSON = b"application/json"
# What `curl -d` and a browser's fetch say of a body where nobody names its media type. KServe's own
# samples post with `curl -d @input.json`.
UNNAMED = (b"application/x-www-form-urlencoded", b"text/plain")
MSGPACK = b"application/msgpack"
OCTETS = b"application/octet-stream"
CSV = b"text/csv"
PATH = re.compile(
    r"/v1/models/(?P<v1>[^/]*):(?P<verb>predict|predict_binary)"
    r"|/v2/models/(?P<v2>[^/]*)(/versions/(?P<version>[^/]*))?/infer"
)
REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
# CloudEvents go to the fallback application: https://github.com/cloudevents/spec
EVENT = b"application/cloudevents+json"
# A lookup in the enum takes longer than the comparison.
V2, TABLE = Kind.V2, Kind.CSV
FIRST_LINES = {"present": FirstLine.PRESENT, "absent": FirstLine.ABSENT}
INFERENCE_ID = b"x-amzn-sagemaker-inference-id"
JSON_LENGTH = b"inference-header-content-length"
MOST_DIGITS = 20  # of a length: Python refuses to read thousands
OF_PLATFORMS = (b"ce-", b"x-amzn-")  # starts of header fields
ASKING = ("GET", "HEAD")  # the methods of routes that tell something
RETRY_AFTER = (b"retry-after", b"1")
CLOSE = (b"connection", b"close")
NO_HEADERS: HeaderList = []


class Refused(Exception):
    """A request that is answered with an error, without asking the model."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Route:
    """One of the predict routes.

    Attributes:
        table: the same route for CSV, where it takes that.
    """

    name: str
    kind: Kind
    media_types: frozenset[bytes]
    hint: str
    table: "Route | None" = None


JSON_TYPES = frozenset({JSON, b"application/ld+json", OCTETS, *UNNAMED})
SEND_JSON = "send Content-Type: application/json"


def _scoring(name: str) -> Route:
    """A route that takes MLflow's forms of JSON, and CSV."""
    hint = f"{SEND_JSON}, or text/csv"
    table = Route(name, Kind.CSV, frozenset({CSV}), hint)
    return Route(name, Kind.SCORING, JSON_TYPES, hint, table)


ROUTES = {
    "predict": Route(
        "predict",
        Kind.JSON,
        JSON_TYPES,
        SEND_JSON,
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
        "send Content-Type: application/json, or application/octet-stream with "
        "Inference-Header-Content-Length",
    ),
    VERTEX: Route(VERTEX, Kind.JSON, JSON_TYPES, SEND_JSON),
    **{name: _scoring(name) for name in SCORING.values()},
}
MEDIA_TYPES: dict[int, bytes] = {**dict.fromkeys(Kind, JSON), Kind.MSGPACK: MSGPACK}


class Workers(Protocol):
    """Answers the requests of the predict routes."""

    draining: bool

    @property
    def own_routes(self) -> Sequence[OwnersRoute]:
        """The owner's routes."""
        ...

    @property
    def reads_context(self) -> bool:
        """Whether a hook reads what is said of a request beside its body."""
        ...

    def submit(
        self, kind: Kind, body: bytes, request_id: str, said: bytes = b""
    ) -> Awaitable[Response]:
        """The answer to a body. Raises Unanswered if there is none."""
        ...

    def submit_stream(
        self, kind: Kind, body: bytes, request_id: str, said: bytes = b""
    ) -> Awaitable[Response | Stream]:
        """As `submit`, where the answer may come chunk by chunk."""
        ...


class PredictRoutes:
    """The predict routes of one model.

    Args:
        config: the scaffold's configuration.
        workers: answers the requests.

    Attributes:
        draining: whether responses tell clients to close their connections.
        max_head_bytes: the limit of a request line, and of header fields.
        answers_pages: whether pages of other origins may read answers, which ASGI then gives.
        max_body_bytes: the limit of a body.
        compress_from: the size of the smallest response that may be compressed.
        by_target: the routes by a request's target, as clients usually write it.
    """

    def __init__(self, config: Config, workers: Workers) -> None:
        self._name, self._version = config.name, config.model.version
        self.max_head_bytes = config.serving.max_head_bytes
        self.answers_pages = bool(config.serving.cors_origins)
        self.compress_from = config.serving.compress_from_bytes or math.inf
        self.max_body_bytes = config.serving.max_body_bytes
        self._access_log = config.serving.access_log
        self._workers = workers
        self._routes = {
            f"/v1/models/{self._name}:{name}": ROUTES[name]
            for name in ("predict", "predict_binary")
        }
        self._routes[f"/v2/models/{self._name}/infer"] = ROUTES["infer"]
        if self._version is not None:
            versioned = f"/v2/models/{self._name}/versions/{self._version}/infer"
            self._routes[versioned] = ROUTES["infer"]
        self._routes |= {path: ROUTES[name] for path, name in SCORING.items()}
        if config.routes.predict is not None:
            self._routes[config.routes.predict] = ROUTES[VERTEX]
        self._health = {"/", config.routes.health}  # which may be a predict route's path, too
        self.by_target = {path.encode(): route for path, route in self._routes.items()}
        self._requests_answered = metrics.Requests()
        self._ids = token_hex(4)
        self._requests = 0
        self.draining = False

    def drain(self) -> None:
        """Tell clients to close their connections, and probes that the server is not ready."""
        self.draining = self._workers.draining = True

    def route(self, path: str, method: str, headers: "Headers") -> Route | None:
        """A request's route; None if the fallback application answers it."""
        route = self._routes.get(path)
        if route is None:
            return _route_elsewhere(path)
        if method in ASKING and self._tells_health(path):
            return None
        is_event = headers.event or headers.media_type == EVENT
        if route.name == "predict" and method == "POST" and is_event:
            return None
        if route.table is not None and headers.media_type == CSV:
            return route.table
        return route

    def check(self, route: Route, path: str, method: str, headers: "Headers") -> None:
        """Check all that can be checked without the body.

        Raises:
            Refused: the request is not one that the route takes.
        """
        if path not in self._routes:
            raise self._refusal(path)
        if method != "POST":
            allowed = " or ".join(self.allowed(path))
            raise Refused(405, f"the method must be {allowed}, it is {method}")
        if headers.media_type and headers.media_type not in route.media_types:
            media_type = headers.media_type.decode("latin-1")
            raise Refused(415, f"this route does not take {media_type}: {route.hint}")

    def allowed(self, path: str) -> Sequence[str]:
        """The methods that a predict route's path takes: Vertex AI may ask for health there."""
        if self._tells_health(path):
            return (*ASKING, "POST")
        own = self._own_methods(path)
        if "GET" in own:
            return (*ASKING, *(method for method in own if method != "GET"))
        return own or ("POST",)

    def _tells_health(self, path: str) -> bool:
        return path in self._health and path in self._routes

    def _refusal(self, path: str) -> Refused:
        """Why a path that looks like a predict route is none."""
        match = PATH.fullmatch(path)
        assert match is not None
        name, version = match["v1"] or match["v2"], match["version"]
        if name != self._name:
            return Refused(404, f"there is no model {name!r} here, the model is {self._name!r}")
        return Refused(404, no_version(version, self._version))

    def is_plain(self, route: Route, headers: "Headers") -> bool:
        """Whether a POST has a body of known length and of a media type that the route takes."""
        usual = not headers.media_type or headers.media_type in route.media_types
        return (
            usual
            and not headers.coding
            and not headers.event
            and 0 < headers.length <= self.max_body_bytes
        )

    def check_size(self, size: int) -> None:
        """Check a body's size in bytes.

        Raises:
            Refused: it is larger than `max_body_bytes`.
        """
        if size > self.max_body_bytes:
            limit = self.max_body_bytes
            raise Refused(
                413,
                f"the body is larger than {limit} bytes (serving.max_body_bytes in config.yaml)",
            )

    def request_id(self, headers: "Headers") -> str:
        """The client's X-Request-Id if it is printable ASCII without spaces, else a new one.

        SageMaker passes on a client's X-Amzn-SageMaker-Inference-Id instead.
        """
        if headers.request_id and REQUEST_ID.fullmatch(headers.request_id):
            return headers.request_id.decode("ascii")
        self._requests += 1
        return f"{self._ids}-{self._requests:x}"

    def worker_body(self, route: Route, headers: "Headers", parts: list[bytes]) -> list[bytes]:
        """The body as the workers take it, from the parts that it came in.

        Raises:
            Refused: a V2 body does not say how much of it is JSON, or the media type of CSV has a
                parameter that it cannot have.
        """
        if route.kind == TABLE:
            return [bytes([_first_line(headers)]), *parts]
        if route.kind != V2:
            return parts
        return [V2_HEAD.pack(_json_size(headers, sum(map(len, parts)))), *parts]

    def own_route(self, path: str, method: str) -> str | None:
        """The owner's route for a path; None if it has none.

        Raises:
            Refused: it does not take this method.
        """
        methods = self._own_methods(path)
        if not methods:
            return None
        if method not in methods and not (method == "HEAD" and "GET" in methods):
            raise Refused(405, f"the method must be {' or '.join(methods)}, it is {method}")
        return path

    def _own_methods(self, path: str) -> tuple[str, ...]:
        own = self._workers.own_routes
        return tuple(method for route in own if route.path == path for method in route.methods)

    def said(self, headers: HeaderList, query: bytes = b"") -> bytes:
        """What the hooks are told of a request beside its body; nothing where none reads it."""
        if not self._workers.reads_context:
            return b""
        return beside.told(headers, query)

    def response(
        self, answer: Response, request_id: str, allowed: Sequence[str] = ()
    ) -> tuple[HeaderList, bytes]:
        """The headers and the body of a response; those of a 405 name the methods `allowed`."""
        body, media_type = answer.body, MEDIA_TYPES[answer.kind]
        headers = [(b"x-request-id", request_id.encode("ascii"))]
        if answer.kind == V2:
            (size,) = V2_HEAD.unpack_from(body)
            body = body[V2_HEAD.size :]
            if size:
                media_type = OCTETS
                headers.append((JSON_LENGTH, b"%d" % size))
        headers += ((b"content-type", media_type), (b"content-length", b"%d" % len(body)))
        if answer.status == 405 and allowed:
            headers.append((b"allow", ", ".join(allowed).encode()))
        elif answer.status == 415:
            headers.append((b"accept-encoding", ACCEPTED))
        if answer.beside:
            headers = beside.merged(headers, beside.fields_of(answer))
        if answer.status != 200 or self.draining:
            headers += self.extra_headers(answer.status, headers)
        return headers, body

    def stream_fields(self, stream: Stream, form: Form, request_id: str) -> HeaderList:
        """The headers of an answer that comes chunk by chunk."""
        fields = [(b"x-request-id", request_id.encode("ascii")), (b"content-type", form.media_type)]
        return beside.merged([*fields, *UNBUFFERED], beside.fields_of(stream))

    def coding(self, headers: "Headers") -> bytes | None:
        """The coding to try for a large body of a response; None for none."""
        fields = [value for name, value in headers.fields if name == b"accept-encoding"]
        return accepted(b",".join(fields))

    def extra_headers(self, status: int, others: HeaderList = NO_HEADERS) -> HeaderList:
        """The headers that every response with this status has, whoever made it.

        Args:
            status: of the response.
            others: the headers that it has.
        """
        headers = []
        if status == 503 and all(name != RETRY_AFTER[0] for name, _ in others):
            headers.append(RETRY_AFTER)
        if self.draining:
            headers.append(CLOSE)
        return headers

    def count(self, route: str, status: int, request_id: str, took: float) -> None:
        """Count an answer in the metrics, and log it.

        Args:
            route: the name of its route.
            status: its HTTP status.
            request_id: its request id.
            took: how long it took, in seconds.
        """
        self._requests_answered.add(route, status, took)
        if self._access_log:
            text = f"{route} {status} {took * 1000:.3f} ms"
            access_logger.info(text, extra={"request_id": request_id})


class Headers:
    """The headers that decide how a request is answered.

    Attributes:
        fields: all of them; `accept-encoding` is looked up where an answer is large.
    """

    __slots__ = (
        "coding",
        "connection",
        "event",
        "fields",
        "json_size",
        "length",
        "media_type",
        "request_id",
    )

    def __init__(self, headers: HeaderList) -> None:
        self.fields = headers
        self.connection = self.event = False
        self.length = 0
        self.media_type = self.request_id = self.coding = b""
        self.json_size: bytes | None = None
        for name, value in headers:
            if name == b"content-type":
                self.media_type = value.split(b";", 1)[0].strip().lower()
            elif name == b"content-length":
                self.length = 0
                if value.isdigit():
                    self.length = int(value)
            elif name == b"x-request-id":
                self.request_id = value
            elif name == b"connection":
                self.connection = True
            elif name == JSON_LENGTH:
                self.json_size = value
            elif name == b"content-encoding":
                self.coding = coding_of(b", ".join((self.coding, value)))
            elif name.startswith(OF_PLATFORMS):
                if name == INFERENCE_ID:
                    self.request_id = self.request_id or value
                elif name.startswith(b"ce-"):
                    self.event = True


def _json_size(headers: Headers, length: int) -> int:
    """How many bytes of a V2 body are JSON, before the raw data; 0 if all are.

    Raises:
        Refused: the header is missing, or is not a length within the body.
    """
    given = headers.json_size
    if given is None and headers.media_type != OCTETS:
        return 0
    is_number = given is not None and given.isdigit() and len(given) <= MOST_DIGITS
    if given is not None and is_number and 0 < int(given) <= length:
        return int(given)
    came = "it is missing"
    if given is not None:
        came = f"it is {given[:MOST_DIGITS].decode('latin-1')!r}"
    limits = f"must be between 1 and {length}, the body's length"
    raise Refused(400, f"Inference-Header-Content-Length {limits}, {came}")


def _first_line(headers: Headers) -> FirstLine:
    """What the first line of a CSV body is, by the parameters of its media type.

    Raises:
        Refused: it is in another charset than UTF-8, or `header` is neither present nor absent.
    """
    fields = [value.decode("latin-1") for name, value in headers.fields if name == b"content-type"]
    given = {}
    for parameter in fields[-1].split(";")[1:]:
        name, _, value = parameter.partition("=")
        given[name.strip().lower()] = value.strip().strip('"').lower()
    if given.get("charset", "utf-8") not in ("utf-8", "utf8", "us-ascii"):
        raise Refused(415, f"the charset of text/csv must be utf-8, it is {given['charset'][:40]}")
    header = given.get("header")
    if header is not None and header not in FIRST_LINES:
        raise Refused(
            415, f"the header of text/csv must be present or absent, it is {header[:40]!r}"
        )
    return FIRST_LINES.get(header or "", FirstLine.NAMES)


def version_fields(config: Config) -> list[tuple[str, str]]:
    """The header field of every answer that names the model's version, if it has one."""
    if config.model.version is None:
        return []
    return [("x-model-version", config.model.version)]


def error_answer(status: int, error: Exception) -> Response:
    """The answer for an error, with its message under `error`."""
    return Response(0, status, Kind.JSON, json.dumps({"error": str(error)}).encode())


def message_of(answer: Response) -> str:
    """The message of an answer that is an error, which a hook may have made."""
    said = json.loads(answer.body)
    if isinstance(said, dict) and "error" in said:
        return str(said["error"])
    return f"the model answers with status {answer.status}"


def _route_elsewhere(path: str) -> Route | None:
    """The route of another model, or of a version, which is refused before its body is decoded."""
    match = PATH.fullmatch(path)
    if match is None:
        return None
    return ROUTES[match["verb"] or "infer"]
