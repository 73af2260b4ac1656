"""The JSON form of a column's values: in words for messages, and as a JSON schema.

This module is pure data, as `schema.py` is: the server's environment reads it too. `times.py` and
`cells.py` convert values of these forms.

Sources: ISO 8601-1:2019 for dates, times and durations; JSON Schema Validation 2020-12, section
7.3, for the names `date-time`, `date`, `time`, `duration` and `uuid`; TensorFlow Serving's REST API
for `{"b64": "..."}`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...schema import Column

_SPARSE = re.compile(r"Sparse\[(\w+), .*\]")
# What pandas, Arrow and polars call numpy's dtypes, in lower case.
_ALIASES = {"boolean": "bool", "double": "float64", "float": "float32", "halffloat": "float16"}
_ZONE = re.compile(r"\[\w+, (?:tz=)?([^\]]+)\]")
MOST_CATEGORIES = 10  # in a message
# numpy's dtypes for those that it lacks, as PyTorch names them.
STAND_INS = {
    "bfloat16": "float32",
    "float8_e4m3fn": "float32",
    "float8_e5m2": "float32",
    "complex32": "complex64",
}


@dataclass(frozen=True)
class Form:
    """How a value is sent.

    Attributes:
        words: what it must be, for a message.
        schema: the JSON schema of one value, without null.
    """

    words: str
    schema: Mapping[str, Any]


def _text(words: str, example: str, format: str | None = None) -> Form:
    schema: dict[str, Any] = {"type": "string", "examples": [example]}
    if format is not None:
        schema["format"] = format
    return Form(f'{words} as in "{example}"', schema)


B64 = {
    "type": "object",
    "required": ["b64"],
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
}
FORMS: dict[str, Form] = {
    "number": Form("a number", {"type": "number"}),
    "boolean": Form("a boolean", {"type": "boolean"}),
    "string": Form("a string", {"type": "string"}),
    "list": Form("a list", {"type": "array"}),
    "object": Form("an object", {"type": "object"}),
    "scalar": Form("a string, a number", {}),  # of a column without a dtype
    "any": Form("any JSON", {}),
    "date-time": _text("a date and time", "2024-05-01T12:30:00Z", "date-time"),
    "date": _text("a date", "2024-05-01", "date"),
    "time": _text("a time", "12:30:00", "time"),
    "duration": _text("a duration", "PT1H30M", "duration"),
    "decimal": _text("a decimal number in quotes,", "1.10"),
    "uuid": _text("a UUID", "123e4567-e89b-12d3-a456-426614174000", "uuid"),
    "period": _text("a period", "2024-05"),
    "interval": _text("an interval", "(0.0, 1.5]"),
    "bytes": Form('a string or bytes as in {"b64": "AAEC"}', {"anyOf": [{"type": "string"}, B64]}),
}
EXAMPLES: dict[str, Any] = {"boolean": False, "string": "", "list": [], "object": {}, "bytes": ""}
# The beginnings of the dtypes that have a form of their own: pandas', pyarrow's and polars'.
DTYPES = {
    "datetime64[": "date-time",
    "timestamp[": "date-time",
    "Datetime[": "date-time",
    "timedelta64[": "duration",
    "duration[": "duration",
    "Duration[": "duration",
    "date32[": "date",
    "date64[": "date",
    "Date": "date",
    "time32[": "time",
    "time64[": "time",
    "Time": "time",
    "decimal128": "decimal",
    "Decimal[": "decimal",
    "binary[": "bytes",
    "Binary": "bytes",
    "period[": "period",
    "interval[": "interval",
}


def form_name(column: Column) -> str:
    """The key in `FORMS` of a column's values."""
    if column.format is not None:
        return column.format
    dtype = column.categories_dtype or column.dtype
    if dtype is None and column.type == "any":
        return "scalar"
    found = (name for start, name in DTYPES.items() if (dtype or "").startswith(start))
    return next(found, column.type)


def numpy_name(column: Column) -> str:
    """numpy's name of the dtype of a column's values, or of its categories; else their own.

    It is empty where it is not known.
    """
    dtype = column.categories_dtype or column.dtype or ""
    if found := _SPARSE.fullmatch(dtype):
        dtype = found[1]
    plain = dtype.removesuffix("[pyarrow]").lower()
    return _ALIASES.get(plain, plain)


def form_of(column: Column) -> Form:
    """The form of a column's values."""
    return FORMS[form_name(column)]


def words(column: Column) -> str:
    """What a value must be, for a message: `a number or null`."""
    if column.categories is None:
        return f"{form_of(column).words} or null"
    shown = [json.dumps(value, ensure_ascii=False) for value in column.categories]
    if len(shown) > MOST_CATEGORIES:
        shown[MOST_CATEGORIES:] = [f"{len(shown) - MOST_CATEGORIES} more"]
    return f"one of {', '.join(shown)} or null"


def example(column: Column) -> Any:
    """A value of the column, to try a model with."""
    if column.categories:
        return column.categories[0]
    found = form_of(column).schema
    if "examples" in found:
        return found["examples"][0]
    return EXAMPLES.get(form_name(column), 0)


def _clock(column: Column) -> str:
    """The time zone of a column's dtype; UTC for one that has none."""
    found = _ZONE.search(column.dtype or "")
    if found is None:
        return "UTC"
    return found[1]


def json_schema(column: Column) -> dict[str, Any]:
    """The JSON schema of a column's values, with null."""
    if column.categories is not None and column.unknown is None:
        return {"enum": [*column.categories, None]}
    schema = dict(form_of(column).schema)
    if form_name(column) == "date-time":
        schema["description"] = f"Without an offset, it is on the clock of {_clock(column)}"
    if "type" in schema:
        schema["type"] = [schema["type"], "null"]
    elif "anyOf" in schema:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema
