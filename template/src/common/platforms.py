"""The contracts of platforms that run containers: the routes and variables that each expects.

| platform | port | health | predictions |
|---|---|---|---|
| SageMaker | `SAGEMAKER_BIND_TO_PORT`, 8080 without | `GET /ping` | `POST /invocations` |
| MLflow's scoring server | | `GET /ping`, `GET /health` | `POST /invocations` |
| Vertex AI | `AIP_HTTP_PORT` | `GET` of `AIP_HEALTH_ROUTE` | `POST` of `AIP_PREDICT_ROUTE` |
| Azure ML | as deployed | `GET /` | `POST /score` |
| Cloud Run, Knative | `PORT` | | |
| Kubernetes | | `GET /livez`, `/readyz`, `/healthz` | |

SageMaker runs the image with the argument `serve`. It names a port where containers share an
instance, if the image's label says that it takes one. Vertex AI's two routes may be one path, and
by its defaults are. `/healthz` is whether the server lives, as in Kubernetes' examples of a
liveness probe: a model that is being replaced must not end the container. `bodies/scoring.py` and
`bodies/csv_rows.py` read what `/invocations` and `/score` take; Vertex AI's route takes what
`:predict` does.

Sources:

- https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
- https://docs.aws.amazon.com/sagemaker/latest/dg/inference-pipeline-real-time.html
- https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
- https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/
- https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
- https://learn.microsoft.com/azure/machine-learning/how-to-deploy-custom-container
- https://pypi.org/project/azureml-inference-server-http/
- https://cloud.google.com/run/docs/container-contract
- https://kubernetes.io/docs/reference/using-api/health-checks/
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import ConfigError
from .words import written

SERVE = "serve"  # the one argument of `inference_server.py`
READY = ("/ping", "/health", "/readyz")
LIVE = ("/livez", "/healthz")
# Each with the name that metrics, the log and `/openapi.json` have for it.
SCORING = {"/invocations": "invocations", "/score": "score"}
VERTEX = "vertex_predict"
HEALTH_ROUTE, PREDICT_ROUTE = "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"
# Segments without what URLs, and FastAPI's paths, read as anything but itself.
_SEGMENT = r"/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_PATH = re.compile(rf"/|(?:{_SEGMENT})+/?")
_MOST_CHARACTERS = 1024
# What the server answers beside the routes above. A test compares it with `/openapi.json`.
_OTHERS = re.compile(r"/(?:metrics|docs|openapi\.json|redoc|v1/models|v2)(?:/.*)?")


@dataclass(frozen=True)
class OwnRoutes:
    """The routes that the environment names beside the server's own.

    Attributes:
        health: tells whether the model is ready; None if the server has it anyway.
        predict: takes what `:predict` takes; None if the server has it anyway.
    """

    health: str | None = None
    predict: str | None = None


def own_routes(environ: Mapping[str, str], name: str) -> OwnRoutes:
    """What AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE name. An empty variable is none.

    Args:
        environ: the environment.
        name: the model's name.

    Raises:
        ConfigError: a variable holds no path, or the path of another route.
    """
    model = f"/v1/models/{name}"
    healthy = ("/", *READY, *LIVE, model, "/v2/health/ready", f"/v2/models/{name}/ready")
    predicting = (f"{model}:predict", *SCORING)
    health = _path(environ, HEALTH_ROUTE)
    predict = _path(environ, PREDICT_ROUTE)
    if health in healthy:
        health = None
    if predict in predicting:
        predict = None
    _check_free(HEALTH_ROUTE, health, predicting)
    # GET of `/` tells that the server lives. POST of it is free.
    _check_free(PREDICT_ROUTE, predict, healthy[1:])
    return OwnRoutes(health, predict)


def _path(environ: Mapping[str, str], variable: str) -> str | None:
    """The path that a variable holds."""
    path = environ.get(variable)
    if not path:
        return None
    if len(path) > _MOST_CHARACTERS or not _PATH.fullmatch(path):
        raise ConfigError(
            f"{variable} must be a path like /predict, of letters, digits and -._~!$&'()*+,;=:@,"
            f" it is {written(path)}"
        )
    return path


def is_taken(path: str) -> bool:
    """Whether the server answers at a path, whatever its model is called."""
    own = path in ("/", *READY, *LIVE, *SCORING) or _OTHERS.fullmatch(path)
    return bool(own) or path.startswith("/v1/")


def _check_free(variable: str, path: str | None, others: Sequence[str]) -> None:
    """Check that the server has no route for something else at a path."""
    if path is not None and (path in others or _OTHERS.fullmatch(path)):
        raise ConfigError(
            f"{variable} is {written(path)}, where the server answers something else: name another"
        )


def check_arguments(arguments: Sequence[str]) -> None:
    """Check the arguments of `inference_server.py`.

    Raises:
        ConfigError: they are neither none nor `serve`.
    """
    if list(arguments) not in ([], [SERVE]):
        raise ConfigError(
            f"the arguments may be none or {SERVE}, they are {written(' '.join(arguments))};"
            " settings are in config.yaml and in the environment"
        )
