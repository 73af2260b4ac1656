"""The template's code, which `copier update` improves. Yours is in `src/server/`.

- `bodies/`: the bodies of requests and responses: JSON, msgpack, V2's tensors, MLflow's forms, CSV.
- `link/`: the link between the server and its workers: frames over a Unix socket pair.
- `serving/`: the server's process: the predict routes, the metrics, the pool of workers. `http/`
  has its connections, `applications/` every other route, `grpc/` gRPC, which KFServing lacks.
- `worker/`: a worker's process, which owns the model and calls `src/server/inference_model.py`.
- `rows/`: the rows of a request as arrays and tables; `signature.py` uses it.
- `platforms.py`: the routes and variables of SageMaker, Vertex AI, Azure ML and others.
- The other modules: `config.yaml`, errors, logs, and what `inference_model.py` imports.

A request arrives in `serving/http/connection.py` or `serving/asgi.py`. `serving/predict_routes.py`
checks its headers, and `serving/pool.py` sends its body to a worker. There `worker/main.py` reads
all requests that have arrived. `worker/flow.py` decodes them, calls `preprocess`, `predict` and
`postprocess`, and encodes the answers, which go back through the pool.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import Config
    from .context import Context
    from .errors import InvalidInput
    from .methods import Methods as Methods  # type: ignore[import-not-found, unused-ignore]
    from .model_file import model_path
    from .outputs import Predictor as Predictor  # type: ignore[import-not-found, unused-ignore]
    from .outputs import plain as plain  # type: ignore[import-not-found, unused-ignore]
    from .routes import route
    from .signature import Signature
    from .threads import Threads as Threads  # type: ignore[import-not-found, unused-ignore]

__all__ = ["Config", "Context", "InvalidInput", "Signature", "model_path", "route"]

MODULES = {
    "Config": "config",
    "Context": "context",
    "InvalidInput": "errors",
    "Methods": "methods",
    "Predictor": "outputs",
    "Signature": "signature",
    "Threads": "threads",
    "model_path": "model_file",
    "plain": "outputs",
    "route": "routes",
}


def __getattr__(name: str) -> Any:
    """Import the module of a name when the name is first used: PEP 562.

    The server needs no numpy, and a scaffold holds only the modules that its framework uses.
    """
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = MODULES[name]
    try:
        value = getattr(import_module(f"{__name__}.{home}"), name)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{home}":
            raise
        raise ImportError(
            f"{name} needs src/common/{home}.py, which this scaffold does not have:"
            f" copy template/src/common/{home}.py of the scaffold's template there"
        ) from None
    globals()[name] = value
    return value
