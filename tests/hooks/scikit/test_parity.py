"""A scaffold answers exactly what its model predicts: in `scaffold.predict` and over HTTP."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

import generator
from common.bodies import json_encode
from generator.environment.venvs import server_python
from generator.hooks import by_name
from generator.rows.body import rows
from generator.running.comparison import compare
from support.models.estimators import fitted, instances, with_predict
from support.rendering.checkouts import ROOT
from support.servers.flows import ask
from support.servers.running import LOCKS, free_port, until
from support.servers.unrendered import flow_of

# Estimators that a scaffold does not serve exactly, or that no plain dataset suits: name -> reason.
# The sweep fails if one of them is served exactly.
EXCEPTIONS: dict[str, str] = {}


class WarmServer:
    """Serves one scaffold after another."""

    def __init__(self) -> None:
        environ = {**os.environ, "MODEL_PYTHON": sys.executable, "GRPC_PORT": "0"}
        command = [
            str(server_python(LOCKS["kserve"])),
            str(ROOT / "tests" / "support" / "programs" / "warm_server.py"),
        ]
        self._process = subprocess.Popen(
            command,
            env=environ,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self, directory: Path) -> "Served":
        """Start to serve. The server is not ready yet."""
        port = free_port()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(directory.resolve()), port]) + "\n")
        self._process.stdin.flush()
        return Served(f"http://127.0.0.1:{port}/v1/models/model", int(self._line()), self)

    def ended(self) -> int:
        """The exit status of the server that was started last."""
        return int(self._line())

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class Served:
    """A server that was started."""

    def __init__(self, url: str, pid: int, warm: WarmServer) -> None:
        self._url = url
        self._pid = pid
        self._warm = warm

    def predictions(self, X: Any) -> Any:
        until(self._ready, "the server is ready")
        headers = {"Content-Type": "application/json"}
        body = json_encode({"instances": rows(X)})
        answer = httpx.post(
            f"{self._url}:predict", content=body, headers=headers, timeout=60, trust_env=False
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]

    def stop(self) -> None:
        os.kill(self._pid, signal.SIGINT)
        assert self._warm.ended() == 0

    def _ready(self) -> bool:
        try:
            return httpx.get(self._url, timeout=60, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmServer]:
    server = WarmServer()
    yield server
    server.close()


def check(model: Any, X: Any, warm: WarmServer, directory: Path) -> None:
    """scaffold.predict and the server answer what the model predicts, to the last bit."""
    expected = by_name("sklearn").predict(model, X)
    scaffold = generator.from_model(model, directory, sample_input=sample_of(X))
    served = warm.start(directory)  # it loads the model while scaffold.predict's worker does too
    try:
        assert compare(expected, scaffold.predict(X)["predictions"]).difference is None
        assert compare(expected, served.predictions(X)).difference is None
    finally:
        scaffold.close()
        served.stop()


def sample_of(X: Any) -> Any:
    """A row if only a sample tells the dtype, else None."""
    return X[:1] if getattr(X, "dtype", None) == np.float32 else None


Case = tuple[Any, Any]


def _logistic_regression() -> Case:
    X, y = load_iris(return_X_y=True)
    return LogisticRegression(max_iter=1000).fit(X, y), X


def _forest_of_texts() -> Case:
    X, y = load_iris(return_X_y=True)
    return RandomForestClassifier(20, random_state=0).fit(
        X, np.array(["setosa", "versicolor", "virginica"])[y]
    ), X


def _pipeline() -> Case:
    X, y = load_iris(return_X_y=True)
    return make_pipeline(StandardScaler(), SVC()).fit(X, y.astype(bool)), X


def _frame() -> Case:
    X, y = load_iris(return_X_y=True, as_frame=True)
    X = X.assign(where=np.array(["hill", "lake", "bog"])[np.arange(len(X)) % 3])
    columns = make_column_transformer((OneHotEncoder(), ["where"]), remainder="passthrough")
    return make_pipeline(columns, LinearRegression()).fit(X, y), X


def _search() -> Case:
    X, y = load_iris(return_X_y=True)
    return GridSearchCV(LogisticRegression(max_iter=1000), {"C": [0.1, 1.0]}, cv=2).fit(X, y), X


def _outputs() -> Case:
    X, y = load_iris(return_X_y=True)
    return MultiOutputClassifier(LogisticRegression(max_iter=1000)).fit(
        X, np.column_stack([y, y % 2])
    ), X


def _numbers_of_outputs() -> Case:
    X, y = load_iris(return_X_y=True)
    return KNeighborsRegressor().fit(X, np.column_stack([y, X[:, 0]])), X


def _missing_values() -> Case:
    X, y = load_iris(return_X_y=True)
    X[::7, 1] = np.nan
    return HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(X, y), X


def _single_precision() -> Case:
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    return MLPRegressor(hidden_layer_sizes=(8,), random_state=0, max_iter=50).fit(
        X, y.astype(np.float32)
    ), X


def _clusters() -> Case:
    X, _ = load_iris(return_X_y=True)
    return KMeans(3, n_init=1, random_state=0).fit(X), X


def _outliers() -> Case:
    X, _ = load_iris(return_X_y=True)
    return FrozenEstimator(IsolationForest(n_estimators=20, random_state=0).fit(X)), X


def _texts() -> Case:
    X = ["a good day", "what a bad day", "good", "bad, bad"] * 5
    return make_pipeline(TfidfVectorizer(), MultinomialNB()).fit(
        X, ["+", "-", "+", "-"] * 5
    ), pd.Series(X)


USUAL = [_frame]
# test_generator.py has the like of most, without a server.
SWEPT = [
    _logistic_regression,
    _forest_of_texts,
    _missing_values,
    _single_precision,
    _texts,
    _pipeline,
    _search,
    _outputs,
    _numbers_of_outputs,
    _clusters,
    _outliers,
]


@pytest.mark.parametrize(
    "case",
    [*USUAL, *(pytest.param(case, marks=pytest.mark.sweep) for case in SWEPT)],
    ids=lambda case: case.__name__.strip("_"),
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:requests may be refused:UserWarning")  # without a sample
def test_a_dozen_models_are_served_exactly(
    case: Callable[[], Case], warm: WarmServer, tmp_path: Path
) -> None:
    check(*case(), warm, tmp_path / "scaffold")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "estimator" in metafunc.fixturenames:
        marks = {name: [pytest.mark.xfail(reason=reason)] for name, reason in EXCEPTIONS.items()}
        found = with_predict(metafunc.config)
        assert not found or found.keys() >= EXCEPTIONS.keys()
        estimators = [
            pytest.param(estimator, id=name, marks=marks.get(name, []))
            for name, estimator in found.items()
        ]
        metafunc.parametrize("estimator", estimators)


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_every_estimator_is_served_exactly(
    estimator: type[BaseEstimator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the worker's code, in this process: their scaffolds differ in the model's file alone."""
    for number, made in enumerate(instances(estimator)):
        model, X = fitted(made)
        directory = tmp_path / str(number)
        directory.mkdir()
        _, flow = flow_of("sklearn", model, sample_of(X), directory, monkeypatch)
        [(status, answer)] = ask(None, {"instances": rows(X)}, flow=flow)
        assert status == 200, answer
        expected = by_name("sklearn").predict(model, X)
        assert compare(expected, answer["predictions"]).difference is None
