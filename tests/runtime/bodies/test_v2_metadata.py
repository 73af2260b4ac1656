"""V2's metadata: a request that is made by it alone is answered, with the outputs that it names."""

import datetime as dt
import itertools
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from common.bodies.v2 import names, v2_metadata, v2_tensors
from common.errors import InvalidInput
from common.schema import (
    ArrayOutput,
    EstimatorOutput,
    JsonInput,
    ListOutput,
    NamedOutput,
    TensorsOutput,
)
from support.models.objects import Cells, Lengths, Longest, Sums
from support.packages.late import imported_late
from support.servers.unrendered import Asked, ask_v2


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """The metadata of a model, and the answer to the request that it makes of the example."""

    def ask(framework: str, model: Any, sample: Any = None, rows: Any = None) -> Asked:
        return ask_v2(framework, model, sample, tmp_path, monkeypatch, rows)

    return ask


def tensors(described: list[dict[str, Any]]) -> dict[str, tuple[str, list[int]]]:
    return {item["name"]: (item["datatype"], item["shape"]) for item in described}


def test_a_classifier(asked: Any, forest: Any) -> None:
    metadata, answer = asked("sklearn", forest)
    assert metadata == {
        "name": "model",
        "platform": "sklearn",
        "inputs": [{"name": "instances", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [{"name": "predictions", "datatype": "INT64", "shape": [-1]}],
    }
    assert answer["outputs"][0]["data"] == [forest.predict([[0, 0, 0, 0]])[0]]


def test_labels_and_several_outputs(asked: Any, iris: Any) -> None:
    rows, labels = iris
    named = np.array(["setosa", "versicolor", "virginica"])[labels]
    model = MultiOutputClassifier(LogisticRegression()).fit(
        StandardScaler().fit_transform(rows), np.column_stack([named, named])
    )
    metadata, _ = asked("sklearn", model)
    assert tensors(metadata["outputs"]) == {"predictions": ("BYTES", [-1, 2])}


def test_a_model_of_texts(asked: Any) -> None:
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(
        ["good one", "bad one"], [True, False]
    )
    metadata, answer = asked("sklearn", model, ["good", "bad"], ["good", "bad"])
    assert tensors(metadata["inputs"]) == {"instances": ("BYTES", [-1])}
    assert answer["outputs"] == [
        {"name": "predictions", "datatype": "BOOL", "shape": [2], "data": [True, False]}
    ]


def test_texts_and_numbers_without_names_are_columns(asked: Any) -> None:
    rows = np.array([["a", 1.5], ["b", 2.5], ["a", 3.5]], dtype=object)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LinearRegression()).fit(
        rows, [1.0, 2.0, 3.0]
    )
    metadata, answer = asked("sklearn", model, rows, rows.tolist())
    assert tensors(metadata["inputs"]) == {"x0": ("BYTES", [-1]), "x1": ("FP64", [-1])}
    np.testing.assert_allclose(answer["outputs"][0]["data"], model.predict(rows))


FRAME = pd.DataFrame(
    {
        "whole": [2**60 + 1, 2],
        "small": np.array([1, 2], "uint8"),
        "flag": [True, False],
        "size": pd.Categorical(["lo", "hi"]),
        "level": pd.Categorical([3, 1], ordered=True),
        "share": pd.Categorical([0.5, 1.5]),
        "when": pd.to_datetime(["2024-05-01", "2024-05-02"]),
        "zoned": pd.to_datetime(["2024-05-01", "2024-05-02"]).tz_localize("Asia/Tokyo"),
        "took": pd.to_timedelta([1, 2], "h"),
        "maybe": pd.array([1, None], "Int64"),
        "either": pd.array([True, None], "boolean"),
        "text": ["a", "b"],
        "single": np.array([0.5, 1.5], "float32"),
        "tags": [["a"], ["b", "c"]],
        "facts": [{"a": 1}, {"a": 2}],
        "flags": np.array([True, None], dtype=object),
        "numbers": np.array([1, 2.5], dtype=object),
        "price": [Decimal("1.10"), Decimal("2")],
        "day": [dt.date(2024, 5, 1), dt.date(2024, 5, 2)],
        "raw": [b"a", b"b"],
    }
)


def test_each_column_has_the_datatype_that_it_takes(asked: Any) -> None:
    metadata, answer = asked("custom", Cells(), FRAME)
    datatypes = {item["name"]: item["datatype"] for item in metadata["inputs"]}
    assert datatypes == {
        "whole": "INT64",
        "small": "UINT8",
        "flag": "BOOL",
        "size": "BYTES",
        "level": "INT64",
        "share": "FP64",
        "when": "BYTES",
        "zoned": "BYTES",
        "took": "BYTES",
        "maybe": "INT64",
        "either": "BOOL",
        "text": "BYTES",
        "single": "FP32",
        "tags": "BYTES",
        "facts": "BYTES",
        "flags": "BOOL",
        "numbers": "FP64",
        "price": "BYTES",
        "day": "BYTES",
        "raw": "BYTES",
    }
    # The object column of numbers gets what FP64 holds.
    assert (
        answer["outputs"][0]["data"][0]
        == Cells().predict(FRAME.astype({"numbers": float}).astype({"numbers": object})[:1])[0]
    )


@pytest.mark.parametrize("library", ["polars", "arrow"])
def test_columns_of_other_libraries(asked: Any, library: str) -> None:
    plain = FRAME[["whole", "flag", "when", "text", "single"]]
    if library == "arrow":
        frame: Any = plain.convert_dtypes(dtype_backend="pyarrow")
    else:
        frame = imported_late("polars").from_pandas(plain)
    metadata, _ = asked("custom", Cells(), frame)
    datatypes = [item["datatype"] for item in metadata["inputs"]]
    assert datatypes[:4] == ["INT64", "BOOL", "BYTES", "BYTES"]


def test_a_fitted_frame_without_a_sample(asked: Any) -> None:
    """The dtypes of the columns are not known: the example shows what they take."""
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5]})
    metadata, _ = asked("sklearn", LinearRegression().fit(frame, [1.0, 2.0, 3.0]))
    assert [item["name"] for item in metadata["inputs"]] == ["a", "b"]


SIDES = {"left": np.ones((2, 3), "int8"), "right": np.ones((2, 3), "int8")}


@pytest.mark.parametrize(
    ("model", "sample", "outputs"),
    [
        (Sums(), np.ones((2, 3)), {"predictions": ("FP64", [-1])}),
        (Longest(), SIDES, {"predictions": ("INT8", [-1])}),
        (Lengths(), ["ab", "c"], {"text": ("BYTES", [-1]), "length": ("INT64", [-1])}),
    ],
    ids=["sums", "longest", "lengths"],
)
def test_an_object(asked: Any, model: Any, sample: Any, outputs: Any) -> None:
    metadata, _ = asked("custom", model, sample)
    assert metadata["platform"] == "python" and tensors(metadata["outputs"]) == outputs


def test_objects_of_a_model_that_takes_any_rows_are_columns(asked: Any) -> None:
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    model = make_pipeline(DictVectorizer(), LogisticRegression()).fit(rows, [0, 1])
    metadata, _ = asked("sklearn", model, rows, rows)
    assert tensors(metadata["inputs"]) == {"a": ("FP64", [-1]), "b": ("BYTES", [-1])}


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        (None, {}),
        ([[1, 2.5]], {"instances": ("FP64", [-1, -1])}),
        (["a"], {"instances": ("BYTES", [-1])}),
        ([{"a": 1}], {}),
        ([{"a": 1, "b": [1]}], {}),
    ],
)
def test_the_example_tells_what_a_model_without_a_description_takes(
    example: Any, expected: Any
) -> None:
    assert tensors(v2_metadata.inputs(None, example)) == expected


class Ages:
    """A model whose rows are objects of any form."""

    def predict(self, rows: Any) -> Any:
        return [[len(row["names"]), row["age"]] for row in rows]


def test_rows_of_any_form_are_texts_of_json(asked: Any) -> None:
    rows = [{"names": ["a", "b"], "age": 3}]
    metadata, answer = asked("custom", Ages(), rows)
    assert tensors(metadata["inputs"]) == {"instances": ("BYTES", [-1])}
    assert tensors(metadata["outputs"]) == {"predictions": ("INT64", [-1, -1])}
    assert answer["outputs"][0]["data"] == [2, 3]


def test_complex_numbers_are_pairs(asked: Any) -> None:
    metadata, _ = asked("custom", Complex(), np.ones((2, 3), "complex64"))
    assert tensors(metadata["inputs"]) == {"instances": ("FP32", [-1, 3, 2])}
    assert tensors(metadata["outputs"]) == {"predictions": ("BYTES", [-1, 3])}


class Complex:
    def predict(self, rows: Any) -> Any:
        return rows * 2


TWO, THREE = ArrayOutput((2,), "int8"), ArrayOutput((3,), "float32")
NAMED = (
    NamedOutput("a", TensorsOutput((NamedOutput("b", None),))),
    NamedOutput("c", ListOutput((TWO, THREE))),
    NamedOutput("d", ArrayOutput((None,), "bfloat16")),
    NamedOutput("e", None),
)


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        (None, {}),
        (
            ListOutput((TWO, ArrayOutput((2,), "float32"))),
            {"predictions": ("FP32", [-1, 2, 2])},
        ),
        (
            ListOutput((TWO, THREE)),
            {"predictions_0": ("INT8", [-1, 2]), "predictions_1": ("FP32", [-1, 3])},
        ),
        (
            TensorsOutput(NAMED),
            {"a": ("BYTES", [-1]), "c": ("BYTES", [-1]), "d": ("FP32", [-1, -1])},
        ),
    ],
)
def test_outputs(described: Any, expected: Any) -> None:
    assert tensors(v2_metadata.outputs(described)) == expected


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        ([[1, 2], [3]], ["[1,2]", "[3]"]),
        ([np.ones(1), np.ones(2)], ["[1.0]", "[1.0,1.0]"]),
        ([{"a": [[1], [2, 3]]}, {"a": [[1], [2]]}], ["[[1],[2,3]]", "[[1],[2]]"]),
    ],
)
def test_rows_of_different_lengths_are_texts_of_json(rows: Any, texts: list[str]) -> None:
    [made] = v2_tensors.tensors_of_response({"predictions": rows}).values()
    assert made.tolist() == texts


def test_what_is_no_json_is_refused() -> None:
    text = np.array(["{"], dtype=object)
    with pytest.raises(InvalidInput, match="must be JSON here"):
        v2_tensors.request_of_tensors({"instances": text}, JsonInput())


def test_dtypes_are_promoted_as_numpy_does() -> None:
    dtypes = list(names.DATATYPES)
    for first, second in itertools.product(dtypes, dtypes):
        assert v2_metadata.promoted(first, second) == str(np.result_type(first, second))
    for text in ("<U3", "object", "datetime64[ns]"):
        assert v2_metadata.promoted("int8", text) == v2_metadata.promoted(text, "int8") == "object"


@pytest.mark.parametrize(
    "classes", [[0, 1, 2], [False, True], [0.5, 1], [True, 2], ["a", "b"], ["a", 1], [2**63]]
)
def test_classes_have_the_datatype_of_their_array(classes: list[Any]) -> None:
    [output] = v2_metadata.outputs(EstimatorOutput(shape=(), dtype=None, classes=classes))
    assert output["datatype"] == (v2_tensors.datatype(np.asarray(classes).dtype) or "BYTES")
