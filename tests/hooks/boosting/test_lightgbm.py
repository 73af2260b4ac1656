"""Models of LightGBM, saved as its text: the answers are those in memory, to the last bit."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from lightgbm import Booster, Dataset, LGBMClassifier, LGBMRanker, LGBMRegressor

import generator
from generator import ModelError
from generator.hooks import by_name, find
from generator.rows.body import body_rows
from support.models.boosted import FRAME, GROUPS, HOLED, THREE, X, Y, check, some
from support.servers.flows import ask
from support.servers.unrendered import ask_v2, flow_of, inference_model

pytestmark = pytest.mark.sweep

LIGHTGBM = by_name("lightgbm")
SPARSE = scipy.sparse.random(90, 4, 0.4, "csr", random_state=0)
NAMED = pd.DataFrame(X, columns=["a b", "c", "größe", "d"])
WORDS = np.array(["nein", "ja", "vielleicht"])
few: dict[str, Any] = {"n_estimators": 4, "min_child_samples": 2, "verbose": -1}


def train(rows: Any, labels: Any = Y, **settings: Any) -> Booster:
    return lightgbm.train({**few, **settings}, Dataset(rows, labels))


def early(kind: Any) -> Any:
    """An estimator that has stopped before its last round."""
    model = kind(**{**few, "n_estimators": 60}, learning_rate=1.0)
    stop = [lightgbm.early_stopping(2, verbose=False)]
    model.fit(X[:60], Y[:60], eval_X=(X[60:],), eval_y=(Y[60:],), callbacks=stop)
    assert 0 < model.best_iteration_ < 60
    return model


def unfinished(rows: Any) -> Booster:
    """A booster that may be trained further, with trees after the best one."""
    parts = [Dataset(rows[:60], Y[:60])]
    parts.append(Dataset(rows[60:], Y[60:], reference=parts[0]))
    settings = {**few, "num_iterations": 60, "learning_rate": 1.0}
    del settings["n_estimators"]
    stop = [lightgbm.early_stopping(2, verbose=False)]
    booster = lightgbm.train(
        settings, parts[0], valid_sets=parts[1:], callbacks=stop, keep_training_booster=True
    )
    assert 0 < booster.best_iteration < booster.num_trees()
    return booster


def loss(labels: Any, predictions: Any) -> Any:
    return predictions - labels, np.ones_like(labels)


class Own(LGBMClassifier):  # type: ignore[misc]
    """A subclass, which may predict something else."""


def classifier(rows: Any, labels: Any, **settings: Any) -> tuple[Any, Any]:
    return LGBMClassifier(**few, **settings).fit(rows, labels), rows


def regressor(rows: Any, labels: Any, **settings: Any) -> tuple[Any, Any]:
    return LGBMRegressor(**few, **settings).fit(rows, labels), rows


ESTIMATORS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "binary": lambda: classifier(X, Y, n_jobs=1),
    "words": lambda: classifier(X, WORDS[THREE]),
    "words of pandas": lambda: classifier(X, pd.Series(WORDS[Y]).astype("category")),
    "other numbers": lambda: classifier(X, np.array([10, -3, 7])[THREE]),
    "floats": lambda: classifier(X, np.array([1.0, 2.0])[Y]),
    "truths": lambda: classifier(X, Y.astype(bool)),
    "one class": lambda: classifier(X, np.zeros(90, int)),
    "two of several": lambda: classifier(X, Y, objective="multiclass", num_class=2),
    "one against all": lambda: classifier(X, THREE, objective="multiclassova"),
    "early": lambda: (early(LGBMClassifier), X),
    "early numbers": lambda: (early(LGBMRegressor), X),
    "ended early": lambda: classifier(X, THREE, pred_early_stop=True, pred_early_stop_freq=1),
    "numbers": lambda: regressor(X, X[:, 0] * 1e9),
    "linear trees": lambda: regressor(X, X[:, 0], linear_tree=True),
    "poisson": lambda: regressor(X, np.abs(X[:, 0]), objective="poisson"),
    "dart": lambda: classifier(X, Y, boosting_type="dart"),
    "forest": lambda: classifier(
        X, Y, boosting_type="rf", subsample=0.7, subsample_freq=1, n_jobs=2
    ),
    "rank": lambda: (LGBMRanker(**few).fit(X, THREE, group=np.bincount(GROUPS)), X),
    "missing": lambda: classifier(HOLED, Y),
    "zero is missing": lambda: classifier(X.round(), Y, zero_as_missing=True),
    "float32": lambda: (regressor(X, X[:, 0])[0], X.astype("float32")),
    "whole": lambda: regressor((X * 9).astype("int64"), X[:, 0]),
    "sparse": lambda: classifier(SPARSE, Y),
    "sparse columns": lambda: classifier(SPARSE.tocsc(), Y),
    "names": lambda: classifier(NAMED, THREE),
    "categories": lambda: classifier(FRAME, WORDS[THREE]),
}
BOOSTERS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "probabilities": lambda: (train(X, objective="binary"), X),
    "classes": lambda: (train(X, THREE, objective="multiclass", num_class=3), X),
    "names": lambda: (train(NAMED), NAMED),
    "categories": lambda: (train(FRAME), FRAME),
    "sparse": lambda: (train(SPARSE), SPARSE),
    "missing": lambda: (train(HOLED), HOLED),
    "float32": lambda: (train(X), X.astype("float32")),
    "its own loss": lambda: (train(X, objective=lambda p, d: loss(d.get_label(), p)), X),
    "of an estimator": lambda: (early(LGBMRegressor).booster_, X),
    "unfinished": lambda: (unfinished(X), X),
    "unfinished, categories": lambda: (unfinished(FRAME), FRAME),
}
USUAL = ("words", "categories", "probabilities")


@pytest.mark.parametrize("case", some(ESTIMATORS, USUAL))
def test_an_estimator(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = case()
    found = check("lightgbm", model, rows, tmp_path, monkeypatch)
    is_classifier = isinstance(model, LGBMClassifier)
    assert found["output"]["probabilities"] == ("classes" in found["settings"]) == is_classifier
    assert found["output"]["dtype"] == str(np.asarray(model.predict(rows)).dtype)


@pytest.mark.parametrize("case", some(BOOSTERS, USUAL))
def test_a_booster(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    booster, rows = case()
    found = check("lightgbm", booster, rows, tmp_path, monkeypatch)
    shape = list(booster.predict(rows).shape[1:])
    assert found["output"] == {"kind": "array", "shape": shape, "dtype": "float64"}


def test_a_booster_is_whole_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the trees after the best one too."""
    booster = unfinished(X)
    (tmp_path / "model").mkdir()
    file = LIGHTGBM.serialize_model_to_directory(booster, tmp_path / "model")
    facts = {"file": file.name, **LIGHTGBM.facts(booster)}
    loaded = inference_model("lightgbm", facts, tmp_path, monkeypatch)
    assert loaded.best_iteration == booster.best_iteration > 0
    assert loaded.num_trees() == booster.num_trees() > booster.best_iteration


def test_what_a_file_does_not_hold_is_pickled() -> None:
    models = [
        Own(**few).fit(X, Y),
        LGBMRegressor(**few, objective=loss).fit(X, Y),
        LGBMRegressor(**few, objective=loss),
        LGBMClassifier(**few).fit(X, pd.to_datetime(["2024-01-01", "2024-01-02"]).to_numpy()[Y]),
    ]
    assert [find(model).name for model in models] == ["sklearn"] * len(models)


def test_what_was_not_trained_is_refused() -> None:
    with pytest.raises(ModelError, match="Booster is not trained: pass what lightgbm.train"):
        LIGHTGBM.check(Booster({"verbose": -1}, Dataset(X, Y)))
    with pytest.raises(ModelError, match="LGBMClassifier is not fitted"):
        LIGHTGBM.check(LGBMClassifier())


def test_rows_that_lightgbm_refuses_are_400(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, flow = flow_of("lightgbm", train(NAMED), None, tmp_path, monkeypatch)
    [(status, answer)] = ask(None, {"instances": [[0, 0, 0, "x"]]}, flow=flow)
    assert (status, answer["error"][:37]) == (400, "the model cannot take these instances")
    [(status, answer)] = ask(None, {"instances": [[0] * 4], "probabilities": True}, flow=flow)
    assert (status, answer["error"][:15]) == (400, '"probabilities"')


def test_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = classifier(NAMED, WORDS[THREE])
    _, answer = ask_v2("lightgbm", model, NAMED, tmp_path, monkeypatch, body_rows(NAMED))
    [output] = [each for each in answer["outputs"] if each["name"] == "predictions"]
    assert output["data"] == model.predict(NAMED).tolist()


# ---- scaffolds ----


@pytest.mark.sweep
def test_a_scaffold_needs_no_scikit_learn(tmp_path: Path) -> None:
    model, _ = classifier(FRAME, WORDS[THREE])
    scaffold = generator.from_model(model, tmp_path / "made", sample_input=FRAME)
    assert (scaffold.directory / "src/model/model.txt").is_file()
    text = (scaffold.directory / "requirements.txt").read_text()
    assert "scikit-learn" not in text and "joblib" not in text
    assert scaffold.verify(environment="isolated")


@pytest.mark.sweep
def test_without_a_sample(tmp_path: Path) -> None:
    model, _ = classifier(X, THREE)
    with contextlib.closing(generator.from_model(model, tmp_path / "made")) as scaffold:
        assert scaffold.predict(X)["predictions"] == model.predict(X).tolist()


# ---- files ----


def test_a_file(tmp_path: Path) -> None:
    booster = train(X)
    booster.save_model(tmp_path / "model.txt")
    found = LIGHTGBM.read_safely(tmp_path / "model.txt")
    np.testing.assert_array_equal(found.predict(X), booster.predict(X))


@pytest.mark.parametrize("content", ["", "hello", '{"tree": 1}', "tree of life", "tree\n"])
def test_a_file_of_something_else(content: str, tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text(content)
    with pytest.raises(ModelError, match="model.txt' does not hold a model that LightGBM can load"):
        LIGHTGBM.read_safely(path)
