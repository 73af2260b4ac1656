"""Cases of one test, of which the default run takes a few."""

from collections.abc import Iterable
from typing import Any

import pytest


def first(count: int, cases: Iterable[Any]) -> list[Any]:
    """Cases as parameters: the first ones, and the others in the sweep.

    Args:
        count: how many are the first.
        cases: each a value, or a tuple of one for each parameter.
    """
    return [
        case if number < count else pytest.param(*_values(case), marks=pytest.mark.sweep)
        for number, case in enumerate(cases)
    ]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
