"""What is written to a connection leaves together, soon, and before it closes."""

import asyncio
from typing import Any

import pytest

from common.http_protocol import MOST_BYTES, Gathering


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
