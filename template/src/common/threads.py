"""How many threads compute a call of a model.

To have other threads take part costs tenths of a millisecond: they sleep between calls. And where there are two
processors, they keep the server off the one that it needs. What is done in a moment, one thread does sooner alone.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MOMENT_SECONDS = 0.005  # of a call by one thread, where a second could help; the more could help, the sooner they do
WEIGHT = 0.1  # of the last call, beside all before it


class Threads:
    """One thread for calls that it does in a moment, all of them for others; learns from the calls which those are.

    Args:
        set_count: tells the framework how many threads a call may take.
        count: how many there are.
    """

    def __init__(self, set_count: Callable[[int], object], count: int) -> None:
        self._set_count = set_count
        self._most = self._count = count
        self._row_seconds = 0.0  # of one thread

    @contextmanager
    def computing(self, rows: int) -> Iterator[None]:
        """Has the block, which computes so many rows, do so with as many threads as suit it."""
        alone = rows * self._row_seconds * (self._most - 1) < MOMENT_SECONDS
        if self._count != (count := 1 if alone else self._most):
            self._set_count(count)
            self._count = count
        start = time.perf_counter()
        yield
        took = (time.perf_counter() - start) * count
        self._row_seconds += WEIGHT * (took / max(rows, 1) - self._row_seconds)


def openmp() -> Threads:
    """The threads of every OpenMP that is loaded, by threadpoolctl, which scikit-learn needs."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]

    libraries = ThreadpoolController().select(user_api="openmp").lib_controllers

    def set_count(count: int) -> None:
        for library in libraries:
            library.set_num_threads(count)

    return Threads(set_count, max((library.num_threads for library in libraries), default=1))
