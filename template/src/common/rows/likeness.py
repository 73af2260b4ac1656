"""Which rows may stand beside others: those that come out in the same dtypes and shapes.

A likeness is equal for two lists of rows only where both, each by itself, become arrays or tables
of the same dtypes and shapes. To convert every request by itself would be slow, so the forms of
`model.input` are asked first: most columns and tensors come out in their own dtype, whatever the
rows hold. Where that is not certain, the rows are converted, and their dtypes are taken.
"""

import datetime
import decimal
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..schema import (
    BYTES,
    TEXT,
    ArrayInput,
    Column,
    ModelInput,
    TableInput,
    Tensor,
    TensorsInput,
    TextInput,
)

Convert = Callable[[Any], Any]
Measure = Callable[[Any], Hashable]

MOST_CELLS = 1000  # of rows without a signature: larger requests share no call
MOST_DEPTH = 16
FLOATS = ("float64", "float32", "float16", "bfloat16")
WHOLE = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
NUMBERS = (int, float)
INFERRED = ("category", "Sparse")  # dtypes of which a part depends on all of the values
FOUND = {int: "int64", float: "float64", bool: "bool", str: "string"}  # what values alone become
ATOMS = (str, int, float, bool, bytes, type(None), decimal.Decimal, datetime.date, datetime.time)


def measure(described: ModelInput | None, convert: Convert) -> Measure:
    """What tells the likeness of rows: a list of rows, or an array whose first axis is rows.

    It returns None for rows that must stand alone.

    Args:
        described: `model.input` of a Config.
        convert: makes of rows what the model takes.
    """
    of_list = _head
    if not _is_certain(described):
        of_list = partial(_of_list, described, convert)

    def likeness(rows: Any) -> Hashable:
        try:
            if type(rows) is list:
                return of_list(rows)
            return _of_array(described, convert, rows)
        except InvalidInput:  # by this signature; `predict` may use none
            return _of_cells(rows)
        except Exception:  # rows of the owner's own kind
            return None

    return likeness


def _is_certain(described: ModelInput | None) -> bool:
    """Whether all rows that fit come out in the same dtypes and shapes."""
    match described:
        case ArrayInput():
            return _is_fixed(described)
        case TensorsInput(inputs=tensors):
            return all(map(_is_fixed, tensors))
    return isinstance(described, TextInput)


def _is_fixed(tensor: ArrayInput | Tensor) -> bool:
    fixed = tensor.shape is not None and None not in tensor.shape
    return fixed and tensor.dtype in (TEXT, BYTES, *FLOATS)


def _head(rows: list[Any]) -> Hashable:
    """Rows of another type or length are refused: beside others, they would be computed twice."""
    head = rows[0]
    if type(head) is list:
        return len(head)
    return (type(head),)


def _of_array(described: ModelInput | None, convert: Convert, rows: Any) -> Hashable:
    came = (rows.dtype, rows.shape[1:])
    if isinstance(described, (TableInput, TensorsInput)):
        return came, _dtypes(convert(rows))
    if isinstance(described, ArrayInput) and described.dtype not in (None, *FLOATS):
        return came, convert(rows).dtype
    return came


def _of_list(described: ModelInput | None, convert: Convert, rows: list[Any]) -> Hashable:
    match described:
        case TableInput():
            return _of_table(described, convert, rows)
        case ArrayInput() | TensorsInput():
            return _head(rows), _dtypes(convert(rows))
        case None if not isinstance(rows[0], (str, dict)):
            return _dtypes(convert(rows))
    return _of_cells(rows)


def _dtypes(converted: Any) -> Hashable:
    """The dtypes and shapes of arrays and tables."""
    if isinstance(converted, dict):
        return tuple((name, _dtypes(part)) for name, part in converted.items())
    if hasattr(converted, "columns"):
        return tuple(map(str, converted.dtypes))
    if hasattr(converted, "dtype"):
        return converted.dtype, converted.shape[1:]
    return _of_cells(converted)


# ---- tables ----


@dataclass(frozen=True)
class Rule:
    """What the values of a column must be, so that it certainly comes out in its dtype.

    Attributes:
        place: the key or the index of its values in a row.
        index: the column's.
        dtype: its dtype; None for what pandas makes of the values.
        types: the types that its values may have.
        low, high: the bounds of its numbers.
    """

    place: str | int
    index: int
    dtype: str | None
    types: frozenset[type]
    low: float = -(2**63)
    high: float = 2**63 - 1


def _of_table(described: TableInput, convert: Convert, rows: list[Any]) -> Hashable:
    kind = _head(rows)
    rules = _rules(described, type(rows[0]) is dict)
    found = tuple([_certain(rule, rows) for rule in rules])
    if None not in found:
        return kind, found
    if not all(rule.types for rule in rules):
        return None
    doubtful = [rule for rule, name in zip(rules, found, strict=True) if name is None]
    if any(rule.dtype not in ("bool", *WHOLE) for rule in doubtful):
        return kind, _of_cells(rows)
    dtypes = list(convert(rows).dtypes)
    return kind, tuple(str(dtypes[rule.index]) for rule in rules)


def _certain(rule: Rule, rows: list[Any]) -> str | None:
    """The dtype of a column, if its values leave no doubt."""
    kinds = set()
    for row in rows:
        value = row[rule.place]
        kind = type(value)
        if kind not in rule.types:
            return None
        if kind in NUMBERS and not rule.low <= value <= rule.high:
            return None
        kinds.add(kind)
    if rule.dtype is not None:
        return rule.dtype
    if len(kinds) > 1:
        return None
    return FOUND[kinds.pop()]


@lru_cache(maxsize=64)
def _rules(described: TableInput, by_name: bool) -> tuple[Rule, ...]:
    """The rules of the columns. A column that always comes out in its own dtype has none."""
    places: Iterable[str | int] = range(len(described.columns))
    if by_name:
        places = described.names
    rules = map(_rule, places, range(len(described.columns)), described.columns)
    return tuple(rule for rule in rules if rule is not None)


def _rule(place: str | int, index: int, column: Column) -> Rule | None:
    dtype, rule = column.dtype, partial(Rule, place, index, column.dtype)
    if column.categories is not None:
        return None
    if dtype is None:
        return rule(frozenset(FOUND))
    if dtype == "bool":
        return rule(frozenset([bool]))
    if dtype in WHOLE:
        bounds = np.iinfo(dtype)
        return rule(frozenset([int]), int(bounds.min), int(bounds.max))
    if dtype.startswith(INFERRED):
        return rule(frozenset())
    return None


# ---- rows without a signature ----


def _of_cells(rows: Any) -> Hashable:
    """The types of all cells, and the lengths of lists; None if there are too many."""
    if isinstance(rows, np.ndarray):
        return rows.dtype, rows.shape[1:]
    counter = [MOST_CELLS]
    found = frozenset(_cell(row, MOST_DEPTH, counter) for row in rows)
    if counter[0] < 0:
        return None
    return found


def _cell(value: Any, depth: int, left: list[int]) -> Hashable:
    left[0] -= 1
    if left[0] < 0 or not depth:
        left[0] = -1
        return None
    kind = type(value)
    if kind is int and not -(2**63) <= value < 2**63:
        return kind, value.bit_length() > 64, value > 0
    if kind in ATOMS:
        return (kind,)
    if isinstance(value, dict):
        parts = ((name, _cell(part, depth - 1, left)) for name, part in value.items())
        return kind, tuple(parts)
    if isinstance(value, (list, tuple)):
        return kind, tuple(_cell(part, depth - 1, left) for part in value)
    return kind, str(getattr(value, "dtype", None)), tuple(getattr(value, "shape", ()))
