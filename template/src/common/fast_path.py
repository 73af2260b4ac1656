"""Predictions of scikit-learn's estimators without their overhead, equal to the last bit.

An estimator validates its input on every call, and a forest starts a job for each of its trees.
That takes a linear model 0.08 ms for 0.002 ms of arithmetic, and a forest 3 ms for 0.2 ms. Here
the signature in `config.yaml` has already validated most of it. One check of all rows is left.

The arithmetic is scikit-learn's own, operation by operation, on documented attributes of fitted
estimators (`coef_`, `tree_`). It is compared with the model when the model is loaded. A model for
which it differs, or which this module does not know, predicts by itself.
"""

import contextlib
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .rows.arrays import Array
from .threads import Threads, openmp

logger = logging.getLogger(__name__)

DTYPES = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64))
TRIED_ROWS = 17
MOST_FEATURES = 10_000  # with more, the overhead is small compared with the arithmetic
COPYING = ("__getstate__", "__setstate__", "__copy__", "__deepcopy__")
MOST_ROWS_ALONE = 1000  # of a forest with `n_jobs`: with more, its threads are faster


class Unsuited(Exception):
    """The reason why a model predicts by itself."""


@dataclass(frozen=True)
class Arithmetic:
    """How an estimator predicts.

    Attributes:
        method: the estimator's method that returns the same as `scores`.
        scores: the scores of rows of shape [n, features].
        decide: the predictions for scores.
        prepare: steps that change the rows first, in order. NaN and infinity in a row stay in it.
        most_rows: the model itself predicts for more rows than this.
    """

    method: str
    scores: Callable[[Array], Array]
    decide: Callable[[Array], Array]
    prepare: tuple[Callable[[Array], Array], ...] = ()
    most_rows: float = float("inf")


def fast_path(model: Any) -> Any:
    """The model in a form that predicts the same in less time, or the model as it is.

    It takes linear classifiers and regressors, trees and forests with one output. They may be
    behind StandardScaler in a pipeline, or in a search object. It also takes HistGradientBoosting.
    For any other model, one line in the log gives the reason.
    """
    try:
        return _faster(model)
    except Unsuited as error:
        reason = str(error)
    except Exception as error:  # a version of scikit-learn, or a model, that this does not know
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    name = type(model).__name__
    logger.info("fast_path: %s is not computed directly, its own predict is used: %s", name, reason)
    return model


def _faster(model: Any) -> Any:
    if _defines(model, "predict") in BOOSTING:
        return Boosting(model, openmp())
    arithmetic = _arithmetic(model)
    if model.n_features_in_ > MOST_FEATURES:
        raise Unsuited(f"it takes {model.n_features_in_} features, more than {MOST_FEATURES}")
    return FastPath(model, arithmetic, _same(model, arithmetic))


class FastPath:
    """Predicts as the model does. Other inputs and other attributes go to the model itself.

    It takes arrays of shape [n, features] in one of the dtypes, without NaN or infinity. If the
    model was fitted on names, it takes DataFrames of such columns instead.

    Args:
        model: the fitted estimator.
        arithmetic: how it predicts.
        dtypes: the dtypes that rows may have.
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
        if scores is None:
            return self._model.predict(inputs)
        return self._arithmetic.decide(scores)

    def _predict_proba(self, inputs: Any) -> Any:
        """The probability of each class, of shape [n, classes]."""
        scores = self.scores(inputs)
        if scores is None:
            return self._model.predict_proba(inputs)
        return scores

    def scores(self, inputs: Any) -> Array | None:
        """The scores of the rows; None if the rows go to the model itself."""
        rows = inputs
        if self._names is not None:
            rows = _matrix(inputs, self._names)
        if type(rows) is not np.ndarray or rows.dtype not in self._dtypes:
            return None
        if rows.shape[1:] != (self._width,) or not 0 < len(rows) <= self._arithmetic.most_rows:
            return None
        return _computed(self._arithmetic, rows)


class Boosting:
    """HistGradientBoosting with as many threads as suit a call. The result does not depend on them.

    Args:
        model: the fitted estimator.
        threads: OpenMP's threads.
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
    """An attribute of the model of a fast path.

    A copy has no model yet while it is made, and is not made as the model's own copies are.
    """
    if name == "_model" or name in COPYING:
        raise AttributeError(name)
    return getattr(path._model, name)  # noqa: SLF001 - a class of this module


def _computed(arithmetic: Arithmetic, rows: Array) -> Array | None:
    """The scores of rows; None if a value is NaN, infinity, or too large after `prepare`."""
    with np.errstate(over="ignore", invalid="ignore"):
        for step in arithmetic.prepare:
            rows = step(rows)
    if not np.isfinite(rows).all():
        return None
    return arithmetic.scores(rows)


def _matrix(frame: Any, names: list[str]) -> Any:
    """The values of a DataFrame with exactly these columns, all of numpy's dtypes; else None."""
    if not hasattr(frame, "columns") or list(frame.columns) != names:
        return None
    if not all(isinstance(dtype, np.dtype) for dtype in frame.dtypes):
        return None
    return np.asarray(frame)


def _names(model: Any) -> list[str] | None:
    """The names of the features; None if the model was fitted without names."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return None
    return list(names)


def _same(model: Any, arithmetic: Arithmetic) -> frozenset[np.dtype[Any]]:
    """The dtypes of rows for which the arithmetic is the model's, to the last bit.

    Raises:
        Unsuited: there is no such dtype.
    """
    with warnings.catch_warnings(), _in_order(arithmetic):
        warnings.simplefilter("ignore")
        dtypes = frozenset(dtype for dtype in DTYPES if _agrees(model, arithmetic, dtype))
    if not dtypes:
        import sklearn

        raise Unsuited(
            f"the results differ from those of scikit-learn {sklearn.__version__} in some bit"
        )
    return dtypes


def _agrees(model: Any, arithmetic: Arithmetic, dtype: np.dtype[Any]) -> bool:
    shape = (TRIED_ROWS, model.n_features_in_)
    rows = inputs = np.random.default_rng(0).normal(0, 3, shape).astype(dtype)
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
    """Makes a forest add up its trees in order. With threads, it adds them as they end."""
    if arithmetic.most_rows == float("inf"):
        return contextlib.nullcontext()
    import joblib  # type: ignore[import-untyped, unused-ignore]

    backend: contextlib.AbstractContextManager[Any] = joblib.parallel_backend("sequential")
    return backend


def _arithmetic(model: Any) -> Arithmetic:
    """How an estimator predicts.

    Raises:
        Unsuited: this module does not know.
    """
    if not _is_scikit_learns(model):
        raise Unsuited(f"{type(model).__name__} is not a class of scikit-learn's")
    find = FINDERS.get(_defines(model, "predict"))
    if find is None:
        raise Unsuited(f"{type(model).__name__} is not one of the estimators that it knows")
    return find(model)


def _is_scikit_learns(model: Any) -> bool:
    return type(model).__module__.startswith("sklearn.")


def _defines(model: Any, method: str) -> str:
    """`CLASS.METHOD` of the class that defines a method; empty for a model of another library."""
    if not _is_scikit_learns(model):
        return ""
    return str(getattr(getattr(model, method, None), "__qualname__", ""))


def _linear_classifier(model: Any) -> Arithmetic:
    _check_dense(model)
    if _defines(model, "decision_function") != "LinearClassifierMixin.decision_function":
        raise Unsuited(f"{type(model).__name__} has a decision_function of its own")
    coefficients, intercept, classes = model.coef_.T, model.intercept_, model.classes_

    def scores(rows: Array) -> Array:
        products: Array = rows @ coefficients + intercept
        if products.shape[1:] == (1,):
            return products.reshape(-1)
        return products

    def decide(scores: Array) -> Array:
        predictions: Array = classes.take(_winners(scores))
        return predictions

    return Arithmetic("decision_function", scores, decide)


def _winners(scores: Array) -> Array:
    """The index of the class that wins in each row."""
    if scores.ndim == 1:
        return (scores > 0).astype(int)
    indices: Array = scores.argmax(axis=1)
    return indices


def _linear_regressor(model: Any) -> Arithmetic:
    _check_dense(model)
    coefficients, intercept = model.coef_.T, model.intercept_

    def scores(rows: Array) -> Array:
        predictions: Array = rows @ coefficients + intercept
        return predictions

    return Arithmetic("predict", scores, _itself)


def _check_dense(model: Any) -> None:
    if not isinstance(model.coef_, np.ndarray):
        raise Unsuited(f"{type(model).__name__} has sparse coefficients")


def _tree(model: Any) -> Arithmetic:
    return _of_trees(model, model.tree_.predict)


def _forest(model: Any) -> Arithmetic:
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
    if model.n_jobs in (None, 1):
        return arithmetic
    return replace(arithmetic, most_rows=MOST_ROWS_ALONE)


def _of_trees(model: Any, values: Callable[[Array], Array]) -> Arithmetic:
    """How trees predict.

    Args:
        values: the leaves' values for rows: the probability of each class, or one number.
    """
    if model.n_outputs_ != 1:
        raise Unsuited(f"{type(model).__name__} has {model.n_outputs_} outputs")
    if not hasattr(model, "classes_"):
        return Arithmetic("predict", lambda rows: values(rows)[:, 0], _itself, (_to_float32,))
    classes = model.classes_
    return Arithmetic(
        "predict_proba", values, lambda scores: classes.take(scores.argmax(axis=1)), (_to_float32,)
    )


def _pipeline(model: Any) -> Arithmetic:
    steps = [step for _, step in model.steps[:-1] if step not in (None, "passthrough")]
    arithmetic = _arithmetic(model.steps[-1][1])
    for step in steps:
        if _defines(step, "transform") != "StandardScaler.transform":
            raise Unsuited(f"its step {type(step).__name__} is not a StandardScaler")
    return replace(arithmetic, prepare=(*map(_scaling, steps), *arithmetic.prepare))


def _scaling(scaler: Any) -> Callable[[Array], Array]:
    def scaled(rows: Array) -> Array:
        dtype = rows.dtype
        if dtype.kind != "f":
            dtype = np.dtype(np.float64)
        rows = rows.astype(dtype)  # always a copy
        if scaler.with_mean:
            rows -= scaler.mean_.astype(dtype, copy=False)
        if scaler.with_std:
            rows /= scaler.scale_.astype(dtype, copy=False)
        return rows

    return scaled


def _search(model: Any) -> Arithmetic:
    return _arithmetic(model.best_estimator_)


def _to_float32(rows: Array) -> Array:
    return rows.astype(np.float32, copy=False)


def _itself(scores: Array) -> Array:
    return scores


FINDERS: dict[str, Callable[[Any], Arithmetic]] = {
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
