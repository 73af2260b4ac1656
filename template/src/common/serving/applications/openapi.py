"""`/openapi.json` and `/docs`: the routes, rows and predictions of this model, with its example.

Source: https://spec.openapis.org/oas/v3.1.0
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from ...bodies.v2 import v2_metadata
from ...config import Config
from ...platforms import LIVE, READY, SCORING, VERTEX
from ...routes import OwnersRoute
from .json_routes import json_route
from .openapi_schemas import NAMES, STRING, Schema, components, ref

JSON, TEXT = "application/json", "text/plain"
MSGPACK, CSV = "application/msgpack", "text/csv"
FILE = {"type": "string", "format": "binary"}
RETRY_AFTER: Schema = {
    "description": "The seconds to wait before the next try",
    "schema": {"type": "integer"},
}
REQUEST_ID: Schema = {
    "description": "The id that was sent, or a new one; the log has it too",
    "schema": STRING,
}
MODEL_VERSION: Schema = {"description": "The version of the model", "schema": STRING}
ERRORS = {
    400: "The request cannot be answered; `error` says why",
    408: "The request comes too slowly",
    413: "The body is larger than `serving.max_body_bytes`",
    414: "The request line is longer than `serving.max_head_bytes`",
    415: "The route does not take this media type",
    431: "The header fields are longer than `serving.max_head_bytes`",
    500: "The model or the server failed; the log has the reason under the request's id",
    503: "The model is not ready, or too many requests wait: retry after `Retry-After` seconds",
    504: "The model took longer than `serving.predict_timeout_seconds`",
}
CSV_BODY = (
    "A line of names and a line for each row; `header=absent` in the media type says that there is"
    " no line of names"
)
OF_ALL = (408, 414, 431, 500)
OF_READINESS = (*OF_ALL, 503)
OF_PREDICTION = tuple(ERRORS)


@dataclass(frozen=True)
class Operation:
    """A route as a client sees it.

    Attributes:
        id: its name, which generated clients give to the function that calls it.
        method: in lower case.
        path: its path, with the model's name in it.
        tag: the protocol that it belongs to.
        summary: what it is for.
        content: the media type and the schema of what it answers.
        errors: the statuses of other answers, whose bodies are `Error`.
        body: what is sent, by media type.
        description: more about it.
    """

    id: str
    method: str
    path: str
    tag: str
    summary: str
    content: tuple[str, Schema]
    errors: tuple[int, ...] = OF_ALL
    body: dict[str, Any] = field(default_factory=dict)
    description: str = ""

    def as_document(self) -> dict[str, Any]:
        media_type, schema = self.content
        answer = {"description": "The answer", "content": {media_type: {"schema": schema}}}
        document: dict[str, Any] = {
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "responses": {"200": answer, **{str(status): _error(status) for status in self.errors}},
        }
        if self.description:
            document["description"] = self.description
        if self.body:
            document["requestBody"] = {"required": True, "content": self.body}
        return document


# `NAME` is the model's, which needs no escapes.
# Source: https://github.com/swagger-api/swagger-ui/blob/master/docs/usage/configuration.md
PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1.0">
<link rel="stylesheet" href="docs/static/swagger-ui.css">
<link rel="icon" href="docs/static/favicon-32x32.png">
<title>NAME</title>
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/static/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
});
</script>
</body>
</html>
"""


def describe(
    app: Starlette, config: Config, own_routes: Callable[[], Sequence[OwnersRoute]] = tuple
) -> None:
    """Give an application an `/openapi.json` and a `/docs` that show this model.

    Args:
        app: the application.
        config: the scaffold's configuration.
        own_routes: the owner's routes, which a reload may change.
    """
    made = lru_cache(maxsize=1)(lambda own: document(config, own))

    async def description(_: Request) -> Any:
        return made(tuple(own_routes()))

    async def docs(_: Request) -> HTMLResponse:
        return HTMLResponse(PAGE.replace("NAME", config.name))

    static = StaticFiles(packages=[("fastapi_swagger", "resources")])
    app.router.routes[:0] = [  # before those that an application has for any model
        json_route("GET", "/openapi.json", description),
        json_route("GET", "/docs", docs),
        Mount("/docs/static", static),
    ]


def document(config: Config, own_routes: Sequence[OwnersRoute] = ()) -> dict[str, Any]:
    """The OpenAPI document.

    Its version is the model's. Routes that answer 501 for this model, such as `:explain`, are left
    out, and so is `load`, which has nothing to do.
    """
    paths: dict[str, Any] = {}
    headers = _headers(config)
    operations = _operations(config)
    for operation in (*operations, *_of_owner(own_routes, {each.id for each in operations})):
        described = operation.as_document()
        for response in described["responses"].values():
            response["headers"] = {**_references(headers), **response.get("headers", {})}
        paths.setdefault(operation.path, {})[operation.method] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": config.name, "version": config.model.version or "unknown"},
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {"schemas": components(config), "headers": headers},
    }


def _headers(config: Config) -> dict[str, Schema]:
    """The header fields that every answer has."""
    if config.model.version is None:
        return {"X-Request-Id": REQUEST_ID}
    return {"X-Request-Id": REQUEST_ID, "X-Model-Version": MODEL_VERSION}


def _references(headers: dict[str, Schema]) -> dict[str, Schema]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}


def _error(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": ERRORS[status],
        "content": {JSON: {"schema": ref("Error")}},
    }
    if status == 503:
        response["headers"] = {"Retry-After": RETRY_AFTER}
    return response


def _operations(config: Config) -> list[Operation]:
    others = _kfserving if config.server == "kfserving" else _kserve
    return [*_predictions(config), *others(config), *_metadata(config), *_platforms(config)]


def _of_owner(routes: Sequence[OwnersRoute], taken: set[str]) -> Iterator[Operation]:
    """The owner's routes, whose bodies and answers are any JSON.

    Args:
        routes: the routes.
        taken: the names of other operations.
    """
    counts = Counter(own.name for own in routes for _ in own.methods)
    for own in routes:
        for method in own.methods:
            name = own.name
            if counts[name] > 1 or name in taken:
                name = re.sub(r"\W+", "_", f"{name}_{method.lower()}{own.path}")
            yield Operation(
                name,
                method.lower(),
                own.path,
                "Own",
                own.about or own.name,
                (JSON, {}),
                OF_PREDICTION,
                {} if method in ("GET", "DELETE") else {JSON: {"schema": {}}},
            )


def _predictions(config: Config) -> list[Operation]:
    v1, example = f"/v1/models/{config.name}", config.model.example
    infer = v2_metadata.example(config)
    return [
        Operation(
            "predict",
            "post",
            f"{v1}:predict",
            "V1",
            "Predict from JSON",
            (JSON, ref("PredictResponse")),
            OF_PREDICTION,
            {JSON: _with_example("PredictRequest", example and {"instances": example})},
        ),
        Operation(
            "predict_binary",
            "post",
            f"{v1}:predict_binary",
            "V1",
            "Predict from msgpack, with arrays as they are in memory",
            (MSGPACK, FILE),
            OF_PREDICTION,
            {MSGPACK: {"schema": FILE}},
            "The body is msgpack of what `:predict` takes, and so is the answer. It cannot be typed"
            " here: choose a file.",
        ),
        Operation(
            "infer",
            "post",
            f"/v2/models/{config.name}/infer",
            "V2",
            "Predict from tensors",
            (JSON, ref("InferResponse")),
            OF_PREDICTION,
            {JSON: _with_example("InferRequest", infer)},
            "Tensors may also be sent and answered as raw data after the JSON: the extension"
            " `binary_tensor_data` of the protocol.",
        ),
    ]


def _with_example(name: str, example: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": ref(name)}
    if example:
        content["example"] = example
    return content


def _kserve(config: Config) -> list[Operation]:
    return [
        _get("alive", "/", "Server", "Whether the server is alive", (JSON, ref("Alive"))),
        _get("v1_models", "/v1/models", "V1", "The names of the models", (JSON, ref("Models"))),
        _ready("v1_model_ready", f"/v1/models/{config.name}", "V1"),
    ]


def _kfserving(config: Config) -> list[Operation]:
    status = f"/v2/models/{config.name}/status"
    return [
        _get("alive", "/", "Server", "Whether the server is alive", (TEXT, STRING)),
        _get("v1_models", "/v1/models", "V1", "The names of the models", (JSON, NAMES)),
        _ready("v1_model_ready", f"/v1/models/{config.name}", "V1"),
        _ready("v2_model_status", status, "V2"),
    ]


def _metadata(config: Config) -> list[Operation]:
    model = f"/v2/models/{config.name}"
    about_server = "The server's name, version and extensions"
    ready = (JSON, ref("Ready"))
    return [
        _get("v2_server", "/v2", "V2", about_server, (JSON, ref("ServerMetadata"))),
        _get("v2_live", "/v2/health/live", "V2", "Whether it is alive", (JSON, ref("Live"))),
        _get("v2_ready", "/v2/health/ready", "V2", "Whether it is ready", ready, OF_READINESS),
        _get("v2_models", "/v2/models", "V2", "The names of the models", (JSON, ref("Models"))),
        _get("v2_model", model, "V2", "The model's tensors", (JSON, ref("ModelMetadata"))),
        _ready("v2_model_ready", f"{model}/ready", "V2"),
        _get("metrics", "/metrics", "Server", "Figures for Prometheus", (TEXT, STRING)),
    ]


def _platforms(config: Config) -> list[Operation]:
    """The routes of platforms that run containers, as `platforms.py` has them."""
    example = config.model.example
    about = "Predict from rows in the forms of MLflow's scoring server"
    operations = [
        _prediction(name, path, "ScoringRequest", example, about) for path, name in SCORING.items()
    ]
    for operation in operations:
        operation.body[CSV] = {"schema": {**STRING, "description": CSV_BODY}}
    if path := config.routes.predict:
        operations.append(_prediction(VERTEX, path, "PredictRequest", example, "Predict from JSON"))
    for path in LIVE:
        live = (JSON, ref("Live"))
        operations.append(_get(path[1:], path, "Platforms", "Whether it is alive", live))
    operations += [_ready(path[1:], path, "Platforms") for path in READY]
    if path := config.routes.health:
        operations.append(_ready("vertex_health", path, "Platforms"))
    return operations


def _prediction(id: str, path: str, request: str, example: Any, summary: str) -> Operation:
    body = {JSON: _with_example(request, example and {"instances": example})}
    answer = (JSON, ref("PredictResponse"))
    return Operation(id, "post", path, "Platforms", summary, answer, OF_PREDICTION, body)


def _ready(id: str, path: str, tag: str) -> Operation:
    content = (JSON, ref("ModelReady"))
    return _get(id, path, tag, "Whether the model is ready", content, OF_READINESS)


def _get(
    id: str,
    path: str,
    tag: str,
    summary: str,
    content: tuple[str, Schema],
    errors: tuple[int, ...] = OF_ALL,
) -> Operation:
    return Operation(id, "get", path, tag, summary, content, errors)
