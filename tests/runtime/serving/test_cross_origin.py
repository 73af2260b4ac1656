"""`serving.cors_origins`: what pages of other origins may read, over HTTP, in this process."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from common.config import Config
from common.errors import ConfigError
from common.routes import OwnersRoute
from common.serving.cross_origin import allowing
from support.servers.conversations import PREDICT, Client, Connect, conversation

HERE, ELSEWHERE = b"https://example.org", b"https://example.com"
ORIGINS = (HERE.decode(),)


def request(method: bytes, path: bytes, body: bytes = b"", **fields: bytes) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method, path), b"content-length: %d" % len(body)]
    lines += [name.replace("_", "-").encode() + b": " + value for name, value in fields.items()]
    return b"\r\n".join([*lines, b"", body])


async def asked(client: Client, *arguments: Any, **fields: bytes) -> tuple[int, Any, bytes]:
    """The status, the header fields and the body of an answer."""
    client.send(request(*arguments, **fields))
    head, body = await client.answer()
    line, *others = head.decode().strip().splitlines()
    fields = dict(other.lower().split(": ", 1) for other in others)
    return int(line.split()[1]), fields, body


def preflight(origin: bytes, method: bytes = b"POST") -> dict[str, bytes]:
    asks = b"content-type,x-request-id"
    return {
        "origin": origin,
        "access_control_request_method": method,
        "access_control_request_headers": asks,
    }


@pytest.mark.parametrize("path", [PREDICT, b"/v2/models/model/infer", b"/v2"])
def test_a_preflight(path: bytes) -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        status, fields, _ = await asked(client, b"OPTIONS", path, **preflight(HERE))
        assert (status, fields["access-control-allow-origin"]) == (200, HERE.decode())
        assert fields["access-control-allow-headers"] == "content-type,x-request-id"
        assert "post" in fields["access-control-allow-methods"] and "origin" in fields["vary"]
        for asks in (preflight(ELSEWHERE), preflight(HERE, b"DELETE")):
            status, fields, body = await asked(client, b"OPTIONS", path, **asks)
            assert status == 400 and "cors_origins" in json.loads(body)["error"]
            assert fields.get("access-control-allow-origin") != ELSEWHERE.decode()
        assert connect.workers.asked == 0

    conversation(talk, cors_origins=ORIGINS)


def test_answers_and_errors_on_one_connection() -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        for path, method, body, expected in [
            (PREDICT, b"POST", b"[]", 200),
            (PREDICT, b"PUT", b"[]", 405),
            (PREDICT + b"_binary", b"POST", b"\x90", 200),
            (b"/v2/models/model/infer", b"POST", b"{}", 200),
            (b"/v2/models/other/infer", b"POST", b"{}", 404),
            (b"/docs", b"GET", b"", 200),
        ]:
            status, fields, _ = await asked(client, method, path, body, origin=HERE)
            assert (status, fields["access-control-allow-origin"]) == (expected, HERE.decode())
            assert fields["vary"] == "origin"
            assert {"x-request-id", "x-model-version", "retry-after"} < set(
                fields["access-control-expose-headers"].split(", ")
            )
            status, fields, _ = await asked(client, method, path, body, origin=ELSEWHERE)
            assert status == expected and "access-control-allow-origin" not in fields
            assert fields["vary"] == "origin"
            status, fields, _ = await asked(client, method, path, body)
            assert status == expected and "access-control-allow-origin" not in fields

    conversation(talk, cors_origins=ORIGINS)


def test_all_origins() -> None:
    async def talk(connect: Connect) -> None:
        _, fields, _ = await asked(await connect(), b"POST", PREDICT, b"[]", origin=ELSEWHERE)
        assert fields["access-control-allow-origin"] == "*"

    conversation(talk, cors_origins=("*",))


def test_none_by_default() -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        status, fields, body = await asked(client, b"POST", PREDICT, b"[]", origin=HERE)
        assert (status, body) == (200, b"[]")
        assert not [name for name in fields if name.startswith("access-control")]
        status, _, _ = await asked(client, b"OPTIONS", PREDICT, **preflight(HERE))
        assert status == 405

    conversation(talk)


def config(origins: Any) -> Config:
    serving = {"cors_origins": origins}
    metadata = {"framework": "sklearn", "serving": serving, "model": {}}
    return Config.from_document({"model_name": "model", "model_metadata": metadata})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], ()),
        ("*", ("*",)),
        (["https://a.example:8443", "http://localhost:3000"],) * 2,
        (["capacitor://localhost"],) * 2,
    ],
)
def test_origins_in_the_configuration(value: Any, expected: Any) -> None:
    read = config(value)
    assert read.serving.cors_origins == tuple(expected)
    again = Config.from_document(json.loads(json.dumps(read.as_document())))
    assert again.serving == read.serving


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("https://a.example", "a list of origins"),
        (None, "a list of origins"),
        (["https://a.example/"], r"cors_origins\[0\] must be like https://example.org"),
        (["https://a.example", "*"], r"cors_origins\[1\]"),
        (["a.example"], r"cors_origins\[0\]"),
        ([7], r"cors_origins\[0\]"),
        (["https://A.example"], "lower case"),
    ],
)
def test_what_is_no_origin_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(value)


def test_the_methods_of_the_owners_routes_are_allowed() -> None:
    async def nothing(*_: Any) -> None: ...

    def status(method: str, *own: OwnersRoute) -> int:
        application = allowing(["https://a.example"], nothing, own)
        headers = {"Origin": "https://a.example", "Access-Control-Request-Method": method}

        async def ask() -> int:
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
                return (await client.options("/state", headers=headers)).status_code

        return asyncio.run(ask())

    assert status("PUT") == 400
    assert status("PUT", OwnersRoute("/state", ("GET", "PUT"))) == 200
