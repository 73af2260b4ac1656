"""No framework: any object with a `predict` that can be pickled, which no other framework takes."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from generator.arguments import NAME, argument
from generator.common import Signature, schema
from generator.errors import ModelError, SettingError
from generator.owners import guarded
from generator.rows import arrays, tables
from generator.rows.body import body_rows

from .. import outputs
from ..base import Description, WrittenModelScaffoldDefinition, cannot_predict
from ..methods import PREDICT, check_returns
from ..scikit import config

MODEL_FILE = "model.pickle"
SCIPY = {"scipy": "rows become the sparse array that the model takes"}


class Custom(WrittenModelScaffoldDefinition):
    """Any object with a `predict` that no other framework recognises."""

    name: ClassVar[str] = "custom"
    label: ClassVar[str] = "another, or none"
    models: ClassVar[str] = "any other object that has a `predict` and can be pickled"
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)

    def recognises(self, model: object) -> bool:
        return callable(getattr(model, "predict", None))

    def check(self, model: Any) -> None:
        if not self.recognises(model):
            raise ModelError(
                f"{type(model).__name__} has no predict: pass an object whose predict takes rows,"
                f" or {argument('method', NAME)} with the method that does, or make a scaffold"
                " without a model with generator.new, and write load and predict in it"
            )
        if getattr(model, "is_fitted", None) is False:  # sktime's
            raise ModelError(
                f"{type(model).__name__} is not fitted: call fit before making a scaffold of it"
            )
        check_returns(model, PREDICT)

    def describe(self, model: Any, sample: Any) -> Description:
        if sample is None:
            untried = "an object does not say what a row is"
            return Description(None, None, None, config.distributions(), untried=untried)
        described = _input(sample)
        example = body_rows(sample)[:1]
        with guarded(cannot_predict(), SettingError):
            prediction = self.predict(model, Signature(described).inputs(example))
        distributions = config.distributions()
        if isinstance(described, schema.TableInput):
            distributions |= tables.distributions(described, sample)
        if getattr(described, "sparse", None) is not None:
            distributions |= SCIPY
        output = outputs.described(prediction)
        return Description(described, output, example, distributions, prediction)

    def facts(self, model: Any) -> dict[str, Any]:
        return {**super().facts(model), **config.facts()}

    def predict(self, model: Any, inputs: Any) -> Any:
        return model.predict(inputs)

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        path = directory / MODEL_FILE
        with path.open("wb") as file:
            pickle.dump(model, file, protocol=pickle.HIGHEST_PROTOCOL)
        return path


def _input(sample: Any) -> schema.ModelInput:
    """What one row is, so that the object gets the same types from the server as in memory."""
    if tables.is_frame(sample):
        return tables.described(sample)
    if isinstance(sample, Mapping):
        inputs = (_tensor(str(name), np.asarray(part)) for name, part in sample.items())
        return schema.TensorsInput(inputs=tuple(inputs))
    if hasattr(sample, "shape") and hasattr(sample, "dtype"):
        return arrays.described(sample)
    if not isinstance(sample, (list, tuple)):
        raise SettingError(
            f"{argument('sample_input')} is a {type(sample).__name__}: pass rows as an array, a"
            " DataFrame, a list or a dict of arrays"
        )
    if all(isinstance(row, str) for row in sample):
        return schema.TextInput()
    if all(isinstance(row, bytes) for row in sample):
        return schema.TextInput(schema.BYTES)
    return schema.JsonInput(_holds_bytes(sample) or None)


def _tensor(name: str, array: Any) -> schema.Tensor:
    return schema.Tensor(name, array.shape[1:], arrays.dtype_name(array))


def _holds_bytes(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return isinstance(value, bytes)
    return any(map(_holds_bytes, value))
