"""The OpenAPI document of models of every form."""

import asyncio
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from common.config import Config
from common.routes import OwnersRoute
from common.serving.applications import fallback_routes, openapi
from support.servers.openapi_page import example_of, operations

COLUMNS = [
    {"name": "size (cm)", "type": "number", "dtype": "int64"},
    {"name": "share", "type": "number", "dtype": "float32"},
    {"name": "kind", "type": "string", "dtype": "category", "categories": ["a", "b"]},
    {"name": "level", "type": "number", "dtype": "category", "categories": [0.5, 1]},
    {"name": "when", "type": "string", "dtype": "datetime64[ns]"},
    {"name": "raw", "type": "any", "dtype": "object", "format": "bytes"},
]
TABLE = {"kind": "table", "columns": COLUMNS}
TENSORS = {
    "kind": "tensors",
    "inputs": [
        {"name": "image", "shape": [None, 2, 3], "dtype": "float16"},
        {"name": "words", "shape": None, "dtype": "string"},
        {"name": "wave", "shape": [4], "dtype": "complex64"},
    ],
}
NAMED = {
    "kind": "tensors",
    "outputs": [
        {"name": "score", "kind": "array", "shape": [], "dtype": "float32"},
        {"name": "box", "shape": [4], "dtype": "uint8"},
        {"name": "state", "kind": "list", "outputs": [None, {"kind": "array", "dtype": "bool"}]},
        {"name": "other"},
    ],
}


def config(model: dict[str, Any], server: str = "kserve", **facts: Any) -> Config:
    metadata = {"framework": "sklearn", "server": server, "serving": {}, "model": model}
    return Config.from_document({"model_name": "model", "model_metadata": metadata, **facts})


def prediction(output: Any) -> Any:
    document = openapi.document(config({"output": output}))
    return document["components"]["schemas"]["Prediction"]


@pytest.mark.parametrize(
    ("server", "described", "output"),
    [
        ("kserve", None, None),
        ("kfserving", {"kind": "text"}, {"kind": "class", "classes": ["a", 1], "shape": []}),
        ("kserve", TABLE, {"kind": "number", "shape": [], "dtype": "float32"}),
        ("kserve", TENSORS, NAMED),
        ("kfserving", {"kind": "json", "bytes": True}, {"kind": "list", "outputs": []}),
        ("kserve", {"kind": "array", "shape": [2], "dtype": None, "names": ["a", "b"]}, None),
    ],
)
def test_the_document_is_valid(server: str, described: Any, output: Any) -> None:
    document = openapi.document(config({"input": described, "output": output}, server))
    validate(document)
    identities = [operation.id for operation in operations(document)]
    assert len(set(identities)) == len(identities)


def test_rows_have_their_formats() -> None:
    document = openapi.document(config({"input": TABLE}))
    row = document["components"]["schemas"]["Row"]
    assert row["required"] == [column["name"] for column in COLUMNS]
    assert row["properties"]["size (cm)"] == {"type": ["number", "null"], "format": "int64"}
    assert row["properties"]["share"] == {"type": ["number", "null"], "format": "float"}
    assert row["properties"]["kind"] == {"enum": ["a", "b", None]}
    assert row["properties"]["level"]["type"] == ["number", "null"]
    assert row["properties"]["when"]["format"] == "date-time"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, {}),
        (
            {"kind": "class", "classes": ["a", "b"], "shape": [], "dtype": "<U1"},
            {"type": "string", "enum": ["a", "b"]},
        ),
        (
            {"kind": "class", "classes": [0, 1], "shape": [], "dtype": "int64"},
            {"type": "integer", "enum": [0, 1]},
        ),
        (
            {"kind": "class", "classes": [False, True], "shape": [], "dtype": "bool"},
            {"type": "boolean"},
        ),
        (
            {"kind": "class", "classes": list(range(999)), "shape": [], "dtype": "int16"},
            {"type": "integer", "format": "int16"},
        ),
        (
            {"kind": "number", "shape": [2], "dtype": "float32"},
            {
                "type": "array",
                "items": {"type": ["number", "null"], "format": "float"},
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        ({"kind": "array", "shape": [], "dtype": "string"}, {"type": "string"}),
        ({"kind": "array", "shape": [], "dtype": "category"}, {}),
    ],
)
def test_predictions_have_their_types(output: Any, expected: Any) -> None:
    assert prediction(output) == expected


def test_named_outputs_are_properties() -> None:
    found = prediction(NAMED)
    assert found["required"] == ["score", "box", "state", "other"]
    assert found["properties"]["score"] == {"type": ["number", "null"], "format": "float"}
    assert found["properties"]["box"]["items"] == {"type": "integer", "format": "uint8"}
    assert found["properties"]["state"]["prefixItems"][0] == {}


def test_probabilities_are_one_for_each_class() -> None:
    output = {"kind": "class", "classes": ["a", "b"], "shape": [], "probabilities": True}
    schemas = openapi.document(config({"output": output}))["components"]["schemas"]
    found = schemas["PredictResponse"]["properties"]["probabilities"]["items"]
    assert (found["minItems"], found["maxItems"]) == (2, 2)
    assert schemas["PredictResponse"]["required"] == ["predictions"]
    assert "probabilities" in schemas["PredictRequest"]["properties"]


def test_a_model_without_a_version_has_no_header_field_for_it() -> None:
    for facts, names in (
        ({}, ["X-Request-Id"]),
        ({"version": "1"}, ["X-Request-Id", "X-Model-Version"]),
    ):
        document = openapi.document(config(facts))
        assert list(document["components"]["headers"]) == names
        answers = [
            answer
            for path in document["paths"].values()
            for operation in path.values()
            for answer in operation["responses"].values()
        ]
        assert all(list(answer["headers"])[: len(names)] == names for answer in answers)


def test_the_version_is_the_models() -> None:
    assert openapi.document(config({"sha256": "ab" * 32}))["info"]["version"] == "ab" * 6
    assert openapi.document(config({}))["info"]["version"] == "unknown"


def test_errors_are_named_and_503_says_when_to_retry() -> None:
    for operation in operations(openapi.document(config({}))):
        responses = operation.facts["responses"]
        for status, response in responses.items():
            [content] = response["content"].values()
            assert status == "200" or content["schema"] == {"$ref": "#/components/schemas/Error"}
        assert "503" not in responses or "Retry-After" in responses["503"]["headers"]


@pytest.mark.parametrize(
    ("described", "example"),
    [
        ({"kind": "json"}, [1, 2]),
        ({"kind": "table", "columns": COLUMNS[:1]}, [{"other": 1}]),
        ({"kind": "array", "shape": [2, 2]}, [[1, 2]]),
        ({"kind": "text", "dtype": "bytes"}, [{"b64": "/w=="}]),
    ],
)
def test_an_example_that_does_not_fit_is_none(described: Any, example: Any) -> None:
    document = openapi.document(config({"input": described, "example": example}))
    [infer] = [each for each in operations(document) if each.id == "infer"]
    content = infer.facts["requestBody"]["content"]["application/json"]
    assert ("example" in content) == (described["kind"] == "json")


def test_fp16_is_answered_as_raw_data() -> None:
    """The example has FP32 in JSON, where V2 forbids FP16."""
    half = {"kind": "array", "shape": [2], "dtype": "float16"}
    document = openapi.document(config({"input": half, "output": half, "example": [[0.5, 1]]}))
    assert example_of(document, "infer") == {
        "inputs": [{"name": "instances", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1]}],
        "parameters": {"binary_data_output": True},
    }


def test_every_route_of_the_application_is_there_or_has_nothing_to_do() -> None:
    """Of the application that KFServing and Ray Serve use."""
    made = config({})
    app = fallback_routes.application(made, lambda: True, "ray", "1")
    document = openapi.document(made)
    left_out = ("versions", ":explain", "/repository", "/docs", "/openapi.json", "/oauth2")
    for route in app.routes:
        path = getattr(route, "path", "").replace("{model_name}", "model")
        if path and not any(part in path for part in left_out):
            assert path in document["paths"], path


def test_the_page_of_ray_works() -> None:
    app = fallback_routes.application(config({}), lambda: True, "ray", "1")

    async def statuses() -> dict[str, int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            paths = [
                each.path
                for each in operations(openapi.document(config({})))
                if each.method == "get"
            ]
            return {path: (await client.get(path)).status_code for path in paths}

    found = asyncio.run(statuses())
    assert len(found) > 8 and set(found.values()) == {200}, found


def test_routes_of_the_owners_have_names_of_their_own() -> None:
    own = (
        OwnersRoute("/explain", ("POST",), "explain"),
        OwnersRoute("/a.b/c", ("GET", "PUT"), "state"),
        OwnersRoute("/d", ("GET",), "state"),
        OwnersRoute("/ask", ("POST",), "predict"),
    )
    document = openapi.document(config({}), own)
    validate(document)
    every = [operation.id for operation in operations(document)]
    assert len(set(every)) == len(every)
    assert every[-5:] == [
        "explain",
        "state_get_a_b_c",
        "state_put_a_b_c",
        "state_get_d",
        "predict_post_ask",
    ]
