"""mosec with its batching: one worker process, which decodes with orjson.

Its batches wait at least a millisecond, so there is a variant without batching.

python mosec_server.py MODEL_FILE PORT
"""

import os
import sys
from typing import Any

import orjson
import predictor
from mosec import Server, Worker

TITLE = "mosec"
REQUIREMENTS = ["mosec==0.9.8", "orjson==3.13.0"]
PROTOCOL = "v1"
VARIANTS = {"batching": {"BATCH": "256"}, "no batching": {"BATCH": "1"}}

FILE = "MODEL_FILE"
BATCH = int(os.environ["BATCH"])


class Model(Worker):
    """A model in a file."""

    def __init__(self) -> None:
        self._predict = predictor.load(os.environ[FILE])

    def deserialize(self, data: bytes) -> Any:
        return orjson.loads(data)["instances"]

    def serialize(self, data: Any) -> bytes:
        return orjson.dumps({"predictions": data}, option=orjson.OPT_SERIALIZE_NUMPY)

    def forward(self, data: Any) -> Any:
        """The predictions of a request, or with batching of a list of requests."""
        if BATCH == 1:
            return self._predict(data)
        return predictor.merged(data, self._predict)


if __name__ == "__main__":
    os.environ.setdefault(FILE, sys.argv[1])
    # mosec reads its options from the command line, in each of its processes.
    port = sys.argv[2]
    sys.argv[1:] = ["--port", port, "--address", "127.0.0.1", "--timeout", "60000"]
    sys.argv += ["--log-level", "warning"]
    server = Server()
    server.append_worker(
        Model, num=1, max_batch_size=BATCH, max_wait_time=1, route="/v1/models/model:predict"
    )
    server.run()
