"""What large bodies hold beside their rows: it is limited in every form, on every level."""

import json
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from common.bodies import json_windows, msgpack_decoder, places
from common.bodies.v2 import long_lists
from common.link.frames import Kind, Request, Response
from common.schema import ArrayInput, Column, ModelInput, TableInput
from common.signature import Signature
from common.worker import first_rows
from common.worker import flow as flows
from common.worker.first_rows import FirstRows
from common.worker.flow import Flow
from support.servers.flows import proved

ARRAY = ArrayInput((4,), "float64")
TABLE = TableInput(tuple(Column(name, "number", "float64") for name in "abcd"))
FORMS = [ARRAY, TABLE, None]
EVENT = {
    "id": "1",
    "source": "a",
    "specversion": "1.0",
    "type": "t",
    "time": "2026-01-01T00:00:00Z",
}
ROW: list[Any] = [1, 2, 3, 4.5]
ROWS = {"instances": [ROW]}
TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": ROW}
SPLIT = {"columns": list("abcd"), "data": [ROW]}
# What makes a body of much, and its kind. The last ones hold it as rows, or nobody reads it.
BESIDE: dict[str, tuple[Kind, Callable[[Any], Any]]] = {
    "before": (Kind.JSON, lambda much: {"a": much, **ROWS}),
    "after": (Kind.JSON, lambda much: {**ROWS, "a": much}),
    "parameters": (Kind.JSON, lambda much: {"parameters": {"a": {"b": much}}, **ROWS}),
    "signature": (Kind.JSON, lambda much: {"signature_name": much, **ROWS}),
    "an object of rows": (Kind.JSON, lambda much: {"instances": {"a": much}}),
    "no object": (Kind.JSON, lambda much: much),
    "event": (Kind.EVENT, lambda much: {**EVENT, "data": ROWS, "a": much}),
    "event's data": (Kind.EVENT, lambda much: {**EVENT, "data": {**ROWS, "a": much}}),
    "msgpack before": (Kind.MSGPACK, lambda much: {"a": much, **ROWS}),
    "msgpack after": (Kind.MSGPACK, lambda much: {**ROWS, b"a": {"b": [much]}}),
    "V2": (Kind.V2, lambda much: {"a": much, "inputs": [TENSOR]}),
    "V2 parameters": (Kind.V2, lambda much: {"inputs": [TENSOR], "parameters": {"a": much}}),
    "V2 outputs": (Kind.V2, lambda much: {"inputs": [TENSOR], "outputs": much}),
    "V2 tensor": (Kind.V2, lambda much: {"inputs": [{**TENSOR, "parameters": {"a": much}}]}),
    "scoring": (Kind.SCORING, lambda much: {"inputs": [ROW], "a": much}),
    "names": (Kind.SCORING, lambda much: {"dataframe_split": {**SPLIT, "columns": much}}),
    "params": (Kind.SCORING, lambda much: {"params": {"a": much}, "dataframe_split": SPLIT}),
}
ENCODE: dict[Kind, Callable[[Any], bytes]] = {
    Kind.MSGPACK: msgpack.packb,
    Kind.V2: lambda value: bytes(4) + json.dumps(value).encode(),
}
MUCH: list[Any] = [[[1]] * 2000, [{}, 0] * 2000, ["a"] * 4000, {str(key): 0 for key in range(4000)}]


class Keeping:
    """A model that keeps the request that it has got."""

    def load(self) -> None: ...

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    predict = postprocess = preprocess


def opened(described: ModelInput | None, kind: Kind, body: bytes) -> Any:
    model = Keeping()
    flow = Flow(model, proved(256), first_rows=FirstRows(model, described), described=described)
    frame = Request(1, kind, "an-id", body)
    assert flow.is_large(frame)
    (outcome,) = [each for each in flow.open_in_pieces(frame) if each is not None]
    return outcome


def encoded(kind: Kind, value: Any) -> bytes:
    return ENCODE.get(kind, lambda value: json.dumps(value).encode())(value)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits for bodies of some kilobytes."""
    for module, name, value in (
        (json_windows, "WINDOW_BYTES", 60),
        (json_windows, "MOST_BYTES", 300),
        (msgpack_decoder, "MOST_BYTES", 300),
        (long_lists, "MOST_REST", 1000),
        (flows, "ASIDE_BYTES", 1000),
        (flows, "LARGE_BYTES", 1000),
        (first_rows, "LARGE_BYTES", 1000),
        (places, "MOST_BESIDE", 3500),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("described", FORMS, ids=["array", "table", "any"])
@pytest.mark.parametrize("name", BESIDE)
def test_much_beside_rows_is_refused(name: str, described: ModelInput | None) -> None:
    kind, make = BESIDE[name]
    for much in MUCH:
        outcome = opened(described, kind, encoded(kind, make(much)))
        assert isinstance(outcome, Response) and outcome.status == 400
        assert b"more than 3500 lists, objects and values outside of" in outcome.body


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("described", FORMS, ids=["array", "table", "any"])
def test_less_is_taken_as_it_is(described: ModelInput | None) -> None:
    less: list[Any] = [[[1]] * 1000, ["a" * 2000] * 3, {str(key): key for key in range(1000)}]
    for name in ("before", "after", "parameters", "msgpack before", "scoring", "params"):
        kind, make = BESIDE[name]
        for value in less:
            outcome = opened(described, kind, encoded(kind, make(value)))
            assert not isinstance(outcome, Response), outcome
            assert json.dumps(value)[1:-1] in json.dumps(outcome.request)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (Kind.JSON, {"instances": [ROW] * 2000}),
        (Kind.EVENT, {**EVENT, "data": {"instances": [ROW] * 2000}}),
        (Kind.MSGPACK, {"instances": [ROW] * 2000}),
        (Kind.V2, {"inputs": [{**TENSOR, "shape": [2000, 4], "data": ROW * 2000}]}),
        (Kind.SCORING, {"dataframe_split": {**SPLIT, "data": [ROW] * 2000}}),
        (Kind.SCORING, {"dataframe_split": {**SPLIT, "index": [0] * 9000}}),
        (Kind.SCORING, {"inputs": {name: [0.5] * 2000 for name in "abcd"}}),
        (Kind.SCORING, {"dataframe_records": [dict(zip("abcd", ROW, strict=True))] * 2000}),
    ],
)
def test_rows_do_not_count(kind: Kind, document: Any) -> None:
    described = TABLE if kind == Kind.SCORING else ARRAY
    outcome = opened(described, kind, encoded(kind, document))
    assert not isinstance(outcome, Response), outcome
    assert outcome.rows in (1, 2000)


@pytest.mark.usefixtures("_small")
def test_a_second_list_of_rows_counts() -> None:
    rows = json.dumps([ROW] * 1000).encode()
    for body in (
        b'{"instances": %b, "instances": %b}',
        b'{"instances": [], "a": 1, "instances": %b, "instances": %b}',
    ):
        outcome = opened(ARRAY, Kind.JSON, body.replace(b"%b", rows))
        assert isinstance(outcome, Response) and b"more than 3500" in outcome.body
    packed = b"\xa9instances" + msgpack.packb([ROW] * 1000)
    outcome = opened(ARRAY, Kind.MSGPACK, b"\x82" + packed * 2)
    assert isinstance(outcome, Response) and b"more than 3500" in outcome.body


@pytest.mark.usefixtures("_small")
def test_rows_behind_much_else_are_tried_first() -> None:
    """And the first that is wrong is refused as if the body began with it."""
    late = {"a": "x" * 2000, "instances": [ROW] * 2 + [[1]] * (1 << 18)}
    for kind in (Kind.JSON, Kind.MSGPACK):
        body = encoded(kind, late)
        owner = Refusing()
        first = FirstRows(owner, ARRAY)
        flow = Flow(owner, proved(256), first_rows=first)
        frame = Request(1, kind, "an-id", body)
        (outcome,) = [each for each in flow.open_in_pieces(frame) if each is not None]
        assert isinstance(outcome, Response) and b"instances[2]" in outcome.body


class Refusing(Keeping):
    """Takes what the array takes, as the template does."""

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        Signature(ARRAY).inputs(request["instances"])
        return request


def test_a_number_of_very_many_digits_is_refused() -> None:
    body = b'{"instances": [1], "a": ' + b"1" * flows.ASIDE_BYTES + b"}"
    outcome = opened(ARRAY, Kind.JSON, body)
    assert b"the body has a number of 4194304 characters" in outcome.body


@pytest.mark.sweep
@pytest.mark.usefixtures("much_memory")
@pytest.mark.parametrize("name", BESIDE)
def test_64_mib_are_refused_in_little_memory(name: str) -> None:
    kind, make = BESIDE[name]
    if kind == Kind.MSGPACK:
        unit, mark = b"\x91\x01", msgpack.packb("?")
        count = (1 << 26) // len(unit)
        much = b"\xdd" + struct.pack(">I", count) + unit * count
    else:
        mark, much = b'"?"', b"[" + b",".join([b"[1]"] * (1 << 24)) + b"]"
    body = encoded(kind, make("?")).replace(mark, much)
    tracemalloc.start()
    outcome = opened(ARRAY, kind, body)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(outcome, Response) and outcome.status == 400
    assert most < 3 * len(body)
