"""Large bodies of tensors: refused at their first row, in little memory, in the same words."""

import json
import random
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from common.bodies import density, json_windows
from common.bodies.density import LARGE_BYTES, at_once
from common.bodies.v2 import first_row, long_lists, protobuf, protobuf_fields
from common.bodies.v2.grpc_codec import ModelInfer
from common.bodies.v2.long_lists import LongList, Unseen
from common.bodies.v2.v2_codec import V2
from common.bodies.values import DecodeError
from common.errors import InvalidInput
from common.link.frames import V2_HEAD, Kind
from common.schema import (
    ArrayInput,
    Column,
    ModelInput,
    TableInput,
    Tensor,
    TensorsInput,
    TextInput,
)
from common.signature import Signature
from common.worker import first_rows, flow
from common.worker.first_rows import FirstRows
from common.worker.flow import Flow
from support.servers.flows import proved

SIZE = LARGE_BYTES + (1 << 18)
ARRAY = ArrayInput((4,), "float64")
ONE = ArrayInput((1,), "float64")
TABLE = TableInput(tuple(Column(name, "number", "float64") for name in "abcd"))
TENSORS = TensorsInput(inputs=(Tensor("a", (4,), "float32"), Tensor("b", (), "float32")))
WORDS = ArrayInput((2,), "string")
TEXT = TextInput()
EVENT = {
    "id": "1",
    "source": "a",
    "specversion": "1.0",
    "type": "t",
    "time": "2026-01-01T00:00:00Z",
}


class Summing:
    """An owner's model as the template has it."""

    def __init__(self, described: ModelInput | None) -> None:
        self.signature = Signature(described)
        self.asked: list[int] = []

    def load(self) -> None: ...

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(len(request["instances"]))
        self.signature.inputs(request["instances"])
        return {"predictions": [len(request["instances"])]}

    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
        return response


class Converting(Summing):
    """Makes four values of whatever a row is."""

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**request, "instances": np.zeros((len(request["instances"]), 4))}


class Padding(Summing):
    """Fills up short rows if the client says so."""

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        if not request.get("pad"):
            return request
        rows = [(list(row) + [0, 0, 0, 0])[:4] for row in request["instances"]]
        return {**request, "instances": rows}


class Batches(Summing):
    """Takes rows of any length, but not one alone."""

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        if len(request["instances"]) < 2:
            raise InvalidInput("instances must hold two rows or more")
        return {"predictions": [len(request["instances"])]}


def answer(
    owner: Any, described: ModelInput | None, kind: Kind, body: bytes, early: bool = True
) -> tuple[int, Any]:
    """The answer to a body whose first row is tried before, or to one that is decoded whole."""
    grpc = ModelInfer("model", described)
    first = FirstRows(owner, described, grpc) if early else None
    made = Flow(owner, proved(256), V2("model", described), grpc=grpc, first_rows=first)
    frame = flow.Request(1, kind, "id", body)
    [(responses, _)] = made.answer([made.open(frame)])
    response = responses[0]
    if response.status == 200:
        return response.status, response.body
    return response.status, json.loads(response.body)


def repeated(part: bytes, size: int = SIZE) -> bytes:
    return b",".join([part] * (size // (len(part) + 1)))


def of_json(
    data: bytes, shape: list[int], datatype: str, tail: bytes = b"", name: str = "x"
) -> bytes:
    described = json.dumps({"name": name, "shape": shape, "datatype": datatype}).encode()
    return bytes(4) + b'{"inputs":[' + described[:-1] + b',"data":[' + data + b"]}]" + tail + b"}"


def of_raw(parts: list[tuple[str, list[int], str, bytes]], **others: Any) -> bytes:
    inputs = [
        {
            "name": name,
            "shape": shape,
            "datatype": datatype,
            "parameters": {"binary_data_size": len(data)},
        }
        for name, shape, datatype, data in parts
    ]
    head = json.dumps({"inputs": inputs, **others}).encode()
    return V2_HEAD.pack(len(head)) + head + b"".join(data for *_, data in parts)


def message(shape: list[int], datatype: str, contents: bytes = b"", raw: bytes = b"") -> bytes:
    """A gRPC message of one tensor."""
    sizes = b"".join(map(protobuf.varint, shape))
    tensor = [(1, b"x"), (2, datatype.encode()), (3, sizes), (5, contents)]
    fields = [(1, b"model"), (5, b"".join(protobuf.field(*item) for item in tensor)), (7, raw)]
    return b"".join(protobuf.field(*item) for item in fields)


EMPTY = bytes(SIZE)  # raw texts without a letter
COUNT = SIZE // 4
TAGGED = b"\x42\0" * (SIZE // 2)
HOSTILE: dict[str, tuple[Kind, bytes]] = {
    "short lists": (Kind.V2, of_json(repeated(b"[1]"), [1, 4], "FP64")),
    "rows of one": (Kind.V2, of_json(repeated(b"[1]"), [COUNT, 1], "FP64")),
    "spaced lists": (Kind.V2, of_json(repeated(b"[ ]"), [COUNT // 4, 4], "FP64")),
    "texts": (Kind.V2, of_json(repeated(b'""'), [1, 4], "BYTES")),
    "many texts": (Kind.V2, of_json(repeated(b'""'), [SIZE // 3], "BYTES")),
    "a shape that is too large": (Kind.V2, of_json(repeated(b"[1,2]"), [2**40, 4], "FP64")),
    "lists of the wrong type": (Kind.V2, of_json(repeated(b"[1]"), [COUNT], "BYTES")),
    "data first": (
        Kind.V2,
        bytes(4)
        + b'{"inputs":[{"data":['
        + repeated(b"[1]")
        + b'],"shape":[1,4],"datatype":"FP64","name":"x"}]}',
    ),
    "lists after right rows": (
        Kind.V2,
        of_json(
            repeated(b"[1,2,3,4]", SIZE // 2) + b"," + repeated(b"[ ]", SIZE // 2),
            [4 * (SIZE // 20) // 4 + COUNT // 8, 4],
            "FP64",
        ),
    ),
    "an object of tensors": (
        Kind.V2,
        bytes(4) + b'{"inputs":{"a":{"data":[' + repeated(b"[1]") + b"]}}}",
    ),
    "a second tensor": (
        Kind.V2,
        bytes(4)
        + b'{"inputs":[{"name":"a","shape":[1],"datatype":"FP64","data":[1]},{"name":"b",'
        + b'"shape":[1],"datatype":"FP64","data":['
        + repeated(b"[1]")
        + b"]}]}",
    ),
    "raw texts": (Kind.V2, of_raw([("x", [COUNT], "BYTES", EMPTY)])),
    "raw rows of texts": (Kind.V2, of_raw([("x", [COUNT // 4, 4], "BYTES", EMPTY)])),
    "raw columns of texts": (
        Kind.V2,
        of_raw([(name, [COUNT // 4], "BYTES", EMPTY[: SIZE // 4]) for name in "abcd"]),
    ),
    "raw bytes": (Kind.V2, of_raw([("x", [SIZE], "UINT8", bytes(SIZE))])),
    "gRPC raw texts": (Kind.GRPC, message([COUNT], "BYTES", raw=EMPTY)),
    "gRPC texts": (Kind.GRPC, message([SIZE // 2], "BYTES", TAGGED)),
    "gRPC too many texts": (Kind.GRPC, message([1, 4], "BYTES", TAGGED)),
    "gRPC integers": (Kind.GRPC, message([SIZE], "INT64", protobuf.field(3, b"\1" * SIZE))),
    "gRPC tagged integers": (Kind.GRPC, message([SIZE // 2], "INT64", b"\x18\1" * (SIZE // 2))),
    "gRPC another field": (Kind.GRPC, message([SIZE], "FP64", protobuf.field(2, b"\1" * SIZE))),
    "gRPC too many numbers": (Kind.GRPC, message([1, 4], "INT64", b"\x18\1" * (SIZE // 2))),
    "an event": (
        Kind.EVENT,
        json.dumps({**EVENT, "data": {"instances": [[1], [1]]}})
        .encode()
        .replace(b"[1], [1]", repeated(b"[1]")),
    ),
}


# What is wrong in two ways: the row is looked at, or the number of the elements, before the rest.
TWICE_WRONG = {"lists after right rows", "gRPC too many texts"}
REFUSING = {
    ARRAY: HOSTILE,
    TABLE: ("many texts", "raw texts", "raw columns of texts", "gRPC texts", "an event"),
    TENSORS: ("rows of one", "raw texts", "a second tensor", "gRPC raw texts"),
}


@pytest.mark.parametrize(
    ("described", "name"), [(form, name) for form, names in REFUSING.items() for name in names]
)
def test_what_cannot_fit_is_refused_in_the_words_of_the_whole(
    described: ModelInput, name: str
) -> None:
    kind, body = HOSTILE[name]
    owner = Summing(described)
    with pytest.raises(InvalidInput):
        owner.signature.inputs([[]])  # imports what it needs
    tracemalloc.start()
    found = answer(owner, described, kind, body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(body) + 8 * 2**20
    status, said = answer(owner, described, kind, body, early=False)
    assert found[0] == status == 400
    assert (found[1] == said) == (name not in TWICE_WRONG), (found, said)


RIGHT: dict[str, tuple[ModelInput, Kind, bytes, int]] = {
    "JSON": (
        ARRAY,
        Kind.V2,
        of_json(repeated(b"5.1,3.5,1.4,0.2", 16 * 80_000), [80_000, 4], "FP64"),
        80_000,
    ),
    "JSON rows": (
        ARRAY,
        Kind.V2,
        of_json(repeated(b"[5.1,3.5,1,2]", 14 * 90_000), [90_000, 4], "FP64"),
        90_000,
    ),
    "JSON texts": (
        TEXT,
        Kind.V2,
        of_json(repeated(b'"a,[b"', 7 * 200_000), [200_000], "BYTES"),
        200_000,
    ),
    "nested alone": (
        ONE,
        Kind.V2,
        of_json(repeated(b"[[1.5]]", 8 * 200_000), [200_000, 1], "FP64"),
        200_000,
    ),
    "true before numbers": (
        ARRAY,
        Kind.V2,
        of_json(repeated(b"true", 5 * 399_996) + b",1,2,3,4.5", [100_000, 4], "FP64"),
        100_000,
    ),
    "ragged texts": (
        TEXT,
        Kind.V2,
        of_json(b'["a","b"],' + repeated(b'["a"]', 6 * 200_000), [200_002], "BYTES"),
        200_002,
    ),
    "raw": (ARRAY, Kind.V2, of_raw([("x", [50_000, 4], "FP64", bytes(1_600_000))]), 50_000),
    "raw words": (
        WORDS,
        Kind.V2,
        of_raw([("x", [150_000, 2], "BYTES", bytes(1_200_000))]),
        150_000,
    ),
    "raw columns": (
        TABLE,
        Kind.V2,
        of_raw([(name, [50_000, 1], "FP64", bytes(400_000)) for name in "dcba"]),
        50_000,
    ),
    "raw inputs": (
        TENSORS,
        Kind.V2,
        of_raw(
            [("a", [60_000, 4], "FP32", bytes(960_000)), ("b", [60_000], "FP32", bytes(240_000))]
        ),
        60_000,
    ),
    "a large row": (
        ArrayInput((3, 300, 300), "float32"),
        Kind.V2,
        of_raw([("x", [2, 3, 300, 300], "FP32", bytes(2_160_000))]),
        2,
    ),
    "gRPC raw": (ARRAY, Kind.GRPC, message([50_000, 4], "FP64", raw=bytes(1_600_000)), 50_000),
    "gRPC texts": (TEXT, Kind.GRPC, message([600_000], "BYTES", b"\x42\0" * 600_000), 600_000),
    "gRPC integers": (
        ARRAY,
        Kind.GRPC,
        message([300_000, 4], "INT64", protobuf.field(3, b"\1" * 1_200_000)),
        300_000,
    ),
}


@pytest.mark.parametrize(("described", "kind", "body", "rows"), RIGHT.values(), ids=RIGHT)
def test_right_tensors_are_asked_for_once(
    described: ModelInput, kind: Kind, body: bytes, rows: int
) -> None:
    assert len(body) >= LARGE_BYTES
    owner = Summing(described)
    first = FirstRows(owner, described, ModelInfer("model", described))
    first.check(kind, body)
    assert owner.asked == []
    codec: Any = {Kind.V2: V2, Kind.GRPC: ModelInfer}[kind]("model", described)
    request, _ = codec.decode(body, "id")
    assert owner.predict(request) == {"predictions": [rows]}


@pytest.mark.parametrize(
    ("owner", "kind", "body"),
    [
        (Converting, *HOSTILE["raw texts"]),
        (Converting, *HOSTILE["raw rows of texts"]),
        (Converting, *HOSTILE["many texts"]),
        (Converting, Kind.GRPC, message([COUNT], "BYTES", raw=EMPTY)),
        (Converting, Kind.V2, of_raw([("x", [1, COUNT], "BYTES", EMPTY)])),
        (
            Padding,
            Kind.V2,
            of_raw([("x", [SIZE // 16, 2], "FP64", EMPTY)], parameters={"pad": True}),
        ),
        (Batches, *HOSTILE["raw rows of texts"]),
    ],
)
def test_the_owners_code_decides_what_a_row_is(owner: Any, kind: Kind, body: bytes) -> None:
    made = owner(ARRAY)
    expected = answer(owner(ARRAY), ARRAY, kind, body, early=False)
    assert expected[0] == 200
    assert answer(made, ARRAY, kind, body) == expected
    assert FirstRows(made, ARRAY, ModelInfer("model", ARRAY)).check(kind, body) is None


# ---- many bodies ----


def any_data(chance: random.Random, datatype: str, shape: list[int]) -> Any:
    """Values in JSON that may fit a tensor, flat or nested."""
    count = int(np.prod(shape)) + chance.choice([0] * 8 + [-1, 1])
    values: list[Any] = [chance.choice([1, 2.5, 300, 0]) for _ in range(max(count, 0))]
    if datatype == "BYTES":
        values = [chance.choice(["", "a", "],[", '\\"', "1"]) for _ in values]
    if values and chance.random() < 0.2:
        values[chance.choice([0, -1])] = chance.choice([None, True, "x", 10**18, [], [1], {}])
    if len(shape) == 2 and shape[1] and chance.random() < 0.5:
        return [values[at : at + shape[1]] for at in range(0, len(values), shape[1])]
    return values


def any_raw(chance: random.Random, datatype: str, shape: list[int]) -> bytes:
    count = int(np.prod(shape)) + chance.choice([0] * 8 + [-1, 1])
    if datatype == "BYTES":
        texts = [chance.choice([b"", b"a", b"1", b"\xff", b"abc"]) for _ in range(max(count, 0))]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.ones(max(count, 0), {"FP64": "f8", "INT64": "i8", "BOOL": "?"}[datatype]).tobytes()


def any_body(chance: random.Random) -> bytes:
    """A body of V2 that is right, or nearly."""
    rows = chance.choice([1, 2, 100, 300])
    inputs: list[dict[str, Any]] = []
    raw = b""
    for name in chance.choice(["x", "x", "a", "ab", "abcd", "ba", "dcba"]):
        shape = chance.choice([[rows], [rows, 1], [rows, 4], [rows, 4], [rows, 2], [rows + 1]])
        datatype = chance.choice(["FP64", "FP64", "INT64", "BYTES", "BOOL"])
        tensor: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
        if chance.random() < 0.3:
            data = any_raw(chance, datatype, shape)
            tensor["parameters"], raw = {"binary_data_size": len(data)}, raw + data
        else:
            tensor["data"] = any_data(chance, datatype, shape)
        keys = list(tensor)
        chance.shuffle(keys)
        inputs.append({key: tensor[key] for key in keys})
    request: dict[str, Any] = {"inputs": inputs}
    if chance.random() < 0.3:
        extra = {
            "parameters": {"a": [1] * chance.choice([1, 500])},
            "outputs": None,
            "junk": [[[]]],
        }
        request = {**extra, **request} if chance.random() < 0.5 else {**request, **extra}
    head = bytearray(json.dumps(request, indent=chance.choice([None, None, 1])).encode())
    if chance.random() < 0.1:
        head[chance.randrange(len(head))] = chance.choice(b'[]{},:"1x')
    return V2_HEAD.pack(len(head) if raw else 0) + bytes(head) + raw


@pytest.mark.parametrize("described", [ARRAY, TABLE, TENSORS, WORDS, TEXT, None])
def test_early_and_whole_agree(
    described: ModelInput | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bodies are refused, in the same words where one thing is wrong."""
    for module in (first_rows, flow, first_row):
        monkeypatch.setattr(module, "LARGE_BYTES", 200)
    for module in (first_row, long_lists, json_windows):
        monkeypatch.setattr(module, "WINDOW_BYTES", 160)
    for module in (first_row, json_windows):
        monkeypatch.setattr(module, "MOST_BYTES", 400)
    monkeypatch.setattr(density, "CHUNK_BYTES", 101)
    monkeypatch.setattr(first_row, "HARMLESS", 0)
    chance = random.Random(0)
    refused = others = early_refused = 0
    for _ in range(80):
        body = any_body(chance)
        whole = answer(Summing(described), described, Kind.V2, body, early=False)
        early = answer(Summing(described), described, Kind.V2, body)
        assert early[0] == whole[0], (body[:300], early, whole)
        if early[0] == 200:
            assert early[1] == whole[1]
        else:
            refused += 1
            others += early[1] != whole[1]
            early_refused += refuses(FirstRows(Summing(described), described), body)
    assert refused > 30
    assert others < 0.15 * refused  # these are wrong in two ways
    assert described is None or early_refused > 0.5 * refused


def refuses(first: FirstRows, body: bytes) -> bool:
    try:
        first.check(Kind.V2, body)
    except (InvalidInput, DecodeError):
        return True
    return False


# ---- long lists ----


@pytest.mark.parametrize("chunk", [7, 64, 1 << 18])
def test_long_lists_are_found(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their places and the number of their items, against a decoder of JSON."""
    monkeypatch.setattr(density, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(long_lists, "WINDOW_BYTES", 40)
    chance = random.Random(chunk)
    for _ in range(60):
        inputs: list[dict[str, Any]] = []
        for place in range(chance.randrange(4)):
            kind = chance.choice([[1, 22], [[1, 2], [3]], ["a]", "[,\\"], [{"a": [1]}], [[[]]]])
            data = [chance.choice(kind) for _ in range(chance.randrange(60))]
            inputs.append({"name": str(place), "data": data, "parameters": {"a": {"b": [1]}}})
        text = json.dumps({"x": [[1], {}], "inputs": inputs, "y": 1}).encode()
        found = at_once(long_lists.shortened(memoryview(text)))
        longs = 0
        for tensor, expected in zip(found["inputs"], inputs, strict=True):
            data = tensor["data"]
            if isinstance(data, LongList):
                longs += 1
                assert json.loads(text[data.start - 1 : data.end + 1]) == expected["data"]
                assert data.items == len(expected["data"])
                data = data.first(len(text))
            assert data == expected["data"]
        assert longs >= sum(len(json.dumps(item["data"])) > 45 for item in inputs)
        assert found["x"] == [[1], {}]


@pytest.mark.parametrize(
    "text",
    [
        b'{"inputs":[{"name":"x","data":[%b]}],"parameters":{"a":{"b":[%b]}}}',
        b'{"inputs":[{"name":"x","other":[%b]}]}',
        b'{"inputs":[{"name":"x","data":[%b]}]',
        b'[{"inputs":[{"data":[%b]}]}]',
    ],
)
def test_other_long_lists_are_left_to_the_decoder(text: bytes) -> None:
    with pytest.raises(Unseen):
        at_once(long_lists.shortened(memoryview(text.replace(b"%b", repeated(b"1", 1 << 17)))))


def test_no_more_values_are_read_than_are_wanted() -> None:
    for wire, dtype, body in (
        (protobuf_fields.VARINT, np.int64, b"\x18\1" * 300_000),
        (protobuf_fields.VARINT, np.int64, protobuf.field(3, b"\x81\1" * 300_000)),
        (protobuf_fields.FIXED64, np.float64, (b"\x19" + bytes(8)) * 300_000),
        (protobuf_fields.FIXED64, np.float64, protobuf.field(3, bytes(8) * 300_000)),
        (protobuf_fields.BYTES, None, b"\x1a\0" * 300_000),
    ):
        scalar = protobuf.Scalar(wire, dtype and np.dtype(dtype))
        repeated_field = protobuf.Repeated(scalar, 100)
        protobuf.read_repeated(memoryview(body), {3: repeated_field}, protobuf_fields.Budget())
        assert repeated_field.is_full
        assert 100 <= len(repeated_field) < 10_000
