"""A client that waits for its answers."""

import time
from collections.abc import Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from .address import Address
from .answers import response
from .events import Events, is_events
from .talk import Attempt, Talk

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

TIMEOUT_SECONDS = 60.0
RETRIES = 3


def client(
    url: str,
    *,
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = TIMEOUT_SECONDS,
    retries: int = RETRIES,
) -> "Client":
    """A client of a server: `generator.client("http://localhost:8080").predict(rows)`.

    It keeps connections open. A `with` block, or `close`, ends them.

    Args:
        url: the server's.
        name: the model's; by default the one that the server has.
        headers: are sent with each request, such as a gateway's `Authorization`.
        timeout: seconds to wait for a connection, or for more of an answer; None for no limit.
        retries: how often a request is sent again while the server is too busy (503), each after
            the time that the server asks for, of 10 seconds at most.

    Raises:
        SettingError: an argument has a value that its rule forbids.
        ServingError: httpx is not installed.
    """
    address = Address(url, headers, timeout)
    return Client(Talk(address, name, retries), address.httpx.Client(**address.settings))


class Client:
    """A client of a server: see `client`."""

    def __init__(self, talk: Talk, http: "httpx.Client") -> None:
        self._talk = talk
        self._http = http

    def __repr__(self) -> str:
        return f"client({self._talk.address.shown!r})"

    def predict(self, instances_or_request: Any) -> dict[str, Any]:
        """Predict, as `Scaffold.predict` does.

        Large arrays, and rows with many bytes in them, are sent as msgpack, once the client has
        seen that the server answers two of the rows as it does in JSON.

        Args:
            instances_or_request: as `Scaffold.predict` takes it, or the path of a .csv, .parquet,
                .json or .npy file of rows.

        Returns:
            The response: a dict with `predictions`.

        Raises:
            ServingError: the server does not answer, or with an error: the message is the server's.
            SettingError: the rows cannot be sent.
        """
        return dict(self._done(self._talk.predict(instances_or_request)))

    def stream(self, instances_or_request: Any) -> Iterator[Any]:
        """Predict with a model that answers chunk by chunk.

        Another model's response is the only chunk. To leave the loop ends the answer.

        Args:
            instances_or_request: as `predict` takes it.

        Yields:
            What the scaffold's `predict` yields, as soon as it comes.

        Raises:
            ServingError: the server does not answer, or ends its answer with an error.
            SettingError: the rows cannot be sent.
        """
        attempt = self._done(self._talk.streamed(instances_or_request))
        wait, address = self._talk.waits(), self._talk.address
        while True:
            with address.failures(), self._http.stream(*attempt.sent, **attempt.rest) as answer:
                if is_events(answer):
                    events = Events(address)
                    for data in answer.iter_bytes():
                        yield from events.feed(data)
                    return events.check()
                answer.read()
            seconds = wait(answer)
            if seconds is None:
                yield response(answer, address)
                return
            time.sleep(seconds)

    def _done(self, flow: Generator[Attempt, "httpx.Response", T]) -> T:
        """What is made of the answers, once all has been said."""
        try:
            attempt = next(flow)
            while True:
                time.sleep(attempt.wait)
                attempt = flow.send(self._send(attempt))
        except StopIteration as end:
            made: T = end.value
            return made

    def _send(self, attempt: Attempt) -> "httpx.Response":
        with self._talk.address.failures():
            return self._http.request(*attempt.sent, **attempt.rest)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
