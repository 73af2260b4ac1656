"""Large V2 bodies in JSON are decoded in pieces, and come out as if decoded at once."""

import json
import random
from typing import Any

import numpy as np
import pytest

from common.bodies import density, json_windows
from common.bodies.density import LARGE_BYTES
from common.bodies.json_decoder import JsonDecoder
from common.bodies.v2 import long_lists, v2_pieces, v2_tensors
from common.bodies.v2.long_lists import Unseen
from common.bodies.v2.v2_codec import V2
from common.bodies.v2.v2_pieces import Joined, V2Pieces
from common.bodies.values import DecodeError
from common.errors import InvalidInput
from common.link.frames import V2_HEAD, Kind, Request, Response
from common.schema import (
    ArrayInput,
    Column,
    JsonInput,
    ModelInput,
    TableInput,
    Tensor,
    TensorsInput,
    TextInput,
)
from common.worker import flow as flows
from common.worker.first_rows import FirstRows
from common.worker.flow import Flow
from support.servers.flows import proved

ARRAY = ArrayInput((3,), "float64")
TABLE = TableInput(tuple(Column(name, "number", "float64") for name in "abc"))
TENSORS = TensorsInput(inputs=(Tensor("a", (3,), "float32"), Tensor("b", (), "float32")))
ROWS = 60
VALUES: dict[str, list[Any]] = {
    "whole": [0, 1, -7, 2**31, -(2**53)],
    "large": [2**53 + 1, -(2**62), 5],
    "huge": [2**63, 2**64 - 1, 2**64, 1],
    "float": [0.5, -0.0, 1e300, 5e-324, 2.0],
    "mixed": [1, 2.5, 0, -0.0],
    "null": [None, 1.5, 2],
    "bool": [True, False],
    "odd": [True, 1, 0.5],
    "text": ["", "a", "],[", '\\"', "é\n", "\U0001f600"],
    "text or null": ["a", None, "1"],
    "other": ["x", 1, {}, [1]],
}
USUAL = {
    "FP64": ["whole", "float", "mixed", "null", "large", "huge", "odd"],
    "FP32": ["whole", "float", "null", "large"],
    "INT64": ["whole", "large", "huge", "bool", "float"],
    "UINT8": ["bool", "odd", "whole"],
    "UINT64": ["huge", "whole", "large"],
    "BOOL": ["bool", "bool", "odd"],
    "BYTES": ["text", "text or null", "other"],
}


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_windows, "WINDOW_BYTES", 50)
    monkeypatch.setattr(json_windows, "MOST_BYTES", 120)
    monkeypatch.setattr(long_lists, "WINDOW_BYTES", 40)
    monkeypatch.setattr(density, "CHUNK_BYTES", 101)
    monkeypatch.setattr(v2_tensors, "ROWS_AT_ONCE", 7)


def any_data(chance: random.Random, datatype: str, shape: list[int]) -> Any:
    """Values of one or two kinds, flat or nested, that may fit a tensor."""
    names = [chance.choice(USUAL[datatype])]
    if chance.random() < 0.3:
        names.append(chance.choice(USUAL[datatype]))
    count = int(np.prod(shape)) + chance.choice([0] * 12 + [-1, 1])
    cut = chance.randrange(count)
    values = [chance.choice(VALUES[names[0 if at < cut else -1]]) for at in range(count)]
    if len(shape) > 1 and chance.random() < 0.5:
        return [values[at : at + shape[1]] for at in range(0, count, shape[1])]
    return values


def any_body(chance: random.Random) -> bytes:
    inputs: list[dict[str, Any]] = []
    raw = b""
    for name in chance.choice(["x", "x", "abc", "cab", "ab"]):
        shape = chance.choice([[ROWS], [ROWS, 3], [ROWS, 1]])
        datatype = chance.choice(list(USUAL))
        tensor: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
        if datatype == "INT64" and chance.random() < 0.3:
            tensor["parameters"] = {"binary_data_size": 8 * int(np.prod(shape))}
            raw += bytes(tensor["parameters"]["binary_data_size"])
        else:
            tensor["data"] = any_data(chance, datatype, shape)
        if datatype == "BYTES" and chance.random() < 0.3:
            tensor["parameters"] = {"content_type": "pd_json"}
        keys = list(tensor)
        chance.shuffle(keys)
        inputs.append({key: tensor[key] for key in keys})
    others = {"parameters": {"a": [1, {}]}, "outputs": [{"name": "p"}], "id": "é]", "k": [[[1]]]}
    keys = chance.sample(list(others), chance.randrange(4))
    at = chance.randrange(len(keys) + 1)
    parts = [*keys[:at], "inputs", *keys[at:]]
    request = {key: inputs if key == "inputs" else others[key] for key in parts}
    text = json.dumps(
        request, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, None, 1])
    )
    if chance.random() < 0.2:
        text = text.replace('"data"', chance.choice(['"d\\u0061ta"', '\n"data" \t']))
    head = bytearray(text.encode())
    if chance.random() < 0.15:  # a mistake
        place = chance.randrange(len(head))
        head[place : place + chance.randrange(2)] = bytes([chance.choice(b'[]{},:"\\ 1x\xff')])
    return V2_HEAD.pack(len(head) if raw else 0) + bytes(head) + raw


def in_text(value: Any) -> str:
    """A value with the types and the bits of all that it holds."""
    if isinstance(value, np.ndarray):
        bits = in_text(value.tolist()) if value.dtype == object else value.tobytes().hex()
        return f"{value.dtype} {value.shape} {bits}"
    if isinstance(value, dict):
        return f"{{{[(in_text(key), in_text(part)) for key, part in value.items()]}}}"
    if isinstance(value, list):
        return f"[{[in_text(part) for part in value]}]"
    return f"{type(value)} {value!r}"


def whole(codec: V2, body: bytes) -> tuple[str, bytes] | None:
    try:
        request, encode = codec.decode(body, "an-id")
    except (DecodeError, InvalidInput):
        return None
    return in_text(request), encode({"p": np.arange(3.0), "q": ["a"]})


def in_pieces(codec: V2, body: bytes) -> tuple[tuple[str, bytes] | None, int]:
    """What `whole` returns, made in pieces, and how many there are."""
    pieces = V2Pieces(codec, body, "an-id")
    count = sum(1 for _ in pieces)
    if pieces.decoded is None:
        return None, count
    request, encode = pieces.decoded
    return (in_text(request), encode({"p": np.arange(3.0), "q": ["a"]})), count


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize(
    "described", [ARRAY, TABLE, TENSORS, TextInput(), ArrayInput((3,), "string"), None]
)
def test_in_pieces_a_body_comes_out_as_at_once(described: ModelInput | None) -> None:
    """To the last bit, with the same encoder; and never where the whole is refused."""
    chance = random.Random(repr(described))
    codec = V2("model", described, "1")
    taken = right = 0
    for _ in range(120):
        body = any_body(chance)
        found, count = in_pieces(codec, body)
        expected = whole(codec, body)
        assert found == expected, body
        right += expected is not None
        taken += expected is not None and count > 12
    assert taken > 0.5 * right
    assert right > 8


def of_data(data: str, datatype: str = "FP64", shape: str = "[60]", more: str = "") -> bytes:
    tensor = f'{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}{more}}}'
    return bytes(4) + f'{{"inputs":[{tensor}]}}'.encode()


def of_items(*items: str, **others: str) -> bytes:
    """A body whose tensor has each item 30 times."""
    return of_data(f"[{','.join(item for item in items for _ in range(30))}]", **others)


@pytest.mark.parametrize(
    ("body", "joined"),
    [
        (of_items("1", "0.5"), True),
        (of_items("0.5", "1"), True),
        (of_items("1", "null"), True),
        (of_items("null", "null"), True),
        (of_items("-0", "-0.0"), True),
        (of_items("16777217", "0.5", datatype="FP32"), True),
        (of_items("1", "2     "), True),
        (of_items("1", "2" + 200 * " "), False),
        (of_items("9007199254740992", "0.5"), True),
        (of_items("9007199254740993", "0.5"), False),
        (of_items("9007199254740993", "1"), True),
        (of_items("9007199254740993", "1", datatype="FP32"), True),
        (of_items("-9223372036854775808", "9223372036854775807", datatype="INT64"), True),
        (of_items("9223372036854775808", "1"), False),
        (of_items("9223372036854775808", "9223372036854775808", datatype="UINT64"), False),
        (of_items("1", "18446744073709551615", datatype="UINT64"), False),
        (of_items("true", "1", datatype="UINT8"), False),
        (of_items("true", "0.5"), False),
        (of_items("[1,2]", "[3,4.5]", shape="[60,2]"), True),
        (of_items("[null,2]", "[3,4]", shape="[60,2]"), True),
        (of_items("[[1],[2]]", "[[3],[null]]", shape="[60,2]"), True),
        (of_items("[[1,2]]", "[[1],[2]]", shape="[60,2]"), False),
        (of_items("[1]", "1"), False),
        (of_items("[    ]", "[    ]", shape="[60,0]"), True),
        (of_items("[    ]", "[    ]", shape="[60,0]", datatype="INT64"), True),
        (of_items('"a"', "null", datatype="BYTES"), True),
        (of_items('["a"]', '["b"]', datatype="BYTES"), False),
        (of_data(f"[[{','.join(['1'] * 60)}]]", shape="[1,60]"), False),
        (of_data(f"[[{'[' * 61}1{']' * 61}],[2]]"), False),
    ],
)
def test_what_can_be_joined_is_joined(
    body: bytes, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what cannot be is decoded as lists, in pieces as well."""
    as_lists: list[bool] = []

    def decoder(*arguments: Any) -> JsonDecoder:
        as_lists.append(True)
        return JsonDecoder(*arguments)

    monkeypatch.setattr(v2_pieces, "JsonDecoder", decoder)
    codec = V2()
    found, _ = in_pieces(codec, body)
    assert found == whole(codec, body)
    assert joined == (found is not None and not as_lists)


def test_the_first_item_alone_asks_for_no_memory() -> None:
    with pytest.raises(Unseen):
        Joined(1 << 30, 1 << 20).add(np.zeros((1, 1 << 20)))


LONG = f"[{','.join(['1.5'] * 60)}]"


@pytest.mark.parametrize(
    "body",
    [
        of_data(LONG, more=',"data":"data 0"'),
        of_data('"data 0"', more=f',"k":{LONG}'),
        of_data(LONG, more=f',{LONG}:"data"'),
        of_data(LONG)[:-1] + b',"inputs":[]}',
        of_data(LONG)[:-1] + b',"inputs":7}',
        of_data(LONG) + b"]",
        of_data(LONG.replace("1.5]", "]")),
        of_data(LONG.replace("1.5]", "1.5 1]")),
        of_data(LONG.replace("1.5]", "NaN]")),
        of_data(LONG, shape="[61]"),
        of_data(LONG, shape="[30,1]"),
        of_data(LONG, datatype="FP16"),
        of_data(f"[{LONG}{',[    ]' * 59}]", shape="[60,60]"),
        of_items('"\\ud800"', '"a"', datatype="BYTES"),
        of_items("1", "1e400"),
        of_data(LONG, more=',"parameters":{"binary_data_size":0}'),
        bytes(4) + b"[%b]" % LONG.encode(),
        bytes(4) + b'{"inputs":[%b]}' % LONG.encode(),
    ],
)
def test_what_is_wrong_is_said_as_at_once(body: bytes) -> None:
    """Also a string that looks like what stands for a list."""
    codec = V2()
    pieces = V2Pieces(codec, body, "an-id")
    list(pieces)
    assert pieces.decoded is None
    with pytest.raises((DecodeError, InvalidInput)) as raised:
        codec.decode(body, "an-id")
    assert str(pieces.error) == str(raised.value)


def test_of_two_lists_with_one_name_the_last_is_taken() -> None:
    codec = V2()
    for first, last in ((LONG, LONG), (LONG, "[1]"), ("[1]", LONG)):
        body = of_data(first, more=f',"data":{last}')
        found, _ = in_pieces(codec, body)
        assert found == whole(codec, body)
    assert found == whole(codec, of_data(LONG))


class Keeping:
    """A model that keeps the rows it has got."""

    def __init__(self) -> None:
        self.rows: Any = None

    def load(self) -> None: ...

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        self.rows = request["instances"]
        return {"predictions": [len(self.rows)]}

    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
        return response


def large(items: list[Any], shape: list[int], datatype: str) -> bytes:
    count = LARGE_BYTES // len(json.dumps(items)) + 1
    tensor = {"name": "x", "shape": [count * shape[0], *shape[1:]], "datatype": datatype}
    return bytes(4) + json.dumps({"inputs": [{**tensor, "data": items * count}]}).encode()


@pytest.mark.parametrize(
    ("described", "body"),
    [
        (ARRAY, large([1, 2, 3.5], [1, 3], "FP64")),
        (ARRAY, large([[1, 2, 3]], [1, 3], "FP64")),
        (ARRAY, large([[1, 2]], [1, 2], "FP64")),
        (TextInput(), large(["a", "bcd"], [2], "BYTES")),
        (JsonInput(), large(['{"a": 1}', "[1]"], [2], "BYTES")),
        (JsonInput(), large(["{", "[1]"], [2], "BYTES")),
        (TextInput(), large([1, 2], [2], "INT64")),
        (None, large([1, 2], [2], "UINT64")),
        (None, large([1, -2], [2], "UINT64")),
    ],
)
def test_a_large_tensor_is_opened_in_pieces_as_at_once(
    described: ModelInput | None, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_windows, "MOST_BYTES", 1 << 16)
    monkeypatch.setattr(v2_tensors, "ROWS_AT_ONCE", 5000)
    monkeypatch.setattr(density, "CHUNK_BYTES", 1 << 18)
    monkeypatch.setattr(flows, "ASIDE_BYTES", LARGE_BYTES)
    model = Keeping()
    first = FirstRows(model, described)
    flow = Flow(model, proved(256), V2("model", described), first_rows=first)
    frame = Request(1, Kind.V2, "an-id", body)
    assert flow.is_large(frame)
    once = flow.open(frame)
    expected, rows = answered(flow, once)
    outcomes = list(flow.open_in_pieces(frame))
    assert len(outcomes) > 4
    [apart] = [outcome for outcome in outcomes if outcome is not None]
    if not isinstance(apart, Response):
        assert apart.decoded > 0
    assert answered(flow, apart) == (expected, rows)


def answered(flow: Flow, outcome: Any) -> tuple[tuple[int, bytes], str]:
    """The answer, and the rows that the model has got."""
    [(responses, _), *_] = flow.answer([outcome])
    rows = "" if isinstance(outcome, Response) else in_text(outcome.request["instances"])
    return (responses[0].status, responses[0].body), rows


def test_little_raw_data_does_not_make_a_body_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "ASIDE_BYTES", 1000)
    monkeypatch.setattr(flows, "RAW_ASIDE_BYTES", 4000)
    flow = Flow(Keeping(), proved(256))
    head = b"{}" + b" " * 900
    raw = V2_HEAD.pack(len(head)) + head + bytes(2000)
    assert not flow.is_large(Request(1, Kind.V2, "a", raw))
    assert flow.is_large(Request(1, Kind.V2, "a", bytes(4) + head + b" " * 100))
    assert not flow.is_large(Request(1, Kind.GRPC, "a", raw))
    much = V2_HEAD.pack(len(head)) + head + bytes(4000)
    for kind in (Kind.V2, Kind.GRPC):
        frame = Request(1, kind, "a", much)
        assert flow.is_large(frame)
        first, outcome = flow.open_in_pieces(frame)
        assert first is None and isinstance(outcome, Response)
