"""`kind: tensors`: several named inputs in the signature and in V2, and V2's output names."""

from typing import Any

import numpy as np
import pytest

from common.bodies.v2 import v2_metadata, v2_tensors
from common.errors import InvalidInput
from common.schema import Tensor, TensorsInput
from common.signature import Signature

DESCRIBED = TensorsInput(
    inputs=(
        Tensor("ids", (3,), "int64"),
        Tensor("age", (), "float32"),
        Tensor("state", None, "bfloat16"),
    )
)
ROW = {"ids": [1, 2, 3], "age": 0.5, "state": [[1]]}


def test_rows_become_one_array_for_each_input() -> None:
    inputs = Signature(DESCRIBED).inputs([ROW, {**ROW, "age": None}])
    assert {name: (array.shape, array.dtype.name) for name, array in inputs.items()} == {
        "ids": ((2, 3), "int64"),
        "age": ((2,), "float32"),
        "state": ((2, 1, 1), "float32"),
    }
    assert np.isnan(inputs["age"]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [[1, 2, 3]],
            r"instances\[0\] must be an object keyed by input name \('ids', 'age', 'state'\), "
            "it is a list of 3",
        ),
        ([{"ids": [1, 2, 3]}], r"instances\[0\] lacks 'age', 'state'"),
        ([{**ROW, "x": 1}], r"instances\[0\] has 'x'"),
        (
            [{**ROW, "ids": [1, 2]}],
            r"'ids' of instances\[0\]: the model takes 3 values a row, this one has 2",
        ),
        ([ROW, {**ROW, "ids": [1]}], r"'ids' of instances\[1\] must be like instances\[0\]"),
        (
            [{**ROW, "age": "old"}],
            r"'age' of instances\[0\] must be a number or null, it is the string 'old'",
        ),
        (
            [{**ROW, "age": [1]}],
            r"'age' of instances\[0\] must be a single value, it is a list of 1",
        ),
    ],
)
def test_the_error_for_a_row_names_the_input(rows: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Signature(DESCRIBED).inputs(rows)


def test_v2_tensors_become_rows_and_metadata() -> None:
    named = {
        "ids": np.ones((2, 3), "int64"),
        "age": np.ones(2, "float32"),
        "state": np.ones((2, 1, 1), "float32"),
    }
    inputs = Signature(DESCRIBED).inputs(
        v2_tensors.request_of_tensors(named, DESCRIBED)["instances"]
    )
    for name, array in named.items():
        np.testing.assert_array_equal(inputs[name], array)
    with pytest.raises(InvalidInput, match="the same number of rows"):
        v2_tensors.request_of_tensors({**named, "age": np.ones(3, "float32")}, DESCRIBED)
    assert v2_metadata.inputs(DESCRIBED) == [
        {"name": "ids", "datatype": "INT64", "shape": [-1, 3]},
        {"name": "age", "datatype": "FP32", "shape": [-1]},
        {"name": "state", "datatype": "FP32", "shape": [-1]},
    ]


@pytest.mark.parametrize(
    ("predictions", "shapes"),
    [
        ([1, 2], {"predictions": (2,)}),
        ([{"a": 1, "b": [1, 2]}, {"a": 2, "b": [3, 4]}], {"a": (2,), "b": (2, 2)}),
        ([[1, [1, 2]], [2, [3, 4]]], {"predictions_0": (2,), "predictions_1": (2, 2)}),
    ],
)
def test_each_output_becomes_a_v2_tensor(
    predictions: Any, shapes: dict[str, tuple[int, ...]]
) -> None:
    found = v2_tensors.tensors_of_response({"predictions": predictions})
    assert {name: tensor.shape for name, tensor in found.items()} == shapes
