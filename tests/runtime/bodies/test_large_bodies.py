"""Large bodies: refused at the first wrong row, in little memory, and as the owner's code says."""

import contextlib
import gc
import json
import random
import socket
import threading
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgpack
import numpy as np
import orjson
import pytest

from common.bodies import (
    DecodeError,
    density,
    events,
    json_decode,
    json_encode,
    json_windows,
    msgpack_decode,
    msgpack_decoder,
    msgpack_encode,
)
from common.bodies.density import LARGE_BYTES, at_once
from common.bodies.json_rows import EventPieces, JsonPieces, JsonRows
from common.bodies.msgpack_rows import MsgpackPieces, MsgpackRows
from common.bodies.v2.v2_codec import V2
from common.config import Serving
from common.errors import InvalidInput
from common.link.frames import Kind, Request, Response, Splitter, receive
from common.schema import ArrayInput, Column, ModelInput, TableInput, Tensor, TensorsInput
from common.signature import Signature
from common.worker import flow as flows
from common.worker.first_rows import FirstRows
from common.worker.flow import Flow
from common.worker.main import _serve
from support.servers.flows import ask, proved
from support.session.cases import first

SIZE = LARGE_BYTES + 1000
ARRAY = ArrayInput((4,), "float64")
IMAGE = ArrayInput((2, 3), "float32")
TABLE = TableInput(tuple(Column(name, "number", "float64") for name in "abcd"))
TENSORS = TensorsInput(inputs=(Tensor("a", (4,), "float32"), Tensor("b", (), "float32")))
ONE = b'{"instances": [[1, 2, 3, 4.5]]}'
HEAD, TAIL = b'{"instances": [', b"]}"
RIGHT = {
    ARRAY: [5.1, 3.5, 1.4, 0.2],
    IMAGE: [[1.5, 2, 3], [4, 5, 6]],
    TABLE: {"a": 1, "b": 2.5, "c": 3, "d": 4},
    TENSORS: {"a": [1, 2, 3, 4.5], "b": 0},
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


def answer(
    owner: Any, described: ModelInput | None, body: bytes, kind: Kind = Kind.JSON
) -> tuple[int, Any]:
    assert len(body) >= LARGE_BYTES
    flow = Flow(owner, proved(256), first_rows=FirstRows(owner, described))
    [found] = ask(owner, body, kind=kind, flow=flow)
    return found


def filled(unit: bytes, head: bytes = HEAD, tail: bytes = TAIL) -> bytes:
    """JSON of a large size that repeats a part."""
    return head + b",".join([unit] * (SIZE // (len(unit) + 1))) + tail


def packed(unit: bytes, head: bytes = b"", unit_count: int = 0) -> bytes:
    """msgpack of a large size whose rows repeat a part."""
    count = SIZE // len(unit)
    return b"\x81\xa9instances\xdd" + (unit_count + count).to_bytes(4, "big") + head + unit * count


def one_row(unit: bytes) -> bytes:
    """msgpack with one row that is a list of a repeated part."""
    return b"\x81\xa9instances\x91\xdd" + SIZE.to_bytes(4, "big") + unit * SIZE


FOUR = msgpack.packb([1.5, 2, 3, 4])
JSON_ATTACKS = {
    "lists": filled(b"[]"),
    "objects": filled(b"{}"),
    "one value": filled(b"[1]"),
    "nulls": filled(b"null"),
    "strings": filled(b'""'),
    "escapes": filled(rb'"\"]"'),
    "one row of lists": filled(b"[]", HEAD + b"[", b"]" + TAIL),
    "columns": filled(b"1.5", HEAD + b"[", b"]" + TAIL),
    "keys": filled(b'"k":1', HEAD + b"{", b"}" + TAIL),
    "a key after": filled(b"[]", HEAD, b'], "a": "]"}'),
    "a key before": filled(b"[]", b'{"a": {"b": "]["},"instances" :['),
    "an escaped key": filled(b"[]", b'{"\\u0069nstances":['),
    "deep": HEAD + b"[" * (SIZE // 2) + b"]" * (SIZE // 2) + TAIL,
}
MSGPACK_ATTACKS = {
    "maps": packed(b"\x80"),
    "lists": packed(b"\x90"),
    "nil": packed(b"\xc0"),
    "one value": packed(b"\x91\x05"),
    "one row of lists": one_row(b"\x90"),
    "one row of numbers": one_row(b"\x05"),
}
ATTACKS = [
    pytest.param(kind, body, id=f"{kind.name} {name}")
    for kind, bodies in ((Kind.JSON, JSON_ATTACKS), (Kind.MSGPACK, MSGPACK_ATTACKS))
    for name, body in bodies.items()
]


@pytest.mark.parametrize(("kind", "body"), ATTACKS)
def test_the_first_wrong_row_is_refused_before_the_rest_is_decoded(kind: Kind, body: bytes) -> None:
    for described in RIGHT:
        status, found = answer(Summing(described), described, body, kind)
        assert status == 400 and found["error"].startswith("instances[0]"), found
    tracemalloc.start()
    answer(Summing(ARRAY), ARRAY, body, kind)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(body) + 10 * 2**20


@pytest.mark.parametrize("described", RIGHT, ids=lambda form: form.kind)
def test_a_later_row_is_named(described: ModelInput) -> None:
    right = [RIGHT[described]] * 3000
    text = json_encode(right)[1:-1]
    status, found = answer(Summing(described), described, filled(b"[]", HEAD + text + b","))
    assert status == 400 and "instances[3000]" in found["error"], found
    head = b"".join([msgpack.packb(row) for row in right])
    body = packed(b"\x90", head, len(right))
    status, found = answer(Summing(described), described, body, Kind.MSGPACK)
    assert status == 400 and "instances[3000]" in found["error"], found


def test_a_large_second_row_is_named() -> None:
    body = b"\x81\xa9instances\x92" + FOUR + b"\xdd" + SIZE.to_bytes(4, "big") + b"\x90" * SIZE
    status, found = answer(Summing(ARRAY), ARRAY, body, Kind.MSGPACK)
    assert status == 400 and found["error"].startswith("instances[1] holds more lists"), found


@pytest.mark.parametrize("described", RIGHT, ids=lambda form: form.kind)
@pytest.mark.parametrize("kind", [Kind.JSON, Kind.MSGPACK])
def test_right_rows_are_asked_for_once(kind: Kind, described: ModelInput) -> None:
    encode = json_encode if kind == Kind.JSON else msgpack.packb
    count = SIZE // len(encode(RIGHT[described]))
    body = encode({"instances": [RIGHT[described]] * count})
    owner = Summing(described)
    assert answer(owner, described, body, kind) == (200, {"predictions": [count]})
    assert owner.asked == [count]


def test_rows_larger_than_a_window_are_taken() -> None:
    wide = ArrayInput((300_000,), "float32")
    row = np.arange(300_000, dtype=np.float32)
    for kind, body in (
        (Kind.JSON, json_encode({"instances": [row, row]})),
        (Kind.MSGPACK, msgpack.packb({"instances": [row.tolist()] * 2})),
    ):
        assert answer(Summing(wide), wide, body, kind)[0] == 200
    short = json_encode({"instances": [row, row[:-1]]})
    status, found = answer(Summing(wide), wide, short)
    assert status == 400 and found["error"].startswith("instances[1] must be like instances[0]")


class Converting(Summing):
    """Makes four values of whatever a row is."""

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**request, "instances": [[0, 0, 0, 0] for _ in request["instances"]]}


class Padding(Summing):
    """Fills up short rows if the client says so."""

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        if not request.get("pad"):
            return request
        rows = [(row + [0, 0, 0, 0])[:4] for row in request["instances"]]
        return {**request, "instances": rows}


class Batches(Summing):
    """Takes rows of any length, but not one alone."""

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        if len(request["instances"]) < 2:
            raise InvalidInput("instances must hold two rows or more")
        return {"predictions": [len(request["instances"])]}


@pytest.mark.parametrize(
    ("owner", "body"),
    [
        (Converting, filled(b'{"text": 1}')),
        (Padding, filled(b"[1]", HEAD, b'], "pad": true}')),
        (Padding, filled(b"[1]", b'{"pad": true, "instances": [')),
        (Padding, filled(b"1.5", HEAD + b"[", b']], "pad": true}')),
        (Batches, filled(b"[1]")),
    ],
)
def test_the_owners_code_decides_what_a_row_is(
    owner: Callable[[Any], Summing], body: bytes
) -> None:
    expected = len(json.loads(body)["instances"])
    assert answer(owner(ARRAY), ARRAY, body) == (200, {"predictions": [expected]})


def test_code_that_converts_rows_is_asked_once() -> None:
    owner = Converting(ARRAY)
    flow = Flow(owner, proved(256), first_rows=FirstRows(owner, ARRAY))
    body = filled(b'{"text": 1}')
    for _ in range(2):
        assert ask(owner, body, flow=flow)[0][0] == 200
    count = len(json.loads(body)["instances"])
    assert owner.asked == [1, count, count]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (filled(b"[1]") + b"x", "the body is not JSON"),
        (filled(b"[1]", b'{"instances": [1], "instances": ['), "instances[0]: the model takes"),
        (filled(b"1", HEAD, b'], "instances": [[]]}'), "instances[0]: the model takes 4"),
        (filled(b"1", HEAD, b"]"), "the body is not JSON"),
        (filled(b"1", HEAD, b""), "the body is not JSON"),
        (b'{"instances": [' + b"1" * SIZE + b"]}", "the body is not JSON"),
        (b"[" + filled(b'"' + 99 * b"a" + b'"') + b"]", "the body must be an object with"),
        (filled(b'"' + 99 * b"a" + b'"', b'{"rows": ['), '"instances" is missing'),
        (filled(b"1", b"[", b"]"), 'values outside of "instances": send fewer'),
        (filled(b"1", b'{"rows": ['), 'values outside of "instances": send fewer'),
    ],
)
def test_what_is_wrong_besides_rows_is_said(body: bytes, message: str) -> None:
    status, found = answer(Summing(ARRAY), ARRAY, body)
    assert status == 400 and message in found["error"], found


# ---- any rows ----


@pytest.mark.parametrize(
    "body", [filled(b"[]"), filled(b"{}"), filled(b"[[[[]]]]"), filled(b"[[]]")]
)
def test_empty_lists_are_limited_in_json(body: bytes) -> None:
    with pytest.raises(DecodeError, match="lists and objects in 10"):
        json_decode(body)


@pytest.mark.parametrize(
    "body",
    [
        filled(b"[1]"),
        filled(b'"[[[[[[{{{{{{[[[[["'),
        filled(rb'"[[[\"[[[{{{\\\\\"{{[[[[[\\"'),
        filled(b'{"a":[]}'),
        b"[]" * 10,
    ],
)
def test_other_json_is_decoded(body: bytes) -> None:
    try:
        expected = json.loads(body)
    except ValueError:
        with pytest.raises(DecodeError, match="not JSON"):
            json_decode(body)
    else:
        assert json_decode(body) == expected


def test_empty_lists_are_limited_in_msgpack() -> None:
    for unit in (b"\x80", b"\x90", b"\x91\x90"):
        with pytest.raises(DecodeError, match="lists and objects in 10"):
            msgpack_decode(packed(unit))
    for unit in (b"\x91\x05", b"\x81\xa0\xc0", b"\xa1\x7f"):
        body = packed(unit)
        assert msgpack_decode(body) == msgpack.unpackb(body)
    image = msgpack.packb({"instances": [b"\x90" * SIZE]})
    assert msgpack_decode(image) == {"instances": [b"\x90" * SIZE]}


@pytest.mark.parametrize("enabled", [True, False])
def test_the_search_for_cycles_is_as_it_was_before(enabled: bool) -> None:
    if not enabled:
        gc.disable()
    try:
        for body in (filled(b"[1,2,3,4]"), filled(b"[]"), filled(b"[1,2,3,4") + b"}"):
            answer(Summing(ARRAY), ARRAY, body)
            assert gc.isenabled() == enabled
    finally:
        gc.enable()


# ---- reading rows ----


def test_strings_are_told_from_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The places of brackets, against a walk through the text one byte after the other."""
    monkeypatch.setattr(density, "CHUNK_BYTES", 7)
    chance = random.Random(0)
    for _ in range(300):
        items = [
            "".join(chance.choices('\\"[]{}a,é', k=chance.randrange(12)))
            for _ in range(chance.randrange(5))
        ]
        text = json.dumps([items, {"a": items}], ensure_ascii=False).encode()
        found = b"".join(codes.tobytes() for _, codes in density.outside_strings(text))
        assert found.replace(b"\0", b"") == without_strings(text)


def without_strings(text: bytes) -> bytes:
    kept, within, at = bytearray(), False, 0
    while at < len(text):
        if within and text[at : at + 1] == b"\\":
            at += 1
        elif text[at : at + 1] == b'"':
            within = not within
            kept += b'"' * (not within)  # the quote that closes is outside
        elif not within:
            kept.append(text[at])
        at += 1
    return bytes(kept)


def test_brackets_in_texts_are_no_lists() -> None:
    rows = JsonRows(filled(b'{"a":"[[[]]][[[[","b":0}'))
    assert not at_once(rows.exceed(1, 2))
    assert at_once(JsonRows(filled(b"[]")).exceed(1, 2))


@pytest.mark.parametrize("pad", range(0, 40, 7))
def test_rows_are_read_in_windows(pad: int) -> None:
    """However a window cuts them, there are as many, and the other keys are what they are."""
    rows = [[index, index + 0.5, "é]", {"a": [None, True]}] for index in range(2000)]
    request = {"before": "x" * pad, "instances": rows, "after": ["]", {"b": 1}]}
    bodies = {
        JsonRows: json.dumps(request, ensure_ascii=False).encode(),
        MsgpackRows: msgpack.packb(request),
    }
    for reader, body in bodies.items():
        found = reader(body)
        at_once(found.find())
        assert [row for batch in found.batches() for row in batch] == rows
        assert at_once(found.others()) == {"before": "x" * pad, "after": ["]", {"b": 1}]}


def pieces_of(body: bytes) -> tuple[int, Any]:
    """How many pieces a body of JSON is decoded in, and what comes out."""
    pieces = JsonPieces(body)
    count = sum(1 for _ in pieces)
    return count, pieces.decoded and pieces.decoded[0]


def any_value(chance: random.Random, depth: int = 0) -> Any:
    if depth < 4 and chance.random() < 0.5:
        items = [any_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        if chance.random() < 0.5:
            return items
        return {chance.choice(["instances", "a", 'é"\\', "]"]): item for item in items}
    return chance.choice(
        [1, -0.0, 1e300, 2**64 - 1, True, None, "", "],[", '\\"', "é\n", "\U0001f600"]
    )


@pytest.mark.parametrize("seed", range(8))
def test_in_pieces_a_body_comes_out_as_whole(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal values in equal order, and the same words for what is wrong."""
    monkeypatch.setattr(json_windows, "WINDOW_BYTES", 60)
    monkeypatch.setattr(json_windows, "MOST_BYTES", 90)
    chance = random.Random(seed)
    taken = 0
    for _ in range(300):
        keys = [
            key for key in ("k", "instances", "m") if key == "instances" or chance.random() < 0.5
        ]
        request = {key: any_value(chance, 3) for key in keys}
        request["instances"] = [any_value(chance, 1) for _ in range(chance.randrange(40))]
        text = json.dumps(
            request,
            ensure_ascii=chance.random() < 0.5,
            indent=chance.choice([None, None, 1]),
        )
        body = bytearray(text.encode())
        if chance.random() < 0.5:  # a mistake
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(2)] = chance.choice(b'[]{},:"\\ 1x\xff').to_bytes(
                1, "big"
            )
        pieces = JsonPieces(bytes(body))
        count = sum(1 for _ in pieces)
        try:
            whole = json_decode(bytes(body))
        except DecodeError as error:
            assert str(pieces.error) == str(error) or "UTF-8" in f"{error} {pieces.error}"
            continue
        assert pieces.decoded is not None
        assert json.dumps(pieces.decoded[0]) == json.dumps(whole)
        taken += count > 2
    assert taken > 100


ROWS = b",".join([b"[1, 2]"] * 50_000)
LONG_TEXT = rb"],\"\\" * 60_000


@pytest.mark.parametrize(
    "body",
    first(
        5,
        [
            b'{"instances": [%b]}',
            b' {"a": [{}], "instances" :\n[ %b ] , "b": null} ',
            b'{"\\u0069nstances": [%b], "a": "\\u0069nstances"}',
            b'{"a": 1, "a": 2, "instances": [%b], "a": 3}',
            b'{"instances": [%b], "instances": []}',
            b'{"instances": [%b], "\\u0069nstances": ["xx"]}',
            b'{"instances": [], "instances": [%b]}',
            b'{"instances": [[%b]]}',
            b'{"instances": [[[[%b], 1], [%b]], %b]}',
            b'{"instances": {"a": [%b]}}',
            b'{"b": [%b], "instances": [1]}',
            b'{"b": {"c": [%b]}, "%s": "%s", "instances": [%b]}',
            b"[%b]",
            b'"%s"',
            b"7",
        ],
    ),
)
def test_any_body_is_taken_apart(body: bytes) -> None:
    text = body.replace(b"%b", ROWS).replace(b"%s", LONG_TEXT)
    count, value = pieces_of(text)
    assert count > 2 or b"%b" not in body
    assert json.dumps(value) == json.dumps(json_decode(text))


@pytest.mark.parametrize(
    "body",
    first(
        8,
        [
            b'{"instances": [%b,]}',
            b'{"instances": [%b, ]}',
            b'{"instances": [,%b]}',
            b'{"instances": [%b,,1]}',
            b'{"instances": [%b 1]}',
            b'{"instances": [%b]',
            b'{"instances": [%b}}',
            b'{"instances": [%b]}}',
            b'{"instances": [%b]} {}',
            b'{"instances": [%b], }',
            b'{"a": NaN, "instances": [%b]}',
            b'{"instances": [%b, NaN]}',
            b'{"instances": [%b, "\\ud800"]}',
            b'{"instances": [%b, ' + 1023 * b"[" + 1023 * b"]" + b"]}",
            b'{1: 2, "instances": [%b]}',
            b'{"instances": [%b,\n "\xc3\xa9", {"a": [%b], "b" 1}]}',
            b'{"instances": [%b, {"%s" 1}]}',
            b'{"instances": [%b, "%s',
            b'{"instances": [%b, {"%s',
            b'{"instances": [%b, "%s" "%s"]}',
            b"[" * 1100 + b"%b" + b"]" * 1100,
        ],
    ),
)
def test_what_is_no_json_is_said_as_at_once(body: bytes) -> None:
    text = body.replace(b"%b", ROWS).replace(b"%s", LONG_TEXT)
    pieces = JsonPieces(text)
    list(pieces)
    assert pieces.decoded is None
    with pytest.raises(DecodeError) as raised:
        json_decode(text)
    assert str(pieces.error) == str(raised.value)


def test_rows_are_as_deep_as_in_the_whole_body() -> None:
    text = b'{"instances": [%b, ' + 1022 * b"[" + 1022 * b"]" + b"]}"
    text = text.replace(b"%b", ROWS)
    assert orjson.dumps(pieces_of(text)[1]["instances"][:-1]) == b"[%b]" % ROWS.replace(b" ", b"")
    json_decode(text)


EVENT = (
    b'"id": "1", "source": "a", "specversion": "1.0", "type": "t", "time": "2026-01-01T00:00:00Z"'
)


@pytest.mark.parametrize(
    "body",
    first(
        3,
        [
            b'{%e, "data": {"instances": [%b]}}',
            b'{"data": {"a": {"b": []}, "instances": [%b], "b": [1]}, %e, "c": "]"}',
            b'{"\\u0064ata" :\n{"instances": [%b]}, %e, "data2": {}}',
            b'{"instances": [%b], "b": 1}',
            b'{"instances": [%b], "data": 1}',
            b'{"instances": [%b], "data": {"instances": [1]}, %e}',
            b'{"data": {"instances": [%b]}, "instances": [1], %e}',
            b'{"data": {"instances": [%b]}, "data": {"instances": [1]}, %e}',
            b'{"data": {"instances": [%b]}, %e, "data": null}',
            b'{"data": {"instances": [%b]}, "data": [%b], %e}',
            b'{"data": {"instances": [%b]}}',
            b'{%e, "data": [%b]}',
            b'{%e, "data": {"data": {"instances": [%b]}}}',
            b'{%e, "data": {"instances": [%b]}',
            b'{%e, "subject": "%s", "data": {"instances": [%b]}}',
            b'{%e, "data": {"instances": [%b]}, "subject": "%s"}',
        ],
    ),
)
def test_an_event_comes_out_in_pieces_as_at_once(body: bytes) -> None:
    text = body.replace(b"%e", EVENT).replace(b"%b", ROWS).replace(b"%s", b"x" * (1 << 17))
    pieces = EventPieces(text)
    assert sum(1 for _ in pieces) > 2
    try:
        expected, expected_encode = events.decode(text)
    except DecodeError as error:
        assert str(pieces.error) == str(error)
        return
    assert pieces.decoded is not None
    request, encode = pieces.decoded
    assert json.dumps(request) == json.dumps(expected)
    assert encode({"a": 1}) == expected_encode({"a": 1})


def test_too_many_lists_are_refused_in_pieces_too() -> None:
    body = HEAD + b",".join([b"[]"] * 500_000) + TAIL
    assert pieces_of(body)[1] is None


def msgpack_value(chance: random.Random, depth: int = 0) -> Any:
    if depth < 4 and chance.random() < 0.5:
        items = [msgpack_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        if chance.random() < 0.5:
            return items
        return {chance.choice(["instances", "a", b"b"]): item for item in items}
    return chance.choice(
        [1, -0.0, 2**64 - 1, True, None, "", "é", b"x", 1 + 2j, np.arange(3), Decimal("1.10")]
    )


def in_text(value: Any) -> str:
    """A value with the types of all that it holds."""
    if isinstance(value, dict):
        return f"{{{[(in_text(key), in_text(part)) for key, part in value.items()]}}}"
    if isinstance(value, list):
        return f"[{[in_text(part) for part in value]}]"
    return f"{type(value)} {getattr(value, 'dtype', '')} {value!r}"


def whole_msgpack(body: bytes) -> str | None:
    try:
        return in_text(msgpack_decode(body))
    except DecodeError:
        return None


@pytest.mark.parametrize("seed", range(4))
def test_in_pieces_msgpack_comes_out_as_whole(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgpack_decoder, "MOST_BYTES", 90)
    chance = random.Random(seed)
    taken = 0
    packer = msgpack.Packer()
    for _ in range(400):
        count = chance.randrange(1, 4)
        body = bytearray(packer.pack_map_header(count))
        keys = chance.choice([["k", "instances", b"m"], ["instances", "instances", b"nd", 1]])
        for key in chance.sample(keys, count):
            body += packer.pack(key)
            rows = chance.randrange(40)
            body += msgpack_encode([msgpack_value(chance, 1) for _ in range(rows)])
        if chance.random() < 0.4:  # a mistake
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(2)] = bytes([chance.randrange(256)])
        pieces = MsgpackPieces(bytes(body))
        count = sum(1 for _ in pieces)
        found = pieces.decoded and in_text(pieces.decoded[0])
        assert found == whole_msgpack(bytes(body))
        taken += found is not None and count > 4
    assert taken > 20


@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (b"\x81\xa9instances", b"\xc0"),  # a byte follows
        (b"\x82\xa9instances", b"\x01\xc0"),  # a key is a number
        (b"\x82\xa9instances", b"\xc4\x02nd\xc3"),  # the map stands for an array
        (b"\x82\xa9instances", b"\xa1k"),  # a value lacks
        (b"\x91", b"\xc1"),
    ],
)
def test_what_is_no_msgpack_is_said_as_at_once(head: bytes, tail: bytes) -> None:
    body = head + msgpack.packb([[1.5, 2]] * 100_000) + tail
    pieces = MsgpackPieces(body)
    list(pieces)
    with pytest.raises(DecodeError) as raised:
        msgpack_decode(body)
    assert str(pieces.error) == str(raised.value)


def opened_in_pieces(flow: Flow, body: bytes, kind: Kind = Kind.JSON) -> Any:
    (outcome,) = [
        each for each in flow.open_in_pieces(Request(1, kind, "a", body)) if each is not None
    ]
    return outcome


def test_large_msgpack_is_opened_in_pieces_as_at_once() -> None:
    model = Summing(ARRAY)
    flow = Flow(model, proved(256), first_rows=FirstRows(model, ARRAY))
    wholes = [
        msgpack.packb({"a": 1, "instances": [[1, 2, 3, 4.5]] * 81_000 + [row]})
        for row in ([1, 2, 3, 4.5], [1, 2, 3], None)
    ]
    for body in (*wholes, wholes[0][:-1], wholes[0] + b"\xc0"):
        apart = opened_in_pieces(flow, body, Kind.MSGPACK)
        once = flow.open(Request(1, Kind.MSGPACK, "a", body))
        assert type(apart) is type(once)
        if isinstance(once, Response):
            assert (apart.status, apart.body) == (once.status, once.body)
        else:
            assert apart.request == once.request
            assert apart.encode is once.encode


def test_rows_are_freed_in_pieces_once_they_are_answered() -> None:
    """And rows that the owner's code keeps stay whole."""
    model = Summing(None)
    flow = Flow(model, proved(256))
    rows = [[1, 2, 3, 4.5]] * 400_000
    for kind, encode in ((Kind.JSON, json_encode), (Kind.MSGPACK, msgpack.packb)):
        answered, after, kept = False, 0, None
        for outcome in flow.open_in_pieces(Request(1, kind, "a", encode({"instances": rows}))):
            if outcome is not None:
                kept = outcome.request["instances"]
                answered = True
            after += answered
            del outcome
        assert after > 5
        assert kept == rows


def test_a_large_request_is_opened_in_pieces_as_at_once() -> None:
    model = Summing(ARRAY)
    flow = Flow(model, proved(256), first_rows=FirstRows(model, ARRAY))
    for row in (b"[1, 2, 3, 4.5]", b"[1, 2, 3]", b"[1, 2, 3, 4.5, {]", b'[1, 2, 3, "a"]'):
        body = HEAD + b",".join([b"[1, 2, 3, 4.5]"] * 100_000 + [row]) + TAIL
        apart = opened_in_pieces(flow, body)
        once = flow.open(Request(1, Kind.JSON, "a", body))
        assert type(apart) is type(once)
        if isinstance(once, Response):
            assert (apart.status, apart.body) == (once.status, once.body)
        else:
            assert apart.request == once.request
            assert apart.decoded > 0
    assert gc.isenabled()


def test_no_search_for_cycles_looks_at_the_rows_of_a_large_body() -> None:
    """While it is decoded and predicted; then the owner's thresholds are in force again."""
    flow = Flow(Summing(None), proved(256))
    body = HEAD + b",".join([b"[1, 2, 3, 4.5]"] * 100_000) + TAIL
    searches: list[str] = []

    def note(phase: str, _: dict[str, int]) -> None:
        searches.append(phase)

    before = gc.get_threshold()
    gc.collect()
    gc.callbacks.append(note)
    try:
        for outcome in flow.open_in_pieces(Request(1, Kind.JSON, "a", body)):
            if outcome is not None:
                [(responses, _)] = flow.answer([outcome])
                assert responses[0].status == 200
                assert not searches
                cycles = [[index] for index in range(2 * before[0])]
                assert searches  # they are searched for as at other times
                del cycles
            del outcome
    finally:
        gc.callbacks.remove(note)
    assert gc.get_threshold() == before
    assert gc.isenabled()


def answered_by_worker(flow: Flow, frames: bytes, count: int) -> list[Response]:
    """The answers of a worker to frames that are sent at once, in the order of their arrival."""
    near, far = socket.socketpair()
    with near, far:

        def work() -> None:
            with contextlib.suppress(EOFError):
                _serve(far, Splitter(), flow, [], Serving())

        threads = [
            threading.Thread(target=work),
            threading.Thread(target=near.sendall, args=[frames]),
        ]
        for thread in threads:
            thread.start()
        splitter, answers = Splitter(), []
        while len(answers) < count:
            came = [Response.unpack(frame) for frame in receive(near, splitter)]
            answers += [response for response in came if response.ident]
        near.shutdown(socket.SHUT_WR)
        for thread in threads:
            thread.join()
    return answers


def test_small_requests_overtake_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two large ones the first that came is answered first, and a wrong one harms no other."""
    monkeypatch.setattr(json_windows, "MOST_BYTES", 1 << 16)
    model = Summing(ARRAY)
    flow = Flow(model, proved(256), first_rows=FirstRows(model, ARRAY))
    many = HEAD + b",".join([b"[1, 2, 3, 4.5]"] * 400_000)
    bodies = [many + TAIL, ONE, ONE, many + b"]", ONE, many + b", 7" + TAIL, ONE]
    frames = [Request(at, Kind.JSON, f"id-{at}", body) for at, body in enumerate(bodies, 1)]
    sent = b"".join(frame.pack() for frame in frames)
    answers = answered_by_worker(flow, sent, len(frames))
    assert [response.ident for response in answers] == [2, 3, 5, 7, 1, 4, 6]
    assert [response.status for response in answers] == [200] * 5 + [400] * 2
    said = {response.ident: json.loads(response.body) for response in answers}
    assert said[1] == {"predictions": [400_000]}
    assert said[2] == said[7] == {"predictions": [1]}
    assert "instances[400000]" in said[6]["error"]
    assert gc.isenabled()


COUNT = 100_000
TENSOR = {"name": "x", "datatype": "FP64", "shape": [COUNT, 4], "data": [1.5, 2, 3, 4] * COUNT}
IN_ROWS = {"instances": [[1, 2, 3, 4.5]] * COUNT}


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (Kind.MSGPACK, msgpack.packb(IN_ROWS), b"\x81\xabpredictions\x91"),
        (Kind.V2, bytes(4) + json.dumps({"inputs": [TENSOR]}).encode(), b'"data":[100000]'),
        (
            Kind.EVENT,
            b'{%b, "data": %b}' % (EVENT, json.dumps(IN_ROWS).encode()),
            b'{"predictions":[100000]}',
        ),
    ],
)
def test_small_requests_overtake_large_ones_of_each_kind(
    kind: Kind, body: bytes, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "ASIDE_BYTES", LARGE_BYTES)
    monkeypatch.setattr(json_windows, "MOST_BYTES", 1 << 14)
    monkeypatch.setattr(msgpack_decoder, "MOST_BYTES", 1 << 14)
    model = Summing(ARRAY)
    v2 = V2("model", ARRAY)
    flow = Flow(model, proved(256), v2, first_rows=FirstRows(model, ARRAY))
    frames = [Request(1, kind, "a", body), Request(2, Kind.JSON, "b", ONE)]
    answers = answered_by_worker(flow, b"".join(frame.pack() for frame in frames), 2)
    assert [(response.ident, response.status) for response in answers] == [(2, 200), (1, 200)]
    assert said in answers[1].body
