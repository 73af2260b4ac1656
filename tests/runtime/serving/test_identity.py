"""The model's version: where it comes from, and what is told where there is none."""

import asyncio
import datetime
from typing import Any

import httpx
import pytest

from common.bodies import json_decode
from common.bodies.v2.v2_codec import V2
from common.config import Config
from common.errors import ConfigError
from common.link.frames import V2_HEAD
from common.serving.applications import fallback_routes
from common.serving.predict_routes import PredictRoutes, version_fields

DIGEST = "0123456789ab" + "c" * 52
INPUTS = b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [1]}]}'


def config(**model: Any) -> Config:
    metadata = {"framework": "sklearn", "model": model}
    return Config.from_document({"model_name": "iris", "model_metadata": metadata})


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ({}, None),
        ({"sha256": DIGEST}, "0123456789ab"),
        ({"sha256": "no digest"}, None),
        ({"sha256": DIGEST, "version": None}, "0123456789ab"),
        ({"sha256": DIGEST, "version": "2024-05-01_a+b.C"}, "2024-05-01_a+b.C"),
        ({"version": "x" * 64}, "x" * 64),
    ],
)
def test_the_version(model: dict[str, Any], version: str | None) -> None:
    made = config(**model)
    assert made.model.version == version
    assert Config.from_document(made.as_document()).model.version == version  # in a worker


@pytest.mark.parametrize("value", [1.1, 10, True, ["1"], datetime.date(2024, 5, 1)])
def test_a_value_that_yaml_takes_for_another_needs_quotes(value: Any) -> None:
    with pytest.raises(ConfigError, match="model.version must be a string in quotes, as in"):
        config(version=value)


@pytest.mark.parametrize("value", ["", "-1", "..", "a b", "a/b", "a\n", "é", "x" * 65, "a\r\nb: c"])
def test_a_version_stands_in_a_header_and_a_path(value: str) -> None:
    with pytest.raises(ConfigError, match="model.version must be 1 to 64 letters"):
        config(version=value)


def infer(**model: Any) -> Any:
    """The JSON of an answer of V2."""
    _, encode = V2("iris", version=config(**model).model.version).decode(
        V2_HEAD.pack(0) + INPUTS, "an-id"
    )
    return json_decode(encode({"predictions": [1.5]})[V2_HEAD.size :])


def test_answers_of_v2_name_the_version() -> None:
    assert list(infer(version="7")) == ["id", "model_name", "model_version", "outputs"]
    assert infer(version="7")["model_version"] == "7"
    assert "model_version" not in infer()


def asked(made: Config, *paths: str) -> list[tuple[int, Any]]:
    """The statuses and bodies of the routes besides the predict routes."""
    app = fallback_routes.application(made, lambda: True, "ray", "1")

    async def answers() -> list[tuple[int, Any]]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            found = [await client.get(path) for path in paths]
            return [(answer.status_code, answer.json()) for answer in found]

    return asyncio.run(answers())


def test_without_a_version_nothing_is_told() -> None:
    made = config()
    ready, metadata, other = asked(
        made, "/v1/models/iris", "/v2/models/iris", "/v2/models/iris/versions/1/ready"
    )
    assert ready == (200, {"name": "iris", "ready": True})
    assert metadata[0] == 200 and "versions" not in metadata[1]
    assert other == (404, {"error": "the model has no version: leave out the version '1'"})
    assert version_fields(made) == []
    workers: Any = None
    assert all(b"versions" not in target for target in PredictRoutes(made, workers).by_target)
