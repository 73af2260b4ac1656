"""CloudEvents at V1's predict route. Their responses are events too, as KServe's SDK makes them.

A binary event has its attributes in header fields, a structured one has them and the request in
JSON, which a worker decodes.

Sources: CloudEvents 1.0.2, "HTTP Protocol Binding"; of KServe's SDK, `create_response_cloudevent`,
and its variables CE_TYPE, CE_SOURCE and CE_MERGE.
"""

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ...errors import Unanswered
from ...link.frames import Kind, event_parts
from ..predict_routes import EVENT, Workers, message_of

JSON = "application/json"
PREFIX = "ce-"
SAFE = "".join(map(chr, range(0x21, 0x7F)))  # the characters that a header field has as they are
# A binary event has all of these.
REQUIRED = ("specversion", "id", "source", "type")
VERSIONS = ("1.0", "0.3")
# Attributes that are those of the request's data, or of the request alone.
OWN = ("id", "time", "datacontenttype", "contenttype")


class Events:
    """Answers events.

    Args:
        name: the model's name.
        workers: answer the requests.
    """

    def __init__(self, name: str, workers: Workers) -> None:
        self._source = f"io.kserve.inference.{name}"
        self._workers = workers

    async def answer(self, request: Request) -> Response:
        """The response to an event; to plain JSON, where header fields say half of an event."""
        fields = request.headers
        sent = {
            name.removeprefix(PREFIX): value
            for name, value in fields.items()
            if name.startswith(PREFIX)
        }
        if sent.keys() >= set(REQUIRED):
            return await self._binary(request, sent)
        structured = fields.get("content-type", "").lower().startswith(EVENT.decode())
        if not structured:
            return Response(await self._ask(Kind.JSON, request), media_type=JSON)
        attributes, body = event_parts(await self._ask(Kind.EVENT, request))
        head = json.dumps(self._attributes(attributes)).encode()
        return Response(
            head.removesuffix(b"}") + b', "data": ' + body + b"}", media_type=EVENT.decode()
        )

    async def _binary(self, request: Request, sent: Mapping[str, str]) -> Response:
        if sent["specversion"] not in VERSIONS:
            versions = " or ".join(VERSIONS)
            raise HTTPException(
                400, f"the header ce-specversion must be {versions}, it is {sent['specversion']!r}"
            )
        body = await self._ask(Kind.JSON, request)
        attributes = self._attributes(sent)
        fields = {PREFIX + name: quote(value, SAFE) for name, value in attributes.items()}
        return Response(body, headers=fields, media_type=JSON)

    def _attributes(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes of a response, with those of its request where CE_MERGE says so."""
        merged: dict[str, Any] = {}
        if os.environ.get("CE_MERGE", "").lower() == "true":
            merged = {name: value for name, value in sent.items() if name not in OWN}
        return {
            **merged,
            "specversion": VERSIONS[0],
            "id": str(uuid4()),
            "time": datetime.now(timezone.utc).isoformat(),
            "type": os.environ.get("CE_TYPE", "io.kserve.inference.response"),
            "source": os.environ.get("CE_SOURCE", self._source),
        }

    async def _ask(self, kind: Kind, request: Request) -> bytes:
        """A worker's answer to the body.

        Raises:
            HTTPException: it is an error.
        """
        request_id = request.headers["x-request-id"]
        try:
            answer = await self._workers.submit(kind, await request.body(), request_id)
        except Unanswered as error:
            raise HTTPException(error.status, str(error)) from None
        if answer.status >= 400:
            raise HTTPException(answer.status, message_of(answer))
        return answer.body
