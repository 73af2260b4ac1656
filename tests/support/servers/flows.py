"""Requests that arrive together at a worker's flow, without a server."""

import json
from collections.abc import Callable
from typing import Any

from common.bodies import json_encode, msgpack_decode, msgpack_encode
from common.link.frames import Kind, Request
from common.signature import Signature
from common.worker.flow import Flow
from common.worker.sharing import Sharing


def proved(limit: int) -> Sharing:
    """Sharing of up to so many rows whose first calls agreed already."""
    return Sharing(limit, Signature(None).likeness, True, first=0)


def ask(
    owner: Any, *bodies: Any, kind: Kind = Kind.JSON, flow: Flow | None = None, limit: int = 256
) -> list[Any]:
    """The answers to requests that arrive together, in their order: (status, body)."""
    encode: Callable[[Any], bytes] = json_encode if kind == Kind.JSON else msgpack_encode
    packed = [body if isinstance(body, bytes) else encode(body) for body in bodies]
    frames = [Request(ident, kind, f"id-{ident}", body) for ident, body in enumerate(packed, 1)]
    answers = {}
    flow = flow or Flow(owner, proved(limit))
    for responses, _ in flow.answer([flow.open(frame) for frame in frames]):
        for response in responses:
            assert response.ident not in answers, "a request was answered twice"
            decode: Callable[[bytes], Any] = (
                msgpack_decode if response.kind == Kind.MSGPACK else json.loads
            )
            answers[response.ident] = (response.status, decode(response.body))
    assert sorted(answers) == [frame.ident for frame in frames]
    return [answers[frame.ident] for frame in frames]
