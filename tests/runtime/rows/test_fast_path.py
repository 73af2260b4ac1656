"""The fast path of scikit-learn's estimators: the model's own predictions, to the last bit."""

import contextlib
import copy
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import pytest
import sklearn
from packaging.version import Version
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from common.fast_path import MOST_FEATURES, MOST_ROWS_ALONE, Boosting, FastPath, fast_path

IRIS, SPECIES = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
LENGTHS = IRIS[:, 0] * 2.5 - 7
NAMED = pandas.DataFrame(IRIS, columns=["a", "b", "c", "d d"])
DTYPES = ("float64", "float32", "int64")
Targets = Any


def forest(**settings: Any) -> RandomForestClassifier:
    return RandomForestClassifier(20, random_state=0, **settings)


TAKEN: list[tuple[Any, Targets]] = [
    (LogisticRegression(max_iter=1000), SPECIES),
    (LogisticRegression(max_iter=1000), NAMES),
    (LogisticRegression(), SPECIES == 1),
    (SGDClassifier(random_state=0), SPECIES),
    (LinearSVC(), NAMES == "setosa"),
    (LinearRegression(), LENGTHS),
    (LinearRegression(fit_intercept=False), np.column_stack([LENGTHS, -LENGTHS])),
    (Ridge(), LENGTHS),
    (RidgeCV(), LENGTHS),
    (LassoCV(cv=3), LENGTHS),
    (ElasticNet(), LENGTHS),
    (MultiTaskLasso(), np.column_stack([LENGTHS, -LENGTHS])),
    (SGDRegressor(random_state=0), LENGTHS),
    (DecisionTreeClassifier(random_state=0), NAMES),
    (DecisionTreeRegressor(random_state=0), LENGTHS),
    (ExtraTreeClassifier(random_state=0), SPECIES == 1),
    (forest(), NAMES),
    (forest(class_weight="balanced"), SPECIES == 1),
    (forest(n_jobs=2), SPECIES),
    (RandomForestRegressor(20, random_state=0), LENGTHS),
    (ExtraTreesClassifier(20, random_state=0), SPECIES),
    (ExtraTreesRegressor(20, random_state=0), LENGTHS),
    (make_pipeline(StandardScaler(), LogisticRegression()), NAMES),
    (
        make_pipeline(
            StandardScaler(with_mean=False), "passthrough", StandardScaler(with_std=False), Ridge()
        ),
        LENGTHS,
    ),
    (make_pipeline(StandardScaler(), forest()), SPECIES),
    (GridSearchCV(forest(), {"max_depth": [2, 3]}, cv=2), NAMES),
    (GridSearchCV(make_pipeline(StandardScaler(), LinearSVC()), {}, cv=2), SPECIES == 1),
]


def title(case: Any) -> str:
    return (
        type(getattr(case, "steps", [(None, case)])[-1][1]).__name__
        if isinstance(case, BaseEstimator)
        else ""
    )


def rows(count: int, dtype: str) -> Any:
    return np.random.default_rng(count).normal(2, 4, (count, IRIS.shape[1])).astype(dtype)


def in_order(model: Any) -> Any:
    """The same with one job: the order in which a forest's threads end decides on the last bits."""
    alone = copy.deepcopy(model)
    return alone.set_params(n_jobs=1) if "n_jobs" in alone.get_params() else alone


def assert_same(ours: Any, its: Any) -> None:
    assert ours.dtype == its.dtype and ours.shape == its.shape
    assert ours.tolist() == its.tolist()


def takes(fast: Any, inputs: Any) -> bool:
    return fast.scores(inputs) is not None


def may_differ(model: Any, dtype: str) -> bool:
    """Whether this scikit-learn scales float32 in another way than the fast path."""
    older = Version(sklearn.__version__) < Version("1.9")
    return older and dtype == "float32" and "StandardScaler" in repr(model)


@pytest.mark.parametrize(("model", "targets"), TAKEN, ids=title)
def test_arrays(model: Any, targets: Targets) -> None:
    model = model.fit(IRIS, targets)
    fast, alone = fast_path(model), in_order(model)
    for dtype in DTYPES:
        for count in (1, 2, 150, 300):
            inputs = rows(count, dtype)
            before = inputs.copy()
            assert takes(fast, inputs) or may_differ(model, dtype)
            assert_same(fast.predict(inputs), alone.predict(inputs))
            if hasattr(model, "predict_proba"):
                assert_same(fast.predict_proba(inputs), alone.predict_proba(inputs))
            assert (inputs == before).all()
    assert_same(fast.predict(IRIS), alone.predict(IRIS))


@pytest.mark.parametrize(("model", "targets"), TAKEN, ids=title)
def test_data_frames(model: Any, targets: Targets) -> None:
    model = model.fit(NAMED, targets)
    fast, alone = fast_path(model), in_order(model)
    for dtypes in (["float64"] * 4, ["int64"] * 4, ["float64", "int64", "float32", "int8"]):
        values = rows(50, "float64")
        frame = pandas.DataFrame(
            {name: values[:, i].astype(dtypes[i]) for i, name in enumerate(NAMED.columns)}
        )
        assert takes(fast, frame)
        assert_same(fast.predict(frame), alone.predict(frame))


def test_read_only_rows() -> None:
    inputs = rows(5, "float32")
    inputs.flags.writeable = False
    for model in (LogisticRegression(max_iter=1000), make_pipeline(StandardScaler(), forest())):
        fast = fast_path(model.fit(IRIS, SPECIES))
        assert takes(fast, inputs)
        assert_same(fast.predict(inputs), model.predict(inputs))


class MyForest(RandomForestClassifier):  # type: ignore[misc]
    def predict(self, X: Any) -> Any:
        return super().predict(X)[::-1]


NOT_TAKEN: list[tuple[Any, Targets]] = [
    (MyForest(5, random_state=0), SPECIES),
    (SVC(), SPECIES),
    (GradientBoostingClassifier(n_estimators=3), SPECIES),
    (RidgeClassifier(), SPECIES),
    (LinearDiscriminantAnalysis(), SPECIES),
    (PoissonRegressor(), LENGTHS + 10),
    (RandomForestRegressor(5), np.column_stack([LENGTHS, -LENGTHS])),
    (DecisionTreeClassifier(), np.column_stack([SPECIES, SPECIES == 1])),
    (make_pipeline(MinMaxScaler(), LogisticRegression()), SPECIES),
    (make_pipeline(StandardScaler(), SVC()), SPECIES),
]


@pytest.mark.parametrize(("model", "targets"), NOT_TAKEN, ids=title)
def test_other_estimators_stay_as_they_are(model: Any, targets: Targets) -> None:
    model = model.fit(IRIS, targets)
    assert fast_path(model) is model


UNKNOWN = "SVC is not one of the estimators that it knows"
TWO = np.column_stack([LENGTHS, -LENGTHS])
REASONS: list[tuple[Any, Targets, str]] = [
    (SVC(), SPECIES, UNKNOWN),
    (make_pipeline(StandardScaler(), SVC()), SPECIES, UNKNOWN),
    (GridSearchCV(SVC(), {}, cv=2), SPECIES, UNKNOWN),
    (MyForest(5), SPECIES, "MyForest is not a class of scikit-learn's"),
    (DecisionTreeRegressor(), TWO, "DecisionTreeRegressor has 2 outputs"),
    (
        make_pipeline(MinMaxScaler(), Ridge()),
        LENGTHS,
        "its step MinMaxScaler is not a StandardScaler",
    ),
]


@pytest.mark.parametrize(("model", "targets", "reason"), REASONS, ids=title)
def test_one_line_says_why(
    model: Any, targets: Targets, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert said(model.fit(IRIS, targets), caplog) == reason


def said(model: Any, caplog: pytest.LogCaptureFixture) -> str:
    """The reason in the one line that the log has, after some predictions too."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "common"):
        fast = fast_path(model)
        if hasattr(model, "predict"):
            with contextlib.suppress(Exception):
                fast.predict(IRIS)
                fast.predict(IRIS)
    (record,) = caplog.records
    serves = " is not computed directly, its own predict is used: "
    what, _, reason = record.getMessage().partition(serves)
    assert (what, record.levelname) == (f"fast_path: {type(model).__name__}", "INFO")
    return reason


def test_nothing_is_said_of_a_model_that_is_computed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for model in (
            LogisticRegression(max_iter=1000),
            HistGradientBoostingClassifier(max_iter=2),
        ):
            fast_path(model.fit(IRIS, SPECIES)).predict(IRIS)
    assert not caplog.records


def test_what_is_no_estimator_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    model = object()
    assert fast_path(model) is model
    assert said(model, caplog) == "object is not a class of scikit-learn's"


def test_sparse_coefficients_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    model = LogisticRegression(max_iter=1000).fit(IRIS, SPECIES).sparsify()
    assert fast_path(model) is model
    assert said(model, caplog) == "LogisticRegression has sparse coefficients"


def test_very_wide_rows_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    wide = np.random.default_rng(0).normal(size=(4, MOST_FEATURES + 1))
    model = LinearRegression().fit(wide, [1.0, 2.0, 3.0, 4.0])
    assert fast_path(model) is model
    assert (
        said(model, caplog) == f"it takes {MOST_FEATURES + 1} features, more than {MOST_FEATURES}"
    )
    assert isinstance(
        fast_path(LinearRegression().fit(wide[:, 1:], [1.0, 2.0, 3.0, 4.0])), FastPath
    )


def test_a_version_that_computes_otherwise_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in scikit-learn before 1.3: its trees hold counts, those of later ones probabilities."""
    model = forest().fit(IRIS, SPECIES)
    its: Callable[[Any, Any], Any] = RandomForestClassifier.predict_proba

    def predict_proba(self: Any, X: Any) -> Any:
        return np.nextafter(its(self, X), 2)

    monkeypatch.setattr(RandomForestClassifier, "predict_proba", predict_proba)
    assert fast_path(model) is model
    version = sklearn.__version__
    expected = f"the results differ from those of scikit-learn {version} in some bit"
    assert said(model, caplog) == expected


def test_a_version_that_fails_where_it_is_tried_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = LogisticRegression(max_iter=1000).fit(IRIS, SPECIES)
    del model.classes_
    assert fast_path(model) is model
    assert said(model, caplog).startswith("AttributeError: 'LogisticRegression' object has no")
    monkeypatch.setattr(RandomForestClassifier, "predict_proba", property(lambda self: 1 / 0))
    forests = forest().fit(IRIS, SPECIES)
    assert fast_path(forests) is forests


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e300], ids=["nan", "infinity", "beyond float32"])
def test_a_row_that_is_not_finite_goes_to_the_model(odd: float) -> None:
    inputs = IRIS[:3].copy()
    inputs[1, 2] = odd
    for model in (
        forest(),
        LogisticRegression(max_iter=1000),
        make_pipeline(StandardScaler(), Ridge(solver="svd")),
    ):
        model.fit(IRIS, SPECIES)
        assert outcome(fast_path(model), inputs) == outcome(model, inputs)


def outcome(model: Any, inputs: Any) -> Any:
    try:
        return model.predict(inputs).tolist()
    except Exception as error:
        return type(error), str(error)


def test_missing_values_that_a_forest_was_fitted_on() -> None:
    gaps = IRIS.copy()
    gaps[::7, 1] = np.nan
    model = forest().fit(gaps, SPECIES)
    fast = fast_path(model)
    assert isinstance(fast, FastPath) and not takes(fast, gaps) and takes(fast, IRIS)
    assert_same(fast.predict(gaps), model.predict(gaps))


@pytest.mark.parametrize(
    "inputs",
    [
        IRIS[:3, :2],
        IRIS[0],
        IRIS[:, :, np.newaxis],
        IRIS[:3].tolist(),
        IRIS[:3].astype("float16"),
        IRIS[:3].astype(str),
        IRIS[:3].astype(object),
        IRIS[:3] > 1,
        IRIS[:0],
        NAMED[:3],
    ],
    ids=["narrow", "flat", "deep", "list", "float16", "texts", "objects", "bool", "empty", "frame"],
)
@pytest.mark.filterwarnings("ignore:X has feature names")
def test_other_inputs_go_to_the_model(inputs: Any) -> None:
    for model in (
        forest().fit(IRIS, SPECIES),
        LogisticRegression(max_iter=1000).fit(IRIS, SPECIES),
    ):
        fast = fast_path(model)
        assert outcome(fast, inputs) == outcome(model, inputs)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_other_frames_go_to_the_model() -> None:
    model = forest().fit(NAMED, SPECIES)
    fast = fast_path(model)
    others = [
        NAMED[["b", "a", "c", "d d"]],
        NAMED[["a", "b"]],
        NAMED.rename(columns={"a": "e"}),
        NAMED.assign(a=None),
        NAMED.assign(a="x"),
        NAMED.assign(a=pandas.array([1, None] * 75, dtype="Int64")),
        IRIS,
    ]
    for other in others:
        assert not takes(fast, other)
        assert outcome(fast, other) == outcome(model, other)


def test_many_rows_of_a_forest_with_threads_are_its_own() -> None:
    many = np.tile(IRIS, (MOST_ROWS_ALONE // len(IRIS) + 1, 1))
    assert len(many) > MOST_ROWS_ALONE
    threads, alone = (
        fast_path(forest(n_jobs=2).fit(IRIS, SPECIES)),
        fast_path(forest(n_jobs=1).fit(IRIS, SPECIES)),
    )
    assert (
        takes(threads, many[:MOST_ROWS_ALONE]) and not takes(threads, many) and takes(alone, many)
    )
    assert_same(threads.predict(many), alone.predict(many))


def test_everything_else_is_the_model() -> None:
    model = LogisticRegression(max_iter=1000).fit(IRIS, SPECIES)
    fast = fast_path(model)
    assert fast.classes_ is model.classes_ and fast.get_params() == model.get_params()
    assert_same(fast.predict_proba(IRIS), model.predict_proba(IRIS))
    assert not hasattr(fast_path(LinearSVC().fit(IRIS, SPECIES)), "predict_proba")
    assert_same(copy.copy(fast).predict(IRIS), model.predict(IRIS))


def test_boosting_by_as_many_threads_as_suit_a_call() -> None:
    model = HistGradientBoostingClassifier(max_iter=5).fit(IRIS, NAMES)
    fast = fast_path(model)
    assert isinstance(fast, Boosting) and fast.classes_ is model.classes_
    for _ in range(50):
        assert_same(fast.predict(IRIS), model.predict(IRIS))
        assert_same(fast.predict_proba(IRIS), model.predict_proba(IRIS))
    regressor = HistGradientBoostingRegressor(max_iter=5).fit(NAMED, LENGTHS)
    assert_same(fast_path(regressor).predict(NAMED), regressor.predict(NAMED))
    assert not hasattr(fast_path(regressor), "predict_proba")
    assert outcome(fast, IRIS[:, :2]) == outcome(model, IRIS[:, :2])
    assert_same(copy.copy(fast).predict(IRIS), model.predict(IRIS))
