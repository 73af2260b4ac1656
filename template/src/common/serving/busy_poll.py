"""Busy polling of the event loop: waking from sleep takes longer than a fast model does."""

import asyncio
import os
import time


class BusyPoll:
    """Keeps the running event loop awake for a moment, so that it checks its sockets all the time.

    Args:
        seconds: for how long after each `start`; 0 disables it.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._until = 0.0
        self._scheduled = False

    def start(self) -> None:
        """Keep the loop awake until `stop`, or until the time is over."""
        if self._seconds:
            self._until = time.perf_counter() + self._seconds
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._iterate)

    def stop(self) -> None:
        """Let the loop sleep again: there is enough work to keep it awake."""
        self._until = 0.0

    def _iterate(self) -> None:
        self._scheduled = time.perf_counter() < self._until
        if self._scheduled:
            os.sched_yield()  # another process may be about to send what the loop waits for
            self._loop.call_soon(self._iterate)
