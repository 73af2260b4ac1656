"""Compares a compiled form with its model, on the sample and on random rows."""

from typing import Any

import numpy as np

from generator.arguments import argument
from generator.common import OnnxModel, Signature, schema
from generator.rows.body import rows

from ...base import Description
from .random_rows import random_inputs

TOLERANCE = 1e-6
"""The allowed difference of a number, relative to the largest one. Labels must be equal."""

MAX_SAMPLE_ROWS = 1000
MAX_LENGTH = 200

Array = np.ndarray[Any, np.dtype[Any]]


class NotCompiled(Exception):
    """The model has no compiled form that predicts as it does. The message is one line.

    Attributes:
        answers: what the model predicts, and what the compiled form does, where they differ.
    """

    def __init__(self, message: str, answers: tuple[Any, Any] | None = None) -> None:
        super().__init__(message)
        self.answers = answers


def one_line(error: Exception) -> str:
    """The error's message on one line, cut to a readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    if len(text) <= MAX_LENGTH:
        return text
    return text[: MAX_LENGTH - 3] + "..."


def check(content: bytes, model: Any, description: Description, sample: Any) -> None:
    """Check that a compiled form predicts as the model does.

    Args:
        content: the ONNX model.
        model: the fitted estimator.
        description: what its rows and predictions are.
        sample: rows as its `predict` takes them; None if there are none.

    Raises:
        NotCompiled: they predict differently, or cannot be compared.
    """
    engine = OnnxModel(content, None, description.output)
    inputs = None
    if sample is None:
        _check_comparable(description)
    else:
        inputs = _taken(engine, _sample(description, sample))
        _compare(engine, model, inputs, "the sample")
    for drawn in random_inputs(model, description, inputs):
        _compare(engine, model, drawn, "random rows")


def _check_comparable(description: Description) -> None:
    if isinstance(description.input, schema.TextInput):
        raise NotCompiled(f"texts are compared on a sample: pass a {argument('sample_input')}")


def _sample(description: Description, sample: Any) -> Any:
    """Rows of the sample as the server passes them to the model."""
    listed = rows(sample)[:MAX_SAMPLE_ROWS]
    return Signature(description.input).inputs(listed)


def _taken(engine: Any, inputs: Any) -> Any:
    """The rows that the engine does not leave to the model itself."""
    taken = [index for index in range(len(inputs)) if engine.takes(_selected(inputs, [index]))]
    if not taken:
        raise NotCompiled(
            "every row of the sample has a missing value, or another one that is left to the model "
            f"itself: pass a {argument('sample_input')} with complete rows"
        )
    return _selected(inputs, taken)


def _selected(inputs: Any, indices: list[int]) -> Any:
    """Some rows of a list, an array or a DataFrame."""
    if isinstance(inputs, list):
        return [inputs[index] for index in indices]
    if isinstance(inputs, np.ndarray):
        return inputs[indices]
    return inputs.iloc[indices]


def _compare(engine: Any, model: Any, inputs: Any, what: str) -> None:
    """Refuse an engine that differs from the model on these rows; `what` names them in errors."""
    if not engine.takes(inputs):
        raise NotCompiled(f"{what} would be left to the model itself")
    for method in ("predict", "predict_proba"):
        if hasattr(engine, method):
            expected = _expected(model, method, inputs, what)
            answer = _answer(engine, method, inputs, what)
            if difference := _difference(expected, answer):
                raise NotCompiled(
                    f"{method} of the compiled form differs from the model's, on {what}: "
                    f"{difference}",
                    (expected, answer),
                )


def _expected(model: Any, method: str, inputs: Any, what: str) -> Any:
    try:
        return getattr(model, method)(inputs)
    except Exception as error:
        raise NotCompiled(
            f"the model cannot predict from {what} ({one_line(error)}): "
            f"pass a {argument('sample_input')} with more rows"
        ) from error


def _answer(engine: Any, method: str, inputs: Any, what: str) -> Any:
    try:
        return getattr(engine, method)(inputs)
    except Exception as error:  # it leaves rows to the model itself, which it does not have here
        raise NotCompiled(f"the compiled form does not take all of {what}") from error


def _difference(expected: Any, answer: Array) -> str | None:
    """How an answer differs from what is expected; None if it does not."""
    is_array = isinstance(expected, np.ndarray)
    if not is_array or not _is_comparable(expected, answer):
        return f"expected {_kind(expected)}, got {_kind(answer)}"
    if expected.dtype.kind == "f":
        return _numeric_difference(expected, answer)
    wrong = int((expected != answer).sum())
    if wrong:
        return f"{wrong} of {expected.size} labels differ"
    return None


def _is_comparable(expected: Array, answer: Array) -> bool:
    return expected.dtype.kind == answer.dtype.kind and expected.shape == answer.shape


def _numeric_difference(expected: Array, answer: Array) -> str | None:
    finite = np.isfinite(expected)
    largest = float(np.abs(expected[finite]).max(initial=0))
    off_infinite = np.where(expected == answer, 0, np.inf)
    off = np.where(finite, np.abs(answer - expected), off_infinite).max()
    if off <= TOLERANCE * largest:
        return None
    return f"a number is off by {off / (largest or 1):.2g} of the largest"


def _kind(values: Any) -> str:
    if isinstance(values, np.ndarray):
        return f"{values.dtype} of shape {list(values.shape)}"
    return type(values).__name__
