"""Requests through the model, frames, the signature and config.yaml, without a server."""

import json
import logging
import math
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from common import config_file
from common.bodies import json_encode
from common.bodies.v2 import v2_tensors
from common.config import Config
from common.errors import ConfigError, InvalidInput
from common.link.frames import LARGE_BYTES, Kind, Request, Response, Splitter, Stats, receive
from common.schema import ArrayInput, Column, TableInput, TextInput
from common.signature import Signature
from common.worker.flow import PIECE, Flow
from support.servers.flows import ask, proved

ROWS = [[5.1, 3.5], [4.9, 3.0]]


class Owner:
    """An owner's model: doubles the first value of each row, and records predict's requests."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def load(self) -> None: ...

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(request)
        return {"predictions": [2 * row[0] for row in request["instances"]]}

    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
        return response

    @property
    def sizes(self) -> list[int]:
        """How many rows each call of predict got."""
        return [len(call["instances"]) for call in self.calls]


def body(*firsts: Any, **others: Any) -> dict[str, Any]:
    return {"instances": [[first, 0] for first in firsts], **others}


def test_requests_that_arrive_together_share_one_call() -> None:
    owner = Owner()
    answers = ask(owner, body(1), body(2, 3), body(4, 5, 6))
    assert [answer["predictions"] for _, answer in answers] == [[2], [4, 6], [8, 10, 12]]
    assert owner.sizes == [6]


def test_stats_tell_what_shared_a_call() -> None:
    frames = [Request(n, Kind.JSON, "", json_encode(body(*range(n)))) for n in (1, 2)]
    flow = Flow(Owner(), proved(256))
    [(responses, stats)] = list(flow.answer([flow.open(frame) for frame in frames]))
    assert stats is not None and (stats.requests, stats.rows) == (2, 3)
    assert len(responses) == 2 and all(seconds >= 0 for seconds in stats.seconds)
    assert Stats.unpack(stats.pack()) == stats


def test_many_responses_leave_in_pieces_and_the_stats_with_the_last() -> None:
    owner = Owner()
    flow, count = Flow(owner, proved(256)), 2 * PIECE + 6
    opened = [
        flow.open(Request(n, Kind.JSON, "", json_encode(body(n)))) for n in range(1, count + 1)
    ]
    pieces = list(flow.answer(opened))
    assert owner.sizes == [count]
    assert [len(responses) for responses, _ in pieces] == [PIECE, PIECE, 6]
    assert [stats and stats.requests for _, stats in pieces] == [None, None, count]
    assert [
        json.loads(response.body)["predictions"]
        for responses, _ in pieces
        for response in responses
    ] == [[2 * n] for n in range(1, count + 1)]


def test_arrays_share_a_call_as_an_array() -> None:
    owner = Owner()
    one, two = np.array([[1.5, 0.0]]), np.array([[2.5, 0.0], [3.5, 0.0]])
    answers = ask(owner, {"instances": one}, {"instances": two}, kind=Kind.MSGPACK)
    assert [answer["predictions"] for _, answer in answers] == [[3.0], [5.0, 7.0]]
    [call] = owner.calls
    assert isinstance(call["instances"], np.ndarray) and call["instances"].shape == (3, 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (body(1), body(1, top=2)),
        (body(1, top=1), body(1, top=2)),
        (body(1, top=1), body(1, top=True)),
        (body(1), {"instances": [[1, 0, 0]]}),
        (body(1), {"instances": ["1x"]}),
        ({"instances": np.zeros((1, 2))}, {"instances": np.zeros((1, 2), "f4")}),
        ({"instances": np.zeros((1, 2))}, {"instances": np.zeros((1, 3))}),
        ({"instances": np.zeros((1, 2))}, {"instances": [[0.0, 0.0]]}),
        # Longer than numpy shows in a repr, and unlike in the middle only.
        (body(1, mask=np.zeros(5000)), body(1, mask=np.eye(1, 5000, 2500)[0])),
    ],
)
def test_requests_that_differ_in_more_than_rows_share_no_call(one: Any, other: Any) -> None:
    owner = Owner()
    owner.predict = lambda request: (
        owner.calls.append(request) or {"predictions": [0] * len(request["instances"])}
    )  # type: ignore[method-assign,func-returns-value]
    answers = ask(owner, one, other, one, kind=Kind.MSGPACK)
    assert [status for status, _ in answers] == [200, 200, 200]
    assert sorted(owner.sizes) == [1, 2]  # like ones still share


def test_keys_that_cannot_be_compared_share_no_call() -> None:
    class Attaches(Owner):
        def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
            return {**request, "lookup": lambda: None}

    owner = Attaches()
    assert [status for status, _ in ask(owner, body(1), body(2))] == [200, 200]
    assert owner.sizes == [1, 1]


def test_no_rows_share_no_call_with_rows() -> None:
    owner = Owner()
    ask(owner, body(1), {"instances": []}, {"instances": np.zeros((0, 2)).tolist()}, body(2))
    assert sorted(owner.sizes) == [0, 0, 2]


def test_calls_hold_no_more_rows_than_max_batch_size() -> None:
    owner = Owner()
    answers = ask(owner, *(body(n, n) for n in range(5)), body(*range(9)), limit=4)
    assert [answer["predictions"] for _, answer in answers[:5]] == [
        [2 * n, 2 * n] for n in range(5)
    ]
    assert sorted(owner.sizes) == [2, 4, 4, 9]  # a request is never taken apart


def test_max_batch_size_1_turns_sharing_off() -> None:
    owner = Owner()
    ask(owner, body(1), body(2), limit=1)
    assert owner.sizes == [1, 1]


def test_probabilities_and_scalars_are_told_apart_by_rows() -> None:
    class Proba(Owner):
        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            first = np.array(request["instances"])[:, 0]
            self.calls.append(request)
            return {
                "predictions": first,
                "probabilities": np.stack([first, 1 - first], 1),
                "version": "7",
            }

    owner = Proba()
    one, two = (answer for _, answer in ask(owner, body(0.25), body(0.5, 1.0)))
    assert one == {"predictions": [0.25], "probabilities": [[0.25, 0.75]], "version": "7"}
    assert two == {
        "predictions": [0.5, 1.0],
        "probabilities": [[0.5, 0.5], [1.0, 0.0]],
        "version": "7",
    }
    assert owner.sizes == [3]


@pytest.mark.parametrize(
    "response",
    [
        {"predictions": [1]},
        {"predictions": 1},
        {"predictions": np.float64(1)},
        {"predictions": [1, 2], "mean": [1.5, 1.5]},
        {"answers": [1, 2]},
        [1, 2],
        None,
    ],
)
def test_a_response_that_cannot_be_split_turns_sharing_off_and_says_so_once(
    response: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Whole(Owner):
        def predict(self, request: dict[str, Any]) -> Any:
            self.calls.append(request)
            return response if len(request["instances"]) > 1 else {"predictions": [7]}

    owner = Whole()
    flow = Flow(owner, proved(256))
    for _ in range(3):
        assert ask(owner, body(1), body(2), flow=flow) == [(200, {"predictions": [7]})] * 2
    assert owner.sizes == [2] + [1] * 6
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "no longer share" in record.getMessage() and record.levelno == logging.WARNING


class Halt(BaseException):
    """Like a panic in Rust, which is not an Exception in Python."""


def test_an_owner_may_use_the_same_dicts_for_every_request() -> None:
    class Sparing(Owner):
        def __init__(self) -> None:
            super().__init__()
            self.request: dict[str, Any] = {}
            self.response: dict[str, Any] = {}

        def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
            self.request["instances"] = request["instances"]
            return self.request

        def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
            self.response["predictions"] = response["predictions"]
            return self.response

    answers = ask(Sparing(), body(1), body(2, 3), body(4))
    assert [answer["predictions"] for _, answer in answers] == [[2], [4, 6], [8]]


@pytest.mark.parametrize("error", [RuntimeError, InvalidInput, SystemExit, KeyboardInterrupt, Halt])
@pytest.mark.parametrize("phase", ["preprocess", "predict", "postprocess"])
def test_a_failure_harms_only_its_sender(
    phase: str, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Owner):
        def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
            return self._check("preprocess", request, 13 in np.array(request["instances"]))

        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            return super().predict(
                self._check("predict", request, 13 in np.array(request["instances"]))
            )

        def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
            return self._check("postprocess", response, 26 in response["predictions"])

        def _check(self, at: str, value: dict[str, Any], bad: bool) -> dict[str, Any]:
            if bad and at == phase:
                raise error("thirteen is out of the question")
            return value

    one, bad, two = ask(Fails(), body(1), body(13), body(2))
    assert (one, two) == ((200, {"predictions": [2]}), (200, {"predictions": [4]}))
    status, answer = bad
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    if error is InvalidInput:
        assert (status, answer) == (400, {"error": "thirteen is out of the question"})
        assert not errors
    else:
        assert status == 500 and "id-2" in answer["error"] and "thirteen" not in answer["error"]
        [record] = errors
        assert record.request_id == "id-2" and record.exc_info is not None  # type: ignore[attr-defined]


def test_a_response_that_has_no_json_form_is_500(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Owner):
        def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
            return {"predictions": object()}

    [(status, answer)] = ask(Odd(), body(1))
    assert status == 500 and "object" not in answer["error"] and "object" in caplog.text


def test_a_message_that_is_no_utf8_reaches_the_client_all_the_same() -> None:
    class Odd(Owner):
        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            raise InvalidInput("a lone \ud800 surrogate")

    assert ask(Odd(), body(1)) == [(400, {"error": "a lone ? surrogate"})]


def test_preprocess_may_change_the_number_of_rows() -> None:
    class Doubles(Owner):
        def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
            return {
                **request,
                "instances": np.repeat(np.array(request["instances"], float), 2, axis=0),
            }

        def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
            return {"predictions": response["predictions"][::2]}

    owner = Doubles()
    answers = ask(owner, body(1), body(2, 3))
    assert [answer["predictions"] for _, answer in answers] == [[2.0], [4.0, 6.0]]
    assert owner.sizes == [6]


def test_preprocess_may_return_what_cannot_be_merged() -> None:
    class Frames(Owner):
        def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
            return {"instances": pd.DataFrame(request["instances"])}

        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            self.calls.append(request)
            return {"predictions": request["instances"][0] * 2}

    owner = Frames()
    answers = ask(owner, body(1), body(2, 3))
    assert [answer["predictions"] for _, answer in answers] == [[2], [4, 6]]
    assert owner.sizes == [1, 2]


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "not JSON"),
        (b"[1, 2", "not JSON"),
        (b"[1, 2]", "must be an object"),
        (b'"instances"', "must be an object"),
        (b"{}", '"instances" is missing'),
        (b'{"instances": 3}', '"instances" must be a list'),
        (b'{"instances": {"a": 1}}', '"instances" must be a list'),
        (b'{"instances": null}', '"instances" must be a list'),
    ],
)
def test_a_body_that_is_no_request_is_400_and_says_why(sent: bytes, message: str) -> None:
    good, bad = ask(Owner(), body(1), sent)
    assert good == (200, {"predictions": [2]})
    assert bad[0] == 400 and message in bad[1]["error"]


def test_an_array_without_an_axis_is_no_list_of_rows() -> None:
    [(status, answer)] = ask(Owner(), {"instances": np.array(3.0)}, kind=Kind.MSGPACK)
    assert status == 400 and "must be a list of rows" in answer["error"]


# --- frames


def test_frames_are_cut_wherever_the_stream_is() -> None:
    sizes = [0, 1, 2, 3, LARGE_BYTES, 2, LARGE_BYTES + 1]
    frames = [Request(n, Kind.JSON, f"id-{n}", bytes([n]) * size) for n, size in enumerate(sizes)]
    stream = b"".join(frame.pack() for frame in frames)
    for step in (1, 3, 7, LARGE_BYTES, len(stream)):
        splitter = Splitter()
        found = [
            frame
            for at in range(0, len(stream), step)
            for frame in splitter.feed(stream[at : at + step])
        ]
        assert [Request.unpack(frame) for frame in found] == frames


def test_responses_survive_the_wire() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        response = Response(2**40, 503, Kind.JSON, b"{}")
        ours.sendall(response.pack())
        assert [Response.unpack(frame) for frame in receive(theirs, Splitter())] == [response]
        ours.close()
        with pytest.raises(EOFError):
            receive(theirs, Splitter())


# --- signature: arrays


def array(dtype: str | None, *shape: int | None, names: tuple[str, ...] | None = None) -> Signature:
    return Signature(ArrayInput(shape, dtype, names))


def test_rows_become_an_array_of_the_models_dtype() -> None:
    inputs = array("float64", 2).inputs([[1, 2], [3, 4.5]])
    assert inputs.dtype == np.float64 and inputs.tolist() == [[1, 2], [3, 4.5]]


def test_null_becomes_nan() -> None:
    inputs = array("float64", 2).inputs([[None, 1], [2, None]])
    np.testing.assert_array_equal(inputs, [[np.nan, 1], [2, np.nan]])
    np.testing.assert_array_equal(Signature(None).inputs([[None, 1]]), [[np.nan, 1]])


def test_float32_comes_back_to_the_bit() -> None:
    values = np.random.default_rng(0).standard_normal((500, 2)).astype(np.float32)
    for sent in (json.loads(json_encode(values)), values.astype(float).tolist(), values):
        inputs = array("float32", 2).inputs(sent)
        assert inputs.dtype == np.float32 and inputs.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("dtype", "rows", "expected"),
    [
        ("int64", [[1, 2]], "int64"),
        ("uint8", [[1, 255]], "uint8"),
        ("uint8", [[1, 256]], "int64"),  # whole numbers never wrap
        ("int64", [[1.5, 2]], "float64"),
        ("bool", [[True, False]], "bool"),
        ("bool", [[5, 1]], "int64"),
        ("float64", [[2**70, 1]], "float64"),
    ],
)
def test_a_cast_loses_nothing(dtype: str, rows: Any, expected: str) -> None:
    inputs = array(dtype, 2).inputs(rows)
    assert inputs.dtype == expected
    np.testing.assert_array_equal(inputs, np.array(rows, dtype=float))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "instances is empty: send at least one row"),
        ([[1, 2, 3]], r"instances\[0\]: the model takes 2 values a row, this one has 3"),
        ([1, 2], r"instances\[0\] must be a row with 2 values, it is the number 1"),
        (["ab"], r"instances\[0\] must be a number or null, it is the string 'ab'"),
        (
            [[1, 2], [3]],
            r"instances\[1\] must be like instances\[0\], which has 2 values: it is a list of 1",
        ),
        ([[1, 2], None], r"instances\[1\] must be like instances\[0\]"),
        ([[1, 2], [3, "x"]], r"instances\[1\]\[1\] must be a number or null, it is the string 'x'"),
        ([[1, [2]]], "must be numbers, strings or null"),
        ([[1, {}]], r"instances\[0\]\[1\] must be a number or null, it is an object"),
        ([[10**400, 1]], "does not fit 64 bits"),
        (np.array(3.0), "single value"),
        (np.zeros((0, 2)), "empty"),
        (np.zeros((1, 2), "S3"), "must hold numbers"),
        (np.zeros((1, 2), complex), "must hold numbers"),
        ("text", "instances must be a list of rows, it is the string 'text'"),
    ],
)
def test_rows_that_do_not_fit_are_named(rows: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        array("float64", 2).inputs(rows)


def test_deep_nesting_is_refused() -> None:
    deep: Any = [1]
    for _ in range(200):
        deep = [deep]
    for signature in (array("float64", 2), Signature(None), Signature(TextInput())):
        with pytest.raises(InvalidInput):
            signature.inputs(deep)


def test_any_size_fits_where_none_is_said() -> None:
    assert array("float64", None, 2).inputs(np.zeros((3, 7, 2))).shape == (3, 7, 2)


def test_objects_by_name_become_rows_in_the_models_order() -> None:
    named = array("float64", 2, names=("x", "y"))
    assert named.inputs([{"y": 2, "x": 1}, {"x": 3, "y": None}])[:, 0].tolist() == [1, 3]
    for row, message in [
        ({"x": 1}, "lacks 'y'"),
        ({"x": 1, "y": 2, "z": 3}, "has 'z'"),
        ([1, 2], "must be an object keyed by feature name"),
    ]:
        with pytest.raises(InvalidInput, match=rf"instances\[1\].*{message}"):
            named.inputs([{"x": 1, "y": 2}, row])


def test_texts_pass_and_nothing_else() -> None:
    text = Signature(TextInput())
    assert text.inputs(["a", ""]) == ["a", ""]
    assert text.inputs(np.array(["a"])) == ["a"]
    with pytest.raises(InvalidInput, match=r"instances\[1\] must be a string, it is null"):
        text.inputs(["a", None])


def test_without_a_signature_rows_are_what_came() -> None:
    anything = Signature(None)
    assert anything.inputs(["a", "b"]) == ["a", "b"]
    assert anything.inputs([{"a": 1}]) == [{"a": 1}]
    assert anything.inputs([[1, 2]]).tolist() == [[1, 2]]
    assert anything.inputs([["a", 1]]).tolist() == [["a", 1]]


# --- signature: tables

FRAME = pd.DataFrame(
    {
        "whole": pd.Series([1, 2, 3], dtype="int64"),
        "small": pd.Series([1, 2, 3], dtype="uint8"),
        "real": [0.5, np.nan, 2.5],
        "single": pd.Series([0.1, 0.2, 0.3], dtype="float32"),
        "flag": [True, False, True],
        "word": pd.Series(["a", "b", np.nan], dtype=object),
        "kind": pd.Categorical(["red", "blue", None], categories=["blue", "red"]),
        "size": pd.Categorical([1, 2, 1], categories=[1, 2]),
        "day": pd.to_datetime(
            ["2024-02-29", None, "2024-03-01T12:30:00.000001"], format="ISO8601"
        ).astype("datetime64[ns]"),
        "maybe": pd.Series([1, None, 3], dtype="Int64"),
        "perhaps": pd.Series([True, None, False], dtype="boolean"),
        "label": pd.Series(["x", None, "z"], dtype="string"),
    }
)
TYPES = {
    "word": "string",
    "kind": "string",
    "day": "string",
    "flag": "boolean",
    "perhaps": "boolean",
    "label": "string",
}


def column(name: str) -> Column:
    series = FRAME[name]
    described = Column(name, TYPES.get(name, "number"), str(series.dtype))
    if described.dtype != "category":
        return described
    return replace(described, categories=tuple(series.cat.categories.tolist()))


TABLE = Signature(TableInput(tuple(column(name) for name in FRAME)))


def sent(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, encoded as JSON and decoded."""
    return list(
        json.loads(json_encode(frame.astype(object).where(frame.notna(), None).to_dict("records")))
    )


def test_a_table_of_every_column_type_comes_back_the_same() -> None:
    pd.testing.assert_frame_equal(TABLE.inputs(sent(FRAME)), FRAME)


def test_rows_of_a_table_may_be_lists() -> None:
    pd.testing.assert_frame_equal(TABLE.inputs([list(row.values()) for row in sent(FRAME)]), FRAME)


@pytest.mark.parametrize("name", list(FRAME))
def test_a_row_is_read_alike_alone_and_among_others(name: str) -> None:
    """Otherwise an answer would depend on which requests share the call."""
    signature = Signature(TableInput((column(name),)))
    rows = [*sent(FRAME[[name]]), {name: None}]
    together = signature.inputs(rows)[name]
    for index, row in enumerate(rows):
        alone = signature.inputs([row])[name]
        assert alone.dtype == together.dtype or {alone.dtype.kind, together.dtype.kind} <= set(
            "biuf"
        )
        missing = pd.isna(alone[0]), pd.isna(together[index])
        assert all(missing) or (not any(missing) and alone[0] == together[index])


def test_null_is_nan_in_a_column_that_has_no_null() -> None:
    rows = [{**row, "whole": None, "flag": None} for row in sent(FRAME)[:1]] + sent(FRAME)[1:2]
    table = TABLE.inputs(rows)
    assert math.isnan(table["whole"][0]) and table["whole"][1] == 2
    assert math.isnan(table["flag"][0]) and table["flag"][1] == 0


@pytest.mark.parametrize(
    ("name", "value"), [("whole", 2**64 - 1), ("small", 256), ("small", -1), ("whole", 1.5)]
)
def test_a_number_that_does_not_fit_its_column_never_wraps(name: str, value: float) -> None:
    assert TABLE.inputs([{**sent(FRAME)[0], name: value}])[name][0] == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"whole": "1"}, "'whole' must be a number or null, it is the string '1'"),
        ({"whole": True}, "'whole' must be a number or null, it is true"),
        (
            {"whole": 10**30},
            "'whole' must be a whole number of 64 bits or null, it is the number 1",
        ),
        ({"flag": 1}, "'flag' must be a boolean or null, it is the number 1"),
        ({"word": 1}, "'word' must be a string or null"),
        ({"word": ["a"]}, "'word' must be a string or null, it is a list of 1"),
        (
            {"day": "yesterdayish"},
            "'day' must be a date and time as in \"2024-05-01T12:30:00Z\" or null, it is",
        ),
        ({"maybe": 1.5}, "'maybe' must be a whole number or null, it is the number 1.5"),
        ({"odd": 1}, "has 'odd'; the model takes 'whole', 'small'"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_named(
    change: dict[str, Any], message: str
) -> None:
    good = sent(FRAME)[0]
    with pytest.raises(InvalidInput, match=message):
        TABLE.inputs([good, {**good, **change}])


def test_rows_that_are_no_rows_of_a_table() -> None:
    missing = {name: value for name, value in sent(FRAME)[0].items() if name != "day"}
    for row, message in [
        (missing, "lacks 'day'"),
        ([1], "has 1 values, the model takes 12"),
        (3, "must be a list or an object"),
        (None, "must be a list or an object keyed by feature name, it is null"),
    ]:
        with pytest.raises(InvalidInput, match=rf"instances\[0\].*{message}"):
            TABLE.inputs([row])


def test_an_array_may_be_a_table() -> None:
    numbers = Signature(TableInput((column("real"), column("whole"))))
    table = numbers.inputs(np.array([[0.5, 1.0]]))
    assert table.columns.tolist() == ["real", "whole"] and table["real"][0] == 0.5
    records = np.array([(0.5, 1)], dtype=[("real", "f8"), ("whole", "i8")])
    assert numbers.inputs(records)["whole"].dtype == np.int64


# --- tensors


def test_one_tensor_holds_rows() -> None:
    rows = np.zeros((2, 3))
    assert v2_tensors.request_of_tensors({"any": rows}, None)["instances"] is rows


def test_named_tensors_are_columns() -> None:
    described = TableInput((Column("a"), Column("b")))
    named = {"b": np.array([[b"x"], [b"y"]], dtype=object), "a": np.array([1, 2])}
    request = v2_tensors.request_of_tensors(named, described)
    assert request == {"instances": [{"b": "x", "a": 1}, {"b": "y", "a": 2}]}


def test_texts_come_flat() -> None:
    request = v2_tensors.request_of_tensors(
        {"x": np.array([[b"a"], [b"\xc3\xa9"]], dtype=object)}, TextInput()
    )
    assert request == {"instances": ["a", "é"]}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "inputs is empty"),
        ({"a": np.array(1.0)}, "its first axis must be rows"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "same number of rows"),
        ({"a": np.zeros((2, 2)), "b": np.zeros(2)}, r"'a' must have shape \[rows\]"),
        ({"a": np.array([b"\xff"], dtype=object)}, "must hold UTF-8"),
    ],
)
def test_tensors_that_are_no_rows(named: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        v2_tensors.request_of_tensors(named, None)


def test_a_response_becomes_tensors() -> None:
    assert v2_tensors.tensor([1, 2]).dtype == np.int64
    assert v2_tensors.tensor(np.float32([1])).dtype == np.float32
    assert (
        v2_tensors.tensor(["a", 1]).tolist() == ["a", "1"]
        and v2_tensors.tensor(["a"]).dtype == object
    )


# --- config.yaml

DOCUMENT: dict[str, Any] = {
    "model_name": "model",
    "model_metadata": {
        "framework": "sklearn",
        "serving": {"workers": 2},
        "model": {"file": "model.joblib", "input": {"kind": "array", "shape": [4]}},
    },
}


LETTERS = "abcdefghij"
LAUGHS = "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
    for before, name in zip(LETTERS, LETTERS[1:], strict=False)
)
MERGED = "\n".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}"
    for before, name in zip(LETTERS, LETTERS[1:], strict=False)
)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The document with another value at a dotted path."""
    document: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    *parents, last = path.split(".")
    section = document
    for key in parents:
        section = section[key]
    section[last] = value
    return document


def test_a_config_survives_the_way_to_the_worker() -> None:
    config = Config.from_document(DOCUMENT)
    assert config.serving.workers == 2 and config.serving.max_batch_size == 256
    assert Config.from_document(json.loads(json.dumps(config.as_document()))) == config


def test_kfserving_has_no_grpc() -> None:
    document = changed("model_metadata.server", "kfserving")
    assert Config.from_document(document).serving.grpc_port == 0
    with pytest.raises(
        ConfigError, match=r"grpc_port \(or GRPC_PORT in the environment\) must be 0"
    ):
        Config.from_document(document, {"GRPC_PORT": "8081"})


def test_the_environment_overrides() -> None:
    config = Config.from_document(
        DOCUMENT, {"WORKERS": "3", "PORT": "9000", "GRPC_PORT": "0", "HOME": "/"}
    )
    serving = config.serving
    assert (serving.workers, serving.http_port, serving.grpc_port) == (3, 9000, 0)
    assert Config.from_document(DOCUMENT, {"WORKERS": ""}).serving.workers == 2


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("model_name", None, ["model_name", "null"]),
        ("model_name", 7, ["model_name", "7"]),
        ("model_name", "", ["model_name", "a string", "''"]),
        *[
            ("model_name", name, ["model_name must be 1 to 128 letters, digits, '.', '_' or '-'"])
            for name in (
                *("a/b", "a:b", "a b", "a\n", "a\0", ".", "..", "-a", "a?b", "a#b", "a%2fb", "é"),
                *("<script>alert(1)</script>", "'", '"', "\ud800", "a" * 129, "１"),
            )
        ],
        ("pyhton_version", "py311", ["pyhton_version is not known; did you mean python_version?"]),
        ("model_metadata.sever", "x", ["model_metadata.sever is not known; did you mean server?"]),
        ("model_metadata.model.exmaple", [1], ["model.exmaple is not known", "mean example?"]),
        ("model_metadata.model.rows_independant", True, ["mean rows_independent?"]),
        (
            "model_metadata.serving.max_answer_byte",
            1,
            ["did you mean max_answer_bytes? The settings are workers"],
        ),
        ("model_metadata.serving.max_answer_bytes", 2**32, ["max_answer_bytes", "between 1 and"]),
        ("model_metadata.serving.poll_seconds", float("inf"), ["poll_seconds", "between", "inf"]),
        ("model_metadata.serving.poll_seconds", 10**400, ["poll_seconds", "1329 bits"]),
        ("model_metadata.model.tolerance", 10**400, ["tolerance", "1329 bits"]),
        ("model_metadata.model.batch_noise", float("nan"), ["batch_noise", "0 to 1", "nan"]),
        (
            "model_metadata.model.example",
            [[1, float("nan")]],
            ["model.example[0][1]", "a number that JSON has", "nan"],
        ),
        (
            "model_metadata.model.input",
            {"kind": "table", "columns": [{"name": "a", "categories": [float("inf")]}]},
            ["model.input.columns[0].categories[0]", "a number that JSON has", "inf"],
        ),
        (
            "model_metadata.model.input",
            {"kind": "array", "shape": [4], "dtype": "flaot64"},
            ["model.input.dtype", "did you mean float64?", "'flaot64'"],
        ),
        (
            "model_metadata.model.input",
            {"kind": "tensors", "inputs": [{"name": "a", "shape": [1], "dtype": "foo"}]},
            ["model.input.inputs[0].dtype", "name of a dtype", "'foo'"],
        ),
        (
            "model_metadata.model.output",
            {"kind": "array", "shape": [], "dtype": "int65"},
            ["model.output.dtype", "did you mean int", "'int65'"],
        ),
        (
            "model_metadata.model.output",
            {"kind": "class", "dtype": "flote"},
            ["model.output.dtype", "'flote'"],
        ),
        (
            "model_metadata.model.output",
            {"kind": "tensors", "outputs": [{"name": "a", "shape": [], "dtype": "float 32"}]},
            ["model.output.outputs[0].dtype", "did you mean float32?"],
        ),
        ("model_metadata", [], ["model_metadata", "mapping", "[]"]),
        ("model_metadata.framework", "", ["framework", "''"]),
        (
            "model_metadata.server",
            "flask",
            ["server", "kserve, standalone or kfserving", "'flask'"],
        ),
        ("model_metadata.serving", 3, ["serving", "mapping", "3"]),
        ("model_metadata.serving.workers", 0, ["serving.workers", "between 1 and 256", "0"]),
        ("model_metadata.serving.workers", 1.5, ["serving.workers", "whole number", "1.5"]),
        ("model_metadata.serving.workers", "many", ["serving.workers", "WORKERS", "'many'"]),
        ("model_metadata.serving.workers", None, ["serving.workers", "null"]),
        ("model_metadata.serving.workers", True, ["serving.workers", "true"]),
        (
            "model_metadata.serving.http_port",
            70000,
            ["serving.http_port", "PORT", "65535", "70000"],
        ),
        (
            "model_metadata.serving.predict_timeout_seconds",
            float("nan"),
            ["predict_timeout_seconds", "nan"],
        ),
        (
            "model_metadata.serving.predict_timeout_seconds",
            "soon",
            ["predict_timeout_seconds", "a number", "'soon'"],
        ),
        ("model_metadata.serving.access_log", "yes", ["access_log", "true or false", "'yes'"]),
        ("model_metadata.serving.wrokers", 2, ["serving.wrokers", "workers, max_batch_size"]),
        ("model_metadata.model", None, ["config.yaml: model must", "mapping", "null"]),
        ("python_version", "3.11", ["python_version", "like py311", "'3.11'"]),
        ("model_metadata.model.file", 7, ["model.file", "7"]),
        ("model_metadata.model.sha256", 12, ["model.sha256", "12"]),
        ("model_metadata.model.example", "x", ["model.example", "'x'"]),
        ("model_metadata.model.input", [4], ["model.input", "[4]"]),
        (
            "model_metadata.model.input",
            {"kind": "tabel"},
            ["model.input.kind", "tensors, text or json", "'tabel'"],
        ),
        (
            "model_metadata.model.input",
            {"kind": "table"},
            ["model.input.columns", "list", "missing"],
        ),
        (
            "model_metadata.model.input",
            {"kind": "array", "shape": 4},
            ["model.input.shape", "list", "4"],
        ),
    ],
)
def test_a_broken_config_is_one_line_that_names_key_and_value(
    path: str, value: Any, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_document(changed(path, value))
    message = str(caught.value)
    expected = [word for word in words if word not in message]
    assert not expected and "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [("WORKERS", "0"), ("WORKERS", "two"), ("PORT", "99999"), ("GRPC_PORT", "-1")],
)
def test_a_broken_environment_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} in the environment.*it is '{value}'"):
        Config.from_document(DOCUMENT, {name: value})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is not YAML"),
        ("a: b: c", "is not YAML"),
        ("a: 2001-99-99", "is not YAML: month must be in 1..12"),
        ("a: " + "[" * 5000, "is not YAML: "),
        ("model_name: &a [*a]", "line 1: the value contains itself: remove the alias in it"),
        ("", "config.yaml must be a mapping, it is null"),
        ("- 1", "must be a mapping"),
        ("\tx", "is not YAML"),
        ("a: " + "[" * 200 + "]" * 200, "is nested in more than 100 levels"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands in line 1 already: keep one"),
        ("a:\n  b: {c: 1, 'c': 2}", "line 2: the key 'c' stands in line 2 already"),
        ('a: "\\ud800"', "line 1: the text '\\ud800' holds half a character"),
        ('"\\udfff": 1', "holds half a character"),
        ("a: &a [x, x]\n" + LAUGHS, "its aliases (*name) stand for"),
        ("a: &a {k: 1}\n" + MERGED, "its aliases (*name) stand for"),
        ("a: " + "9" * 5000, "is not YAML: "),
        ("a: !!python/object:os.system {}", "is not YAML: could not determine a constructor"),
        ("? [a]\n: 1", "is not YAML: "),
    ],
)
def test_a_file_that_is_no_config(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        Config.read(file, {})
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1}\nb: {<<: *a, x: 2}\nc: {<<: [*a, {y: 1}]}\nd: *a",
        "a: {1: x, '1': y}\nb: &b [&c {d: 1}, *c]\ne: [*b, *b]",
        "a: é\U0001f600 \u2028",
        "a: !!binary aGFsbG8=\nb: 2024-05-01\nc: !!set {x, y}",
        "",
        "# only a comment",
        "- &x 1\n- *x",
    ],
)
def test_other_yaml_is_read_as_it_is(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    assert config_file.read(file) == yaml.safe_load(text)


def test_a_number_that_python_does_not_write_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    rest = "model_metadata: {framework: x, model: {}}"
    file.write_text(f"model_name: 0x{'f' * 5000}\n{rest}")
    with pytest.raises(ConfigError, match="it is a number of 20000 bits"):
        Config.read(file, {})


def test_a_very_large_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with file.open("wb") as stream:
        stream.truncate(config_file.MOST_BYTES + 1)
    with pytest.raises(ConfigError, match="has 33554433 bytes, more than 33554432"):
        config_file.read(file)


@pytest.mark.parametrize(
    "dtype",
    [
        *("float64", "<f8", "f4", "?", "<U10", "str", "str320", "datetime64[ns]", "bfloat16"),
        *("object", "O", "category", "Int64", "Float32", "String", "Decimal(10, 2)", "string"),
        *("[('a', '<f8'), ('b', '<i4')]", "string[python]", "period[M]", "int64[pyarrow]"),
        *("float8_e4m3fn", "complex32", "longdouble", "quint8", "int4", "bytes", "S5", "|S5"),
    ],
)
def test_names_of_dtypes_of_all_libraries_are_taken(dtype: str) -> None:
    output = {"kind": "array", "shape": [], "dtype": dtype}
    config = Config.from_document(changed("model_metadata.model.output", output))
    assert config.model.output is not None and config.model.output.dtype == dtype  # type: ignore[union-attr]


def test_a_config_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.read(file, {})
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.read(file, {})


# ---- what the owner's code returns and raises ----


class Raising(Owner):
    """Raises an InvalidInput."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        raise self.error


class Textless(InvalidInput):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Numbered(InvalidInput):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class TextlessFailure(RuntimeError):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Textless("x"), "Textless, whose text cannot be made"),
        (Numbered("x"), "Numbered, whose text cannot be made"),
        (InvalidInput(5), "5"),
        (InvalidInput({"a": b"\xff"}), "{'a': b'\\xff'}"),
        (InvalidInput(), ""),
        (InvalidInput("x" * 20_000), "x" * 10_000 + "..."),
    ],
)
def test_an_invalid_input_is_400_whatever_its_text(error: InvalidInput, message: str) -> None:
    assert ask(Raising(error), body(1)) == [(400, {"error": message})]


def test_a_failure_is_500_whatever_its_text(caplog: pytest.LogCaptureFixture) -> None:
    [(status, answer)] = ask(Raising(TextlessFailure()), body(1))
    assert status == 500 and "id-1" in answer["error"]
    assert (
        "predict failed: TextlessFailure: TextlessFailure, whose text cannot be made" in caplog.text
    )


@pytest.mark.parametrize("kind", [Kind.JSON, Kind.MSGPACK])
@pytest.mark.parametrize(
    ("phase", "value", "message"),
    [
        ("preprocess", None, "preprocess returned None, it must return a dict with instances"),
        ("predict", None, "predict returned None, it must return a dict with predictions"),
        ("postprocess", None, "postprocess returned None, it must return a dict with predictions"),
        ("postprocess", [1], "postprocess returned a list, it must return a dict with predictions"),
        ("postprocess", np.zeros(1), "postprocess returned a numpy.ndarray, it must return a dict"),
    ],
)
def test_a_method_that_returns_no_dict_is_named_in_the_log(
    phase: str, value: Any, message: str, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    owner = Owner()
    setattr(owner, phase, lambda _: value)
    [(status, answer)] = ask(owner, body(1), kind=kind)
    assert status == 500 and answer["error"].startswith("the model failed; the server's log has")
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.message.startswith(message)
    assert record.request_id == "id-1"  # type: ignore[attr-defined]


LIMIT = 10_000


@pytest.mark.parametrize("kind", [Kind.JSON, Kind.MSGPACK])
@pytest.mark.parametrize(
    "predictions",
    [
        "x" * LIMIT,
        [1.5] * LIMIT,
        np.zeros(LIMIT),
        np.zeros(LIMIT, np.int8),
        np.broadcast_to(np.float64(0), (1 << 40,)),
        {"a": np.zeros(LIMIT), "b": [1]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_answer_that_is_too_large_is_500(
    predictions: Any, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    class Large(Owner):
        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            if request["instances"][0][0] == 1:
                return {"predictions": predictions}
            return super().predict(request)

    flow = Flow(Large(), proved(1), max_answer_bytes=LIMIT)
    large, small = ask(flow, body(1), body(2), kind=kind, flow=flow)
    assert small == (200, {"predictions": [4]})
    assert large[0] == 500
    said = r"the answer has \d+( or more)? bytes, more than the 10000 of serving.max_answer_bytes"
    assert re.match(said, large[1]["error"]) and "id-1" in large[1]["error"]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert re.match(said, record.message) and record.request_id == "id-1"  # type: ignore[attr-defined]


def test_an_answer_as_large_as_the_limit_is_sent() -> None:
    encoded = json_encode({"predictions": [2]})
    owner = Owner()
    flow = Flow(owner, proved(1), max_answer_bytes=len(encoded))
    assert ask(owner, body(1), flow=flow) == [(200, {"predictions": [2]})]
