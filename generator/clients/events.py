"""Server-Sent Events, as a scaffold's server sends an answer chunk by chunk.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html. An event has one line of
`data`. The last one, `end` or `error`, has a line of `event` before it.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import ServingError
from . import answers
from .address import Address

if TYPE_CHECKING:
    import httpx

MEDIA_TYPE = "text/event-stream"
STOP, EVENT, DATA = b"\n\n", b"event: ", b"data: "
END, ERROR = b"end", b"error"


def is_events(answer: "httpx.Response") -> bool:
    """Whether an answer comes chunk by chunk."""
    return answer.is_success and answer.headers.get("Content-Type", "").startswith(MEDIA_TYPE)


class Events:
    """The chunks of an answer.

    Args:
        address: the server's, for errors.

    Attributes:
        ended: whether the last one has come.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._rest = b""
        self.ended = False

    def feed(self, data: bytes) -> Iterator[Any]:
        """The chunks that are complete with these bytes.

        Raises:
            ServingError: the answer ends with an error.
        """
        *events, self._rest = (self._rest + data).split(STOP)
        for event in events:
            name, content = b"", event
            if event.startswith(EVENT):
                name, _, content = event.removeprefix(EVENT).partition(b"\n")
            value = self._value(content)
            if name == END:
                self.ended = True
            elif name == ERROR:
                said = answers.message(value) or "an error without a message"
                raise ServingError(f"the server at {self._address} ended its answer: {said}")
            else:
                yield value

    def check(self) -> None:
        """Check that no more can come.

        Raises:
            ServingError: the answer has no end.
        """
        if not self.ended:
            raise ServingError(f"the answer of the server at {self._address} has no end: try again")

    def _value(self, content: bytes) -> Any:
        try:
            return json.loads(content.removeprefix(DATA))
        except (ValueError, RecursionError):
            raise ServingError(
                f"the server at {self._address} sends events that are not of a scaffold"
            ) from None
