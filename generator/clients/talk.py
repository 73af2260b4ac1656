"""What is said to a server, whoever sends it."""

import json
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..common import json_encode
from ..errors import ServingError, SettingError
from ..rows import samples, tables
from ..rows.body import request_of
from . import answers, events
from .address import Address
from .binary import FEW, ROWS, Binary, binary, in_dtype

if TYPE_CHECKING:
    import httpx

JSON, MSGPACK = "application/json", "application/msgpack"
SEEN_SECONDS = 60.0  # after which a server is looked at again
IN_ORDER = "fitted without feature names"
"""What a server says of rows by name where the model takes values in their order."""


@dataclass(frozen=True)
class Attempt:
    """A request to send, after some seconds."""

    method: str
    path: str
    content: bytes | None
    headers: dict[str, str]
    wait: float

    @property
    def sent(self) -> tuple[str, str]:
        """The method and the path."""
        return self.method, self.path

    @property
    def rest(self) -> dict[str, Any]:
        """The body and the header fields, as httpx takes them."""
        return {"content": self.content, "headers": self.headers}


@dataclass
class Seen:
    """What has been seen of a server, whose model may be another one later.

    Attributes:
        since: when it was first seen, in seconds.
        takes_order: whether the model takes the values of a row in their order, without names.
        has_told: whether the server was asked for the model's metadata.
        datatype: that of the array that the model takes, where the metadata has it.
        is_alike: by the likeness of requests, whether answers in msgpack are those in JSON.
    """

    since: float = field(default_factory=time.monotonic)
    takes_order: bool = False
    has_told: bool = False
    datatype: str | None = None
    is_alike: dict[Any, bool] = field(default_factory=dict)


# Yields what is to be sent, is sent the answer, and returns what was made of the last one.
Answer = Generator[Attempt, "httpx.Response", "httpx.Response"]
Flow = Generator[Attempt, "httpx.Response", dict[str, Any]]


class Talk:
    """What is said to a server.

    Args:
        address: the server's.
        name: the model's; None to ask the server.
        retries: how often a request is sent again while the server is busy.
    """

    def __init__(self, address: Address, name: str | None, retries: int) -> None:
        if retries < 0:
            raise SettingError(f"retries {retries}: write 0 or more")
        self.address = address
        self._name = name
        self._retries = retries
        self._seen = Seen()

    def predict(self, given: Any) -> Flow:
        """What `Client.predict` says."""
        given = _rows(given)
        if time.monotonic() - self._seen.since > SEEN_SECONDS:
            self._seen = Seen()
        name = yield from self._model()
        frame = _frame(given)
        if frame is None or self._seen.takes_order:
            return (yield from self._predicted(name, _in_order(given, frame)))
        answer = yield from self._json(name, given)
        if not answers.is_refusal(answer, IN_ORDER):
            return answers.response(answer, self.address)
        self._seen.takes_order = True
        return (yield from self._predicted(name, _in_order(given, frame)))

    def streamed(self, given: Any) -> Generator[Attempt, "httpx.Response", Attempt]:
        """The request of `Client.stream`, once it is known what the model is called."""
        given = _rows(given)
        name = yield from self._model()
        content = _encoded(lambda: json_encode(request_of(given)))
        headers = {"Content-Type": JSON, "Accept": f"{events.MEDIA_TYPE}, {JSON}"}
        return Attempt("POST", f"{_path(name)}:predict", content, headers, 0.0)

    def waits(self) -> Callable[["httpx.Response"], float | None]:
        """What says how long to wait before a request is sent again; None for not again."""
        left = self._retries

        def wait(answer: "httpx.Response") -> float | None:
            nonlocal left
            if answer.status_code != answers.BUSY or not left:
                return None
            left -= 1
            return answers.wait(answer)

        return wait

    def _model(self) -> Generator[Attempt, "httpx.Response", str]:
        if self._name is None:
            told = answers.read((yield from self._said("GET", "/v1/models")), self.address)
            names = told.get("models") if isinstance(told, dict) else told  # KFServing's is a list
            if not isinstance(names, list) or len(names) != 1:
                raise ServingError(
                    f"the server at {self.address} has the models {str(names)[:200]}: pass name to"
                    " choose one"
                )
            self._name = str(names[0])
        return quote(self._name, safe="")

    def _predicted(self, name: str, given: Any) -> Flow:
        """The response to a request: as msgpack where that is shorter and answered alike."""
        request = binary(given)
        if request is not None:
            request = in_dtype(request, (yield from self._declared(name)))
        if request is None:
            return answers.response((yield from self._json(name, given)), self.address)
        if request.likeness not in self._seen.is_alike:
            answer = yield from self._tried(name, request)
            if len(request) <= FEW:
                return answers.response(answer, self.address)
        if self._seen.is_alike.get(request.likeness):
            answer = yield from self._msgpack(name, request)
            response = answers.of_binary(answer)
            if answer.status_code not in (answers.OK, answers.BAD_REQUEST, answers.TOO_LARGE):
                return answers.response(answer, self.address)
            if answer.status_code == answers.OK and response is not None:
                return response
        return answers.response((yield from self._json(name, given)), self.address)

    def _tried(self, name: str, request: Binary) -> Answer:
        """The answer to few rows in JSON. Notes whether one in msgpack is the same.

        What the owner of a scaffold has written may tell lists from arrays, and another server may
        not know msgpack.
        """
        few = request.few()
        answer = yield from self._json(name, few.request)
        if answer.status_code == answers.OK:
            other = yield from self._msgpack(name, few)
            if other.status_code != answers.BUSY:
                wanted = answers.response(answer, self.address)
                alike = other.status_code == answers.OK and _equal(answers.of_binary(other), wanted)
                self._seen.is_alike[request.likeness] = alike
        return answer

    def _declared(self, name: str) -> Generator[Attempt, "httpx.Response", str | None]:
        """The datatype of an array that the model takes, where the server tells it."""
        if not self._seen.has_told:
            answer = yield from self._said("GET", f"/v2/models/{name}")
            self._seen.datatype = answers.datatype(answer)
            self._seen.has_told = answer.status_code != answers.BUSY
        return self._seen.datatype

    def _json(self, name: str, given: Any) -> Answer:
        content = _encoded(lambda: json_encode(request_of(given)))
        return (yield from self._said("POST", f"{_path(name)}:predict", content, JSON))

    def _msgpack(self, name: str, request: Binary) -> Answer:
        content = _encoded(request.as_msgpack)
        return (yield from self._said("POST", f"{_path(name)}:predict_binary", content, MSGPACK))

    def _said(self, method: str, path: str, content: bytes | None = None, kind: str = "") -> Answer:
        """One request, and its answer."""
        headers = {"Content-Type": kind} if kind else {}
        answer = yield Attempt(method, path, content, headers, 0.0)
        for _ in range(self._retries):
            if answer.status_code != answers.BUSY:
                break
            answer = yield Attempt(method, path, content, headers, answers.wait(answer))
        return answer


def _encoded(encode: Callable[[], bytes]) -> bytes:
    try:
        return encode()
    except TypeError as error:
        raise SettingError(f"the rows cannot be sent as JSON: {error}") from error


def _path(name: str) -> str:
    return f"/v1/models/{name}"


def _rows(given: Any) -> Any:
    """Rows, or a request, as they are; of the path of a file, what is in it."""
    try:
        return samples.read(given, samples.REQUEST_READERS)
    except SettingError as error:
        raise SettingError(str(error).replace("sample_input", "rows", 1)) from error


def _frame(given: Any) -> Any:
    """The DataFrame in rows or in a request; None if there is none."""
    if isinstance(given, Mapping):
        given = given.get(ROWS)
    return given if tables.is_frame(given) else None


def _in_order(given: Any, frame: Any) -> Any:
    """Rows, or a request, with the values of a DataFrame without the names of its columns."""
    if frame is None:
        return given
    values = tables.values(frame)
    return {**given, ROWS: values} if isinstance(given, Mapping) else values


def _equal(found: Any, wanted: Any) -> bool:
    return json.dumps(found) == json.dumps(wanted)
