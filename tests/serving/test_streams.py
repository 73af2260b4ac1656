"""Answers that come chunk by chunk, over real HTTP."""

import asyncio
import concurrent.futures
import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import generator
from generator.running.server import Server
from generator.scaffold import Scaffold
from support.packages.environments import BROWSER, PROGRAMS, run
from support.servers.running import configure, copied, metric, serving

MODEL = '''
import os
import time
from pathlib import Path

from common import InvalidInput, route

PLACE = Path("data")


class InferenceModel:
    """Yields as many chunks as a row says."""

    def __init__(self, config):
        self.made = 0

    def load(self): ...

    def preprocess(self, request):
        if request.get("refused"):
            raise InvalidInput("the request must not be refused")
        return request

    def predict(self, request, context):
        if request.get("whole"):
            return {"predictions": request["instances"]}
        context.headers["X-Streams"] = "yes"
        return self._chunks(request, context)

    def _chunks(self, request, context):
        name = str(request.get("name", ""))
        try:
            for number in range(request["instances"][0]):
                if request.get("fails") == number:
                    if request.get("mildly"):
                        raise InvalidInput("there is no more")
                    raise KeyError("secret")
                if request.get("dies") == number:
                    os._exit(9)
                time.sleep(request.get("pause", 0))
                self.made += 1
                yield {"number": number, "fill": "x" * request.get("fill", 0)}
        finally:
            if name:
                (PLACE / name).write_text("closed")

    def postprocess(self, response):
        return {**response, "seen": True}

    @route("/made", methods=["GET"])
    def told(self, request):
        return self.made

    @route("/forever", methods=["GET"])
    def forever(self, request):
        while True:
            yield 1

    @route("/events", methods=["GET"])
    def events(self, request, context):
        for number in range(int(context.request.query["count"])):
            if context.request.query.get("fails") == str(number):
                raise InvalidInput("there is no more")
            yield number
'''


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    directory = tmp_path_factory.mktemp("streams") / "own"
    made = generator.new(directory, server="standalone")
    (directory / "src/server/inference_model.py").write_text(MODEL)
    (directory / "src/data").mkdir(exist_ok=True)
    configure(directory, max_batch_size=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def running(own: Scaffold) -> Iterator[Server]:
    with own.serve(port=0) as server:
        yield server


@pytest.fixture
def asked(running: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=60) as client:
        yield client


PREDICT = "/v1/models/model:predict"
EVENTS = {"Accept": "text/event-stream"}


def numbers(text: str) -> list[int]:
    return [json.loads(line)["number"] for line in text.splitlines()]


def test_chunks_come_as_lines_of_json(asked: httpx.Client) -> None:
    for _ in range(2):  # on one connection
        answer = asked.post(PREDICT, json={"instances": [50]})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert answer.headers["x-streams"] == "yes" and "content-length" not in answer.headers
        assert numbers(answer.text) == list(range(50))
        assert json.loads(answer.text.splitlines()[0])["seen"] is True


def test_chunks_come_as_events(asked: httpx.Client) -> None:
    answer = asked.post(PREDICT, json={"instances": [3]}, headers=EVENTS)
    assert answer.headers["content-type"] == "text/event-stream"
    *chunks, last, nothing = answer.text.split("\n\n")
    assert [json.loads(chunk.removeprefix("data: "))["number"] for chunk in chunks] == [0, 1, 2]
    assert (last, nothing) == ("event: end\ndata: {}", "")


def test_a_stream_of_nothing(asked: httpx.Client) -> None:
    answer = asked.post(PREDICT, json={"instances": [0]})
    assert answer.text == "" and answer.headers["content-type"] == "application/x-ndjson"
    events = asked.post(PREDICT, json={"instances": [0]}, headers=EVENTS)
    assert events.text == "event: end\ndata: {}\n\n"


def test_a_model_may_stream_for_some_requests_only(asked: httpx.Client) -> None:
    answer = asked.post(PREDICT, json={"instances": [5], "whole": True})
    assert answer.json() == {"predictions": [5], "seen": True}


def test_the_first_chunk_comes_before_the_last_is_made(asked: httpx.Client) -> None:
    start, times = time.monotonic(), []
    with asked.stream("POST", PREDICT, json={"instances": [4], "pause": 0.3}) as answer:
        for line in answer.iter_lines():
            times.append(time.monotonic() - start)
            assert line
    assert len(times) == 4 and times[3] - times[0] > 0.6


def test_an_error_in_mid_stream_is_the_end_of_it(asked: httpx.Client) -> None:
    body = {"instances": [5], "fails": 2}
    *chunks, error = asked.post(PREDICT, json=body).text.splitlines()
    assert numbers("\n".join(chunks)) == [0, 1]
    assert "request id" in json.loads(error)["error"] and "secret" not in error
    events = asked.post(PREDICT, json={**body, "mildly": True}, headers=EVENTS).text
    assert events.endswith('event: error\ndata: {"error":"there is no more"}\n\n')


def test_an_error_before_the_first_chunk_is_an_answer(asked: httpx.Client) -> None:
    mild = asked.post(PREDICT, json={"instances": [5], "fails": 0, "mildly": True})
    assert (mild.status_code, mild.json()) == (400, {"error": "there is no more"})
    hard = asked.post(PREDICT, json={"instances": [5], "fails": 0}, headers=EVENTS)
    assert hard.status_code == 500 and "request id" in hard.json()["error"]
    assert asked.post(PREDICT, json={"instances": [5], "refused": 1}).status_code == 400


def test_a_worker_that_dies_ends_its_streams(asked: httpx.Client) -> None:
    answer = asked.post(PREDICT, json={"instances": [5], "dies": 2})
    *chunks, error = answer.text.splitlines()
    assert numbers("\n".join(chunks)) == [0, 1] and "ended" in json.loads(error)["error"]
    for _ in range(100):
        if asked.get("/readyz").status_code == 200:
            break
        time.sleep(0.1)
    assert asked.post(PREDICT, json={"instances": [1]}).status_code == 200


def test_a_client_that_leaves_ends_the_generator(own: Scaffold, asked: httpx.Client) -> None:
    for accept in ({}, {"X-Forwarded": "1", "Expect": "100-continue"}):  # plain, and through ASGI
        name = f"left{len(accept)}"
        body = {"instances": [100_000], "pause": 0.05, "name": name}
        with (
            httpx.Client(base_url=asked.base_url, timeout=30) as leaving,
            leaving.stream("POST", PREDICT, json=body, headers=accept) as answer,
        ):
            next(answer.iter_lines())
        closed = own.directory / "src/data" / name
        for _ in range(100):
            if closed.exists():
                break
            time.sleep(0.1)
        assert closed.read_text() == "closed"


def test_a_client_that_stops_reading_stops_the_generator(
    running: Server, asked: httpx.Client
) -> None:
    before = asked.get("/made").json()
    body = json.dumps({"instances": [100_000], "fill": 10_000}).encode()
    port = int(running.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as still:
        still.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        still.sendall(head.encode() + body)
        time.sleep(2)
        first = asked.get("/made").json() - before
        time.sleep(1)
        assert asked.get("/made").json() - before == first, "it went on"
        assert 0 < first < 5000
        assert asked.post(PREDICT, json={"instances": [3]}).status_code == 200, "others go on"


def test_many_streams_at_once(running: Server) -> None:
    limits = httpx.Limits(max_connections=None)
    with httpx.Client(base_url=running.url, timeout=60, limits=limits) as client:

        def ask(number: int) -> bool:
            answer = client.post(PREDICT, json={"instances": [number]})
            return numbers(answer.text) == list(range(number))

        with concurrent.futures.ThreadPoolExecutor(64) as threads:
            assert all(threads.map(ask, range(300)))


def test_curl_reads_a_stream(running: Server) -> None:
    command = ["curl", "-sN", running.predict_url, "-d", '{"instances": [3]}']
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert numbers(done.stdout) == [0, 1, 2]
    old = subprocess.run([*command, "--http1.0"], capture_output=True, text=True, timeout=60)
    assert numbers(old.stdout) == [0, 1, 2]


def test_a_route_of_the_owners_streams_to_an_event_source(asked: httpx.Client) -> None:
    answer = asked.get("/events?count=2", headers=EVENTS)
    assert answer.text == "data: 0\n\ndata: 1\n\nevent: end\ndata: {}\n\n"


def test_head_of_a_stream_is_its_head(asked: httpx.Client) -> None:
    answer = asked.head("/forever", headers=EVENTS)
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/event-stream"


def test_what_is_pipelined_behind_a_stream_waits_for_its_end(running: Server) -> None:
    body = b'{"instances": [2], "pause": 0.1}'
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    probe = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(running.url.rsplit(":", 1)[1])), 30) as client:
        client.sendall(head + body + head + body + probe)
        came = b"".join(iter(lambda: client.recv(65536), b""))
    answers = came.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [part.count(b'"number":') for part in answers] == [2, 2, 0]
    assert answers[0].endswith(b"\r\n0\r\n\r\n") and b'"live":true' in answers[2]


def test_streams_and_requests_do_not_wait_for_each_other(asked: httpx.Client) -> None:
    """One batch is one request here, and others are asked all the time."""
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=asked.base_url, timeout=60) as client:
            while not ended.is_set():
                body = {"instances": [1], "whole": True}
                assert client.post(PREDICT, json=body).status_code == 200

    body = {"instances": [100_000], "pause": 0.001}
    with concurrent.futures.ThreadPoolExecutor(4) as threads, contextlib.ExitStack() as open_ones:
        for _ in range(5):  # more than the requests that a worker is sent at once
            stream = open_ones.enter_context(asked.stream("POST", PREDICT, json=body))
            next(stream.iter_lines())
        asking = [threads.submit(ask) for _ in range(4)]
        answer = asked.post(PREDICT, json={"instances": [200]})
        assert numbers(answer.text) == list(range(200))
        ended.set()
        for each in asking:
            each.result()


def test_a_server_that_stops_ends_generators(own: Scaffold, tmp_path: Path) -> None:
    place = copied(own, tmp_path / "own", drain_seconds=0, predict_timeout_seconds=1)
    with serving(place) as server, server.client() as client:
        body = {"instances": [100_000], "pause": 0.05, "name": "stopped"}
        with client.stream("POST", PREDICT, json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            *_, last = lines
        assert json.loads(last) == {"error": "the server is stopping"}
        assert server.process.wait(60) == 0
    assert (place / "src/data/stopped").read_text() == "closed"


@pytest.mark.sweep
def test_the_event_source_of_a_browser_reads_a_stream_once(
    playwright: Path, running: Server, asked: httpx.Client
) -> None:
    def read(path: str, seconds: float) -> list[object]:
        program = PROGRAMS / "event_source.py"
        read: list[object] = json.loads(
            run(playwright, program, BROWSER, running.url, path, seconds)
        )
        return read

    def opened() -> float:
        return metric(asked, "scaffold_requests_total", route="/events")

    before = opened()
    # A browser opens a stream again after three seconds, if its page has not closed it.
    assert read("/events?count=3", 5) == [[0, 1, 2], "end"]
    assert opened() == before + 1
    assert read("/events?count=3&fails=2", 0) == [[0, 1], "there is no more"]


def test_other_bodies_are_told_where_streams_are(asked: httpx.Client) -> None:
    import msgpack

    binary = asked.post(
        f"{PREDICT}_binary",
        content=msgpack.packb({"instances": [3]}),
        headers={"Content-Type": "application/msgpack"},
    )
    assert binary.status_code == 400 and ":predict" in binary.json()["error"]
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "a", "ce-type": "b"}
    events = asked.post(PREDICT, json={"instances": [3]}, headers=event)
    assert events.status_code == 501 and ":predict" in events.json()["error"]


def test_without_a_server_all_chunks_come_at_once(own: Scaffold) -> None:
    chunks = own.predict({"instances": [40]})["chunks"]
    assert [chunk["number"] for chunk in chunks] == list(range(40))


def test_streams_are_counted_once(asked: httpx.Client, tmp_path: Path) -> None:
    def count() -> float:
        lines = asked.get("/metrics").text.splitlines()
        found = [
            line for line in lines if "scaffold_requests_total" in line and '"predict"' in line
        ]
        return sum(float(line.rsplit(" ", 1)[1]) for line in found)

    before = count()
    asked.post(PREDICT, json={"instances": [20]})
    assert count() == before + 1


def test_the_client_reads_chunks_as_they_come(running: Server) -> None:
    with generator.client(running.url) as client:
        start, times, seen = time.monotonic(), [], []
        for chunk in client.stream({"instances": [4], "pause": 0.3, "fill": 100_000}):
            times.append(time.monotonic() - start)
            seen.append(chunk["number"])
        assert seen == [0, 1, 2, 3] and times[3] - times[0] > 0.6
        whole = list(client.stream({"instances": [5], "whole": True}))
        assert whole == [{"predictions": [5], "seen": True}]
        with pytest.raises(generator.ServingError, match="ended its answer: there is no more"):
            list(client.stream({"instances": [5], "fails": 3, "mildly": True}))
        with pytest.raises(generator.ServingError, match="answered 400: the request must not"):
            list(client.stream({"instances": [5], "refused": True}))


def test_the_client_may_leave_a_stream(running: Server, own: Scaffold) -> None:
    body = {"instances": [100_000], "pause": 0.02, "name": "leave"}
    with generator.client(running.url) as client:
        for chunk in client.stream(body):
            if chunk["number"] == 3:
                break
        assert client.predict({"instances": [1], "whole": True})["predictions"] == [1]
    for _ in range(100):
        if (own.directory / "src/data/leave").exists():
            return
        time.sleep(0.1)
    raise AssertionError("the generator goes on")


def test_the_async_client_reads_many_streams(running: Server) -> None:
    async def read(client: generator.AsyncClient, count: int) -> list[int]:
        return [chunk["number"] async for chunk in client.stream({"instances": [count]})]

    async def main() -> list[list[int]]:
        async with generator.async_client(running.url) as client:
            return await asyncio.gather(*(read(client, count) for count in range(20)))

    assert asyncio.run(main()) == [list(range(count)) for count in range(20)]
