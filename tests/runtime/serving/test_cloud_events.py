"""CloudEvents without KServe: what their responses have of a request, and errors."""

import asyncio
import json
from datetime import datetime
from typing import Any

import httpx
import pytest

from common.bodies import events
from common.config import Config
from common.errors import Unanswered
from common.link.frames import Kind, Response
from common.serving.applications import fallback_routes
from common.serving.applications.cloud_events import Events
from common.serving.applications.standalone_application import VERSION
from support.rendering.checkouts import VERSION as TEMPLATES

CONFIG = Config.from_document(
    {
        "model_name": "iris",
        "model_metadata": {"framework": "custom", "server": "standalone", "model": {}},
    }
)
SENT = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "time": "2024-02-29T00:00:00Z"}
STRUCTURED = {"content_type": "application/cloudevents+json; charset=utf-8"}


class Workers:
    """Answers a request with itself, or as it asks."""

    draining = False

    async def submit(self, kind: Kind, body: bytes, request_id: str) -> Response:
        assert request_id == "mine"
        if b"late" in body:
            raise Unanswered(504, "predict took longer")
        if b"fail" in body:
            return Response(0, 500, Kind.JSON, b'{"error": "the model failed"}')
        if kind == Kind.EVENT:
            request, encode = events.decode(body)
            return Response(0, 200, Kind.JSON, encode(request))
        return Response(0, 200, Kind.JSON, body)


def post(body: Any, name: str = "iris", **fields: str) -> httpx.Response:
    app = fallback_routes.application(
        CONFIG, lambda: True, "standalone", VERSION, Events("iris", Workers()).answer
    )
    headers = {"x-request-id": "mine", "content-type": "application/json"}
    headers |= {field.replace("_", "-"): value for field, value in fields.items()}

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
            return await client.post(f"/v1/models/{name}:predict", json=body, headers=headers)

    return asyncio.run(ask())


def binary(body: Any, **fields: str) -> httpx.Response:
    return post(body, **{**{f"ce_{name}": value for name, value in SENT.items()}, **fields})


def check(attributes: dict[str, str], **expected: str) -> None:
    """The attributes of a response: an id and a time of its own, and what is expected."""
    own = {name: attributes[name] for name in ("id", "time")}
    assert attributes == {"specversion": "1.0", **own, **expected}
    assert own["id"] != SENT["id"] and datetime.fromisoformat(own["time"]).tzinfo is not None


def attributes_of(answer: httpx.Response) -> dict[str, str]:
    return {
        name.removeprefix("ce-"): value
        for name, value in answer.headers.items()
        if name.startswith("ce-")
    }


OURS = {"type": "io.kserve.inference.response", "source": "io.kserve.inference.iris"}


def test_the_response_to_an_event_is_one() -> None:
    answer = binary({"instances": [1]}, ce_mine="x")
    assert (answer.status_code, answer.json()) == (200, {"instances": [1]})
    assert answer.headers["content-type"] == "application/json"
    check(attributes_of(answer), **OURS)
    answer = post({**SENT, "mine": "x", "data": {"instances": ["ü"]}}, **STRUCTURED)
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "application/cloudevents+json",
    )
    event = answer.json()
    assert event.pop("data") == {"instances": ["ü"]}
    check(event, **OURS)


def test_kserves_variables_name_what_events_have(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"type": "org.example.answer", "source": "org.example"}
    monkeypatch.setenv("CE_TYPE", named["type"])
    monkeypatch.setenv("CE_SOURCE", named["source"])
    check(attributes_of(binary({})), **named)
    monkeypatch.setenv("CE_SOURCE", "a\nü")
    assert attributes_of(binary({}))["source"] == "a%0A%C3%BC"
    monkeypatch.setenv("CE_SOURCE", named["source"])
    monkeypatch.setenv("CE_MERGE", "True")
    answer = binary({}, ce_mine="x", ce_datacontenttype="text/plain")
    check(attributes_of(answer), **named, mine="x")
    event = post({**SENT, "mine": [1], "data": {}}, **STRUCTURED).json()
    assert event.pop("data") == {} and event.pop("mine") == [1]
    check(event, **named)


def test_half_an_event_is_none() -> None:
    answer = post({"instances": [1]}, ce_id="1", ce_type="t")
    assert (answer.status_code, answer.json()) == (200, {"instances": [1]})
    assert attributes_of(answer) == {}


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (lambda: binary({}, ce_specversion="9"), 400, "must be 1.0 or 0.3, it is '9'"),
        (lambda: binary(["late"]), 504, "took longer"),
        (lambda: binary(["fail"]), 500, "the model failed"),
        (lambda: post({**SENT, "data": "fail"}, **STRUCTURED), 500, "the model failed"),
        (lambda: post({}, "other", ce_id="1"), 404, "there is no model 'other' here"),
    ],
)
def test_an_error_is_no_event(answer: Any, status: int, words: str) -> None:
    refused = answer()
    assert refused.status_code == status and words in refused.json()["error"]
    assert json.loads(refused.content).keys() == {"error"} and attributes_of(refused) == {}


def test_the_servers_version_is_the_templates() -> None:
    assert VERSION == TEMPLATES
