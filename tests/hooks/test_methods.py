"""The methods that answer a request, and what a request may set of them."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import BayesianRidge, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KernelDensity, NearestNeighbors, RadiusNeighborsClassifier
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import generator
from common.bodies import json_encode
from common.bodies.v2 import v2_metadata
from common.config import Config
from common.errors import ConfigError
from common.methods import rows_of
from common.serving.applications.openapi_schemas import components
from generator import ServingError, SettingError
from support.models.objects import Encoder, Sums, scaled
from support.servers.running import serving

X, y = load_iris(return_X_y=True)
ROWS = X[::40]


MAKE = {"sample_input": ROWS}


def logistic() -> Any:
    return LogisticRegression(max_iter=500).fit(X, y)


def predicted(scaffold: generator.Scaffold, rows: Any = ROWS, **others: Any) -> Any:
    return scaffold.predict({"instances": np.asarray(rows).tolist(), **others})["predictions"]


def test_several_methods_answer_under_their_names(
    make: Callable[..., generator.Scaffold],
) -> None:
    """As V2's metadata and OpenAPI describe them, too."""
    model = logistic()
    scaffold = make(model, method=["predict", "predict_proba"])
    found = predicted(scaffold)
    assert [row["predict"] for row in found] == model.predict(ROWS).tolist()
    assert [row["predict_proba"] for row in found] == model.predict_proba(ROWS).tolist()
    config = Config.read(scaffold.directory / "config.yaml")
    outputs = v2_metadata.outputs(config.model.output)
    assert [(each["name"], each["datatype"]) for each in outputs] == [
        ("predict", "INT64"),
        ("predict_proba", "FP64"),
    ]
    assert set(components(config)["Prediction"]["properties"]) == {"predict", "predict_proba"}


def test_a_parameter_of_a_request_reaches_the_method(
    make: Callable[..., generator.Scaffold],
) -> None:
    model = NearestNeighbors(n_neighbors=3).fit(X)
    scaffold = make(model, parameters=["n_neighbors"])
    distances, indices = model.kneighbors(ROWS, 2)
    found = predicted(scaffold, parameters={"n_neighbors": 2})
    assert [row["distances"] for row in found] == distances.tolist()
    assert [row["indices"] for row in found] == indices.tolist()
    with pytest.raises(ServingError, match='400: "n_neighbors" must be a whole number'):
        predicted(scaffold, parameters={"n_neighbors": "2"})
    with pytest.raises(ServingError, match="400: the model cannot take these instances"):
        predicted(scaffold, parameters={"n_neighbors": 10**9})
    asked = components(Config.read(scaffold.directory / "config.yaml"))["PredictRequest"][
        "properties"
    ]
    assert asked["parameters"]["properties"] == {"n_neighbors": {"type": "integer"}}


@pytest.mark.sweep
def test_a_function_answers(make: Callable[..., generator.Scaffold]) -> None:
    scaffold = make(functools.partial(scaled, by=2.0), parameters=["by"])
    assert predicted(scaffold, [[1.5, 2.0, 0.0, 0.0]]) == [7.0]
    assert predicted(scaffold, [[1.5, 2.0, 0.0, 0.0]], parameters={"by": 1.0}) == [3.5]


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (
            logistic(),
            {"method": "encode"},
            "method 'encode': LogisticRegression has no such method",
        ),
        (logistic(), {"method": []}, "name at least one method, and each once"),
        (logistic(), {"method": ["predict", "predict"]}, "and each once"),
        (logistic(), {"method": 3}, "method 3: pass the name of a method, or a list of names"),
        (logistic(), {"parameters": ["q"]}, "'q' is no parameter of 'predict'; it must be one of"),
        (logistic(), {"parameters": "q"}, "parameters 'q': pass a list of names, or a dict"),
        (scaled, {"parameters": {"by": object()}}, "must be a value that JSON has, it is object"),
        (scaled, {"parameters": ["rows"]}, "'rows' is no parameter of '__call__'"),
        (
            GaussianProcessRegressor(optimizer=None).fit(X, y),
            {"parameters": ["return_cov"]},
            "return_cov=True gives something that depends on the number of rows",
        ),
        (
            logistic(),
            {"method": "predict_proba", "engine": "onnx"},
            "engine 'onnx' answers predict alone",
        ),
    ],
)
def test_a_wrong_method_or_parameter_is_refused(
    make: Callable[..., generator.Scaffold],
    tmp_path: Path,
    model: Any,
    settings: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(SettingError) as raised:
        make(model, **settings)
    assert message in str(raised.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("model", "method"),
    [
        (logistic(), "predict_proba"),
        (logistic(), "predict_log_proba"),
        (logistic(), "decision_function"),
        (PCA(2).fit(X), None),
        (StandardScaler().fit(X), None),
        (StandardScaler().set_output(transform="pandas").fit(X), None),
        (KernelDensity().fit(X), None),
        (OneHotEncoder().fit(X), None),
        (MultiOutputClassifier(DecisionTreeClassifier()).fit(X, np.c_[y, y > 0]), "predict_proba"),
        (RadiusNeighborsClassifier(2.0).fit(X, y), "radius_neighbors"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_any_method_answers_as_in_memory(
    make: Callable[..., generator.Scaffold], model: Any, method: str | None
) -> None:
    """from_model compares; the recorded pair is asked again."""
    scaffold = make(model, method=method)
    assert scaffold.verify() and scaffold.verify(ROWS)


@pytest.mark.parametrize(
    ("output", "rows"),
    [
        (pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}), [{"a": 1, "b": 0.5}, {"a": 2, "b": 1.5}]),
        (pd.DataFrame([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (pl.DataFrame({"a": [1, None]}), [{"a": 1}, {"a": None}]),
        (pd.Series([1.5, 2.5]), [1.5, 2.5]),
        (pl.Series([1, 2]), [1, 2]),
        (scipy.sparse.csr_array([[0, 1], [2, 0]]), [[0, 1], [2, 0]]),
        (
            (np.array([1, 2]), pd.Series([3, 4])),
            [{"output_0": 1, "output_1": 3}, {"output_0": 2, "output_1": 4}],
        ),
    ],
    ids=["frame", "columns without names", "polars", "series", "series of polars", "sparse", "two"],
)
def test_what_a_method_returns_has_one_entry_a_row(output: Any, rows: Any) -> None:
    found = rows_of(output, "transform")
    assert len(found) == len(rows) and json.loads(json_encode(found)) == rows


@pytest.mark.sweep
def test_a_flag_tells_what_it_brings(make: Callable[..., generator.Scaffold]) -> None:
    model = BayesianRidge().fit(X, y)
    scaffold = make(model, parameters=["return_std"])
    mean, std = model.predict(ROWS, return_std=True)
    found = predicted(scaffold, parameters={"return_std": True})
    assert found == [{"mean": each, "std": other} for each, other in zip(mean, std, strict=True)]
    assert predicted(scaffold) == mean.tolist()
    asked = components(Config.read(scaffold.directory / "config.yaml"))["PredictRequest"][
        "properties"
    ]
    told = asked["parameters"]["properties"]["return_std"]["description"]
    assert told == "Where it is not the default, a prediction is an object with mean, std"


@pytest.mark.sweep
def test_an_object_answers_with_the_method_that_is_named(
    make: Callable[..., generator.Scaffold],
) -> None:
    scaffold = make(Encoder(), ["ab", "c"], method="encode", parameters={"scale": 2.0})
    assert scaffold.framework == "function"
    assert scaffold.predict(["abc"])["predictions"] == [[6.0]]
    assert predicted(scaffold, ["abc"], parameters={"scale": 0.5}) == [[1.5]]


@pytest.mark.sweep
def test_the_method_stays_with_another_model(make: Callable[..., generator.Scaffold]) -> None:
    scaffold = make(logistic(), method="predict_proba")
    other = LogisticRegression(max_iter=500, C=0.1).fit(X, y)
    scaffold.replace_model(other, sample_input=ROWS)
    assert predicted(scaffold) == other.predict_proba(ROWS).tolist()
    scaffold.replace_model(other, sample_input=ROWS, method="predict")
    assert predicted(scaffold) == other.predict(ROWS).tolist()
    config = Config.read(scaffold.directory / "config.yaml")
    assert config.model.method is None


@pytest.mark.sweep
def test_parameters_over_http(make: Callable[..., generator.Scaffold]) -> None:
    """In V1 and in V2, whose requests have them too."""
    model = NearestNeighbors(n_neighbors=3).fit(X)
    scaffold = make(model, parameters=["n_neighbors"])
    _, indices = model.kneighbors(ROWS, 1)
    data = ROWS.ravel().tolist()
    tensor = {"name": "instances", "datatype": "FP64", "shape": list(ROWS.shape), "data": data}
    body = {"inputs": [tensor], "parameters": {"n_neighbors": 1}}
    with serving(scaffold.directory) as server, server.client() as client:
        answer = client.post("/v2/models/model/infer", json=body).json()
        outputs = {each["name"]: each for each in answer["outputs"]}
        assert outputs["indices"]["data"] == indices.ravel().tolist()
        body["parameters"] = {"n_neighbors": 1.5}
        refused = client.post("/v2/models/model/infer", json=body)
    assert refused.status_code == 400
    assert refused.json() == {"error": '"n_neighbors" must be a whole number, it is the number 1.5'}


@pytest.mark.sweep
def test_an_object_with_a_predict_needs_no_framework(
    make: Callable[..., generator.Scaffold],
) -> None:
    assert make(Sums()).framework == "custom"


def test_config_yaml_names_a_wrong_method_or_parameter() -> None:
    for key, value, said in [
        ("method", [], "model.method must be the name of a method"),
        ("method", "a b", "model.method must be the name of a method"),
        ("parameters", [{"name": "k", "type": "int"}], "model.parameters[0].type must be boolean"),
        ("parameters", {"k": 1}, "model.parameters must be a list"),
    ]:
        document = {
            "model_name": "m",
            "model_metadata": {"framework": "sklearn", "model": {key: value}},
        }
        with pytest.raises(ConfigError) as raised:
            Config.from_document(document)
        assert said in str(raised.value)
