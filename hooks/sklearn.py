"""scikit-learn: every estimator with a `predict`, and what other packages make in their shape."""

import copy
import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar

from generator.errors import ModelError, SettingError
from generator.running.rows import body_rows, columns
from generator.running.runtime import Signature

from .base import NATIVE, ONNX, Description, WrittenModelScaffoldDefinition
from .onnx import check, convert

MODEL_FILE = "model.joblib"
MOST_CLASSES = 1000
SHAPE = ("fit", "predict", "get_params", "set_params")
KINDS = {
    "classifier": "class",
    "regressor": "number",
    "clusterer": "cluster",
    "outlier_detector": "outlier",
}


class SKLearn(WrittenModelScaffoldDefinition):
    """scikit-learn's estimators, pipelines and search objects, and estimators such as XGBoost's and CatBoost's."""

    name: ClassVar[str] = "sklearn"

    def tolerance_of(self, config: Any) -> float:
        compiled = getattr(config, "onnx_sha256", None) or getattr(config, "engine", None) == ONNX
        return check.TOLERANCE if compiled else self.tolerance

    def recognises(self, model: object) -> bool:
        return _is_built_on_it(model) or all(
            callable(getattr(model, method, None)) for method in SHAPE
        )

    def check(self, model: Any) -> None:
        name = type(model).__name__
        try:
            from sklearn.exceptions import NotFittedError
            from sklearn.utils.validation import check_is_fitted
        except ImportError:
            raise ModelError(
                f"{name} is written as scikit-learn's estimators are: install scikit-learn"
            ) from None
        if not callable(getattr(model, "predict", None)):
            raise ModelError(
                f"{name} has no predict: pass the estimator that predicts, or a pipeline that ends in one"
            )
        try:
            check_is_fitted(model)
        except NotFittedError:
            raise ModelError(
                f"{name} is not fitted: call fit(X, y) before making a scaffold of it"
            ) from None
        except TypeError as error:
            raise ModelError(f"{name} is no estimator: {error}") from error

    def describe(self, model: Any, sample: Any) -> Description:
        signature = _input(model, sample)
        example, prediction = _example(model, signature, sample)
        distributions = {"joblib": f"reads {MODEL_FILE}"}
        if _is_built_on_it(model):
            distributions["scikit-learn"] = "what the estimator is built on"
        if signature is not None and signature["kind"] == "table":
            distributions["pandas"] = "rows become the DataFrame that the model was fitted on"
        return Description(signature, _output(model, prediction), example, distributions)

    def compiled(
        self, model: Any, engine: str | None, description: Description, sample: Any
    ) -> bytes | None:
        if engine in (None, NATIVE):
            return None
        if engine != ONNX:
            raise SettingError(f"engine {engine!r} is none of {NATIVE}, {ONNX}")
        convert.require()
        try:
            return convert.compiled(model, description, sample)
        except check.NotCompiled as error:
            message = f"engine {ONNX!r} is not for this {type(model).__name__}, the model itself is served: {error}"
            warnings.warn(message, UserWarning, stacklevel=5)
            return None

    def predict(self, model: Any, inputs: Any) -> Any:
        # A copy, as rows that arrive are: of the very array that a model keeps, BLAS multiplies it in another way.
        predictions = model.predict(copy.deepcopy(inputs))
        return predictions.toarray() if hasattr(predictions, "toarray") else predictions

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        import joblib

        path = directory / MODEL_FILE
        joblib.dump(model, path)
        return path


def _is_built_on_it(model: object) -> bool:
    base = sys.modules.get("sklearn.base")
    return base is not None and isinstance(model, base.BaseEstimator)


def _input(model: Any, sample: Any) -> dict[str, Any] | None:
    """What one row is. The sample knows dtypes, the model knows names and numbers."""
    names = _names(model)
    if hasattr(sample, "columns") and hasattr(sample, "dtypes"):
        _check_columns(sample, names)
        return {"kind": "table", "columns": columns(sample)}
    if names is not None:
        _check_width(sample, len(names))
        return {
            "kind": "table",
            "columns": [{"name": name, "type": "any", "dtype": None} for name in names],
        }
    if _takes_text(model):
        return {"kind": "text"}
    count = getattr(model, "n_features_in_", None)
    if sample is not None:
        return _array(sample, count)
    if count is None:
        return None
    return {
        "kind": "array",
        "shape": [int(count)],
        "dtype": "float64" if _takes_numbers(model) else None,
    }


def _names(model: Any) -> list[str] | None:
    """The names of the features; None where the model was fitted without."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:  # CatBoost numbers those that have none
        names = getattr(model, "feature_names_", None) or []
        names = None if list(names) == [str(index) for index in range(len(names))] else names
    return None if names is None else [str(name) for name in names]


def _check_columns(sample: Any, names: list[str] | None) -> None:
    given = list(sample.columns)
    if names not in (
        None,
        given,
        [str(name).replace(" ", "_") for name in given],
    ):  # LightGBM's names have no spaces
        raise SettingError(f"sample_input has the columns {given}, the model was fitted on {names}")


def _array(sample: Any, count: int | None) -> dict[str, Any] | None:
    if isinstance(sample, (list, tuple)) and sample and isinstance(sample[0], (str, dict)):
        return {"kind": "text"} if isinstance(sample[0], str) and count is None else None
    array = _as_array(sample)
    if count is not None:
        _check_width(array, count)
    dtype = array.dtype.name if array.dtype.kind in "biuf" else None
    return {"kind": "array", "shape": list(array.shape[1:]), "dtype": dtype}


def _check_width(sample: Any, count: int) -> None:
    if sample is None or (isinstance(sample, list) and sample and isinstance(sample[0], dict)):
        return
    shape = _as_array(sample).shape
    if len(shape) != 2 or shape[1] != count or not shape[0]:
        raise SettingError(
            f"sample_input has shape {list(shape)}, the model takes rows of {count} values: [n, {count}]"
        )


def _as_array(sample: Any) -> Any:
    import numpy as np

    try:
        return sample if hasattr(sample, "shape") else np.asarray(sample)
    except ValueError:
        raise SettingError(
            "sample_input has rows of different lengths: make them equally long"
        ) from None


def _first_step(model: Any) -> Any:
    """The estimator that sees the rows first: inside pipelines and search objects."""
    for attribute in ("best_estimator_", "steps"):
        inner = getattr(model, attribute, None)
        if inner is not None:
            return _first_step(inner[0][1] if attribute == "steps" else inner)
    return model


def _tags(model: Any) -> Any:
    """scikit-learn's input tags of the first step; None where the version has none (before 1.6)."""
    try:
        from sklearn.utils import get_tags

        return get_tags(_first_step(model)).input_tags
    except (ImportError, AttributeError, TypeError):
        return None


def _takes_text(model: Any) -> bool:
    tags = _tags(model)
    if tags is None:
        return type(_first_step(model)).__name__ in (
            "CountVectorizer",
            "TfidfVectorizer",
            "HashingVectorizer",
        )
    return bool(tags.string and not tags.two_d_array)


def _takes_numbers(model: Any) -> bool:
    """Whether rows can be nothing but numbers, so that texts are refused before the model sees them."""
    tags = _tags(model)
    return (
        tags is not None
        and not (tags.string or tags.categorical or tags.dict)
        and _first_step(model) is model
    )


def _example(
    model: Any, signature: dict[str, Any] | None, sample: Any
) -> tuple[list[Any] | None, Any]:
    """One row and its prediction: the sample's first, else one of zeros if the model in memory predicts from it."""
    candidates = [body_rows(sample)[:1]] if sample is not None else _zeros(signature)
    for candidate in candidates:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                inputs = Signature(signature).inputs(candidate)
                return candidate, model.predict(inputs)
        except Exception as error:
            if sample is not None:
                raise SettingError(
                    f"the model cannot predict from sample_input: {error}"
                ) from error
    return None, None


def _zeros(signature: dict[str, Any] | None) -> list[list[Any]]:
    if signature is None:
        return []
    if signature["kind"] == "text":
        return [["an example"]]
    if signature["kind"] == "table":
        return [[{column["name"]: 0 for column in signature["columns"]}]]
    return [[[0] * signature["shape"][0]]]


def _output(model: Any, prediction: Any) -> dict[str, Any]:
    """What a prediction is: its kind, dtype and shape, the classes, and whether there are probabilities."""
    output: dict[str, Any] = {"kind": _output_kind(model)}
    if hasattr(prediction, "dtype"):
        output |= {"dtype": str(prediction.dtype), "shape": list(prediction.shape[1:])}
    output["probabilities"] = hasattr(model, "predict_proba")
    classes: Any = getattr(model, "classes_", None)
    if hasattr(classes, "tolist") and len(classes) <= MOST_CLASSES:
        output["classes"] = [_plain(item) for item in classes.tolist()]
    return output


def _plain(item: Any) -> Any:
    return item if isinstance(item, (int, float, str, bool)) else str(item)


def _output_kind(model: Any) -> str | None:
    from sklearn import base

    for kind, name in KINDS.items():
        test = getattr(base, f"is_{kind}", None)
        if test is not None and test(model):
            return name
    return None
