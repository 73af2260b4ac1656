"""`async def` hooks and routes, over real HTTP."""

import concurrent.futures
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import generator
from generator.scaffold import Scaffold
from support.servers.running import PREDICT, Running, configure, serving, until

# Its preprocess alone is `async def`; beside it are routes.
MIXED = """
import asyncio
import logging
import os
import time
from pathlib import Path

from common import InvalidInput, route

logger = logging.getLogger("owner")


class InferenceModel:
    def __init__(self, config):
        self.now = self.most = 0
        self.rows = []

    async def load(self):
        self.loop = asyncio.get_running_loop()

    async def warmup(self):
        await asyncio.sleep(0)

    async def health(self):
        return True

    async def close(self):
        await asyncio.sleep(0.1)
        Path("data/closed").write_text("closed")

    async def preprocess(self, request, context):
        assert asyncio.get_running_loop() is self.loop
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            logger.warning("look up %s", request.get("name"))
            await asyncio.sleep(request.get("pause", 0))
            await asyncio.to_thread(logger.warning, "in a thread %s", request.get("name"))
        finally:
            self.now -= 1
        match request.get("act"):
            case "refuse":
                context.status = 409
                raise InvalidInput("there is no such row")
            case "fail":
                raise KeyError("secret")
            case "exit":
                raise SystemExit(3)
            case "exit in a task":
                await asyncio.create_task(self.exit())
            case "none":
                return None
            case "block":
                time.sleep(60)
            case "stubborn":
                while True:
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        pass
            case "die":
                os._exit(9)
        return request

    async def exit(self):
        raise SystemExit(3)

    def predict(self, request):
        self.rows.append(len(request["instances"]))
        time.sleep(0.01)
        return {"predictions": [sum(row) for row in request["instances"]]}

    def postprocess(self, response, context):
        context.headers["x-id"] = context.request.id
        return response

    @route("/told", methods=["GET"])
    async def told(self, request):
        most, rows, self.most, self.rows = self.most, self.rows, 0, []
        return {"most": most, "rows": rows, "now": self.now}

    @route("/many", methods=["GET"])
    async def many(self, request, context):
        try:
            for number in range(int(context.request.query["count"])):
                await asyncio.sleep(float(context.request.query.get("pause", 0)))
                yield number
        finally:
            Path("data", context.request.query.get("name", "none")).write_text("closed")

    @route("/echo")
    async def echo(self, request, context):
        await asyncio.sleep(0.01)
        if request == "refused":
            raise InvalidInput("say something else")
        context.status, context.media_type = 201, "text/plain"
        return b"heard"
"""
# Its predict and postprocess are `async def`.
ALL = """
import asyncio


class InferenceModel:
    def __init__(self, config):
        self.now = self.most = 0

    def load(self): ...

    def preprocess(self, request):
        return request

    async def predict(self, request):
        if "chunks" in request:
            return self.chunks(request)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(request.get("pause", 0))
        self.now -= 1
        sums = [sum(row) for row in request["instances"]]
        return {"predictions": sums, "most": self.most, "pause": request.get("pause", 0)}

    async def chunks(self, request):
        for number in range(request["chunks"]):
            await asyncio.sleep(request.get("pause", 0))
            if request.get("fails") == number:
                raise KeyError("secret")
            yield {"number": number}

    async def postprocess(self, response):
        await asyncio.sleep(response.pop("pause", 0))
        return {**response, "seen": True}
"""
LIMIT = 2


def made(directory: Path, code: str, **knobs: Any) -> Path:
    generator.new(directory, server="standalone")
    (directory / "src/server/inference_model.py").write_text(code)
    (directory / "src/data").mkdir(exist_ok=True)
    configure(directory, predict_timeout_seconds=LIMIT, drain_seconds=0, grpc_port=0, **knobs)
    return directory


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("mixed") / "own", MIXED, max_concurrency=64)


@pytest.fixture(scope="module")
def running(mixed: Path) -> Iterator[Running]:
    with serving(mixed) as server:
        yield server


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    directory = made(tmp_path_factory.mktemp("all") / "own", ALL, max_batch_size=1)
    scaffold = generator.load(directory)
    yield scaffold
    scaffold.close()


@pytest.fixture
def asked(running: Running) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


def post(server: Running, *bodies: dict[str, Any]) -> list[httpx.Response]:
    """The answers to requests that are sent at the same time."""
    limits = httpx.Limits(max_connections=None)
    with (
        httpx.Client(base_url=server.url, timeout=60, limits=limits) as client,
        concurrent.futures.ThreadPoolExecutor(100) as threads,
    ):
        return list(threads.map(lambda body: client.post(PREDICT, json=body), bodies))


def test_coroutines_run_at_once_beside_shared_calls(running: Running, asked: httpx.Client) -> None:
    asked.get("/told")
    answers = post(running, *({"instances": [[n, 1]], "pause": 0.2} for n in range(200)))
    assert [answer.json() for answer in answers] == [{"predictions": [n + 1]} for n in range(200)]
    assert len({answer.headers["x-id"] for answer in answers}) == 200
    told = asked.get("/told").json()
    assert 32 < told["most"] <= 64, "as many as max_concurrency, and no more"
    assert max(told["rows"]) > 4, "requests share calls of predict"


def test_log_lines_have_the_request_id(running: Running, asked: httpx.Client) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(
            threads.map(
                lambda name: asked.post(
                    PREDICT,
                    json={"instances": [[1]], "name": name, "pause": 0.1},
                    headers={"X-Request-Id": f"id-{name}"},
                ),
                "abcdefgh",
            )
        )
    said = {line["message"]: line.get("request_id") for line in running.lines()}
    for name in "abcdefgh":
        assert said[f"look up {name}"] == said[f"in a thread {name}"] == f"id-{name}"


@pytest.mark.parametrize(
    ("act", "status", "said"),
    [
        ("refuse", 409, "there is no such row"),
        ("fail", 500, "request id"),
        ("exit", 500, "request id"),
        ("exit in a task", 500, "request id"),
        ("none", 500, "request id"),
    ],
)
def test_errors_are_those_of_other_hooks(
    running: Running, asked: httpx.Client, act: str, status: int, said: str
) -> None:
    worker = running.workers()
    answer = asked.post(PREDICT, json={"instances": [[1]], "act": act})
    assert answer.status_code == status and said in answer.json()["error"]
    assert "secret" not in answer.text
    assert asked.post(PREDICT, json={"instances": [[2]]}).json() == {"predictions": [2]}
    assert running.workers() == worker


@pytest.mark.parametrize("act", ["hang", pytest.param("stubborn", marks=pytest.mark.sweep)])
def test_one_that_hangs_gets_504_and_the_others_go_on(running: Running, act: str) -> None:
    worker = running.workers()
    hangs = {"instances": [[0]], "act": act, "pause": 60 if act == "hang" else 0}
    late, *others = post(running, hangs, *({"instances": [[n]]} for n in range(20)))
    assert late.status_code == 504 and "predict_timeout_seconds" in late.json()["error"]
    assert [answer.status_code for answer in others] == [200] * 20
    assert running.workers() == worker


@pytest.mark.sweep
def test_a_hook_that_blocks_the_event_loop_ends_the_worker(running: Running) -> None:
    [worker] = running.workers()
    [late] = post(running, {"instances": [[0]], "act": "block"})
    assert late.status_code == 504
    until(running.ready, "another worker is ready")
    assert running.workers() != [worker]


@pytest.mark.sweep
def test_a_worker_that_dies_is_replaced(running: Running, asked: httpx.Client) -> None:
    died, *others = post(
        running,
        {"instances": [[0]], "act": "die", "pause": 0.3},
        *({"instances": [[n]], "pause": 1} for n in range(5)),
    )
    assert {answer.status_code for answer in (died, *others)} == {503}
    until(running.ready, "another worker is ready")
    assert asked.post(PREDICT, json={"instances": [[2]]}).json() == {"predictions": [2]}


def test_routes_are_async_too(asked: httpx.Client) -> None:
    answer = asked.post("/echo", json={})
    assert (answer.status_code, answer.text) == (201, "heard")
    assert answer.headers["content-type"] == "text/plain"
    refused = asked.post("/echo", json="refused")
    assert (refused.status_code, refused.json()) == (400, {"error": "say something else"})


def test_a_route_streams(mixed: Path, running: Running, asked: httpx.Client) -> None:
    answer = asked.get("/many?count=100&name=read")
    assert [json.loads(line) for line in answer.text.splitlines()] == list(range(100))
    assert (mixed / "src/data/read").read_text() == "closed"
    with running.client() as leaving, leaving.stream("GET", "/many?count=9999&name=left") as left:
        next(left.iter_lines())
    until((mixed / "src/data/left").exists, "the generator is closed")


@pytest.mark.sweep
def test_a_chunk_that_hangs_ends_its_stream(asked: httpx.Client) -> None:
    answer = asked.get("/many?count=3&pause=60&name=hung")
    assert answer.status_code == 504


@pytest.mark.sweep
def test_a_server_that_ends_answers_first(mixed: Path) -> None:
    with serving(mixed) as server, concurrent.futures.ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(post, server, *[{"instances": [[1]], "pause": 1.5}] * 10)
        time.sleep(0.5)
        (mixed / "src/data/closed").unlink(missing_ok=True)
        os.kill(server.process.pid, signal.SIGTERM)
        assert {answer.status_code for answer in waiting.result()} == {200}
        assert server.process.wait(30) == 0
    assert (mixed / "src/data/closed").read_text() == "closed"


def test_calls_of_an_async_predict_run_at_once(whole: Scaffold) -> None:
    with serving(whole.directory) as server, server.client() as client:
        answers = post(server, *({"instances": [[n, 2]], "pause": 0.5} for n in range(40)))
        assert [answer.json()["predictions"] for answer in answers] == [[n + 2] for n in range(40)]
        assert max(answer.json()["most"] for answer in answers) > 10
        assert all(answer.json()["seen"] for answer in answers)
        until(lambda: server.metric("scaffold_batch_requests_count") >= 40, "calls are counted")
        lines = client.post(PREDICT, json={"instances": [], "chunks": 40}).text.splitlines()
        chunks = [json.loads(line) for line in lines]
        assert chunks == [{"number": number, "seen": True} for number in range(40)]
        *_, error = client.post(
            PREDICT, json={"instances": [], "chunks": 5, "fails": 3}
        ).text.splitlines()
        assert "request id" in json.loads(error)["error"]
        first = client.post(PREDICT, json={"instances": [], "chunks": 5, "fails": 0})
        assert first.status_code == 500
        bodies = ({"instances": [], "chunks": count, "pause": 0.01} for count in range(30))
        many = post(server, *bodies)
        assert [len(answer.text.splitlines()) for answer in many] == list(range(30))


@pytest.mark.sweep
def test_several_slow_hooks_are_no_hang(whole: Scaffold) -> None:
    """The worker sends no answer for longer than the limit, and nothing is late."""
    with serving(whole.directory) as server:
        worker = server.workers()
        [answer] = post(server, {"instances": [[1, 2]], "pause": 0.8 * LIMIT})
        assert answer.json()["predictions"] == [3] and server.workers() == worker


@pytest.mark.sweep
def test_without_a_server(whole: Scaffold, mixed: Path) -> None:
    assert whole.predict([[1, 2]])["predictions"] == [3]
    chunks = whole.predict({"instances": [], "chunks": 40})["chunks"]
    assert [chunk["number"] for chunk in chunks] == list(range(40))
    scaffold = generator.load(mixed)
    assert scaffold.predict([[1, 2]]) == {"predictions": [3]}
    scaffold.close()
