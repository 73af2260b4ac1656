"""BentoML with adaptive batching: a service whose API is `batchable`, served by `bentoml serve`.

python bentoml_server.py MODEL_FILE PORT
"""

import os
import sys

import bentoml
import numpy as np
import predictor

TITLE = "BentoML"
REQUIREMENTS = ["bentoml==1.4.40"]
PROTOCOL = "bentoml"

FILE = "MODEL_FILE"


@bentoml.service(workers=1, traffic={"timeout": 60})
class Service:
    """A model in a file."""

    def __init__(self) -> None:
        self._predict = predictor.load(os.environ[FILE])

    # Requests over this latency are refused. BentoML does not wait this long for a batch.
    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=256, max_latency_ms=10_000)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        return self._predict(instances)


if __name__ == "__main__":
    os.environ |= {FILE: sys.argv[1], "BENTOML_HOME": os.getcwd(), "BENTOML_DO_NOT_TRACK": "True"}
    options = ["--working-dir", os.path.dirname(os.path.abspath(__file__)), "--port", sys.argv[2]]
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "--quiet",
        "bentoml_server:Service",
        *options,
    ]
    os.execv(sys.executable, command)
