"""`/docs`: Swagger UI of the server's OpenAPI document, with this model's routes, rows and example.

Source: https://spec.openapis.org/oas/v3.1.0
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from ...config import Config
from ...rows.columns.formats import FORMS, json_schema
from ...schema import (
    BYTES,
    TEXT,
    ArrayInput,
    EstimatorOutput,
    JsonInput,
    ModelInput,
    TableInput,
    Tensor,
    TensorsInput,
    TextInput,
)

TYPES = {"number": ["number", "null"], "boolean": ["boolean", "null"], "string": ["string", "null"]}
STRING: dict[str, Any] = {"type": "string"}
STRING_OR_BYTES: dict[str, Any] = {
    "anyOf": [
        STRING,
        {
            "type": "object",
            "required": ["b64"],
            "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
        },
    ]
}
# What a value is, by the dtype of its array.
VALUES: dict[str | None, dict[str, Any]] = {
    TEXT: STRING_OR_BYTES,
    BYTES: STRING_OR_BYTES,
    "bool": {"type": "boolean"},
    "object": {},
    None: {},
}
TIMES = {"datetime64": "date-time", "timedelta64": "duration"}
WHOLE = ("int", "uint")
# Source: https://spec.openapis.org/registry/format/
FORMATS = {"float32": "float", "float64": "double"}
ERRORS = {
    "400": "The request cannot be answered; `error` says why",
    "413": "The body is larger than `serving.max_body_bytes`",
    "415": "The route does not take this media type",
    "500": "The model failed; the log has the reason under the request's id",
    "503": "The model is not ready, or too many requests wait: retry after `Retry-After` seconds",
    "504": "The model took longer than `serving.predict_timeout_seconds`",
}


def describe(app: FastAPI, config: Config) -> None:
    """Give an application a `/docs` that shows this model."""
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(_document(app, config))
        return document

    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=config.name,
            swagger_js_url="docs/static/swagger-ui-bundle.js",
            swagger_css_url="docs/static/swagger-ui.css",
            swagger_favicon_url="docs/static/favicon-32x32.png",
        )

    app.openapi = openapi  # type: ignore[method-assign]
    app.mount("/docs/static", StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.add_api_route("/docs", docs, include_in_schema=False)


def _document(app: FastAPI, config: Config) -> dict[str, Any]:
    document = get_openapi(title=config.name, version=app.version, routes=app.routes)
    prefix = f"/v1/models/{config.name}"
    paths = document["paths"]
    paths.pop("/v1/models/{model_name}:predict", None)
    binary = {"application/msgpack": {"schema": {"type": "string", "format": "binary"}}}
    own = {
        f"{prefix}:predict": _operation("Predict from JSON", _json(config)),
        f"{prefix}:predict_binary": _operation(
            "Predict from msgpack, with arrays as they are in memory", binary
        ),
    }
    document["paths"] = {**own, **paths}
    return document


def _operation(summary: str, content: dict[str, Any]) -> dict[str, Any]:
    responses = {"200": {"description": "One prediction a row, under `predictions`"}}
    responses |= {status: {"description": text} for status, text in ERRORS.items()}
    body = {"required": True, "content": content}
    return {
        "post": {"tags": ["V1"], "summary": summary, "requestBody": body, "responses": responses}
    }


def _json(config: Config) -> dict[str, Any]:
    properties: dict[str, Any] = {"instances": {"type": "array", "items": _row(config.model.input)}}
    output = config.model.output
    if isinstance(output, EstimatorOutput) and output.probabilities:
        properties["probabilities"] = {
            "type": "boolean",
            "description": "Answer `probabilities` as well",
        }
    schema = {"type": "object", "required": ["instances"], "properties": properties}
    content: dict[str, Any] = {"schema": schema}
    if config.model.example is not None:
        content["example"] = {"instances": config.model.example}
    return {"application/json": content}


def _row(described: ModelInput | None) -> dict[str, Any]:
    """The JSON schema of one row."""
    match described:
        case None | JsonInput():
            return {}
        case TextInput():
            return {None: STRING, TEXT: STRING, BYTES: STRING_OR_BYTES}[described.dtype]
        case TableInput():
            return _object({column.name: json_schema(column) for column in described.columns})
        case TensorsInput():
            return _object({item.name: _lists(item) for item in described.inputs})
    return _lists(described)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _lists(described: ArrayInput | Tensor) -> dict[str, Any]:
    """The JSON schema of nested lists of a shape and a dtype."""
    if described.shape is None:
        return {}
    row = _value(described.dtype)
    if described.below is not None:
        row = {**row, "minimum": 0, "maximum": described.below - 1}
    for size in reversed(described.shape):
        row = {"type": "array", "items": row}
        if size is not None:
            row |= {"minItems": size, "maxItems": size}
    return row


def _value(dtype: str | None) -> dict[str, Any]:
    """The JSON schema of one value of a dtype. A float may be null, which is NaN."""
    if dtype is None or dtype in VALUES:
        return VALUES[dtype]
    for start, form in TIMES.items():
        if dtype.startswith(start):
            return {**FORMS[form].schema, "type": ["string", "null"]}
    if dtype.startswith("complex"):
        pair = {"type": "array", "items": {"type": TYPES["number"]}}
        return {**pair, "minItems": 2, "maxItems": 2}
    if dtype.startswith(WHOLE):
        return {"type": "number", "format": dtype}
    schema: dict[str, Any] = {"type": TYPES["number"]}
    if dtype in FORMATS:
        schema["format"] = FORMATS[dtype]
    return schema


def _type(kind: str) -> dict[str, Any]:
    if kind not in TYPES:
        return {}
    return {"type": TYPES[kind]}
