"""Expected and served predictions in a notebook: the rows that differ most, and a plot."""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from . import scatter
from .markup import card, noted, section, table

MOST_ROWS = 10
MOST_VALUES = 100_000  # that are compared
MOST_WRITTEN = 120  # characters
MOST_POINTS = 500


class Pair(NamedTuple):
    """A value that was expected, and the one that was served.

    Attributes:
        row: the index of the prediction.
        place: the keys that lead to the value in it.
        expected: as JSON has it.
        served: as JSON has it.
        numbers: both as numbers; None if either is none.
        apart: how far apart they are: infinitely where they are no numbers, and differ.
    """

    row: int
    place: tuple[Any, ...]
    expected: Any
    served: Any
    numbers: tuple[float, float] | None
    apart: float


def answers_card(expected: Any, served: Any, verdict: str, is_equal: bool) -> str:
    """The HTML of a comparison.

    Args:
        expected: the predictions, as JSON has them.
        served: the scaffold's predictions, as JSON has them.
        verdict: what was found, in words.
        is_equal: whether they are as they should be.
    """
    rows = expected if isinstance(expected, list) else [expected]
    answers = served if isinstance(served, list) and isinstance(expected, list) else [served]
    pairs = _pairs(rows, answers)
    seen = f"compared here: the first {MOST_VALUES:,} values" if len(pairs) == MOST_VALUES else None
    title = "As expected" if is_equal else "Not as expected"
    return card(
        [title, _cut(verdict)],
        section("The rows that differ most", _worst(pairs, is_equal)),
        section("Expected and served", _plot(pairs, is_equal)),
        noted(seen),
    )


def _pairs(rows: list[Any], answers: list[Any]) -> list[Pair]:
    pairs: list[Pair] = []
    for index, (expected, served) in enumerate(zip(rows, answers, strict=False)):
        for pair in _parts(index, expected, served):
            pairs.append(pair)
            if len(pairs) == MOST_VALUES:
                return pairs
    return pairs


def _parts(row: int, expected: Any, served: Any) -> Iterator[Pair]:
    """The values in a prediction; two that are of different form are one."""
    waiting: list[tuple[tuple[Any, ...], Any, Any]] = [((), expected, served)]
    while waiting:
        place, left, right = waiting.pop()
        if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
            waiting += [((*place, key), left[key], right[key]) for key in reversed(left)]
        elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
            indexes = reversed(range(len(left)))
            waiting += [((*place, index), left[index], right[index]) for index in indexes]
        else:
            yield _pair(row, place, left, right)


def _pair(row: int, place: tuple[Any, ...], expected: Any, served: Any) -> Pair:
    left, right = _number(expected), _number(served)
    if left is not None and right is not None:
        return Pair(row, place, expected, served, (left, right), abs(left - right))
    apart = 0.0 if _same(expected, served) else math.inf
    return Pair(row, place, expected, served, None, apart)


def _worst(pairs: list[Pair], is_equal: bool) -> str:
    """A table of the rows that differ most, each with its worst value."""
    worst: dict[int, Pair] = {}
    for pair in pairs:
        if pair.apart > 0 and (pair.row not in worst or pair.apart > worst[pair.row].apart):
            worst[pair.row] = pair
    ordered = sorted(worst.values(), key=lambda pair: -pair.apart)
    rows = [
        [pair.row, _place(pair), _written(pair.expected), _written(pair.served), _apart(pair)]
        for pair in ordered[:MOST_ROWS]
    ]
    if not rows:
        return ""
    note = f"{len(worst):,} of {len({pair.row for pair in pairs}):,} rows differ"
    if is_equal:
        note = f"{note}, as far as they may"
    return table(("row", "value", "expected", "served", "difference"), rows, note)


def _plot(pairs: list[Pair], is_equal: bool) -> str:
    """A scatter of the numbers: those that differ most, and some of all others."""
    points = [(*pair.numbers, pair.apart) for pair in pairs if pair.numbers is not None]
    if len(points) < 2:
        return ""
    shown = points
    if len(points) > MOST_POINTS:
        worst = sorted(points, key=lambda point: -point[2])[: MOST_POINTS // 2]
        some = points[:: -(-len(points) // (MOST_POINTS // 2))]
        shown = [*some, *worst]
    drawn = scatter.svg([(left, right, apart > 0 and not is_equal) for left, right, apart in shown])
    if len(shown) == len(points):
        return drawn
    return drawn + noted(f"{len(shown)} of {len(points):,} values, with those that differ most")


def _place(pair: Pair) -> str:
    return "".join(f"[{key!r}]" for key in pair.place)


def _apart(pair: Pair) -> str:
    return "" if math.isinf(pair.apart) else f"{pair.apart:.3g}"


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _same(expected: Any, served: Any) -> bool:
    return type(expected) is type(served) and bool(expected == served)


def _written(value: Any) -> str:
    """A value as JSON has it, cut where it is long."""
    if isinstance(value, (list, dict)) and len(value) > MOST_WRITTEN:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,}"
    try:
        return _cut(json.dumps(value, ensure_ascii=False, default=str))
    except (ValueError, RecursionError):  # a number of thousands of digits; nested too deeply
        return f"a value of type {type(value).__name__}"


def _cut(text: str) -> str:
    return text if len(text) <= MOST_WRITTEN else f"{text[: MOST_WRITTEN - 1]}…"
