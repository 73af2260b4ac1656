"""Receives the messages of calls, of which only a few may take their time.

gRPC holds what has come of a message, and does not say how much that is. So a message that has not
come at once takes one of a few places. Where there is none, the one that has come for longest makes
room for it.
"""

import asyncio
from typing import Any

import grpc

from ..predict_routes import Refused

AT_ONCE_SECONDS = 1.0


class Receiver:
    """Receives one message of each call.

    A handler of a stream can end a call whose message has not come, and one of a single message
    cannot. To a client both are the same.

    Args:
        places: how many messages may take longer than AT_ONCE_SECONDS at a time.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._slow: dict[_Arrival, None] = {}  # those that came first, first

    async def receive(self, context: Any) -> bytes:
        """The call's message.

        Raises:
            Refused: it has none, or has made room for another one.
        """
        arrival = _Arrival(self)
        try:
            message: Any = await context.read()
        except asyncio.CancelledError:
            if arrival.refusal is None:
                raise
            raise arrival.refusal from None
        finally:
            arrival.timer.cancel()
            self._slow.pop(arrival, None)
        if message is grpc.aio.EOF:
            raise Refused(400, "the call has no message")
        return bytes(message)

    def add(self, arrival: "_Arrival") -> None:
        """Give a place to a message that is slow."""
        if len(self._slow) == self._places:
            longest = next(iter(self._slow))
            del self._slow[longest]
            longest.end()
        self._slow[arrival] = None


class _Arrival:
    """A message that the current task waits for."""

    def __init__(self, receiver: Receiver) -> None:
        self.refusal: Refused | None = None
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        self.timer = loop.call_later(AT_ONCE_SECONDS, receiver.add, self)

    def end(self) -> None:
        assert self._task is not None
        self.refusal = Refused(
            503, "the message came slowly, and its place was needed (serving.max_queue_bytes)"
        )
        self._task.cancel()
