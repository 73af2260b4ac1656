"""Rows that stand in columns with names, as `instances`.

A model whose names are known gets its own order. One that takes values in their order gets them as
they came, and one that takes any row gets objects.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any

from ..errors import InvalidInput
from ..schema import ArrayInput, JsonInput, ModelInput, TensorsInput, TextInput
from ..words import kind_of, listing
from .density import Steps, check_rows

ROWS_AT_ONCE = 1 << 13

Row = list[Any]


class Columns:
    """Makes rows of a model from rows of values.

    Args:
        described: `model.input` of a Config.

    Attributes:
        names: the names of a row's values in the model's order; None where it has none.
        of_one: whether a row is a single value: a number or a text.
        of_objects: whether rows become objects.
    """

    def __init__(self, described: ModelInput | None) -> None:
        self.names: tuple[str, ...] | None = getattr(described, "names", None)
        is_number = isinstance(described, ArrayInput) and described.shape == ()
        self.of_one = is_number or isinstance(described, TextInput)
        self.of_objects = described is None or isinstance(described, (JsonInput, TensorsInput))

    def order(self, names: Sequence[str], place: str) -> list[int] | None:
        """Where each value of the model's row stands; None for its own order, or where it has none.

        Args:
            names: the names of the columns that came.
            place: where they stand, for messages.

        Raises:
            InvalidInput: a name occurs twice, or they are not the model's.
        """
        known = set(names)
        if len(known) < len(names):
            twice = [name for name, count in Counter(names).items() if count > 1]
            raise InvalidInput(f"{place} has {listing(twice)} more than once")
        if self.of_one and len(names) != 1:
            raise InvalidInput(f"{place} has {len(names)} names, a row of this model is one value")
        if self.names is None or list(names) == list(self.names):
            return None
        if missing := [name for name in self.names if name not in known]:
            raise InvalidInput(
                f"{place} lacks {listing(missing)}; the model takes {listing(self.names)}"
            )
        if unknown := sorted(known.difference(self.names)):
            raise InvalidInput(
                f"{place} has {listing(unknown)}; the model takes {listing(self.names)}"
            )
        places = {name: index for index, name in enumerate(names)}
        return [places[name] for name in self.names]

    def rows(
        self, rows: list[Row], names: Sequence[str] | None, place: str, size: int
    ) -> Steps[list[Any]]:
        """Rows for `instances`, with pauses.

        Args:
            rows: lists of values, as many in each as there are names.
            names: the names of the values; None for the model's order.
            place: where the names stand, for messages.
            size: the body's, in bytes.

        Raises:
            InvalidInput: the names are not the model's.
            DecodeError: they are more objects than a body of that size may hold.
        """
        if names is not None and (order := self.order(names, place)) is not None:
            rows, names = (yield from _made(rows, partial(_ordered, order))), self.names
        if self.of_one:
            return (yield from _made(rows, _single))
        if self.of_objects and (names := names or self.names) is not None:
            if set(map(len, rows)) - {len(names)}:
                return rows  # the signature says what is wrong
            check_rows(len(rows), size)
            return (yield from _made(rows, partial(_objects, names)))
        return rows

    def of_lists(self, columns: dict[str, Any], place: str, size: int) -> Steps[list[Any]]:
        """Rows for `instances` of columns that are lists of equal length, by name; with pauses.

        Raises:
            InvalidInput: the columns are no such lists, or not the model's.
            DecodeError: they are more objects than a body of that size may hold.
        """
        lengths = set()
        for name, column in columns.items():
            if not isinstance(column, list):
                raise InvalidInput(
                    f"{place}[{name!r:.80}] must be a list with a value for each row,"
                    f" it is {kind_of(column)}"
                )
            lengths.add(len(column))
        if len(lengths) != 1:
            raise InvalidInput(f"the columns of {place} must be lists of one length")
        names = list(columns)
        if self.names is None and not self.of_objects:
            if len(names) > 1:
                raise InvalidInput(
                    f"{place} must be a list of rows, it is an object of columns:"
                    " this model takes the values of a row in their order"
                )
            return list(columns[names[0]])
        rows: list[Row] = []
        values = zip(*columns.values(), strict=True)
        while some := list(map(list, islice(values, ROWS_AT_ONCE))):
            rows += some
            yield
        return (yield from self.rows(rows, names, place, size))


def _made(rows: list[Row], make: Callable[[list[Row]], list[Any]]) -> Steps[list[Any]]:
    """What is made of rows, some of them at a time."""
    made: list[Any] = []
    for start in range(0, len(rows), ROWS_AT_ONCE):
        made += make(rows[start : start + ROWS_AT_ONCE])
        yield
    return made


def _single(rows: list[Row]) -> list[Any]:
    return [row[0] if len(row) == 1 else row for row in rows]


def _objects(names: Sequence[str], rows: list[Row]) -> list[Any]:
    return [dict(zip(names, row, strict=True)) for row in rows]


def _ordered(order: list[int], rows: list[Row]) -> list[Row]:
    if len(order) == 1:
        return [[row[order[0]]] for row in rows]
    return list(map(list, map(itemgetter(*order), rows)))
