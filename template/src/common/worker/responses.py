"""Responses of `predict`: cut by rows, and compared."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import bodies

ROW_KEYS = ("predictions", "probabilities")
SCALARS = (str, bool, int, float, type(None))
SHOWN = 80  # characters of a value in a message


class Uncut(Exception):
    """The response to several requests cannot be cut by rows."""


def cut(response: Any, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Cut the response to several requests by rows.

    Only an array or a list has rows. A tuple holds several outputs, however many there are.

    Args:
        response: what one call of `predict` returned for all of them.
        counts: how many rows each request has.

    Raises:
        Uncut: it holds something that is not one value per row.
    """
    if not isinstance(response, dict) or "predictions" not in response:
        raise Uncut("predict returned no object with predictions")
    parts: list[dict[str, Any]] = [{} for _ in counts]
    for key, value in response.items():
        for part, piece in zip(parts, _pieces(key, value, counts), strict=True):
            part[key] = piece
    return parts


def _pieces(key: str, value: Any, counts: Sequence[int]) -> list[Any]:
    """One piece of a response's value for each request: its rows, or the same scalar for all."""
    if key not in ROW_KEYS and isinstance(value, SCALARS):
        return [value] * len(counts)
    if key in ROW_KEYS and _length(value) == sum(counts):
        return list(_slices(value, counts))
    fix = "make it a list with one entry a row"
    if key not in ROW_KEYS:
        fix = f"put one entry a row into {' or '.join(ROW_KEYS)}, or add it in postprocess"
    raise Uncut(
        f"{key!r} of its response cannot be cut by rows, it is {_form(value)} for"
        f" {sum(counts)} rows; {fix}"
    )


def _length(value: Any) -> int | None:
    """The number of rows; None if the value has no rows."""
    if isinstance(value, list) or (isinstance(value, np.ndarray) and value.ndim):
        return len(value)
    return None


def _form(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {list(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _slices(value: Any, counts: Sequence[int]) -> Iterator[Any]:
    start = 0
    for count in counts:
        yield value[start : start + count]
        start += count


# ---- comparing ----


@dataclass(frozen=True)
class Difference:
    """Two responses differ here.

    Attributes:
        place: where, as in `predictions[0][1]`.
        one, other: the values.
        distance: how far apart two floats are; infinity for all else.
        dtype: the floats' dtype; `float` for Python's own.
    """

    place: str
    one: Any
    other: Any
    distance: float = math.inf
    dtype: str = "float"


def kept(response: Any) -> Any:
    """A copy of a response: the owner may use the same arrays for the next one."""
    return copy.deepcopy(response)


def differences(one: Any, other: Any, place: str = "") -> Iterator[Difference]:
    """Where two responses differ in any bit; of an array only the largest difference."""
    if isinstance(one, np.generic) and isinstance(other, np.generic):
        one, other = np.asarray(one), np.asarray(other)
    if type(one) is not type(other) or _outline(one) != _outline(other):
        yield Difference(place, one, other)
    elif isinstance(one, np.ndarray) and one.dtype != object:
        yield from _of_arrays(one, other, place)
    elif isinstance(one, dict):
        for key, part in one.items():
            yield from differences(part, other[key], f"{place}.{key}".lstrip("."))
    elif isinstance(one, (list, tuple, np.ndarray)):
        for index, (part, counterpart) in enumerate(zip(one, other, strict=True)):
            yield from differences(part, counterpart, f"{place}[{index}]")
    elif isinstance(one, float):
        yield from _of_arrays(np.asarray(one), np.asarray(other), place, "float")
    elif not _equal(one, other):
        yield Difference(place, one, other)


def _outline(value: Any) -> Any:
    """What two containers must share before their parts can be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, (list, tuple)):
        return len(value)
    return None


def _of_arrays(one: Any, other: Any, place: str, dtype: str | None = None) -> Iterator[Difference]:
    if one.tobytes() == other.tobytes():
        return
    if one.dtype.kind not in "fc":
        wrong = one != other
        distances = np.where(wrong, np.inf, 0.0)
    else:
        with np.errstate(invalid="ignore", over="ignore"):
            distances = np.abs(one.astype(np.complex128) - other.astype(np.complex128))
            same = (one == other) | ((one != one) & (other != other))
        distances = np.where(same, 0.0, np.where(np.isfinite(distances), distances, np.inf))
    worst = np.unravel_index(int(np.argmax(distances)), np.shape(distances))
    if one.dtype.kind not in "fc" and not distances[worst]:
        return
    index = "".join(f"[{part}]" for part in worst)
    found = dtype or one.dtype.name
    yield Difference(f"{place}{index}", one[worst], other[worst], float(distances[worst]), found)


def _equal(one: Any, other: Any) -> bool:
    try:
        if one == other:
            return True
        return bodies.json_encode(one) == bodies.json_encode(other)
    except Exception:  # objects that cannot be compared
        return False


def largest(value: Any) -> float:
    """The largest finite number in a response, without its sign; 0 if there is none."""
    if isinstance(value, dict):
        return max(map(largest, value.values()), default=0.0)
    if isinstance(value, (list, tuple)):
        return max(map(largest, value), default=0.0)
    if isinstance(value, np.ndarray) and value.dtype == object:
        return largest(value.tolist())
    if isinstance(value, (float, np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind in "fc":
            finite = np.abs(array[np.isfinite(array)])
            return float(finite.max(initial=0.0))
    return 0.0


def shown(value: Any) -> str:
    """A value in a message, as JSON has it where it can be."""
    try:
        text = bodies.json_encode(value).decode()
    except Exception:  # what has no form in JSON
        text = f"a {type(value).__name__}"
    if len(text) > SHOWN:
        return f"{text[:SHOWN]}..."
    return text
