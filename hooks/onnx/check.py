"""Whether a compiled form predicts as the model that it was compiled of: on the sample and on random rows."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from generator.running.rows import rows
from generator.running.runtime import OnnxModel, Signature

from ..base import Description
from . import trees

TOLERANCE = 1e-6
"""How far a number may be from the model's own, as a part of the largest; labels must be equal."""
MOST_SAMPLE_ROWS = 1000


RANDOM_ROWS = 1000


SEED = 0


Array = np.ndarray[Any, np.dtype[Any]]


class NotCompiled(Exception):
    """The model has no compiled form that predicts as it does. The message says why, on one line."""


def line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def check(content: bytes, model: Any, description: Description, sample: Any) -> None:
    """Find that a compiled form predicts as the model does.

    Raises:
        NotCompiled: it does not.
    """
    engine = OnnxModel(content, None, description.output)
    inputs = None if sample is None else _taken(engine, _sample(description, sample))
    if inputs is not None:
        _compare(engine, model, inputs, "the sample")
    for drawn in _drawn(model, description, inputs):
        _compare(engine, model, drawn, "random rows")


def _sample(description: Description, sample: Any) -> Any:
    """Rows of the sample as the server gives them to the model."""
    listed = rows(sample)[:MOST_SAMPLE_ROWS]
    return Signature(description.input).inputs(listed)


def _taken(engine: Any, inputs: Any) -> Any:
    """Those of the rows that are not left to the model itself."""
    taken = [index for index in range(len(inputs)) if engine.takes(_part(inputs, [index]))]
    if not taken:
        raise NotCompiled(
            "every row of the sample has a gap, or something else that is left to the model itself"
        )
    return _part(inputs, taken)


def _part(inputs: Any, indices: Any) -> Any:
    if isinstance(inputs, list):
        return [inputs[index] for index in indices]
    return inputs[indices] if isinstance(inputs, np.ndarray) else inputs.iloc[indices]


def _compare(engine: Any, model: Any, inputs: Any, what: str) -> None:
    if not engine.takes(inputs):
        raise NotCompiled(f"{what} would be left to the model itself")
    methods = ["predict", *(["predict_proba"] if hasattr(engine, "predict_proba") else [])]
    for method in methods:
        try:
            expected = getattr(model, method)(inputs)
        except Exception as error:
            raise NotCompiled(
                f"the model cannot predict from {what} ({line(error)}): pass a sample_input of more rows"
            ) from error
        try:
            came = getattr(engine, method)(inputs)
        except Exception as error:  # what it refuses would be left to the model itself
            raise NotCompiled(f"the compiled form takes not all of {what}") from error
        if difference := _difference(expected, came):
            raise NotCompiled(
                f"the compiled form does not {method} as the model does, on {what}: {difference}"
            )


def _difference(expected: Any, came: Array) -> str | None:
    """What is not as it should be, in words; None where nothing is."""
    if not isinstance(expected, np.ndarray) or (expected.dtype.kind, expected.shape) != (
        came.dtype.kind,
        came.shape,
    ):
        return f"{_kind(expected)} was expected, {_kind(came)} came"
    if expected.dtype.kind != "f":
        wrong = int((expected != came).sum())
        return f"{wrong} of {expected.size} labels differ" if wrong else None
    finite = np.isfinite(expected)
    largest = float(np.abs(expected[finite]).max(initial=0))
    off = np.where(finite, np.abs(came - expected), np.where(expected == came, 0, np.inf)).max()
    return (
        f"a number is off by {off / (largest or 1):.2g} of the largest"
        if not off <= TOLERANCE * largest
        else None
    )


def _kind(values: Any) -> str:
    return (
        f"{values.dtype} of shape {list(values.shape)}"
        if isinstance(values, np.ndarray)
        else type(values).__name__
    )


def _drawn(model: Any, description: Description, sample: Any) -> Iterator[Any]:
    """Random rows within the signature; where trees see numbers, also rows on and beside their thresholds."""
    random = np.random.default_rng(SEED)
    signature = description.input
    assert signature is not None
    if signature["kind"] == "text":
        yield _texts(random, sample)
    elif signature["kind"] == "array":
        (width,) = signature["shape"]
        numbers = _numbers(random, sample, width).astype(signature["dtype"] or "float64")
        yield numbers
        yield from _on_thresholds(random, model, numbers)
    else:
        yield (table := _table(random, signature["columns"], sample))
        if all(dtype.kind == "f" for dtype in table.dtypes):
            for numbers in _on_thresholds(random, model, table.to_numpy()):
                yield type(table)(numbers, columns=table.columns)


def _texts(random: np.random.Generator, sample: list[str] | None) -> list[str]:
    if sample is None:
        raise NotCompiled("texts are compared on a sample: pass a sample_input")
    words = [
        *" ".join(sample).split(),
        "a",
        "I",
        "1",
        "x_y",
        "3.14",
        "it's",
        "non-word",
        ":-)",
        "...",
    ]
    gaps = [" ", " ", "  ", "\n", "\t", "-", ", "]
    drawn = [random.choice(words, random.integers(1, 20)) for _ in range(RANDOM_ROWS)]
    return ["".join(word + random.choice(gaps) for word in text) for text in drawn]


def _numbers(random: np.random.Generator, sample: Array | None, width: int) -> Array:
    """Numbers of shape [RANDOM_ROWS, width]: near those of the sample, column by column, else of any size."""
    shape = (RANDOM_ROWS, width)
    if sample is None:
        return random.normal(size=shape) * 10.0 ** random.uniform(-2, 3, shape)
    picked = np.column_stack(
        [random.choice(column, RANDOM_ROWS) for column in np.asarray(sample, float).T]
    )
    moved = random.normal(size=shape) * sample.std(axis=0)
    return np.where(random.random(shape) < 0.5, picked, picked + moved)


def _table(random: np.random.Generator, columns: list[dict[str, Any]], sample: Any) -> Any:
    import pandas

    if sample is None:
        numbers = _numbers(random, None, len(columns))
        return pandas.DataFrame(numbers, columns=[column["name"] for column in columns])
    drawn = {}
    for name in sample.columns:
        column = sample[name]
        drawn[name] = column.iloc[random.integers(0, len(column), RANDOM_ROWS)].reset_index(
            drop=True
        )
        if column.dtype.kind == "f":
            drawn[name] = pandas.Series(_numbers(random, column.to_numpy()[:, np.newaxis], 1)[:, 0])
    return pandas.DataFrame(drawn)


def _on_thresholds(random: np.random.Generator, model: Any, numbers: Array) -> Iterator[Array]:
    """The rows, moved to thresholds of the model's trees and to the numbers next to them."""
    estimator = getattr(model, "best_estimator_", model)
    steps = getattr(estimator, "steps", None)
    before = None if steps is None else estimator[:-1]
    by_feature: dict[int, list[float]] = {}
    for feature, threshold in trees.thresholds(estimator if steps is None else steps[-1][1]):
        if np.isfinite(threshold):
            by_feature.setdefault(feature, []).append(threshold)
    if not by_feature or (before is not None and not hasattr(before, "inverse_transform")):
        return
    moved = numbers.copy() if before is None else np.asarray(before.transform(numbers))
    for feature, thresholds in by_feature.items():
        moved[:, feature] = _beside(random, random.choice(thresholds, len(moved)))
    yield (moved if before is None else np.asarray(before.inverse_transform(moved))).astype(
        numbers.dtype
    )


def _beside(random: np.random.Generator, thresholds: Array) -> Array:
    """Each threshold, or the number before or after it, or next to it in float32."""
    single = thresholds.astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    near = [thresholds, np.nextafter(thresholds, np.inf), np.nextafter(thresholds, -np.inf)]
    near += [
        single.astype(float),
        np.nextafter(single, up).astype(float),
        np.nextafter(single, down).astype(float),
    ]
    return np.choose(random.integers(0, len(near), len(thresholds)), near)
