"""Receives the messages of calls, of which only a few may take their time.

gRPC holds what has come of a message, and does not say how much that is. So a message that has not
come at once counts as one of the largest size, beside the bodies that the server holds. Where
there is no room for both, the one that has come for longest makes it.
"""

import asyncio
from typing import Any

import grpc

from ..pool import Held
from ..predict_routes import Refused

AT_ONCE_SECONDS = 0.2  # in which little comes of many messages
SMALL_BYTES = 1 << 16  # of a message for which none makes room
LATE_SECONDS = 0.05  # a timer that is later shows a busy event loop: the message may have come


class Receiver:
    """Receives the messages of calls, one at a time of each.

    A handler of a stream can end a call whose message has not come, and one of a single message
    cannot. To a client both are the same.

    Args:
        held: what the server holds.
        size: of the largest message, in bytes.
        places: how many messages may take longer than AT_ONCE_SECONDS at a time, at most.
    """

    def __init__(self, held: Held, size: int, places: int) -> None:
        self._held = held
        self._size = size
        self._places = places
        self._slow: dict[_Arrival, None] = {}  # those that came first, first

    async def receive(self, context: Any) -> bytes:
        """The call's message.

        Raises:
            Refused: it has none, or has made room for another one.
        """
        message = await self.next(context)
        if message is None:
            raise Refused(400, "the call has no message")
        return message

    async def next(self, context: Any) -> bytes | None:
        """The next message of a call; None after its last.

        Raises:
            Refused: the call has made room for another one.
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
            return None
        if len(message) > SMALL_BYTES:
            self._make_room(len(message))
        return bytes(message)

    def add(self, arrival: "_Arrival") -> None:
        """Give a place to a message that is slow."""
        self._make_room(self._size)
        self._slow[arrival] = None

    def _make_room(self, size: int) -> None:
        """End calls whose messages come slowly where there is no room for so many bytes more."""
        while self._slow:
            most = len(self._slow) * self._size + self._held.size + size
            if most <= self._held.limit and len(self._slow) < self._places:
                return
            longest = next(iter(self._slow))
            del self._slow[longest]
            longest.end()


class _Arrival:
    """A message that the current task waits for."""

    def __init__(self, receiver: Receiver) -> None:
        self.refusal: Refused | None = None
        self._receiver = receiver
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._wait()

    def end(self) -> None:
        assert self._task is not None
        self.refusal = Refused(
            503, "the message came slowly, and its place was needed (serving.max_queue_bytes)"
        )
        self._task.cancel()

    def _wait(self) -> None:
        self._due = self._loop.time() + AT_ONCE_SECONDS
        self.timer = self._loop.call_at(self._due, self._is_slow)

    def _is_slow(self) -> None:
        if self._loop.time() > self._due + LATE_SECONDS:
            self._wait()
        else:
            self._receiver.add(self)
