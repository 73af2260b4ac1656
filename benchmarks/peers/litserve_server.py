"""LitServe with `fast_queue`, its option for many requests a second, with and without batching.

python litserve_server.py MODEL_FILE PORT
"""

import os
import sys
from typing import Any

import litserve
import predictor

TITLE = "LitServe"
REQUIREMENTS = ["litserve==0.2.19"]
PROTOCOL = "v1"
VARIANTS = {"batching": {"BATCH": "256"}, "no batching": {"BATCH": "1"}}

BATCH = int(os.environ["BATCH"])


class API(litserve.LitAPI):
    """A model in a file. A request may have several rows."""

    def __init__(self, file: str) -> None:
        super().__init__(
            max_batch_size=BATCH, batch_timeout=0.001, api_path="/v1/models/model:predict"
        )
        self._file = file

    def setup(self, device: str) -> None:
        self._predict = predictor.load(self._file)

    def decode_request(self, request: dict[str, Any]) -> Any:
        return request["instances"]

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def predict(self, batch: Any) -> Any:
        """The predictions of a list of requests, or without batching of a request."""
        if BATCH == 1:
            return self._predict(batch)
        return predictor.merged(batch, self._predict)

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        API(sys.argv[1]), accelerator="cpu", devices=1, workers_per_device=1, fast_queue=True
    )
    server.run(port=int(sys.argv[2]), log_level="warning", generate_client_file=False)
