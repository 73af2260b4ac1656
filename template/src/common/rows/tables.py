"""Rows as a DataFrame with the columns that the model was fitted on."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from types import ModuleType
from typing import Any

from ..errors import ConfigError, InvalidInput
from ..schema import POLARS, Column, TableInput
from ..words import kind_of, listing
from .parsed import as_list, named

CHUNK_ROWS = 1000  # which fit into the processor's cache


class Table:
    """Makes DataFrames of rows, each an object keyed by column name, or a list.

    Args:
        described: the columns, and the library of the DataFrames.

    Raises:
        ConfigError: there is no such dtype, or no column of it can be made.
    """

    def __init__(self, described: TableInput) -> None:
        self._names = described.names
        self._known = frozenset(self._names)
        self._size = {len(self._names)}
        self._getters: dict[type, list[Callable[[Any], Any]]] = {
            dict: [itemgetter(name) for name in self._names],
            list: [itemgetter(index) for index in range(len(self._names))],
        }
        self._library = _library(described)
        self._columns = [
            (_label(described, column.name), self._builder(index, column))
            for index, column in enumerate(described.columns)
        ]

    def _builder(self, index: int, column: Column) -> Callable[[list[Any]], Any]:
        try:
            build: Callable[[list[Any]], Any] = self._library.builder(column)
        except ConfigError as error:
            place = f"model.input.columns[{index}]:"
            raise ConfigError(str(error).replace("model.input.columns:", place, 1)) from error
        return build

    def frame(self, rows: Any) -> Any:
        """The rows as a DataFrame.

        Raises:
            InvalidInput: a row does not fit; the message names it and the column.
        """
        values = self._values(as_list(rows))
        return self._library.frame(
            {
                label: build(column)
                for (label, build), column in zip(self._columns, values, strict=True)
            }
        )

    def _values(self, rows: list[Any]) -> list[list[Any]]:
        """The values of each column."""
        kinds = set(map(type, rows))
        getters = self._getters.get(kinds.pop()) if len(kinds) == 1 else None
        if getters and set(map(len, rows)) == self._size:
            try:
                return _columns(rows, getters)
            except KeyError:
                pass
        # Of rows that differ, some lists, some objects, or of one that does not fit.
        cells = [self._row(row, index) for index, row in enumerate(rows)]
        return [list(column) for column in zip(*cells, strict=True)]

    def _row(self, row: Any, index: int) -> Sequence[Any]:
        names = self._names
        if isinstance(row, dict):
            if row.keys() == self._known:
                return [row[name] for name in names]
            return named(row, index, names)
        if not isinstance(row, (list, tuple)):
            raise InvalidInput(
                f"instances[{index}] must be a list or an object keyed by feature name,"
                f" it is {kind_of(row)}"
            )
        if len(row) != len(names):
            raise InvalidInput(
                f"instances[{index}] has {len(row)} values, the model takes {len(names)}:"
                f" {listing(names)}"
            )
        return row


def _columns(rows: list[Any], getters: list[Callable[[Any], Any]]) -> list[list[Any]]:
    columns: list[list[Any]] = [[] for _ in getters]
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start : start + CHUNK_ROWS]
        for column, get in zip(columns, getters, strict=True):
            column.extend(map(get, chunk))
    return columns


def _label(described: TableInput, name: str) -> Any:
    """What a column is called in the DataFrame."""
    if described.labels is None:
        return name
    try:
        return int(name)
    except ValueError:
        raise ConfigError(
            f"config.yaml: model.input.columns: {name!r} must be a whole number, as"
            " model.input.labels says"
        ) from None


def _library(described: TableInput) -> ModuleType:
    """The module that makes columns and DataFrames of the model's library."""
    if described.library == POLARS:
        from .columns import polars_columns

        return polars_columns
    from .columns import pandas_columns

    return pandas_columns
