"""`generator.client`: it answers as `scaffold.predict` does, and says what the server said."""

import asyncio
import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression

import generator
from generator import ServingError, SettingError
from generator.scaffold import Scaffold
from support.models.objects import Days
from support.servers.running import free_port, serving

ROWS = np.arange(8.0).reshape(4, 2)
NAMED = pd.DataFrame({"day": pd.to_datetime(["2024-05-01", "2024-05-02"] * 2), "x": [1.5] * 4})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scaffold, str]]:
    """A model of rows without names, and its server's URL."""
    model = LinearRegression().fit(ROWS, [1.0, 2.0, 3.0, 5.0])
    made = generator.from_model(model, tmp_path_factory.mktemp("plain") / "made", sample_input=ROWS)
    with serving(made.directory) as running, contextlib.closing(made):
        yield made, running.url


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scaffold, str]]:
    directory = tmp_path_factory.mktemp("named") / "made"
    made = generator.from_model(Days(), directory, framework="custom", sample_input=NAMED)
    with serving(made.directory) as running, contextlib.closing(made):
        yield made, running.url


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        ROWS.tolist(),
        ROWS.astype("float32")[:1],
        pd.DataFrame(ROWS, columns=["b", "a"]),
        pl.DataFrame({"b": [1, 2], "a": [0.5, None]}),
        {"instances": ROWS},
    ],
    ids=["array", "list", "float32", "pandas", "polars", "request"],
)
def test_it_answers_as_the_scaffold(plain: tuple[Scaffold, str], given: Any) -> None:
    scaffold, url = plain
    with generator.client(url) as client:
        try:
            expected = scaffold.predict(given)
        except ServingError as error:
            with pytest.raises(ServingError, match="answered 400: ") as refused:
                client.predict(given)
            assert str(refused.value).partition(": ")[2] == str(error).partition(": ")[2]
        else:
            assert client.predict(given) == expected

    async def asked() -> Any:
        async with generator.async_client(f"{url}/") as client:
            return await asyncio.gather(*[client.predict(ROWS) for _ in range(9)])

    assert asyncio.run(asked()) == [scaffold.predict(ROWS)] * 9


def test_a_table_and_a_file(named: tuple[Scaffold, str], tmp_path: Path) -> None:
    scaffold, url = named
    NAMED.to_csv(tmp_path / "rows.csv", index=False)
    with generator.client(url, name="model") as client:
        expected = scaffold.predict(NAMED)
        assert expected == {"predictions": [1.5, 2.5, 1.5, 2.5]}
        for given in (NAMED[["x", "day"]], pl.from_pandas(NAMED), tmp_path / "rows.csv"):
            assert client.predict(given) == expected


def test_the_servers_message_is_the_errors(plain: tuple[Scaffold, str]) -> None:
    _, url = plain
    with generator.client(url) as client:
        with pytest.raises(ServingError) as refused:
            client.predict([["x", 1]])
        assert str(refused.value).startswith(f"the server at {url} answered 400: instances[0]")
        with pytest.raises(SettingError, match="the rows cannot be sent as JSON"):
            client.predict([[object(), 1]])
    with (
        generator.client(url, name="other") as client,
        pytest.raises(ServingError, match="answered 404: .*other"),
    ):
        client.predict(ROWS)


# ---- a server that does not answer ----


@contextlib.contextmanager
def answering(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[tuple[str, list[str]]]:
    """A server with these answers, of which it repeats the last, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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


SOON = (503, {"Retry-After": "0"}, b'{"error": "the queue is full"}')
DONE = (200, {}, json.dumps({"predictions": [1]}).encode())


def test_a_busy_server_is_asked_again() -> None:
    with answering(SOON, SOON, DONE) as (url, asked), generator.client(url, name="a") as client:
        assert client.predict([1]) == {"predictions": [1]}
        assert asked == ["/v1/models/a:predict"] * 3
    with (
        answering(SOON) as (url, asked),
        generator.client(url, name="a", retries=1) as client,
        pytest.raises(ServingError, match="answered 503: the queue is full$"),
    ):
        client.predict([1])
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((502, {}, b"<html>Bad gateway</html>"), "answered 502: what is not of a scaffold"),
        ((200, {}, b"<html>Welcome</html>"), "answered 200: what is not of a scaffold"),
        ((500, {}, b'{"error": "see the log"}'), "answered 500: see the log"),
    ],
)
def test_what_is_no_answer(answer: tuple[int, dict[str, str], bytes], words: str) -> None:
    with (
        answering(answer) as (url, _),
        generator.client(url, name="a") as client,
        pytest.raises(ServingError, match=words),
    ):
        client.predict([1])


def test_a_server_that_is_not_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with (
        generator.client(url) as client,
        pytest.raises(ServingError, match=f"the server at {url} did not answer: "),
    ):
        client.predict([1])


@pytest.mark.parametrize(
    ("url", "settings", "words"),
    [
        ("localhost:8080", {}, "url 'localhost:8080': write one such as 'http://localhost:8080'"),
        ("http://localhost", {"retries": -1}, "retries -1: write 0 or more"),
        ("http://me:secret@host:port", {}, "url 'http://host:port': Invalid port: 'port'"),
    ],
)
def test_settings(url: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError) as refused:
        generator.client(url, **settings)
    assert str(refused.value) == words
