"""What is written to a connection leaves together, soon, and before it closes; and how long a connection lasts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from common.config import Config, Model, Serving
from common.link.frames import Kind, Response
from common.serving import busy_poll
from common.serving.asgi import Application
from common.serving.busy_poll import BusyPoll
from common.serving.connection import MOST_BYTES, Gathering, HTTPProtocol

KEEP_ALIVE_SECONDS = 0.3
HEAD = b"POST /v1/models/model:predict HTTP/1.1\r\ncontent-length: 2\r\n\r\n"
OLD_HEAD = HEAD.replace(b"1.1", b"1.0")


class Transport:
    """Notes what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


def gathering(work: Any) -> Transport:
    """Run `work(gathering)` in a loop, and then a round of it."""
    transport: Any = Transport()

    async def run() -> None:
        await work(Gathering(transport, asyncio.get_running_loop()))
        await asyncio.sleep(0)

    asyncio.run(run())
    return transport


def test_head_and_body_leave_in_one_piece() -> None:
    async def respond(gathering: Gathering) -> None:
        gathering.write(b"head ")
        gathering.write(b"body")
        gathering.flush()
        gathering.write(b"next")

    assert gathering(respond).written == [b"head body", b"next"]


def test_a_stream_does_not_wait_for_its_end() -> None:
    async def stream(gathering: Gathering) -> None:
        gathering.write(b"first")
        await asyncio.sleep(0)
        gathering.write(b"second")

    assert gathering(stream).written == [b"first", b"second"]


def test_what_is_large_is_not_kept() -> None:
    async def respond(gathering: Gathering) -> None:
        gathering.write(b"head ")
        gathering.write(bytes(MOST_BYTES))
        assert gathering.is_closing() is False
        gathering.write(b"tail")

    assert gathering(respond).written == [b"head " + bytes(MOST_BYTES), b"tail"]


@pytest.mark.parametrize("closed_by", ["us", "the client"])
def test_closing_sends_what_was_kept_where_somebody_listens(closed_by: str) -> None:
    async def respond(gathering: Gathering) -> None:
        gathering.write(b"last")
        (gathering if closed_by == "us" else gathering._transport).close()

    assert gathering(respond).written == ([b"last"] if closed_by == "us" else [])


class Echo:
    """Workers that answer a body with itself."""

    draining = False

    def ask(self, kind: Kind, parts: list[bytes], request_id: str, answer: Any) -> None:
        answer.set_result(Response(1, 200, kind, b"".join(parts)))

    async def submit(self, kind: Kind, body: bytes, request_id: str) -> Response:
        return Response(1, 200, kind, body)


class Client:
    """A connection to a server of Echo's answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[bytes, bytes]:
        """The next response, its head and its body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        return head, await self._reader.readexactly(2)

    async def closed(self) -> bool:
        """Whether nothing comes any more; waits until that is known."""
        return await self._reader.read(1) == b""

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def conversation(talk: Callable[[Callable[[], Awaitable[Client]]], Awaitable[None]]) -> None:
    """Run `talk(connect)` beside a server that closes what is idle for KEEP_ALIVE_SECONDS."""

    async def nowhere(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing is asked but the predict route")

    async def run() -> None:
        application = Application(Config("model", "sklearn", Serving(), Model()), Echo(), nowhere)
        settings = uvicorn.Config(application, log_config=None, proxy_headers=False, lifespan="off")
        settings.load()
        settings.timeout_keep_alive = KEEP_ALIVE_SECONDS  # type: ignore[assignment]
        state = ServerState()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: HTTPProtocol(settings, state, {}), "127.0.0.1", 0)

        clients = []

        async def connect() -> Client:
            clients.append(Client(*await asyncio.open_connection(*server.sockets[0].getsockname())))
            return clients[-1]

        async with server:
            await asyncio.wait_for(talk(connect), 30)
            for client in clients:
                await client.close()

    asyncio.run(run())


def test_a_body_may_come_in_pieces() -> None:
    async def talk(connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        client.send(HEAD + b"[")
        await asyncio.sleep(0.05)
        client.send(b"]")
        assert (await client.answer())[1] == b"[]"

    conversation(talk)


def test_an_idle_connection_is_closed_but_not_one_on_which_a_request_has_begun() -> None:
    async def talk(connect: Callable[[], Awaitable[Client]]) -> None:
        idle, busy = await connect(), await connect()
        for client in (idle, busy):
            client.send(HEAD + b"[]")
            await client.answer()
        busy.send(HEAD[:9])
        assert await idle.closed()
        await asyncio.sleep(KEEP_ALIVE_SECONDS)
        busy.send(HEAD[9:] + b"{}")
        assert (await busy.answer())[1] == b"{}"
        assert await busy.closed()

    conversation(talk)


def test_an_idle_connection_is_closed_whichever_way_its_last_request_went() -> None:
    async def talk(connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        client.send(HEAD + b"[]" + HEAD + b"{}")  # the second waits for the first, as ASGI has it
        assert [(await client.answer())[1] for _ in range(2)] == [b"[]", b"{}"]
        assert await client.closed()

    conversation(talk)


@pytest.mark.parametrize("fields", [b"", b"Connection: keep-alive\r\n"])
def test_a_connection_of_http_1_0_is_closed_after_its_answer(fields: bytes) -> None:
    async def talk(connect: Callable[[], Awaitable[Client]]) -> None:
        client = await connect()
        client.send(OLD_HEAD[:-2] + fields + b"\r\n[]")
        head, body = await client.answer()
        assert b"connection: close\r\n" in head and body == b"[]"
        assert await client.closed()

    conversation(talk)


def rounds(monkeypatch: pytest.MonkeyPatch, seconds: float, stopped: bool) -> int:
    """How often a loop looks for what has come in the time of ten rounds, at the start of which it was told to."""
    awake = []
    monkeypatch.setattr(busy_poll.os, "sched_yield", lambda: awake.append(1))

    async def run() -> int:
        poll = BusyPoll(seconds)
        poll.start()
        poll.start()
        if stopped:
            poll.stop()
        for _ in range(10):
            await asyncio.sleep(0)
        return len(awake)

    return asyncio.run(run())


def test_a_loop_stays_awake_until_the_time_is_over_or_it_is_told_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 9 <= rounds(monkeypatch, 60, stopped=False) <= 11
    assert rounds(monkeypatch, 60, stopped=True) == 0
    assert rounds(monkeypatch, 1e-9, stopped=False) <= 1
    assert rounds(monkeypatch, 0, stopped=False) == 0
