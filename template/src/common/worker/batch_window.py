"""The batching window: how long a worker waits for more requests before its next call of `predict`.

Clients that wait for an answer send their next request soon after it. A worker that does not wait
serves two groups of clients in turn, and each group waits for the other's call. Where a call has a
high fixed cost, a short wait makes one group of both.
"""

import select
import socket
import time
from collections.abc import Iterator

from ..link.frames import Frame, Splitter, receive

SHARE = 0.5  # the window, as a share of a call's fixed cost
GAP = 0.25  # the longest wait for the next request after one has come, as a share of the window
MIN_FIXED_SECONDS = 0.001  # with a lower fixed cost there is no window
MAX_SECONDS = 0.01  # clients that need longer are far away, or gone
DECAY = 0.9  # the weight of a call, relative to the one after it
MIN_FILLED = 1 / 8  # a window that brought a smaller share of the wanted requests did not pay
PAUSE_CALLS = 16  # calls without a window after one that did not pay


class BatchWindow:
    """Estimates the fixed cost of a call of `predict` and chooses the window from it."""

    def __init__(self) -> None:
        # Sums over past calls, with weights that decay.
        self._calls = self._requests = self._seconds = self._squares = self._products = 0.0
        self._pause = 0

    def observe(self, requests: int, seconds: float) -> None:
        """Record that a batch of this many requests took this long."""
        self._calls = DECAY * self._calls + 1
        self._requests = DECAY * self._requests + requests
        self._seconds = DECAY * self._seconds + seconds
        self._squares = DECAY * self._squares + requests * requests
        self._products = DECAY * self._products + requests * seconds

    def collect(
        self, connection: socket.socket, splitter: Splitter, wanted: int
    ) -> Iterator[list[Frame]]:
        """Yield frames as they arrive, until enough have come or the window closes.

        Args:
            connection: the socket to read.
            splitter: holds the part of a frame that has arrived before.
            wanted: how many frames are enough.

        Raises:
            EOFError: the other side has closed.
        """
        if wanted <= 0:
            return
        seconds = self.next_seconds()
        if not seconds:
            return
        came, end = 0, time.perf_counter() + seconds
        while came < wanted and (left := end - time.perf_counter()) > 0:
            if came:
                left = min(left, GAP * seconds)
            if not select.select([connection], [], [], left)[0]:
                break
            frames = receive(connection, splitter)
            came += len(frames)
            yield frames
        if came < MIN_FILLED * wanted:
            self._pause = PAUSE_CALLS

    def next_seconds(self) -> float:
        """The window before the next call; 0 for none. Counts a call where windows are paused."""
        if self._pause:
            self._pause -= 1
            return 0.0
        fixed = self.fixed_seconds()
        if fixed < MIN_FIXED_SECONDS:
            return 0.0
        return min(SHARE * fixed, MAX_SECONDS)

    def fixed_seconds(self) -> float:
        """The fixed cost of a call, by least squares over the number of its requests.

        While all calls have about the same size, their whole time counts as fixed.
        """
        requests, seconds = self._requests / self._calls, self._seconds / self._calls
        variance = self._squares / self._calls - requests * requests
        if variance < 0.01 * requests * requests:
            return seconds
        slope = (self._products / self._calls - requests * seconds) / variance
        return seconds - max(slope, 0.0) * requests
