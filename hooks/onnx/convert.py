"""scikit-learn's models compiled for ONNX Runtime, and found to predict as they did."""

import warnings
from collections.abc import Iterator
from typing import Any

from packaging.version import Version

from generator.errors import SettingError

from ..base import Description
from . import columns as onnx_columns
from . import trees as onnx_trees
from .check import NotCompiled, check, line
from .graph import DOMAIN, KNOWN_VERSION, OPSET

ADDS_TREES_UP = (
    "1.24"  # the first version of ONNX Runtime that gives several trees of float64 their own leaves
)


def require() -> None:
    """Find that the packages are there.

    Raises:
        SettingError: they are not installed.
    """
    try:
        import onnxruntime  # noqa: F401
        import skl2onnx  # noqa: F401
    except ImportError as error:
        raise SettingError(
            f"engine 'onnx' needs {error.name}: run pip install skl2onnx onnxruntime"
        ) from error


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
                check(content, model, description, sample)
                return content
        except NotCompiled as error:
            reasons.append(str(error))
        except Exception as error:  # of skl2onnx and ONNX Runtime, which raise what they please
            reasons.append(f"it cannot be converted: {line(error)}")
    known = sample is not None or "sample_input" in reasons[-1]
    raise NotCompiled(
        reasons[-1] if known else f"{reasons[-1]}; a sample_input would tell more of its rows"
    )


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
    return column["type"] == "string" or any(
        isinstance(item, str) for item in column.get("categories", [])
    )


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
