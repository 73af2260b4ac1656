"""What scikit-learn computes, without what it does around that at every call, and by no more threads than help.

An estimator looks at its input in every way in which it may be wrong before it computes, and a forest makes a job of
each of its trees: 0.08 ms for a linear model that computes for 0.002, 3 ms for a forest that computes for 0.2. The
signature in `config.yaml` has seen to most of it, and what is left is one look at all rows of a call.

The arithmetic is scikit-learn's own, operation by operation, on what it documents of its fitted estimators (`coef_`,
`tree_`), so that every bit is the same: that is tried when the model is loaded. What this does not know, and what
differs in the version that is installed, the model itself serves.
"""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .signature import Array
from .threads import Threads, openmp

DTYPES = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64))
TRIED_ROWS = 17
MOST_FEATURES = 10_000  # with more, what is left out is little beside what is computed
MOST_ROWS_ALONE = 1000  # of a forest with `n_jobs`: its threads pay with more


@dataclass(frozen=True)
class Arithmetic:
    """How an estimator predicts.

    Attributes:
        method: the estimator's method that gives the same as `scores`.
        scores: of rows [n, features].
        decide: predictions of scores.
        prepare: what each row goes through first, in order; gives what holds NaN or infinity where a row does.
        most_rows: with more, the model itself predicts.
    """

    method: str
    scores: Callable[[Array], Array]
    decide: Callable[[Array], Array]
    prepare: tuple[Callable[[Array], Array], ...] = ()
    most_rows: float = float("inf")


def fast_path(model: Any) -> Any:
    """The model, in a form that predicts the same in less time where there is one.

    There is one for linear classifiers and regressors, trees and forests with one output, as they are, behind
    StandardScaler in a pipeline, and in a search object; and for HistGradientBoosting, as it is. Every other is
    returned as it is.
    """
    try:
        if _defines(model, "predict") in BOOSTING:
            return Boosting(model, openmp())
        arithmetic = _arithmetic(model)
        if arithmetic is None or model.n_features_in_ > MOST_FEATURES:
            return model
        dtypes = _same(model, arithmetic)
    except Exception:  # a version of scikit-learn, or a model, that this does not know
        return model
    return FastPath(model, arithmetic, dtypes) if dtypes else model


class FastPath:
    """Predicts as the model does. What it does not take goes to the model itself, as does all but predicting.

    It takes arrays of the dtypes, and DataFrames of them where the model was fitted on names: as many columns as the
    model takes, none with NaN or infinity.

    Args:
        model: the fitted estimator.
        arithmetic: how it predicts.
        dtypes: of which rows can be.
    """

    def __init__(
        self, model: Any, arithmetic: Arithmetic, dtypes: frozenset[np.dtype[Any]]
    ) -> None:
        self._model = model
        self._arithmetic = arithmetic
        self._dtypes = dtypes
        self._width = int(model.n_features_in_)
        self._names = _names(model)
        if arithmetic.method == "predict_proba":
            self.predict_proba = self._predict_proba

    def __getattr__(self, name: str) -> Any:
        return _of_model(self, name)

    def predict(self, inputs: Any) -> Any:
        """One prediction a row."""
        scores = self.scores(inputs)
        return self._model.predict(inputs) if scores is None else self._arithmetic.decide(scores)

    def _predict_proba(self, inputs: Any) -> Any:
        """The probability of each class, of shape [n, classes]."""
        scores = self.scores(inputs)
        return self._model.predict_proba(inputs) if scores is None else scores

    def scores(self, inputs: Any) -> Array | None:
        """What predictions follow from; None where the rows go to the model itself."""
        rows = inputs if self._names is None else _matrix(inputs, self._names)
        if (
            type(rows) is not np.ndarray
            or rows.dtype not in self._dtypes
            or rows.shape[1:] != (self._width,)
        ):
            return None
        return (
            _computed(self._arithmetic, rows)
            if 0 < len(rows) <= self._arithmetic.most_rows
            else None
        )


class Boosting:
    """Predicts by one of HistGradientBoosting, by as many threads as suit a call: each row is computed by itself.

    Args:
        model: the fitted estimator.
        threads: those of OpenMP.
    """

    def __init__(self, model: Any, threads: Threads) -> None:
        self._model = model
        self._threads = threads
        if hasattr(model, "predict_proba"):
            self.predict_proba = self._predict_proba

    def __getattr__(self, name: str) -> Any:
        return _of_model(self, name)

    def predict(self, inputs: Any) -> Any:
        """One prediction a row."""
        with self._threads.computing(len(inputs)):
            return self._model.predict(inputs)

    def _predict_proba(self, inputs: Any) -> Any:
        """The probability of each class, of shape [n, classes]."""
        with self._threads.computing(len(inputs)):
            return self._model.predict_proba(inputs)


def _of_model(path: Any, name: str) -> Any:
    """What a fast path has of its model."""
    if name == "_model":  # not there yet: while it is being copied
        raise AttributeError(name)
    return getattr(path._model, name)  # noqa: SLF001 - a class of this module


def _computed(arithmetic: Arithmetic, rows: Array) -> Array | None:
    """The scores of rows; None where one of them holds NaN, infinity, or what does not fit."""
    with np.errstate(over="ignore", invalid="ignore"):
        for step in arithmetic.prepare:
            rows = step(rows)
    return arithmetic.scores(rows) if np.isfinite(rows).all() else None


def _matrix(frame: Any, names: list[str]) -> Any:
    """The values of a DataFrame with these columns, in one of numpy's dtypes each; else None."""
    if not hasattr(frame, "columns") or list(frame.columns) != names:
        return None
    return np.asarray(frame) if all(isinstance(dtype, np.dtype) for dtype in frame.dtypes) else None


def _names(model: Any) -> list[str] | None:
    """The names of the features; None where the model was fitted without."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else list(names)


def _same(model: Any, arithmetic: Arithmetic) -> frozenset[np.dtype[Any]]:
    """The dtypes of rows of which the arithmetic gives, to the last bit, what the model does."""
    with warnings.catch_warnings(), _in_order(arithmetic):
        warnings.simplefilter("ignore")
        return frozenset(dtype for dtype in DTYPES if _agrees(model, arithmetic, dtype))


def _agrees(model: Any, arithmetic: Arithmetic, dtype: np.dtype[Any]) -> bool:
    rows = inputs = (
        np.random.default_rng(0).normal(0, 3, (TRIED_ROWS, model.n_features_in_)).astype(dtype)
    )
    names = _names(model)
    if names is not None:
        import pandas

        inputs = pandas.DataFrame(rows, columns=names)
        rows = _matrix(inputs, names)
    scores = _computed(arithmetic, rows)
    if scores is None:
        return False
    pairs = (
        (scores, getattr(model, arithmetic.method)(inputs)),
        (arithmetic.decide(scores), model.predict(inputs)),
    )
    return all(ours.dtype == its.dtype and np.array_equal(ours, its) for ours, its in pairs)


def _in_order(arithmetic: Arithmetic) -> contextlib.AbstractContextManager[Any]:
    """Has a forest add up its trees in order: what its threads give depends on which of them ends first."""
    if arithmetic.most_rows == float("inf"):
        return contextlib.nullcontext()
    import joblib  # type: ignore[import-untyped, unused-ignore]

    backend: contextlib.AbstractContextManager[Any] = joblib.parallel_backend("sequential")
    return backend


def _arithmetic(model: Any) -> Arithmetic | None:
    """How an estimator predicts."""
    find = FINDERS.get(_defines(model, "predict"))
    return find(model) if find else None


def _defines(model: Any, method: str) -> str:
    """The class that defines a method of one of scikit-learn's own estimators, and the method; else nothing."""
    own = type(model).__module__.startswith("sklearn.")
    return str(getattr(getattr(model, method, None), "__qualname__", "")) if own else ""


def _linear_classifier(model: Any) -> Arithmetic | None:
    if _defines(
        model, "decision_function"
    ) != "LinearClassifierMixin.decision_function" or not _is_dense(model):
        return None
    coefficients, intercept, classes = model.coef_.T, model.intercept_, model.classes_

    def scores(rows: Array) -> Array:
        products: Array = rows @ coefficients + intercept
        return products.reshape(-1) if products.shape[1:] == (1,) else products

    def decide(scores: Array) -> Array:
        winners = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        predictions: Array = classes.take(winners)
        return predictions

    return Arithmetic("decision_function", scores, decide)


def _linear_regressor(model: Any) -> Arithmetic | None:
    if not _is_dense(model):
        return None
    coefficients, intercept = model.coef_.T, model.intercept_

    def scores(rows: Array) -> Array:
        predictions: Array = rows @ coefficients + intercept
        return predictions

    return Arithmetic("predict", scores, _itself)


def _is_dense(model: Any) -> bool:
    return isinstance(getattr(model, "coef_", None), np.ndarray)


def _tree(model: Any) -> Arithmetic | None:
    return _of_trees(model, model.tree_.predict)


def _forest(model: Any) -> Arithmetic | None:
    trees = [estimator.tree_ for estimator in model.estimators_]

    def mean(rows: Array) -> Array:
        first: Array = trees[0].predict(rows)
        total = np.zeros_like(first)  # as scikit-learn does: a first -0.0 becomes 0.0
        total += first
        for tree in trees[1:]:
            total += tree.predict(rows)
        total /= len(trees)
        return total

    arithmetic = _of_trees(model, mean)
    alone = model.n_jobs in (None, 1)
    return (
        arithmetic
        if arithmetic is None or alone
        else replace(arithmetic, most_rows=MOST_ROWS_ALONE)
    )


def _of_trees(model: Any, values: Callable[[Array], Array]) -> Arithmetic | None:
    """
    Args:
        values: of rows, what the leaves hold: the probability of each class, or one number.
    """
    if model.n_outputs_ != 1:
        return None
    if not hasattr(model, "classes_"):
        return Arithmetic("predict", lambda rows: values(rows)[:, 0], _itself, (_to_float32,))
    classes = model.classes_
    return Arithmetic(
        "predict_proba", values, lambda scores: classes.take(scores.argmax(axis=1)), (_to_float32,)
    )


def _pipeline(model: Any) -> Arithmetic | None:
    steps = [step for _, step in model.steps[:-1] if step not in (None, "passthrough")]
    arithmetic = _arithmetic(model.steps[-1][1])
    if arithmetic is None or not all(
        _defines(step, "transform") == "StandardScaler.transform" for step in steps
    ):
        return None
    return replace(arithmetic, prepare=(*map(_scaling, steps), *arithmetic.prepare))


def _scaling(scaler: Any) -> Callable[[Array], Array]:
    mean, scale = (
        scaler.mean_ if scaler.with_mean else None,
        scaler.scale_ if scaler.with_std else None,
    )

    def scaled(rows: Array) -> Array:
        rows = rows.astype(rows.dtype if rows.dtype.kind == "f" else np.float64)  # always a copy
        if mean is not None:
            rows -= mean.astype(rows.dtype, copy=False)
        if scale is not None:
            rows /= scale.astype(rows.dtype, copy=False)
        return rows

    return scaled


def _search(model: Any) -> Arithmetic | None:
    return _arithmetic(model.best_estimator_)


def _to_float32(rows: Array) -> Array:
    return rows.astype(np.float32, copy=False)


def _itself(scores: Array) -> Array:
    return scores


FINDERS: dict[str, Callable[[Any], Arithmetic | None]] = {
    "LinearClassifierMixin.predict": _linear_classifier,
    "LinearModel.predict": _linear_regressor,
    "MultiOutputLinearModel.predict": _linear_regressor,
    "Ridge.predict": _linear_regressor,
    "RidgeCV.predict": _linear_regressor,
    "BaseSGDRegressor.predict": _linear_regressor,
    "BaseDecisionTree.predict": _tree,
    "ForestClassifier.predict": _forest,
    "ForestRegressor.predict": _forest,
    "Pipeline.predict": _pipeline,
    "BaseSearchCV.predict": _search,
}
BOOSTING = ("HistGradientBoostingClassifier.predict", "HistGradientBoostingRegressor.predict")
