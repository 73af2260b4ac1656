"""What a hook may know of a request beside its body, and say beside its response."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from .errors import Unsendable

# RFC 9110, 5.1 and 5.5.
FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# They say how the answer is sent, or which request and which model it is of.
RESERVED = frozenset(
    (
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "inference-header-content-length",
        "keep-alive",
        "server",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-model-version",
        "x-request-id",
    )
)
MEDIA_TYPE = re.compile(r"[!#$&^_.+a-z0-9A-Z-]+/[!#$&^_.+a-z0-9A-Z-]+( *;[\x20-\x7e]*)?")
WITHOUT_BODY = (204, 205, 304)
MOST_BYTES = 2**15  # of the fields of an answer: clients take 64 KiB in all
STATUS = "must be a whole number from 200 to 599 that has a body (not 204, 205 or 304)"


class Headers(Mapping[str, str]):
    """The header fields of a request, by name in any case. Fields of one name are joined by commas.

    Args:
        fields: names in lower case, and values.
    """

    def __init__(self, fields: Sequence[Sequence[str]] = ()) -> None:
        found: dict[str, list[str]] = {}
        for name, value in fields:
            found.setdefault(name, []).append(value)
        self._fields = {
            name: ("; " if name == "cookie" else ", ").join(values)
            for name, values in found.items()
        }

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({self._fields})"


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came.

    Attributes:
        id: its request id, which the answer has as X-Request-Id and the log names.
        headers: its header fields, by name in any case; over gRPC the metadata of the call.
        query: the parameters of its URL; of a name that comes twice the last value.
    """

    id: str = ""
    headers: Mapping[str, str] = field(default_factory=Headers)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Context:
    """What a hook knows of a request beside its body, and says beside its response.

    Each of `preprocess`, `predict` and `postprocess` gets it where it has a second parameter,
    `context`. All three get the same one, unless `predict` may be called for several requests: then
    it gets one with the header fields that `shared_headers` names, and no more.

    Attributes:
        request: the request as it came.
        parameters: the object under `parameters` in the body; empty where there is none.
        model_version: the version of the model that answers; None if it has none.
        values: yours, from one hook to the next.
        status: the HTTP status of the answer. Set it, and raise InvalidInput for an error with it.
        headers: header fields of the answer, by name; a list of texts is several fields.
        media_type: of an answer that is bytes, at a route of yours.
    """

    request: Received = field(default_factory=Received)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    model_version: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str | list[str]] = field(default_factory=dict)
    media_type: str = "application/octet-stream"

    @classmethod
    def of(
        cls, request_id: str, beside: bytes, body: Mapping[str, Any], version: str | None
    ) -> "Context":
        """The context of a request.

        Args:
            request_id: its request id.
            beside: what the server says of it, as `serving/beside.py` writes it.
            body: the decoded body.
            version: the model's.
        """
        said = json.loads(beside) if beside else {}
        query = dict(parse_qsl(said.get("query", ""), keep_blank_values=True))
        received = Received(request_id, Headers(said.get("headers", ())), query)
        parameters = body.get("parameters")
        if not isinstance(parameters, Mapping):
            parameters = {}
        return cls(received, parameters, version)

    def checked_status(self) -> int:
        """The status of the answer.

        Raises:
            Unsendable: it is none that an answer can have.
        """
        status = self.status
        is_number = isinstance(status, int) and not isinstance(status, bool)
        if not is_number or not 200 <= status <= 599 or status in WITHOUT_BODY:
            raise Unsendable(f"context.status {STATUS}, it is {status!r}")
        return int(status)

    def fields(self) -> list[tuple[str, str]]:
        """The header fields of the answer.

        Raises:
            Unsendable: one of them cannot be sent.
        """
        if not isinstance(self.headers, Mapping):
            raise Unsendable("context.headers must be a dict of texts")
        found: list[tuple[str, str]] = []
        for name, value in self.headers.items():
            _check_name(name)
            for one in value if isinstance(value, (list, tuple)) else (value,):
                if not isinstance(one, str) or not FIELD_VALUE.fullmatch(one):
                    raise Unsendable(
                        f"context.headers[{name!r}] must be a text of Latin-1 characters on one"
                        f" line, or a list of them, it is {one!r:.200}"
                    )
                found.append((name.lower(), one.strip()))
        if sum(len(name) + len(value) for name, value in found) > MOST_BYTES:
            raise Unsendable(f"context.headers has more than {MOST_BYTES} bytes")
        return found

    def checked_media_type(self) -> str:
        """The media type of an answer that is bytes.

        Raises:
            Unsendable: it is none.
        """
        if not isinstance(self.media_type, str) or not MEDIA_TYPE.fullmatch(self.media_type):
            raise Unsendable(
                f"context.media_type must be like image/png, it is {self.media_type!r:.200}"
            )
        return self.media_type

    def beside(self, media_type: str | None = None) -> bytes:
        """Its header fields as the server reads them; nothing where there are none.

        Args:
            media_type: of the body, where the server does not know it.
        """
        if not self.headers and media_type is None:
            return b""
        fields = self.fields()
        if media_type is not None:
            fields.append(("content-type", media_type))
        return json.dumps(fields).encode()


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not FIELD_NAME.fullmatch(name):
        raise Unsendable(
            f"context.headers has the name {name!r:.200}, which is no header field's name"
        )
    if name.lower() in RESERVED:
        raise Unsendable(f"context.headers must not have {name!r}: the server sets that")
