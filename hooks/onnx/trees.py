"""scikit-learn's trees, forests and boosted trees as ONNX that decides as they do.

As skl2onnx converts them, scores are added up in float32, so that two classes that are about equal may change places,
and a row in float64 is compared with a threshold as it is, where scikit-learn rounds it to float32 first. Here rows are
rounded where they are there, thresholds stay the float64 that they are, and float64 scores are added up in the order of
the trees.

Source of the operator: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html (version 5)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .graph import DOMAIN, Converter, Graph

VERSION = 5
Array = np.ndarray[Any, np.dtype[Any]]


def converters() -> dict[type, Converter]:
    """What skl2onnx is to call for these estimators, wherever in a model they are."""
    from sklearn import ensemble, tree

    return {
        tree.DecisionTreeClassifier: _classifier,
        tree.ExtraTreeClassifier: _classifier,
        ensemble.RandomForestClassifier: _classifier,
        ensemble.ExtraTreesClassifier: _classifier,
        tree.DecisionTreeRegressor: _regressor,
        tree.ExtraTreeRegressor: _regressor,
        ensemble.RandomForestRegressor: _regressor,
        ensemble.ExtraTreesRegressor: _regressor,
        ensemble.GradientBoostingClassifier: _boosted_classifier,
        ensemble.GradientBoostingRegressor: _boosted_regressor,
        ensemble.HistGradientBoostingClassifier: _boosted_classifier,
        ensemble.HistGradientBoostingRegressor: _boosted_regressor,
    }


def finished(converted: Any) -> Any:
    """What skl2onnx made with these converters, with the version of their operator declared."""
    if any(node.op_type == "TreeEnsemble" for node in converted.graph.node):
        for declared in converted.opset_import:
            if declared.domain == DOMAIN:
                declared.version = VERSION
    return converted


def thresholds(model: Any) -> Iterator[tuple[int, float]]:
    """The features that the trees of a model look at, each with a threshold that it is compared with."""
    if hasattr(model, "_predictors"):
        trees = [
            _of_histogram(predictor.nodes) for stage in model._predictors for predictor in stage
        ]
    else:
        members = np.ravel(np.asarray(getattr(model, "estimators_", [model]), dtype=object))
        trees = [_of_tree(member.tree_) for member in members if hasattr(member, "tree_")]
    for tree in trees:
        yield from zip(
            tree.feature[tree.inner].tolist(), tree.threshold[tree.inner].tolist(), strict=True
        )


# ---- trees as scikit-learn keeps them ----


@dataclass(frozen=True)
class Tree:
    """A tree, node by node.

    Attributes:
        left, right: the numbers of the children; what they are of a leaf does not matter.
        inner: which nodes are no leaves.
        feature, threshold: a row whose feature is at most the threshold goes left.
        values: what each node gives, of shape [nodes, classes or outputs].
    """

    left: Array
    right: Array
    inner: Array
    feature: Array
    threshold: Array
    values: Array


def _of_tree(tree: Any) -> Tree:
    values = tree.value[:, 0, :] if tree.value.shape[1] == 1 else tree.value[:, :, 0]
    left, right = tree.children_left, tree.children_right
    return Tree(left, right, left >= 0, tree.feature, tree.threshold, values)


def _of_histogram(nodes: Array) -> Tree:
    """A tree of histogram-based boosting."""
    if nodes["is_categorical"].any():
        raise NotImplementedError("a split on categories cannot be converted")
    children = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
    return Tree(
        *children,
        nodes["is_leaf"] == 0,
        nodes["feature_idx"],
        nodes["num_threshold"],
        nodes["value"][:, np.newaxis],
    )


def _constant(value: float) -> Tree:
    none = np.zeros(1, np.int64)
    return Tree(none, none, np.zeros(1, bool), none, np.zeros(1), np.full((1, 1), value))


# ---- estimators ----


def _classifier(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    scores = _mean(graph)
    graph.label(graph.add("ArgMax", scores, axis=1, keepdims=0))
    graph.output(scores, 1)


def _regressor(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    graph.output(_mean(graph), 0)


def _mean(graph: "Graph") -> str:
    """What the trees give on average, of shape [n, classes or outputs]."""
    trees = [
        _of_tree(member.tree_) for member in getattr(graph.model, "estimators_", [graph.model])
    ]
    parts = [part for tree in trees for part in _parts(tree)]
    sums = _ensemble(graph, parts, trees[0].values.shape[1], single=True)
    return graph.add("Div", sums, graph.constant([len(trees)]))


def _boosted_classifier(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    scores = _sum(graph)
    if len(graph.model.classes_) > 2:
        graph.label(graph.add("ArgMax", scores, axis=1, keepdims=0))
        graph.output(graph.add("Softmax", scores, axis=1), 1)
        return
    decides = "Greater" if hasattr(graph.model, "_predictors") else "GreaterOrEqual"
    positive = graph.add(
        "Squeeze", graph.add(decides, scores, graph.constant([0])), graph.whole([1])
    )
    graph.label(graph.add("Cast", positive, to=graph.types.INT64))
    if type(graph.model._loss).__name__ == "ExponentialLoss":
        scores = graph.add("Mul", scores, graph.constant([2]))
    probability = graph.add("Sigmoid", scores)
    graph.output(
        graph.add(
            "Concat", graph.add("Sub", graph.constant([1]), probability), probability, axis=1
        ),
        1,
    )


def _boosted_regressor(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    scores = _sum(graph)
    if hasattr(graph.model, "_predictors") and type(graph.model._loss.link).__name__ == "LogLink":
        scores = graph.add("Exp", scores)
    graph.output(scores, 0)


def _sum(graph: "Graph") -> str:
    """What boosting begins with, and what the trees add to it, of shape [n, 1 or classes]."""
    model = graph.model
    histogram = hasattr(model, "_predictors")
    if histogram:
        stages = [
            [_of_histogram(predictor.nodes) for predictor in stage] for stage in model._predictors
        ]
        begin, rate = model._baseline_prediction, 1.0
    else:
        stages = [[_of_tree(member.tree_) for member in stage] for stage in model.estimators_]
        begin, rate = _begin(model), model.learning_rate
    first = [_constant(value) for value in np.ravel(begin)]
    parts = [part for target, tree in enumerate(first) for part in _parts(tree, target)]
    parts += [
        part
        for stage in stages
        for target, tree in enumerate(stage)
        for part in _parts(tree, target, rate)
    ]
    return _ensemble(graph, parts, len(first), single=not histogram)


def _begin(model: Any) -> Array:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if model.init_ != "zero" and not isinstance(model.init_, (DummyClassifier, DummyRegressor)):
        raise NotImplementedError(
            f"boosting that begins with {type(model.init_).__name__} cannot be converted"
        )
    begin: Array = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))
    return begin


def _ensemble(graph: Graph, parts: list[dict[str, Array]], targets: int, single: bool) -> str:
    """Add trees; the name of their sums. `single` tells whether rows are rounded to float32 first."""
    (rows,) = graph.inputs
    if single:
        rows = graph.add("Cast", rows, to=graph.types.FLOAT)
    rows = graph.add("Cast", rows, to=graph.types.DOUBLE)
    return graph.add_ml("TreeEnsemble", rows, **_attributes(parts), n_targets=targets)


def set_output_types(operator: Any) -> None:
    """Tell skl2onnx the types of an estimator's outputs: its own rule gives a forest's probabilities as float32."""
    from skl2onnx.common.data_types import (
        DoubleTensorType,
        FloatTensorType,
        Int64TensorType,
        StringTensorType,
    )

    model = operator.raw_operator
    scores = (
        FloatTensorType
        if isinstance(operator.inputs[0].type, FloatTensorType)
        else DoubleTensorType
    )
    if not hasattr(model, "classes_"):
        operator.outputs[0].type = scores([None, getattr(model, "n_outputs_", 1)])
        return
    if not isinstance(model.classes_, np.ndarray):
        raise NotImplementedError("a classifier of several outputs cannot be converted")
    operator.outputs[0].type = (
        StringTensorType if model.classes_.dtype.kind in "UO" else Int64TensorType
    )([None])
    operator.outputs[1].type = scores([None, len(model.classes_)])


# ---- the operator's attributes ----


def _parts(tree: Tree, target: int | None = None, rate: float = 1.0) -> Iterator[dict[str, Array]]:
    """The tree as often as a leaf of it has values other than 0: a leaf of the operator holds one, of one target."""
    nodes, values = _nodes(tree), tree.values[~tree.inner].astype(np.float64)
    rows = np.arange(len(values))
    while True:
        columns = np.argmax(values != 0, axis=1)
        weights = rate * values[rows, columns]
        yield {
            **nodes,
            "target": columns if target is None else np.full(len(rows), target),
            "weight": weights,
        }
        values[rows, columns] = 0
        if not values.any():
            return


def _nodes(tree: Tree) -> dict[str, Array]:
    """Inner nodes with their children's numbers, inner nodes and leaves counted apart; of a lone leaf, a node above."""
    inner = tree.inner
    if not inner.any():
        nothing, both = np.zeros(1, np.int64), np.ones(1, bool)
        sides = {"left": nothing, "right": nothing, "left_is_leaf": both, "right_is_leaf": both}
        return {"feature": nothing, "threshold": np.zeros(1), **sides}
    numbers = np.where(inner, np.cumsum(inner), np.cumsum(~inner)) - 1
    left, right = tree.left[inner], tree.right[inner]
    return {
        "feature": tree.feature[inner],
        "threshold": tree.threshold[inner],
        "left": numbers[left],
        "right": numbers[right],
        "left_is_leaf": ~inner[left],
        "right_is_leaf": ~inner[right],
    }


def _attributes(parts: list[dict[str, Array]]) -> dict[str, Any]:
    """Trees as the operator takes them: the inner nodes and the leaves of all of them, one after the other."""
    from onnx.numpy_helper import from_array

    nodes = np.cumsum([0, *(len(part["feature"]) for part in parts)])
    leaves = np.cumsum([0, *(len(part["weight"]) for part in parts)])

    def joined(key: str) -> Array:
        return np.concatenate([part[key] for part in parts])

    def placed(side: str) -> list[int]:
        """The numbers of the children among those of all trees."""
        counts = [len(part["feature"]) for part in parts]
        before = np.where(
            joined(f"{side}_is_leaf"), np.repeat(leaves[:-1], counts), np.repeat(nodes[:-1], counts)
        )
        return [int(number) for number in joined(side) + before]

    return {
        "tree_roots": nodes[:-1].tolist(),
        "nodes_featureids": joined("feature").tolist(),
        "nodes_splits": from_array(joined("threshold").astype(np.float64)),
        "nodes_modes": from_array(np.zeros(nodes[-1], np.uint8)),  # at most
        "nodes_truenodeids": placed("left"),
        "nodes_trueleafs": joined("left_is_leaf").astype(int).tolist(),
        "nodes_falsenodeids": placed("right"),
        "nodes_falseleafs": joined("right_is_leaf").astype(int).tolist(),
        "leaf_targetids": joined("target").tolist(),
        "leaf_weights": from_array(joined("weight")),
    }
