"""MLServer with adaptive batching, with its pool of one worker process and without. It speaks V2.

scikit-learn has MLServer's own runtime, other frameworks have a custom runtime as in its
documentation. A batch waits only a short time, for a low latency with one connection.

python mlserver_server.py MODEL_FILE PORT
"""

import json
import os
import socket
import sys
from pathlib import Path

import predictor
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

TITLE = "MLServer"
REQUIREMENTS = [
    "mlserver==1.7.1",
    "mlserver-sklearn==1.7.1",
    "uvloop<0.22",  # its workers do not start with later versions
]
PROTOCOL = "v2"
VARIANTS = {"": {"POOL": "1"}, "no pool": {"POOL": "0"}}

BATCHING = {"max_batch_size": 256, "max_batch_time": 0.001}


class Runtime(MLModel):
    """A model in a file."""

    async def load(self) -> bool:
        self._predict = predictor.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        output = NumpyCodec.encode_output("predict", self._predict(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_settings(file: str, port: int) -> None:
    """Write MLServer's settings into the working directory.

    One worker process is MLServer's default. It keeps the model out of the server's event loop.
    Without one the model is in the server's process. MLServer logs requests with `debug` only.
    """
    implementation = "mlserver_server.Runtime"
    if file.endswith(".joblib"):
        implementation = "mlserver_sklearn.SKLearnModel"
    model = {
        "name": "model",
        "implementation": implementation,
        "parameters": {"uri": file},
        **BATCHING,
    }
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_endpoint": None}
    pool = int(os.environ["POOL"])
    settings = {"debug": False, "parallel_workers": pool, **ports}
    Path("settings.json").write_text(json.dumps(settings))
    Path("model-settings.json").write_text(json.dumps(model))


if __name__ == "__main__":
    write_settings(sys.argv[1], int(sys.argv[2]))
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    os.execv(
        sys.executable,
        [sys.executable, "-c", "from mlserver.cli import main; main()", "start", "."],
    )
