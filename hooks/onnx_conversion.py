"""scikit-learn's models compiled for ONNX Runtime, and found to predict as they did."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from packaging.version import Version

from generator.errors import SettingError
from generator.runtime import TEMPLATE_SOURCE, load
from generator.samples import rows

from . import onnx_columns, onnx_trees
from .base import Description
from .onnx_graph import DOMAIN, KNOWN_VERSION, OPSET

TOLERANCE = 1e-6
"""How far a number may be from the model's own, as a part of the largest; labels must be equal."""
MOST_SAMPLE_ROWS = 1000
RANDOM_ROWS = 1000
SEED = 0
ADDS_TREES_UP = "1.24"  # the first version of ONNX Runtime that gives several trees of float64 their own leaves
Array = np.ndarray[Any, np.dtype[Any]]


class NotCompiled(Exception):
    """The model has no compiled form that predicts as it does. The message says why, on one line."""


def require() -> None:
    """Find that the packages are there.

    Raises:
        SettingError: they are not installed.
    """
    try:
        import onnxruntime  # noqa: F401
        import skl2onnx  # noqa: F401
    except ImportError as error:
        raise SettingError(f"engine 'onnx' needs {error.name}: run pip install skl2onnx onnxruntime") from error


def compiled(model: Any, description: Description, sample: Any) -> bytes:
    """The ONNX model that predicts as the model does, on the sample and on random rows.

    Args:
        model: a fitted estimator.
        description: what its rows and predictions are.
        sample: rows as its `predict` takes them; None where there are none.

    Raises:
        NotCompiled: there is none.
    """
    reasons = ["nothing is known of its rows: pass a sample_input"]
    for types in _input_types(description.input):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content = _convert(model, types)
                _check(content, model, description, sample)
                return content
        except NotCompiled as error:
            reasons.append(str(error))
        except Exception as error:  # of skl2onnx and ONNX Runtime, which raise what they please
            reasons.append(f"it cannot be converted: {_line(error)}")
    known = sample is not None or "sample_input" in reasons[-1]
    raise NotCompiled(reasons[-1] if known else f"{reasons[-1]}; a sample_input would tell more of its rows")


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


# ---- conversion ----


def _input_types(signature: dict[str, Any] | None) -> Iterator[list[tuple[str, Any]]]:
    """What skl2onnx may take the rows to be, in the order to try: name and type of each input.

    Numbers are float64 as scikit-learn takes them, in float32 only where the sample was: else thresholds and labels
    would be others.
    """
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    if signature is None:
        return
    if signature["kind"] == "text":
        yield [("rows", StringTensorType([None, 1]))]
    elif signature["kind"] == "array":
        numbers = FloatTensorType if signature["dtype"] == "float32" else DoubleTensorType
        yield [("rows", numbers([None, *signature["shape"]]))]
    else:
        columns = signature["columns"]
        texts = [_holds_texts(column) for column in columns]
        if not any(texts):
            yield [("rows", DoubleTensorType([None, len(columns)]))]
        yield [
            (column["name"], (StringTensorType if text else DoubleTensorType)([None, 1]))
            for column, text in zip(columns, texts, strict=True)
        ]


def _holds_texts(column: dict[str, Any]) -> bool:
    return column["type"] == "string" or any(isinstance(item, str) for item in column.get("categories", []))


def _convert(model: Any, types: list[tuple[str, Any]]) -> bytes:
    from skl2onnx import convert_sklearn

    trees, columns = onnx_trees.converters(), onnx_columns.converters()
    settings: dict[str, Any] = {
        "initial_types": types,
        "target_opset": {"": OPSET, DOMAIN: KNOWN_VERSION},
        "custom_conversion_functions": {**trees, **columns},
        "custom_shape_calculators": {
            **dict.fromkeys(trees, onnx_trees.set_output_types),
            **dict.fromkeys(columns, onnx_columns.set_output_types),
        },
    }
    estimator = getattr(model, "best_estimator_", model)
    try:  # without the dict of probabilities that classifiers are given
        converted = convert_sklearn(estimator, options={"zipmap": False}, **settings)
    except NameError:  # which others do not know
        converted = convert_sklearn(estimator, **settings)
    _check_operators({node.op_type for node in converted.graph.node})
    return bytes(_with_output_types(onnx_trees.finished(converted)).SerializeToString())


def _check_operators(kinds: set[str]) -> None:
    """Refuse operators that ONNX Runtime has, and that do not do here, or not everywhere, what they should."""
    import onnxruntime

    if "StringNormalizer" in kinds:
        raise NotCompiled("ONNX Runtime makes texts lower case by a locale that few machines have")
    if "TreeEnsemble" in kinds and Version(onnxruntime.__version__) < Version(ADDS_TREES_UP):
        raise NotCompiled(
            f"onnxruntime {onnxruntime.__version__} adds trees up wrongly: install {ADDS_TREES_UP} or later, which"
            " takes Python 3.11 or later"
        )


def _with_output_types(converted: Any) -> Any:
    """The ONNX model with the types that its outputs have: skl2onnx declares float32 where columns were joined."""
    from onnx.shape_inference import infer_shapes

    for output in converted.graph.output:
        output.type.Clear()
    inferred = {output.name: output.type for output in infer_shapes(converted).graph.output}
    for output in converted.graph.output:
        output.type.CopyFrom(inferred[output.name])
    return converted


# ---- the check ----


def _check(content: bytes, model: Any, description: Description, sample: Any) -> None:
    """Find that a compiled form predicts as the model does.

    Raises:
        NotCompiled: it does not.
    """
    engine = load(TEMPLATE_SOURCE, "onnx_engine").OnnxModel(content, None, description.output)
    inputs = None if sample is None else _taken(engine, _sample(description, sample))
    if inputs is not None:
        _compare(engine, model, inputs, "the sample")
    for drawn in _drawn(model, description, inputs):
        _compare(engine, model, drawn, "random rows")


def _sample(description: Description, sample: Any) -> Any:
    """Rows of the sample as the server gives them to the model."""
    listed = rows(sample)[:MOST_SAMPLE_ROWS]
    return load(TEMPLATE_SOURCE, "signature").Signature(description.input).inputs(listed)


def _taken(engine: Any, inputs: Any) -> Any:
    """Those of the rows that are not left to the model itself."""
    taken = [index for index in range(len(inputs)) if engine.takes(_part(inputs, [index]))]
    if not taken:
        raise NotCompiled("every row of the sample has a gap, or something else that is left to the model itself")
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
                f"the model cannot predict from {what} ({_line(error)}): pass a sample_input of more rows"
            ) from error
        try:
            came = getattr(engine, method)(inputs)
        except Exception as error:  # what it refuses would be left to the model itself
            raise NotCompiled(f"the compiled form takes not all of {what}") from error
        if difference := _difference(expected, came):
            raise NotCompiled(f"the compiled form does not {method} as the model does, on {what}: {difference}")


def _difference(expected: Any, came: Array) -> str | None:
    """What is not as it should be, in words; None where nothing is."""
    if not isinstance(expected, np.ndarray) or (expected.dtype.kind, expected.shape) != (came.dtype.kind, came.shape):
        return f"{_kind(expected)} was expected, {_kind(came)} came"
    if expected.dtype.kind != "f":
        wrong = int((expected != came).sum())
        return f"{wrong} of {expected.size} labels differ" if wrong else None
    finite = np.isfinite(expected)
    largest = float(np.abs(expected[finite]).max(initial=0))
    off = np.where(finite, np.abs(came - expected), np.where(expected == came, 0, np.inf)).max()
    return f"a number is off by {off / (largest or 1):.2g} of the largest" if not off <= TOLERANCE * largest else None


def _kind(values: Any) -> str:
    return f"{values.dtype} of shape {list(values.shape)}" if isinstance(values, np.ndarray) else type(values).__name__


# ---- random rows ----


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
    words = [*" ".join(sample).split(), "a", "I", "1", "x_y", "3.14", "it's", "non-word", ":-)", "..."]
    gaps = [" ", " ", "  ", "\n", "\t", "-", ", "]
    drawn = [random.choice(words, random.integers(1, 20)) for _ in range(RANDOM_ROWS)]
    return ["".join(word + random.choice(gaps) for word in text) for text in drawn]


def _numbers(random: np.random.Generator, sample: Array | None, width: int) -> Array:
    """Numbers of shape [RANDOM_ROWS, width]: near those of the sample, column by column, else of any size."""
    shape = (RANDOM_ROWS, width)
    if sample is None:
        return random.normal(size=shape) * 10.0 ** random.uniform(-2, 3, shape)
    picked = np.column_stack([random.choice(column, RANDOM_ROWS) for column in np.asarray(sample, float).T])
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
        drawn[name] = column.iloc[random.integers(0, len(column), RANDOM_ROWS)].reset_index(drop=True)
        if column.dtype.kind == "f":
            drawn[name] = pandas.Series(_numbers(random, column.to_numpy()[:, np.newaxis], 1)[:, 0])
    return pandas.DataFrame(drawn)


def _on_thresholds(random: np.random.Generator, model: Any, numbers: Array) -> Iterator[Array]:
    """The rows, moved to thresholds of the model's trees and to the numbers next to them."""
    estimator = getattr(model, "best_estimator_", model)
    steps = getattr(estimator, "steps", None)
    before = None if steps is None else estimator[:-1]
    by_feature: dict[int, list[float]] = {}
    for feature, threshold in onnx_trees.thresholds(estimator if steps is None else steps[-1][1]):
        if np.isfinite(threshold):
            by_feature.setdefault(feature, []).append(threshold)
    if not by_feature or (before is not None and not hasattr(before, "inverse_transform")):
        return
    moved = numbers.copy() if before is None else np.asarray(before.transform(numbers))
    for feature, thresholds in by_feature.items():
        moved[:, feature] = _beside(random, random.choice(thresholds, len(moved)))
    yield (moved if before is None else np.asarray(before.inverse_transform(moved))).astype(numbers.dtype)


def _beside(random: np.random.Generator, thresholds: Array) -> Array:
    """Each threshold, or the number before or after it, or next to it in float32."""
    single = thresholds.astype(np.float32)
    up, down = np.float32(np.inf), np.float32(-np.inf)
    near = [thresholds, np.nextafter(thresholds, np.inf), np.nextafter(thresholds, -np.inf)]
    near += [single.astype(float), np.nextafter(single, up).astype(float), np.nextafter(single, down).astype(float)]
    return np.choose(random.integers(0, len(near), len(thresholds)), near)
