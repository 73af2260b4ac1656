"""A server for a scikit-learn model as KServe's documentation writes one: what the benchmark holds ours against.

python kserve_sdk_server.py MODEL_FILE PORT
"""

import sys
from typing import Any

import joblib
import kserve
import numpy as np


class Model(kserve.Model):
    """A model read from a joblib file."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        self._path = path
        self._model: Any = None
        self.load()

    def load(self) -> bool:
        self._model = joblib.load(self._path)
        self.ready = True
        return self.ready

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> dict[str, Any]:
        return {"predictions": self._model.predict(np.array(payload["instances"])).tolist()}


if __name__ == "__main__":
    kserve.ModelServer(http_port=int(sys.argv[2]), enable_grpc=False).start([Model("model", sys.argv[1])])
