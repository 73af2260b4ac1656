"""Many rows of numbers as an array: as `np.array` makes it, in less time and memory.

`np.array` looks at each value twice, and beside one text it makes a text of every number.
"""

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

from ..errors import InvalidInput
from .numbers import FLOATS, WHOLE, Array, DType, are_exact, is_refused, place, refusal
from .packed import packed

_NULL = type(None)
_NUMBERS: set[type] = {int, float, bool, _NULL}
_OTHERS: set[type] = {str, bytes, dict}


def many(rows: list[Any], target: DType | None) -> Array | None:
    """Rows that are numbers, or lists of as many numbers each; None for any other.

    Args:
        rows: the rows.
        target: the dtype that the model takes; None for any.

    Raises:
        InvalidInput: a value is no number, and the model takes numbers.
    """
    if (array := packed(rows)) is not None:
        return array if are_exact(array, target) else None
    shape: tuple[int, ...] = (len(rows),)
    kinds = set(map(type, rows))
    if kinds == {list}:
        widths = set(map(len, rows))
        if len(widths) > 1:
            return None
        shape = (len(rows), *widths)
        kinds = set(map(type, chain.from_iterable(rows)))
    if target is not None and kinds <= _NUMBERS | _OTHERS:
        whole = target.kind in WHOLE
        if kinds & _OTHERS or (whole and _NULL in kinds):
            _refuse(rows, shape, target)
    dtype = _dtype(kinds, target)
    if dtype is None:
        return None
    try:
        array = np.fromiter(_values(rows, shape), dtype, int(np.prod(shape)))
    except (OverflowError, TypeError):
        return None
    if not are_exact(array, target):
        return None
    return array.reshape(shape)


def _dtype(kinds: set[type], target: DType | None) -> type | None:
    """What numpy makes of numbers of these types; None where it depends on the numbers."""
    if kinds == {int}:
        return np.int64
    if kinds in ({float}, {int, float}):
        return np.float64
    takes_null = target is None or target.kind in FLOATS
    if takes_null and _NULL in kinds and kinds <= _NUMBERS:
        return np.float64
    return None


def _values(rows: list[Any], shape: tuple[int, ...]) -> Iterable[Any]:
    if len(shape) == 1:
        return rows
    return chain.from_iterable(rows)


def _refuse(rows: list[Any], shape: tuple[int, ...], target: DType) -> None:
    """Raise InvalidInput for the first value that the model does not take."""
    for index, item in enumerate(_values(rows, shape)):
        if is_refused(item, target):
            at = [int(part) for part in np.unravel_index(index, shape)]
            raise InvalidInput(refusal(place(at), item, target))
