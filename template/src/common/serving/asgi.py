"""The server's ASGI application: the predict routes themselves, and another application behind for all else."""

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from ..config import Config
from ..errors import Unanswered
from .predict_routes import Headers, Predictions, Refused, Workers, error_answer

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class Application:
    """Routes requests to the workers or to the application behind.

    Args:
        config: the scaffold's configuration.
        workers: who answers the predict routes.
        behind: what answers all else.

    Attributes:
        predictions: the predict routes.
        workers: who answers them.
    """

    def __init__(self, config: Config, workers: Workers, behind: ASGIApplication) -> None:
        self.predictions = Predictions(config, workers)
        self.workers = workers
        self._application = behind
        self._server = config.server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        predictions, path, method = self.predictions, scope["path"], scope["method"]
        headers = Headers(scope["headers"])
        route = predictions.route(path, method, headers)
        request_id = predictions.request_id(headers)
        start = time.perf_counter()
        try:
            if route is not None:
                predictions.check(route, path, method, headers)
            body = await self._body(headers, receive)
            if body is None:
                return None  # the client went away
            if route is None:
                return await self._behind(
                    _marked(scope, request_id), _replayed(body, receive), send, request_id
                )
            start = time.perf_counter()
            framed = b"".join(predictions.framed(route, headers, [body]))
            answer = await self.workers.submit(route.kind, framed, request_id)
        except (Refused, Unanswered) as error:
            answer = error_answer(error.status, error)
        took = time.perf_counter() - start
        fields, body = predictions.fields(answer, request_id)
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": body})
        predictions.count(route.name if route else self._server, answer.status, request_id, took)
        return None

    async def _body(self, headers: Headers, receive: Receive) -> bytes | None:
        """The whole body; None where the client went away before it was whole."""
        self.predictions.check_size(headers.length)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            self.predictions.check_size(len(body))
            if not message.get("more_body"):
                return bytes(body)

    async def _behind(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """The application behind answers, and its answer is counted as ours are."""
        start = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [
                    (b"x-request-id", request_id.encode("ascii")),
                    *self.predictions.more_fields(status),
                ]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        try:
            await self._application(scope, receive, watched)
        except Exception as error:  # it is answered: 500 by that application itself
            logger.error(
                "%s failed: %r",
                scope["path"],
                error,
                exc_info=error,
                extra={"request_id": request_id},
            )
        finally:
            if scope["method"] == "POST":
                self.predictions.count(
                    self._server, status, request_id, time.perf_counter() - start
                )


def _marked(scope: Scope, request_id: str) -> Scope:
    """The scope with the request's id, whoever gave it."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
    return {**scope, "headers": [*headers, (b"x-request-id", request_id.encode("ascii"))]}


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
