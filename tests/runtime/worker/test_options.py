"""The keys of a request beside `instances`: typos of those that are known, and wrong values."""

from typing import Any

import numpy as np
import pytest

from common.errors import InvalidInput
from common.schema import Parameter
from common.worker.options import FLAGS, Options

KNOWN = Options(FLAGS["sklearn"])


@pytest.mark.parametrize(
    "key", ["probabilites", "probablities", "Probabilities", "probabilties", "probabilities "]
)
def test_a_typo_of_a_known_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        KNOWN.check({"instances": [[1]], key: True})
    assert str(raised.value) == f'"{key}" is not known: write "probabilities"'


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("false", "the string 'false'"),
        (1, "the number 1"),
        (0.0, "the number 0.0"),
        ([], "a list of 0"),
        ({}, "an object"),
    ],
)
def test_a_known_key_is_true_or_false(value: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        KNOWN.check({"instances": [[1]], "probabilities": value})
    assert str(raised.value) == f'"probabilities" must be true or false, it is {words}'


@pytest.mark.parametrize("value", [True, False, None, np.True_])
def test_a_known_key_passes(value: Any) -> None:
    KNOWN.check({"instances": [[1]], "probabilities": value})


@pytest.mark.parametrize(
    "key", ["probability", "proba", "problem", "user", "", b"probabilites", 3, "x" * 100_000]
)
def test_any_other_key_is_the_owners(key: Any) -> None:
    KNOWN.check({"instances": [[1]], key: "false"})


def test_where_no_key_is_known_all_are_the_owners() -> None:
    Options().check({"instances": [[1]], "probabilites": "all", "probabilities": "all"})


PARAMETERS = Options(
    (), [Parameter("k", "integer"), Parameter("return_std", "boolean"), Parameter("rest")]
)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1], '"parameters" must be an object, it is a list of 1'),
        (
            {"q": 1},
            "\"parameters\" has \"q\", which is not known; known are 'k', 'return_std', 'rest'",
        ),
        ({"k": 1.5}, '"k" must be a whole number, it is the number 1.5'),
        ({"k": True}, '"k" must be a whole number, it is true'),
        ({"return_std": 1}, '"return_std" must be true or false, it is the number 1'),
    ],
)
def test_a_parameter_that_is_unknown_or_of_another_type_is_refused(given: Any, said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        PARAMETERS.check({"instances": [[1]], "parameters": given})
    assert str(raised.value).startswith(said)


def test_a_parameter_beside_the_rows_is_checked_too() -> None:
    with pytest.raises(InvalidInput, match='"k" must be a whole number'):
        PARAMETERS.check({"instances": [[1]], "k": "3"})


@pytest.mark.parametrize("given", [None, {}, {"k": 3, "return_std": True}, {"rest": [1]}])
def test_a_parameter_passes(given: Any) -> None:
    PARAMETERS.check({"instances": [[1]], "parameters": given})
