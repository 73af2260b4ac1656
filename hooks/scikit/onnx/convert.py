"""Converts scikit-learn models to ONNX with skl2onnx, and keeps only what predicts as they do."""

import warnings
from collections.abc import Iterator
from typing import Any

from packaging.version import Version

from generator.arguments import argument
from generator.common import schema
from generator.errors import SettingError

from ...base import Description
from . import columns as onnx_columns
from . import trees as onnx_trees
from .check import NotCompiled, check, one_line
from .graph import DOMAIN, KNOWN_VERSION, OPSET
from .tree_operator import with_declared_version

# Earlier versions of ONNX Runtime give several float64 trees wrong leaves.
FIRST_WITH_TREES = "1.24"

Types = list[tuple[str, Any]]
"""The name and skl2onnx's type of each input."""


def require() -> None:
    """Check that skl2onnx and ONNX Runtime are installed.

    Raises:
        SettingError: one of them is not.
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
        sample: rows as its `predict` takes them; None if there are none.

    Raises:
        NotCompiled: no conversion predicts as the model does.
    """
    answers = None
    reason = f"nothing is known about its rows: pass a {argument('sample_input')}"
    for types in _input_types(description.input):
        try:
            return _checked(model, types, description, sample)
        except NotCompiled as error:
            reason, answers = str(error), error.answers
        except Exception as error:  # skl2onnx and ONNX Runtime raise errors of many types
            reason, answers = f"it cannot be converted: {one_line(error)}", None
    if sample is None and "sample_input" not in reason:
        reason += f"; a {argument('sample_input')} would say more about its rows"
    raise NotCompiled(reason, answers)


def _checked(model: Any, types: Types, description: Description, sample: Any) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = to_onnx(model, types)
        check(content, model, description, sample)
    return content


def _input_types(described: schema.ModelInput | None) -> Iterator[Types]:
    """What skl2onnx may take the rows to be, in the order to try.

    Numbers are float64, as scikit-learn takes them, and float32 only if the sample was. Otherwise
    the model would compare other numbers with its thresholds.
    """
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    if isinstance(described, schema.TextInput):
        yield [("rows", StringTensorType([None, 1]))]
    elif isinstance(described, schema.ArrayInput):
        numbers = {"float32": FloatTensorType}.get(described.dtype or "", DoubleTensorType)
        yield [("rows", numbers([None, *(described.shape or ())]))]
    elif isinstance(described, schema.TableInput):
        columns = described.columns
        if not any(map(_has_texts, columns)):
            yield [("rows", DoubleTensorType([None, len(columns)]))]
        types = {True: StringTensorType, False: DoubleTensorType}
        yield [(column.name, types[_has_texts(column)]([None, 1])) for column in columns]


def _has_texts(column: schema.Column) -> bool:
    categories = column.categories or ()
    return column.type == "string" or any(isinstance(item, str) for item in categories)


def to_onnx(model: Any, types: Types) -> bytes:
    """The model as ONNX, before it is compared.

    Raises:
        NotCompiled: it has an operator that ONNX Runtime computes differently.
        Exception: skl2onnx cannot convert it.
    """
    from skl2onnx import convert_sklearn

    settings = _settings(types)
    estimator = getattr(model, "best_estimator_", model)
    try:  # zipmap would give the probabilities of a classifier as dicts
        converted = convert_sklearn(estimator, options={"zipmap": False}, **settings)
    except NameError:  # other estimators do not have this option
        converted = convert_sklearn(estimator, **settings)
    _check_operators({node.op_type for node in converted.graph.node})
    return bytes(_with_output_types(with_declared_version(converted)).SerializeToString())


def _settings(types: Types) -> dict[str, Any]:
    """The arguments of skl2onnx's `convert_sklearn`."""
    trees, columns = onnx_trees.converters(), onnx_columns.converters()
    return {
        "initial_types": types,
        "target_opset": {"": OPSET, DOMAIN: KNOWN_VERSION},
        "custom_conversion_functions": {**trees, **columns},
        "custom_shape_calculators": {
            **dict.fromkeys(trees, onnx_trees.set_output_types),
            **dict.fromkeys(columns, onnx_columns.set_output_types),
        },
    }


def _check_operators(kinds: set[str]) -> None:
    """Refuse operators that ONNX Runtime computes differently, or not on every machine."""
    import onnxruntime

    if "StringNormalizer" in kinds:
        raise NotCompiled(
            "ONNX Runtime makes texts lower case with a locale that few machines have"
        )
    if "TreeEnsemble" in kinds and Version(onnxruntime.__version__) < Version(FIRST_WITH_TREES):
        raise NotCompiled(
            f"onnxruntime {onnxruntime.__version__} computes trees wrongly: install "
            f"{FIRST_WITH_TREES} or later, which needs Python 3.11 or later"
        )


def _with_output_types(converted: Any) -> Any:
    """The ONNX model with inferred types of its outputs.

    skl2onnx declares float32 where columns of float64 were joined.
    """
    from onnx.shape_inference import infer_shapes

    for output in converted.graph.output:
        output.type.Clear()
    inferred = {output.name: output.type for output in infer_shapes(converted).graph.output}
    for output in converted.graph.output:
        output.type.CopyFrom(inferred[output.name])
    return converted
