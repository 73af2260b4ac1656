"""`generator.client`: what it says where a server refuses, is busy, breaks off or is none."""

import asyncio
import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generator
from generator import ServingError, SettingError
from generator.scaffold import Scaffold
from support.servers.running import copied, free_port, serving

MANY = np.ones((3000, 4))  # are sent as msgpack
KEY = {"Authorization": "Bearer KEY"}
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def url(sums: Scaffold, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that takes bodies of 300 kB."""
    directory = copied(sums, tmp_path_factory.mktemp("sums") / "made", max_body_bytes=300_000)
    with serving(directory) as running:
        yield running.url


def test_the_servers_message_is_the_errors(url: str) -> None:
    with generator.client(url) as client:
        with pytest.raises(ServingError) as refused:
            client.predict([["x", 1, 2, 3]])
        assert str(refused.value).startswith(f"the server at {url} answered 400: instances[0]")
        with pytest.raises(SettingError, match="the rows cannot be sent as JSON"):
            client.predict([[object(), 1]])
        with pytest.raises(SettingError, match="the rows cannot be sent as JSON"):
            client.predict({"instances": MANY, "other": object()})
        with pytest.raises(SettingError, match="the rows cannot be sent as JSON"):
            client.predict([b"a" * 99_999, b"", {"a": "\ud800"}])
        with pytest.raises(SettingError, match="^rows is 'a text': pass rows, or the path"):
            client.predict("a text")
        with pytest.raises(SettingError, match=r"^rows 'none.npy' cannot be read: .*No such file"):
            client.predict(Path("none.npy"))
    with (
        generator.client(url, name="other") as client,
        pytest.raises(ServingError, match=r"answered 404: .*other"),
    ):
        client.predict([1])


def test_a_body_over_the_servers_limit(url: str) -> None:
    too_large = r"answered 413: the body is larger than 300000 bytes \(serving.max_body_bytes in "
    with generator.client(url) as client:
        assert client.predict(MANY) == {"predictions": [4.0] * len(MANY)}
        for rows in (np.full((90_000, 4), 0.1), [[0.1] * 4] * 90_000):
            with pytest.raises(ServingError, match=too_large):
                client.predict(rows)
        assert client.predict(np.ones((12_000, 4))) == {"predictions": [4.0] * 12_000}  # as JSON


# ---- what is no server of a scaffold ----


@contextlib.contextmanager
def answering(*answers: Answer, key: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server with these answers, of which it repeats the last, and what it was asked for.

    Args:
        answers: each with its status, its headers and its body.
        key: without it in `Authorization`, the answer is 401.
    """
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, body = answers[min(len(asked), len(answers)) - 1]
            if key is not None and self.headers["Authorization"] != key:
                status, headers, body = 401, {}, b'{"detail": "no key"}'
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def soon(when: str) -> Answer:
    return 503, {"Retry-After": when}, b'{"error": "the queue is full"}'


DONE = (200, {}, json.dumps({"predictions": [1]}).encode())
HTML = {"Content-Type": "text/html; charset=utf-8"}
PREDICT, BINARY = "/v1/models/a:predict", "/v1/models/a:predict_binary"


def test_a_busy_server_is_asked_again() -> None:
    with (
        answering(soon("0"), soon("-1"), DONE) as (url, asked),
        generator.client(url, name="a") as client,
    ):
        assert client.predict([1]) == {"predictions": [1]}
        assert asked == [PREDICT] * 3
    with (
        answering(soon("0")) as (url, asked),
        generator.client(url, name="a", retries=1) as client,
        pytest.raises(ServingError, match="answered 503: the queue is full$"),
    ):
        client.predict([1])
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("when", "seconds"),
    [("2", 2), ("3600", 10), ("inf", 10), ("nan", 1), ("Wed, 21 Oct 2026 07:28:00 GMT", 1)],
)
def test_the_wait_is_what_the_server_asks_for_within_limits(
    when: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    with answering(soon(when), DONE) as (url, _), generator.client(url, name="a") as client:
        client.predict([1])
    assert seconds in waits and max(waits) == seconds


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((502, HTML, b"<p>Bad gateway"), r"answered 502: what is not of a scaffold \(text/html\)$"),
        ((200, HTML, b"<p>Welcome"), r"answered 200: what is not of a scaffold \(text/html\)$"),
        ((200, {}, b"[1]"), "answered 200: what is not of a scaffold"),
        ((200, {}, b"[" * 100_000), "answered 200: what is not of a scaffold"),
        ((500, {}, b'{"error": "see the log"}'), "answered 500: see the log$"),
        ((429, {}, b'{"error": {"code": 7,\n "a": "b"}}'), "answered 429: {'code': 7, 'a': 'b'}$"),
        ((403, {}, b'{"message": "not\\n you"}'), "answered 403: not you$"),
        (
            (307, {"Location": "https://me:p@ss@host/v1"}, b""),
            "answered 307: it redirects to https://host/v1: pass the url that it leads to$",
        ),
        ((200, {"Content-Length": "99"}, b'{"pred'), "did not answer: peer closed connection"),
        ((200, {"Content-Encoding": "gzip"}, b"{}"), "did not answer: Error -3 while decomp"),
    ],
)
def test_what_is_no_answer(answer: Answer, words: str) -> None:
    async def asked(url: str) -> Any:
        async with generator.async_client(url, name="a") as client:
            return await client.predict([1])

    with answering(answer) as (url, _):
        with generator.client(url, name="a") as client, pytest.raises(ServingError, match=words):
            client.predict([1])
        with pytest.raises(ServingError, match=f"^the server at {url} ") as error:
            asyncio.run(asked(url))
    assert "\n" not in str(error.value) and "p@ss" not in str(error.value)


def test_a_server_of_another_kind_is_asked_in_json() -> None:
    """It has neither the metadata nor the route."""
    no_route = (404, {}, b"")
    with (
        answering(no_route, DONE, no_route, DONE) as (url, asked),
        generator.client(url, name="a") as client,
    ):
        for _ in range(2):
            assert client.predict(MANY) == {"predictions": [1]}
    assert asked == ["/v2/models/a", PREDICT, BINARY, PREDICT, PREDICT]


def test_a_server_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have another model since."""
    no_route = (404, {}, b"")
    with (
        answering(no_route, DONE, no_route, DONE, no_route, DONE) as (url, asked),
        generator.client(url, name="a") as client,
    ):
        client.predict(MANY)
        monkeypatch.setattr("generator.clients.talk.SEEN_SECONDS", -1)
        client.predict(MANY)
    assert asked[4:] == ["/v2/models/a", PREDICT, BINARY, PREDICT]


def test_an_answer_that_names_code_is_not_run() -> None:
    """msgpack-numpy's own decoder would unpickle this array of objects."""
    import msgpack

    array = {b"nd": True, b"type": "|O8", b"kind": b"", b"shape": [1], b"data": b"cos\nsystem\n"}
    code = (200, {}, msgpack.packb({"predictions": array}))
    with (
        answering(DONE, DONE, code, DONE) as (url, asked),
        generator.client(url, name="a") as client,
    ):
        assert client.predict(MANY) == {"predictions": [1]}
    assert asked == ["/v2/models/a", PREDICT, BINARY, PREDICT]


def test_a_key_is_sent_with_each_request() -> None:
    models = (200, {}, b'{"models": ["a"]}')
    with answering(models, DONE, DONE, key=KEY["Authorization"]) as (url, asked):
        with generator.client(url, headers=KEY) as client:
            assert client.predict([1]) == {"predictions": [1]}
        assert asked == ["/v1/models", PREDICT]
        with (
            generator.client(url, name="a") as client,
            pytest.raises(ServingError, match="answered 401: no key; pass a key in headers, as in"),
        ):
            client.predict([1])


def test_a_server_that_is_not_there() -> None:
    port = free_port()
    with (
        generator.client(f"http://me:p@ss@127.0.0.1:{port}") as client,
        pytest.raises(ServingError) as error,
    ):
        client.predict([1])
    assert str(error.value).startswith(f"the server at http://127.0.0.1:{port} did not answer: ")
    assert "p@ss" not in f"{client!r} {error.value}"


def test_a_server_that_does_not_answer_is_asked_once() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with (
            generator.client(url, name="a", timeout=0.2) as client,
            pytest.raises(ServingError, match=r"did not answer within 0.2 seconds: pass a larger"),
        ):
            client.predict([1])
        server.accept()[0].close()
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("url", "settings", "words"),
    [
        ("localhost:8080", {}, "url 'localhost:8080': write one such as 'http://localhost:8080'"),
        ("http://localhost", {"retries": -1}, "retries -1: write 0 or more"),
        (
            "http://localhost",
            {"timeout": 0},
            "timeout 0: write more than 0, or None for no limit",
        ),
        ("http://me:secret@host:port", {}, "url 'http://host:port': Invalid port: 'port'"),
        (
            "http://me:se/cret@host",
            {},
            "url 'http://host': percent-encode the user's name and password",
        ),
        (
            "http://host/v1?key=secret",
            {},
            "url 'http://host/v1': leave out ? and what follows; pass keys in headers",
        ),
        (
            "http://host",
            {"headers": {"Authorization": "Bearer secret\n"}},
            "headers['Authorization']: the value must be printable ASCII on one line",
        ),
    ],
)
def test_settings(url: str, settings: dict[str, Any], words: str) -> None:
    for make in (generator.client, generator.async_client):
        with pytest.raises(SettingError) as refused:
            make(url, **settings)
        assert str(refused.value) == words
