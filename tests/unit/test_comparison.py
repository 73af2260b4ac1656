"""What a model predicts in memory is compared in the client's language: JSON against JSON."""

import dataclasses
import datetime as dt
import enum
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.bodies import json_encode
from generator import ModelError
from generator.rows.as_json import as_json, holds_infinity
from generator.running.comparison import compare


@dataclasses.dataclass
class Forecast:
    day: dt.date
    value: float


class Level(enum.Enum):
    LOW = "low"


def frame() -> Any:
    days = pd.date_range("2024-02-01", periods=2)
    return pd.DataFrame({"ds": days, "yhat": np.array([0.1, 0.2], "f4"), "n": [2**60 + 1, 1]})


PREDICTED: dict[str, Callable[[], Any]] = {
    "a table": frame,
    "a column": lambda: frame()["ds"],
    "timestamps": lambda: [pd.Timestamp("2024-02-01"), pd.NaT],
    "datetimes": lambda: np.array(["2024-02-01", "NaT"], dtype="M8[ns]"),
    "timedeltas": lambda: [dt.timedelta(days=1), pd.Timedelta(90, "s"), np.timedelta64(1, "h")],
    "bytes": lambda: [b"text", b"\xff"],
    "complex": lambda: np.array([1 + 2j, complex("nan")]),
    "decimals": lambda: [Decimal("1.10"), Decimal("NaN")],
    "sets": lambda: [{"b", "a", "c"}, frozenset({10, 9, 2.5}), {frozenset({"x", "y"}), None, 1}],
    "dataclasses": lambda: [Forecast(dt.date(2024, 2, 1), np.float32(0.1))],
    "one float": lambda: 1.5,
    "one array without axes": lambda: np.array(2, "i8"),
    "nothing": lambda: [],
    "an object": lambda: {"a": np.arange(3), "b": [None, "x"]},
    "uuids": lambda: [uuid.UUID(int=5)],
    "enums": lambda: [Level.LOW, Level.LOW],
    "masked": lambda: np.ma.array([1, 2], mask=[0, 1]),
    "records": lambda: np.array([(1, 0.1)], dtype=[("a", "i4"), ("b", "f4")]),
    "sparse": lambda: __import__("scipy.sparse").sparse.csr_matrix([[0, 0.1]]),
    "pandas' missing": lambda: pd.array([1, None], dtype="Int64"),
    "large numbers": lambda: [2**63, -(2**70), 2**53 + 1],
    "keys that are no strings": lambda: [{1: 0.5, None: 1, (dt.date(2024, 2, 1)): 2}],
    "infinities": lambda: np.array([np.inf, np.nan, 1.0]),
    "booleans": lambda: np.array([True, False]),
}


@pytest.mark.parametrize("predicted", PREDICTED.values(), ids=PREDICTED)
def test_what_is_served_is_equal(predicted: Callable[[], Any]) -> None:
    """Each process makes its own, so that no order of a set is shared."""
    served = json.loads(json_encode({"predictions": predicted()}))["predictions"]
    verification = compare(predicted(), served)
    assert verification, verification.difference
    assert verification.expected == served == verification.served


@pytest.mark.parametrize(
    ("expected", "served", "difference"),
    [
        (np.array([1, 2]), [1, 3], "predictions[1] should be 2, it is 3"),
        (np.array([2**53 + 1]), [2**53], f"predictions[0] should be {2**53 + 1}, it is {2**53}"),
        (np.array([0.1], "f4"), [0.1000001], "predictions[0] should be 0.1, it is 0.1000001"),
        (
            np.array([0.1]),
            [0.10000000000000002],
            "predictions[0] should be 0.1, it is 0.10000000000000002",
        ),
        (np.array([0.1, 0.2]), ["0.1", "0.2"], "predictions[0] should be 0.1, it is '0.1'"),
        (np.array([True]), [1], "predictions[0] should be true, it is 1"),
        (np.array([1]), [True], "predictions[0] should be 1, it is true"),
        ([np.str_("stay")], ["go"], "predictions[0] should be 'stay', it is 'go'"),
        ([None], [0], "predictions[0] should be null, it is 0"),
        ([np.nan], [0.0], "predictions[0] should be null, it is 0.0"),
        (np.array([1.5]), [None], "predictions[0] should be 1.5, it is null"),
        ([1, 2], [1], "predictions should have 2 entries, it has 1"),
        ([{"a": {"b": [1]}}], [{"a": {"b": [2]}}], "predictions[0]['a']['b'][0] should be 1, it"),
        ([{"a": 1}], [{"b": 1}], "predictions[0] should have the keys 'a', it has the keys 'b'"),
        (
            ["stay"],
            [{"class": "stay"}],
            "predictions[0] should be 'stay', it is an object: if that is an edit of yours, pass",
        ),
        (1.5, [1.5], "predictions should be 1.5, it is a list of 1"),
        (np.array([1.5, 2]), [[1.5], [2, 3]], "predictions[0] should be 1.5, it is a list of 1"),
        ([1.5], None, "predictions should be a list of 1, it is null"),
        (pd.DataFrame({"a": [pd.Timestamp("2024-02-01")]}), [{"a": "2024-02-02T00:00:00"}], "pred"),
    ],
)
def test_the_first_difference_is_named(expected: Any, served: Any, difference: str) -> None:
    found = compare(expected, served).difference
    assert found is not None and found.startswith(difference)


@pytest.mark.parametrize(
    ("expected", "served"),
    [
        (np.array([0.1], "f4"), np.array([0.1], "f4").tolist()),
        (np.array([[0.1, np.nan]], "f2"), [[float(np.float16(0.1)), None]]),
        ([{"p": np.float32(0.1)}], [{"p": 0.1}]),
        ([1.0], [1]),
    ],
)
def test_digits_beyond_the_dtype_are_no_difference(expected: Any, served: Any) -> None:
    """An owner's edit may write float32 as Python does, with all digits of a double."""
    assert compare(expected, served)


def test_a_tolerance_is_of_the_largest_number_of_the_same_output() -> None:
    large, small = np.array([[1e6, 1.0]], "f4"), np.array([0.5], "f4")
    rows = [[large[0], small[0]]]
    assert compare(rows, [[[1e6, 1.5], 0.5]], 1e-6)
    assert not compare(rows, [[[1e6, 1.0], 0.6]], 1e-6)
    named = [{"large": large[0], "small": small[0]}]
    assert compare(named, [{"large": [1e6, 1.5], "small": 0.5}], 1e-6)
    assert not compare(named, [{"large": [1e6, 1.0], "small": 0.6}], 1e-6)
    assert compare([[1e6, 1.0]], [[1e6, 1.5]], 1e-6)
    assert not compare(np.array([1000000]), [1000001], 1e-6)


def test_a_large_array_is_compared_at_once() -> None:
    expected = np.random.default_rng(0).normal(size=(50, 2000))
    served = expected * (1 + 1e-9)
    assert compare(expected, served.tolist(), 1e-6)
    served[49, 1999] += 1
    found = compare(expected, served.tolist(), 1e-6).difference
    assert found is not None and found.startswith("predictions[49][1999] should be ")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((part for part in "ab"), "predictions cannot be sent as JSON: a value of type generator"),
        ([1, {"a": [object()]}], "predictions[1]['a'][0] cannot be sent as JSON: a value of type"),
        (np.array([[1, object()]], object), "predictions[0][1] cannot be sent as JSON: a value of"),
        ({"a": {1: 0, "1": 0}}, "predictions['a'] cannot be sent as JSON: two keys of a dict are"),
    ],
)
def test_a_part_without_a_form_in_json_is_named(value: Any, message: str) -> None:
    with pytest.raises(ModelError) as raised:
        as_json(value, "predictions")
    assert str(raised.value).startswith(message)


def test_infinite_numbers_are_found() -> None:
    finite = [np.array([1.0, np.nan]), [None, "inf", Decimal("Infinity")], pd.DataFrame({"a": [1]})]
    assert not any(map(holds_infinity, finite))
    for value in (
        np.array([-np.inf], "f2"),
        [{"a": (1, float("inf"))}],
        pd.DataFrame({"a": ["x"], "b": [np.inf]}),
        pd.Series([np.inf]),
        np.float32(np.inf),
        np.array([complex("inf")]),
        np.array([[1, float("inf")]], object),
    ):
        assert holds_infinity(value)
