"""What is said beside the bodies: header fields and the query to a hook, header fields from one.

Only where a hook of the owner's takes a context: else nothing is sent, and this costs nothing.
"""

import json
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

CONTENT_TYPE = b"content-type"
HeaderList = list[tuple[bytes, bytes]]


class Answered(Protocol):
    """An answer, or the beginning of one."""

    status: int
    beside: bytes


@dataclass
class Beside:
    """What is said beside a request that another application answers, and beside its answer.

    Attributes:
        sent: as `told` makes it.
        status: of the worker's answer.
        fields: of the worker's answer.
    """

    sent: bytes
    status: int = 200
    fields: HeaderList = field(default_factory=list)

    def take(self, answer: Answered) -> None:
        """Keep what a worker says beside an answer."""
        self.status, self.fields = answer.status, fields_of(answer)


# Of the request that an application of another maker answers, which does not hand it on.
CURRENT: ContextVar[Beside | None] = ContextVar("beside", default=None)


def told(headers: Iterable[tuple[bytes, bytes]], query: bytes = b"", **others: str) -> bytes:
    """What a worker is told of a request, as JSON.

    Args:
        headers: the header fields, with names in lower case.
        query: the URL's part after the question mark.
        others: what else it is told.
    """
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    return json.dumps({"headers": fields, "query": query.decode("latin-1"), **others}).encode()


def merged(fields: HeaderList, others: HeaderList) -> HeaderList:
    """The header fields of an answer, of which a hook may have chosen the media type."""
    if all(name != CONTENT_TYPE for name, _ in others):
        return fields + others
    return [field for field in fields if field[0] != CONTENT_TYPE] + others


def fields_of(answer: Answered) -> HeaderList:
    """The header fields that a hook has said beside an answer."""
    if not answer.beside:
        return []
    said = json.loads(answer.beside)
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said]
