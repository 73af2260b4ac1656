"""Numbers as a body holds them, in a numpy array. A whole number never changes on the way.

| dtype in `config.yaml` | the array of a request's rows |
|---|---|
| a float | in that dtype, whatever the rows hold; null is NaN |
| a whole number, a boolean | in that dtype; as numpy makes it where a value is not of that dtype |
| null | as numpy makes it; objects where texts are among the numbers |

The exception is that of the model in memory: it too gets `np.array([[1.5, 2]])` as floats, although
it was fitted on whole numbers. But numpy makes floats of whole numbers beyond 2**53 beside smaller
ones, or beside null: these stay whole here, or are refused.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..words import kind_of

EXACT = 2.0**53  # from here on float64 lacks some whole numbers
LARGEST = 2**1023  # beyond it, some are no float
FLOATS, WHOLE = "fc", "biu"  # kinds of dtypes
Array = np.ndarray[Any, np.dtype[Any]]
DType = np.dtype[Any]


def numbers(values: Array, target: DType | None) -> Array:
    """Numbers and None, as an array of numbers.

    Args:
        values: an array of objects.
        target: the dtype that the model takes; None for any.

    Raises:
        InvalidInput: a value is not a number, or is a whole number that would change.
    """
    for item in values.flat:
        if is_refused(item, target):
            raise InvalidInput(refusal(_place_of(values, item), item, target))
    if target is not None and target.kind in FLOATS:
        return _floats(values)
    if all(_is_whole(item) for item in values.flat):
        return _whole(values)
    for item in values.flat:
        if _changes(item, target):
            raise InvalidInput(
                f"{_place_of(values, item)} is {kind_of(item)}, which changes beside null or a"
                " number that is not whole: send it in another request"
            )
    return _floats(values)


def is_number(item: Any) -> bool:
    return item is None or isinstance(item, (int, float, np.number, np.bool_))


def is_refused(item: Any, target: DType | None) -> bool:
    """Whether a value is no number that the dtype can hold, or null beside whole numbers."""
    if item is None:
        return target is not None and target.kind not in FLOATS
    return not is_number(item)


def are_exact(array: Array, target: DType | None) -> bool:
    """Whether `np.array` has made the numbers that the rows hold."""
    kind = array.dtype.kind
    if kind in WHOLE:
        return True
    if kind != "f":
        return False
    if target is not None and target.kind in FLOATS:
        return True
    with np.errstate(invalid="ignore"):
        return not (np.abs(array) >= EXACT).any()


def cast(array: Array, target: DType | None) -> Array:
    """An array in the model's dtype, where no value changes by more than rounding.

    Floats for a model that takes whole numbers stay floats, and whole numbers that do not fit stay
    as they are: the model in memory would get them like that.
    """
    if target is None or array.dtype == target:
        return array
    if array.dtype.kind == target.kind and target.kind in "mM":
        return array.astype(target)
    taken = WHOLE + FLOATS
    if target.kind != "c":
        taken = WHOLE + "f"
    if array.dtype.kind not in taken:
        raise InvalidInput(
            f"instances must hold numbers of dtype {target}, it is an array of dtype {array.dtype}"
        )
    if target.kind in WHOLE:
        return _cast_whole(array, target)
    if array.dtype.kind in WHOLE and target.itemsize < 8:
        array = array.astype(np.float64)  # as where a row beside it has a fraction
    with np.errstate(over="ignore"):
        return array.astype(target, copy=False)


def complexes(array: Array) -> Array:
    """An array of complex numbers, of one whose last axis is [re, im]."""
    if array.dtype.kind == "c":
        return array
    if array.ndim < 2 or array.shape[-1] != 2:
        raise InvalidInput("instances: a complex number must be [re, im], a list of two numbers")
    parts: Array = np.ascontiguousarray(array, dtype=np.float64)
    return parts.view(np.complex128)[..., 0]


def place(index: Iterable[int]) -> str:
    """Where an item of an array stands in a body."""
    return "instances" + "".join(f"[{part}]" for part in index)


def _place_of(values: Array, item: Any) -> str:
    return place(next(index for index, found in np.ndenumerate(values) if found is item))


def refusal(where: str, item: Any, target: DType | None) -> str:
    """The message for a value that is refused."""
    wanted = "a number or null"
    if target is not None and target.kind in WHOLE:
        wanted = "a number"
    came = kind_of(item)
    if item is None:
        came = f"null, which {target} does not have"
    return f"{where} must be {wanted}, it is {came}"


def _is_whole(item: Any) -> bool:
    return isinstance(item, (int, np.integer, np.bool_))


def _changes(item: Any, target: DType | None) -> bool:
    """Whether float64 lacks a whole number.

    JSON's numbers beyond 64 bits are decoded as floats, so that one may be behind a large float.
    """
    if item is None or -EXACT <= item <= EXACT:
        return False
    if _is_whole(item):
        return bool(abs(item) > LARGEST or int(float(item)) != item)
    return target is not None and bool(np.isfinite(item))


def _whole(values: Array) -> Array:
    """Whole numbers as int64, as uint64 where they need it."""
    for dtype in (np.int64, np.uint64):
        try:
            return values.astype(dtype)
        except OverflowError:
            continue
    raise InvalidInput(_too_large(values))


def _floats(values: Array) -> Array:
    """Numbers as float64; None is NaN."""
    try:
        return values.astype(np.float64)
    except OverflowError:
        raise InvalidInput(_too_large(values)) from None


def _too_large(values: Array) -> str:
    odd = max((item for item in values.flat if _is_whole(item)), key=abs)
    return f"{_place_of(values, odd)} does not fit 64 bits beside the others, it is {kind_of(odd)}"


def _cast_whole(array: Array, target: DType) -> Array:
    """Whole numbers in a dtype of such, or as they are where one does not fit."""
    if array.dtype.kind == "f":
        return array
    narrow = array.astype(target, copy=False)
    if np.array_equal(narrow, array):
        return narrow
    return array
