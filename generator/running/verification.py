"""Answers compared with what a model in memory predicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .rows import rows

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Verification:
    """Whether a scaffold answers what it should.

    Attributes:
        expected: the predictions that it should answer.
        served: the predictions that it answered.
        difference: what differs, in words; None where nothing does.
        tolerance: how far a number might be off, as a part of the largest expected one; 0 asks for the last bit.
    """

    expected: list[Any] = field(repr=False)
    served: list[Any] = field(repr=False)
    difference: str | None
    tolerance: float = 0.0

    def __bool__(self) -> bool:
        return self.difference is None

    def __str__(self) -> str:
        exactness = f"to {self.tolerance:g} of the largest" if self.tolerance else "to the last bit"
        return self.difference or f"{len(self.expected)} predictions, equal {exactness}"


def compare(expected: Any, served: Any, tolerance: float = 0.0) -> Verification:
    """Hold an answer's predictions against what a model in memory predicts: equal to the last bit, or not.

    Args:
        expected: predictions as the model gives them (an array keeps its dtype), or as they were recorded; of several
            outputs a list with an object a row.
        served: `predictions` of an answer in JSON.
        tolerance: how far a number may be off, as a part of the largest expected one.
    """
    listed = expected if isinstance(expected, list) else rows(expected)
    return Verification(listed, served, _differ(expected, served, tolerance), tolerance)


def _differ(expected: Any, served: Any, tolerance: float) -> str | None:
    if isinstance(expected, list) and expected and isinstance(expected[0], Mapping):
        return _objects_differ(expected, served, tolerance)
    array = _as_array(expected)
    if array is None:
        return _parts_differ(expected, served, tolerance)
    return (
        _numbers_differ(array, served, tolerance)
        if array.dtype.kind in "biuf"
        else _values_differ(array, served)
    )


def _as_array(expected: Any) -> Array | None:
    """The predictions as one array; None where they are several things, which have shapes of their own."""
    try:
        array = np.asarray(expected)
    except ValueError:
        return None
    several = array.dtype == object and any(
        isinstance(item, (Mapping, list, np.ndarray)) for item in array.flat
    )
    return None if several else array


def _parts_differ(expected: Any, served: Any, tolerance: float) -> str | None:
    if isinstance(expected, Mapping):
        return _objects_differ([expected], [served], tolerance)
    if not isinstance(served, list) or len(served) != len(expected):
        return f"a list of {len(expected)} was expected, {str(served)[:200]} came"
    differences = (
        _differ(wanted, came, tolerance) for wanted, came in zip(expected, served, strict=True)
    )
    return next((f"[{index}]: {found}" for index, found in enumerate(differences) if found), None)


def _objects_differ(expected: list[Any], served: Any, tolerance: float) -> str | None:
    """Output by output, as each has its own dtype and its own size."""
    names = set(expected[0])
    if len(served) != len(expected) or any(
        not isinstance(row, Mapping) or set(row) != names for row in served
    ):
        wanted = ", ".join(map(str, expected[0]))
        return f"{len(expected)} objects with {wanted} were expected, {str(served)[:200]} came"
    for name in expected[0]:
        difference = _differ(
            [row[name] for row in expected], [row[name] for row in served], tolerance
        )
        if difference is not None:
            return f"{name!r}: {difference}"
    return None


def _numbers_differ(expected: Array, served: Any, tolerance: float) -> str | None:
    """A float32 is written with the digits that make it the same float32 again: so the answer is read in its dtype."""
    try:
        values = np.asarray(served)
        came = (values.astype(float) if values.dtype == object else values).astype(expected.dtype)
    except (TypeError, ValueError):
        return f"numbers were expected, {served!r} came"
    if came.shape != expected.shape:
        return f"predictions of shape {list(expected.shape)} were expected, {list(came.shape)} came"
    finite = np.isfinite(expected) if expected.dtype.kind == "f" else np.ones(expected.shape, bool)
    odd = np.argwhere(np.where(finite, _apart(expected, came, finite, tolerance), came == came))
    return (
        None
        if not len(odd)
        else _difference(tuple(odd[0]), expected[tuple(odd[0])], came[tuple(odd[0])])
    )


def _apart(expected: Array, came: Array, finite: Array, tolerance: float) -> Array:
    """Which numbers are further apart than the tolerance lets them be."""
    if not tolerance or expected.dtype.kind != "f" or not finite.any():
        return np.asarray(expected != came)
    allowed = tolerance * float(np.abs(expected[finite]).max())
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.abs(expected.astype(float) - came.astype(float)) <= allowed))


def _values_differ(expected: Array, served: Any) -> str | None:
    came = np.empty(expected.shape, dtype=object)
    try:
        came[...] = np.asarray(served, dtype=object)
    except ValueError:
        return f"predictions of shape {list(expected.shape)} were expected, {served!r} came"
    for index, wanted in np.ndenumerate(expected):
        if wanted != came[index]:
            return _difference(index, wanted, came[index])
    return None


def _difference(index: tuple[int, ...], wanted: Any, came: Any) -> str:
    place = "".join(f"[{part}]" for part in index)
    return f"predictions{place} should be {_shown(wanted)}, it is {_shown(came)}"


def _shown(value: Any) -> str:
    """As it would stand in JSON: a number in the digits of its dtype."""
    return repr(value) if isinstance(value, str) else str(value)
