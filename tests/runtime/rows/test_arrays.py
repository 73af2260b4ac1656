"""Rows as arrays: numbers that do not change, bytes, sparse rows, and refusals that are true."""

import json
from itertools import product
from typing import Any

import numpy as np
import pytest

from common.bodies import json_encode, msgpack_decode, msgpack_encode
from common.bodies.v2 import v2_tensors
from common.errors import ConfigError, InvalidInput
from common.rows.arrays import to_array
from common.schema import ArrayInput, JsonInput, Tensor, TensorsInput, TextInput
from common.signature import Signature

LARGE = 2**53 + 1  # float64 has no such number


def inputs(rows: Any, shape: Any, dtype: str | None) -> Any:
    return Signature(ArrayInput(shape, dtype)).inputs(rows)


# ---- whole numbers ----


@pytest.mark.parametrize(
    ("dtype", "rows", "expected"),
    [
        ("int64", [[LARGE, -LARGE]], "int64"),
        ("uint64", [[2**64 - 1, 1]], "uint64"),  # numpy makes floats of these two
        ("uint64", [[2**63, 2**63 + 1]], "uint64"),
        ("int64", [[2**63, 1]], "uint64"),
        (None, [[2**63 + 1, 1]], "uint64"),
        (None, [[LARGE, 1]], "int64"),
        ("int64", [[1.5, 2]], "float64"),
        ("int64", [[1.5, 2**53]], "float64"),
        (None, [[1e300, 2]], "float64"),
    ],
)
def test_a_whole_number_stays_what_it_is(dtype: str | None, rows: Any, expected: str) -> None:
    array = inputs(rows, (2,), dtype)
    assert array.dtype == expected and array.tolist() == rows


@pytest.mark.parametrize(
    ("dtype", "rows", "message"),
    [
        (
            "int64",
            [[1, 2], [LARGE, 1.5]],
            r"instances\[1\]\[0\] is the number 9007199254740993, wh",
        ),
        (None, [[LARGE, None]], "which changes beside null or a number that is not whole"),
        (None, [[LARGE, 0.5]], "which changes beside null or a number that is not whole"),
        (None, [[2**63 + 1, -1]], r"instances\[0\]\[0\] does not fit 64 bits beside the others"),
        ("int64", json.loads(b"[[1.8446744073709552e19, 1]]"), "is the number 1.8446744073709552e"),
        ("int64", [[None, 2]], r"\[0\] must be a number, it is null, which int64 does not have"),
        ("bool", [[True, None]], "must be a number, it is null, which bool does not have"),
        ("float32", [[1, 10**400]], r"instances\[0\]\[1\] does not fit 64 bits"),
    ],
)
def test_a_whole_number_that_would_change_is_refused(
    dtype: str | None, rows: Any, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        inputs(rows, (2,), dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_float_does_not_depend_on_the_row_beside_it(dtype: str) -> None:
    """numpy rounds a large int64 to float32 once, but twice where a fraction makes it a float64."""
    number = 2**60 + 2**36 + 1
    alone = inputs([[number]], (1,), dtype)
    together = inputs([[number], [0.5]], (1,), dtype)
    assert alone.dtype == together.dtype == dtype and alone[0, 0] == together[0, 0]


# ---- what leaves comes in ----

EMITTED = [
    np.array([[1.5, np.nan], [np.nan, -0.0]], "float64"),
    np.array([[1.5, np.nan], [0.1, 65504]], "float16"),
    np.array([[2**53 + 1, -(2**63)], [1, 2]], "int64"),
    np.array([[2**64 - 1, 0], [1, 2]], "uint64"),
    np.array([[True, False], [False, True]]),
    np.array([[1 + 2j, 0.5], [-1j, complex(np.nan, 1)]], "complex128"),
    np.array([[0.1 + 0.2j, 0.5], [-1j, 3]], "complex64"),
]


@pytest.mark.parametrize("array", EMITTED, ids=lambda array: array.dtype.name)
def test_an_array_that_was_sent_arrives_as_it_was(array: np.ndarray) -> None:
    for rows in (
        json.loads(json_encode(array)),
        msgpack_decode(msgpack_encode(array)),
        msgpack_decode(msgpack_encode(array.tolist())),
    ):
        arrived = inputs(rows, (2,), array.dtype.name)
        assert arrived.dtype == array.dtype
        np.testing.assert_array_equal(arrived, array)


def test_a_complex_number_is_a_pair() -> None:
    assert inputs([[1, 2], [3, None]], (), "complex128")[0] == 1 + 2j
    for shape, rows, message in [
        ((), [1, 2], r"a complex number must be \[re, im\], a list of two numbers"),
        ((), [[1, 2, 3]], r"a complex number must be \[re, im\], a list of two numbers"),
        ((2,), [[[1, 2], [3, 4], [5, 6]]], "the model takes 2 values a row, this one has 3"),
    ]:
        with pytest.raises(InvalidInput, match=message):
            inputs(rows, shape, "complex128")


# ---- bytes ----

PNG = b"\x89PNG\r\n\x1a\n\xff\x00"
ENCODED = {"b64": "iVBORw0KGgr/AA=="}


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_string_input_takes_bytes(shape: tuple[int, ...]) -> None:
    """TensorFlow's strings are bytes: an image is one."""
    found = inputs([ENCODED, "é", PNG], shape, "string")
    assert found.reshape(-1).tolist() == [PNG, "é", PNG] and found.shape == (3, *shape)
    if shape:
        assert inputs([[ENCODED]], shape, "string").tolist() == [[PNG]]


def test_an_input_of_bytes_gets_bytes_alone() -> None:
    array = inputs([["é", ENCODED]], (2,), "bytes")
    assert array.dtype == object and array.tolist() == [["é".encode(), PNG]]
    assert Signature(TextInput("bytes")).inputs([ENCODED, "é", PNG]) == [PNG, "é".encode(), PNG]
    row = {"image": ENCODED, "tags": [ENCODED, "a"], "b64": 1}
    assert Signature(JsonInput(bytes=True)).inputs([row]) == [
        {"image": PNG, "tags": [PNG, "a"], "b64": 1}
    ]
    assert Signature(JsonInput()).inputs([row]) == [row]


def test_bytes_that_are_none_are_named() -> None:
    for row, message in [
        ({"b64": "?"}, r"instances\[1\] must have base64 as the string b64: "),
        ({"b64": 3}, r"instances\[1\] must have base64 as the string b64, it is the number 3"),
        (3, r'instances\[1\] must be a string, or bytes as \{"b64": "..."\}, it is the number 3'),
        ({"b64": "", "x": 1}, r"instances\[1\] must be a string, or bytes .* it is an object"),
    ]:
        for signature in (Signature(TextInput("bytes")), Signature(ArrayInput((), "string"))):
            with pytest.raises(InvalidInput, match=message):
                signature.inputs([ENCODED, row])
    with pytest.raises(InvalidInput, match=r"'a' of instances\[0\] must have base64"):
        Signature(TensorsInput(inputs=(Tensor("a", (), "bytes"),))).inputs([{"a": {"b64": "?"}}])


def test_v2_bytes_are_bytes_where_the_model_takes_them() -> None:
    for described in (ArrayInput((), "bytes"), ArrayInput((), "string"), TextInput("bytes")):
        tensor = {"image": np.array([PNG, b"a"], dtype=object)}
        rows = v2_tensors.request_of_tensors(tensor, described)["instances"]
        assert list(Signature(described).inputs(rows))[0] == PNG
    with pytest.raises(InvalidInput, match="a tensor of type BYTES must hold UTF-8"):
        v2_tensors.request_of_tensors(tensor, TextInput())


# ---- dates and durations ----


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_and_durations_arrive_as_they_were(unit: str) -> None:
    moments = np.array([["2024-02-29T12:30:05", "NaT"]], f"M8[{unit}]") + np.timedelta64(1, unit)
    spans = np.array([[-5, 90_000], [0, "NaT"]], f"m8[{unit}]")
    for array in (moments, spans):
        for rows in (json.loads(json_encode(array)), array):
            arrived = inputs(rows, (2,), array.dtype.name)
            assert arrived.dtype == array.dtype
            np.testing.assert_array_equal(arrived, array)


def test_a_date_with_an_offset_is_in_utc() -> None:
    for text in ("2024-05-01T12:30:00Z", "2024-05-01T14:30:00+02:00", "2024-05-01T12:30:00"):
        assert inputs([text], (), "datetime64[us]") == np.array(["2024-05-01T12:30"], "M8[us]")


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("datetime64[ns]", "13/05/2024", r"instances\[0\] must be a date and time as in \"2024-"),
        ("datetime64[ns]", "now", "must be a date and time as in"),
        ("datetime64[ns]", 1714566600, "must be a date and time .* or null, it is the number"),
        ("datetime64[s]", "2024-05-01T12:30:00.5Z", "must be a date and time"),
        ("timedelta64[s]", 60, "must be a duration as in .* it is the number 60"),
    ],
)
def test_other_dates_are_refused(dtype: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        inputs([value], (), dtype)


# ---- sparse rows ----


@pytest.mark.parametrize(
    "column",
    [
        {"dtype": "flaot64"},
        {"dtype": "decimal128(x)[pyarrow]"},
        {"dtype": "datetime64[ns, Mars/Phobos]"},
        {"categories": ["a"], "categories_dtype": "strr"},
    ],
)
def test_an_unknown_dtype_of_a_column_is_named(column: dict[str, Any]) -> None:
    columns = [{"name": "size"}, {"name": "colour", **column}]
    with pytest.raises(ConfigError, match=r"^config.yaml: model.input.columns\[1\]: .* no dtype"):
        Signature({"kind": "table", "columns": columns})


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_matrix"])
def test_rows_become_sparse(kind: str) -> None:
    import scipy.sparse

    signature = Signature(ArrayInput((3,), "float32", sparse=kind))
    found = signature.inputs([[0, 1.5, None], [2, 0, 0]])
    assert type(found) is getattr(scipy.sparse, kind) and found.dtype == np.float32
    assert found.shape == (2, 3) and found.nnz == 3  # zeros are absent, null is not
    with pytest.raises(InvalidInput, match="the model takes 3 values a row, this one has 2"):
        signature.inputs([[0, 1]])


# ---- refusals ----


@pytest.mark.parametrize(
    ("shape", "rows", "message"),
    [
        ((None,), [1], r"instances\[0\] must be a row with a list of values, it is the number 1"),
        ((None, 3), [[1]], r"takes shape \[any, 3\] a row, this one has 1 values"),
        ((), [[1]], r"instances\[0\] must be a single value, it is a list of 1"),
    ],
)
def test_sizes_that_may_vary_are_said_so(shape: Any, rows: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        inputs(rows, shape, "float64")


@pytest.mark.parametrize(
    ("described", "place"),
    [
        (ArrayInput((2,), "float46"), "model.input.dtype"),
        (TensorsInput(inputs=(Tensor("a", (), "int"), Tensor("b", (), "x"))), "inputs.1..dtype"),
        (ArrayInput((2,), "datetime64[D]"), "model.input.dtype"),
    ],
)
def test_an_unknown_dtype_is_an_error_at_the_start(described: Any, place: str) -> None:
    with pytest.raises(ConfigError, match=f"{place} must be numpy's name of a dtype, string, byte"):
        Signature(described)


@pytest.mark.parametrize("dtype", ["float64", "object", "string", None])
@pytest.mark.parametrize("rows", [[{"a": 1, "b": 2}], [[1, 2], {"a": 1}], [{"a": 1}, [1, 2]]])
def test_an_object_has_no_order_for_a_model_without_names(dtype: str | None, rows: Any) -> None:
    place = next(index for index, row in enumerate(rows) if isinstance(row, dict))
    expected = rf"instances\[{place}\] must be a list, it is an object: .* without feature names"
    with pytest.raises(InvalidInput, match=expected):
        Signature(ArrayInput((2,), dtype)).inputs(rows)


# ---- many rows ----

MANY = 2000
ODD = [1, 2.5, None, True, "a", b"b", {}, [1], LARGE, 2**63, -1, 1e300, float("nan"), 2**70]


@pytest.mark.parametrize("dtype", [None, "float64", "float32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("usual", [1, 2.5, True, None])
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_many_rows_are_as_few(shape: tuple[int, ...], usual: Any, dtype: str | None) -> None:
    """Whatever is among them: the array, and the message, up to the place."""
    target = None if dtype is None else np.dtype(dtype)
    for odd in ODD:
        few = made([usual] * 3, odd, shape, target)
        many = made([usual] * MANY, odd, shape, target)
        assert few == many.replace(f"[{MANY}]", "[3]")


def made(usual: list[Any], odd: Any, shape: tuple[int, ...], target: Any) -> str:
    """What becomes of rows whose last one is odd: the dtype and the last value, or the message."""
    values = [*usual, odd]
    rows = values
    if shape:
        rows = [[usual[0]] * (shape[0] - 1) + [value] for value in values]
    try:
        array = to_array(rows, target)
    except InvalidInput as error:
        return str(error)
    return f"{array.dtype} {array[-1:].tolist()!r}"


# ---- numbers that name something ----


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *product(["int64", "int32", "float32", None], [-1, 50, 51, 127]),
        *product(["uint8"], [50, 51, 127]),
    ],
)
def test_a_number_that_names_nothing_is_refused(dtype: str | None, value: int) -> None:
    signature = Signature(ArrayInput((None,), dtype, below=50))
    assert signature.inputs([[0, 49]]).tolist() == [[0, 49]]
    for rows in ([[0, 49], [7, value]], np.array([[0, 49], [7, value]])):
        with pytest.raises(
            InvalidInput, match=r"instances\[1\]\[1\] must be from 0 to 49"
        ) as raised:
            signature.inputs(rows)
        assert str(value) in str(raised.value)


def test_a_number_that_names_nothing_is_refused_by_the_inputs_name() -> None:
    parts = (Tensor("ids", (None,), "int64", below=7), Tensor("mask", (None,), "float32"))
    signature = Signature(TensorsInput(inputs=parts))
    assert signature.inputs([{"ids": [6], "mask": [9]}])["ids"].tolist() == [[6]]
    with pytest.raises(
        InvalidInput, match=r"'ids' of instances\[0\]\[0\] must be from 0 to 6, it is"
    ):
        signature.inputs([{"ids": [7], "mask": [9]}])


def test_what_is_not_a_number_names_nothing() -> None:
    with pytest.raises(InvalidInput, match="it is nan"):
        Signature(ArrayInput((1,), "float32", below=5)).inputs([[None]])
