"""Samples: rows in memory as they are, rows as a client would send them, and files of rows."""

import csv
import importlib.util
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import argument
from ..errors import SettingError

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan", re.I)
KINDS: tuple[tuple["re.Pattern[str]", Callable[[str], Any]], ...] = (
    (re.compile(r"[+-]?\d+"), int),
    (NUMBER, float),
    (re.compile("true|false", re.I), lambda cell: cell.lower() == "true"),
)
Reader = Callable[[Path], Any]
LARGE = 2**53  # float64 does not hold every larger whole number


def read(sample: Any, readers: "Mapping[str, Reader] | None" = None) -> Any:
    """A sample; of the path of a file, the rows in it.

    - CSV: the first line names the columns, unless it holds numbers only. An empty cell is
      missing, and nothing else is: "NA" is a text. A column is of whole numbers, of numbers, of
      true and false, or of texts.
    - Parquet: a table with the dtypes that are in the file.
    - JSON: a list of rows, or an object with them as `instances`.
    - NumPy's .npy: an array, none of objects.

    Args:
        sample: the sample.
        readers: what reads a file of each suffix; by default READERS.

    Raises:
        SettingError: the file cannot be read, or what reads it is not installed.
    """
    if not isinstance(sample, (str, os.PathLike)):
        return sample
    path = Path(sample)
    reader = (readers or READERS).get(path.suffix.lower())
    if reader is None:
        raise SettingError(
            f"{argument('sample_input')} is {str(sample)[:80]!r}: pass rows, or the path of a file"
            f" that ends in {', '.join(READERS)}"
        )
    try:
        return _checked(path, reader(path))
    except SettingError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(
            f"{argument('sample_input')} {str(path)!r} cannot be read: {reason}"
        ) from error


def is_file(text: str) -> bool:
    """Whether a text is the path of a file that `read` takes."""
    return Path(text).suffix.lower() in READERS


def are_objects(sample: Any) -> bool:
    """Whether a sample is a list of objects, as a client would send rows by name."""
    return (
        isinstance(sample, Sequence)
        and bool(sample)
        and all(isinstance(row, Mapping) for row in sample)
    )


def can_make_tables() -> bool:
    """Whether a library for them is installed."""
    return any(importlib.util.find_spec(name) is not None for name in ("pandas", "polars"))


def frame(rows: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> Any:
    """Rows that are objects, as a DataFrame. Whole numbers stay whole.

    Args:
        rows: at least one.
        names: the columns in their order, if they are known; by default that of the first row.

    Raises:
        SettingError: the rows have different names, or pandas is not installed.
    """
    first = list(rows[0])
    for index, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise SettingError(
                f"{argument('sample_input')}[{index}] has {list(row)},"
                f" {argument('sample_input')}[0] has {first}: each row must have the same names"
            )
    if names is None or set(names) != set(first):
        names = first
    columns = {name: [row[name] for row in rows] for name in names}
    if importlib.util.find_spec("pandas") is not None:
        import pandas

        return pandas.DataFrame({name: _series(values) for name, values in columns.items()})
    if can_make_tables():
        import polars

        return polars.DataFrame({name: _alike(values) for name, values in columns.items()})
    raise SettingError(
        f"{argument('sample_input')} has rows that are objects, and pandas is not installed to make"
        " a table of them: install it, or pass rows that are lists"
    )


def _alike(values: list[Any]) -> list[Any]:
    """Values of which whole numbers beside others are floats, as polars wants them."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return values


def _series(values: list[Any]) -> Any:
    import pandas

    present = [value for value in values if value is not None]
    whole = all(type(value) is int for value in present)
    if whole and len(present) < len(values) and any(abs(value) > LARGE for value in present):
        return pandas.Series(values, dtype="Int64")
    return pandas.Series(values)


# ---- files ----


def _checked(path: Path, rows: Any) -> Any:
    if not len(rows):
        raise SettingError(f"{argument('sample_input')} {str(path)!r} holds no rows")
    return rows


def _csv(path: Path) -> Any:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file) if line]
    if not lines:
        return lines
    if all(NUMBER.fullmatch(cell) for cell in lines[0] if cell):
        return np.array(_columns(lines), dtype=float).T
    names, columns = lines[0], _columns(lines[1:])
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if not can_make_tables():
        return rows
    return frame(rows)


def _columns(lines: list[list[str]]) -> list[list[Any]]:
    return [_column(list(cells)) for cells in zip(*lines, strict=True)]


def _column(cells: list[str]) -> list[Any]:
    """The values of a column: of the first kind that all of its cells are of."""
    for pattern, convert in KINDS:
        if all(pattern.fullmatch(cell) for cell in cells if cell):
            return [convert(cell) if cell else None for cell in cells]
    return [cell or None for cell in cells]


def _parquet(path: Path) -> Any:
    try:
        import pandas

        return pandas.read_parquet(path)
    except ImportError:  # pandas, or what it reads Parquet with
        pass
    try:
        import polars
    except ImportError:
        raise SettingError(
            f"{argument('sample_input')} {str(path)!r} is Parquet: install pandas and pyarrow, or"
            " polars, or pass the rows"
        ) from None
    return polars.read_parquet(path)


def _json(path: Path) -> Any:
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict) and "instances" in content:
        return content["instances"]
    return content


def _request(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _npy(path: Path) -> Any:
    return np.load(path, allow_pickle=False)


READERS: dict[str, Reader] = {".csv": _csv, ".parquet": _parquet, ".json": _json, ".npy": _npy}
REQUEST_READERS: dict[str, Reader] = {**READERS, ".json": _request}
"""Of an object in JSON with `instances`, the other keys are kept."""
