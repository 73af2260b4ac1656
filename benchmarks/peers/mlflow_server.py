"""MLflow's server, with the model in its framework's flavor. It has no batching.

It runs the command that `mlflow models serve` runs. MLflow's console script does not work in an
environment that was moved.

    python mlflow_server.py MODEL_FILE PORT

The first start with a model saves it in MLflow's format, beside its file.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

TITLE = "MLflow"
REQUIREMENTS = ["mlflow==3.17.2"]
PROTOCOL = "mlflow"


def save(file: Path, directory: Path) -> None:
    SAVERS[file.suffix](file, str(directory))


def _sklearn(file: Path, directory: str) -> None:
    import joblib
    import mlflow

    model: Any = joblib.load(file)
    mlflow.sklearn.save_model(model, directory, serialization_format="cloudpickle")


def _keras(file: Path, directory: str) -> None:
    import keras
    import mlflow

    mlflow.tensorflow.save_model(keras.saving.load_model(file), directory)


def _pytorch(file: Path, directory: str) -> None:
    import mlflow
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    model = torch.load(file, weights_only=False)
    width = next(model.parameters()).shape[1]
    # Without a signature, MLflow decodes numbers as float64, which the model refuses.
    signature = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, width))]))
    mlflow.pytorch.save_model(model, directory, signature=signature, serialization_format="pickle")


SAVERS = {".joblib": _sklearn, ".keras": _keras, ".pt": _pytorch}

if __name__ == "__main__":
    model = Path(sys.argv[1])
    saved = model.with_suffix(".mlflow")
    if not saved.exists():
        save(model, saved)
    from mlflow.pyfunc import scoring_server

    command, environ = scoring_server.get_cmd(str(saved), port=int(sys.argv[2]))
    arguments = [*shlex.split(command), "--no-access-log"]
    os.execve(sys.executable, [sys.executable, "-m", *arguments], environ)
