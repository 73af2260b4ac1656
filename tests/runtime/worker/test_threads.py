"""Short calls of a model use one thread, long ones use all threads."""

import pytest
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import threadpool_limits

from common import threads as threads_module
from common.threads import MOMENT_SECONDS, Threads, openmp


class Clock:
    """Stands still but for what a test adds, whatever else the machine does."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


time = Clock()


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "time", time)


class Counts:
    """Records the numbers of threads that a framework was given."""

    def __init__(self) -> None:
        self.now: int | None = None
        self.told = 0

    def __call__(self, count: int) -> None:
        self.now = count
        self.told += 1


def compute(
    threads: Threads, counts: Counts, seconds: float, rows: int = 1, calls: int = 1
) -> int | None:
    """The number of threads of the last of several calls."""
    during = None
    for _ in range(calls):
        with threads.computing(rows):
            during = counts.now
            time.sleep(seconds)
    return during


def test_short_calls_take_one_thread() -> None:
    counts = Counts()
    threads = Threads(counts, 4)
    assert compute(threads, counts, 0, calls=50) == 1
    assert counts.told == 1


def test_long_calls_take_all_and_short_ones_after_them_take_one_again() -> None:
    counts = Counts()
    threads = Threads(counts, 2)
    assert compute(threads, counts, 4 * MOMENT_SECONDS, calls=20) == 2
    assert compute(threads, counts, 0, calls=200) == 1


def test_the_more_threads_there_are_the_sooner_they_take_part() -> None:
    for count, expected in ((2, 1), (16, 16)):
        counts = Counts()
        threads = Threads(counts, count)
        assert compute(threads, counts, MOMENT_SECONDS / 5, calls=40) == expected


def test_many_rows_take_all_where_few_take_one() -> None:
    counts = Counts()
    threads = Threads(counts, 2)
    compute(threads, counts, MOMENT_SECONDS / 5, calls=40)
    assert compute(threads, counts, 0, rows=100) == 2
    assert compute(threads, counts, 0) == 1


def test_a_single_thread_stays_one() -> None:
    counts = Counts()
    threads = Threads(counts, 1)
    compute(threads, counts, 2 * MOMENT_SECONDS, calls=20)
    assert counts.told == 0


def test_a_failed_call_is_none_to_learn_from() -> None:
    counts = Counts()
    threads = Threads(counts, 2)
    for _ in range(20):
        with pytest.raises(ValueError), threads.computing(1):
            time.sleep(MOMENT_SECONDS)
            raise ValueError
    assert compute(threads, counts, 0) == 1


def test_pytorch_is_told() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        threads = Threads(torch.set_num_threads, 2)
        for _ in range(20):
            with threads.computing(1):
                time.sleep(4 * MOMENT_SECONDS)
        assert torch.get_num_threads() == 2
        with threads.computing(0):
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_openmp_is_told() -> None:
    with threadpool_limits(2, user_api="openmp"):
        most = _openmp_effective_n_threads()
        threads = openmp()
        with threads.computing(1):
            assert _openmp_effective_n_threads() == 1
        for _ in range(20):
            with threads.computing(1):
                time.sleep(4 * MOMENT_SECONDS)
        assert _openmp_effective_n_threads() == most
