"""scikit-learn: every estimator with a `predict`, and other packages' with its interface."""

import contextlib
import copy
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from generator.arguments import argument
from generator.common import Signature, column_example, schema, written
from generator.errors import ModelError, SettingError
from generator.owners import guarded, one_line, warn
from generator.progress import show
from generator.rows import arrays, samples, tables
from generator.rows.as_json import as_json
from generator.rows.body import body_rows
from generator.showing.answers_card import answers_card

from .. import outputs
from ..base import NATIVE, ONNX, Description, cannot_predict
from ..loading import edit_load
from ..methods import PREDICT, WithMethods
from . import columns, config, skops
from .onnx import check, convert

MODEL_FILE = "model.joblib"
MOST_CLASSES = 1000
INTERFACE = ("fit", "get_params", "set_params")
TAGS = "__sklearn_tags__"
Predict = Callable[[Any], Any]
"""What the model in memory gives for rows."""

FLOATS = ("float64", "float32")
LEARNED = ("cluster_centers_", "coef_", "means_")  # in the dtype of the rows
TEXT_STEPS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")
SPARSE_DOUBT = (
    "XGBoost reads what is absent in sparse rows as missing, and the model does not say whether it"
    " was fitted on such rows"
)
KINDS = {
    "classifier": "class",
    "regressor": "number",
    "clusterer": "cluster",
    "outlier_detector": "outlier",
}


class SKLearn(skops.WithSkops, WithMethods):
    """scikit-learn's estimators, pipelines and search objects, and what has their interface."""

    name: ClassVar[str] = "sklearn"
    defaults: ClassVar[tuple[str, ...]] = (PREDICT, "transform", "kneighbors", "score_samples")
    label: ClassVar[str] = "scikit-learn"
    models: ClassVar[str] = (
        "estimators, pipelines and search objects, and whatever else has their interface"
    )
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE, skops.SKOPS_FILE)
    has_gpu: ClassVar[bool] = False

    def tolerance_of(self, config: Any) -> float:
        if getattr(config, "onnx_sha256", None) or getattr(config, "engine", None) == ONNX:
            return check.TOLERANCE
        return self.tolerance

    def recognises(self, model: object) -> bool:
        methods = (getattr(model, name, None) for name in INTERFACE)
        has_interface = all(callable(method) for method in methods)
        return _is_built_on_it(model) or (has_interface and _has_tags(model))

    def sampled(self, model: Any, sample: Any) -> Any:
        """Rows that are objects as a DataFrame, unless the model itself takes objects."""
        if not samples.are_objects(sample):
            return sample
        names = _names(model)
        if names is None and _takes_objects(partial(self.predict, model), sample):
            return sample
        return samples.frame(sample, names)

    def check(self, model: Any) -> None:
        name = type(model).__name__
        try:
            from sklearn.exceptions import NotFittedError
            from sklearn.utils.validation import check_is_fitted
        except ImportError:
            raise ModelError(
                f"{name} has the interface of scikit-learn's estimators: install scikit-learn"
            ) from None
        try:
            check_is_fitted(model)
        except NotFittedError:
            raise ModelError(
                f"{name} is not fitted: call fit(X, y) before making a scaffold of it"
            ) from None
        except TypeError as error:
            raise ModelError(f"{name} is not an estimator: {error}") from error

    def describe(self, model: Any, sample: Any) -> Description:
        predict = partial(self.predict, model)
        described = _input(model, sample, predict)
        example, prediction, untried = _example(model, described, sample, predict)
        if sample is None and untried is None:
            untried = _unsaid(model, described)
        distributions = self._distributions(model)
        if isinstance(described, schema.TableInput):
            distributions |= tables.distributions(described, sample)
        output = self._output(model, prediction)
        return Description(described, output, example, distributions, prediction, untried)

    def compiled(
        self, model: Any, engine: str | None, description: Description, sample: Any
    ) -> bytes | None:
        if engine in (None, NATIVE):
            return None
        if not self.predicts or self.parameters:
            raise SettingError(
                f"{argument('engine')} {engine!r} answers predict alone: leave"
                f" {argument('method')} and {argument('parameters')} out"
            )
        if engine != ONNX:
            raise SettingError(f"{argument('engine')} {engine!r} is none of {NATIVE}, {ONNX}")
        convert.require()
        try:
            return convert.compiled(model, description, sample)
        except check.NotCompiled as error:
            warn(
                f"{argument('engine')} {ONNX!r} is not for this {type(model).__name__}, the model"
                f" itself is served: {error}"
            )
            if error.answers is not None:
                expected, answered = (as_json(each, "predictions") for each in error.answers)
                show(answers_card(expected, answered, str(error), False), str(error))
            return None

    def _distributions(self, model: Any) -> dict[str, str]:
        """What serving needs besides the model's own classes and the tables of its rows."""
        needed = {**config.distributions(), "joblib": f"reads {MODEL_FILE}"}
        if _is_built_on_it(model):
            needed["scikit-learn"] = "what the estimator is built on"
        return needed

    def _output(self, model: Any, prediction: Any) -> schema.ModelOutput | None:
        """What a prediction is, as `model.output` describes it."""
        if not self.predicts:
            return outputs.described(prediction)
        return estimator_output(model, prediction, _output_kind(model))

    def facts(self, model: Any) -> dict[str, Any]:
        return {**super().facts(model), **config.facts()}

    def predict(self, model: Any, inputs: Any) -> Any:
        # A copy, because the rows of a request are a copy too. BLAS multiplies an array
        # differently if the model itself keeps it.
        def call(method: str, inputs: Any, **parameters: Any) -> Any:
            found = getattr(model, method)(copy.deepcopy(inputs), **parameters)
            if hasattr(found, "toarray"):
                return found.toarray()
            return found

        return self.called(call, inputs)

    def edit_code(self, served: Any, path: Path) -> bool:
        if isinstance(served, skops.Skops):
            edit_load(path, skops.SKOPS, skops.JOBLIB, skops.LOAD, skops.FUNCTION)
        return isinstance(served, skops.Skops)

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        import joblib

        if isinstance(model, skops.Skops):
            return skops.write(model.model, directory / skops.SKOPS_FILE)
        path = directory / MODEL_FILE
        joblib.dump(model, path)
        return path


def _is_built_on_it(model: object) -> bool:
    base = sys.modules.get("sklearn.base")
    return base is not None and isinstance(model, base.BaseEstimator)


def _has_tags(model: object) -> bool:
    """Whether it has the tags that scikit-learn asks of an estimator; sktime's have others."""
    base = sys.modules.get("sklearn.base")
    has_none = base is None or not hasattr(base.BaseEstimator, TAGS)  # before 1.6
    return has_none or hasattr(model, TAGS)


# ---- what a row is ----


def _input(model: Any, sample: Any, predict: Predict) -> schema.ModelInput | None:
    """What one row is: dtypes from the sample, names and the number of features from the model."""
    names = _names(model)
    if tables.is_frame(sample):
        _check_columns(sample, names)
        return tables.described(sample)
    if names is not None:
        _check_width(sample, len(names))
        if not samples.can_make_tables() or hasattr(sample, "toarray"):
            return _without_tables(model, sample, names, predict)
        return tables.of_columns(_columns(model, names, sample))
    if _takes_text(model):
        return schema.TextInput()
    count = _width(model)
    if sample is not None:
        return _sampled(sample, count)
    if count is None:
        return None
    return _unsampled(model, int(count), predict)


def _unsampled(model: Any, count: int, predict: Predict) -> schema.ArrayInput:
    """What one row is, of the dtypes the first in which the model predicts from zeros."""
    tried: list[str | None] = [None, *FLOATS]
    if _takes_numbers(model):
        tried = sorted(FLOATS, key=lambda name: name != _fitted_dtype(model))
    rows = [schema.ArrayInput((count,), dtype) for dtype in tried]
    return next((row for row in rows if _guessed(model, row, predict)[0] is not None), rows[0])


def _without_tables(
    model: Any, sample: Any, names: list[str], predict: Predict
) -> schema.ArrayInput:
    """What one row is where no library for tables is installed, or the rows are sparse."""
    described = _unsampled(model, len(names), predict)
    if sample is not None:
        described = arrays.described(_as_array(sample))
    return replace(described, names=tuple(names))


def _unsaid(model: Any, described: schema.ModelInput | None) -> str | None:
    """What answers depend on, and the model does not say; None if it says it all."""
    package = type(_first_step(model)).__module__.partition(".")[0]
    if package != "xgboost" or not isinstance(described, schema.ArrayInput):
        return None
    return SPARSE_DOUBT


def _fitted_dtype(model: Any) -> str | None:
    """The dtype that the model was fitted on, where what it has learned has the same."""
    learned = (getattr(getattr(model, name, None), "dtype", None) for name in LEARNED)
    return next((str(dtype) for dtype in learned if dtype is not None), None)


def _columns(model: Any, names: list[str], sample: Any) -> tuple[schema.Column, ...]:
    """The columns of a model without a DataFrame of them."""
    dtype = getattr(sample, "dtype", None)
    if dtype is not None and dtype.kind in "biuf":
        kind = {"b": "boolean"}.get(dtype.kind, "number")
        return tuple(schema.Column(name, kind, str(dtype)) for name in names)
    return columns.learned(model, names)


def _names(model: Any) -> list[str] | None:
    """The names of the features; None if the model was fitted without names."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        names = getattr(model, "feature_names_", None) or []  # CatBoost's, numbers by default
        if list(names) == [str(index) for index in range(len(names))]:
            return None
    return [str(name) for name in names]


def _width(model: Any) -> int | None:
    """The number of features; None if the model does not say it."""
    count = getattr(model, "n_features_in_", None)
    if count == 0:  # CatBoost's, where it was read from a file
        return len(getattr(model, "feature_names_", None) or ()) or None
    return count


def _check_columns(sample: Any, names: list[str] | None) -> None:
    given = list(sample.columns)
    lightgbm = [str(name).replace(" ", "_") for name in given]  # its names have no spaces
    if names not in (None, given, lightgbm):
        raise SettingError(
            f"{argument('sample_input')} has the columns {given}, the model was fitted on {names}"
        )


def _sampled(sample: Any, count: int | None) -> schema.ModelInput | None:
    """What one row is, from rows without names. `count` is the model's number of features."""
    if isinstance(sample, (list, tuple)) and sample and isinstance(sample[0], dict):
        return None
    if isinstance(sample, (list, tuple)) and sample and isinstance(sample[0], str):
        return schema.TextInput() if count is None else None
    array = _as_array(sample)
    if count is not None:
        _check_width(array, count)
    return arrays.described(array)


def _check_width(sample: Any, count: int) -> None:
    if sample is None or (isinstance(sample, list) and sample and isinstance(sample[0], dict)):
        return
    shape = _as_array(sample).shape
    if len(shape) != 2 or shape[1] != count or not shape[0]:
        raise SettingError(
            f"{argument('sample_input')} has shape {list(shape)}, the model takes rows of {count}"
            f" values: [n, {count}]"
        )


def _as_array(sample: Any) -> Any:
    import numpy as np

    if hasattr(sample, "shape"):
        return sample
    try:
        return np.asarray(sample)
    except ValueError:
        raise SettingError(
            f"{argument('sample_input')} has rows of different lengths: make them equally long"
        ) from None


def _first_step(model: Any) -> Any:
    """The estimator that gets the rows first, inside pipelines and search objects."""
    if (best := getattr(model, "best_estimator_", None)) is not None:
        return _first_step(best)
    if (steps := getattr(model, "steps", None)) is not None:
        return _first_step(steps[0][1])
    return model


def _tags(model: Any) -> Any:
    """scikit-learn's input tags of the first step; None where the version has none (before 1.6)."""
    try:
        from sklearn.utils import get_tags

        return get_tags(_first_step(model)).input_tags
    except (ImportError, AttributeError, TypeError):
        return None


def _takes_objects(predict: Predict, sample: Any) -> bool:
    """Whether the model in memory predicts from rows that are objects, as DictVectorizer does."""
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        predict(sample)
        return True
    return False


def _takes_text(model: Any) -> bool:
    tags = _tags(model)
    if tags is None:
        return type(_first_step(model)).__name__ in TEXT_STEPS
    return bool(tags.string and not tags.two_d_array)


def _takes_numbers(model: Any) -> bool:
    """Whether a row holds only numbers: then texts are refused before the model gets them."""
    tags = _tags(model)
    if tags is None or _first_step(model) is not model:
        return False
    return not (tags.string or tags.categorical or tags.dict)


# ---- an example and its prediction ----


def _example(
    model: Any, described: schema.ModelInput | None, sample: Any, predict: Predict
) -> tuple[list[Any] | None, Any, str | None]:
    """One row and its prediction: the sample's first row, else zeros if the model takes them.

    The third part is why there is none.
    """
    if sample is None:
        return _guessed(model, described, predict)
    row = body_rows(arrays.first(sample))
    with guarded(cannot_predict(), SettingError):
        return row, _prediction(predict, described, row), None


def _guessed(
    model: Any, described: schema.ModelInput | None, predict: Predict
) -> tuple[list[Any] | None, Any, str | None]:
    row = _zeros(described)
    if row is None:
        return None, None, "the model does not say what a row is"
    if isinstance(described, schema.TableInput):
        with contextlib.suppress(Exception):  # attributes that only look like scikit-learn's
            known = columns.first_categories(model, described.names)
            row = body_rows([{**row[0], **known}])
    try:
        return row, _prediction(predict, described, row), None
    except Exception as error:
        return None, None, f"it does not predict from {_tried(row)}: {one_line(error)}"


def _tried(row: list[Any]) -> str:
    if isinstance(row[0], list):
        return "zeros"
    return written(row[0])


def _prediction(predict: Predict, described: schema.ModelInput | None, row: list[Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return predict(Signature(described).inputs(row))


def _zeros(described: schema.ModelInput | None) -> list[Any] | None:
    match described:
        case schema.TextInput():
            return ["an example"]
        case schema.TableInput():
            return [{column.name: column_example(column) for column in described.columns}]
        case schema.ArrayInput(shape=(int(width),)):
            return [[0] * width]
    return None


# ---- what a prediction is ----


def estimator_output(model: Any, prediction: Any, kind: str | None) -> schema.EstimatorOutput:
    """What a prediction of an estimator of a kind is; None for a kind that is not known."""
    output = schema.EstimatorOutput(
        kind=kind,
        probabilities=hasattr(model, "predict_proba"),
        classes=_classes(model),
    )
    if not hasattr(prediction, "dtype"):
        return output
    return replace(output, dtype=str(prediction.dtype), shape=tuple(prediction.shape[1:]))


def _classes(model: Any) -> tuple[Any, ...] | None:
    classes: Any = getattr(model, "classes_", None)
    if not hasattr(classes, "tolist") or len(classes) > MOST_CLASSES:
        return None
    return tuple(_plain(item) for item in classes.tolist())


def _plain(item: Any) -> Any:
    if isinstance(item, (int, float, str, bool)):
        return item
    return str(item)


def _output_kind(model: Any) -> str | None:
    from sklearn import base

    for kind, name in KINDS.items():
        test = getattr(base, f"is_{kind}", None)
        if test is not None and test(model):
            return name
    return None
