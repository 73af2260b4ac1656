"""Compares predictions of a scaffold with the expected ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .rows import rows

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Verification:
    """Whether a scaffold's predictions are the expected ones.

    Attributes:
        expected: the expected predictions.
        served: the scaffold's predictions.
        difference: what differs, in words; None if nothing does.
        tolerance: how far a number might be off, relative to the largest expected one; 0 requires
            equality to the last bit.
    """

    expected: list[Any] = field(repr=False)
    served: list[Any] = field(repr=False)
    difference: str | None
    tolerance: float = 0.0

    def __bool__(self) -> bool:
        return self.difference is None

    def __str__(self) -> str:
        if self.difference is not None:
            return self.difference
        equal = f"{len(self.expected)} predictions, equal"
        if self.tolerance:
            return f"{equal} to {self.tolerance:g} of the largest"
        return f"{equal} to the last bit"


def compare(expected: Any, served: Any, tolerance: float = 0.0) -> Verification:
    """Compare the predictions in an answer with the expected ones.

    Args:
        expected: predictions as the model gives them (an array keeps its dtype), or as they were
            recorded. For several outputs it is a list with one object per row.
        served: `predictions` of an answer in JSON.
        tolerance: how far a number may be off, relative to the largest expected one.
    """
    difference = _differ(expected, served, tolerance)
    return Verification(rows(expected), served, difference, tolerance)


def _differ(expected: Any, served: Any, tolerance: float) -> str | None:
    if isinstance(expected, list) and expected and isinstance(expected[0], Mapping):
        return _objects_differ(expected, served, tolerance)
    array = _as_array(expected)
    if array is None:
        return _parts_differ(expected, served, tolerance)
    if array.dtype.kind in "biuf":
        return _numbers_differ(array, served, tolerance)
    return _values_differ(array, served)


def _as_array(expected: Any) -> Array | None:
    """The predictions as one array; None if there are several outputs."""
    try:
        array = np.asarray(expected)
    except ValueError:
        return None
    if array.dtype == object and any(
        isinstance(item, (Mapping, list, np.ndarray)) for item in array.flat
    ):
        return None
    return array


def _parts_differ(expected: Any, served: Any, tolerance: float) -> str | None:
    if isinstance(expected, Mapping):
        return _objects_differ([expected], [served], tolerance)
    if not isinstance(served, list) or len(served) != len(expected):
        return f"a list of {len(expected)} was expected, not {str(served)[:200]}"
    for index, (wanted, given) in enumerate(zip(expected, served, strict=True)):
        difference = _differ(wanted, given, tolerance)
        if difference is not None:
            return f"[{index}]: {difference}"
    return None


def _objects_differ(expected: list[Any], served: Any, tolerance: float) -> str | None:
    """Output by output: each has its own dtype and its own size."""
    names = set(expected[0])
    if len(served) != len(expected) or not all(_has(row, names) for row in served):
        wanted = ", ".join(map(str, expected[0]))
        return f"{len(expected)} objects with {wanted} were expected, not {str(served)[:200]}"
    for name in expected[0]:
        column, given = ([row[name] for row in part] for part in (expected, served))
        difference = _differ(column, given, tolerance)
        if difference is not None:
            return f"{name!r}: {difference}"
    return None


def _has(row: Any, names: set[Any]) -> bool:
    return isinstance(row, Mapping) and set(row) == names


def _numbers_differ(expected: Array, served: Any, tolerance: float) -> str | None:
    """Compare in the expected dtype: JSON has enough digits to distinguish its numbers."""
    try:
        given = _numbers(served).astype(expected.dtype)
    except (TypeError, ValueError):
        return f"numbers were expected, not {served!r}"
    if given.shape != expected.shape:
        return f"predictions of shape {list(expected.shape)} were expected, not {list(given.shape)}"
    finite = np.isfinite(expected)
    wrong = np.where(finite, _apart(expected, given, finite, tolerance), given == given)
    return _first_difference(expected, given, wrong)


def _numbers(served: Any) -> Array:
    """An answer's numbers as an array, with NaN for null."""
    values = np.asarray(served)
    if values.dtype == object:
        return values.astype(float)
    return values


def _apart(expected: Array, given: Array, finite: Array, tolerance: float) -> Array:
    """Which numbers are further apart than the tolerance allows."""
    if not tolerance or expected.dtype.kind != "f" or not finite.any():
        return np.asarray(expected != given)
    allowed = tolerance * float(np.abs(expected[finite]).max())
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.abs(expected.astype(float) - given.astype(float)) <= allowed))


def _values_differ(expected: Array, served: Any) -> str | None:
    given = np.empty(expected.shape, dtype=object)
    try:
        given[...] = np.asarray(served, dtype=object)
    except ValueError:
        return f"predictions of shape {list(expected.shape)} were expected, not {served!r}"
    wrong = np.empty(expected.shape, dtype=bool)
    for index, wanted in np.ndenumerate(expected):
        wrong[index] = wanted != given[index]
    return _first_difference(expected, given, wrong)


def _first_difference(expected: Array, given: Array, wrong: Array) -> str | None:
    places = np.argwhere(wrong)
    if not len(places):
        return None
    index = tuple(places[0])
    place = "".join(f"[{part}]" for part in index)
    wanted, came = _shown(expected[index]), _shown(given[index])
    return f"predictions{place} should be {wanted}, it is {came}"


def _shown(value: Any) -> str:
    """As in JSON: a text in quotes, a number in the digits of its dtype."""
    if isinstance(value, str):
        return repr(value)
    return str(value)
