"""How long a worker window for requests to share a call: where it pays, and for whom."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from common.link.frames import Kind, Request, Splitter
from common.worker import batch_window
from common.worker.batch_window import MAX_SECONDS, PAUSE_CALLS, BatchWindow

FRAME = Request(1, Kind.JSON, "", b"{}").pack()
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def others(window: BatchWindow, ours: socket.socket, wanted: int) -> list[Any]:
    return [frame for frames in window.collect(ours, Splitter(), wanted) for frame in frames]


def learned(fixed: float, each: float, sizes: tuple[int, ...] = (1, 4, 16, 32)) -> BatchWindow:
    window = BatchWindow()
    for size in sizes * 20:
        window.observe(size, fixed + each * size)
    return window


@pytest.mark.parametrize("fixed", [0.001, 0.004, 0.03])
@pytest.mark.parametrize("each", [0.0, 0.0001, 0.01])
def test_what_a_call_costs_by_itself_is_learned(fixed: float, each: float) -> None:
    assert learned(fixed, each).fixed_seconds() == pytest.approx(fixed)


def test_calls_of_one_size_count_as_fixed() -> None:
    assert learned(0.001, 0.0001, (16,)).fixed_seconds() == pytest.approx(0.0026)


@pytest.mark.parametrize(("fixed", "expected"), [(0.0002, 0), (0.004, 0.002), (60, MAX_SECONDS)])
def test_the_wait_is_a_share_of_that(fixed: float, expected: float) -> None:
    assert learned(fixed, 0.0001).next_seconds() == pytest.approx(expected)


def test_a_model_whose_rows_cost_all_is_not_waited_for(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(FRAME)
    assert others(learned(0.0, 0.01), ours, 1) == []


def test_what_is_there_is_taken_without_a_wait(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(3 * FRAME)
    window = learned(60, 0.0)
    assert others(window, ours, 0) == []
    assert others(window, ours, 3) == 3 * [FRAME]


def test_who_comes_in_time_is_waited_for(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pair
    monkeypatch.setattr(batch_window, "MAX_SECONDS", 30)
    timer = threading.Timer(0.05, lambda: theirs.sendall(FRAME))
    timer.start()
    assert others(learned(600, 0.0), ours, 1) == [FRAME]
    timer.join()


def test_who_comes_is_handed_on_before_the_next_one_comes(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    monkeypatch.setattr(batch_window, "MAX_SECONDS", 30)
    coming = learned(600, 0.0).collect(ours, Splitter(), 2)
    for _ in range(2):
        theirs.sendall(FRAME)
        assert next(coming) == [FRAME]
    assert list(coming) == []


def test_after_a_wait_for_nobody_there_is_none_for_a_while(pair: Pair) -> None:
    ours, theirs = pair
    window = learned(0.004, 0.0)
    assert others(window, ours, 4) == []
    theirs.sendall(FRAME)
    assert [others(window, ours, 4) for _ in range(PAUSE_CALLS)] == PAUSE_CALLS * [[]]
    assert others(window, ours, 4) == [FRAME]


def test_a_wait_that_brought_some_was_worth_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pair
    monkeypatch.setattr(batch_window, "MAX_SECONDS", 0.4)
    window = learned(600, 0.0)
    for _ in range(2):
        theirs.sendall(FRAME)
        assert others(window, ours, 8) == [FRAME]


def test_a_server_that_is_gone_is_told(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    with pytest.raises(EOFError):
        others(learned(60, 0.0), ours, 1)
