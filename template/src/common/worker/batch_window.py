"""How long a worker waits for requests that would share the next call of `predict`.

Clients that wait for their answers come back soon after them. A worker that begins with what has arrived meanwhile
serves two groups in turn, each of which waits for the other's call; where a call costs much however few requests it
has, a short wait makes one group of both.
"""

import select
import socket
import time
from collections.abc import Iterator

from ..link.frames import Frame, Splitter, receive

SHARE = 0.5  # of a call's fixed cost: the most that is waited
GAP = 0.25  # of that: so long after one request no other is expected
LEAST_SECONDS = 0.001  # a fixed cost that is worth it
MOST_SECONDS = 0.01  # clients that need longer are far away, or gone
DECAY = 0.9  # what a call counts for after the next one
FEW = 1 / 8  # of those that are wanted: a wait for so few did not pay
PAUSE_CALLS = 16  # without a wait, after one that did not pay


class Patience:
    """Learns from the calls what one costs by itself, beside what each of its requests adds."""

    def __init__(self) -> None:
        self._calls = self._requests = self._seconds = self._squares = self._products = 0.0
        self._pause = 0

    def observe(self, requests: int, seconds: float) -> None:
        """So many requests that came together took so long."""
        self._calls = DECAY * self._calls + 1
        self._requests = DECAY * self._requests + requests
        self._seconds = DECAY * self._seconds + seconds
        self._squares = DECAY * self._squares + requests * requests
        self._products = DECAY * self._products + requests * seconds

    def others(
        self, connection: socket.socket, splitter: Splitter, wanted: int
    ) -> Iterator[list[Frame]]:
        """So many frames more, as they come, or those that come while it pays to wait.

        Args:
            connection: the socket to read.
            splitter: what holds the part of a frame that has arrived before.
            wanted: how many may come.

        Raises:
            EOFError: the other side has closed.
        """
        seconds = self._seconds_now() if wanted > 0 else 0.0
        if not seconds:
            return
        came, end = 0, time.perf_counter() + seconds
        while came < wanted and (left := end - time.perf_counter()) > 0:
            if not select.select([connection], [], [], min(left, GAP * seconds) if came else left)[
                0
            ]:
                break
            frames = receive(connection, splitter)
            came += len(frames)
            yield frames
        if came < FEW * wanted:
            self._pause = PAUSE_CALLS

    def _seconds_now(self) -> float:
        """The most to wait; 0 where it does not pay."""
        if self._pause:
            self._pause -= 1
            return 0.0
        fixed = self._fixed()
        return min(SHARE * fixed, MOST_SECONDS) if fixed >= LEAST_SECONDS else 0.0

    def _fixed(self) -> float:
        """Seconds of a call that its requests do not account for, by least squares; all, until calls differ in size."""
        requests, seconds = self._requests / self._calls, self._seconds / self._calls
        spread = self._squares / self._calls - requests * requests
        if spread < 0.01 * requests * requests:
            return seconds
        slope = (self._products / self._calls - requests * seconds) / spread
        return seconds - max(slope, 0.0) * requests
