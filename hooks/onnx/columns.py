"""scikit-learn's OneHotEncoder and SimpleImputer as ONNX that does as they do.

As skl2onnx converts it, the encoder gives float32, with which float64 columns beside it cannot be joined, and cuts off
what comes after the point of a number that is a category. Its imputer is of float32 too.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .graph import Converter, Graph


def converters() -> dict[type, Converter]:
    """What skl2onnx is to call for these, wherever in a model they are."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    return {OneHotEncoder: _one_hot, SimpleImputer: _impute}


def set_output_types(operator: Any) -> None:
    """Tell skl2onnx the type of their output: an imputer's is that of its input."""
    from skl2onnx.common.data_types import DoubleTensorType

    kind = (
        type(operator.inputs[0].type)
        if hasattr(operator.raw_operator, "statistics_")
        else DoubleTensorType
    )
    operator.outputs[0].type = kind([None, None])


def _columns(graph: Graph) -> Iterator[tuple[str, bool]]:
    """Each column, of shape [n, 1], and whether it holds texts."""
    from skl2onnx.common.data_types import StringTensorType

    for name, kind in zip(graph.inputs, graph.input_types, strict=True):
        for index in range(kind.shape[1]):
            yield (
                graph.add("Gather", name, graph.whole([index]), axis=1),
                isinstance(kind, StringTensorType),
            )


# ---- SimpleImputer: rows with gaps go to the model itself, so that here none is left to fill ----


def _impute(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    imputer = graph.model
    if imputer.add_indicator or imputer.missing_values is not np.nan:
        raise NotImplementedError("a SimpleImputer of something else than NaN cannot be converted")
    columns = zip(_columns(graph), imputer.statistics_, strict=True)
    kept = [
        column for (column, _), value in columns if value == value or imputer.keep_empty_features
    ]
    graph.result(graph.add("Concat", *kept, axis=1))


# ---- OneHotEncoder ----


def _one_hot(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    encoder = graph.model
    if encoder.dtype is not np.float64 or getattr(encoder, "_infrequent_enabled", False):
        raise NotImplementedError(
            "a OneHotEncoder that groups categories or gives no float64 cannot be converted"
        )
    columns = list(_columns(graph))
    drops = encoder.drop_idx_ if encoder.drop_idx_ is not None else [None] * len(columns)
    encoded = []
    for (column, is_text), categories, drop in zip(
        columns, encoder.categories_, drops, strict=True
    ):
        code = (
            _of_texts(graph, column, categories)
            if is_text
            else _of_numbers(graph, column, categories)
        )
        kept = np.delete(np.arange(len(categories)), [] if drop is None else [drop])
        encoded.append(graph.add("Gather", code, graph.whole(kept), axis=1))
    graph.result(graph.add("Concat", *encoded, axis=1))


def _of_texts(graph: Graph, column: str, categories: Any) -> str:
    if not all(isinstance(item, str) for item in categories):
        raise NotImplementedError("a OneHotEncoder of texts and gaps cannot be converted")
    names = [item.encode() for item in categories]
    code = graph.add_ml(
        "OneHotEncoder",
        column,
        cats_strings=names,
        zeros=int(graph.model.handle_unknown != "error"),
    )
    shaped = graph.add("Reshape", code, graph.whole([-1, len(names)]))
    return graph.add("Cast", shaped, to=graph.types.DOUBLE)


def _of_numbers(graph: Graph, column: str, categories: Any) -> str:
    if graph.model.handle_unknown == "error":
        raise NotImplementedError(
            "a OneHotEncoder that refuses unknown numbers cannot be converted"
        )
    if np.isnan(np.asarray(categories, float)).any():
        raise NotImplementedError("a OneHotEncoder of numbers and gaps cannot be converted")
    double = graph.add("Cast", column, to=graph.types.DOUBLE)
    same = graph.add("Equal", double, graph.constant(np.asarray(categories, float)))
    return graph.add("Cast", same, to=graph.types.DOUBLE)
