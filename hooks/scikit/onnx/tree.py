"""scikit-learn's trees as plain arrays.

All that reads private attributes of scikit-learn is here. When one is renamed the conversion fails,
and the model itself is served, with a warning.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Tree:
    """A tree, node by node.

    Attributes:
        left, right: the numbers of the children; those of a leaf mean nothing.
        inner: which nodes are not leaves.
        feature, threshold: a row goes left if its feature is at most the threshold.
        values: the value of each node, of shape [nodes, classes or outputs].
    """

    left: Array
    right: Array
    inner: Array
    feature: Array
    threshold: Array
    values: Array


@dataclass(frozen=True)
class Boosting:
    """The trees of a boosted model.

    Attributes:
        start: the scores before the first tree, of shape [1 or classes].
        stages: the trees of each stage, one for each score.
        rate: the factor of the trees' values.
        is_histogram: whether it is histogram-based, which does not round rows to float32.
    """

    start: Array
    stages: list[list[Tree]]
    rate: float
    is_histogram: bool


def constant(value: float) -> Tree:
    """A tree with one leaf."""
    none = np.zeros(1, np.int64)
    return Tree(none, none, np.zeros(1, bool), none, np.zeros(1), np.full((1, 1), value))


def forest(model: Any) -> list[Tree]:
    """The trees of a forest, or the only one of a decision tree."""
    return [_tree(member.tree_) for member in getattr(model, "estimators_", [model])]


def boosting(model: Any) -> Boosting:
    """The trees of gradient boosting, in either of scikit-learn's two kinds.

    Raises:
        NotImplementedError: it has something that cannot be converted.
    """
    if is_histogram(model):
        start = np.ravel(model._baseline_prediction)  # noqa: SLF001 - there is no public one
        return Boosting(start, _histogram_stages(model), 1.0, True)
    stages = [[_tree(member.tree_) for member in stage] for stage in model.estimators_]
    return Boosting(_start(model), stages, model.learning_rate, False)


def is_histogram(model: Any) -> bool:
    """Whether the model is histogram-based gradient boosting."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return isinstance(model, (HistGradientBoostingClassifier, HistGradientBoostingRegressor))


def thresholds(model: Any) -> Iterator[tuple[int, float]]:
    """The features that a model's trees read, each with a threshold; none if it has no trees."""
    for tree in _trees(model):
        features, values = tree.feature[tree.inner], tree.threshold[tree.inner]
        yield from zip(features.tolist(), values.tolist(), strict=True)


def _trees(model: Any) -> list[Tree]:
    if is_histogram(model):
        return [tree for stage in _histogram_stages(model) for tree in stage]
    members = np.ravel(np.asarray(getattr(model, "estimators_", [model]), dtype=object))
    return [_tree(member.tree_) for member in members if hasattr(member, "tree_")]


def _tree(tree: Any) -> Tree:
    values = tree.value[:, :, 0]  # of shape [nodes, outputs, classes], which are 1 in regression
    if tree.value.shape[1] == 1:
        values = tree.value[:, 0, :]
    left, right = tree.children_left, tree.children_right
    return Tree(left, right, left >= 0, tree.feature, tree.threshold, values)


def _histogram_stages(model: Any) -> list[list[Tree]]:
    predictors = model._predictors  # noqa: SLF001 - no public attribute has the trees
    return [[_histogram_tree(predictor.nodes) for predictor in stage] for stage in predictors]


def _histogram_tree(nodes: Array) -> Tree:
    if nodes["is_categorical"].any():
        raise NotImplementedError("a split on categories is not supported")
    return Tree(
        nodes["left"].astype(np.int64),
        nodes["right"].astype(np.int64),
        nodes["is_leaf"] == 0,
        nodes["feature_idx"],
        nodes["num_threshold"],
        nodes["value"][:, np.newaxis],
    )


def _start(model: Any) -> Array:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if model.init_ != "zero" and not isinstance(model.init_, (DummyClassifier, DummyRegressor)):
        raise NotImplementedError(
            f"boosting that starts with {type(model.init_).__name__} is not supported"
        )
    row = np.zeros((1, model.n_features_in_), np.float32)
    return np.ravel(model._raw_predict_init(row))  # noqa: SLF001 - there is no public one
