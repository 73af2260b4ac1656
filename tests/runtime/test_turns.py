"""A function that sends values from a thread, one whenever it is asked."""

import threading
from collections.abc import Callable

import pytest

from common.pipelines import Left, in_turns


def test_it_runs_only_while_it_is_asked() -> None:
    sent: list[str] = []

    def work(send: Callable[[str], None]) -> None:
        for letter in "abc":
            sent.append(letter)
            send(letter)

    values = in_turns(work)
    assert sent == []
    assert next(values) == "a" and sent == ["a"]
    assert list(values) == ["b", "c"] and sent == ["a", "b", "c"]


def test_it_ends_where_nobody_asks_any_more() -> None:
    ended: list[type[BaseException]] = []

    def work(send: Callable[[str], None]) -> None:
        try:
            while True:
                send("a")
        except Left as error:
            ended.append(type(error))
            raise

    before = threading.active_count()
    values = in_turns(work)
    next(values)
    values.close()  # type: ignore[attr-defined]
    assert ended == [Left] and threading.active_count() == before
    in_turns(work).close()  # type: ignore[attr-defined]
    assert len(ended) == 1, "it has not begun"


def test_its_error_is_that_of_who_asks() -> None:
    def work(send: Callable[[str], None]) -> None:
        send("a")
        raise KeyError("b")

    values = in_turns(work)
    assert next(values) == "a"
    with pytest.raises(KeyError, match="b"):
        next(values)
