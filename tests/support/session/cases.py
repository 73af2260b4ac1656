"""Cases of one test, of which the default run takes a few."""

from collections.abc import Iterable
from typing import Any

import pytest


def first(count: int, cases: Iterable[Any]) -> list[Any]:
    """Cases as parameters: the first ones, and the others in the sweep."""
    return [
        case if number < count else pytest.param(case, marks=pytest.mark.sweep)
        for number, case in enumerate(cases)
    ]
