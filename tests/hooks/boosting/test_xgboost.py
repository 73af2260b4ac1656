"""Models of XGBoost, saved as UBJSON: the answers are those in memory, to the last bit."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import xgboost
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import Booster, DMatrix, XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier

import generator
from generator import ModelError, SettingError
from generator.cli import main
from generator.hooks import by_name, find
from generator.rows.body import body_rows
from support.models.boosted import (
    FRAME,
    GROUPS,
    HOLED,
    THREE,
    X,
    Y,
    check,
    some,
)
from support.servers.flows import ask
from support.servers.unrendered import ask_v2, flow_of, inference_model

XGBOOST = by_name("xgboost")
SPARSE = scipy.sparse.random(90, 4, 0.4, "csr", random_state=0)
NAMED = pd.DataFrame(X, columns=["a b", "c", "größe", "d"])


def train(rows: Any, labels: Any = Y, rounds: int = 4, **settings: Any) -> Booster:
    return xgboost.train(settings, DMatrix(rows, labels, enable_categorical=True), rounds)


def early(kind: Any, **settings: Any) -> Any:
    """An estimator that has stopped before its last round."""
    model = kind(n_estimators=60, learning_rate=1.0, early_stopping_rounds=2, **settings)
    model.fit(X[:60], Y[:60], eval_set=[(X[60:], Y[60:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    return model


class Own(XGBClassifier):  # type: ignore[misc]
    """A subclass, which may predict something else."""


def loss(labels: Any, predictions: Any) -> Any:
    return predictions - labels, np.ones_like(labels)


few = {"n_estimators": 4}
ESTIMATORS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "binary": lambda: (XGBClassifier(**few).fit(X, Y), X),
    "classes": lambda: (XGBClassifier(**few, n_jobs=1).fit(X, THREE), X),
    "softmax": lambda: (XGBClassifier(**few, objective="multi:softmax").fit(X, THREE), X),
    "labels": lambda: (XGBClassifier(**few).fit(X, np.column_stack([Y, 1 - Y])), X),
    "one class": lambda: (XGBClassifier(**few).fit(X, np.zeros(90, int)), X),
    "hinge": lambda: (XGBClassifier(**few, objective="binary:hinge").fit(X, Y), X),
    "numbers": lambda: (XGBRegressor(**few).fit(X, X[:, 0] * 1e9), X),
    "two numbers": lambda: (XGBRegressor(**few).fit(X, X[:, :2]), X),
    "vector leaves": lambda: (
        XGBRegressor(**few, multi_strategy="multi_output_tree").fit(X, X[:, :2]),
        X,
    ),
    "quantiles": lambda: (
        XGBRegressor(**few, objective="reg:quantileerror", quantile_alpha=np.array([0.1, 0.9])).fit(
            X, X[:, 0]
        ),
        X,
    ),
    "tweedie": lambda: (
        XGBRegressor(**few, objective="reg:tweedie", tweedie_variance_power=1.2).fit(
            X, np.abs(X[:, 0])
        ),
        X,
    ),
    "survival": lambda: (
        XGBRegressor(**few, objective="survival:cox").fit(X, np.arange(1.0, 91)),
        X,
    ),
    "rank": lambda: (XGBRanker(**few).fit(X, THREE, qid=GROUPS), X),
    "forest": lambda: (XGBRFClassifier(n_estimators=5).fit(X, THREE), X),
    "dart": lambda: (XGBClassifier(**few, booster="dart", rate_drop=0.5).fit(X, Y), X),
    "linear": lambda: (XGBClassifier(**few, booster="gblinear").fit(X, Y), X),
    "early": lambda: (early(XGBClassifier), X),
    "early numbers": lambda: (early(XGBRegressor), X),
    "missing": lambda: (XGBClassifier(**few).fit(HOLED, Y), HOLED),
    "another missing": lambda: (XGBClassifier(**few, missing=0).fit(X.round(), Y), X.round()),
    "float32": lambda: (XGBRegressor(**few).fit(X, X[:, 0]), X.astype("float32")),
    "whole": lambda: (XGBRegressor(**few).fit(X, X[:, 0]), (X * 9).astype("int64")),
    "sparse": lambda: (XGBRegressor(**few).fit(SPARSE, X[:, 0]), SPARSE),
    "sparse columns": lambda: (XGBClassifier(**few).fit(SPARSE, Y), SPARSE.tocsc()),
    "names": lambda: (XGBClassifier(**few).fit(NAMED, Y), NAMED),
    "names, arrays": lambda: (XGBClassifier(**few).fit(NAMED, Y), X),
    "categories": lambda: (XGBClassifier(**few, enable_categorical=True).fit(FRAME, Y), FRAME),
    "types": lambda: (
        XGBRegressor(**few, enable_categorical=True, feature_types=["q", "c"]).fit(
            np.column_stack([X[:, 0], THREE]), Y
        ),
        np.column_stack([X[:, 0], THREE]),
    ),
    "verbose": lambda: (
        XGBClassifier(**few, verbosity=0, random_state=np.random.RandomState(0)).fit(X, Y),
        X,
    ),
}
BOOSTERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "probabilities": lambda: (train(X, objective="binary:logistic"), X),
    "classes": lambda: (train(X, THREE, objective="multi:softprob", num_class=3), X),
    "names": lambda: (train(NAMED), NAMED),
    "names, arrays": lambda: (train(NAMED), X),
    "categories": lambda: (train(FRAME), FRAME),
    "sparse": lambda: (train(SPARSE), SPARSE),
    "sparse, names": lambda: (
        xgboost.train({}, DMatrix(SPARSE, Y, feature_names=list("abcd")), 4),
        SPARSE,
    ),
    "missing": lambda: (train(HOLED), HOLED),
    "float32": lambda: (train(X), X.astype("float32")),
    "linear": lambda: (train(X, booster="gblinear"), X),
    "dart": lambda: (train(X, booster="dart", rate_drop=0.5), X),
    "slice": lambda: (train(X)[1:3], X),
    "its own loss": lambda: (
        xgboost.train({}, DMatrix(X, Y), 4, obj=lambda p, d: loss(d.get_label(), p)),
        X,
    ),
}
USUAL = ("classes", "sparse", "probabilities")


@pytest.mark.parametrize("case", some(ESTIMATORS, USUAL))
def test_an_estimator(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = case()
    found = check("xgboost", model, rows, tmp_path, monkeypatch)
    assert found["settings"]["class"] == type(model).__name__
    assert found["output"]["probabilities"] == hasattr(model, "predict_proba")


@pytest.mark.parametrize("case", some(BOOSTERS, USUAL))
def test_a_booster(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    booster, rows = case()

    def predict(given: Any) -> Any:
        names = None if isinstance(given, pd.DataFrame) else booster.feature_names
        return booster.predict(DMatrix(given, feature_names=names, enable_categorical=True))

    found = check("xgboost", booster, rows, tmp_path, monkeypatch, predict)
    shape = list(predict(rows).shape[1:])
    assert found["output"] == {"kind": "array", "shape": shape, "dtype": "float32"}


def test_an_estimator_is_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its file does not hold is set again, for whoever edits inference_model.py."""
    model = XGBClassifier(n_estimators=3, n_jobs=1, missing=-1.0, max_depth=2, grow_policy=None)
    model.set_params(sampling_method="uniform", max_cached_hist_node=7)
    model.fit(X, Y)
    (tmp_path / "model").mkdir()
    file = XGBOOST.serialize_model_to_directory(model, tmp_path / "model")
    facts = {"file": file.name, **XGBOOST.facts(model)}
    loaded = inference_model("xgboost", facts, tmp_path, monkeypatch)
    assert loaded.get_params() == model.get_params()
    assert loaded.get_booster().save_raw() == model.get_booster().save_raw()
    threads = [
        json.loads(each.get_booster().save_config())["learner"]["generic_param"]["nthread"]
        for each in (model, loaded)
    ]
    assert threads == ["1", "1"]


def test_a_file_without_settings_says_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where `copier copy` has made the scaffold."""
    (tmp_path / "model").mkdir()
    model = XGBClassifier(n_estimators=3).fit(X, THREE)
    model.save_model(tmp_path / "model" / "model.ubj")
    loaded = inference_model("xgboost", {"file": "model.ubj"}, tmp_path, monkeypatch)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_what_a_file_does_not_hold_is_pickled() -> None:
    given = {"n_estimators": 2}
    models = [
        Own(**given).fit(X, Y),
        XGBRegressor(**given, objective=loss).fit(X, Y),
        XGBRegressor(**given, missing=np.inf).fit(X, Y),
        make_pipeline(StandardScaler(), XGBClassifier(**given)).fit(X, Y),
    ]
    assert [find(model).name for model in models] == ["sklearn"] * 4


def test_what_was_not_trained_is_refused() -> None:
    with pytest.raises(ModelError, match="Booster is not trained: pass what xgboost.train returns"):
        XGBOOST.check(Booster())
    with pytest.raises(ModelError, match="XGBClassifier is not fitted"):
        XGBOOST.check(XGBClassifier())


def test_a_number_that_xgboost_refuses_is_400(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, flow = flow_of("xgboost", train(X), X, tmp_path, monkeypatch)
    [(status, answer)] = ask(None, {"instances": [[1e39, 0, 0, 0]]}, flow=flow)
    assert status == 400
    assert answer["error"].startswith(
        "the model cannot take these instances: Input data contains `inf` or a value too large"
    )
    assert "xgboost/" not in answer["error"] and "\n" not in answer["error"]


def test_a_booster_has_no_probabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, flow = flow_of("xgboost", train(X), X, tmp_path, monkeypatch)
    [(status, answer)] = ask(None, {"instances": [[0] * 4], "probabilities": True}, flow=flow)
    assert (status, answer["error"][:15]) == (400, '"probabilities"')


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(XGBClassifier(n_estimators=3).fit(NAMED, THREE), id="classes"),
        pytest.param(train(X, THREE, objective="multi:softprob", num_class=3), id="booster"),
    ],
)
def test_v2(model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = isinstance(model, XGBClassifier)
    sample = NAMED if names else X
    _, answer = ask_v2("xgboost", model, sample, tmp_path, monkeypatch, body_rows(sample))
    expected = model.predict(sample if names else DMatrix(sample))
    [output] = [each for each in answer["outputs"] if each["name"] == "predictions"]
    np.testing.assert_array_equal(
        np.array(output["data"], expected.dtype).reshape(output["shape"]), expected
    )


# ---- scaffolds ----


def test_a_scaffold(tmp_path: Path) -> None:
    """It is proved in a process that imports only what is pinned."""
    model = XGBClassifier(n_estimators=3, n_jobs=1).fit(X, THREE)
    scaffold = generator.from_model(model, tmp_path / "made", sample_input=X)
    assert {path.name for path in (scaffold.directory / "src/model").iterdir()} == {
        "__init__.py",
        "model.ubj",
    }
    assert scaffold.dockerfile == "xgboost-server.Dockerfile"
    text = (scaffold.directory / "requirements.txt").read_text()
    assert "scikit-learn==" in text and "xgboost" in text and "reads model.joblib" not in text


@pytest.mark.sweep
def test_a_booster_needs_no_scikit_learn(tmp_path: Path) -> None:
    scaffold = generator.from_model(train(NAMED), tmp_path / "made", sample_input=NAMED)
    text = (scaffold.directory / "requirements.txt").read_text()
    assert "scikit-learn" not in text and "joblib" not in text
    assert scaffold.verify(environment="isolated")


@pytest.mark.sweep
def test_without_a_sample(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="whether it was fitted on such rows"):
        scaffold = generator.from_model(train(X), tmp_path / "made")
    with contextlib.closing(scaffold):
        served = np.array(scaffold.predict(X)["predictions"], "float32")
    np.testing.assert_array_equal(served, train(X).predict(DMatrix(X)))


@pytest.mark.sweep
def test_scaffolds_of_scikit_learn_take_another_model(tmp_path: Path) -> None:
    """As those that were made before XGBoost had a hook of its own."""
    first, second = (XGBClassifier(n_estimators=count).fit(X, Y) for count in (2, 9))
    made = generator.from_model(first, tmp_path / "made", sample_input=X, framework="sklearn")
    made.replace_model(second, sample_input=X)
    assert made.framework == "sklearn" and made.verify(X)
    again = generator.from_model(first, tmp_path / "made", sample_input=X, overwrite=True)
    assert again.framework == "sklearn" and again.verify(X)
    for scaffold in (made, again):
        scaffold.close()


@pytest.mark.sweep
def test_the_engine_of_scikit_learn_is_for_its_hook(tmp_path: Path) -> None:
    model = XGBClassifier(n_estimators=2).fit(X, Y)
    with pytest.warns(UserWarning, match="engine 'onnx' is not for this XGBClassifier"):
        made = generator.from_model(model, tmp_path / "made", sample_input=X, engine="onnx")
    assert made.framework == "sklearn"
    with pytest.raises(SettingError, match="engine 'onnx' is none of xgboost's"):
        generator.from_model(
            model, tmp_path / "other", sample_input=X, engine="onnx", framework="xgboost"
        )


def test_a_format_of_scikit_learn_is_for_its_hook() -> None:
    with pytest.raises(SettingError, match="format 'skops' is none of xgboost's"):
        XGBOOST.converted(XGBClassifier(), "skops", None)


# ---- files ----


def test_a_file_is_served_in_its_own_format() -> None:
    assert XGBOOST.format_of(Path("trees.ubj")) is None
    assert by_name("sklearn").format_of(Path("model.skops")) == "skops"


@pytest.mark.parametrize("suffix", [".ubj", ".json"])
def test_a_file_of_an_estimator_and_of_a_booster(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    for model in (
        XGBClassifier(n_estimators=2).fit(X, THREE),
        XGBRegressor(n_estimators=2).fit(X, Y),
        XGBRanker(n_estimators=2).fit(X, Y, qid=GROUPS),
    ):
        model.save_model(path)
        found = XGBOOST.read_safely(path)
        assert type(found) is type(model)
        np.testing.assert_array_equal(found.predict(X), model.predict(X))
    train(X).save_model(path)
    found = XGBOOST.read_safely(path)
    assert type(found) is Booster
    np.testing.assert_array_equal(found.predict(DMatrix(X)), train(X).predict(DMatrix(X)))


@pytest.mark.parametrize("content", [b"", b"hello", b'{"rows": [1]}', b"\x80\x04K\x01.", b"[1]"])
def test_a_file_of_something_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="model.json' does not hold a model that XGBoost can load"):
        XGBOOST.read_safely(path)


@pytest.mark.sweep
def test_new_makes_a_scaffold_of_a_file(tmp_path: Path) -> None:
    """Nothing is asked: such a file runs no code."""
    model = XGBClassifier(n_estimators=2).fit(X, Y)
    model.save_model(tmp_path / "trees.ubj")
    (tmp_path / "rows.json").write_text(json.dumps(X[:3].tolist()))
    arguments = [str(tmp_path / name) for name in ("trees.ubj", "made")]
    assert main(["new", *arguments, "--sample", str(tmp_path / "rows.json")]) == 0
    with contextlib.closing(generator.load(tmp_path / "made")) as scaffold:
        assert scaffold.framework == "xgboost"
        assert scaffold.predict(X)["predictions"] == model.predict(X).tolist()
