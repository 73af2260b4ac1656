"""MLflow's scoring protocol and CSV, as requests of `:predict`."""

import json
import math
import random
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.bodies import DecodeError, csv_rows
from common.bodies.csv_rows import Csv
from common.bodies.density import LARGE_BYTES
from common.bodies.scoring import Scoring
from common.errors import InvalidInput
from common.link.frames import FirstLine, Kind
from common.schema import (
    ArrayInput,
    Column,
    JsonInput,
    ModelInput,
    Parameter,
    TableInput,
    Tensor,
    TensorsInput,
    TextInput,
)
from common.signature import Signature
from common.worker.first_rows import FirstRows
from common.worker.flow import Flow
from common.worker.options import Options
from support.servers.flows import ask, proved
from support.session.cases import first

ARRAY = ArrayInput((2,), "float64")
NAMED = ArrayInput((2,), "float64", ("a", "b"))
NUMBER = ArrayInput((), "float64")
TABLE = TableInput((Column("a", "number", "int64"), Column("b", "string", "object")))
TENSORS = TensorsInput(inputs=(Tensor("a", (), "float32"), Tensor("b", (), "string")))
FORMS = "'dataframe_split', 'dataframe_records', 'inputs', 'instances', 'input_data'"


def scored(body: Any, described: ModelInput | None = None) -> Any:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Scoring(described).decode(sent, "an-id")[0]


def read(
    text: str | bytes, described: ModelInput | None = None, first: FirstLine = FirstLine.NAMES
) -> Any:
    body = text if isinstance(text, bytes) else text.encode()
    return Csv(described).decode(bytes([first]) + body, "an-id")[0]["instances"]


def split(columns: Any, *data: Any) -> dict[str, Any]:
    return {"dataframe_split": {"index": [7, 8][: len(data)], "columns": columns, "data": data}}


# ---- the forms of JSON


@pytest.mark.parametrize(
    ("body", "described", "rows"),
    [
        ({"instances": [[1, 2]]}, ARRAY, [[1, 2]]),
        ({"inputs": [[1, 2]]}, ARRAY, [[1, 2]]),
        ({"dataframe_records": [{"b": "x", "a": 1}]}, TABLE, [{"b": "x", "a": 1}]),
        (split(["a", "b"], [1, "x"], [2, "y"]), TABLE, [[1, "x"], [2, "y"]]),
        (split(["b", "a"], ["x", 1], ["y", 2]), TABLE, [[1, "x"], [2, "y"]]),
        (split(["b", "a"], [1, 2]), NAMED, [[2, 1]]),
        (split(["p", "q"], [1, 2]), ARRAY, [[1, 2]]),
        (split([0, 1], [1, 2]), ARRAY, [[1, 2]]),
        (split(["x"], [1], [2]), NUMBER, [1, 2]),
        (split(["x"], ["one"], ["two"]), TextInput(), ["one", "two"]),
        (split(["b", "a"], ["x", 1]), TENSORS, [{"a": 1, "b": "x"}]),
        (split(["p", "q"], [1, 2]), None, [{"p": 1, "q": 2}]),
        (split(["p"], [[1]]), JsonInput(), [{"p": [1]}]),
        ({"dataframe_split": {"data": [[1, "x"]]}}, TABLE, [[1, "x"]]),
        ({"dataframe_split": {"data": [[1, "x"]]}}, TENSORS, [{"a": 1, "b": "x"}]),
        ({"dataframe_split": {"data": [[1, 2]]}}, None, [[1, 2]]),
        ({"inputs": {"b": ["x", "y"], "a": [1, 2]}}, TABLE, [[1, "x"], [2, "y"]]),
        ({"inputs": {"b": ["x"], "a": [1]}}, TENSORS, [{"a": 1, "b": "x"}]),
        ({"inputs": {"p": [1], "q": [2]}}, None, [{"p": 1, "q": 2}]),
        ({"inputs": {"only": [[1, 2], [3, 4]]}}, ARRAY, [[1, 2], [3, 4]]),
        ({"inputs": {"text": ["one"]}}, TextInput(), ["one"]),
        ({"input_data": split(["a", "b"], [1, "x"])["dataframe_split"]}, TABLE, [[1, "x"]]),
        ({"input_data": [[1, 2]]}, ARRAY, [[1, 2]]),
        ({"input_data": {"columns": [1], "data2": [2]}}, None, [{"columns": 1, "data2": 2}]),
        (split(["a", "b"]), TABLE, []),
        (
            b'{"inputs": [[NaN, "NaN \\" NaN", NaN]], "x": {"y": NaN}}',
            None,
            [[None, 'NaN " NaN', None]],
        ),
    ],
)
def test_forms(body: Any, described: ModelInput | None, rows: list[Any]) -> None:
    assert scored(body, described)["instances"] == rows


@pytest.mark.parametrize(
    ("body", "described", "words"),
    [
        ({}, None, f"exactly one of {FORMS}, it has none"),
        ({"instances": [], "inputs": []}, None, "it has 'inputs', 'instances'"),
        ([1], None, f"an object with one of {FORMS}, it is a list of 1"),
        ({"inputs": 3}, None, '"inputs" must be a list of rows or an object of columns, it is the'),
        ({"inputs": "x"}, TextInput(), "it is the string 'x'"),
        ({"instances": {"a": [1]}}, None, '"instances" must be a list of rows, it is an object'),
        ({"dataframe_records": {"a": 1}}, TABLE, '"dataframe_records" must be a list of rows'),
        ({"dataframe_split": [1]}, None, '"dataframe_split" must be an object with "columns" and'),
        ({"dataframe_split": {"columns": ["a"]}}, None, '"data" in "dataframe_split" must be a'),
        ({"dataframe_split": {"data": None}}, None, "it is null"),
        (split("ab", [1, 2]), None, '"columns" in "dataframe_split" must be a list, it is the str'),
        (
            split([None], [1]),
            None,
            '"columns[0]" in "dataframe_split" must be a string, it is null',
        ),
        (split([True], [1]), None, "must be a string, it is true"),
        (split(["a", "a"], [1, 2]), TABLE, '"columns" in "dataframe_split" has \'a\' more than'),
        (
            split(["a", "b"], [1, "x"], [1]),
            TABLE,
            '"data[1]" in "dataframe_split" has 1 values for',
        ),
        (split(["a", "b"], [1, "x"], {}), TABLE, '"data[1]" in "dataframe_split" must be a list'),
        (split(["a"], [1]), TABLE, "lacks 'b'; the model takes 'a', 'b'"),
        (split(["a", "b", "c"], [1, 2, 3]), NAMED, "has 'c'; the model takes 'a', 'b'"),
        (split(["p", "q"], [1, 2]), TextInput(), "has 2 names, a row of this model is one value"),
        ({"inputs": {"a": [1], "b": 2}}, TABLE, "\"inputs\"['b'] must be a list with a value for"),
        ({"inputs": {"a": [1], "b": []}}, TABLE, 'the columns of "inputs" must be lists of one'),
        ({"inputs": {}}, TABLE, 'the columns of "inputs" must be lists of one length'),
        ({"inputs": {"a": [1]}}, TABLE, "\"inputs\" lacks 'b'"),
        ({"inputs": {"p": [1], "q": [2]}}, ARRAY, "takes the values of a row in their order"),
        ({"inputs": [], "params": 1}, None, '"params" must be an object, it is the number 1'),
        ({"inputs": [], "params": {}, "parameters": {}}, None, 'has "params" and "parameters"'),
        (b'{"inputs": [-NaN]}', None, "the body is not JSON"),
        (b'{"inputs": [NaNNaN]}', None, "the body is not JSON"),
        (b'{"inputs": [Infinity, NaN]}', None, "the body is not JSON"),
        (b'{"inputs": ["NaN]}', None, "the body is not JSON"),
    ],
)
def test_what_is_no_form_is_named(body: Any, described: ModelInput | None, words: str) -> None:
    with pytest.raises((InvalidInput, DecodeError)) as caught:
        scored(body, described)
    assert words in str(caught.value)


def test_other_keys_are_passed_on_and_params_are_parameters() -> None:
    found = scored({"params": {"k": 1}, "inputs": [[1, 2]], "probabilities": True}, ARRAY)
    assert found == {
        "instances": [[1, 2]],
        "parameters": {"k": 1},
        "probabilities": True,
    }
    assert scored({"params": None, "inputs": [[1, 2]]}, ARRAY) == {"instances": [[1, 2]]}


# ---- CSV


@pytest.mark.parametrize(
    ("text", "described", "rows"),
    [
        ("p,q\n1,2.5\n-3e2, 4\n", ARRAY, [[1, 2.5], [-300.0, 4]]),
        ("b,a\nx,1\r\ny,2", TABLE, [[1, "x"], [2, "y"]]),
        ("a,b\n1,1\n2,\n,3\n", TABLE, [[1, "1"], [2, None], [None, "3"]]),
        ('a,b\n1,"x\ny, ""z"""\n', TABLE, [[1, 'x\ny, "z"']]),
        ("\ufeffa,b\r\n1,é\u2028\U0001f600\r\n", TABLE, [[1, "é\u2028\U0001f600"]]),
        ("\n\na,b\n\n1,x\n\n\n", TABLE, [[1, "x"]]),
        ("p,q\n1,nan\nNaN,+.5\n", ARRAY, [[1, None], [None, 0.5]]),
        ("x\none\n1\n", TextInput(), ["one", "1"]),
        ('x\n""\n', TextInput(), [""]),
        ("x\n1\n2\n", NUMBER, [1, 2]),
        ("a,b\n1,x\n", TENSORS, [{"a": 1, "b": "x"}]),
        ("p,q\n1,x\n2,3\n", None, [{"p": 1, "q": "x"}, {"p": 2, "q": "3"}]),
        ("p,q\n1,\n2,3\n", JsonInput(), [{"p": 1, "q": None}, {"p": 2, "q": 3}]),
        ("1,x\n2,3\n", ARRAY, [[2, 3]]),
    ],
)
def test_csv(text: str, described: ModelInput | None, rows: list[Any]) -> None:
    assert read(text, described) == rows


def test_a_table_of_every_type() -> None:
    types = ("number", "boolean", "string", "list", "object", "any", "any")
    formats = (None, None, "date-time", None, None, None, "bytes")
    columns = [
        Column(name, kind, None, form)
        for name, kind, form in zip("abcdefg", types, formats, strict=True)
    ]
    row = '1.50,True,2024-05-01,"[1, ""x""]","{""k"": null}",7,8'
    found = read(f"{','.join('abcdefg')}\n{row}\n", TableInput(tuple(columns)))
    assert found == [[1.5, True, "2024-05-01", [1, "x"], {"k": None}, 7, "8"]]


@pytest.mark.parametrize(
    ("first", "text", "rows"),
    [
        (FirstLine.ABSENT, "1,2\n3,4", [[1, 2], [3, 4]]),
        (FirstLine.ABSENT, "1,2", [[1, 2]]),
        (FirstLine.PRESENT, "0,1\n3,4", [[3, 4]]),
    ],
)
def test_the_first_line_is_what_the_media_type_says(
    first: FirstLine, text: str, rows: list[Any]
) -> None:
    assert read(text, ARRAY, first) == rows
    assert read("1,x\n", TABLE, FirstLine.ABSENT) == [[1, "x"]]
    assert read("1,x\n", TENSORS, FirstLine.ABSENT) == [{"a": 1, "b": "x"}]
    assert read("1,x\n", None, FirstLine.ABSENT) == [[1, "x"]]


@pytest.mark.parametrize(
    ("text", "described", "words"),
    [
        ("", ARRAY, "the body is empty: send at least one row"),
        ("\ufeff\n\n", ARRAY, "the body is empty"),
        ("1,2\n3,4\n", ARRAY, "has numbers where names are expected: send Content-Type: text/csv;"),
        ("5.1,nan", None, "header=absent if it is a row, or header=present if these are names"),
        ("p,q", ARRAY, "the CSV has a line of names and no row"),
        ("p,q\n1,2\n3\n", ARRAY, "row 2 of the CSV has 1 values, not 2"),
        ("p,q\n1,2,3\n", ARRAY, "row 1 of the CSV has 3 values, not 2"),
        ("p,q\n1,x\n", ARRAY, "row 1 of the CSV: 'q' must be a number, or empty, it is 'x'"),
        ("p,q\n1,inf\n", ARRAY, "must be a number, or empty, it is 'inf'"),
        ("p,q\n1,1e999\n", ARRAY, "it is '1e999'"),
        ("p,q\n1,1_0\n", ARRAY, "it is '1_0'"),
        ("p,q\n1,٣\n", ARRAY, "must be a number"),
        (f"p,q\n1,{'1' * 5000}x\n", ARRAY, "must be a number"),
        ("p,q\n1,true\n", ARRAY, "it is 'true'"),
        ('p,q\n"[1","2]"\n', ARRAY, "'p' must be a number, or empty, it is '[1'"),
        ('p,q\n"1,2",""\n', ARRAY, "'p' must be a number, or empty, it is '1,2'"),
        ("a,c\n1,x\n", TABLE, "the first line of the CSV lacks 'b'"),
        ("c,d\n1,x\n", TABLE, "send Content-Type: text/csv; header=absent if it is a row"),
        ("a,b,\n1,x,0\n", TABLE, "has ''; the model takes 'a', 'b'"),
        ("a,a\n1,x\n", TABLE, "has 'a' more than once"),
        ('a,b\n1,"x', TABLE, "the body is not CSV: unexpected end of data"),
        ('a,b\n1,"x"y\n', TABLE, "the body is not CSV: ',' expected after '\"'"),
        (f"a,b\n1,{'x' * 200_000}\n", TABLE, "field larger than field limit"),
        (b"a,b\n1,\xff\n", TABLE, "the body is not UTF-8: invalid start byte at byte 6"),
        (f"{',' * (1 << 20)}\n", None, "the CSV has 1048577 columns, more than 1048576"),
    ],
)
def test_what_is_no_csv_of_the_model_is_named(
    text: str | bytes, described: ModelInput | None, words: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(text, described)
    assert words in str(caught.value) and len(str(caught.value)) < 400


def test_a_row_without_names_has_as_many_values_as_the_model_takes() -> None:
    for described in (TABLE, NAMED, TENSORS):
        with pytest.raises(InvalidInput, match="row 1 of the CSV has 3 values, the model takes 2"):
            read("1,x,3\n", described, FirstLine.ABSENT)


def test_numbers_are_those_of_json() -> None:
    written = ["0", "-0", "1.0", "0.1", "1e5", "18446744073709551615", "18446744073709551616",
               "-9223372036854775808", "-9223372036854775809", "123456789.123456789"]  # fmt: skip
    rows = scored(f'{{"instances": [[{",".join(written)}]]}}'.encode())["instances"]
    assert [*map(repr, read(",".join(written), None, FirstLine.ABSENT)[0])] == [*map(repr, rows[0])]
    # One that JSON would not take makes all of them go another way.
    slow = read(",".join([*written, "+1"]), None, FirstLine.ABSENT)[0]
    assert [*map(repr, slow)] == [*map(repr, [*rows[0], 1])]


def test_what_pandas_writes_comes_back() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.integers(0, 9, 5000), "b": rng.choice(["x", "NA", 'q"'], 5000)})
    frame["c"] = rng.normal(size=5000)
    frame.loc[3, "c"] = np.nan
    kinds = {"a": "number", "b": "string", "c": "number"}
    described = TableInput(tuple(Column(name, kind) for name, kind in kinds.items()))
    expected = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    assert read(frame.to_csv(index=False), described) == expected
    written = json.loads(frame.to_json(orient="split"))
    [row] = scored({"dataframe_split": {**written, "data": written["data"][3:4]}})["instances"]
    assert row == dict(zip("abc", expected[3], strict=True)) and row["c"] is None


# ---- in a worker


class Owner:
    def __init__(self, described: ModelInput) -> None:
        self._signature = Signature(described)
        self.seen: list[dict[str, Any]] = []

    def load(self) -> None: ...

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(request)
        rows = self._signature.inputs(request["instances"])
        return {"predictions": rows.sum(axis=1)}

    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
        return response


def flow_of(owner: Owner, described: ModelInput, options: Options | None = None) -> Flow:
    first = FirstRows(owner, described)
    return Flow(owner, proved(256), options=options, first_rows=first, described=described)


def test_requests_share_a_call_and_are_answered_in_json() -> None:
    owner = Owner(ARRAY)
    sent = [
        b'{"inputs": [[1, 2]]}',
        b'{"dataframe_split": {"columns": ["p", "q"], "data": [[3, 4]]}}',
    ]
    answers = ask(owner, *sent, kind=Kind.SCORING, flow=flow_of(owner, ARRAY))
    assert answers == [(200, {"predictions": [3.0]}), (200, {"predictions": [7.0]})]
    assert len(owner.seen) == 1
    [answer] = ask(owner, b"\0p,q\n1,2\n", kind=Kind.CSV, flow=flow_of(owner, ARRAY))
    assert answer == (200, {"predictions": [3.0]})


def test_params_are_checked_like_parameters() -> None:
    owner = Owner(ARRAY)
    flow = flow_of(owner, ARRAY, Options((), [Parameter("top", "integer", None)]))
    good, bad = (b'{"inputs": [[1, 2]], "params": {"top": %b}}' % value for value in (b"3", b'"x"'))
    answers = ask(owner, good, bad, kind=Kind.SCORING, flow=flow)
    assert answers[0][0] == 200 and owner.seen[0]["parameters"] == {"top": 3}
    assert answers[1] == (400, {"error": "\"top\" must be a whole number, it is the string 'x'"})


def test_a_large_body_is_refused_by_its_first_row() -> None:
    owner = Owner(ARRAY)
    rows = b",".join([b"[1, 2]"] * 200_000)
    flow = flow_of(owner, ARRAY)
    for key in (b"inputs", b"instances"):
        body = b'{"%b": [[1, 2, 3], %b]}' % (key, rows)
        tracemalloc.start()
        [answer] = ask(owner, body, kind=Kind.SCORING, flow=flow)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert answer[0] == 400 and "instances[0]" in answer[1]["error"]
        assert most < 4 * len(body)


@pytest.mark.parametrize("last", [b"5,6", b"5,x"])
def test_a_large_csv_is_decoded_in_pieces(last: bytes) -> None:
    csv = Csv(ARRAY)
    body = b"\0p,q\n" + b"1,2\n" * 30_000 + last
    pieces = csv.pieces(body)
    assert sum(1 for _ in pieces) > 4
    if last == b"5,6":
        assert pieces.decoded is not None and pieces.error is None
        assert pieces.decoded[0]["instances"] == [[1, 2]] * 30_000 + [[5, 6]]
    else:
        assert pieces.decoded is None and "row 30001 of the CSV: 'q' must be" in str(pieces.error)


def test_a_line_of_very_many_values_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MOST_COLUMNS", 1000)
    body = b"\0p,q\n1,2\n" + b"," * 1001
    with pytest.raises(InvalidInput, match="line 3 of the CSV has more than 1000 commas"):
        Csv(ARRAY).decode(body, "an-id")
    text = b'\0p\n"' + b"a" * 5000 + b'"'
    assert Csv(None).decode(text, "an-id")[0]["instances"] == [{"p": "a" * 5000}]


@pytest.mark.parametrize("form", ["instances", "inputs", "dataframe_records"])
def test_a_large_body_of_rows_is_decoded_in_pieces(form: str) -> None:
    scoring, rows = Scoring(None), [[index, "x"] for index in range(60_000)]
    body = json.dumps({"x": 1, form: rows, "params": {"y": 2}}).encode()
    pieces = scoring.pieces(body)
    assert sum(1 for _ in pieces) > 2
    assert pieces.decoded is not None
    assert pieces.decoded[0] == {"x": 1, "instances": rows, "parameters": {"y": 2}}
    assert pieces.decoded == scoring.decode(body, "an-id")


TABLES: list[Any] = [
    split(["a", "b"], *[[1, "x"]] * 40_000),
    split(["b", "a"], *[[1, 2.5]] * 40_000),
    split(["b", "a"], *[[1, 2.5]] * 40_000, [1]),
    split(["b", "b"], *[[1, 2.5]] * 40_000),
    {"dataframe_split": {"data": [[1, 2]] * 40_000, "columns": ["b", "a"]}},
    {"dataframe_split": {"columns": ["b", "a"], "index": [{}] * 40_000, "data": [[1, 2]]}},
    {"inputs": {"b": list(range(60_000)), "a": ["x"] * 60_000}},
    {"input_data": {"b": [{"a": [1]}] * 60_000, "a": ["x"] * 60_000}},
    {"inputs": {"b": list(range(60_000)), "a": ["x"]}},
    {"inputs": {}, "x": [1] * 60_000},
    {"instances": [[1, 2]] * 40_000, "input_data": [[1, 2]] * 40_000},
    {"x": [[1, 2]] * 40_000},
]


@pytest.mark.parametrize("described", [ARRAY, TABLE, None], ids=["array", "table", "any"])
@pytest.mark.parametrize("document", first(3, TABLES), ids=lambda each: "-".join(each)[:30])
def test_any_large_body_is_decoded_in_pieces(document: Any, described: ModelInput | None) -> None:
    scoring, body = Scoring(described), json.dumps(document).encode()
    pieces = scoring.pieces(body)
    assert sum(1 for _ in pieces) > 1
    try:
        expected = scoring.decode(body, "an-id")
    except (DecodeError, InvalidInput) as error:
        assert str(pieces.error) == str(error)
    else:
        assert pieces.decoded is not None
        assert json.dumps(pieces.decoded[0]) == json.dumps(expected[0])


def test_nan_is_null_in_large_bodies_too() -> None:
    scoring, body = (
        Scoring(None),
        json.dumps({"inputs": [[1.5, math.nan, "NaN"]] * 60_000}).encode(),
    )
    pieces = scoring.pieces(body)
    list(pieces)
    assert pieces.decoded is not None
    assert pieces.decoded[0] == {"instances": [[1.5, None, "NaN"]] * 60_000}


def test_a_large_body_makes_no_more_objects_than_json_may_hold() -> None:
    count = LARGE_BYTES // 2 + 1
    columns = b'{"inputs": {"a": [%b]}}' % b",".join([b"1"] * count)
    for kind, body in ((Kind.SCORING, columns), (Kind.CSV, b"\0a\n" + b"1\n" * count)):
        [(status, answer)] = ask(Owner(ARRAY), body, kind=kind, flow=Flow(Owner(ARRAY), proved(1)))
        assert status == 400 and "lists and objects in" in answer["error"]


def test_one_line_of_many_columns_takes_no_longer_than_as_many_rows() -> None:
    width = csv_rows.MOST_COLUMNS
    [row] = read(b"1," * (width - 1) + b"1", ARRAY, FirstLine.ABSENT)
    assert len(row) == width


# ---- whatever comes

MODELS: tuple[ModelInput | None, ...] = (
    *(None, ARRAY, NAMED, NUMBER, TABLE, TENSORS, TextInput(), TextInput("bytes"), JsonInput()),
    TableInput((Column("a", "boolean"), Column("b", "list"))),
    ArrayInput(None, None),
    ArrayInput((2, 2), "complex64"),
)
VALUES: list[Any] = [
    *(None, 1, 2.5, "a", True, [], {}, [1], [[1, 2]], [["x", "y"]], [{"a": 1, "b": "x"}]),
    *({"a": [1], "b": [2]}, {"columns": ["b", "a"], "data": [[1, 2]]}, {"data": [[1]]}),
    *(
        float("nan"),
        {"columns": [["a"]], "data": [[1]]},
        {"columns": ["a", "b"], "data": [[1], []]},
    ),
]
KEYS = ["dataframe_split", "dataframe_records", "inputs", "instances", "input_data", "params", "x"]
CELLS = [
    "",
    "1",
    "-2.5e3",
    "nan",
    "x",
    '"q,""\n"',
    "true",
    "[1]",
    '"[1"',
    " 3 ",
    "1_0",
    "\0",
    "é",
    '"',
]


def some_json(choice: random.Random) -> bytes:
    keys = choice.choices(KEYS, k=choice.choice((1, 1, 1, 2)))
    return json.dumps({key: choice.choice(VALUES) for key in keys}).encode()


def some_csv(choice: random.Random) -> bytes:
    width = choice.choice((1, 2, 2, 2, 3))
    lines = [",".join(choice.choices(CELLS, k=width)) for _ in range(choice.randrange(4))]
    names = choice.choice((["a,b"], ["b,a"], ["p,q"], ["p"], []))
    ends = choice.choice(("\n", "\r\n", "\n\n"))
    return bytes([choice.randrange(3)]) + ends.join([*names, *lines]).encode()


@pytest.mark.parametrize(("codec", "some"), [(Scoring, some_json), (Csv, some_csv)])
def test_whatever_comes_is_rows_or_one_clear_error(codec: Any, some: Any) -> None:
    choice, found = random.Random(17), set()
    codecs = [(codec(described), Signature(described)) for described in MODELS]
    for _ in range(5000):
        body = bytearray(some(choice))
        if len(body) > 1 and choice.random() < 0.1:
            body[choice.randrange(1, len(body))] = choice.randrange(256)
        decoder, signature = choice.choice(codecs)
        try:
            request, _ = decoder.decode(memoryview(body), "an-id")
            signature.inputs(request["instances"])
            found.add("rows")
        except (InvalidInput, DecodeError) as error:
            assert str(error) and len(str(error)) < 1000
            found.add("error")
    assert found == {"rows", "error"}
