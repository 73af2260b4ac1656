"""MLflow models of a kind that no other framework here takes, as MLflow itself loads them."""

import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar

from generator.capture.pickle_references import Named
from generator.errors import ModelError

from ..base import Description
from .custom import Custom

MODEL_DIRECTORY = "model"
PLACE = "scaffold_source"
"""The attribute that holds the directory that a model was read from: MLflow has none for it."""


class MLflow(Custom):
    """`mlflow.pyfunc.PyFuncModel`, with all that lies in its directory."""

    name: ClassVar[str] = "mlflow"
    label: ClassVar[str] = "MLflow"
    models: ClassVar[str] = (
        "MLflow models of a flavor that is none of the others here, or of Python functions"
    )
    files: ClassVar[tuple[str, ...]] = (MODEL_DIRECTORY,)
    # What computes is not known: another number of threads may change the last bits.
    tolerance: ClassVar[float] = 1e-6

    def reads(self, path: Path) -> bool:
        return (path / "MLmodel").is_file()

    def read(self, path: Path) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's advice is for who has logged the model
            from mlflow import pyfunc

            model = pyfunc.load_model(str(path))
        setattr(model, PLACE, path)
        return model

    def recognises(self, model: object) -> bool:
        kind = getattr(sys.modules.get("mlflow.pyfunc"), "PyFuncModel", None)
        return kind is not None and isinstance(model, kind)

    def check(self, model: Any) -> None:
        if not hasattr(model, PLACE):
            raise ModelError(
                f"{type(model).__name__} does not say where its files are: pass its directory or"
                ' its address, as in generator.from_file("models:/NAME/1", ...)'
            )

    def definitions(self, model: Any) -> list[Named]:
        return []

    def references(self, model: Any) -> dict[str, str]:
        return {"mlflow.pyfunc": "load_model"}

    def describe(self, model: Any, sample: Any) -> Description:
        return super().describe(_Plain(self, model), sample)

    def facts(self, model: Any) -> dict[str, Any]:
        return {}

    def predict(self, model: Any, inputs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _rows(model.predict(inputs))

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        return Path(shutil.copytree(getattr(model, PLACE), directory / MODEL_DIRECTORY))


class _Plain:
    """The model, whose predictions are as a scaffold answers them."""

    def __init__(self, definition: MLflow, model: Any) -> None:
        self._definition, self._model = definition, model

    def predict(self, rows: Any) -> Any:
        return self._definition.predict(self._model, rows)


def _rows(predictions: Any) -> Any:
    """A DataFrame as one object a row, a Series as an array; anything else as it is."""
    if hasattr(predictions, "to_dict") and hasattr(predictions, "columns"):
        return predictions.to_dict("records")
    if hasattr(predictions, "to_numpy"):
        return predictions.to_numpy()
    return predictions
