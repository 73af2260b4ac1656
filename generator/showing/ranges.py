"""What a kept sample holds, in a few words: the range of numbers, the counts of other values."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .columns import Part
from .markup import Markup, table

MOST_COUNTED = 6
MOST_DIFFERENT = 20  # values that are no categories
MOST_VALUES = 200_000  # of one part
BAR = 160  # pixels


def summary(part: Part, rows: Iterable[Any]) -> str:
    """What a part of the rows holds: `0.1 to 2.5, median 0.3`, or `red 30, blue 12`."""
    values = _values(part, rows)
    known = [value for value in values if value is not None]
    are_numbers = _all_numbers(known) and not part.is_category
    words = _numbers(known) if are_numbers else _counts(part, known)
    if len(known) < len(values) and words:
        return f"{words}; {len(values) - len(known):,} missing"
    return words


def balance(classes: Any, predictions: Sequence[Any]) -> str:
    """A table of how often each class is predicted; nothing where predictions are no classes."""
    given = [_class(each) for each in predictions]
    if not given or any(isinstance(each, (list, Mapping)) for each in given):
        return ""
    counts = Counter(map(_word, given))
    for each in classes if isinstance(classes, list) else ():
        counts.setdefault(_word(each), 0)
    ordered = counts.most_common()
    most = ordered[0][1]
    rows = [[word, f"{count:,}", _bar(count / most)] for word, count in ordered[:MOST_DIFFERENT]]
    note = None
    if len(ordered) > MOST_DIFFERENT:
        note = f"and {len(ordered) - MOST_DIFFERENT:,} classes more"
    return table(("class", "predicted", " "), rows, note)


def _class(prediction: Any) -> Any:
    """The class in a prediction of several methods, or in one of one output."""
    if isinstance(prediction, Mapping):
        return prediction.get("predict", prediction)
    return prediction


def _bar(share: float) -> Markup:
    style = f"display:inline-block;width:{share * BAR:.0f}px;height:.7em;background:#4c8bf5"
    return Markup(f'<span style="{style}"></span>')


# ---- the values of a part ----


def _values(part: Part, rows: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for row in rows:
        found.extend(_scalars(_value(part, row), MOST_VALUES - len(found)))
        if len(found) >= MOST_VALUES:
            break
    return found


def _value(part: Part, row: Any) -> Any:
    if part.name is not None and isinstance(row, Mapping):
        return row.get(part.name)
    if part.index is not None and isinstance(row, list):
        return row[part.index] if part.index < len(row) else None
    return row


def _scalars(value: Any, most: int) -> Iterator[Any]:
    """The values in nested lists. An object is none that can be told in few words."""
    waiting = [value]
    while waiting and most > 0:
        inner = waiting.pop()
        if isinstance(inner, list):
            waiting += reversed(inner[:most])
        elif not isinstance(inner, Mapping):
            most -= 1
            yield inner


# ---- words ----


def _all_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _numbers(values: Sequence[Any]) -> str:
    finite = [value for value in values if isinstance(value, int) or math.isfinite(value)]
    if not finite:
        return ""
    low, high, middle = min(finite), max(finite), statistics.median_low(finite)
    if low == high:
        return f"always {_number(low)}"
    return f"{_number(low)} to {_number(high)}, median {_number(middle)}"


def _counts(part: Part, values: Sequence[Any]) -> str:
    counts = Counter(map(_word, values))
    if len(counts) > MOST_DIFFERENT and not part.is_category:
        return f"{len(counts):,} different values"
    listed = ", ".join(f"{word} {count:,}" for word, count in counts.most_common(MOST_COUNTED))
    if len(counts) > MOST_COUNTED:
        return f"{listed} and {len(counts) - MOST_COUNTED:,} more"
    return listed


def _number(value: float) -> str:
    if isinstance(value, int) and abs(value) < 10**9:
        return str(value)
    try:
        return f"{value:.5g}"
    except OverflowError:  # a whole number that is larger than any float
        return f"of {int(value).bit_length()} bits"


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value[:40]
    return json.dumps(value)[:40]
