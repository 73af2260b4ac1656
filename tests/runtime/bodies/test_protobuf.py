"""protobuf's wire format, as bodies/v2/protobuf.py reads and writes it."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from common.bodies.v2 import protobuf, protobuf_fields
from common.bodies.v2.protobuf import Repeated, Scalar
from common.bodies.v2.protobuf_fields import BYTES, FIXED32, FIXED64, VARINT, Budget
from common.bodies.values import DecodeError
from support.packages.late import imported_late

service_pb2 = imported_late("tritonclient.grpc.service_pb2")

INT32, INT64 = Scalar(VARINT, np.dtype(np.int32)), Scalar(VARINT, np.dtype(np.int64))
UINT32, UINT64 = Scalar(VARINT, np.dtype(np.uint32)), Scalar(VARINT, np.dtype(np.uint64))
BOOL = Scalar(VARINT, np.dtype(np.bool_))
FLOAT, DOUBLE = Scalar(FIXED32, np.dtype("<f4")), Scalar(FIXED64, np.dtype("<f8"))
SCALARS = {
    "bool_contents": BOOL,
    "int_contents": INT32,
    "int64_contents": INT64,
    "uint_contents": UINT32,
    "uint64_contents": UINT64,
    "fp32_contents": FLOAT,
    "fp64_contents": DOUBLE,
}
NUMBERS = {name: number for number, name in enumerate(SCALARS, 1)}


def random_values(scalar: Scalar, count: int) -> Any:
    """Values of all sizes that the dtype has."""
    random = np.random.default_rng(count)
    assert scalar.dtype is not None
    if scalar.dtype.kind == "b":
        return random.integers(0, 2, count).astype(bool)
    if scalar.dtype.kind == "f":
        return random.normal(size=count).astype(scalar.dtype)
    bits = random.integers(0, 2**63, count, dtype=np.uint64) * 2 + 1
    sizes = random.integers(0, 64, count).astype(np.uint64)
    return (bits >> sizes).astype(f"u{scalar.dtype.itemsize}").view(scalar.dtype)


def message(name: str, values: Any) -> bytes:
    """protobuf's own InferTensorContents."""
    contents = service_pb2.InferTensorContents(**{name: values.tolist()})
    return bytes(contents.SerializeToString())


def unpacked(number: int, scalar: Scalar, values: Any) -> bytes:
    """A field for each value."""
    parts = []
    for value in values:
        content = protobuf.pack(np.array([value]), scalar)
        parts.append(bytes([number << 3 | scalar.wire]) + content)
    return b"".join(parts)


def read(data: bytes, number: int, scalar: Scalar) -> Any:
    repeated = Repeated(scalar)
    protobuf.read_repeated(memoryview(data), {number: repeated}, Budget())
    values = repeated.values()
    assert len(repeated) == len(values)
    return values


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("count", [0, 1, 2, 7, 100, 5000])
def test_numbers_are_read_and_written_as_protobuf_does(name: str, count: int) -> None:
    scalar, number = SCALARS[name], NUMBERS[name]
    values = random_values(scalar, count)
    written = message(name, values)
    assert protobuf.field(number, protobuf.pack(values, scalar)) == written
    parts = [written, unpacked(number, scalar, values), unpacked(number, scalar, values[:3])]
    several = b"".join([*parts, b"\x78\x01", *parts])  # with a field that is not known
    expected = np.concatenate([values, values, values[:3]] * 2)
    for data, content in ((written, values), (parts[1], values), (several, expected)):
        found = read(data, number, scalar)
        assert found.dtype == scalar.dtype and found.flags.writeable
        assert found.tobytes() == content.tobytes()


def test_numbers_on_the_edge_of_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protobuf, "PIECE", 16)
    monkeypatch.setattr(protobuf, "FIRST_PIECE", 16)
    for count in range(40):
        values = random_values(INT64, count)
        assert read(message("int64_contents", values), 3, INT64).tolist() == values.tolist()
        assert read(unpacked(3, INT64, values), 3, INT64).tolist() == values.tolist()
        halves = random_values(FLOAT, count)
        assert read(unpacked(6, FLOAT, halves), 6, FLOAT).tobytes() == halves.tobytes()


def test_an_integer_is_cut_to_the_size_of_its_type() -> None:
    for value in (0, -1, -(2**31), 2**31 - 1, 2**32 + 5, 2**63):
        content = protobuf.varint(value % 2**64)
        data = protobuf.field(2, content)
        contents = service_pb2.InferTensorContents.FromString(data)
        assert read(data, 2, INT32).tolist() == list(contents.int_contents)
        data = protobuf.field(4, content)
        contents = service_pb2.InferTensorContents.FromString(data)
        assert read(data, 4, UINT32).tolist() == list(contents.uint_contents)


def test_bytes_of_any_length() -> None:
    items = [b"x" * size for size in (0, 1, 127, 128, 0, 300, 2**16, 5, 2**21, 0)] * 2
    contents = service_pb2.InferTensorContents(bytes_contents=items)
    assert read(contents.SerializeToString(), 8, Scalar(BYTES)) == items


def fields(data: bytes) -> list[tuple[int, int, Any]]:
    return [
        (number, wire, value if wire == VARINT else bytes(value))
        for number, wire, value in protobuf_fields.fields(memoryview(data), Budget())
    ]


def test_fields_of_all_wire_types() -> None:
    group = b"\x13\x08\x01\x1b\x1c\x0a\x02hi\x14"  # 2 { 1: 1, 3 {}, 1: "hi" }
    data = b"".join(
        [b"\x08\x96\x01", group, b"\x11" + bytes(8), b"\x1a\x03abc", b"\x25" + bytes(4)]
    )
    assert fields(data) == [
        (1, VARINT, 150),
        (2, FIXED64, bytes(8)),
        (3, BYTES, b"abc"),
        (4, FIXED32, bytes(4)),
    ]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x08", id="a varint is missing"),
        pytest.param(b"\x08\x80", id="a varint ends too soon"),
        pytest.param(b"\x08" + b"\x80" * 10 + b"\x01", id="a varint is too long"),
        pytest.param(b"\x80" * 11, id="a tag is too long"),
        pytest.param(b"\x00\x00", id="field 0"),
        pytest.param(b"\x0e\x00", id="wire type 6"),
        pytest.param(b"\x80\x80\x80\x80\x10\x01", id="a tag of 33 bits"),
        pytest.param(b"\x0a\x05abc", id="bytes end too soon"),
        pytest.param(b"\x0a" + protobuf.varint(2**63) + b"abc", id="a length of 64 bits"),
        pytest.param(b"\x09abc", id="a double ends too soon"),
        pytest.param(b"\x0dabc", id="a float ends too soon"),
        pytest.param(b"\x0c", id="a group ends that has not begun"),
        pytest.param(b"\x0b\x08\x01", id="a group has no end"),
        pytest.param(b"\x0b\x14", id="another group ends"),
        pytest.param(b"\x0b" * 100_000, id="groups nest"),
    ],
)
def test_what_is_malformed_is_refused_like_protobuf_does(data: bytes) -> None:
    with pytest.raises(DecodeError) as refused:
        fields(data)
    assert "\n" not in str(refused.value)
    with pytest.raises(Exception, match="(?i)pars"):
        service_pb2.InferTensorContents.FromString(data)


@pytest.mark.parametrize(
    ("number", "scalar", "data"),
    [
        (3, INT64, b"\x18"),
        (3, INT64, b"\x18\x01\x18\x80"),
        (3, INT64, b"\x18" + b"\x80" * 11 + b"\x01"),
        (3, INT64, b"\x18\x01" * 3 + b"\x18" + b"\x80" * 70 + b"\x01"),
        (3, INT64, b"\x1a\x02\x01\x80"),
        (3, INT64, b"\x1a\x0c" + b"\x80" * 11 + b"\x01"),
        (3, INT64, b"\x1a\x09\x01"),
        (6, FLOAT, b"\x35\x00\x00"),
        (6, FLOAT, b"\x35\x00\x00\x00\x00\x35\x00"),
        (6, FLOAT, b"\x32\x03abc"),
        (8, Scalar(BYTES), b"\x42"),
        (8, Scalar(BYTES), b"\x42\x05abc"),
        (8, Scalar(BYTES), b"\x42\xff\xff\xff\xff\x0fabc"),
        (8, Scalar(BYTES), b"\x42\x01a\x42\x80"),
    ],
)
def test_malformed_numbers_are_refused(number: int, scalar: Scalar, data: bytes) -> None:
    with pytest.raises(DecodeError):
        read(data, number, scalar)
    with pytest.raises(Exception, match="(?i)pars"):
        service_pb2.InferTensorContents.FromString(data)


def test_fields_of_another_wire_type_are_skipped_like_unknown_ones() -> None:
    data = b"\x1d\x00\x00\x00\x00" + b"\x18\x07"  # field 3 as a float, then as a varint
    assert read(data, 3, INT64).tolist() == [7]
    assert list(service_pb2.InferTensorContents.FromString(data).int64_contents) == [7]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x78\x01", id="unknown fields"),
        pytest.param(b"\x18\x01\x78\x01", id="known and unknown ones in turn"),
        pytest.param(b"\x1a\x01\x01", id="packed fields of one number"),
        pytest.param(b"\x7b\x7c", id="groups"),
    ],
)
def test_fields_that_are_read_one_by_one_are_limited(data: bytes) -> None:
    with pytest.raises(DecodeError, match="the message has more than .* fields"):
        protobuf.read_repeated(memoryview(data * 1001), {3: Repeated(INT64)}, Budget(1000))


@pytest.mark.parametrize(
    ("data", "count"),
    [
        pytest.param(protobuf.field(3, b"\x81\x01" * 2**20), 2**20, id="packed"),
        pytest.param(b"\x18\x01" * 2**20, 2**20, id="unpacked"),
        pytest.param(protobuf.field(3, b"\x01" * 2**21), 2**21, id="packed in one byte each"),
    ],
)
def test_memory_is_in_proportion_to_the_message(data: bytes, count: int) -> None:
    tracemalloc.start()
    try:
        assert len(read(data, 3, INT64)) == count
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 40 * len(data)  # 8 bytes for each number, twice, and what a piece takes


def test_a_string_must_be_utf_8() -> None:
    assert protobuf_fields.text(memoryview("ü".encode()), "id") == "ü"
    with pytest.raises(DecodeError, match="id: must be UTF-8"):
        protobuf_fields.text(memoryview(b"\xff"), "id")


def test_signed_integers() -> None:
    for value in (0, 1, -1, 2**63 - 1, -(2**63)):
        assert protobuf_fields.signed(value % 2**64) == value
