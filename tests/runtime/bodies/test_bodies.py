"""Bodies: the wire formats of JSON and msgpack, and that no body does harm."""

import collections
import contextlib
import dataclasses
import datetime as dt
import enum
import json
import pickle
import random
import struct
import tracemalloc
import uuid
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgpack
import numpy as np
import pytest

from common.bodies import DecodeError, json_decode, json_encode, msgpack_decode, msgpack_encode

ARANGE_BODY = bytes.fromhex(
    "85c4026e64c3c40474797065a33c6634c4046b696e64c400c40573686170659102c40464617461c408000000000000803f"
)
DECIMAL_BODY = bytes.fromhex("82c40b5f5f646563696d616c5f5fc3c40464617461a4312e3130")

NS_NAT = np.array(["2020-01-02T03:04:05", "NaT"], dtype="M8[ns]")
PADDED = np.dtype(
    {"names": ["a", "b"], "formats": ["u1", "<f8"], "offsets": [0, 8], "itemsize": 24}
)
NESTED = np.dtype(
    [("id", "<i4"), ("box", [("xy", ">f4", (2, 2)), ("tag", "S3")], (2,)), ("name", "<U2")]
)


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float
    _y: Any


Pair = collections.namedtuple("Pair", "left right")


def pack(value: Any) -> bytes:
    """msgpack as a client writes it, without our encoder."""
    body: bytes = msgpack.packb(value)
    return body


def array_body(wire: Any, shape: Any, data: Any, kind: Any = None, **more: Any) -> bytes:
    fields = {b"nd": True, b"type": wire, b"kind": kind, b"shape": shape, b"data": data}
    if kind is None:
        fields[b"kind"] = b"V" if isinstance(wire, list) else b""
    return pack({**fields, **{key.encode(): value for key, value in more.items()}})


def scalar_body(wire: Any, data: Any) -> bytes:
    return pack({b"nd": False, b"type": wire, b"data": data})


def short_id(value: Any) -> str | None:
    return repr(value[:24]) if isinstance(value, (bytes, str)) else None


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


# JSON


JSON_TABLE = [
    # numpy's arrays
    (np.array([0]), [0]),
    (np.array([[1.5, np.nan], [np.inf, -np.inf]]), [[1.5, None], [None, None]]),
    (np.arange(6).reshape(2, 3).T, [[0, 3], [1, 4], [2, 5]]),
    (np.arange(4, dtype=np.float32)[::-2], [3.0, 1.0]),
    (np.array([1, 2], dtype=">i4"), [1, 2]),
    (np.array([1, np.nan], dtype=">f8"), [1.0, None]),
    (np.array([1.5, np.nan], dtype=np.float16), [1.5, None]),
    (np.array([1.5, np.inf], dtype=np.float16)[::-1], [None, 1.5]),
    (np.array([1.5, np.nan], dtype=np.longdouble), [1.5, None]),
    (np.array([True, False]), [True, False]),
    (np.array([True, False])[::-1], [False, True]),
    (np.array([2**64 - 1], dtype=np.uint64), [2**64 - 1]),
    (np.array(7), 7),
    (np.array("text"), "text"),
    (np.zeros((0,)), []),
    (np.zeros((0, 3)), []),
    (np.zeros((2, 0)), [[], []]),
    (np.array(["a", "bü"]), ["a", "bü"]),
    (np.array(["a", "b"], dtype=">U1"), ["a", "b"]),
    (np.array([b"a", b"\xff"]), ["a", {"b64": "/w=="}]),
    (np.array([1 + 2j, complex(np.nan, 0)]), [[1.0, 2.0], [None, 0.0]]),
    (np.array([1 + 2j], dtype=np.complex64), [[1.0, 2.0]]),
    (np.array([1, "a", None, np.nan, np.float32("inf")], dtype=object), [1, "a", None, None, None]),
    (np.array([Decimal("1.10"), {1: np.int8(2)}], dtype=object), ["1.10", {"1": 2}]),
    (np.array([[np.arange(2), None]], dtype=object), [[[0, 1], None]]),
    (np.array([2**70], dtype=object), [2**70]),
    (np.ma.array([1.5, 2.5], mask=[False, True]), [1.5, None]),
    (np.ma.array(np.array([0, 1], dtype="M8[ns]"), mask=[False, True]),
     ["1970-01-01T00:00:00", None]),
    (np.ma.masked, None),
    (np.zeros(2, dtype="V2"), ["\0\0", "\0\0"]),
    # structured arrays
    (np.array([(1, 2.5), (2, np.nan)], dtype=PADDED), [{"a": 1, "b": 2.5}, {"a": 2, "b": None}]),
    (np.array([(1, 2.5)], dtype=PADDED)[0], {"a": 1, "b": 2.5}),
    (np.array((1, 2.5), dtype=PADDED), {"a": 1, "b": 2.5}),
    (np.zeros((1, 1), dtype=[("a", "i1", (2,))]), [[{"a": [0, 0]}]]),
    (np.zeros(1, dtype=[("a", [("b", ">i2")]), ("o", "O"), ("t", "M8[ns]")]),
     [{"a": {"b": 0}, "o": 0, "t": "1970-01-01T00:00:00"}]),
    (np.rec.array([(1,)], dtype=[("a", "i1")]), [{"a": 1}]),
    # numpy's times
    (NS_NAT, ["2020-01-02T03:04:05", None]),
    (NS_NAT[::-1], [None, "2020-01-02T03:04:05"]),
    (NS_NAT[1], None),
    (np.array(["2020-01-02", "NaT"], dtype="M8[D]"), ["2020-01-02T00:00:00", None]),
    (np.array(["2020-01-02"], dtype="M8[D]"), ["2020-01-02T00:00:00"]),
    (np.array(["2020-01"], dtype="M8[M]"), ["2020-01-01T00:00:00"]),
    (np.array([[123_456_789]], dtype="M8[ns]"), [["1970-01-01T00:00:00.123456789"]]),
    (np.array([10**12], dtype="M8[ps]"), ["1970-01-01T00:00:01"]),
    (np.datetime64("2020-01-02T03:04:05", "s"), "2020-01-02T03:04:05"),
    (np.datetime64("NaT", "s"), None),
    (np.datetime64("NaT", "D"), None),
    (np.datetime64(10**5, "Y"), "101970"),
    (np.array([90, "NaT"], dtype="m8[m]"), ["PT1H30M", None]),
    (np.array([1_500_000_001], dtype="m8[ns]"), ["PT1.500000001S"]),
    (np.timedelta64(-1500, "ms"), "-PT1.5S"),
    (np.timedelta64("NaT", "s"), None),
    (np.timedelta64(3, "Y"), "P3Y"),
    (np.timedelta64(-3, "M"), "P-3M"),
    (np.array([2], dtype="m8[3M]"), ["P6M"]),
    (np.timedelta64(10**10, "D"), "P10000000000D"),
    (np.timedelta64(10**17, "ms"), "P1157407407DT9H46M40S"),
    # numpy's scalars
    (np.float64(1.5), 1.5),
    (np.float32("nan"), None),
    (np.float16(1.5), 1.5),
    (np.longdouble(1.5), 1.5),
    (np.longdouble("inf"), None),
    (np.int8(-1), -1),
    (np.uint64(2**64 - 1), 2**64 - 1),
    (np.bool_(True), True),
    (np.complex64(1 + 2j), [1.0, 2.0]),
    (np.clongdouble(1 + 2j), [1.0, 2.0]),
    (np.str_("text"), "text"),
    (np.bytes_(b"text"), "text"),
    # Python's own
    (dt.datetime(2020, 1, 2, 3, 4, 5, 6), "2020-01-02T03:04:05.000006"),
    (dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc), "2020-01-02T00:00:00+00:00"),
    (dt.datetime(2020, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=-5))),
     "2020-01-02T00:00:00-05:00"),
    (dt.date(2020, 1, 2), "2020-01-02"),
    (dt.time(1, 2, 3), "01:02:03"),
    (dt.time(1, 2, 3, tzinfo=dt.timezone.utc), "01:02:03+00:00"),
    (dt.timedelta(days=1, milliseconds=1), "P1DT0.001S"),
    (Decimal("1.10"), "1.10"),
    (Decimal("NaN"), "NaN"),
    (Decimal("1E+400"), "1E+400"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (b"text", "text"),
    (b"\xff\xfe", {"b64": "//4="}),
    (bytearray(b"text"), "text"),
    (memoryview(b"\xff"), {"b64": "/w=="}),
    (1 + 2j, [1.0, 2.0]),
    (float("nan"), None),
    (type("Ratio", (float,), {})(1.5), 1.5),
    (2**63, 2**63),
    (2**64, 2**64),
    (-(2**100), -(2**100)),
    ({1}, [1]),
    (frozenset({"a"}), ["a"]),
    ((1, (2,)), [1, [2]]),
    (Pair(1, np.int8(2)), [1, 2]),
    (range(3), [0, 1, 2]),
    (collections.deque([1]), [1]),
    ({"a": 1}.keys(), ["a"]),
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.ChainMap({"a": 1}), {"a": 1}),
    (Color.RED, "red"),
    (enum.IntEnum("Size", "SMALL").SMALL, 1),  # type: ignore[attr-defined]
    (Point(1.5, np.array([2])), {"x": 1.5, "_y": [2]}),
    # keys
    ({1: 0, -2: 0}, {"1": 0, "-2": 0}),
    ({np.int64(1): 0, np.float32(1.5): 0, np.bool_(False): 0}, {"1": 0, "1.5": 0, "false": 0}),
    ({np.str_("a"): 0}, {"a": 0}),
    ({None: 0, False: 0, 0.5: 0}, {"null": 0, "false": 0, "0.5": 0}),
    ({2**64: 0}, {str(2**64): 0}),
    ({dt.date(2020, 1, 2): 0, uuid.UUID(int=1): 0}, {"2020-01-02": 0, str(uuid.UUID(int=1)): 0}),
    ({Color.RED: 0, b"\n": 0, Decimal("1.10"): 0}, {"red": 0, "\n": 0, "1.10": 0}),
    ({"a": {"b": [{np.int8(1): np.zeros((2, 1))}]}}, {"a": {"b": [{"1": [[0.0], [0.0]]}]}}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), JSON_TABLE)
def test_json_encoding(value: Any, expected: Any) -> None:
    assert json.loads(json_encode({"predictions": value})) == {"predictions": expected}


@pytest.mark.parametrize(("value", "expected"), JSON_TABLE)
def test_json_is_the_same_beside_a_value_that_orjson_refuses(value: Any, expected: Any) -> None:
    refused = {1: np.array([2**64], dtype=object)}
    assert json.loads(json_encode([refused, value])) == [{"1": [2**64]}, expected]


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps"])
def test_json_of_datetimes_in_every_unit(unit: str) -> None:
    moments = np.array(["1970-01-01", "NaT"], dtype=f"M8[{unit}]")
    expected = ["1970-01-01T00:00:00", None]
    assert json.loads(json_encode([moments, moments[::-1], *moments])) == [
        expected,
        expected[::-1],
        *expected,
    ]
    far = np.array([2**62], dtype=f"M8[{unit}]")
    assert json.loads(json_encode(far))[0][:4] == str(far[0])[:4]


@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "f4", "f8", ">f8"])
def test_numbers_look_the_same_in_short_and_long_arrays(dtype: str) -> None:
    numbers = np.array([0, 1 / 3, 1, 0.1, 7, 2**-8, 1e2, 3.5] * 20).astype(dtype)
    if numbers.dtype.kind == "f":
        numbers[1] = np.nan
    every = json_encode(numbers).decode()[1:-1].split(",")
    for count in (1, 8, 16, 17, 100):
        assert json_encode(numbers[:count]).decode() == f"[{','.join(every[:count])}]"


def test_json_is_utf8_without_spaces() -> None:
    assert json_encode({"a": ["ü", 1]}) == '{"a":["ü",1]}'.encode()
    assert json_encode({1: ["ü", 1]}) == '{"1":["ü",1]}'.encode()


def test_json_of_pandas() -> None:
    pd = pytest.importorskip("pandas")
    moments = pd.to_datetime(["2020-01-02T03:04:05.000000001", None])
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, None], "t": moments, "s": ["a", None]})
    table = [
        (pd.Series([1.5, None]), [1.5, None]),
        (pd.Series(["a", "b"]), ["a", "b"]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        (pd.Series(moments), ["2020-01-02T03:04:05.000000001", None]),
        (
            pd.Series(pd.to_datetime(["2020-01-02"]).tz_localize("UTC")),
            ["2020-01-02T00:00:00+00:00"],
        ),
        (pd.Index(["a"]), ["a"]),
        (pd.Timestamp("2020-01-02T03:04:05", tz="UTC"), "2020-01-02T03:04:05+00:00"),
        (pd.Timedelta(seconds=1.5, nanoseconds=2), "PT1.500000002S"),
        (pd.Series(pd.period_range("2024Q1", periods=1, freq="Q")), ["2024Q1"]),
        (pd.Series(pd.interval_range(0, 1)), ["(0, 1]"]),
        ([pd.NaT, pd.NA], [None, None]),
        (pd.DataFrame([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), [[1, 2]]),
    ]
    for value, expected in table:
        assert json.loads(json_encode(value)) == expected
    first, second = json.loads(json_encode(frame))
    assert first.pop("t").startswith("2020-01-02T03:04:05")
    assert first == {"n": 1, "x": 0.5, "s": "a"}
    assert second == {"n": 2, "x": None, "t": None, "s": None}


def test_json_of_sparse() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    assert json.loads(json_encode(sparse.csr_matrix([[0, 1.5]]))) == [[0.0, 1.5]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "object"),
        (Fraction(1, 2), "Fraction"),
        ([{"a": print}], "builtin_function_or_method"),
        (np.ndarray, "type"),
        (int, "type"),
        (iter([]), "list_iterator"),
        ({1: object()}, "object"),
        (np.array([object()]), "object"),
        ({(1, 2): 0}, "tuple"),
        ({b"\xff": 0}, "bytes"),
        ({1: 0, "1": 0}, "two keys of a dict are '1' in JSON"),
        ("\ud800", "surrogates"),
        ([10**5000], "digits"),
        (deep(100_000), "."),
    ],
)
def test_json_refuses(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        json_encode({"predictions": [value]})


def test_json_refuses_cycles() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (loop, {1: loop}):
        with pytest.raises(TypeError):
            json_encode(value)


def test_json_decode() -> None:
    assert json_decode(b'{"instances": [[0, 1.5, null, "\xc3\xbc"]]}') == {
        "instances": [[0, 1.5, None, "ü"]]
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[NaN]",
        b"[Infinity]",
        b"[1] x",
        b"[1",
        b'"\xff"',
        b'"\\ud800"',
        b"1e999",
        b"{1: 2}",
        b"'a'",
        b"\0",
    ],
    ids=short_id,
)
def test_json_decode_refuses(body: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^the body is not JSON: [^\n]+$"):
        json_decode(body)


@pytest.mark.parametrize("unit", [b"[", b'{"a":', b'[{"a":'])
def test_json_decode_refuses_depth(unit: bytes) -> None:
    for levels in (2000, 1_000_000):
        with pytest.raises(DecodeError):
            json_decode(unit * levels)


# msgpack: the wire format


def test_vectors() -> None:
    array = np.arange(2, dtype="<f4")
    assert msgpack_encode(array) == ARANGE_BODY
    assert_same(msgpack_decode(ARANGE_BODY), array)
    assert msgpack_encode(Decimal("1.10")) == DECIMAL_BODY
    assert str(msgpack_decode(DECIMAL_BODY)) == "1.10"


def assert_same(decoded: Any, sent: Any) -> None:
    assert type(decoded) is type(sent)
    assert decoded.dtype == sent.dtype
    assert decoded.shape == sent.shape
    assert decoded.tobytes() == sent.tobytes()


NUMBERS_AND_TEXT = ["i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", "U1", "U5"]
PLAIN_FORMATS = [
    *("?", "i1", "u1", "S1", "S7", "V1", "V5"),
    *(order + code for order in "<>" for code in NUMBERS_AND_TEXT),
    np.dtype(np.longdouble).str,
    np.dtype(np.clongdouble).str,
]
SHAPES = [(), (0,), (1,), (5,), (0, 3), (3, 0), (2, 3), (2, 3, 4), (1,) * 4]


def sample(dtype: Any, shape: tuple[int, ...]) -> Any:
    """An array of random values of a dtype."""
    generator = np.random.default_rng(len(shape))
    dtype = np.dtype(dtype)
    array = np.zeros(shape, dtype=dtype)
    if dtype.names:
        for name in dtype.names:
            array[name] = sample(dtype[name].base, array[name].shape)
    elif dtype.kind in "SUV":
        letters = generator.integers(0, 2, (*shape, dtype.itemsize)).astype("u1") * 97
        array[...] = np.ascontiguousarray(letters).view(f"S{dtype.itemsize}")[..., 0].astype(dtype)
    else:
        array[...] = generator.integers(0, 100, shape).astype(dtype)
    return array


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wire", PLAIN_FORMATS)
def test_round_trip_of_arrays(wire: str, shape: tuple[int, ...]) -> None:
    array = sample(wire, shape)
    decoded = msgpack_decode(msgpack_encode({"instances": array}))["instances"]
    assert_same(decoded, array)
    assert decoded.dtype.str == array.dtype.str
    assert decoded.flags.writeable
    assert decoded.flags.c_contiguous


@pytest.mark.parametrize("wire", PLAIN_FORMATS)
def test_round_trip_of_strided_arrays(wire: str) -> None:
    array = sample(wire, (4, 6))
    for view in (array.T, array[::2, ::-1], np.asfortranarray(array), array[:, 1]):
        assert_same(msgpack_decode(msgpack_encode(view)), np.ascontiguousarray(view))


@pytest.mark.parametrize(
    "wire", [wire for wire in PLAIN_FORMATS if wire[-2:] != "f8" and wire[0] not in "S"]
)
def test_round_trip_of_scalars(wire: str) -> None:
    scalar = sample(wire, (3,))[0]
    decoded = msgpack_decode(msgpack_encode([scalar]))[0]
    assert decoded == scalar
    if not isinstance(scalar, (str, complex)):
        assert type(decoded) is type(scalar)


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 2)])
@pytest.mark.parametrize(
    "dtype",
    [
        [("a", "<i4")],
        [("a", ">f8"), ("b", "?"), ("ü", "<U3"), ("d", "S2"), ("e", "V3")],
        [("a", "u1", (2, 3)), ("b", "<c8", (1,))],
        [("a", [("b", [("c", ">i2", (2,))], (2,))])],
        NESTED,
    ],
)
def test_round_trip_of_structured_arrays(dtype: Any, shape: tuple[int, ...]) -> None:
    array = sample(dtype, shape)
    assert_same(msgpack_decode(msgpack_encode(array)), array)
    if array.size:
        record = array.ravel()[0]
        assert_same(msgpack_decode(msgpack_encode(record)), record)


def test_the_wire_format_of_structured_arrays() -> None:
    body = msgpack.unpackb(msgpack_encode(np.zeros(2, dtype=[("a", "<i2"), ("b", "u1", (3,))])))
    assert body == {
        b"nd": True,
        b"type": [["a", "<i2"], ["b", "|u1", [3]]],
        b"kind": b"V",
        b"shape": [2],
        b"data": bytes(10),
    }


@pytest.mark.parametrize(
    "array",
    [
        sample(PADDED, (3,)),
        sample(NESTED, (3,))[["id", "name"]],
        sample(np.dtype([("a", "i1"), ("b", "<i8")], align=True), (2,)),
        np.zeros(2, dtype=[("a", np.dtype((np.dtype(("<f4", (2,))), (3,))))]),
        np.zeros(2, dtype={"names": ["x", "y"], "formats": ["<i4", "<i2"], "offsets": [0, 2]}),
        np.zeros(2, dtype=[(("title", "a"), "<i4")]),
    ],
)
def test_structured_arrays_are_sent_without_padding(array: Any) -> None:
    decoded = msgpack_decode(msgpack_encode(array))
    assert decoded.dtype.names == array.dtype.names
    assert decoded.dtype.itemsize == sum(
        decoded.dtype[name].itemsize for name in decoded.dtype.names
    )
    assert all((decoded[name] == array[name]).all() for name in array.dtype.names)


def test_padding_is_not_a_field() -> None:
    wire = [["a", "|u1"], ["", "|V3"], ["b", "<i4"], ["", "|V4"]]
    array = msgpack_decode(array_body(wire, [1], b"\1\0\0\0\2\0\0\0\0\0\0\0"))
    assert array.dtype.names == ("a", "b")
    assert array.tolist() == [(1, 2)]
    assert msgpack_decode(array_body([["", "|V8"]], [1], bytes(8))).dtype == np.dtype("V8")


def test_arrays_of_old_msgpack_numpy_have_no_kind() -> None:
    body = pack({b"nd": True, b"type": "<i2", b"shape": [1], b"data": b"\1\0"})
    assert_same(msgpack_decode(body), np.array([1], dtype="<i2"))


AWARE = dt.timezone(dt.timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**64 - 1,
        -(2**63),
        1.5,
        "ü",
        b"\xff",
        [],
        {},
        {"a": [{"b": 1}], b"nd2": 0},
        1 + 2j,
        complex(0, -1.5),
        dt.datetime(2020, 1, 2, 3, 4, 5, 6),
        dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc),
        dt.datetime(1, 1, 1, tzinfo=AWARE),
        dt.datetime.max,
        dt.date(2020, 1, 2),
        dt.time(1, 2, 3, 4),
        dt.time(1, 2, tzinfo=AWARE),
        dt.timedelta(days=-1, seconds=5, microseconds=7),
        dt.timedelta.min,
        Decimal("-1.10E-400"),
        Decimal("Infinity"),
        uuid.UUID(int=2**127),
        deep(300),
    ],
)
def test_round_trip_of_values(value: Any) -> None:
    for wrapped in (value, [value], {"a": {"b": [value, value]}}):
        decoded = msgpack_decode(msgpack_encode(wrapped))
        assert decoded == wrapped
        assert type(decoded) is type(wrapped)


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc),
         {b"__dt_datetime_iso__": True, b"data": "2020-01-02T00:00:00Z"}),
        (dt.datetime(2020, 1, 2), {b"__dt_datetime_iso__": True, b"data": "2020-01-02T00:00:00"}),
        (dt.date(2020, 1, 2), {b"__dt_date_iso__": True, b"data": "2020-01-02"}),
        (dt.time(1, 2), {b"__dt_time_iso__": True, b"data": "01:02:00"}),
        (dt.timedelta(days=-1, seconds=2), {b"__dt_timedelta__": True, b"data": [-1, 2, 0]}),
        (Decimal("1.10"), {b"__decimal__": True, b"data": "1.10"}),
        (uuid.UUID(int=1), {b"__uuid__": True, b"data": str(uuid.UUID(int=1))}),
        (1 + 2j, {b"complex": True, b"data": "(1+2j)"}),
        (np.float32(1), {b"nd": False, b"type": "<f4", b"data": b"\0\0\x80?"}),
        (np.bool_(True), {b"nd": False, b"type": "|b1", b"data": b"\1"}),
        (np.float64(1.5), 1.5),
    ],
)  # fmt: skip
def test_the_wire_format_of_values(value: Any, wire: Any) -> None:
    assert msgpack.unpackb(msgpack_encode(value)) == wire


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, Decimal(3))), [1, [2, Decimal(3)]]),
        (Pair(1, 2), [1, 2]),
        ({1}, [1]),
        (Color.RED, "red"),
        (np.array([1, "a", None, Decimal("1.10"), dt.date(2020, 1, 2)], dtype=object),
         [1, "a", None, Decimal("1.10"), dt.date(2020, 1, 2)]),
        (np.array([[1, None]], dtype=object), [[1, None]]),
        (np.zeros(1, dtype=[("a", "O"), ("b", "i1")]), [{"a": 0, "b": np.int8(0)}]),
        (np.zeros(1, dtype=[("a", [("b", "O")], (2,))])[0], {"a": [{"b": 0}, {"b": 0}]}),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.array([["2020-01-02T03:04:05.000006", "NaT"]], dtype="M8[us]"),
         [[dt.datetime(2020, 1, 2, 3, 4, 5, 6), None]]),
        (NS_NAT, [dt.datetime(2020, 1, 2, 3, 4, 5), None]),
        (np.array("2020-01-02", dtype="M8[D]"), dt.datetime(2020, 1, 2)),
        (np.array([10**6, 0], dtype="M8[Y]"), ["1001970", dt.datetime(1970, 1, 1)]),
        (np.datetime64("2020-01-02", "D"), dt.datetime(2020, 1, 2)),
        (np.array([1500, "NaT"], dtype="m8[ms]"), [dt.timedelta(seconds=1.5), None]),
        (np.array([10**10], dtype="m8[D]"), ["P10000000000D"]),
        (np.timedelta64(1500, "ns"), dt.timedelta(microseconds=1)),
        (np.timedelta64(2, "Y"), "P2Y"),
        (np.zeros(1, dtype=[("t", "m8[s]")]), [{"t": dt.timedelta()}]),
        (np.array(["x" * 300_000]), ["x" * 300_000]),
        (np.zeros((1000, 0)), [[]] * 1000),
        (np.zeros(2, dtype="V0"), [b"", b""]),
    ],
)  # fmt: skip
def test_arrays_that_msgpack_numpy_lacks_become_lists(value: Any, expected: Any) -> None:
    assert msgpack_decode(msgpack_encode({"predictions": value})) == {"predictions": expected}


def test_msgpack_of_pandas() -> None:
    pd = pytest.importorskip("pandas")
    stamp = pd.Timestamp("2020-01-02T03:04:05.000006007")
    plain = dt.datetime(2020, 1, 2, 3, 4, 5, 6)
    assert msgpack_decode(msgpack_encode(stamp)) == plain
    assert msgpack_decode(msgpack_encode(stamp.tz_localize("UTC"))) == plain.replace(
        tzinfo=dt.timezone.utc
    )
    assert msgpack_decode(msgpack_encode([pd.NaT, pd.NA])) == [None, None]
    assert msgpack_decode(msgpack_encode(pd.Timedelta(seconds=1.5))) == dt.timedelta(seconds=1.5)
    assert_same(msgpack_decode(msgpack_encode(pd.Series([1.5, 2.5]))), np.array([1.5, 2.5]))
    frame = pd.DataFrame({"a": [1], "t": [stamp]})
    assert msgpack_decode(msgpack_encode(frame)) == [{"a": 1, "t": plain}]


def test_msgpack_of_sparse() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    assert_same(
        msgpack_decode(msgpack_encode(sparse.csr_matrix([[0.0, 1.5]]))), np.array([[0.0, 1.5]])
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), "object"),
        (2**64, "has 65 bits"),
        (-(2**63) - 1, "int"),
        ("\ud800", "surrogates"),
        (np.ndarray, "type"),
    ],
)
def test_msgpack_refuses(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        msgpack_encode({"predictions": [value]})


def test_msgpack_refuses_cycles() -> None:
    loop: list[Any] = []
    loop.append(loop)
    array = np.zeros(1, dtype=object)
    array[0] = array
    for value in (loop, array, deep(100_000)):
        with pytest.raises(TypeError):
            msgpack_encode(value)
    array[0] = None


# msgpack: hostile bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\x92\x01",
        b"\x81\xa1a",
        b"\xa1\xff",
        b"\xd9\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff\xa1a\x01",
        b"\x81\x90\x01",
        b"\x81\x80\x01",
        b"\x81\x01\x01",
        b"\x81\xc0\x01",
        b"\xd4\x01\x00",
        b"\xc7\x00\x01",
        b"\xc7\x00\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\xd6\xff\x00\x00\x00\x00",
        b"\x91" * 2000 + b"\x00",
        b"\x81\xa1a" * 2000 + b"\x00",
        b"\x91" * 1_000_000,
        ARANGE_BODY[:-1],
        ARANGE_BODY + b"\0",
        pack({DECIMAL_BODY: 0})[:-2],
        # the body's own map as a key of another
        b"\x81" + DECIMAL_BODY + b"\x01",
    ],
    ids=short_id,
)
def test_msgpack_decode_refuses(body: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^[^\n]+$") as caught:
        msgpack_decode(body)
    assert len(str(caught.value)) < 200


PICKLE = pickle.dumps(print)


@pytest.mark.parametrize(
    "body",
    [
        array_body("|O", [1], PICKLE),
        array_body("|O", [1], PICKLE, b"O"),
        array_body("O", [1], bytes(8), b""),
        array_body("object", [1], bytes(8)),
        array_body("<f8", [1], PICKLE, b"O"),
        array_body("<f8", [1], bytes(8), b"O"),
        array_body([["a", "|O"]], [1], bytes(8)),
        array_body([["a", "|O"]], [1], bytes(8), b""),
        array_body([["a", "O", [1]]], [1], bytes(8)),
        array_body([["a", "<f4", [2]], ["b", [["c", [["d", "|O", [2]]], [2]]]]], [1], bytes(40)),
        array_body([["", "|O"]], [1], bytes(8)),
        array_body("|V8, O", [1], bytes(16)),
        array_body("{'names': ['a'], 'formats': ['O']}", [1], bytes(8)),
        scalar_body("|O", bytes(8)),
        scalar_body([["a", "|O"]], bytes(8)),
        scalar_body([["a", [["b", "O", [1]]]]], bytes(8)),
    ],
    ids=short_id,
)
def test_objects_are_refused_on_every_level(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle, "loads", None)
    with pytest.raises(DecodeError, match="type|kind"):
        msgpack_decode(body)


@pytest.mark.parametrize(
    "wire",
    [
        *(
            "f4",
            "=f4",
            "<f3",
            "<f",
            "float32",
            "i",
            "<i3",
            "<i16",
            "|b2",
            "?",
            "<f4\n",
            " <f4",
            "",
            "<",
            "\0",
        ),
        *(
            "<f4,<f4",
            "2<f4",
            "(2,)<f4",
            "<(2)f4",
            "<f4:",
            "a5",
            "<M8[ns]",
            "<m8[s]",
            "<M8",
            "|T16",
            "|S",
            "|S0",
        ),
        *(
            "<U0",
            "|V0",
            "|S01",
            "|S-1",
            "|S9999999",
            "|S99999999999999999999",
            "<U1000000",
            "<f\u0664",
            ">c4",
        ),
        *(
            None,
            1,
            True,
            1.5,
            b"<f4",
            {},
            {"names": ["a"]},
            [],
            [[]],
            ["<f4"],
            [["a"]],
            [["a", "<f4", [1], 0]],
        ),
        *(
            [[b"a", "<f4"]],
            [[["t", "a"], "<f4"]],
            [["a", "<f4"], ["a", "<f4"]],
            [["", "<f4"]],
            [["a", []]],
        ),
        *([["a", "<f4", 2]], [["a", "<f4", [0]]], [["a", "<f4", [-1]]], [["a", "<f4", [True]]]),
        *([["a", "<f4", [1] * 33]], [["a", "<f4", [2**64 - 1]]], [["a", "|S1000", [10_000]]]),
        *(
            [["", "|V4"], ["", "|V4"]],
            [["a", "|S1000000"], ["b", "|S1000000"]],
            [["a", "|S0"], ["b", "<f4"]],
        ),
        [["a", [["b", "u1", [1] * 20]], [1] * 20]],
    ],
)
def test_types_that_are_refused(wire: Any) -> None:
    for shape, data in (([1], bytes(4)), ([0], b""), ([1], b"")):
        with pytest.raises(DecodeError, match=r"^type: [^\n]+$"):
            msgpack_decode(array_body(wire, shape, data))
    with pytest.raises(DecodeError, match=r"^type: [^\n]+$"):
        msgpack_decode(scalar_body(wire, bytes(4)))


def nested_format(levels: int) -> Any:
    wire: Any = "<f8"
    for _ in range(levels):
        wire = [["a", wire]]
    return wire


def test_the_depth_of_structured_types_is_limited() -> None:
    assert msgpack_decode(array_body(nested_format(16), [1], bytes(8))).dtype.names == ("a",)
    for levels in (17, 200):
        with pytest.raises(DecodeError, match="levels"):
            msgpack_decode(array_body(nested_format(levels), [1], bytes(8)))


@pytest.mark.parametrize(
    "shape",
    [
        *(None, 1, "1", b"1", {}, [True], [1.0], ["1"], [None], [[1]], [-1], [-1, -1], [1, True]),
        *(
            [0],
            [2],
            [2**64 - 1],
            [2**63, 2],
            [2**32, 2**32],
            [2**16] * 4,
            [1] * 33,
            [1] * 1000,
            [10**12, 0],
        ),
    ],
)
def test_shapes_that_are_refused(shape: Any) -> None:
    with pytest.raises(DecodeError, match=r"^(shape|data): [^\n]+$"):
        msgpack_decode(array_body("|u1", shape, b"\1"))


@pytest.mark.parametrize(
    "shape",
    [
        [10**12, 0],
        [2**64 - 1, 0],
        [0, 2**64 - 1],
        [0, 2**63],
        [2**40, 0, 2**40],
        [10**4, 10**4, 0],
        [0, 10**12],
    ],
)
def test_huge_arrays_without_elements_are_refused(shape: list[int]) -> None:
    for wire in ("|u1", "<f8", [["a", "<f4"]]):
        with pytest.raises(DecodeError, match="shape"):
            msgpack_decode(array_body(wire, shape, b""))


@pytest.mark.parametrize("shape", [[0], [0, 4], [0, 1000, 20], [4, 0], [100, 0], [2, 0, 3]])
def test_arrays_without_elements_of_a_usual_shape(shape: list[int]) -> None:
    assert msgpack_decode(array_body("<f8", shape, b"")).shape == tuple(shape)


def test_the_number_of_rows_is_limited_by_the_data() -> None:
    count = 100_000
    for shape in ([count], [count, 1], [count, 1, 1], [1, count, 1], [1] * 31 + [count]):
        assert msgpack_decode(array_body("|u1", shape, bytes(count))).shape == tuple(shape)
    wide: list[Any] = [["a", [["b", [["c", [["d", [["e", "|u1"]]]]]]]]]]
    for wire, shape in (
        ("|u1", [count] + [1] * 31),
        (wide, [count]),
        ([["a", "|u1", [1] * 20]], [count]),
    ):
        with pytest.raises(DecodeError, match="rows"):
            msgpack_decode(array_body(wire, shape, bytes(count)))


@pytest.mark.parametrize(
    "body",
    [
        pack({b"nd": True}),
        pack({b"nd": False}),
        pack({b"nd": 1, b"type": "<f4", b"data": bytes(4)}),
        pack({b"nd": None, b"data": b""}),
        pack({b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [1]}),
        pack({b"nd": True, b"type": "<f4", b"kind": b"", b"data": bytes(4)}),
        array_body("<f4", [1], "text"),
        array_body("<f4", [1], [0, 0, 0, 0]),
        array_body("<f4", [1], None),
        array_body("<f4", [1], bytes(4), extra=1),
        array_body("<f4", [1], bytes(4), b"V"),
        array_body("<f4", [1], bytes(4), ""),
        array_body(
            "<f4", [1], bytes(4), {b"nd": True, b"type": "|u1", b"shape": [2], b"data": b"\0\0"}
        ),
        array_body([["a", "<f4"]], [1], bytes(4), b""),
        array_body("<U1", [1], b"\xff\xff\xff\x7f"),
        array_body(">U1", [1], b"\x00\x11\x00\x00"),
        array_body("<U2", [1], b"a\0\0\0\x00\xd8\0\0"),
        array_body([["a", [["b", "<U1", [2]]]]], [1], b"a\0\0\0\xff\xff\xff\x7f"),
        array_body("|b1", [2], b"\1\2"),
        scalar_body("|b1", b"\xff"),
        scalar_body("<f4", bytes(3)),
        scalar_body("<f4", b""),
        scalar_body("<f4", 0),
        pack({b"nd": False, b"type": "<f4", b"shape": [1], b"data": bytes(4)}),
        pack({b"nd": False, b"__decimal__": True, b"data": "1"}),
        pack({b"__decimal__": True}),
        pack({b"__decimal__": False, b"data": "1"}),
        pack({b"__decimal__": 1, b"data": "1"}),
        pack({b"__decimal__": True, b"data": 1}),
        pack({b"__decimal__": True, b"data": "x" * 10_000}),
        pack({b"__decimal__": True, b"data": "1\n2"}),
        pack({b"__decimal__": True, b"data": "1", "more": 1}),
        pack({b"__decimal__": True, b"__uuid__": True, b"data": "1"}),
        pack({b"__uuid__": True, b"data": "1234"}),
        pack({b"__uuid__": True, b"data": bytes(16)}),
        pack({b"complex": True, b"data": "1+"}),
        pack({b"complex": True, b"data": [1, 2]}),
        pack({b"__dt_datetime_iso__": True, b"data": "yesterday\n"}),
        pack({b"__dt_datetime_iso__": True, b"data": "2020-13-01T00:00:00Z"}),
        pack({b"__dt_datetime_iso__": True, b"data": "Z"}),
        pack({b"__dt_date_iso__": True, b"data": ""}),
        pack({b"__dt_time_iso__": True, b"data": "25:00"}),
        pack({b"__dt_timedelta__": True, b"data": [1, 2]}),
        pack({b"__dt_timedelta__": True, b"data": [1, 2, 3, 4]}),
        pack({b"__dt_timedelta__": True, b"data": [1, 2, True]}),
        pack({b"__dt_timedelta__": True, b"data": [1.5, 0, 0]}),
        pack({b"__dt_timedelta__": True, b"data": [10**10, 0, 0]}),
        pack({b"__dt_timedelta__": True, b"data": [2**64 - 1, 2**64 - 1, 2**64 - 1]}),
        pack({b"__dt_timedelta__": True, b"data": [deep(400), 0, 0]}),
    ],
    ids=short_id,
)
def test_maps_that_are_malformed(body: bytes) -> None:
    with pytest.raises(DecodeError, match=r"^\w+: [^\n]+$") as caught:
        msgpack_decode(body)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "value", [{"nd": True, "data": 1}, {b"data": 1}, {b"type": "O"}, {"__decimal__": True}]
)
def test_ordinary_maps_pass_through(value: Any) -> None:
    assert msgpack_decode(pack(value)) == value


# both decoders: mutation, and memory


def valid_bodies() -> list[bytes]:
    values = [
        {"instances": [[0, 1.5, None, "ü"], {"a": [True, -5, 2**40]}]},
        np.arange(6, dtype="<f4").reshape(2, 3),
        np.array(["ab", "ü"]),
        np.array([True, False]),
        sample(NESTED, (2,)),
        sample(NESTED, (2,))[0],
        {"s": np.float32(1.5), "c": 1 + 2j, "d": Decimal("1.10"), "u": uuid.UUID(int=7)},
        [
            dt.datetime(2020, 1, 2, tzinfo=AWARE),
            dt.date(2020, 1, 2),
            dt.time(3, 4),
            dt.timedelta(1, 2, 3),
        ],
    ]
    return [msgpack_encode(value) for value in values]


def mutate(body: bytes, chance: random.Random, pieces: list[bytes]) -> bytes:
    mutant = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(mutant) + 1)
        end = min(len(mutant), at + chance.choice((0, 1, 1, 1, 4)))
        mutant[at:end] = chance.choice(
            (
                b"",
                chance.randbytes(1),
                chance.randbytes(end - at),
                chance.choice(pieces),
                mutant[at:end] * 2,
            )
        )
    return bytes(mutant)


def assert_harmless(decode: Any, body: bytes) -> int:
    """Decode a body and encode the result as a server does. Return 1 if the body was valid."""
    try:
        value = decode(body)
    except DecodeError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 1000
        return 0
    if isinstance(value, np.ndarray):
        value.tolist()
    try:
        json_encode(value)
        msgpack_encode(value)
    except TypeError:
        pass
    return 1


def test_mutated_msgpack() -> None:
    chance = random.Random(0)
    bodies = valid_bodies()
    pieces = [
        *bodies,
        b"\xdd\xff\xff\xff\xff",
        b"\xc1",
        b"\xd4\x01",
        b"\xa2|O",
        b"\x92\xcf" + b"\xff" * 8,
    ]
    pieces += [
        b"\x92\xce\x3b\x9a\xca\x00\x00",
        b"\xa1O",
        b"\xc4\x01O",
        b"\xc2",
        b"\xc3",
        b"\x91\x00",
        b"\x90",
        b"\x80",
    ]
    valid = sum(
        assert_harmless(msgpack_decode, mutate(chance.choice(bodies), chance, pieces))
        for _ in range(12_000)
    )
    assert 100 < valid < 11_900


def test_mutated_fields_of_arrays() -> None:
    chance = random.Random(1)
    wires: list[Any] = [
        "<f4",
        "|u1",
        "|O",
        "<U1",
        "|b1",
        "|S3",
        "<c16",
        "|V2",
        [["a", "<f4"]],
        [["a", "|O", [1]]],
    ]
    wires += [
        [["", "|V2"], ["b", "|u1"]],
        [["a", [["b", "|u1", [2]]], [1]]],
        None,
        3,
        [],
        [[]],
        "<f16",
        ">f12",
    ]
    sizes = [0, 1, 2, 3, 4, 1000, 2**31, 2**63, 2**64 - 1, -1, True, None, "1"]
    valid = 0
    for _ in range(6000):
        shape = [chance.choice(sizes) for _ in range(chance.choice((0, 1, 1, 2, 3, 40)))]
        data = chance.randbytes(chance.choice((0, 0, 1, 2, 3, 4, 8, 16)))
        valid += assert_harmless(msgpack_decode, array_body(chance.choice(wires), shape, data))
    assert valid > 100


def test_random_bytes() -> None:
    chance = random.Random(2)
    for _ in range(6000):
        body = chance.randbytes(chance.randrange(60))
        assert_harmless(msgpack_decode, body)
        assert_harmless(json_decode, body)


def test_mutated_json() -> None:
    chance = random.Random(3)
    body = json_encode({"instances": [[0, 1.5, None, True, "ü\n"], {"a": [2**63, -1e300]}]})
    pieces = [b"NaN", b"1e999", b"9" * 400, b"\\ud800", b"[" * 1100, b"\xff", b'"', b"{", b"]"]
    valid = sum(assert_harmless(json_decode, mutate(body, chance, pieces)) for _ in range(6000))
    assert 100 < valid < 5900


@contextlib.contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Measure the peak of allocated bytes in the block. The list has one item after the block."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def nested_lengths(size: int) -> bytes:
    """A thousand nested lists. Each claims to be almost as long as the body."""
    header = b"\xdd" + struct.pack(">I", size - 5000)
    return (header * 1000).ljust(size, b"\0")


@pytest.mark.parametrize(
    "body",
    [
        nested_lengths(100_000),
        nested_lengths(1_000_000),
        b"\xdd\x00\x0f\x00\x00" + bytes(1000),
        array_body("|u1", [10**12, 0], b""),
        array_body("|S1000000", [10**12], b""),
        array_body("|u1", [1000] + [1] * 31, bytes(1000)),
        pack({b"__decimal__": True, b"data": "x" * 1_000_000}),
        pack({b"nd": True, b"x" * 1_000_000: 1}),
    ],
    ids=short_id,
)
def test_refusing_msgpack_takes_little_memory(body: bytes) -> None:
    with peak_memory() as peak, pytest.raises(DecodeError):
        msgpack_decode(body)
    assert peak[0] < 4 * len(body) + 1_000_000


@pytest.mark.parametrize(
    "body", [b"[" * 1_000_000, b"9" * 1_000_000, b'"' * 1_000_000], ids=short_id
)
def test_refusing_json_takes_little_memory(body: bytes) -> None:
    with peak_memory() as peak, pytest.raises(DecodeError):
        json_decode(body)
    assert peak[0] < 16 * len(body)  # orjson allocates 12 bytes for each byte of the body


def test_decoding_an_array_takes_little_memory() -> None:
    body = msgpack_encode(np.zeros(1_000_000, dtype="<f8"))
    with peak_memory() as peak:
        msgpack_decode(body)
    assert peak[0] < 4 * len(body)


def test_tolist_of_an_accepted_array_takes_little_memory() -> None:
    array = msgpack_decode(array_body("|u1", [2000, 1, 1, 1], bytes(2000)))
    with peak_memory() as peak:
        array.tolist()
    assert peak[0] < 1_000_000
