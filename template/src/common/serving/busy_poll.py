"""An event loop that is kept awake for a moment: to wake from sleep takes longer than a fast model does."""

import asyncio
import os
import time


class BusyPoll:
    """Has the running loop look for what has come, again and again, instead of sleeping until it does.

    Args:
        seconds: for how long after each `start`; 0 leaves the loop to sleep.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._until = 0.0
        self._runs = False

    def start(self) -> None:
        """Stay awake from now on, until `stop` or until the time is over."""
        if self._seconds:
            self._until = time.perf_counter() + self._seconds
            if not self._runs:
                self._runs = True
                self._loop.call_soon(self._round)

    def stop(self) -> None:
        """There is enough to do without."""
        self._until = 0.0

    def _round(self) -> None:
        self._runs = time.perf_counter() < self._until
        if self._runs:
            os.sched_yield()  # whoever is to send what comes next goes first
            self._loop.call_soon(self._round)
