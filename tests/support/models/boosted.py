"""Whether a scaffold of a booster or of an estimator answers what it predicts, to the last bit."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.bodies import json_encode
from generator.hooks import find
from generator.rows import arrays
from generator.rows.body import body_rows
from support.servers.flows import ask
from support.servers.unrendered import flow_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(90, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
THREE = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)
GROUPS = np.arange(90) // 9
HOLED = np.where(RANDOM.random(X.shape) < 0.3, np.nan, X)
FRAME = pd.DataFrame(
    {
        "a": HOLED[:, 0],
        "kind": pd.Categorical(RANDOM.choice(["x", "y", "z"], len(X))),
        "code": pd.Categorical(RANDOM.choice([3, 1, 7], len(X))),
    }
)
Predict = Callable[[Any], Any]


def sent(values: Any) -> Any:
    """As a client reads it."""
    return json.loads(json_encode(values))


def check(
    framework: str,
    model: Any,
    sample: Any,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    predict: Predict | None = None,
) -> dict[str, Any]:
    """Compare the answers for all rows of a sample, for one, and the probabilities.

    Returns:
        What `config.yaml` has of the model's settings and of its output.
    """
    predict = predict or model.predict
    assert find(model).name == framework
    config, flow = flow_of(framework, model, sample, directory, monkeypatch)
    for rows in (sample, arrays.first(sample)):
        request: dict[str, Any] = {"instances": body_rows(rows)}
        assert answered(flow, request)["predictions"] == sent(predict(rows))
        if hasattr(model, "predict_proba"):
            answer = answered(flow, {**request, "probabilities": True})
            assert answer["predictions"] == sent(predict(rows))
            assert answer["probabilities"] == sent(model.predict_proba(rows))
    document = config.as_document()["model_metadata"]["model"]
    return {"settings": document["settings"], "output": document["output"]}


def answered(flow: Any, request: dict[str, Any]) -> Any:
    [(status, answer)] = ask(None, request, flow=flow)
    assert status == 200, answer
    return answer


def some(cases: Any, usual: Collection[str]) -> list[Any]:
    """Cases as parameters: the usual ones, and the others in the sweep."""
    return [
        pytest.param(case, id=name, marks=[] if name in usual else pytest.mark.sweep)
        for name, case in cases.items()
    ]
