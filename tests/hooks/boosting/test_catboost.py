"""Models of CatBoost, saved in its own format: the answers are those in memory, to the last bit."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from catboost import CatBoostClassifier, CatBoostRanker, CatBoostRegressor

import generator
from generator import ModelError
from generator.hooks import by_name, find
from generator.rows.body import body_rows
from support.models.boosted import GROUPS, HOLED, THREE, X, Y, check, some
from support.servers.flows import ask
from support.servers.unrendered import ask_v2, flow_of, inference_model

pytestmark = pytest.mark.sweep

CATBOOST = by_name("catboost")
SPARSE = scipy.sparse.random(90, 4, 0.4, "csr", random_state=0)
NAMED = pd.DataFrame(X, columns=["a b", "c", "größe", "d"])
WORDS = np.array(["nein", "ja", "vielleicht"])
MIXED = pd.DataFrame({"size": HOLED[:, 0], "town": WORDS[THREE], "code": THREE * 3})
SAID = [f"{WORDS[one]} {WORDS[other]} so" for one, other in zip(THREE, Y, strict=True)]
TEXTS = pd.DataFrame({"said": SAID, "n": Y})
few: dict[str, Any] = {"iterations": 4, "verbose": False, "allow_writing_files": False}


def classifier(rows: Any, labels: Any, **settings: Any) -> tuple[Any, Any]:
    return CatBoostClassifier(**few, **settings).fit(rows, labels), rows


def regressor(rows: Any, labels: Any, **settings: Any) -> tuple[Any, Any]:
    return CatBoostRegressor(**few, **settings).fit(rows, labels), rows


def early() -> tuple[Any, Any]:
    model = CatBoostClassifier(
        **{**few, "iterations": 80}, learning_rate=1.0, early_stopping_rounds=2
    )
    model.fit(X[:60], Y[:60], eval_set=(X[60:], Y[60:]))
    assert model.tree_count_ < 80
    return model, X


class Own(CatBoostClassifier):  # type: ignore[misc]
    """A subclass, which may predict something else."""


class Loss:
    """A loss of the owner's."""

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Any:
        return [(target - approx, -1.0) for approx, target in zip(approxes, targets, strict=True)]


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "binary": lambda: classifier(X, Y),
    "words": lambda: classifier(X, WORDS[THREE]),
    "two words": lambda: classifier(X, WORDS[Y]),
    "other numbers": lambda: classifier(X, np.array([10, -3, 7])[THREE]),
    "floats": lambda: classifier(X, np.array([0.5, 2.0])[Y]),
    "truths": lambda: classifier(X, Y.astype(bool)),
    "labels": lambda: classifier(X, np.column_stack([Y, THREE > 1]), loss_function="MultiLogloss"),
    "named classes": lambda: classifier(X, THREE, class_names=[2, 0, 1]),
    "early": early,
    "numbers": lambda: regressor(X, X[:, 0] * 1e9),
    "two numbers": lambda: regressor(X, X[:, :2], loss_function="MultiRMSE"),
    "poisson": lambda: regressor(X, np.abs(X[:, 0]), loss_function="Poisson"),
    "another word for it": lambda: regressor(
        X, np.abs(X[:, 0]), objective="Tweedie:variance_power=1.5"
    ),
    "uncertainty": lambda: regressor(X, X[:, 0], loss_function="RMSEWithUncertainty"),
    "rank": lambda: (CatBoostRanker(**few).fit(X, THREE, group_id=GROUPS), X),
    "scores": lambda: (catboost.CatBoost({**few, "loss_function": "Logloss"}).fit(X, Y), X),
    "sum": lambda: (catboost.sum_models([regressor(X, X[:, 0])[0], regressor(X, Y)[0]]), X),
    "missing": lambda: classifier(HOLED, Y, nan_mode="Max"),
    "float32": lambda: (regressor(X, X[:, 0])[0], X.astype("float32")),
    "whole": lambda: regressor((X * 9).astype("int64"), X[:, 0]),
    "sparse": lambda: classifier(SPARSE, Y),
    "names": lambda: classifier(NAMED, THREE),
    "categories": lambda: classifier(MIXED, WORDS[Y], cat_features=["town", "code"]),
    "categories of pandas": lambda: classifier(
        MIXED.astype({"town": "category"}), Y, cat_features=["town"]
    ),
    "texts": lambda: classifier(TEXTS, Y, text_features=["said"]),
    "scaled": lambda: scaled(*regressor(X, X[:, 0])),
}


def scaled(model: Any, rows: Any) -> tuple[Any, Any]:
    model.set_scale_and_bias(2.0, 1.0)
    return model, rows


USUAL = ("words", "categories", "poisson")


@pytest.mark.parametrize("case", some(MODELS, USUAL))
def test_a_model(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = case()
    found = check("catboost", model, rows, tmp_path, monkeypatch)
    assert found["settings"] == {"class": type(model).__name__}
    assert found["output"]["probabilities"] == hasattr(model, "predict_proba")


@pytest.mark.parametrize("case", ["words", "poisson"])
def test_a_file_without_settings_says_what_it_was(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where `copier copy` has made the scaffold."""
    model, rows = MODELS[case]()
    (tmp_path / "model").mkdir()
    model.save_model(tmp_path / "model" / "model.cbm")
    loaded = inference_model("catboost", {"file": "model.cbm"}, tmp_path, monkeypatch)
    np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))


def test_what_a_file_does_not_hold_is_pickled() -> None:
    settings = {**few, "eval_metric": "RMSE"}
    models = [
        Own(**few).fit(X, Y),
        CatBoostRegressor(**settings, loss_function=Loss()),
        CatBoostRegressor(**settings, objective=Loss()),
    ]
    assert [find(model).name for model in models] == ["sklearn"] * len(models)


def test_what_was_not_trained_is_refused() -> None:
    with pytest.raises(ModelError, match="CatBoostClassifier is not fitted: call fit"):
        CATBOOST.check(CatBoostClassifier())


def test_rows_that_catboost_refuses_are_400(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = regressor(NAMED, Y)
    _, flow = flow_of("catboost", model, None, tmp_path, monkeypatch)
    [(status, answer)] = ask(None, {"instances": [[0, 0, 0, "x"]]}, flow=flow)
    assert (status, answer["error"][:37]) == (400, "the model cannot take these instances")
    [(status, answer)] = ask(None, {"instances": [[0] * 4], "probabilities": True}, flow=flow)
    assert (status, answer["error"][:15]) == (400, '"probabilities"')


def test_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = classifier(MIXED, WORDS[Y], cat_features=["town", "code"])
    _, answer = ask_v2("catboost", model, rows, tmp_path, monkeypatch, body_rows(rows))
    [output] = [each for each in answer["outputs"] if each["name"] == "predictions"]
    assert output["data"] == model.predict(rows).tolist()


# ---- scaffolds ----


@pytest.mark.sweep
def test_a_scaffold_needs_neither_scikit_learn_nor_joblib(tmp_path: Path) -> None:
    model, rows = classifier(MIXED, WORDS[Y], cat_features=["town", "code"])
    scaffold = generator.from_model(model, tmp_path / "made", sample_input=rows)
    assert (scaffold.directory / "src/model/model.cbm").is_file()
    text = (scaffold.directory / "requirements.txt").read_text()
    assert "scikit-learn" not in text and "joblib" not in text
    assert scaffold.verify(environment="isolated")


@pytest.mark.sweep
def test_without_a_sample(tmp_path: Path) -> None:
    model, _ = classifier(X, WORDS[THREE])
    with contextlib.closing(generator.from_model(model, tmp_path / "made")) as scaffold:
        assert scaffold.predict(X)["predictions"] == model.predict(X).tolist()


# ---- files ----


def test_a_file_of_each_estimator(tmp_path: Path) -> None:
    path = tmp_path / "model.cbm"
    for case in ("words", "poisson", "rank"):
        model, rows = MODELS[case]()
        model.save_model(path)
        found = CATBOOST.read_safely(path)
        assert type(found) is type(model)
        np.testing.assert_array_equal(found.predict(rows), model.predict(rows))
        described, again = CATBOOST.describe(model, None), CATBOOST.describe(found, None)
        assert again.input == described.input is not None and again.example == described.example


@pytest.mark.parametrize("content", [b"", b"hello", b"CBM1"])
def test_a_file_of_something_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.cbm"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="model.cbm' does not hold a model that CatBoost can load"):
        CATBOOST.read_safely(path)
