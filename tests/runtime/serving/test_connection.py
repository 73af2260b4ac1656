"""A connection's write buffer, its keep-alive timer, and the busy polling of the event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from common.serving import busy_poll
from common.serving.busy_poll import BusyPoll
from common.serving.http.write_buffer import MAX_BUFFER_BYTES, WriteBuffer
from support.servers.conversations import HEAD, Connect, conversation

KEEP_ALIVE_SECONDS = 0.3
OLD_HEAD = HEAD.replace(b"1.1", b"1.0")


class Transport:
    """Records what is written to it."""

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


def written(work: Callable[[WriteBuffer], Awaitable[None]]) -> list[bytes]:
    """What `work(buffer)` writes to the transport, with one more iteration of the loop."""
    transport: Any = Transport()

    async def run() -> None:
        await work(WriteBuffer(transport, asyncio.get_running_loop()))
        await asyncio.sleep(0)

    asyncio.run(run())
    return list(transport.written)


def test_head_and_body_leave_in_one_piece() -> None:
    async def respond(buffer: WriteBuffer) -> None:
        buffer.write(b"head ")
        buffer.write(b"body")
        buffer.flush()
        buffer.write(b"next")

    assert written(respond) == [b"head body", b"next"]


def test_a_stream_does_not_wait_for_its_end() -> None:
    async def stream(buffer: WriteBuffer) -> None:
        buffer.write(b"first")
        await asyncio.sleep(0)
        buffer.write(b"second")

    assert written(stream) == [b"first", b"second"]


def test_what_is_large_is_not_kept() -> None:
    async def respond(buffer: WriteBuffer) -> None:
        buffer.write(b"head ")
        buffer.write(bytes(MAX_BUFFER_BYTES))
        assert buffer.is_closing() is False
        buffer.write(b"tail")

    assert written(respond) == [b"head " + bytes(MAX_BUFFER_BYTES), b"tail"]


def test_closing_writes_what_is_in_the_buffer() -> None:
    async def respond(buffer: WriteBuffer) -> None:
        buffer.write(b"last")
        buffer.close()

    assert written(respond) == [b"last"]


def test_nothing_is_written_where_the_client_is_gone() -> None:
    transport: Any = Transport()

    async def respond() -> None:
        buffer = WriteBuffer(transport, asyncio.get_running_loop())
        buffer.write(b"last")
        transport.close()
        await asyncio.sleep(0)

    asyncio.run(respond())
    assert transport.written == []


def test_a_body_may_come_in_pieces() -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        client.send(HEAD + b"[")
        await asyncio.sleep(0.05)
        client.send(b"]")
        assert (await client.answer())[1] == b"[]"

    conversation(talk, keep_alive_seconds=KEEP_ALIVE_SECONDS)


def test_an_idle_connection_is_closed_but_not_one_on_which_a_request_has_begun() -> None:
    async def talk(connect: Connect) -> None:
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

    conversation(talk, keep_alive_seconds=KEEP_ALIVE_SECONDS)


def test_an_idle_connection_is_closed_whichever_way_its_last_request_went() -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        client.send(HEAD + b"[]" + HEAD + b"{}")  # the second waits for the first, as ASGI has it
        assert [(await client.answer())[1] for _ in range(2)] == [b"[]", b"{}"]
        assert await client.closed()

    conversation(talk, keep_alive_seconds=KEEP_ALIVE_SECONDS)


@pytest.mark.parametrize("fields", [b"", b"Connection: keep-alive\r\n"])
def test_a_connection_of_http_1_0_is_closed_after_its_answer(fields: bytes) -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        client.send(OLD_HEAD[:-2] + fields + b"\r\n[]")
        head, body = await client.answer()
        assert b"connection: close\r\n" in head and body == b"[]"
        assert await client.closed()

    conversation(talk, keep_alive_seconds=KEEP_ALIVE_SECONDS)


def polls(monkeypatch: pytest.MonkeyPatch, seconds: float, stopped: bool) -> int:
    """How often a loop polls in ten iterations after `start`, and after `stop` if `stopped`."""
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
    assert 9 <= polls(monkeypatch, 60, stopped=False) <= 11
    assert polls(monkeypatch, 60, stopped=True) == 0
    assert polls(monkeypatch, 1e-9, stopped=False) <= 1
    assert polls(monkeypatch, 0, stopped=False) == 0
