"""Connections to our HTTP protocol, in this process, in front of workers that echo."""

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from common.config import Config, Model, Serving
from common.link.frames import Kind, Response
from common.serving.asgi import Application
from common.serving.http.connection import HTTPProtocol
from common.serving.pool import Held

PREDICT = b"/v1/models/model:predict"
HEAD = b"POST " + PREDICT + b" HTTP/1.1\r\ncontent-length: 2\r\n\r\n"


class Echo:
    """Workers that answer a body with itself, once they are not paused.

    Attributes:
        asked: how many requests have come.
        paused: whether answers wait.
    """

    draining = reads_context = False
    own_routes = ()

    def __init__(self, max_queue_bytes: int) -> None:
        self.held = Held(max_queue_bytes)
        self.asked = 0
        self.paused = False
        self._waiting: list[tuple[Any, Response]] = []

    def ask(
        self, kind: Kind, parts: list[bytes], request_id: str, answer: Any, *_: Any, **__: Any
    ) -> None:
        self.asked += 1
        self._waiting.append((answer, Response(1, 200, kind, b"".join(parts))))
        if not self.paused:
            self.go_on()

    def go_on(self) -> None:
        """Answer what waits, and what comes from now on."""
        self.paused = False
        waiting, self._waiting = self._waiting, []
        for answer, response in waiting:
            if not answer.done():
                answer.set_result(response)

    async def submit_stream(
        self, kind: Kind, body: bytes, request_id: str, said: bytes
    ) -> Response:
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.ask(kind, [body], request_id, answer)
        return await answer


class Client:
    """A connection to a server of Echo's answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def pause_reading(self) -> None:
        transport: Any = self._writer.transport
        transport.pause_reading()

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[bytes, bytes]:
        """The next response, its head and its body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        [length] = re.findall(rb"content-length: (\d+)", head)
        return head, await self._reader.readexactly(int(length))

    async def status(self) -> int:
        """The status of the next response."""
        return int((await self.answer())[0].split()[1])

    async def closed(self) -> bool:
        """Whether nothing comes any more; waits until that is known."""
        return await self._reader.read(1) == b""

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


@dataclass
class Connect:
    """Opens connections to a server.

    Attributes:
        workers: answer its predict routes.
        protocols: the server's ends of its connections.
    """

    workers: Echo
    protocols: set[Any]
    address: tuple[str, int] = ("", 0)
    clients: list[Client] = field(default_factory=list)

    async def __call__(self) -> Client:
        self.clients.append(Client(*await asyncio.open_connection(*self.address)))
        return self.clients[-1]


async def health(scope: Any, receive: Any, send: Any) -> None:
    """Answers every route but the predict routes, once the body has come."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"up"})


def conversation(talk: Callable[[Connect], Awaitable[None]], **serving: Any) -> None:
    """Run `talk(connect)` beside a server with these settings of `serving`."""

    async def run() -> None:
        chosen = Serving(**serving)
        echo: Any = Echo(chosen.max_queue_bytes)
        application = Application(Config("model", "sklearn", chosen, Model()), echo, health)
        settings = uvicorn.Config(application, log_config=None, proxy_headers=False, lifespan="off")
        settings.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: HTTPProtocol(settings, state, {}), "127.0.0.1", 0)
        connect = Connect(echo, state.connections, server.sockets[0].getsockname())
        async with server:
            await asyncio.wait_for(talk(connect), 30)
            for client in connect.clients:
                await client.close()
            while state.connections:
                await asyncio.sleep(0.01)
        assert not echo.held.size

    asyncio.run(run())
