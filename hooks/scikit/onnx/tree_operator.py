"""The attributes of ONNX's TreeEnsemble operator.

Source: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html (version 5)
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .graph import DOMAIN, Graph
from .tree import Array, Tree

KIND = "TreeEnsemble"
VERSION = 5

Part = dict[str, Array]
"""A tree as the operator takes it. A leaf of it holds one value, for one target."""


def parts(tree: Tree, target: int | None = None, rate: float = 1.0) -> Iterator[Part]:
    """The tree, repeated until each value of each leaf is in one part.

    Args:
        tree: the tree.
        target: the number of the only score that it adds to; None if it has a value for each.
        rate: a factor for its values.
    """
    nodes, values = _nodes(tree), tree.values[~tree.inner].astype(np.float64)
    rows = np.arange(len(values))
    while True:
        columns = np.argmax(values != 0, axis=1)
        targets = columns
        if target is not None:
            targets = np.full(len(rows), target)
        yield {**nodes, "target": targets, "weight": rate * values[rows, columns]}
        values[rows, columns] = 0
        if not values.any():
            return


def _nodes(tree: Tree) -> Part:
    """The inner nodes with the numbers of their children: inner nodes and leaves count apart."""
    inner = tree.inner
    if not inner.any():
        return _node_above_a_leaf()
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


def _node_above_a_leaf() -> Part:
    """A node with both sides leading to the leaf: the operator accepts no tree without a node."""
    zero, both = np.zeros(1, np.int64), np.ones(1, bool)
    sides = {"left": zero, "right": zero, "left_is_leaf": both, "right_is_leaf": both}
    return {"feature": zero, "threshold": np.zeros(1), **sides}


def add_ensemble(graph: Graph, trees: list[Part], targets: int, single: bool) -> str:
    """Add trees to a graph.

    Args:
        graph: the graph of the converter that adds them.
        trees: what `parts` made of them, in the order in which they are added up.
        targets: the number of scores.
        single: whether rows are rounded to float32 first.

    Returns:
        The name of the sums, of shape [n, targets].
    """
    (rows,) = graph.inputs
    if single:
        rows = graph.add("Cast", rows, to=graph.types.FLOAT)
    rows = graph.add("Cast", rows, to=graph.types.DOUBLE)
    return graph.add_ml(KIND, rows, **_attributes(trees), n_targets=targets)


def _attributes(trees: list[Part]) -> dict[str, Any]:
    """The inner nodes and the leaves of all trees, one after the other."""
    from onnx.numpy_helper import from_array

    roots, nodes = _starts(trees, "feature")
    return {
        "tree_roots": roots.tolist(),
        "nodes_featureids": _joined(trees, "feature").tolist(),
        "nodes_splits": from_array(_joined(trees, "threshold").astype(np.float64)),
        "nodes_modes": from_array(np.zeros(nodes, np.uint8)),  # 0: at most
        "nodes_truenodeids": _children(trees, "left"),
        "nodes_trueleafs": _joined(trees, "left_is_leaf").astype(int).tolist(),
        "nodes_falsenodeids": _children(trees, "right"),
        "nodes_falseleafs": _joined(trees, "right_is_leaf").astype(int).tolist(),
        "leaf_targetids": _joined(trees, "target").tolist(),
        "leaf_weights": from_array(_joined(trees, "weight")),
    }


def _joined(trees: Iterable[Part], key: str) -> Array:
    return np.concatenate([part[key] for part in trees])


def _starts(trees: Iterable[Part], key: str) -> tuple[Array, int]:
    """Where each tree starts among the nodes or leaves of all trees, and the number of all."""
    ends = np.cumsum([0, *(len(part[key]) for part in trees)])
    return ends[:-1], int(ends[-1])


def _children(trees: list[Part], side: str) -> list[int]:
    """The numbers of the children among the nodes or leaves of all trees."""
    counts = [len(part["feature"]) for part in trees]
    (nodes, _), (leaves, _) = _starts(trees, "feature"), _starts(trees, "weight")
    is_leaf = _joined(trees, f"{side}_is_leaf")
    before = np.where(is_leaf, np.repeat(leaves, counts), np.repeat(nodes, counts))
    return [int(number) for number in _joined(trees, side) + before]


def with_declared_version(converted: Any) -> Any:
    """An ONNX model that declares the operator's version, if it has the operator."""
    if any(node.op_type == KIND for node in converted.graph.node):
        for declared in converted.opset_import:
            if declared.domain == DOMAIN:
                declared.version = VERSION
    return converted
