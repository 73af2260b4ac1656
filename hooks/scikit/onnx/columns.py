"""Converts scikit-learn's OneHotEncoder and SimpleImputer to ONNX with the same results.

skl2onnx's own encoder gives float32, which cannot be joined with float64 columns. It also cuts off
the decimals of categories that are numbers. Its imputer gives float32 too.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .graph import Converter, Graph


def converters() -> dict[type, Converter]:
    """The converters that skl2onnx calls for these, wherever they are in a model."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    return {OneHotEncoder: _one_hot, SimpleImputer: _impute}


def set_output_types(operator: Any) -> None:
    """Tell skl2onnx the type of their outputs: an imputer keeps the type of its input."""
    from skl2onnx.common.data_types import DoubleTensorType

    kind = DoubleTensorType
    if hasattr(operator.raw_operator, "statistics_"):
        kind = type(operator.inputs[0].type)
    operator.outputs[0].type = kind([None, None])


def _columns(graph: Graph) -> Iterator[tuple[str, bool]]:
    """Each column, of shape [n, 1], and whether it has texts."""
    from skl2onnx.common.data_types import StringTensorType

    for name, kind in zip(graph.inputs, graph.input_types, strict=True):
        for index in range(kind.shape[1]):
            column = graph.add("Gather", name, graph.whole([index]), axis=1)
            yield column, isinstance(kind, StringTensorType)


def _impute(scope: Any, operator: Any, container: Any) -> None:
    """Keep the imputer's columns: the model itself takes the rows with missing values."""
    graph = Graph(scope, operator, container)
    imputer = graph.model
    if imputer.add_indicator or imputer.missing_values is not np.nan:
        raise NotImplementedError("a SimpleImputer of another value than NaN is not supported")
    columns = zip(_columns(graph), imputer.statistics_, strict=True)
    kept = [
        column for (column, _), value in columns if value == value or imputer.keep_empty_features
    ]
    graph.result(graph.add("Concat", *kept, axis=1))


def _one_hot(scope: Any, operator: Any, container: Any) -> None:
    graph = Graph(scope, operator, container)
    encoder = graph.model
    if encoder.dtype is not np.float64 or hasattr(encoder, "infrequent_categories_"):
        raise NotImplementedError(
            "a OneHotEncoder that groups categories or does not give float64 is not supported"
        )
    encoders = {True: _encode_texts, False: _encode_numbers}
    encoded = []
    columns = zip(_columns(graph), encoder.categories_, _dropped(encoder), strict=True)
    for (column, is_text), categories, dropped in columns:
        code = encoders[is_text](graph, column, categories)
        kept = [number for number in range(len(categories)) if number != dropped]
        encoded.append(graph.add("Gather", code, graph.whole(kept), axis=1))
    graph.result(graph.add("Concat", *encoded, axis=1))


def _dropped(encoder: Any) -> list[int | None]:
    """The number of the category that the encoder drops, for each column."""
    if encoder.drop_idx_ is None:
        return [None] * len(encoder.categories_)
    return list(encoder.drop_idx_)


def _encode_texts(graph: Graph, column: str, categories: Any) -> str:
    if not all(isinstance(item, str) for item in categories):
        raise NotImplementedError("a OneHotEncoder of texts and missing values is not supported")
    names = [item.encode() for item in categories]
    code = graph.add_ml(
        "OneHotEncoder",
        column,
        cats_strings=names,
        zeros=int(graph.model.handle_unknown != "error"),
    )
    shaped = graph.add("Reshape", code, graph.whole([-1, len(names)]))
    return graph.add("Cast", shaped, to=graph.types.DOUBLE)


def _encode_numbers(graph: Graph, column: str, categories: Any) -> str:
    if graph.model.handle_unknown == "error":
        raise NotImplementedError("a OneHotEncoder that rejects unknown numbers is not supported")
    if np.isnan(np.asarray(categories, float)).any():
        raise NotImplementedError("a OneHotEncoder of numbers and missing values is not supported")
    double = graph.add("Cast", column, to=graph.types.DOUBLE)
    same = graph.add("Equal", double, graph.constant(np.asarray(categories, float)))
    return graph.add("Cast", same, to=graph.types.DOUBLE)
