"""BentoML with and without adaptive batching: an API that is `batchable`, or not.

`bentoml serve` serves it. Rows are arrays, as BentoML's documentation recommends, or dicts.

python bentoml_server.py MODEL_FILE PORT
"""

import os
import sys
from typing import Any

import bentoml
import numpy as np
import predictor

TITLE = "BentoML"
REQUIREMENTS = ["bentoml==1.4.40"]
PROTOCOL = "bentoml"
VARIANTS = {"batching": {"BATCHING": "1"}, "no batching": {}}

FILE = "MODEL_FILE"
Rows: Any = np.ndarray
if "COLUMNS" in os.environ:
    Rows = list[dict[str, Any]]
# Requests over this latency are refused. BentoML does not wait this long for a batch.
BATCHING: dict[str, Any] = {"batchable": True, "batch_dim": 0}
BATCHING |= {"max_batch_size": 256, "max_latency_ms": 10_000}
if "BATCHING" not in os.environ:
    BATCHING = {}


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Service:
    """A model in a file."""

    def __init__(self) -> None:
        self._predict = predictor.load(os.environ[FILE])

    @bentoml.api(**BATCHING)
    def predict(self, instances: Rows) -> np.ndarray:
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
