"""The input example of an MLflow model, in the dtypes of its signature."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ScaffoldError

DTYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "datetime": "datetime64[ns]",
}


def read(directory: Path, document: Mapping[str, Any]) -> Any:
    """The rows of the example, as the model takes them; None if there are none.

    Raises:
        ScaffoldError: `MLmodel` names an example that cannot be read.
    """
    columns = _columns(document)
    info = document.get("saved_input_example_info")
    if not isinstance(info, Mapping) or "artifact_path" not in info:
        return None
    file = directory / str(info["artifact_path"])
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScaffoldError(
            f"SOURCE {str(file)!r}, the input example, cannot be read: {error}"
        ) from error
    match info.get("type"):
        case "dataframe":
            return _frame(content, columns)
        case "ndarray":
            return _arrays(content, columns)
        case "json_object" if isinstance(content, list):
            return content
    return None


def _columns(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The signature's inputs, each with its type and its name if it has one."""
    signature = document.get("signature") or {}
    with contextlib.suppress(ValueError):
        columns = json.loads(signature.get("inputs") or "[]")
        return [column for column in columns if isinstance(column, Mapping)]
    return []


def _frame(content: Any, columns: list[Mapping[str, Any]]) -> Any:
    """A DataFrame; rows that are objects where pandas is not installed."""
    if not isinstance(content, Mapping):
        return None
    try:
        import pandas
    except ModuleNotFoundError:
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    names = content.get("columns")
    if names is None:  # it had none
        names = range(len(content["data"][0]))
    frame = pandas.DataFrame(content["data"], columns=names)
    for column in columns:
        dtype, name = DTYPES.get(str(column.get("type"))), column.get("name")
        if dtype is not None and name in frame:
            with contextlib.suppress(TypeError, ValueError):  # a missing value in whole numbers
                frame[name] = frame[name].astype(dtype)
    return frame


def _arrays(content: Any, columns: list[Mapping[str, Any]]) -> Any:
    """An array, or a dict of them."""
    import numpy as np

    if isinstance(content, Mapping):
        content = content.get("inputs", content)
    dtypes = {column.get("name"): _tensor_dtype(column) for column in columns}
    if isinstance(content, Mapping):
        return {name: np.asarray(part, dtypes.get(name)) for name, part in content.items()}
    return np.asarray(content, dtypes.get(None))


def _tensor_dtype(column: Mapping[str, Any]) -> str | None:
    spec = column.get("tensor-spec") or {}
    dtype = spec.get("dtype")
    if dtype in (None, "object", "str"):
        return None
    return str(dtype)
