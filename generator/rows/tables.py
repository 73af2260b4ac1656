"""DataFrames of pandas and polars: as `model.input` describes them, and as rows of a JSON body."""

import datetime as dt
import importlib.util
import json
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from ..arguments import argument
from ..common import ConfigError, Signature, json_encode, schema
from ..errors import SettingError

TRIED_ROWS = 100
PYARROW = "holds columns of the DataFrame that the model was fitted on"
ROWS = "rows become the DataFrame that the model was fitted on"
NUMBERS = (int, float, np.number)
# What an object column of pandas may hold: the type and the format that config.yaml has for it.
OBJECTS: tuple[tuple[Any, str, str | None], ...] = (
    ((bool, np.bool_), "boolean", None),
    (NUMBERS, "number", None),
    (str, "string", None),
    (list, "list", None),
    (dict, "object", None),
    (dt.datetime, "string", "date-time"),
    (dt.date, "string", "date"),
    (dt.time, "string", "time"),
    (dt.timedelta, "string", "duration"),
    (Decimal, "string", "decimal"),
    (uuid.UUID, "string", "uuid"),
    ((bytes, bytearray), "any", "bytes"),
)
MISSING = {"NoneType": "None", "NAType": "NA", "NaTType": "NaT"}
POLARS_TYPES = {"Boolean": "boolean", "String": "string", "Categorical": "string"}


def is_frame(value: Any) -> bool:
    """Whether it is a DataFrame of pandas or polars."""
    return hasattr(value, "columns") and hasattr(value, "dtypes") and hasattr(value, "to_dict")


def is_polars(value: Any) -> bool:
    """Whether it is a DataFrame of polars."""
    return type(value).__module__.partition(".")[0] == schema.POLARS


def of_columns(columns: tuple[schema.Column, ...]) -> schema.TableInput:
    """A table of columns of pandas; one of polars, with the same dtypes, where that alone is
    installed."""
    pandas, polars = (importlib.util.find_spec(name) for name in (schema.PANDAS, schema.POLARS))
    if pandas is not None or polars is None:
        return schema.TableInput(columns)
    return schema.TableInput(tuple(map(_in_polars, columns)), schema.POLARS)


def _in_polars(column: schema.Column) -> schema.Column:
    """A column of pandas in polars' dtype; one of no known dtype where polars has no such."""
    dtype = column.dtype or ""
    if dtype == "object" and column.type == "string" and column.format is None:
        return schema.Column(column.name, "string", "String")
    if column.type in ("number", "boolean") and column.categories is None and dtype != "object":
        name = dtype.replace("bool", "boolean").title().replace("Uint", "UInt")
        return schema.Column(column.name, column.type, name or None)
    return schema.Column(column.name)


def described(frame: Any) -> schema.TableInput:
    """A DataFrame's columns, as `model.input` describes them.

    Raises:
        SettingError: JSON has no form for a column.
    """
    names = [str(name) for name in frame.columns]
    if not len(frame):
        raise SettingError(f"{argument('sample_input')} has no rows: pass at least one")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise SettingError(
            f"{argument('sample_input')} has more than one column {twice[0]!r}: give each a name of"
            " its own"
        )
    if is_polars(frame):
        return schema.TableInput(tuple(map(_polars_column, frame.iter_columns())), schema.POLARS)
    columns = (_pandas_column(name, frame.iloc[:, place]) for place, name in enumerate(names))
    labels = None
    if all(isinstance(name, (int, np.integer)) for name in frame.columns):
        labels = "integer"
    return schema.TableInput(tuple(columns), labels=labels)


def distributions(table: schema.TableInput, sample: Any = None) -> dict[str, str]:
    """What a scaffold needs to make the DataFrame: distribution name to reason."""
    needed = {table.library or schema.PANDAS: ROWS}
    names = [f"{column.dtype} {column.categories_dtype}" for column in table.columns]
    if any("pyarrow" in name for name in names) or _in_arrow(sample):
        needed["pyarrow"] = PYARROW
    return needed


def _in_arrow(sample: Any) -> bool:
    """Whether Arrow holds a column of texts, whose dtype does not say so."""
    if not is_frame(sample) or is_polars(sample):
        return False
    return any(getattr(dtype, "storage", None) == "pyarrow" for dtype in sample.dtypes)


def rows(frame: Any) -> list[dict[str, Any]]:
    """A DataFrame's rows, with the very values that it holds, and None for what is missing."""
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in listed(frame)]


def listed(frame: Any) -> list[list[Any]]:
    """The same rows as lists, with the columns in their order."""
    if is_polars(frame):
        columns = [_polars_values(series) for series in frame.iter_columns()]
    else:
        columns = [_values(frame.iloc[:, place]) for place in range(frame.shape[1])]
    return [list(row) for row in zip(*columns, strict=True)]


def values(frame: Any) -> Any:
    """The same rows as one array, where all columns of pandas have one of numpy's dtypes."""
    dtypes = set() if is_polars(frame) else set(frame.dtypes)
    if len(dtypes) == 1 and getattr(dtypes.pop(), "kind", "O") in "biuf":
        array = frame.to_numpy()
        if array.dtype.kind in "biuf":  # not of pandas' own dtypes with something missing
            return array
    return listed(frame)


def _values(series: Any) -> list[Any]:
    pairs = zip(series.tolist(), series.isna().tolist(), strict=True)
    return [None if missing else value for value, missing in pairs]


def _polars_values(series: Any) -> list[Any]:
    kind = type(series.dtype).__name__
    if kind == "Float32" or kind == "Float64":
        return list(series.fill_nan(None).to_list())
    if getattr(series.dtype, "time_unit", None) == "ns":  # which Python's own types do not have
        return list(series.dt.to_string("iso").to_list())
    return list(series.to_list())


def column_of(name: str, values: Any) -> schema.Column:
    """The column that an array of its values came from.

    Raises:
        SettingError: JSON has no form for it.
    """
    import pandas

    if values.dtype.kind in "OU":
        return _objects(name, pandas.Series(values, dtype=object))
    return schema.Column(name, _type_of(values.dtype), str(values.dtype))


# ---- pandas ----


def _pandas_column(name: str, series: Any) -> schema.Column:
    dtype = series.dtype
    if str(dtype) == "category":
        column = _category(name, dtype)
    elif str(dtype) == "object":
        column = _objects(name, series)
    else:
        column = schema.Column(name, _type_of(dtype), _dtype_name(dtype))
    _check(column, series)
    return column


def _check(column: schema.Column, series: Any) -> None:
    """Refuse a column that its rows do not make again."""
    try:
        values = _as_json([[value] for value in _values(series.iloc[:TRIED_ROWS])])
        made = Signature(schema.TableInput((column,))).inputs(values or [[None]])[column.name]
    except (ConfigError, TypeError, ValueError) as error:
        raise _formless(column.name, str(series.dtype), str(error)) from error
    if made.dtype != series.dtype and values:
        raise _formless(column.name, str(series.dtype), f"it would come back as {made.dtype}")


def _formless(name: str, what: str, reason: str) -> SettingError:
    return SettingError(
        f"the column {name!r} of {argument('sample_input')} ({what}) has no form in JSON: {reason};"
        " convert it before the model gets it, in training too"
    )


def _as_json(values: Any) -> Any:
    return json.loads(json_encode(values))


def _category(name: str, dtype: Any) -> schema.Column:
    categories = dtype.categories
    plain = _pandas_column(name, categories.to_series().astype(categories.dtype))
    ordered = None
    if dtype.ordered:
        ordered = True
    return schema.Column(
        name,
        plain.type,
        "category",
        plain.format,
        categories=tuple(_as_json(categories.tolist())),
        categories_dtype=plain.dtype,
        ordered=ordered,
    )


def _type_of(dtype: Any) -> str:
    """What JSON holds in a column of a dtype, where the dtype says it."""
    name, kind = type(dtype).__name__, getattr(dtype, "kind", "O")
    if kind in "iuf" and name not in ("IntervalDtype", "PeriodDtype"):
        return "number"
    if kind == "b":
        return "boolean"
    if str(dtype).startswith("binary"):
        return "any"
    return "string"


def _dtype_name(dtype: Any) -> str:
    """pandas' name of a dtype. Where pandas gives two dtypes one name, it is the other name."""
    if type(dtype).__name__ == "StringDtype" and str(dtype) == "string":
        return f"string[{dtype.storage}]"
    if type(dtype).__name__ == "ArrowDtype" and str(dtype) == "string[pyarrow]":
        return "utf8[pyarrow]"
    return str(dtype)


def _objects(name: str, series: Any) -> schema.Column:
    missing = series.isna()
    kind, format = _kind(name, series[~missing].tolist())
    return schema.Column(name, kind, "object", format, _missing(series[missing].tolist()))


def _missing(values: Sequence[Any]) -> str | None:
    """What is missing in a column of objects; the more frequent if it is not one value alone."""
    kinds = Counter(MISSING.get(type(value).__name__, "NaN") for value in values)
    return next((kind for kind, _ in kinds.most_common(1)), None)


def _kind(name: str, values: list[Any]) -> tuple[str, str | None]:
    kinds = {_kind_of(name, value) for value in values}
    if len(kinds) == 1:
        return kinds.pop()
    if any(format is not None for _, format in kinds):
        words = " and ".join(sorted(format or kind for kind, format in kinds))
        raise _formless(name, words, "its values have more than one")
    return "any", None


def _kind_of(name: str, value: Any) -> tuple[str, str | None]:
    found = next(((kind, form) for types, kind, form in OBJECTS if isinstance(value, types)), None)
    if found is None or type(value).__module__.startswith("pandas") or not _is_json(value):
        what = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
        raise _formless(name, "object", f"it holds a value of type {what}")
    return found


def _is_json(value: Any) -> bool:
    """Whether what a list or an object holds comes back as it is."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_plain, value.values()))
    return True


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, dict)):
        return _is_json(value)
    finite = not isinstance(value, (float, np.floating)) or bool(np.isfinite(value))
    return value is None or (isinstance(value, (str, bool, np.bool_, *NUMBERS)) and finite)


# ---- polars ----


def _polars_column(series: Any) -> schema.Column:
    name = str(series.name)
    kind = _polars_name(name, series.dtype)
    if kind == "Enum":
        return schema.Column(name, "string", kind, categories=tuple(series.dtype.categories))
    missing = None
    if kind.startswith("Float") and series.is_nan().any() and not series.null_count():
        missing = "NaN"
    column = schema.Column(name, _polars_type(kind), kind, missing=missing)
    _check_polars(column, series.head(TRIED_ROWS))
    return column


def _check_polars(column: schema.Column, few: Any) -> None:
    """Refuse a column that its rows do not make again."""
    try:
        rows = _as_json([[value] for value in few.to_list()])
        made = Signature(schema.TableInput((column,), schema.POLARS)).inputs(rows or [[None]])
    except (ConfigError, TypeError, ValueError) as error:
        raise _formless(column.name, str(few.dtype), str(error)) from error
    again = made.get_column(column.name)
    if again.dtype != few.dtype or (len(few) and column.type == "list" and not again.equals(few)):
        raise _formless(column.name, str(few.dtype), f"it would come back as {again.dtype}")


def _polars_type(kind: str) -> str:
    if kind.startswith(("Int", "UInt", "Float")):
        return "number"
    if kind.startswith(("List", "Array")):
        return "list"
    if kind in ("Null", "Binary"):
        return "any"
    return POLARS_TYPES.get(kind, "string")


def _polars_name(name: str, dtype: Any) -> str:
    """A dtype as `common/rows/columns/polars_columns.py` reads it."""
    kind = type(dtype).__name__
    parts: Iterable[Any] = ()
    if kind in ("Datetime", "Duration"):
        parts = (dtype.time_unit, getattr(dtype, "time_zone", None))
    elif kind == "Decimal":
        parts = (dtype.precision, dtype.scale)
    elif kind == "List":
        parts = (_polars_name(name, dtype.inner),)
    elif kind == "Array":
        parts = (_polars_name(name, dtype.inner), dtype.size)
    inner = ", ".join(str(part) for part in parts if part is not None)
    if not inner:
        return kind
    return f"{kind}[{inner}]"
