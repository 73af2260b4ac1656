"""A model's file as a function: the same for every peer that leaves it to its user to call the model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Predict = Callable[[Any], "np.ndarray[Any, Any]"]


def load(file: str) -> Predict:
    """What predicts from rows. The file's suffix tells the framework."""
    return LOADERS[Path(file).suffix](file)


def _sklearn(file: str) -> Predict:
    import joblib

    model = joblib.load(file)
    return lambda rows: model.predict(rows if hasattr(rows, "columns") else np.asarray(rows))


def _keras(file: str) -> Predict:
    """Calls the model: `predict` is for many rows, says Keras, and takes longer for few."""
    import keras

    model = keras.saving.load_model(file)
    return lambda rows: model(np.asarray(rows, dtype="float32"), training=False).numpy()


def _pytorch(file: str) -> Predict:
    import torch

    model = torch.load(file, weights_only=False).eval()

    def predict(rows: Any) -> "np.ndarray[Any, Any]":
        with torch.inference_mode():
            return model(torch.as_tensor(np.asarray(rows, dtype="float32"))).numpy()

    return predict


def merged(batch: list[Any], predict: Predict) -> "list[np.ndarray[Any, Any]]":
    """One call for the rows of several requests, and each one's own part of the answer."""
    ends = np.cumsum([len(rows) for rows in batch])[:-1]
    return np.split(predict(np.concatenate([np.asarray(rows) for rows in batch])), ends)


LOADERS: dict[str, Callable[[str], Predict]] = {
    ".joblib": _sklearn,
    ".keras": _keras,
    ".pt": _pytorch,
}
