"""Draws random rows to compare a compiled form with its model."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from generator.common import schema

from ...base import Description
from .tree import thresholds

ROWS = 1000
SEED = 0

WORDS = "a I 1 x_y 3.14 it's non-word :-) ..."
GAPS = (" ", " ", "  ", "\n", "\t", "-", ", ")

Array = np.ndarray[Any, np.dtype[Any]]


def random_inputs(model: Any, description: Description, sample: Any) -> Iterator[Any]:
    """Random rows that the description allows, as the model's `predict` takes them.

    If trees read numbers as they come, there are also rows on their thresholds and next to them.

    Args:
        model: the fitted estimator.
        description: what its rows are, which must be known.
        sample: rows to resemble; None if there are none.
    """
    random = np.random.default_rng(SEED)
    described = description.input
    if isinstance(described, schema.TextInput):
        yield _texts(random, sample)
    elif isinstance(described, schema.ArrayInput):
        [width] = described.shape or ()
        assert width is not None
        numbers = _numbers(random, sample, width).astype(described.dtype or "float64")
        yield numbers
        yield from rows_on_thresholds(random, model, numbers)
    elif isinstance(described, schema.TableInput):
        table = _table(random, described.names, sample)
        yield table
        if all(dtype.kind == "f" for dtype in table.dtypes):
            for numbers in rows_on_thresholds(random, model, table.to_numpy()):
                yield type(table)(numbers, columns=table.columns)


def _texts(random: np.random.Generator, sample: list[str]) -> list[str]:
    """Texts of the sample's words and some that are hard to split."""
    words = [*" ".join(sample).split(), *WORDS.split()]
    drawn = [random.choice(words, random.integers(1, 20)) for _ in range(ROWS)]
    return ["".join(word + random.choice(GAPS) for word in text) for text in drawn]


def _numbers(random: np.random.Generator, sample: Array | None, width: int) -> Array:
    """Numbers of shape [ROWS, width]: near the sample's in each column, else of any size."""
    shape = (ROWS, width)
    if sample is None:
        return random.normal(size=shape) * 10.0 ** random.uniform(-2, 3, shape)
    picked = np.column_stack(
        [random.choice(column, ROWS) for column in np.asarray(sample, float).T]
    )
    moved = random.normal(size=shape) * sample.std(axis=0)
    return np.where(random.random(shape) < 0.5, picked, picked + moved)


def _table(random: np.random.Generator, names: Sequence[str], sample: Any) -> Any:
    """A DataFrame of ROWS rows: values of the sample, and numbers near them."""
    import pandas

    if sample is None:
        return pandas.DataFrame(_numbers(random, None, len(names)), columns=list(names))
    drawn = {}
    for name in sample.columns:
        column = sample[name]
        picked = column.iloc[random.integers(0, len(column), ROWS)]
        drawn[name] = picked.reset_index(drop=True)
        if column.dtype.kind == "f":
            drawn[name] = pandas.Series(_numbers(random, column.to_numpy()[:, np.newaxis], 1)[:, 0])
    return pandas.DataFrame(drawn)


def rows_on_thresholds(random: np.random.Generator, model: Any, numbers: Array) -> Iterator[Array]:
    """The rows, moved to thresholds of the model's trees and to the numbers next to them.

    There are none if the model has no trees, or if a step before them cannot be inverted.
    """
    before, last = _split(getattr(model, "best_estimator_", model))
    by_feature: dict[int, list[float]] = {}
    for feature, threshold in thresholds(last):
        if np.isfinite(threshold):
            by_feature.setdefault(feature, []).append(threshold)
    if not by_feature:
        return
    if before is None:
        yield _moved(random, numbers, by_feature).astype(numbers.dtype)
    elif hasattr(before, "inverse_transform"):
        moved = _moved(random, before.transform(numbers), by_feature)
        yield np.asarray(before.inverse_transform(moved)).astype(numbers.dtype)


def _split(estimator: Any) -> tuple[Any, Any]:
    """A pipeline without its last step, and that step; None and the estimator if it is none."""
    if not hasattr(estimator, "steps"):
        return None, estimator
    return estimator[:-1], estimator[-1]


def _moved(random: np.random.Generator, numbers: Any, by_feature: dict[int, list[float]]) -> Array:
    moved = np.array(numbers)
    for feature, found in by_feature.items():
        moved[:, feature] = _nearby(random, random.choice(found, len(moved)))
    return moved


def _nearby(random: np.random.Generator, numbers: Array) -> Array:
    """Each number, or the one before or after it, or one next to it in float32."""
    single = numbers.astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    near = [
        numbers,
        np.nextafter(numbers, np.inf),
        np.nextafter(numbers, -np.inf),
        single.astype(float),
        np.nextafter(single, up).astype(float),
        np.nextafter(single, down).astype(float),
    ]
    return np.choose(random.integers(0, len(near), len(numbers)), near)
