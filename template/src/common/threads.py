"""How many threads a call of the model uses.

A second thread costs tenths of a millisecond to wake, and on two processors it takes the one that
the server needs. A short call is faster on one thread.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A call uses all threads if one thread would take longer than this, divided by the number of the
# other threads.
MOMENT_SECONDS = 0.005
WEIGHT = 0.1  # the weight of the last call in the moving average


class Threads:
    """Uses one thread for short calls and all threads for long ones, by the time of past calls.

    Args:
        set_count: tells the framework how many threads a call may use.
        count: how many there are.
    """

    def __init__(self, set_count: Callable[[int], object], count: int) -> None:
        self._set_count = set_count
        self._most = self._count = count
        self._row_seconds = 0.0  # moving average of one thread's seconds per row

    @contextmanager
    def computing(self, rows: int) -> Iterator[None]:
        """Run the block, which computes this many rows, with as many threads as suit it."""
        count = self.choose(rows)
        start = time.perf_counter()
        yield
        took = (time.perf_counter() - start) * count
        self._row_seconds += WEIGHT * (took / max(rows, 1) - self._row_seconds)

    def choose(self, rows: int) -> int:
        """Use as many threads from now on as suit this many rows."""
        count = self._most
        if rows * self._row_seconds * (self._most - 1) < MOMENT_SECONDS:
            count = 1
        if count != self._count:
            self._set_count(count)
            self._count = count
        return count


def openmp() -> Threads:
    """The threads of every OpenMP library that is loaded.

    Needs threadpoolctl, a dependency of scikit-learn.
    """
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

    libraries = ThreadpoolController().select(user_api="openmp").lib_controllers

    def set_count(count: int) -> None:
        for library in libraries:
            library.set_num_threads(count)

    return Threads(set_count, max((library.num_threads for library in libraries), default=1))
