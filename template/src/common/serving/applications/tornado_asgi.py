"""A tornado application as an ASGI application: its handlers answer requests that uvicorn has read.

Source: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

import asyncio
from typing import Any

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.web import Application


class TornadoASGI:
    """Answers HTTP requests with a tornado application, on the running loop.

    Args:
        application: the tornado application.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        connection = _Connection()
        headers = HTTPHeaders()
        for name, value in scope["headers"]:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
        uri = scope["raw_path"].decode("latin-1")
        if scope["query_string"]:
            uri += "?" + scope["query_string"].decode("latin-1")
        request = HTTPServerRequest(
            headers=headers,
            host=headers.get("Host") or "localhost",
            body=await _body(receive),
            connection=connection,
            start_line=RequestStartLine(scope["method"], uri, "HTTP/1.1"),
        )
        self._application(request)
        await connection.finished
        fields = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in connection.headers
        ]
        await send({"type": "http.response.start", "status": connection.status, "headers": fields})
        await send({"type": "http.response.body", "body": b"".join(connection.chunks)})


class _Connection(HTTPConnection):
    """Collects the response that a handler writes."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[str, str]] = []
        self.chunks: list[bytes] = []
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> "asyncio.Future[None]":
        assert isinstance(start_line, ResponseStartLine)
        self.status = start_line.code
        self.headers = list(headers.get_all())
        return self.write(chunk or b"")

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        self.chunks.append(chunk)
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        written.set_result(None)
        return written

    def finish(self) -> None:
        self.finished.set_result(None)

    def set_close_callback(self, callback: Any) -> None:
        """Not needed: the whole request was read before."""


async def _body(receive: Any) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)
