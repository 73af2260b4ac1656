"""All connections of the server: how many there may be, and how long each may take."""

import asyncio
import resource
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from ...config import Serving

RESERVE = 128  # open files for the workers, their replacement, and what is asked of a full server
SURPLUS = 32  # connections beyond the limit, which may ask whether the server is ready
LEAST_BYTES_A_SECOND = 1000  # of a body, or of an answer
SWEEPS = 4  # in the shortest time limit
LONGEST_SWEEP_SECONDS = 1.0
FIRST_SECONDS = 1.0  # for the first request of a connection, before it makes room
PORTION = 64  # of so many connections that wait for a client, one makes room


class Wait(IntEnum):
    """What a connection waits for."""

    US = 0
    REQUEST = 1
    HEAD = 2
    BODY = 3
    READER = 4  # the client, to read its answer


class Connection(Protocol):
    """What is watched of a connection."""

    def wait(self) -> tuple[Wait, Any, int]:
        """What it waits for, for which request, and how many bytes have come or gone by now."""
        ...

    @property
    def upload_bytes(self) -> int:
        """The bytes held of a body whose end has not come."""
        ...

    def expire(self, wait: Wait) -> None:
        """End it: the client has taken too long."""
        ...

    def make_room(self) -> None:
        """Close it, because another one needs its place."""
        ...


@dataclass(slots=True)
class Seen:
    """What a connection waited for when it was looked at, and since when."""

    wait: Wait
    request: Any
    size: int
    since: float


class Connections:
    """The open connections.

    Every connection is looked at several times in the shortest time limit, so that none needs a
    timer of its own.

    Args:
        serving: the settings of the server.

    Attributes:
        limit: how many there may be.
    """

    def __init__(self, serving: Serving) -> None:
        self.limit = min(serving.max_connections, max(1, open_files() - RESERVE))
        self._seconds = {
            Wait.REQUEST: serving.keep_alive_seconds,
            Wait.HEAD: serving.header_timeout_seconds,
            Wait.BODY: serving.body_timeout_seconds,
            Wait.READER: serving.body_timeout_seconds,
        }
        self._pause = min(LONGEST_SWEEP_SECONDS, min(self._seconds.values()) / SWEEPS)
        self._open: dict[Connection, Seen] = {}
        self._timer: asyncio.TimerHandle | None = None

    def open(self, connection: Connection) -> bool:
        """Watch a connection.

        Returns:
            Whether there is room for it.
        """
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._timer = loop.call_later(self._pause, self._sweep, loop)
        if len(self._open) >= self.limit:
            self._make_room()
        self._open[connection] = Seen(Wait.HEAD, None, 0, loop.time())
        return len(self._open) <= self.limit

    def close(self, connection: Connection) -> None:
        """Watch a connection no longer."""
        self._open.pop(connection, None)

    def largest_upload(self) -> Connection | None:
        """The connection with the most bytes of a body whose end has not come; None if none has."""
        largest = max(self._open, key=lambda each: each.upload_bytes, default=None)
        if largest is None or not largest.upload_bytes:
            return None
        return largest

    def _make_room(self) -> None:
        """Close what has waited for its client for longest: a portion, as looking takes time.

        Where nearly all are busy, new connections are few, and have a moment for their request.
        """
        waiting = [
            (seen.since, place, wait == Wait.REQUEST)
            for place, (connection, seen) in enumerate(self._open.items())
            if (wait := connection.wait()[0]) in (Wait.REQUEST, Wait.HEAD)
        ]
        latest = asyncio.get_running_loop().time() - FIRST_SECONDS
        is_crowded = len(waiting) > SURPLUS
        connections = list(self._open)
        for since, place, is_idle in sorted(waiting)[: max(1, len(waiting) // PORTION)]:
            if is_crowded or is_idle or since < latest:
                connections[place].make_room()
                del self._open[connections[place]]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for connection, seen in list(self._open.items()):
            self._look(connection, seen, now)
        if self._open:
            self._timer = loop.call_later(self._pause, self._sweep, loop)

    def _look(self, connection: Connection, seen: Seen, now: float) -> None:
        wait, request, size = connection.wait()
        if wait != seen.wait or request is not seen.request:
            self._open[connection] = Seen(wait, request, size, now)
            return
        seconds = self._seconds.get(wait)
        if seconds is None or now - seen.since < seconds:
            return
        streams = wait in (Wait.BODY, Wait.READER)
        if streams and size - seen.size >= LEAST_BYTES_A_SECOND * seconds:
            seen.size, seen.since = size, now
        else:
            connection.expire(wait)


def open_files() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 2**31
    return soft
