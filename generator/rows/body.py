"""Rows in memory (arrays, DataFrames, lists) as the rows of a JSON body."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..arguments import argument
from ..common import json_encode
from ..errors import SettingError
from . import tables

FEW = 4
FEW_CHARACTERS = 1000


def request_of(instances_or_request: Any) -> dict[str, Any]:
    """A request of rows, or the request itself with its rows as JSON has them.

    Args:
        instances_or_request: rows as `rows` takes them, or a dict with `instances` and whatever
            else.

    Raises:
        SettingError: the inputs of a dict of arrays have different numbers of rows.
    """
    if _is_request(instances_or_request):
        request = dict(instances_or_request)
    elif isinstance(instances_or_request, Mapping):
        request = {"instances": sent(instances_or_request)}
    else:
        request = {"instances": instances_or_request}
    instances = request.get("instances")
    if isinstance(instances, Iterable) and not isinstance(instances, (str, bytes, dict)):
        request["instances"] = sent(instances)
    return request


def _is_request(given: Any) -> bool:
    """Whether it is a request, and not a dict of arrays of rows keyed by input name."""
    if not isinstance(given, Mapping):
        return False
    parts = given.values()
    return "instances" in given or not parts or not all(hasattr(part, "shape") for part in parts)


def sent(instances: Any) -> list[Any]:
    """Rows as `rows` gives them, with `{"b64": "..."}` for bytes, which JSON lacks.

    Raises:
        SettingError: as `rows`, or they are nested too deeply for JSON.
    """
    listed = rows(instances)
    if not isinstance(instances, (list, tuple, Mapping)) and not _holds_objects(instances):
        return listed
    try:
        return [_with_b64(row) for row in listed]
    except RecursionError:
        raise SettingError("the rows are nested too deeply to be sent as JSON") from None


def _holds_objects(instances: Any) -> bool:
    return getattr(getattr(instances, "dtype", None), "kind", None) in ("O", "S")


def _with_b64(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: _with_b64(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_b64(item) for item in value]
    return value


def rows(instances: Any) -> list[Any]:
    """Rows as they would stand under `instances`, with the very values they have in memory.

    Args:
        instances: an array or sparse matrix of shape [n, ...], a DataFrame, a Series, a list of
            rows, or a dict of arrays keyed by input name.

    Raises:
        SettingError: it is nothing of these, or the inputs of a dict have different numbers of
            rows.
    """
    if isinstance(instances, Mapping):
        return _rows_of_inputs(instances)
    if hasattr(instances, "toarray"):
        instances = instances.toarray()
    if tables.is_frame(instances):
        return tables.rows(instances)
    if getattr(getattr(instances, "dtype", None), "kind", None) in ("m", "M"):
        return list(json.loads(json_encode(instances)))  # numpy's tolist gives counts
    if hasattr(instances, "tolist"):
        instances = instances.tolist()
        if not isinstance(instances, list):  # of an array without axes
            return [instances]
    if not isinstance(instances, Iterable):
        raise SettingError(
            f"rows must be an array, a DataFrame, a list or a dict of arrays, not {instances!r:.60}"
        )
    return list(instances)


def _rows_of_inputs(inputs: Mapping[Any, Any]) -> list[Any]:
    columns = {str(name): rows(part) for name, part in inputs.items()}
    if len({len(column) for column in columns.values()}) > 1:
        sizes = ", ".join(f"{name!r} has {len(column)}" for name, column in columns.items())
        raise SettingError(f"each input must have the same number of rows: {sizes}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def body_rows(instances: Any) -> list[Any]:
    """The same rows as a client would write them: dates are texts, NaN is null.

    Raises:
        SettingError: they hold a value that JSON has no form for.
    """
    try:
        return list(json.loads(json_encode(sent(instances))))
    except TypeError as error:
        raise SettingError(f"{argument('sample_input')} cannot be sent as JSON: {error}") from error


def distinct(listed: list[Any], most: int) -> list[Any]:
    """Up to so many distinct rows of a JSON body, the first one and others all over the list."""
    by_text = {json.dumps(row): row for row in listed}
    found = list(by_text.values())
    count = min(most, len(found))
    return [found[index * (len(found) - 1) // max(count - 1, 1)] for index in range(count)]


def few(listed: list[Any]) -> list[Any]:
    """The first rows, as many as somebody wants to read; at least one."""
    count = 1
    while count < min(len(listed), FEW) and len(json.dumps(listed[: count + 1])) <= FEW_CHARACTERS:
        count += 1
    return listed[:count]
