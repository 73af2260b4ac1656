"""The JSON that MLflow's scoring server takes, as the request that `:predict` takes.

| form | its value |
|---|---|
| `dataframe_split` | `{"columns": [NAME, ...], "data": [[VALUE, ...], ...]}`; `index` is ignored |
| `dataframe_records` | a list of rows, each an object |
| `inputs` | a list of rows, or an object of columns: lists with a value for each row |
| `instances` | a list of rows, as `:predict` takes them |
| `input_data` | Azure ML's name for any of the first three |

A body has exactly one of them. `params` are what `:predict` calls `parameters`; any other key is
passed on. MLflow's client writes NaN, which JSON lacks: it is read as null.

Sources: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ and
https://learn.microsoft.com/azure/machine-learning/how-to-deploy-mlflow-models-online-endpoints
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..schema import ModelInput
from ..words import kind_of, listing
from .columns import Columns
from .density import outside_strings
from .json_codec import json_decode, json_encode
from .json_rows import JsonPieces, ScoringRows
from .values import DecodeError, Encoder

SPLIT, RECORDS, INPUTS, INSTANCES = "dataframe_split", "dataframe_records", "inputs", "instances"
INPUT_DATA = "input_data"
FORMS = (SPLIT, RECORDS, INPUTS, INSTANCES, INPUT_DATA)
PARAMS, PARAMETERS = "params", "parameters"
NAN = b"NaN"


class Scoring:
    """Decodes bodies for a model.

    Args:
        described: `model.input` of a Config; None takes any rows.
    """

    def __init__(self, described: ModelInput | None = None) -> None:
        self._columns = Columns(described)

    def decode(self, body: bytes | memoryview, request_id: str) -> tuple[dict[str, Any], Encoder]:
        """The request in a body, and what encodes its response.

        Raises:
            DecodeError: the body is not JSON.
            InvalidInput: it is not of exactly one form, or its rows or columns are not.
        """
        return self.request(_decoded(body), len(body)), json_encode

    def pieces(self, body: bytes | memoryview) -> "ScoringPieces":
        """The body, to be decoded in pieces."""
        return ScoringPieces(self, body)

    def request(self, body: Any, size: int) -> dict[str, Any]:
        """The request in a decoded body.

        Args:
            body: what was decoded; it is changed.
            size: of the body, in bytes.

        Raises:
            InvalidInput, DecodeError: as `decode`.
        """
        if not isinstance(body, dict):
            raise InvalidInput(
                f"the body must be an object with one of {listing(FORMS)}, it is {kind_of(body)}"
            )
        given = [form for form in FORMS if form in body]
        if len(given) != 1:
            came = listing(given) if given else "none"
            raise InvalidInput(f"the body must have exactly one of {listing(FORMS)}, it has {came}")
        rows = self._rows(given[0], body.pop(given[0]), size)
        if PARAMS in body:
            _rename_params(body)
        return {**body, INSTANCES: rows}

    def _rows(self, form: str, value: Any, size: int) -> list[Any]:
        is_object = isinstance(value, dict)
        is_split = is_object and {"columns", "data"} <= value.keys()
        if form == SPLIT or (form == INPUT_DATA and is_split):
            return self._of_split(form, value, size)
        if is_object and form in (INPUTS, INPUT_DATA):
            return self._columns.of_lists(value, f'"{form}"', size)
        if not isinstance(value, list):
            also = " or an object of columns" if form in (INPUTS, INPUT_DATA) else ""
            raise InvalidInput(f'"{form}" must be a list of rows{also}, it is {kind_of(value)}')
        return value

    def _of_split(self, form: str, table: Any, size: int) -> list[Any]:
        if not isinstance(table, dict):
            raise InvalidInput(
                f'"{form}" must be an object with "columns" and "data", it is {kind_of(table)}'
            )
        rows, names = table.get("data"), table.get("columns")
        if not isinstance(rows, list):
            came = kind_of(rows) if "data" in table else "missing"
            raise InvalidInput(f'"data" in "{form}" must be a list of rows, it is {came}')
        if names is not None:
            names = _names(form, names)
            _check_widths(form, rows, len(names))
        elif not set(map(type, rows)) <= {list}:
            return rows
        return self._columns.rows(rows, names, f'"columns" in "{form}"', size)


class ScoringPieces(JsonPieces):
    """Decodes a body whose rows are as `:predict` takes them, some of them at a time.

    Args:
        codec: makes the request.
        body: the JSON.
    """

    reader = ScoringRows

    def __init__(self, codec: Scoring, body: bytes | memoryview) -> None:
        super().__init__(body)
        self._codec = codec

    def _opened(self, body: Any) -> tuple[Any, Encoder]:
        return self._codec.request(body, len(self._body)), json_encode


def _rename_params(body: dict[str, Any]) -> None:
    """Call `params` what `:predict` does."""
    params = body.pop(PARAMS)
    if PARAMETERS in body:
        raise InvalidInput(f'the body has "{PARAMS}" and "{PARAMETERS}": send one of them')
    if params is None:
        return
    if not isinstance(params, dict):
        raise InvalidInput(f'"{PARAMS}" must be an object, it is {kind_of(params)}')
    body[PARAMETERS] = params


def _names(form: str, names: Any) -> list[str]:
    """The names of columns. pandas' own, of a DataFrame without any, are whole numbers."""
    if not isinstance(names, list):
        raise InvalidInput(f'"columns" in "{form}" must be a list, it is {kind_of(names)}')
    for index, name in enumerate(names):
        if not isinstance(name, str) and type(name) is not int:
            raise InvalidInput(
                f'"columns[{index}]" in "{form}" must be a string, it is {kind_of(name)}'
            )
    return list(map(str, names))


def _check_widths(form: str, rows: list[Any], width: int) -> None:
    if set(map(type, rows)) <= {list} and set(map(len, rows)) <= {width}:
        return
    for index, row in enumerate(rows):
        place = f'"data[{index}]" in "{form}"'
        if not isinstance(row, list):
            raise InvalidInput(f"{place} must be a list, it is {kind_of(row)}")
        if len(row) != width:
            raise InvalidInput(f'{place} has {len(row)} values for {width} names in "columns"')


# ---- NaN ----


def _decoded(body: bytes | memoryview) -> Any:
    """The decoded JSON, with null where it has NaN."""
    try:
        return json_decode(body)
    except DecodeError:
        if NAN not in bytes(body):
            raise
    return json_decode(b"null".join(_parts(body)))


def _parts(body: bytes | memoryview) -> Iterator[bytes]:
    """What is around each NaN that is not in a string."""
    codes = np.concatenate([codes for _, codes in outside_strings(body)])
    found = (codes[:-2] == NAN[0]) & (codes[1:-1] == NAN[1]) & (codes[2:] == NAN[2])
    start = 0
    for at in map(int, np.flatnonzero(found)):
        yield bytes(body[start:at])
        start = at + len(NAN)
    yield bytes(body[start:])
