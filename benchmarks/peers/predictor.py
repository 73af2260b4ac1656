"""Loads a model's file as a function, for the peers whose users call the model themselves."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

Predict = Callable[[Any], "np.ndarray[Any, Any]"]


def load(file: str) -> Predict:
    """A function from rows to predictions. The file's suffix gives the framework."""
    return LOADERS[Path(file).suffix](file)


def _sklearn(file: str) -> Predict:
    import joblib

    model = joblib.load(file)
    if hasattr(model, "feature_names_in_"):
        import pandas

        return lambda rows: model.predict(pandas.DataFrame(rows))
    return lambda rows: model.predict(np.asarray(rows))


def _keras(file: str) -> Predict:
    """Calls the model itself, as Keras recommends for few rows: `predict` would be slower."""
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
    """Predict the rows of several requests in one call. Returns the predictions of each request."""
    ends = np.cumsum([len(rows) for rows in batch])[:-1]
    return np.split(predict(list(chain.from_iterable(batch))), ends)


LOADERS: dict[str, Callable[[str], Predict]] = {
    ".joblib": _sklearn,
    ".keras": _keras,
    ".pt": _pytorch,
}
