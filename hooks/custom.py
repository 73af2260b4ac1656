"""No framework: any object that has a `predict` and can be pickled, where the caller says so."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from generator.errors import ModelError, SettingError
from generator.running.rows import body_rows, columns
from generator.running.runtime import Signature

from .base import Description, WrittenModelScaffoldDefinition

MODEL_FILE = "model.pickle"


class Custom(WrittenModelScaffoldDefinition):
    """Whatever is no model of the other frameworks, or is wanted without them. Nothing is recognised as such."""

    name: ClassVar[str] = "custom"

    def recognises(self, model: object) -> bool:
        return False

    def check(self, model: Any) -> None:
        if not callable(getattr(model, "predict", None)):
            raise ModelError(
                f"{type(model).__name__} has no predict: pass an object whose predict takes rows, or make a scaffold"
                " without a model by generator.new, and write load and predict in it"
            )

    def describe(self, model: Any, sample: Any) -> Description:
        if sample is None:
            return Description(None, None, None)
        signature = _input(sample)
        example = body_rows(sample)[:1]
        try:
            prediction = model.predict(Signature(signature).inputs(example))
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SettingError(f"the model cannot predict from sample_input: {reason}") from error
        pandas = (
            {"pandas": "rows become the DataFrame that the model takes"}
            if signature["kind"] == "table"
            else {}
        )
        return Description(signature, _output(prediction), example, pandas)

    def predict(self, model: Any, inputs: Any) -> Any:
        return model.predict(inputs)

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        path = directory / MODEL_FILE
        with path.open("wb") as file:
            pickle.dump(model, file, protocol=pickle.HIGHEST_PROTOCOL)
        return path


def _input(sample: Any) -> dict[str, Any]:
    """What one row is, as `model.input` of `config.yaml` has it: the object is to be given what it takes in memory."""
    if hasattr(sample, "columns") and hasattr(sample, "dtypes"):
        return {"kind": "table", "columns": columns(sample)}
    if isinstance(sample, Mapping):
        return {
            "kind": "tensors",
            "inputs": [{"name": str(name), **_array(part)} for name, part in sample.items()],
        }
    if hasattr(sample, "shape") and hasattr(sample, "dtype"):
        return {"kind": "array", **_array(sample)}
    if isinstance(sample, (list, tuple)):
        return {"kind": "text" if all(isinstance(row, str) for row in sample) else "json"}
    raise SettingError(
        f"sample_input is a {type(sample).__name__}: pass rows as an array, a DataFrame, a list or a dict of arrays"
    )


def _array(sample: Any) -> dict[str, Any]:
    array = np.asarray(sample)
    return {
        "shape": list(array.shape[1:]),
        "dtype": array.dtype.name if array.dtype.kind in "biuf" else None,
    }


def _output(prediction: Any) -> dict[str, Any] | None:
    """What a prediction is, where an array tells it."""
    if not hasattr(prediction, "shape") or not hasattr(prediction, "dtype"):
        return None
    return {"kind": "array", "shape": list(prediction.shape[1:]), "dtype": str(prediction.dtype)}
