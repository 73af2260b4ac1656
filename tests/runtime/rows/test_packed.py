"""Many rows come out as numpy makes them, and as few rows do: the same values, the same words."""

import math
import random
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.bodies.v2.v2_codec import V2
from common.errors import InvalidInput
from common.link.frames import V2_HEAD
from common.rows.packed import are_many, packed
from common.rows.parsed import all_named, named
from common.schema import ArrayInput, Column, ModelInput, TableInput, Tensor, TensorsInput
from common.signature import Signature

COUNT = 3000  # rows
FLOATS = [0.0, -0.0, 5.1, 5e-324, 1.7e308, -1e300, math.inf, -math.inf, math.nan, 2.0**53]
WHOLE = [0, 1, -1, 255, 2**31 - 1, -(2**31)]
WIDE = [2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63)]


class Float(float):
    """A float of the owner's own type."""


# Some are written by `marshal` in as many bytes as a float, or with its first byte.
ODD = [
    *WIDE,
    2**63,
    2**70,
    True,
    None,
    "",
    "gggg",
    "1234",
    "i",
    b"gggg",
    b"iiii",
    1j,
    (),
    (1.5,),
    [],
    [1.5],
    {},
    {"a": 1.5},
    ...,
    frozenset(),
    Decimal(1),
    Float(1.5),
    np.float64(1.5),
    np.float32(1.5),
    np.int32(1),
    np.array(1.5),
    print,
]


def same(one: Any, other: Any) -> bool:
    return bool(
        one.dtype == other.dtype
        and one.shape == other.shape
        and np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()
    )


def filled(chance: random.Random, shape: tuple[int, ...], values: list[Any]) -> Any:
    if not shape:
        return chance.choice(values)
    return [filled(chance, shape[1:], values) for _ in range(shape[0])]


@pytest.mark.parametrize("values", [FLOATS, WHOLE], ids=["floats", "whole"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (30,), (3, 5), (1, 1, 2), (2, 1, 3, 1)])
@pytest.mark.parametrize("count", [1, 2, 1001, 9000])
def test_numbers_of_one_type_come_out_as_numpy_makes_them(
    values: list[Any], shape: tuple[int, ...], count: int
) -> None:
    rows = filled(random.Random(0), (count, *shape), values)
    found = packed(rows)
    assert found is not None and same(found, np.array(rows))
    assert found.flags.writeable and found.flags.c_contiguous


@pytest.mark.parametrize("at", [0, 1, COUNT - 1])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_one_odd_value_is_left_to_others(odd: Any, at: int) -> None:
    for value in (1.5, 7):
        flat: list[Any] = [value] * COUNT
        flat[at] = odd
        assert packed(flat) is None
        for place in (0, 1):
            rows: list[Any] = [[value, value] for _ in range(COUNT)]
            rows[at][place] = odd
            assert packed(rows) is None
        rows = [[value, value] for _ in range(COUNT)]
        rows[at] = odd
        assert packed(rows) is None


@pytest.mark.parametrize(
    "row",
    [
        [],
        [1.5],
        [1.5, 1.5, 1.5],
        [[1.5, 1.5]],
        [1, 1.5],
        [1.5, 1],
        (1.5, 1.5),
        "u" * 18,
        ["x" * 13, None, None],
        {"a": 1.5, "b": 1.5},
        np.array([1.5, 1.5]),
    ],
    ids=repr,
)
def test_a_row_of_another_form_is_left_to_others(row: Any) -> None:
    rows: list[Any] = [[1.5, 1.5]] * COUNT
    assert packed([*rows, row]) is packed([*rows, row, *rows]) is None


def test_lists_of_other_lengths_are_told_from_their_like() -> None:
    """These are written with the same types in the same places, in as many bytes."""
    assert packed([[[1.5]], [[1.5]], [[1.5]]]) is not None
    assert packed([[[1.5]], [], [1.5, [[1.5]]]]) is None


def test_nothing_odd_is_taken() -> None:
    """Rows of random forms are taken only if all their values have one type and all their lists
    one length on each level."""
    chance = random.Random(1)
    taken = 0
    for _ in range(3000):
        shape = chance.choice([(), (2,), (2, 1)])
        rows = filled(chance, (chance.randrange(1, 5), *shape), chance.choice([FLOATS, WHOLE]))
        for _ in range(chance.randrange(3)):
            rows[chance.randrange(len(rows))] = chance.choice(
                [*ODD, [1.5, 2], [1.5, 2.5], [3, 4], [[1], [2]], 1.5, 2]
            )
        found = packed(rows)
        if found is None:
            continue
        taken += 1
        assert found.tolist() == rows or str(found.tolist()) == str(rows)  # NaN is not itself
        assert same(found, np.array(rows))
    assert taken > 500


def test_what_is_many() -> None:
    assert are_many([1.5] * 1001) and are_many([[1] * 501] * 2) and are_many([[[1] * 1001]])
    assert not are_many([1.5] * 1000) and not are_many([[]] * 1000) and not are_many([{}])


# ---- through the signature ----

NAMES = ("a", "b")
ARRAYS = [
    ArrayInput((2,), dtype)
    for dtype in ("float64", "float32", "float16", "int64", "int8", "uint8", "bool", None)
]


def outcome(described: ModelInput, rows: list[Any]) -> Any:
    try:
        return Signature(described).inputs(rows)
    except InvalidInput as error:
        return str(error)


@pytest.mark.parametrize("described", ARRAYS, ids=lambda form: str(form.dtype))
@pytest.mark.parametrize(
    "values",
    [[1.5, -0.0], FLOATS, [3, -1], [3, 200], WHOLE, WIDE, [1, 2.5], [1.5, None], [2**53 + 1, 1.5]],
    ids=repr,
)
def test_many_rows_come_out_as_few_do(described: ArrayInput, values: list[Any]) -> None:
    """The first of many are what they are alone, if those come out in the same dtype."""
    rows = filled(random.Random(2), (40, 2), values)
    few, lots = outcome(described, rows), outcome(described, rows * 100)
    if isinstance(few, str):
        assert lots == few
    else:
        assert same(lots, np.concatenate([few] * 100))


@pytest.mark.parametrize("odd", ["x", True, [1.5], {"a": 1}, None, b"x"], ids=repr)
@pytest.mark.parametrize("described", ARRAYS, ids=lambda form: str(form.dtype))
def test_an_odd_value_among_many_is_named_as_among_few(described: ArrayInput, odd: Any) -> None:
    few = [[1.5, 2.5]] * 20 + [[1.5, odd]]
    lots = [[1.5, 2.5]] * COUNT + [[1.5, odd]]
    one, other = outcome(described, few), outcome(described, lots)
    if isinstance(one, str):
        assert one.replace("instances[20]", f"instances[{COUNT}]") == other
    else:
        assert one.dtype == other.dtype and same(one[-1:], other[-1:])


@pytest.mark.parametrize(
    "row",
    [
        {"a": 1.5},
        {"a": 1.5, "b": 2.5, "c": 3.5},
        {"a": 1.5, "c": 2.5},
        {},
        [1.5, 2.5],
        None,
        OrderedDict(b=2.5, a=1.5),
        {"b": 2.5, "a": 1.5},
    ],
    ids=repr,
)
@pytest.mark.parametrize("names", [NAMES, ("a",), ("a", "a")], ids=repr)
def test_objects_are_put_in_order_as_each_by_itself(names: tuple[str, ...], row: Any) -> None:
    rows = [dict.fromkeys(names, 0.5), row, dict.fromkeys(reversed(names), 1.5)]
    found: Any
    expected: Any
    try:
        expected = [named(each, index, names) for index, each in enumerate(rows)]
    except InvalidInput as error:
        expected = str(error)
    try:
        found = all_named(rows, names)
    except InvalidInput as error:
        found = str(error)
    assert found == expected


def test_objects_of_many_rows_become_arrays() -> None:
    rows = [{"b": index + 0.5, "a": -index} for index in range(COUNT)]
    expected = np.array([[-index, index + 0.5] for index in range(COUNT)])
    assert same(outcome(ArrayInput((2,), "float64", names=NAMES), rows), expected)
    tensors = TensorsInput(inputs=(Tensor("a", (), "int32"), Tensor("b", (), "float32")))
    found = outcome(tensors, rows)
    assert same(found["a"], np.array([-index for index in range(COUNT)], np.int32))
    assert same(found["b"], np.array([index + 0.5 for index in range(COUNT)], np.float32))


COLUMNS = {
    "float64": [FLOATS, WHOLE, [1.5, None], [1, 2.5]],
    "float32": [[1.5, -0.0, 1e300, 5e-324], WHOLE],
    "float16": [[1.5, 65519.99, 2049.0, 1e300], [2049, 65504, 33554433]],
    "int64": [WHOLE, [1.0, 2.0], WIDE],
    "int8": [[1, -128, 127]],
    "uint8": [[0, 255], [0.0, 7.0]],
    "Int64": [WHOLE, [1, None], [1.0, 3.0], [math.nan, 1]],
    "Int8": [[1, -128, 127]],
    "Float64": [FLOATS, WHOLE, [1.5, None]],
    "int64[pyarrow]": [WHOLE, [1, None]],
    "double[pyarrow]": [FLOATS, WHOLE],
    None: [FLOATS, WHOLE],
}


@pytest.mark.parametrize(
    ("dtype", "values"),
    [(dtype, values) for dtype, each in COLUMNS.items() for values in each],
    ids=str,
)
def test_long_columns_come_out_as_short_ones(dtype: str | None, values: list[Any]) -> None:
    described = TableInput((Column("a", "number", dtype), Column("b", "number", dtype)))
    rows = filled(random.Random(3), (100, 2), values)
    rows[0] = [values[0], values[-1]]
    objects = [dict(zip("ba", reversed(row), strict=True)) for row in rows]
    few = outcome(described, rows)
    expected = pd.concat([few] * 40, ignore_index=True)
    for lots in (outcome(described, rows * 40), outcome(described, objects * 40)):
        pd.testing.assert_frame_equal(lots, expected, check_exact=True)
        for name in "ab":
            if isinstance(lots[name].dtype, np.dtype):
                assert same(lots[name].to_numpy(), expected[name].to_numpy())


@pytest.mark.parametrize("odd", ["x", True, [1.5], {"a": 1}, 300, -1, 1.5], ids=repr)
@pytest.mark.parametrize("dtype", ["float64", "int64", "Int8", "UInt8", None])
def test_an_odd_cell_of_a_long_column_is_named(dtype: str | None, odd: Any) -> None:
    described = TableInput((Column("a", "number", dtype),))
    few = outcome(described, [[1]] * 20 + [[odd]])
    lots = outcome(described, [[1]] * COUNT + [[odd]])
    if isinstance(few, str):
        assert lots == few.replace("instances[20]", f"instances[{COUNT}]")
    else:
        pd.testing.assert_frame_equal(
            lots.tail(3).reset_index(drop=True),
            few.tail(3).reset_index(drop=True),
            check_exact=True,
        )


def test_long_lists_are_no_column_of_numbers() -> None:
    described = TableInput((Column("a", "number", "float64"),))
    rows = [[[1.5]] for _ in range(COUNT)]
    assert outcome(described, rows) == outcome(described, rows[:1])


def test_one_long_row_before_many_empty_ones_takes_no_memory() -> None:
    assert packed([[1] * 1_000_000, *[[]] * 10_000_000]) is None


def test_many_numbers_of_v2_come_out_as_numpy_makes_them() -> None:
    for datatype, values in (("FP64", FLOATS[:6]), ("FP32", [1.5, -0.0]), ("INT8", [1, -128])):
        data = filled(random.Random(4), (600, 2), values)
        for shown in (data, [value for row in data for value in row]):
            text = f'{{"inputs": [{{"name": "x", "shape": [600, 2], "datatype": "{datatype}", '
            body = V2_HEAD.pack(0) + (text + f'"data": {shown}}}]}}').encode()
            request, _ = V2().decode(body, "a")
            dtype = {"FP64": "f8", "FP32": "f4", "INT8": "i1"}[datatype]
            assert same(np.asarray(request["instances"]), np.array(data, dtype))
