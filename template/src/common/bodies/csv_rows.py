"""CSV as the request that `:predict` takes: RFC 4180 in UTF-8, with or without a line of names.

MLflow's server takes the first line for names, SageMaker's own containers take it for a row. The
media type's parameter `header`, `present` or `absent`, decides. Without it the first line has
names, and one of numbers alone is refused: it would be a row that gets no answer.

A cell is what the model's column is. Where that is not known, a column whose cells are all numbers
has numbers, and any other has texts, as MLflow's server reads it. An empty cell is null; so is NaN
among numbers.

Sources: https://www.rfc-editor.org/rfc/rfc4180, and those of `platforms.py`.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import orjson

from ..errors import InvalidInput
from ..link.frames import FirstLine
from ..schema import ArrayInput, Column, ModelInput, TableInput, TensorsInput, TextInput
from ..words import listing, shown
from .columns import Columns
from .density import Steps
from .json_codec import json_decode, json_encode
from .values import Encoder

PIECE_CELLS = 20_000  # a few milliseconds
MOST_DIGITS = 400  # of a number
MOST_COLUMNS = 1 << 20
ABSENT = "send Content-Type: text/csv; header=absent"
WHOLE = re.compile(r"[+-]?[0-9]+")
NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
FLAGS = {"true": True, "false": False}
TEXTS = ("str", "bytes", "<U", "|S", "datetime", "timedelta", "<M", "<m")  # starts of dtypes

Read = Callable[[str], Any]
"""Makes a value of a cell. Raises ValueError if it is none."""
Cells = list[str]


class Csv:
    """Decodes bodies for a model.

    Args:
        described: `model.input` of a Config; None takes any rows.
    """

    def __init__(self, described: ModelInput | None = None) -> None:
        self.columns = Columns(described)
        self._described = described

    def decode(self, body: bytes | memoryview, request_id: str) -> tuple[dict[str, Any], Encoder]:
        """The request in a body, and what encodes its response.

        Raises:
            InvalidInput: the body is not CSV, or a cell is not what the model takes.
        """
        pieces = CsvPieces(self, body)
        for _ in pieces:
            pass
        if pieces.decoded is None:
            raise pieces.error or InvalidInput("the body is not CSV")
        return pieces.decoded

    def pieces(self, body: bytes | memoryview) -> "CsvPieces":
        """The body, to be decoded in pieces."""
        return CsvPieces(self, body)

    def readers(self, names: Sequence[str] | None, width: int) -> list[Read | None]:
        """What reads the cells of each column; None where they show what they are.

        Args:
            names: the names of the columns that came; None if none did.
            width: how many columns came.

        Raises:
            InvalidInput: they are not as many as the model's.
        """
        known = self.columns.names
        if known is not None and width != len(known):
            taken = f"the model takes {len(known)}: {listing(known)}"
            raise InvalidInput(f"row 1 of the CSV has {width} values, {taken}")
        match self._described:
            case TableInput(columns=columns):
                reads = {column.name: _of_column(column) for column in columns}
            case TensorsInput(inputs=tensors):
                reads = {tensor.name: _of_dtype(tensor.dtype) for tensor in tensors}
            case ArrayInput(dtype=dtype):
                return [_of_dtype(dtype)] * width
            case TextInput():
                return [str] * width
            case _:
                return [None] * width
        return [reads[name] for name in names or reads]


class CsvPieces:
    """A body that is decoded in pieces.

    Args:
        codec: knows the model's columns.
        body: a FirstLine in a byte, and the CSV.

    Attributes:
        decoded: the request and the encoder of its response, once all pieces are decoded; None
            before, and if that failed.
        error: why that failed.
        batches: the rows of each piece, so that they can be freed in pieces, too.
    """

    def __init__(self, codec: Csv, body: bytes | memoryview) -> None:
        self._codec = codec
        self._body = body
        self.decoded: tuple[dict[str, Any], Encoder] | None = None
        self.error: Exception | None = None
        self.batches: list[list[Any]] = []

    def __iter__(self) -> Steps[None]:
        """Decode, with a pause after each piece."""
        try:
            yield from self._decoded()
        except csv.Error as error:
            self.error = InvalidInput(f"the body is not CSV: {error}")
        except Exception as error:
            self.error = error

    def _decoded(self) -> Iterator[None]:
        codec = self._codec
        lines = csv.reader(_lines(_text(self._body[1:])), strict=True)
        names, cells = _begin(lines, FirstLine(self._body[0]))
        place = "the first line of the CSV"
        if names is not None:
            _check_names(codec.columns, names, place)
        width = len(names or cells[0])
        reads = codec.readers(names, width)
        size = max(1, PIECE_CELLS // width)
        are_numbers = [read is None for read in reads]
        count = 0
        while cells:
            _check_widths(cells, width, count)
            _note_numbers(cells, are_numbers)
            self.batches.append(cells)
            count += len(cells)
            yield
            cells = [line for line in islice(lines, size) if line]
        found = [
            read or (_number if numbers else _text_or_null)
            for read, numbers in zip(reads, are_numbers, strict=True)
        ]
        rows: list[list[Any]] = []
        for index, batch in enumerate(self.batches):
            values = _values(batch, found, names or codec.columns.names, len(rows))
            self.batches[index] = values
            rows += values
            yield
        made = yield from codec.columns.rows(rows, names, place, len(self._body))
        self.decoded = {"instances": made}, json_encode


def _text(body: bytes | memoryview) -> str:
    try:
        return str(body, "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None


def _lines(text: str) -> Iterator[str]:
    """The lines of a CSV.

    Raises:
        InvalidInput: one has too many values to be read at once.
    """
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if len(line) > MOST_COLUMNS and line.count(",") > MOST_COLUMNS:
            raise InvalidInput(f"line {number} of the CSV has more than {MOST_COLUMNS} commas")
        yield line


def _begin(lines: Iterator[Cells], first_line: FirstLine) -> tuple[Cells | None, list[Cells]]:
    """The names, and the first row.

    Raises:
        InvalidInput: there is no row, or the names look like one.
    """
    first = next(filter(None, lines), None)
    if first is None:
        raise InvalidInput("the body is empty: send at least one row")
    if len(first) > MOST_COLUMNS:
        raise InvalidInput(f"the CSV has {len(first)} columns, more than {MOST_COLUMNS}")
    if first_line == FirstLine.ABSENT:
        return None, [first]
    if first_line == FirstLine.NAMES and all(map(_is_number, first)):
        raise InvalidInput(
            f"the first line of the CSV has numbers where names are expected: {ABSENT} if it is a"
            " row, or header=present if these are names"
        )
    row = next(filter(None, lines), None)
    if row is None:
        raise InvalidInput(
            f"the CSV has a line of names and no row: {ABSENT} if that line is a row"
        )
    return first, [row]


def _check_names(columns: Columns, names: Cells, place: str) -> None:
    try:
        columns.order(names, place)
    except InvalidInput as error:
        if columns.names is not None and set(names).isdisjoint(columns.names):
            raise InvalidInput(f"{error}; {ABSENT} if it is a row") from None
        raise


def _check_widths(cells: list[Cells], width: int, before: int) -> None:
    if set(map(len, cells)) == {width}:
        return
    for index, row in enumerate(cells, before + 1):
        if len(row) != width:
            raise InvalidInput(f"row {index} of the CSV has {len(row)} values, not {width}")


def _note_numbers(cells: list[Cells], are_numbers: list[bool]) -> None:
    """Note which of the columns that might have numbers have others."""
    for place, might in enumerate(are_numbers):
        if might:
            column = [row[place] for row in cells]
            are_numbers[place] = _numbers(column) is not None or all(map(_is_number, column))


def _values(
    batch: list[Cells], reads: Sequence[Read], names: Sequence[str] | None, before: int
) -> list[list[Any]]:
    """The values of some rows.

    Raises:
        InvalidInput: a cell is not what its column takes.
    """
    if set(reads) == {_number} and (flat := _numbers([*chain(*batch)])) is not None:
        return [flat[start : start + len(reads)] for start in range(0, len(flat), len(reads))]
    columns = []
    for place, (read, cells) in enumerate(zip(reads, zip(*batch, strict=True), strict=True)):
        values = _numbers(cells) if read is _number else None
        if values is None:
            name = repr(names[place]) if names else f"value {place + 1}"
            values = [
                _read(read, cell, index, name) for index, cell in enumerate(cells, before + 1)
            ]
        columns.append(values)
    return list(map(list, zip(*columns, strict=True)))


def _read(read: Read, cell: str, row: int, name: str) -> Any:
    try:
        return read(cell)
    except ValueError:
        expected = EXPECTED[read]
        raise InvalidInput(
            f"row {row} of the CSV: {name} must be {expected}, it is {shown(cell)}"
        ) from None


# ---- cells ----


def _numbers(cells: Sequence[str]) -> list[Any] | None:
    """Cells that are numbers as JSON writes them; None for others, and for no numbers."""
    try:
        found = orjson.loads(f"[{','.join(cells)}]")
    except orjson.JSONDecodeError:
        return None
    if len(found) == len(cells) and set(map(type, found)) <= {int, float}:
        return list(found)
    return None


def _number(cell: str) -> Any:
    """A number, as JSON has it: a float where 64 bits cannot hold a whole one."""
    text = cell.strip()
    if len(text) <= MOST_DIGITS:
        if WHOLE.fullmatch(text) and -(1 << 63) <= (whole := int(text)) < 1 << 64:
            return whole
        if NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        if not text or text.lower() == "nan":
            return None
    raise ValueError


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _flag(cell: str) -> Any:
    text = cell.strip().lower()
    if not text:
        return None
    if text not in FLAGS:
        raise ValueError
    return FLAGS[text]


def _text_or_null(cell: str) -> Any:
    return cell or None


def _json(cell: str) -> Any:
    return json_decode(cell.encode()) if cell else None


EXPECTED: dict[Read, str] = {
    _number: "a number, or empty",
    _flag: "true, false or empty",
    _json: "JSON, or empty",
}


OF_TYPES: dict[str, Read] = {
    "number": _number,
    "boolean": _flag,
    "string": _text_or_null,
    "list": _json,
    "object": _json,
}


def _of_column(column: Column) -> Read | None:
    if column.type == "any" and column.format is not None:
        return _text_or_null
    return OF_TYPES.get(column.type)


def _of_dtype(dtype: str | None) -> Read | None:
    if dtype is None or dtype == "object":
        return None
    if dtype == "bool":
        return _flag
    return _text_or_null if dtype.startswith(TEXTS) else _number
