"""A server for a model as KServe's documentation writes one: what the benchmark holds ours against.

    python kserve_sdk_server.py MODEL_FILE PORT

The file's suffix tells the framework.
"""

import sys
from pathlib import Path
from typing import Any

import kserve
import numpy as np


class Model(kserve.Model):
    """A model in a file. Subclasses load it and call it."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        self._path = path
        self._model: Any = None
        self.load()


class SKLearnModel(Model):
    """A model read from a joblib file."""

    def load(self) -> bool:
        import joblib

        self._model = joblib.load(self._path)
        self.ready = True
        return self.ready

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> dict[str, Any]:
        return {"predictions": self._model.predict(np.array(payload["instances"])).tolist()}


class KerasModel(Model):
    """A model as Keras 3 saves it."""

    def load(self) -> bool:
        import keras

        self._model = keras.saving.load_model(self._path)
        self.ready = True
        return self.ready

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> dict[str, Any]:
        return {"predictions": self._model.predict(np.array(payload["instances"]), verbose=0).tolist()}


class PyTorchModel(Model):
    """A module that was saved whole."""

    def load(self) -> bool:
        import torch

        self._model = torch.load(self._path, weights_only=False)
        self._model.eval()
        self.ready = True
        return self.ready

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> dict[str, Any]:
        import torch

        with torch.no_grad():
            return {"predictions": self._model(torch.tensor(payload["instances"])).tolist()}


MODELS = {".joblib": SKLearnModel, ".keras": KerasModel, ".pt": PyTorchModel}

if __name__ == "__main__":
    file, port = sys.argv[1:]
    model = MODELS[Path(file).suffix]("model", file)
    kserve.ModelServer(http_port=int(port), enable_grpc=False).start([model])
