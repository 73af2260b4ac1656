"""The keys of a request beside `instances`: typos of those that are known, and wrong values."""

from typing import Any

import numpy as np
import pytest

from common.errors import InvalidInput
from common.worker.options import OPTIONS, check_options

KNOWN = OPTIONS["sklearn"]


@pytest.mark.parametrize(
    "key", ["probabilites", "probablities", "Probabilities", "probabilties", "probabilities "]
)
def test_a_typo_of_a_known_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        check_options({"instances": [[1]], key: True}, KNOWN)
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
        check_options({"instances": [[1]], "probabilities": value}, KNOWN)
    assert str(raised.value) == f'"probabilities" must be true or false, it is {words}'


@pytest.mark.parametrize("value", [True, False, None, np.True_])
def test_a_known_key_passes(value: Any) -> None:
    check_options({"instances": [[1]], "probabilities": value}, KNOWN)


@pytest.mark.parametrize(
    "key", ["probability", "proba", "problem", "user", "", b"probabilites", 3, "x" * 100_000]
)
def test_any_other_key_is_the_owners(key: Any) -> None:
    check_options({"instances": [[1]], key: "false"}, KNOWN)


def test_where_no_key_is_known_all_are_the_owners() -> None:
    check_options({"instances": [[1]], "probabilites": "all", "probabilities": "all"}, ())
