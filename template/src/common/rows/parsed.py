"""Rows as a body holds them: objects and lists."""

from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..words import kind_of, listing


def as_list(rows: Any) -> list[Any]:
    if isinstance(rows, np.ndarray):
        rows = rows.tolist()
    return list(rows)


def all_named(rows: Any, names: Sequence[str], of: str = "feature") -> list[list[Any]]:
    """Rows that are objects keyed by name, each in the model's order."""
    # One row by itself is faster.
    alike = len(rows) > 1 and set(map(type, rows)) == {dict}
    if alike and names and set(map(len, rows)) == {len(names)}:
        with suppress(KeyError):
            return _values(rows, names)
    return [named(row, index, names, of) for index, row in enumerate(rows)]


def _values(rows: Any, names: Sequence[str]) -> list[list[Any]]:
    get = itemgetter(*names)
    if len(names) == 1:
        return [[value] for value in map(get, rows)]
    return list(map(list, map(get, rows)))


def named(row: Any, index: int, names: Sequence[str], of: str = "feature") -> list[Any]:
    """A row that is an object keyed by name, in the model's order."""
    if not isinstance(row, dict):
        also = f" ({listing(names)})"
        if of == "feature":
            also = ", as the others are"
        raise InvalidInput(
            f"instances[{index}] must be an object keyed by {of} name{also}, it is {kind_of(row)}"
        )
    if missing := [name for name in names if name not in row]:
        raise InvalidInput(
            f"instances[{index}] lacks {listing(missing)}; the model takes {listing(names)}"
        )
    if unknown := [name for name in row if name not in names]:
        raise InvalidInput(
            f"instances[{index}] has {listing(unknown)}; the model takes {listing(names)}"
        )
    return [row[name] for name in names]
