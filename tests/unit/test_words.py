"""The words of messages to clients: values as JSON has them."""

import datetime as dt
from enum import IntEnum
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from common.words import kind_of, listing, shown, written


class Size(IntEnum):
    LARGE = 3


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (np.bool_(False), "false"),
        (5.1, "the number 5.1"),
        (np.float64(5.1), "the number 5.1"),
        (np.int8(3), "the number 3"),
        (np.array(2.5), "the number 2.5"),
        (Size.LARGE, "the number 3"),
        (2**63, "the number 9223372036854775808"),
        ("a", "the string 'a'"),
        (np.str_("a"), "the string 'a'"),
        ("\n\ud800", r"the string '\n\ud800'"),
        ("x" * 41, f"the string '{'x' * 40}'..."),
        (b"\xff", r"b'\xff'"),
        ({"a": 1}, "an object"),
        (MappingProxyType({}), "an object"),
        ([1, [2]], "a list of 2"),
        ((), "a list of 0"),
        (np.zeros((2, 3)), "an array of shape [2, 3]"),
        (dt.date(2024, 5, 1), "a value of type datetime.date"),
    ],
)
def test_a_value_in_the_words_of_json(value: Any, words: str) -> None:
    assert kind_of(value) == words
    assert shown(value) == words.removeprefix("the number ").removeprefix("the string ")


def test_a_number_of_many_digits_is_not_written_out() -> None:
    assert kind_of(10**5000) == "the number of 16610 bits"


def test_a_value_of_the_configuration_is_written_out() -> None:
    assert written({"a": [None, True, "x"]}) == '{"a": [null, true, "x"]}'
    assert [written(value) for value in (None, False, 4.0, "x")] == ["null", "false", "4.0", "'x'"]
    assert written(["x" * 100]) == f'["{"x" * 75}...'


def test_many_names_are_counted() -> None:
    assert listing(["a", "b"]) == "'a', 'b'"
    assert listing(list("abcdefghij")).endswith("'h' and 2 more")
