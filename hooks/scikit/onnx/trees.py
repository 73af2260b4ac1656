"""Converts scikit-learn's trees, forests and boosted trees to ONNX with the same decisions.

skl2onnx's own converters differ from scikit-learn in two ways. They add scores up in float32, so
that two classes with almost equal scores may swap. They compare float64 rows with a threshold
unrounded, but scikit-learn rounds the rows to float32 first.

These converters round rows where scikit-learn does, keep thresholds in float64, and add float64
scores up in the order of the trees.
"""

from typing import Any

import numpy as np

from .graph import Converter, Graph
from .tree import boosting, constant, forest, is_histogram
from .tree_operator import add_ensemble, parts


def converters() -> dict[type, Converter]:
    """The converters that skl2onnx calls for these estimators, wherever they are in a model."""
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


def set_output_types(operator: Any) -> None:
    """Tell skl2onnx the types of an estimator's outputs: it would make probabilities float32."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    model = operator.raw_operator
    scores = DoubleTensorType
    if isinstance(operator.inputs[0].type, FloatTensorType):
        scores = FloatTensorType
    if not hasattr(model, "classes_"):
        operator.outputs[0].type = scores([None, getattr(model, "n_outputs_", 1)])
        return
    operator.outputs[0].type = _label_type(model.classes_)
    operator.outputs[1].type = scores([None, len(model.classes_)])


def _label_type(classes: Any) -> Any:
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    if not isinstance(classes, np.ndarray):
        raise NotImplementedError("a classifier with several outputs is not supported")
    if classes.dtype.kind in "UO":
        return StringTensorType([None])
    return Int64TensorType([None])


def _classifier(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    scores = _mean(graph)
    graph.label(graph.add("ArgMax", scores, axis=1, keepdims=0))
    graph.output(scores, 1)


def _regressor(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    graph.output(_mean(graph), 0)


def _mean(graph: Graph) -> str:
    """The mean of what the trees give, of shape [n, classes or outputs]."""
    trees = forest(graph.model)
    added = [part for tree in trees for part in parts(tree)]
    sums = add_ensemble(graph, added, trees[0].values.shape[1], single=True)
    return graph.add("Div", sums, graph.constant([len(trees)]))


def _boosted_classifier(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    scores = _sum(graph)
    if len(graph.model.classes_) > 2:
        graph.label(graph.add("ArgMax", scores, axis=1, keepdims=0))
        graph.output(graph.add("Softmax", scores, axis=1), 1)
        return
    comparison = "GreaterOrEqual"
    if is_histogram(graph.model):
        comparison = "Greater"
    positive = graph.add(comparison, scores, graph.constant([0]))
    positive = graph.add("Squeeze", positive, graph.whole([1]))
    graph.label(graph.add("Cast", positive, to=graph.types.INT64))
    graph.output(_two_probabilities(graph, scores), 1)


def _two_probabilities(graph: Graph, scores: str) -> str:
    """The probabilities of two classes, of shape [n, 2]."""
    if graph.model.loss == "exponential":
        scores = graph.add("Mul", scores, graph.constant([2]))
    second = graph.add("Sigmoid", scores)
    first = graph.add("Sub", graph.constant([1]), second)
    return graph.add("Concat", first, second, axis=1)


def _boosted_regressor(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    scores = _sum(graph)
    if graph.model.loss in ("gamma", "poisson"):  # they predict the logarithm
        scores = graph.add("Exp", scores)
    graph.output(scores, 0)


def _sum(graph: Graph) -> str:
    """The start of boosting, with what the trees add to it, of shape [n, 1 or classes]."""
    boosted = boosting(graph.model)
    starts = [constant(value) for value in boosted.start]
    added = [part for target, tree in enumerate(starts) for part in parts(tree, target)]
    added += [
        part
        for stage in boosted.stages
        for target, tree in enumerate(stage)
        for part in parts(tree, target, boosted.rate)
    ]
    return add_ensemble(graph, added, len(starts), single=not boosted.is_histogram)
