"""The methods of the model that answer a request, as `model.method` of `config.yaml` names them.

What the owner lets a request set, `model.parameters`, is passed to the methods that take it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import current
from .bodies.values import frame_rows
from .config import Model

PREDICT = "predict"
# The names of what a method gives for a row where it gives several things.
OUTPUTS = {
    "kneighbors": ("distances", "indices"),
    "radius_neighbors": ("distances", "indices"),
}
# The same where a parameter asks for more.
ASKED = {"return_std": ("mean", "std"), "return_cov": ("mean", "cov")}

Call = Callable[..., Any]
"""Calls a method: takes its name, the rows as the model takes them, and parameters by name."""


class Methods:
    """Calls the methods, and makes one prediction a row of what they return.

    Attributes:
        predicts: whether `predict` alone answers, and a request may set nothing.

    Args:
        model: `model` of a Config.
    """

    def __init__(self, model: Model) -> None:
        self._names = method_names(model.method)
        self._parameters = model.parameters or ()
        self._is_plain = len(self._names) == 1 and not self._parameters
        self.predicts = self._is_plain and self._names == (PREDICT,)

    def call(self, model: Any, method: str, inputs: Any) -> Any:
        """What a method returns; for `predict` the predictions, with the parameters of the request.

        Args:
            model: has the methods.
            method: the method's name.
            inputs: the rows, as the model takes them.
        """

        def called(name: str, rows: Any, **parameters: Any) -> Any:
            return getattr(model, name)(rows, **parameters)

        if method != PREDICT:
            return called(method, inputs)
        return self.predictions(called, inputs, current.request.get({}))

    def predictions(self, call: Call, inputs: Any, request: Mapping[str, Any]) -> Any:
        """One prediction a row: what the one method gives, or an object with the methods' names.

        Args:
            call: calls a method of the model.
            inputs: the rows, as the model takes them.
            request: where the parameters are: an object under `parameters`, or, as V2's are, keys
                of the request itself.
        """
        if self._is_plain:
            return rows_of(call(self._names[0], inputs), self._names[0])
        given = self.given(request)
        results = {}
        for name in self._names:
            taken = {key: value for key, value in given.items() if self._takes(name, key)}
            results[name] = rows_of(call(name, inputs, **taken), name, taken)
        if len(results) == 1:
            return results[self._names[0]]
        return objects(results)

    def given(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a request, and the owner's defaults for others."""
        if not self._parameters:
            return {}
        nested = request.get("parameters") or {}
        known = [parameter.name for parameter in self._parameters]
        given = {each.name: each.default for each in self._parameters if each.default is not None}
        beside = {name: request[name] for name in known if name in request}
        return {**given, **beside, **nested}

    def _takes(self, method: str, name: str) -> bool:
        [parameter] = (each for each in self._parameters if each.name == name)
        return parameter.methods is None or method in parameter.methods


def method_names(method: Any) -> tuple[str, ...]:
    """The names that `model.method` holds: none is `predict`."""
    if method is None:
        return (PREDICT,)
    if isinstance(method, str):
        return (method,)
    return tuple(method)


def rows_of(result: Any, method: str, parameters: Mapping[str, Any] = {}) -> Any:
    """What a method returned, as one entry a row.

    A tuple holds several outputs: each row becomes an object of them.
    """
    if isinstance(result, tuple) and not hasattr(result, "_fields"):
        return objects(
            dict(zip(output_names(method, parameters, len(result)), result, strict=True))
        )
    if isinstance(result, list) and method != PREDICT and _are_arrays(result):
        return list(zip(*result, strict=True))  # scikit-learn's, one array for each output
    return _listed(result)


def _are_arrays(result: Sequence[Any]) -> bool:
    return bool(result) and all(getattr(part, "ndim", 0) == 2 for part in result)


def output_names(method: str, parameters: Mapping[str, Any], count: int) -> Sequence[str]:
    """The names of the outputs of a method that gives several."""
    asked = [ASKED[name] for name, value in parameters.items() if name in ASKED and value]
    names = next(iter(asked), OUTPUTS.get(method, ()))
    if len(names) == count:
        return names
    return [f"output_{number}" for number in range(count)]


def objects(outputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One object a row, of outputs that have one entry a row each."""
    listed = [_listed(output) for output in outputs.values()]
    return [dict(zip(outputs, row, strict=True)) for row in zip(*listed, strict=True)]


def _listed(output: Any) -> Any:
    """The rows of a DataFrame; a Series and a sparse array as arrays; anything else as it is."""
    if hasattr(output, "columns") and hasattr(output, "to_dict"):
        return frame_rows(output)
    for method in ("toarray", "to_numpy"):
        if hasattr(output, method):
            return getattr(output, method)()
    return output
