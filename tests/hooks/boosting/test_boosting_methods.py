"""Other methods of boosted trees than `predict`, and what a request may set of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import pytest
import xgboost

import generator
from generator.errors import SettingError
from generator.hooks import find
from generator.rows.body import body_rows
from support.models.boosted import THREE, X, Y, answered, sent
from support.servers.unrendered import flow_of

PROBABILITIES = "predict_proba"
cat: dict[str, Any] = {"iterations": 3, "verbose": False, "allow_writing_files": False}
light: dict[str, Any] = {"n_estimators": 3, "verbose": -1}

Answer = Callable[[Any, Any], Any]
# A model, `method`, `parameters`, the parameters of a request, and what the model in memory gives.
Case = tuple[Callable[[], Any], Any, Any, dict[str, Any], Answer]


def booster() -> Any:
    return xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, Y), 3)


def light_booster() -> Any:
    return lightgbm.train({"objective": "binary", **light}, lightgbm.Dataset(X, Y))


def both(model: Any, rows: Any) -> Any:
    labels, odds = sent(model.predict(rows)), sent(model.predict_proba(rows))
    return [{"predict": label, PROBABILITIES: row} for label, row in zip(labels, odds, strict=True)]


CASES: dict[str, Case] = {
    "xgboost's probabilities": (
        lambda: xgboost.XGBClassifier(n_estimators=3).fit(X, THREE),
        PROBABILITIES,
        None,
        {},
        lambda model, rows: model.predict_proba(rows),
    ),
    "xgboost's leaves": (
        lambda: xgboost.XGBRegressor(n_estimators=3).fit(X, X[:, 0]),
        "apply",
        {"iteration_range": None},
        {"iteration_range": [0, 2]},
        lambda model, rows: model.apply(rows, iteration_range=(0, 2)),
    ),
    "xgboost's booster": (
        booster,
        None,
        ["pred_contribs"],
        {"pred_contribs": True},
        lambda model, rows: model.predict(xgboost.DMatrix(rows), pred_contribs=True),
    ),
    "xgboost's booster as usual": (
        booster,
        "predict",
        ["output_margin"],
        {},
        lambda model, rows: model.predict(xgboost.DMatrix(rows)),
    ),
    "lightgbm's probabilities": (
        lambda: lightgbm.LGBMClassifier(**light).fit(X, Y),
        PROBABILITIES,
        None,
        {},
        lambda model, rows: model.predict_proba(rows),
    ),
    "lightgbm's scores": (
        lambda: lightgbm.LGBMClassifier(**light).fit(X, THREE),
        None,
        ["raw_score", "num_iteration"],
        {"raw_score": True, "num_iteration": 2},
        lambda model, rows: model.predict(rows, raw_score=True, num_iteration=2),
    ),
    "lightgbm's both": (
        lambda: lightgbm.LGBMClassifier(**light).fit(X, Y),
        ["predict", PROBABILITIES],
        None,
        {},
        both,
    ),
    "lightgbm's booster": (
        light_booster,
        None,
        ["pred_leaf"],
        {"pred_leaf": True},
        lambda model, rows: model.predict(rows, pred_leaf=True),
    ),
    "catboost's both": (
        lambda: catboost.CatBoostClassifier(**cat).fit(X, THREE),
        ["predict", PROBABILITIES],
        None,
        {},
        both,
    ),
    "catboost's values": (
        lambda: catboost.CatBoostClassifier(**cat).fit(X, Y),
        None,
        ["prediction_type"],
        {"prediction_type": "RawFormulaVal"},
        lambda model, rows: model.predict(rows, prediction_type="RawFormulaVal"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_methods_of_the_model_in_memory(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, method, parameters, asked, expected = case
    model = make()
    definition = find(model)
    assert definition.name != "sklearn"
    _, flow = flow_of(
        definition.name, model, X, tmp_path, monkeypatch, method=method, parameters=parameters
    )
    request = {"instances": body_rows(X[:5]), **({"parameters": asked} if asked else {})}
    assert answered(flow, request)["predictions"] == sent(expected(model, X[:5]))


@pytest.mark.parametrize(
    ("make", "method", "parameters", "message"),
    [
        (booster, "inplace_predict", None, "a Booster of XGBoost answers with 'predict'"),
        (light_booster, "refit", None, "a Booster of LightGBM answers with 'predict'"),
        (
            lambda: lightgbm.LGBMClassifier(**light).fit(X, Y),
            ["predict", "score"],
            None,
            "method 'score': a LGBMClassifier of LightGBM answers with 'predict', 'predict_proba'",
        ),
        (
            lambda: catboost.CatBoostRegressor(**cat).fit(X, X[:, 0]),
            PROBABILITIES,
            None,
            "CatBoostRegressor has no such method",
        ),
        (booster, None, ["margin"], "'margin' is no parameter of 'predict'"),
    ],
)
def test_what_cannot_answer_is_refused(
    make: Callable[[], Any], method: Any, parameters: Any, message: str
) -> None:
    model = make()
    with pytest.raises(SettingError, match=message):
        find(model).answering(model, method, parameters)


@pytest.mark.sweep
@pytest.mark.parametrize("case", ["xgboost's leaves", "lightgbm's both", "catboost's both"])
def test_a_scaffold(case: str, tmp_path: Path) -> None:
    make, method, parameters, _, _ = CASES[case]
    model = make()
    scaffold = generator.from_model(
        model, tmp_path / "made", method=method, parameters=parameters, sample_input=X
    )
    assert scaffold.verify(environment="isolated")
