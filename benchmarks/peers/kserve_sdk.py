"""KServe's SDK: a `kserve.Model` in a `ModelServer`. It has no batching.

Source: KServe's documentation, "Custom predictors".

python kserve_sdk.py MODEL_FILE PORT
"""

import logging
import sys
import warnings
from typing import Any

import kserve
import predictor

TITLE = "KServe's SDK"
REQUIREMENTS = ["kserve==0.21.0", "pandas<3"]  # it takes no later one
PROTOCOL = "v1"


class Model(kserve.Model):
    """A model in a file."""

    def __init__(self, name: str, file: str) -> None:
        super().__init__(name)
        self._file = file
        self.load()

    def load(self) -> bool:
        self._predict = predictor.load(self._file)
        self.ready = True
        return self.ready

    def predict(
        self, payload: Any, headers: Any = None, response_headers: Any = None
    ) -> dict[str, Any]:
        return {"predictions": self._predict(payload["instances"]).tolist()}


if __name__ == "__main__":
    server = kserve.ModelServer(
        http_port=int(sys.argv[2]), enable_grpc=False, enable_latency_logging=False
    )
    # The server has switched on a line for each request, two with its time, and FastAPI a warning.
    logging.getLogger("uvicorn.access").handlers.clear()
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)
    warnings.simplefilter("ignore")
    server.start([Model("model", sys.argv[1])])
