"""Predictions in memory held against those that were served."""

from typing import Any

import numpy as np
import pytest

from generator.rows.body import rows
from generator.running.comparison import compare

NUMBERS = np.array([[1.0, -4.0], [0.5, np.nan]], dtype="float32")


@pytest.mark.parametrize(
    ("off", "tolerance", "same"), [(0.0, 0.0, True), (1e-5, 0.0, False), (1e-5, 1e-5, True)]
)
def test_numbers_within_a_tolerance_of_the_largest(
    off: float, tolerance: float, same: bool
) -> None:
    served = [[1.0 + off, -4.0], [0.5, None]]
    assert bool(compare(NUMBERS, served, tolerance)) is same


def test_a_tolerance_forgives_nothing_else() -> None:
    for served in (
        [[1.0, -4.0], [0.5, 0.0]],
        [[1.0, None], [0.5, None]],
        [[1.0, -4.0]],
        [["a", "b"], ["c", "d"]],
    ):
        assert not compare(NUMBERS, served, 1e-3)


def outputs(price: float) -> list[dict[str, Any]]:
    return [{"price": np.float32(price), "size": np.array([1, 2])}]


def test_objects_are_compared_output_by_output() -> None:
    assert compare(outputs(0.1), [{"size": [1, 2], "price": 0.1}])
    assert compare(outputs(0.1), [{"price": 0.2, "size": [1, 2]}]).difference is not None
    assert str(compare(outputs(0.1), [{"price": 0.1, "size": [1, 3]}]).difference) == (
        "predictions[0]['size'][1] should be 2, it is 3"
    )
    assert str(compare(outputs(0.1), [{"price": 0.1}]).difference).startswith(
        "predictions[0] should have the keys 'price', 'size', it has the keys 'price'"
    )


def test_rows_of_arrays_by_name() -> None:
    arrays = {"a": np.array([1, 2]), "b": np.array([[3.5], [4.5]])}
    assert rows(arrays) == [{"a": 1, "b": [3.5]}, {"a": 2, "b": [4.5]}]
