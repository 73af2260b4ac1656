"""Results of statsmodels, served without the data of training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import generator
from generator import ModelError
from support.models.later import Later

sm, smf = Later("statsmodels.api"), Later("statsmodels.formula.api")
rng = np.random.default_rng(0)
X = np.column_stack([np.ones(60), rng.normal(size=(60, 2))])
Y = X @ [1.0, 2.0, -1.0] + rng.normal(size=60)
UP = (np.median(Y) < Y).astype(int)
TABLE = pd.DataFrame(
    {"size": X[:, 1], "city": np.where(X[:, 2] > 0, "Graz", "Linz"), "y": Y, "up": UP}
)
COLUMNS = ["size", "city"]


def test_results_are_served_without_the_data_of_training(
    make: Callable[..., generator.Scaffold],
) -> None:
    """Without a sample too, and the results in memory keep theirs."""
    fitted = sm.OLS(Y, X).fit()
    scaffold = make(fitted)
    assert scaffold.framework == "statsmodels"
    assert scaffold.predict(X[:3]) == {"predictions": fitted.predict(X[:3]).tolist()}
    stored = (scaffold.directory / "src" / "model" / "model.pickle").read_bytes()
    assert Y[:1].tobytes() not in stored and fitted.model.endog is not None


def test_what_predicts_no_rows_is_refused(tmp_path: Path) -> None:
    fitted = sm.tsa.ARIMA(Y, order=(1, 0, 0)).fit()
    with pytest.raises(ModelError, match="predicts no rows: its predict takes start, end"):
        generator.from_model(fitted, tmp_path / "made")


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("fit", "sample"),
    [
        (lambda: sm.OLS(Y, X).fit(), X[:5]),
        (lambda: sm.RLM(Y, X).fit(), X[:5]),
        (lambda: sm.GLM(UP, X, family=sm.families.Binomial()).fit(), X[:5]),
        (lambda: sm.MNLogit(UP + (X[:, 1] > 0), X).fit(disp=0), X[:5]),
        (lambda: smf.ols("y ~ size * city", TABLE).fit(), TABLE[COLUMNS].head()),
        (lambda: smf.logit("up ~ np.exp(size)", TABLE).fit(disp=0), TABLE[["size"]].head()),
        (lambda: smf.quantreg("y ~ size", TABLE).fit(q=0.5), TABLE[["size"]].head()),
        (lambda: smf.poisson("up ~ size", TABLE).fit(disp=0), TABLE[["size"]].head()),
    ],
    ids=["ols", "rlm", "glm", "mnlogit", "formula", "function", "quantile", "poisson"],
)
def test_every_kind_answers_as_in_memory(
    make: Callable[..., generator.Scaffold], fit: Any, sample: Any
) -> None:
    """from_model compares."""
    assert make(fit(), sample_input=sample).verify()


@pytest.mark.sweep
def test_a_missing_value_and_a_new_text_are_answered(
    make: Callable[..., generator.Scaffold],
) -> None:
    scaffold = make(smf.ols("y ~ size + city", TABLE).fit(), sample_input=TABLE[COLUMNS].head())
    assert scaffold.predict([{"size": None, "city": "Graz"}]) == {"predictions": [None]}
    with pytest.raises(
        generator.ServingError,
        match="answered 400: the model cannot take these instances: Error converting data",
    ):
        scaffold.predict([{"size": 1.0, "city": "Wien"}])
