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

from ..errors import InvalidInput
from ..rows.extent import extent
from ..schema import ModelInput, TensorsInput
from ..words import kind_of, listing
from .columns import ROWS_AT_ONCE, Columns
from .density import Steps, at_once
from .json_codec import json_decode, json_encode
from .json_decoder import NAN, without_nan
from .json_rows import JsonPieces, JsonRows
from .places import ANY, Path, Places
from .values import DecodeError, Encoder

SPLIT, RECORDS, INPUTS, INSTANCES = "dataframe_split", "dataframe_records", "inputs", "instances"
INPUT_DATA = "input_data"
FORMS = (SPLIT, RECORDS, INPUTS, INSTANCES, INPUT_DATA)
PARAMS, PARAMETERS = "params", "parameters"


class Scoring:
    """Decodes bodies for a model.

    Args:
        described: `model.input` of a Config; None takes any rows.

    Attributes:
        places: where bodies have rows.
    """

    def __init__(self, described: ModelInput | None = None) -> None:
        self._columns = Columns(described)
        of_scalars = self._columns.names is not None and extent(described) is not None
        self.places = scoring_places(of_scalars and not isinstance(described, TensorsInput))

    def decode(self, body: bytes | memoryview, request_id: str) -> tuple[dict[str, Any], Encoder]:
        """The request in a body, and what encodes its response.

        Raises:
            DecodeError: the body is not JSON.
            InvalidInput: it is not of exactly one form, or its rows or columns are not.
        """
        return at_once(self.request(_decoded(body), len(body))), json_encode

    def pieces(self, body: bytes | memoryview) -> "ScoringPieces":
        """The body, to be decoded in pieces."""
        return ScoringPieces(self, body)

    def request(self, body: Any, size: int) -> Steps[dict[str, Any]]:
        """The request in a decoded body, with pauses.

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
        rows = yield from self._rows(given[0], body.pop(given[0]), size)
        if PARAMS in body:
            _rename_params(body)
        return {**body, INSTANCES: rows}

    def _rows(self, form: str, value: Any, size: int) -> Steps[list[Any]]:
        is_object = isinstance(value, dict)
        is_split = is_object and {"columns", "data"} <= value.keys()
        if form == SPLIT or (form == INPUT_DATA and is_split):
            return (yield from self._of_split(form, value, size))
        if is_object and form in (INPUTS, INPUT_DATA):
            return (yield from self._columns.of_lists(value, f'"{form}"', size))
        if not isinstance(value, list):
            also = " or an object of columns" if form in (INPUTS, INPUT_DATA) else ""
            raise InvalidInput(f'"{form}" must be a list of rows{also}, it is {kind_of(value)}')
        return value

    def _of_split(self, form: str, table: Any, size: int) -> Steps[list[Any]]:
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
            for start in range(0, len(rows), ROWS_AT_ONCE):
                check_widths(form, rows[start : start + ROWS_AT_ONCE], len(names), start)
                yield
        elif not set(map(type, rows)) <= {list}:
            return rows
        return (yield from self._columns.rows(rows, names, f'"columns" in "{form}"', size))

    def order(self, form: str, names: Any) -> int:
        """How many names the rows of a table have, if the model takes these."""
        named = _names(form, names)
        self._columns.order(named, f'"columns" in "{form}"')
        return len(named)


def scoring_places(of_scalars: bool) -> Places:
    """Where MLflow's scoring protocol has rows.

    Args:
        of_scalars: whether the model takes no lists and objects in columns.
    """
    keys = ("instances", "inputs", "dataframe_records", "input_data")
    rows: tuple[Path, ...] = (
        *((key,) for key in keys),
        ("dataframe_split", "data"),
        ("input_data", "data"),
    )
    columns: tuple[Path, ...] = (("inputs", ANY), ("input_data", ANY))
    if not of_scalars:
        rows, columns = rows + columns, ()
    index = (("dataframe_split", "index"), ("input_data", "index"))
    return Places(rows=rows, columns=columns, dropped=index)


class ScoringRows(JsonRows):
    """Reads rows in a list, or in a table.

    Args:
        columns: makes rows of a table.
        body: the JSON.
    """

    keys = ("instances", "inputs", "dataframe_records")
    places = scoring_places(of_scalars=False)

    def __init__(self, columns: Columns, body: bytes | memoryview) -> None:
        super().__init__(body)
        self._columns = columns
        self._table: str | None = None  # its form
        self._names: Any = None

    def batches(self) -> Iterator[list[Any]]:
        """As in JsonRows; raises InvalidInput where a table's names or rows are wrong."""
        before = 0
        for rows in super().batches():
            if self._table is None:
                yield rows
                continue
            names = None
            if self._names is not None:
                names = _names(self._table, self._names)
                check_widths(self._table, rows, len(names), before)
            elif not set(map(type, rows)) <= {list}:
                return
            before += len(rows)
            place = f'"columns" in "{self._table}"'
            yield at_once(self._columns.rows(rows, names, place, len(self._body)))

    def others(self) -> Steps[dict[str, Any]]:
        if self._table is None:
            return (yield from super().others())
        found = yield from self._without_rows()
        table = found.pop(self._table)
        if table["data"] != [] or table.get("columns") != self._names:
            raise ValueError("the table has other rows, or its names come later")
        return dict(found)

    def _found(self, path: Path, around: Any) -> None:
        super()._found(path, around)
        if self._key == "data":
            self._table, self._names = path[0], around.get("columns")
        elif len(path) > 1:
            raise ValueError("the rows are in columns")


class ScoringPieces(JsonPieces):
    """Decodes a large body, some of its rows at a time.

    Args:
        codec: makes the request.
        body: the JSON.
    """

    takes_nan = True

    def __init__(self, codec: Scoring, body: bytes | memoryview) -> None:
        super().__init__(body)
        self.places = codec.places
        self._codec = codec
        self._width: int | None = None  # of the rows of a table

    def _check(self, path: Path, around: Any, before: int, rows: list[Any]) -> None:
        """Check a table's rows where its names come first."""
        if path[-1] != "data" or around.get("columns") is None:
            return
        if self._width is None:
            self._width = self._codec.order(path[0], around["columns"])
        check_widths(path[0], rows, self._width, before)

    def _opened(self, body: Any) -> Steps[tuple[Any, Encoder]]:
        request = yield from self._codec.request(body, len(self._body))
        return request, json_encode


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


def check_widths(form: str, rows: list[Any], width: int, before: int) -> None:
    """Check that some rows, behind others, have as many values as there are names."""
    if set(map(type, rows)) <= {list} and set(map(len, rows)) <= {width}:
        return
    for index, row in enumerate(rows, before):
        place = f'"data[{index}]" in "{form}"'
        if not isinstance(row, list):
            raise InvalidInput(f"{place} must be a list, it is {kind_of(row)}")
        if len(row) != width:
            raise InvalidInput(f'{place} has {len(row)} values for {width} names in "columns"')


def _decoded(body: bytes | memoryview) -> Any:
    """The decoded JSON, with null where it has NaN."""
    try:
        return json_decode(body)
    except DecodeError:
        if NAN not in bytes(body):
            raise
    return json_decode(without_nan(body))
