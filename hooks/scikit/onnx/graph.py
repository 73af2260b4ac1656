"""The ONNX graph that a converter of skl2onnx adds operators to."""

from collections.abc import Callable
from typing import Any

import numpy as np

DOMAIN = "ai.onnx.ml"
KNOWN_VERSION = 3  # the latest that skl2onnx accepts for an operator of this domain
OPSET = 18
Converter = Callable[[Any, Any, Any], None]


class Graph:
    """The part of the graph that one converter adds.

    Args:
        scope, operator, container: what skl2onnx passes to a converter.
    """

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        from onnx import TensorProto

        self.model = operator.raw_operator
        self.types = TensorProto
        self.inputs = operator.input_full_names
        self.input_types = [item.type for item in operator.inputs]
        self._scope, self._operator, self._container = scope, operator, container

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator, and return the name of its output."""
        name = str(self._scope.get_unique_variable_name(kind.lower()))
        self._container.add_node(kind, list(inputs), [name], op_version=13, **attributes)
        return name

    def add_ml(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operator of ONNX's machine learning domain, and return the name of its output."""
        name = str(self._scope.get_unique_variable_name(kind.lower()))
        self._container.add_node(
            kind, list(inputs), [name], op_domain=DOMAIN, op_version=KNOWN_VERSION, **attributes
        )
        return name

    def constant(self, values: Any) -> str:
        """Add a vector of float64, and return its name."""
        return self._initializer(self.types.DOUBLE, values)

    def whole(self, values: Any) -> str:
        """Add a vector of int64, and return its name."""
        return self._initializer(self.types.INT64, values)

    def label(self, index: str) -> None:
        """Use the classes with these numbers as the estimator's first output."""
        classes = self.model.classes_
        if classes.dtype.kind in "UO":
            names = self._initializer(self.types.STRING, [str(item).encode() for item in classes])
        else:
            names = self._initializer(self.types.INT64, classes.astype(np.int64))
        self._container.add_node(
            "Gather", [names, index], [self._operator.outputs[0].full_name], op_version=13
        )

    def result(self, name: str) -> None:
        """Use this as the transformer's output."""
        self._container.add_node(
            "Identity", [name], [self._operator.outputs[0].full_name], op_version=13
        )

    def output(self, scores: str, number: int) -> None:
        """Use scores as one of the estimator's outputs, in the type that skl2onnx expects."""
        from skl2onnx.common.data_types import FloatTensorType

        output = self._operator.outputs[number]
        kind = self.types.DOUBLE
        if isinstance(output.type, FloatTensorType):
            kind = self.types.FLOAT
        self._container.add_node("Cast", [scores], [output.full_name], to=kind, op_version=13)

    def _initializer(self, kind: int, values: Any) -> str:
        name = str(self._scope.get_unique_variable_name("constant"))
        self._container.add_initializer(name, kind, [len(values)], values)
        return name
