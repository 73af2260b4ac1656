"""Clients of a server: they answer as `Scaffold.predict` does, over HTTP."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .common import json_encode
from .errors import ServingError, SettingError
from .rows import samples, tables
from .rows.body import request_of

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 60.0
RETRIES = 3
BUSY = 503
WAIT_SECONDS, MOST_WAIT_SECONDS = 1.0, 10.0
ROWS = "instances"  # how V2's metadata calls rows without names
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class _Attempt:
    """A request to send, after some seconds."""

    method: str
    path: str
    content: bytes | None
    wait: float


# Yields what is to be sent, is sent the answer, and returns the JSON of the last one.
_Flow = Generator[_Attempt, "httpx.Response", Any]


class _Talk:
    """What is said to a server, whoever sends it.

    Args:
        url: the server's.
        name: the model's; None to ask the server.
        retries: how often a request is sent again while the server is busy.
    """

    def __init__(self, url: str, name: str | None, retries: int) -> None:
        if not url.startswith(("http://", "https://")):
            raise SettingError(f"url {url!r}: write one such as 'http://localhost:8080'")
        if retries < 0:
            raise SettingError(f"retries {retries}: write 0 or more")
        self.url = url.rstrip("/")
        self._shown = re.sub("//[^/@]*@", "//", self.url)  # without a password
        self._name = name
        self._retries = retries
        self._inputs: list[str] | None = None

    def __str__(self) -> str:
        return repr(self._shown)

    def predict(self, given: Any) -> _Flow:
        """What `Client.predict` says."""
        given = samples.read(given)
        name = yield from self._model()
        if tables.is_frame(given) and ROWS not in given.columns:
            given = tables.listed(given) if (yield from self._is_array(name)) else given
        try:
            content = json_encode(request_of(given))
        except TypeError as error:
            raise SettingError(f"the rows cannot be sent as JSON: {error}") from error
        return (yield from self._said("POST", f"/v1/models/{name}:predict", content))

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Raise what kept a request from being answered as a ServingError."""
        import httpx

        try:
            yield
        except httpx.InvalidURL as error:
            raise SettingError(f"url {self._shown!r}: {error}") from error
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise ServingError(f"the server at {self._shown} did not answer: {said}") from error

    def _model(self) -> Generator[_Attempt, "httpx.Response", str]:
        if self._name is None:
            told = yield from self._said("GET", "/v1/models")
            names = told.get("models") if isinstance(told, dict) else told  # KFServing's is a list
            if not isinstance(names, list) or len(names) != 1:
                raise ServingError(
                    f"the server at {self._shown} has the models {names!r}: pass name to choose one"
                )
            self._name = str(names[0])
        return self._name

    def _is_array(self, name: str) -> Generator[_Attempt, "httpx.Response", bool]:
        """Whether the model's rows have no names: it takes columns in their order."""
        if self._inputs is None:
            metadata = yield from self._said("GET", f"/v2/models/{name}")
            self._inputs = [str(each["name"]) for each in metadata.get("inputs") or ()]
        return self._inputs == [ROWS]

    def _said(self, method: str, path: str, content: bytes | None = None) -> _Flow:
        """One request, and its answer."""
        answer = yield _Attempt(method, path, content, 0.0)
        for _ in range(self._retries):
            if answer.status_code != BUSY:
                break
            answer = yield _Attempt(method, path, content, _wait(answer))
        return self._read(answer)

    def _read(self, answer: "httpx.Response") -> Any:
        try:
            content = json.loads(answer.content)
        except ValueError:
            content = None
        if answer.status_code == 200 and content is not None:
            return content
        said = content.get("error") if isinstance(content, dict) else None
        raise ServingError(
            f"the server at {self._shown} answered {answer.status_code}:"
            f" {said or 'what is not of a scaffold'}"
        )


def _wait(answer: "httpx.Response") -> float:
    """The seconds that a busy server asks for."""
    try:
        return min(max(float(answer.headers["Retry-After"]), 0.0), MOST_WAIT_SECONDS)
    except (KeyError, ValueError):  # it may be a date
        return WAIT_SECONDS


def _httpx() -> ModuleType:
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise ServingError("a client needs httpx: run `pip install httpx`") from error
    return httpx


def client(
    url: str,
    *,
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    retries: int = RETRIES,
) -> "Client":
    """A client of a server: `generator.client("http://localhost:8080").predict(rows)`.

    It keeps connections open. A `with` block, or `close`, ends them.

    Args:
        url: the server's.
        name: the model's; by default the one that the server has.
        headers: are sent with each request, such as a gateway's `Authorization`.
        timeout: seconds to wait for a connection, or for more of an answer.
        retries: how often a request is sent again while the server is too busy (503), each after
            the time that the server asks for, of 10 seconds at most.

    Raises:
        SettingError: an argument has a value that its rule forbids.
        ServingError: httpx is not installed.
    """
    talk, httpx = _Talk(url, name, retries), _httpx()
    with talk.failures():
        return Client(talk, httpx.Client(base_url=talk.url, headers=headers, timeout=timeout))


def async_client(
    url: str,
    *,
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    retries: int = RETRIES,
) -> "AsyncClient":
    """A client for `await`: `await generator.async_client(url).predict(rows)`. See `client`."""
    talk, httpx = _Talk(url, name, retries), _httpx()
    with talk.failures():
        http = httpx.AsyncClient(base_url=talk.url, headers=headers, timeout=timeout)
    return AsyncClient(talk, http)


class Client:
    """A client of a server: see `client`."""

    def __init__(self, talk: _Talk, http: "httpx.Client") -> None:
        self._talk = talk
        self._http = http

    def __repr__(self) -> str:
        return f"client({self._talk})"

    def predict(self, instances_or_request: Any) -> dict[str, Any]:
        """Predict, as `Scaffold.predict` does.

        Args:
            instances_or_request: as `Scaffold.predict` takes it, or the path of a .csv, .parquet
                or .json file of rows.

        Returns:
            The response: a dict with `predictions`.

        Raises:
            ServingError: the server does not answer, or with an error: the message is the server's.
            SettingError: the rows cannot be sent.
        """
        flow = self._talk.predict(instances_or_request)
        try:
            attempt = next(flow)
            while True:
                time.sleep(attempt.wait)
                attempt = flow.send(self._send(attempt))
        except StopIteration as end:
            return dict(end.value)

    def _send(self, attempt: _Attempt) -> "httpx.Response":
        with self._talk.failures():
            return self._http.request(
                attempt.method, attempt.path, content=attempt.content, headers=JSON
            )

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """A client of a server, for `await`: see `async_client`."""

    def __init__(self, talk: _Talk, http: "httpx.AsyncClient") -> None:
        self._talk = talk
        self._http = http

    def __repr__(self) -> str:
        return f"async_client({self._talk})"

    async def predict(self, instances_or_request: Any) -> dict[str, Any]:
        """Predict: see `Client.predict`."""
        flow = self._talk.predict(instances_or_request)
        try:
            attempt = next(flow)
            while True:
                await asyncio.sleep(attempt.wait)
                attempt = flow.send(await self._send(attempt))
        except StopIteration as end:
            return dict(end.value)

    async def _send(self, attempt: _Attempt) -> "httpx.Response":
        with self._talk.failures():
            return await self._http.request(
                attempt.method, attempt.path, content=attempt.content, headers=JSON
            )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
