"""The engine onnx: a compiled form that predicts as the model does, else the model itself."""

import contextlib
import json
import sys
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import generator
from common.config import Config
from common.errors import ConfigError
from generator import ModelError, Scaffold, ServingError, SettingError
from generator.common import OnnxModel
from generator.hooks import by_name
from generator.hooks.scikit.onnx import check, convert
from generator.hooks.scikit.onnx.random_rows import rows_on_thresholds
from generator.running.comparison import compare
from support.models.estimators import fitted, instances, with_predict
from support.packages.late import require
from support.servers.running import configure, serving

require("skl2onnx", "skl2onnx and onnxruntime are only installed on Python 3.11 and later")

IRIS, SPECIES = load_iris(return_X_y=True)
CELLS, BAD = load_breast_cancer(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
MODEL = by_name("sklearn")
COMPILED = "src/model/model.onnx"
Case = tuple[Any, Any]


def engine(model: Any, sample: Any = None) -> Any:
    """The compiled form, as a scaffold's worker loads it."""
    description = MODEL.describe(model, sample)
    content = convert.compiled(model, description, sample)
    return OnnxModel(content, model, description.output)


def facts(scaffold: Scaffold) -> dict[str, Any]:
    return dict(
        yaml.safe_load((scaffold.directory / "config.yaml").read_text())["model_metadata"]["model"]
    )


MAKE = {"engine": "onnx"}


# ---- the compiled form predicts as the model does ----


def frame() -> Case:
    rows = pandas.DataFrame(IRIS, columns=["a", "b", "c", "d d"])
    rows["where"] = np.array(["hill", "lake", "bog"])[np.arange(len(rows)) % 3]
    columns = make_column_transformer(
        (OneHotEncoder(), ["where"]), (StandardScaler(), ["a", "d d"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(rows, NAMES), rows


def numbers_by_name() -> Case:
    rows = pandas.DataFrame(CELLS[:, :4], columns=["a", "b", "c", "d"])
    return RandomForestRegressor(10, random_state=0).fit(rows, CELLS[:, 5]), rows


def texts() -> Case:
    rows = ["good film", "bad film", "quite good", "quite bad", "good good", "bad"]
    words = CountVectorizer(lowercase=False, token_pattern="[a-z]+")
    return make_pipeline(words, MultinomialNB()).fit(rows, [True, False] * 3), rows


def search() -> Case:
    trees = GridSearchCV(RandomForestClassifier(5, random_state=0), {"max_depth": [2, 3]}, cv=2)
    return trees.fit(IRIS, SPECIES), IRIS


def single() -> Case:
    rows = IRIS.astype(np.float32)
    return MLPRegressor(hidden_layer_sizes=(8,), random_state=0, max_iter=30, tol=1).fit(
        rows, rows[:, 0]
    ), rows


CASES: dict[str, Callable[[], Case]] = {
    "bools": lambda: (LogisticRegression(max_iter=500).fit(IRIS, SPECIES == 1), IRIS),
    "forest of texts": lambda: (RandomForestClassifier(20, random_state=0).fit(IRIS, NAMES), IRIS),
    "frame": frame,
    "linear": lambda: (LinearRegression().fit(IRIS, IRIS[:, :2]), IRIS),
    "numbers by name": numbers_by_name,
    "search": search,
    "float32": single,
    "small integers": lambda: (DecisionTreeClassifier().fit(IRIS, SPECIES.astype(np.int8)), IRIS),
    "texts": texts,
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_predicts_what_the_model_predicts(case: Callable[[], Case]) -> None:
    model, rows = case()
    compiled = engine(model, rows)
    assert compiled.takes(rows)
    expected, came = model.predict(rows), compiled.predict(rows)
    assert expected.dtype == came.dtype and expected.shape == came.shape
    assert compare(expected, came.tolist(), check.TOLERANCE)
    assert hasattr(compiled, "predict_proba") == hasattr(model, "predict_proba")
    if hasattr(model, "predict_proba"):
        difference = np.abs(model.predict_proba(rows) - compiled.predict_proba(rows)).max()
        assert difference <= check.TOLERANCE


STATE = {"random_state": 0}
TREES: list[Any] = [
    DecisionTreeClassifier(**STATE),
    RandomForestClassifier(20, **STATE),
    RandomForestClassifier(20, max_depth=2, **STATE),  # leaves of several classes
    ExtraTreesClassifier(10, **STATE),
    BaggingClassifier(n_estimators=5, **STATE),
    GradientBoostingClassifier(n_estimators=10, **STATE),
    HistGradientBoostingClassifier(max_iter=10, **STATE),
    DecisionTreeRegressor(max_depth=3, **STATE),
    RandomForestRegressor(20, **STATE),
    GradientBoostingRegressor(n_estimators=10, **STATE),
    HistGradientBoostingRegressor(max_iter=10, **STATE),
    make_pipeline(StandardScaler(), RandomForestClassifier(20, **STATE)),
]


@pytest.mark.parametrize("model", TREES, ids=str)
@pytest.mark.parametrize("rows, targets", [(IRIS, SPECIES), (CELLS, BAD)], ids=["three", "two"])
def test_trees_decide_alike_on_their_thresholds(model: Any, rows: Any, targets: Any) -> None:
    """On thresholds, and on the next numbers in float32 and float64, to the last bit.

    Only the probabilities of boosting may differ, by 1e-15.
    """
    model.fit(rows, targets)
    compiled = engine(model)
    drawn = rows[np.random.default_rng(0).integers(0, len(rows), 4000)]
    edges = edge_rows(model, drawn)
    assert np.array_equal(model.predict(edges), compiled.predict(edges))
    if hasattr(model, "predict_proba"):
        exact = "Boosting" not in type(model).__name__
        difference = np.abs(model.predict_proba(edges) - compiled.predict_proba(edges)).max()
        assert difference == 0 or (not exact and difference < 1e-15)


def edge_rows(model: Any, rows: Any) -> Any:
    if isinstance(model, BaggingClassifier):  # its trees number features in their own way
        return rows
    (edges,) = rows_on_thresholds(np.random.default_rng(0), model, rows)
    return edges


LOSSES: list[Any] = [
    GradientBoostingClassifier(loss="exponential", n_estimators=5, **STATE),
    HistGradientBoostingRegressor(loss="poisson", max_iter=5, **STATE),
    HistGradientBoostingRegressor(loss="gamma", max_iter=5, **STATE),
]


@pytest.mark.parametrize("model", LOSSES, ids=str)
def test_other_losses_of_boosting(model: Any) -> None:
    """The conversion checks itself: it fails if probabilities or predictions differ."""
    compiled = engine(model.fit(CELLS, BAD + 1), CELLS)
    assert compare(model.predict(CELLS), compiled.predict(CELLS).tolist(), check.TOLERANCE)


def test_a_private_attribute_that_scikit_learn_renames_is_named() -> None:
    model = HistGradientBoostingRegressor(max_iter=2).fit(IRIS, SPECIES)
    delattr(model, "_predictors")
    with pytest.raises(check.NotCompiled, match="it cannot be converted: .*'_predictors'"):
        engine(model)


def test_a_threshold_between_two_float32() -> None:
    """0.1 + 0.2 is between two numbers of float32: the nearer is above it, and must go right."""
    below, above = np.nextafter(np.float32(0.3), np.float32(0)), np.float32(0.3)
    model = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])
    model.tree_.threshold[0] = (float(below) + 3 * float(above)) / 4
    rows = np.array(
        [[below], [above], [np.nextafter(model.tree_.threshold[0], 1)], [model.tree_.threshold[0]]],
        float,
    )
    assert model.predict(rows).tolist() == [0, 1, 1, 1]
    assert engine(model).predict(rows).tolist() == [0, 1, 1, 1]


def test_rows_that_were_not_compared_go_to_the_model_itself() -> None:
    model = HistGradientBoostingRegressor(max_iter=5).fit(np.where(IRIS > 6, np.nan, IRIS), SPECIES)
    compiled = engine(model)
    for odd in (np.nan, np.inf, 1e300):
        rows = np.where(IRIS > 6, odd, IRIS)
        assert not compiled.takes(rows)
        assert np.array_equal(compiled.predict(rows), model.predict(rows))
    strict = engine(RandomForestClassifier(2).fit(IRIS, SPECIES))
    with pytest.raises(ValueError, match="contains infinity"):
        strict.predict(np.where(IRIS > 6, np.inf, IRIS))


# ---- scaffolds ----


def test_a_scaffold_serves_the_compiled_form(make: Callable[..., Scaffold], tmp_path: Path) -> None:
    model, rows = CASES["forest of texts"]()
    scaffold = make(model, sample_input=rows)
    found = facts(scaffold)
    assert found["engine"] == "onnx" and len(found["onnx_sha256"]) == 64
    pins = (scaffold.directory / "requirements.txt").read_text()
    pin = f"onnxruntime=={metadata.version('onnxruntime')}"
    assert f"\n{pin}  # imported by src/common/onnx_engine.py, which runs model.onnx\n" in pins
    assert "skl2onnx" not in pins
    (scaffold.directory / "src" / "model" / "model.joblib").rename(tmp_path / "kept.joblib")
    with pytest.raises(ServingError, match="src/model/model.joblib is missing"):
        scaffold.predict(rows)
    (tmp_path / "kept.joblib").rename(scaffold.directory / "src" / "model" / "model.joblib")
    with serving(scaffold.directory) as server, server.client() as client:
        body = {"instances": rows.tolist(), "probabilities": True}
        response = client.post("/v1/models/model:predict", json=body).json()
        assert response["predictions"] == model.predict(rows).tolist()
        assert response["probabilities"] == model.predict_proba(rows).tolist()
        gap = client.post("/v1/models/model:predict", json={"instances": [[5, 3, 1, None]]}).json()
        assert gap["predictions"] == model.predict([[5, 3, 1, np.nan]]).tolist()
    assert scaffold.verify() and scaffold.verify(rows)


@pytest.mark.sweep
def test_a_worker_answers_from_the_compiled_form(make: Callable[..., Scaffold]) -> None:
    """It shows when the compiled form is another model's, and the digest was changed to match."""
    scaffold = make(LinearRegression().fit(IRIS, IRIS[:, 0]), sample_input=IRIS)
    other = make(LinearRegression().fit(IRIS, 2 * IRIS[:, 0]))
    (scaffold.directory / COMPILED).write_bytes((other.directory / COMPILED).read_bytes())
    with pytest.raises(
        ServingError, match=r"model.onnx is not the model .* model.onnx_sha256 is \w+; restore"
    ) as raised:
        scaffold.predict(IRIS)
    assert "\n" not in str(raised.value)
    configure(scaffold.directory, onnx_sha256=facts(other)["onnx_sha256"])
    assert compare(2 * IRIS[:, 0], scaffold.predict(IRIS)["predictions"], 1e-9)
    assert not scaffold.verify()
    configure(scaffold.directory, engine="native")
    assert scaffold.verify() and facts(scaffold)["onnx_sha256"]
    configure(scaffold.directory, engine="onnx")
    (scaffold.directory / COMPILED).unlink()
    with pytest.raises(
        ServingError, match=r"src/model/model.onnx is missing: set model.engine to native"
    ) as raised:
        scaffold.predict(IRIS)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "written"),
    [("tensorrt", "'tensorrt'"), (None, "null"), (1, "1"), (["onnx"], '["onnx"]')],
)
def test_a_bad_engine_in_the_configuration_is_one_line(value: Any, written: str) -> None:
    document = {
        "model_name": "m",
        "model_metadata": {"framework": "sklearn", "model": {"engine": value}},
    }
    with pytest.raises(ConfigError) as raised:
        Config.from_document(document)
    assert str(raised.value) == f"config.yaml: model.engine must be native or onnx, it is {written}"


# ---- the fallback: the model itself is served ----


def fallback(make: Callable[..., Scaffold], model: Any, reason: str, **settings: Any) -> Scaffold:
    with pytest.warns(
        UserWarning,
        match=f"engine 'onnx' is not for this .*, the model itself is served: .*{reason}",
    ):
        scaffold = make(model, **settings)
    found = facts(scaffold)
    assert (found["engine"], found["onnx_sha256"]) == ("native", None)
    assert not (scaffold.directory / COMPILED).exists()
    assert "onnx" not in (scaffold.directory / "requirements.txt").read_text()
    answers = (scaffold.directory / ".copier-answers.yml").read_text()
    assert yaml.safe_load(answers)["engine"] == "native"
    return scaffold


@pytest.mark.sweep
def test_a_model_that_cannot_be_converted(make: Callable[..., Scaffold]) -> None:
    model = IsolationForest(n_estimators=5).fit(IRIS)
    scaffold = fallback(make, model, "it cannot be converted: ")
    assert scaffold.predict(IRIS)["predictions"] == model.predict(IRIS).tolist()


@pytest.mark.sweep
def test_a_compiled_form_that_predicts_differently(
    make: Callable[..., Scaffold], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LogisticRegression().fit(IRIS, BAD[:150])
    other = LogisticRegression(C=0.1).fit(IRIS, BAD[:150])
    to_onnx = convert.to_onnx
    monkeypatch.setattr(convert, "to_onnx", lambda _, types: to_onnx(other, types))
    reason = r"predict(_proba)? of the compiled form differs from the model's, on "
    fallback(make, model, f"{reason}the sample", sample_input=IRIS)
    fallback(make, model, f"{reason}random rows")


def test_neighbours_at_equal_distance_are_chosen_differently(
    make: Callable[..., Scaffold],
) -> None:
    model = KNeighborsClassifier().fit(IRIS, SPECIES)
    fallback(
        make,
        model,
        "predict_proba of the compiled form differs from the model's, on the sample: a number",
        sample_input=IRIS,
    )


@pytest.mark.sweep
def test_a_compiled_form_that_cannot_be_compared(make: Callable[..., Scaffold]) -> None:
    fallback(make, texts()[0], "pass a sample_input")
    with pytest.warns(UserWarning, match="the dtypes of the columns 'b', 'c' are not known"):
        fallback(make, frame()[0], "; a sample_input would say more about its rows")
    gaps = np.full((3, 4), np.nan)
    fallback(
        make,
        HistGradientBoostingRegressor().fit(IRIS, SPECIES),
        "every row of the sample has a missing value",
        sample_input=gaps,
    )


def test_a_version_of_onnxruntime_that_computes_trees_wrongly(
    make: Callable[..., Scaffold], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxruntime.__version__", "1.23.2")
    fallback(
        make,
        RandomForestClassifier(2).fit(IRIS, SPECIES),
        "onnxruntime 1.23.2 computes trees wrongly: install 1.24",
    )


@pytest.mark.parametrize("package", ["skl2onnx", "onnxruntime"])
def test_a_missing_package_is_an_error(
    package: str, make: Callable[..., Scaffold], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        SettingError, match=f"engine 'onnx' needs {package}: run pip install skl2onnx onnxruntime"
    ):
        make(LinearRegression().fit(IRIS, SPECIES))
    assert not list(tmp_path.iterdir())


def test_other_engines_are_refused(make: Callable[..., Scaffold], tmp_path: Path) -> None:
    model = LinearRegression().fit(IRIS, SPECIES)
    with pytest.raises(SettingError, match="engine 'tensorrt' is none of native, onnx"):
        make(model, engine="tensorrt")
    with pytest.raises(SettingError, match="engine 'onnx' is none of custom's: leave it out"):
        make(model, framework="custom")


# ---- another model in its place ----


@pytest.mark.sweep
def test_another_model_is_compiled_too(make: Callable[..., Scaffold]) -> None:
    first, second = (
        RandomForestClassifier(5, random_state=seed).fit(IRIS, SPECIES) for seed in (1, 2)
    )
    scaffold = make(first)
    before = facts(scaffold)
    scaffold.replace_model(second, sample_input=IRIS)
    after = facts(scaffold)
    assert after["engine"] == "onnx"
    assert after["onnx_sha256"] != before["onnx_sha256"]
    assert scaffold.verify(IRIS)
    with pytest.warns(UserWarning, match="the model itself is served: it cannot be converted"):
        generator.from_model(
            IsolationForest(n_estimators=3).fit(IRIS), scaffold.directory, overwrite=True
        ).close()
    assert (facts(scaffold)["engine"], facts(scaffold)["onnx_sha256"]) == ("native", None)
    assert not (scaffold.directory / COMPILED).exists()
    assert "onnxruntime" not in (scaffold.directory / "requirements.txt").read_text()
    scaffold.replace_model(first)
    assert facts(scaffold)["engine"] == "native" and not (scaffold.directory / COMPILED).exists()
    scaffold.replace_model(first, engine="onnx")
    assert facts(scaffold)["engine"] == "onnx" and (scaffold.directory / COMPILED).exists()
    configure(scaffold.directory, engine="native")
    scaffold.replace_model(second)  # the old compiled form must not come back
    assert facts(scaffold)["onnx_sha256"] is None
    assert not (scaffold.directory / COMPILED).exists()


@pytest.mark.sweep
def test_nothing_changes_if_another_model_is_refused(make: Callable[..., Scaffold]) -> None:
    scaffold = make(LinearRegression().fit(IRIS, SPECIES))
    before = (scaffold.directory / COMPILED).read_bytes(), facts(scaffold)
    with pytest.raises(ModelError, match="does not predict what the model in memory does"):
        scaffold.replace_model(
            LinearRegression().fit(IRIS, BAD[:150]), sample_input=IRIS, expected=SPECIES
        )
    assert before == ((scaffold.directory / COMPILED).read_bytes(), facts(scaffold))


@pytest.mark.sweep
def test_a_scaffold_of_an_older_template_takes_another_model(make: Callable[..., Scaffold]) -> None:
    model = LinearRegression().fit(IRIS, SPECIES)
    scaffold = make(model, engine=None)
    for name in ("config.yaml", ".copier-answers.yml"):
        lines = (scaffold.directory / name).read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.strip().startswith(("engine:", "onnx_sha256:"))]
        (scaffold.directory / name).write_text("".join(kept))
    scaffold.replace_model(model)
    assert "engine" not in facts(scaffold)
    scaffold.replace_model(model, engine="onnx")
    assert facts(scaffold)["engine"] == "onnx"
    assert scaffold.predict(IRIS[:5])["predictions"] == pytest.approx(model.predict(IRIS[:5]))


# ---- all of scikit-learn ----

# These must not fall back: most people train one of them.
MUST = {
    "DecisionTreeClassifier",
    "ExtraTreesClassifier",
    "GradientBoostingClassifier",
    "GradientBoostingRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "LinearRegression",
    "LogisticRegression",
    "MLPClassifier",
    "Pipeline",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "Ridge",
    "SVC",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "estimator" in metafunc.fixturenames:
        found = with_predict(metafunc.config)
        metafunc.parametrize("estimator", found.values(), ids=found)


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_every_estimator_is_compiled_or_left_as_it_is(estimator: Any) -> None:
    """The conversion raises no other error, and the compiled form predicts as the model does."""
    for model in instances(estimator)[:1]:
        with warnings.catch_warnings(), contextlib.suppress(ModelError):
            MODEL.check(model := fitted(model)[0])
        trained, rows = fitted(model)
        try:
            compiled = engine(trained, rows)
        except check.NotCompiled as error:
            assert estimator.__name__ not in MUST, error
            pytest.skip(f"the model itself is served: {error}")
        served = json.loads(json.dumps(compiled.predict(rows).tolist()))
        assert compare(trained.predict(rows), served, 1e-6)
