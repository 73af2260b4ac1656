"""Rows in memory (arrays, DataFrames, lists) as the rows of a JSON body, and answers compared with predictions."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import SettingError
from .runtime import json_encode, schema

Array = np.ndarray[Any, np.dtype[Any]]


def rows(instances: Any) -> list[Any]:
    """Rows as they would stand under `instances`, with the very values they have in memory.

    Args:
        instances: an array or sparse matrix of shape [n, ...], a DataFrame, a Series, a list of rows, or a dict of
            arrays keyed by input name.
    """
    if isinstance(instances, Mapping):
        columns = {str(name): rows(part) for name, part in instances.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if hasattr(instances, "toarray"):
        instances = instances.toarray()
    if hasattr(instances, "to_dict") and hasattr(instances, "columns"):
        return [_plain_values(row) for row in instances.to_dict(orient="records")]
    listed = instances.tolist() if hasattr(instances, "tolist") else list(instances)
    return listed if isinstance(listed, list) else [listed]


def body_rows(instances: Any) -> list[Any]:
    """The same rows as a client would write them: dates are texts, what is no number is null.

    Raises:
        SettingError: they hold something that JSON has no word for.
    """
    try:
        return list(json.loads(json_encode(rows(instances))))
    except TypeError as error:
        raise SettingError(f"sample_input cannot be sent as JSON: {error}") from error


def columns(frame: Any) -> tuple[schema.Column, ...]:
    """A DataFrame's columns, as `model.input` describes them."""
    return tuple(_column(frame[name]) for name in frame.columns)


def _column(series: Any) -> schema.Column:
    name, kind, dtype = str(series.name), _json_type(series), str(series.dtype)
    if dtype == "category":
        return schema.Column(name, kind, dtype, tuple(series.cat.categories.tolist()))
    return schema.Column(name, kind, dtype)


def _json_type(series: Any) -> str:
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iuf":
        return "number"
    if kind == "b":
        return "boolean"
    present = series.dropna()
    texts = bool(len(present)) and all(isinstance(value, str) for value in present)
    return "string" if texts or kind == "M" else "any"


def _plain_values(row: dict[Any, Any]) -> dict[str, Any]:
    return {
        str(name): None if value is None or value != value else value for name, value in row.items()
    }
