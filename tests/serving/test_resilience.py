"""Hostile requests, failing models and shutdown. Each test has its own servers."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from common.bodies import json_encode, msgpack_encode
from generator.environment.venvs import server_python
from generator.scaffold import Scaffold
from support.servers.running import (
    BINARY,
    PATIENCE,
    PREDICT,
    Running,
    configure,
    copied,
    end,
    free_port,
    launch,
    serving,
    together,
    until,
)
from support.session.cases import first

INFER = "/v2/models/model/infer"
ROW = [5.1, 3.5, 1.4, 0.2]
HOSTILE_BODIES = 10_000
CONNECTIONS = 4

# Does what the first row says: sleep, segfault or exit. Answers its process id.
OWNERS_CODE = """
import ctypes
import os
import pathlib
import time


class InferenceModel:
    def __init__(self, config):
        pass

    def load(self):
        if pathlib.Path("data/broken").exists():
            raise RuntimeError("the file is broken")

    def preprocess(self, request):
        return request

    def predict(self, request):
        what, *arguments = request["instances"][0]
        if what == "sleep":
            time.sleep(arguments[0])
        elif what == "segfault":
            ctypes.string_at(0)
        elif what == "exit":
            os._exit(arguments[0])
        return {"predictions": [os.getpid() for row in request["instances"]]}

    def postprocess(self, response):
        return response
"""

# Answers how many calls there were before, and what the values of all rows add up to.
COUNTING = """
class InferenceModel:
    def __init__(self, config):
        self.calls = 0

    def load(self): ...

    def preprocess(self, request):
        return request

    def predict(self, request):
        self.calls += 1
        total = sum(map(sum, request["instances"]))
        return {"predictions": [self.calls, total]}

    def postprocess(self, response):
        return response
"""


def told(what: str, *arguments: Any) -> dict[str, Any]:
    return {"instances": [[what, *arguments]]}


@pytest.fixture
def owners(scaffold: Scaffold, tmp_path: Path) -> Callable[..., Path]:
    """Makes a scaffold with the code above, which does not check its rows."""

    def make(**knobs: Any) -> Path:
        directory = copied(scaffold, tmp_path / "own", OWNERS_CODE, **knobs)
        config = directory / "config.yaml"
        config.write_text(config.read_text().partition("    input:\n")[0])
        return directory

    return make


# --- hostile bodies


def mutated(choice: random.Random, body: bytes) -> bytes:
    """A body with bytes removed, changed, repeated or inserted."""
    data = bytearray(body)
    for _ in range(choice.randint(1, 4)):
        at = choice.randrange(len(data) + 1)
        match choice.randrange(4):
            case 0:
                del data[at:]
            case 1:
                data[at : at + 1] = choice.randbytes(1)
            case 2:
                data[at:at] = data[: choice.randrange(9)]
            case _:
                data[at:at] = choice.randbytes(choice.randrange(1, 5))
    return bytes(data)


def odd_value(choice: random.Random, depth: int = 0) -> Any:
    """Something that is not a valid row, of any shape and type in JSON or msgpack."""
    values: list[Callable[[], Any]] = [
        lambda: None,
        lambda: choice.choice([True, False]),
        lambda: choice.choice([0, -1, 2**31, 2**63 - 1, 2**64 - 1, -(2**63)]),
        lambda: choice.choice([1e308, -1e308, 5e-324, 1e39, 0.1]),
        lambda: choice.choice(["", "1", "nan", "\x00", "é" * 9, "x" * 5000, "__class__"]),
        lambda: [ROW[: choice.randrange(6)]],
        lambda: [odd_value(choice, depth + 1) for _ in range(choice.randrange(5))],
        lambda: {
            choice.choice(["a", "b64", "instances", ""]): odd_value(choice, depth + 1)
            for _ in range(2)
        },
    ]
    return choice.choice(values[: 6 if depth > 4 else None])()


def nested(choice: random.Random) -> bytes:
    depth = choice.choice([10, 64, 65, 500, 1023, 1024, 1025, 20_000])
    return b'{"instances":' + b"[" * depth + b"1" + b"]" * choice.choice([depth, depth - 1]) + b"}"


def huge(choice: random.Random) -> bytes:
    digits = b"9" * choice.choice([19, 20, 21, 310, 4301])
    return b'{"instances":[[%s%s,1,1,%se%s]]}' % (
        choice.choice([b"", b"-"]),
        digits,
        digits,
        digits[:3],
    )


def hostile_json(choice: random.Random) -> bytes:
    good = json_encode({"instances": [ROW] * choice.randint(1, 3), "probabilities": True})
    match choice.randrange(7):
        case 0:
            return mutated(choice, good)
        case 1:
            return json_encode({"instances": odd_value(choice)})
        case 2:
            return json_encode(
                {"instances": [odd_value(choice), ROW], "probabilities": odd_value(choice)}
            )
        case 3:
            return json_encode(
                {
                    choice.choice(["instance", "inputs", ""]): [ROW],
                    "signature_name": odd_value(choice),
                }
            )
        case 4:
            return nested(choice)
        case 5:
            return huge(choice)
        case _:
            return choice.randbytes(choice.randrange(200))


def hostile_array(choice: random.Random) -> Any:
    """An encoded array that is invalid, or that the model does not take."""
    shapes = [[1, 4], [4], [], [0, 4], [-1, 4], [2**40, 2**40], [1] * 70, "x", None, [1.5]]
    types = [
        "<f8",
        "<f4",
        "|O",
        "|S9",
        "<U3",
        "<c16",
        "<M8[s]",
        "|V8",
        "zz",
        "",
        7,
        [["a", "<f8"]],
        "<f8,O",
    ]
    data = [np.array(ROW).tobytes(), b"", b"x" * 7, np.full(4, np.nan).tobytes(), "text", None, 3]
    return {
        b"nd": choice.choice([True, 1]),
        b"type": choice.choice(types),
        b"kind": choice.choice([b"", b"V", b"O"]),
        b"shape": choice.choice(shapes),
        b"data": choice.choice(data),
    }


def hostile_msgpack(choice: random.Random) -> bytes:
    good = msgpack_encode({"instances": np.array([ROW]), "probabilities": True})
    match choice.randrange(7):
        case 0 | 1:
            return mutated(choice, good)
        case 2:
            return msgpack_encode(
                {"instances": odd_value(choice), "probabilities": odd_value(choice)}
            )
        case 3 | 4:
            return msgpack_encode({"instances": hostile_array(choice)})
        case 5:
            depth = choice.choice([10, 511, 512, 1024, 20_000])
            return b"\x81\xa9instances" + choice.choice([b"\x91", b"\xdd\xff\xff\xff\xff"]) * depth
        case _:
            return choice.randbytes(choice.randrange(200))


def hostile_tensors(choice: random.Random) -> tuple[bytes, dict[str, str]]:
    """A V2 body and its headers, with tensors that are invalid, or that the model does not take."""
    raw = choice.choice(
        [np.array(ROW).tobytes(), b"", b"x" * 7, np.full(4, np.nan).tobytes(), b"\xff" * 32]
    )
    size = choice.choice([len(raw), len(raw) + 1, -1, 2**40, "4", None])
    described = {
        "name": choice.choice(["x", "", 3, None]),
        "shape": choice.choice(
            [[1, 4], [4], [], [0, 4], [-1, 4], [2**40, 2**40], [2**40, 0], [1] * 70, "x", None]
        ),
        "datatype": choice.choice(
            ["FP64", "FP32", "FP16", "BOOL", "BYTES", "INT8", "UINT64", "nope", 3]
        ),
    }
    if choice.random() < 0.5:
        described["data"] = choice.choice([ROW, [ROW], [2**64, 1, 1, 1], odd_value(choice)])
    else:
        described["parameters"] = choice.choice([{"binary_data_size": size}, 3, {}])
    head: Any = {"inputs": choice.choice([[described], [described] * 2, described, [], [3]])}
    head |= choice.choice(
        [
            {},
            {"outputs": choice.choice([3, [3], [{"name": "x"}]])},
            {"parameters": odd_value(choice)},
        ]
    )
    packed = json_encode(head)
    length = str(choice.choice([len(packed), len(packed), len(packed) - 1, 0, 2**40]))
    headers = choice.choice([{"inference-header-content-length": length}, {}])
    return choice.choice([packed + raw, mutated(choice, packed + raw), packed]), headers


@pytest.mark.sweep
def test_hostile_bodies_harm_nothing(
    scaffold: Scaffold, forest: Any, iris: Any, tmp_path: Path
) -> None:
    expected = forest.predict_proba(iris[0]).tolist()

    def one(index: int) -> Counter[int]:
        choice = random.Random(index)
        seen: Counter[int] = Counter()
        with running.client() as client:
            for turn in range(HOSTILE_BODIES // CONNECTIONS):
                path, media_type, make = choice.choice(
                    [
                        (PREDICT, "application/json", lambda choice: (hostile_json(choice), {})),
                        (
                            BINARY,
                            "application/msgpack",
                            lambda choice: (hostile_msgpack(choice), {}),
                        ),
                        (
                            INFER,
                            choice.choice(["application/octet-stream", "application/json"]),
                            hostile_tensors,
                        ),
                    ]
                )
                body, headers = make(choice)
                answer = client.post(
                    path, content=body, headers={"content-type": media_type, **headers}
                )
                seen[answer.status_code] += 1
                assert answer.status_code < 500, (path, body[:300], answer.text)
                assert answer.status_code == 200 or list(answer.json()) == ["error"]
                if turn % 10 == 0:
                    row = choice.randrange(len(expected))
                    good = {"instances": [iris[0][row].tolist()], "probabilities": True}
                    assert client.post(PREDICT, json=good).json()["probabilities"] == [
                        expected[row]
                    ]
        return seen

    with serving(copied(scaffold, tmp_path / "rfc")) as running:
        workers = running.workers()
        seen = sum(together(CONNECTIONS, one), Counter[int]())
        assert sum(seen.values()) == HOSTILE_BODIES and seen.keys() <= {200, 400}
        assert seen[400] > HOSTILE_BODIES / 2
        assert running.workers() == workers and len(workers) == 1
        assert running.metric("scaffold_worker_restarts_total") == 0
        assert not [line for line in running.lines() if "exception" in line]


# --- workers that die, hang or do not come back


@contextlib.contextmanager
def load(running: Running, clients: int, rows: Any) -> Iterator[list[Any]]:
    """Clients that send requests until the block ends. Each result is (time, status, body)."""
    answers: list[Any] = []
    over = threading.Event()

    def ask() -> None:
        with running.client() as client:
            while not over.is_set():
                answer = client.post(PREDICT, json={"instances": rows})
                answers.append((time.monotonic(), answer.status_code, answer.json()))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_killed_worker_fails_only_what_it_had(
    scaffold: Scaffold, forest: Any, tmp_path: Path
) -> None:
    clients = 8
    with serving(copied(scaffold, tmp_path / "rfc")) as running:
        [worker] = running.workers()
        with load(running, clients, [ROW]) as answers:
            until(lambda: len(answers) > 200, "there is load")
            before = len(answers)
            killed = time.monotonic()
            os.kill(worker, signal.SIGKILL)
            until(lambda: len(answers) > before + 500, "requests are answered again")
        failed = [(status, body) for _, status, body in answers if status != 200]
        assert len(failed) <= clients, "requests that came later had to wait, not to fail"
        assert {status for status, _ in failed} <= {503} and all(
            "error" in body for _, body in failed
        )
        expected = {"predictions": forest.predict([ROW]).tolist()}
        assert all(body == expected for _, status, body in answers if status == 200)
        assert (
            min(when for when, status, _ in answers[before + clients :] if status == 200) - killed
            < PATIENCE
        )
        [replacement] = running.workers()
        assert replacement != worker
        assert running.metric("scaffold_worker_restarts_total", reason="died") == 1


@pytest.mark.sweep
def test_a_model_that_ends_its_process_takes_no_server_down(owners: Callable[..., Path]) -> None:
    deaths = [told("segfault"), told("exit", 0), told("exit", 3)]
    with serving(owners()) as running, running.client() as client:
        seen = set(running.workers())
        for death in deaths:
            answer = client.post(PREDICT, json=death)
            assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
            assert "worker that had this request ended" in answer.json()["error"]
            assert client.get("/").status_code == 200
            seen.update(
                client.post(PREDICT, json=told("pid")).json()["predictions"]
            )  # waits for the new worker
        assert len(seen) == 1 + len(deaths)
        assert running.metric("scaffold_worker_restarts_total", reason="died") == len(deaths)


def test_a_stuck_predict_is_504_and_health_checks_answer_meanwhile(
    owners: Callable[..., Path],
) -> None:
    with (
        serving(owners(predict_timeout_seconds=3, max_batch_size=1)) as running,
        running.client() as client,
    ):
        [stuck] = running.workers()
        waiting = threading.Event()
        answers: list[httpx.Response] = []

        def ask() -> None:
            with running.client() as own:
                waiting.set()
                answers.append(own.post(PREDICT, json=told("sleep", 10_000)))

        thread = threading.Thread(target=ask)
        thread.start()
        waiting.wait()
        healthy = 0
        while not answers:
            assert client.get("/").json() == {"status": "alive"}
            assert client.get("/v2/health/live").status_code == 200
            healthy += 1
        thread.join()
        assert healthy > 3
        assert answers[0].status_code == 504 and "3 seconds" in answers[0].json()["error"]
        until(running.ready, "another takes its place")
        [fresh] = client.post(PREDICT, json=told("pid")).json()["predictions"]
        assert fresh != stuck
        until(lambda: running.workers() == [fresh], "the stuck worker is gone")
        assert running.metric("scaffold_worker_restarts_total", reason="stuck") == 1


@pytest.mark.sweep
def test_a_large_body_holds_up_no_small_ones(sums: Scaffold, tmp_path: Path) -> None:
    """While it is decoded others are answered, and all get the answers of their own rows."""
    rows = 1_500_000
    large = b'{"instances": [' + b",".join([b"[5.5, 3.5, 1.0, 0.0]"] * rows) + b"]}"
    with serving(copied(sums, tmp_path / "counting", COUNTING)) as running:

        def post(body: bytes) -> Any:
            with running.client() as client:
                answer = client.post(
                    PREDICT, content=body, headers={"Content-Type": "application/json"}
                )
                assert answer.status_code == 200, answer.text
                return answer.json()["predictions"]

        with ThreadPoolExecutor() as pool:
            waiting = [pool.submit(post, large) for _ in range(2)]
            small = []
            while not all(each.done() for each in waiting):
                small.append(post(b'{"instances": [[%d]]}' % len(small)))
        turns = sorted(each.result()[0] for each in waiting)
    assert all(each.result()[1] == 10 * rows for each in waiting)
    assert [total for _, total in small] == list(range(len(small)))
    assert sum(turns[0] < turn < turns[1] for turn, _ in small) > 3


def test_a_full_queue_is_503_and_what_it_holds_is_answered(owners: Callable[..., Path]) -> None:
    """Four requests together exceed the limit of one: a slow worker with progress is not stuck."""
    with serving(owners(max_queue=2, max_batch_size=1, predict_timeout_seconds=3.5)) as running:

        def one(_: int) -> httpx.Response:
            with running.client() as client:
                return client.post(PREDICT, json=told("sleep", 1.2))

        answers = together(12, one)
        served = [answer for answer in answers if answer.status_code == 200]
        turned_away = [answer for answer in answers if answer.status_code != 200]
        assert len(served) >= 4 and turned_away  # two at the worker, two in the queue
        for answer in turned_away:
            assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
            assert "2 requests are waiting" in answer.json()["error"]
        assert running.metric("scaffold_worker_restarts_total") == 0


@pytest.mark.sweep
def test_a_worker_that_cannot_come_back(owners: Callable[..., Path]) -> None:
    directory = owners()
    broken = directory / "src" / "data" / "broken"
    with serving(directory) as running, running.client() as client:
        broken.touch()
        assert client.post(PREDICT, json=told("exit", 1)).status_code == 503
        until(lambda: "could not be restarted" in running.log.read_text(), "a restart has failed")
        answer = client.post(PREDICT, json=told("pid"))
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        for path in ("/v1/models/model", "/v2/health/ready", "/v2/models/model/ready"):
            answer = client.get(path)
            assert answer.status_code == 503 and answer.headers["retry-after"] == "1", path
        assert client.get("/").status_code == 200
        broken.unlink()
        until(running.ready, "the service is back")
        assert client.post(PREDICT, json=told("pid")).json()["predictions"] == running.workers()
        assert all(
            "the file is broken" in line["message"]
            for line in running.lines()
            if "could not" in line["message"]
        )


@pytest.mark.sweep
def test_one_of_two_workers_that_cannot_come_back_does(owners: Callable[..., Path]) -> None:
    """The other worker answers meanwhile, and the server retries."""
    directory = owners()
    broken = directory / "src" / "data" / "broken"
    with serving(directory, WORKERS="2") as running, running.client() as client:
        assert len(running.workers()) == 2
        broken.touch()
        assert client.post(PREDICT, json=told("exit", 1)).status_code == 503
        until(lambda: "could not be restarted" in running.log.read_text(), "a restart has failed")
        assert running.ready() and client.post(PREDICT, json=told("pid")).status_code == 200
        broken.unlink()
        until(lambda: len(running.workers()) == 2, "there are two workers again")


@pytest.mark.sweep
def test_two_workers_are_both_used(owners: Callable[..., Path]) -> None:
    with serving(owners(), WORKERS="2") as running:

        def one(_: int) -> int:
            with running.client() as client:
                answer = client.post(PREDICT, json=told("sleep", 0.5))
                return int(answer.json()["predictions"][0])

        assert set(together(8, one)) == set(running.workers())
        assert len(running.workers()) == 2


# --- ending


@pytest.mark.parametrize(
    "path", [PREDICT, pytest.param("/v2/models/model/infer", marks=pytest.mark.sweep)]
)
def test_sigterm_under_load_loses_no_request(scaffold: Scaffold, tmp_path: Path, path: str) -> None:
    """Clients that honour Connection: close, or use a new connection for each request, see no
    failure. The server stops with status 0."""
    body = {"instances": [ROW]}
    if path != PREDICT:
        tensor: Any = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": ROW}
        body = {"inputs": [tensor]}
    statuses: Counter[int] = Counter()
    failures: list[BaseException] = []
    readiness: list[int] = []
    gone = threading.Event()

    def ask(index: int) -> None:
        limits = httpx.Limits(max_keepalive_connections=index % 2)
        with httpx.Client(
            base_url=running.url, timeout=PATIENCE, trust_env=False, limits=limits
        ) as client:
            while not gone.is_set():
                try:
                    answer = client.post(path, json=body)
                    statuses[answer.status_code] += 1
                except httpx.ConnectError:
                    return  # the port is closed: nothing was accepted
                except httpx.TransportError as error:
                    failures.append(error)
                    return

    with (
        serving(copied(scaffold, tmp_path / "rfc", drain_seconds=2)) as running,
        running.client() as probe,
    ):
        threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: statuses[200] > 50, "there is load")
        running.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(httpx.TransportError):
            while running.process.poll() is None:
                readiness.append(probe.get("/v2/health/ready").status_code)
                time.sleep(0.05)
        try:
            status = running.process.wait(timeout=PATIENCE)
        finally:
            gone.set()
        for thread in threads:
            thread.join()
    assert status == 0
    assert failures == []
    assert statuses.keys() == {200}
    assert 503 in readiness and set(readiness) <= {200, 503} and readiness[-1] == 503


def test_what_predict_works_on_is_answered_before_the_end(owners: Callable[..., Path]) -> None:
    with serving(owners(drain_seconds=0)) as running:
        answers: list[httpx.Response] = []

        def ask() -> None:
            with running.client() as client:
                answers.append(client.post(PREDICT, json=told("sleep", 2)))

        thread = threading.Thread(target=ask)
        thread.start()
        until(lambda: running.metric("scaffold_queue_length") == 1, "the request is at work")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=PATIENCE) == 0
        thread.join()
        assert answers[0].status_code == 200 and answers[0].headers["connection"] == "close"
        assert running.workers() == []


@pytest.mark.sweep
def test_a_call_of_predict_has_its_time_when_the_server_ends(owners: Callable[..., Path]) -> None:
    """Longer than uvicorn, or a fixed number of seconds, would wait."""
    with serving(owners(drain_seconds=0)) as running, ThreadPoolExecutor(1) as thread:
        with running.client() as client:
            answer = thread.submit(client.post, PREDICT, json=told("sleep", 35))
            until(lambda: running.metric("scaffold_queue_length") == 1, "the request is at work")
            running.process.send_signal(signal.SIGTERM)
            assert answer.result().status_code == 200
        assert running.process.wait(timeout=PATIENCE) == 0


def test_workers_end_with_a_server_that_is_killed(owners: Callable[..., Path]) -> None:
    with serving(owners()) as running:
        [worker] = running.workers()
        running.process.kill()
        running.process.wait()
        until(lambda: ended(worker), "the worker has ended")


def ended(pid: int) -> bool:
    """Whether a process has ended, perhaps with an exit status that nobody has read."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True
    ).stdout.strip()
    return not state or state.startswith("Z")


@pytest.mark.sweep
@pytest.mark.parametrize(
    "inherited",
    [
        pytest.param(signal.default_int_handler, id="in the foreground"),
        pytest.param(signal.SIG_IGN, id="in a shell's background"),
    ],
)
def test_sigterm_while_the_model_loads_ends_the_process(
    scaffold: Scaffold, tmp_path: Path, inherited: Any
) -> None:
    code = OWNERS_CODE.replace("        if pathlib", "        time.sleep(1000)\n        if pathlib")
    directory = copied(scaffold, tmp_path / "slow", code)
    before = signal.signal(signal.SIGINT, inherited)
    try:
        process = launch(directory, free_port(), tmp_path / "log")
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        time.sleep(3)  # whatever it is at by then, it has not loaded
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) != 0
        assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        end(process)


# --- bad starts


def remove_model(directory: Path) -> None:
    (directory / "src" / "model" / "model.joblib").unlink()


def truncate_model(directory: Path) -> None:
    path = directory / "src" / "model" / "model.joblib"
    path.write_bytes(path.read_bytes()[:1000])


def truncate_model_and_forget_its_digest(directory: Path) -> None:
    truncate_model(directory)
    configure(directory, sha256=None)


def replace_model(directory: Path) -> None:
    (directory / "src" / "model" / "model.joblib").write_bytes(b"another model")


def break_yaml(directory: Path) -> None:
    (directory / "config.yaml").write_text("model_name: [")


def break_setting(directory: Path) -> None:
    configure(directory, max_queue="lots")


def remove_config(directory: Path) -> None:
    (directory / "config.yaml").unlink()


def owners_file(directory: Path, old: str, new: str) -> None:
    path = directory / "src" / "server" / "inference_model.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def break_syntax(directory: Path) -> None:
    owners_file(directory, "class InferenceModel:", "class InferenceModel")


def remove_method(directory: Path) -> None:
    owners_file(directory, "def postprocess(", "def postproces(")


def remove_class(directory: Path) -> None:
    owners_file(directory, "class InferenceModel:", "class Model:")


def lack_requirement_at_import(directory: Path) -> None:
    owners_file(directory, "import joblib", "import no_such_package\nimport joblib")


def lack_requirement_at_load(directory: Path) -> None:
    owners_file(
        directory,
        "self._model = fast_path",
        "import no_such_package.inside\n        self._model = fast_path",
    )


def exit_at_load(directory: Path) -> None:
    owners_file(
        directory,
        "self._model = fast_path",
        "import os\n        os._exit(7)\n        self._model = fast_path",
    )


def name_another_server(directory: Path) -> None:
    configure(directory, server="kfserving", grpc_port=0)


BAD_STARTS = [
    (remove_model, ["src/model/model.joblib is missing", "joblib.dump"]),
    (truncate_model, ["src/model/model.joblib", "SHA-256", "config.yaml"]),
    (truncate_model_and_forget_its_digest, ["the model cannot be loaded"]),
    (replace_model, ["src/model/model.joblib", "SHA-256"]),
    (break_yaml, ["config.yaml is not YAML"]),
    (break_setting, ["serving.max_queue", "whole number", "'lots'"]),
    (remove_config, ["config.yaml cannot be read"]),
    (break_syntax, ["src/server/inference_model.py", "line ", "expected ':'"]),
    (remove_method, ["src/server/inference_model.py", "postprocess()"]),
    (remove_class, ["src/server/inference_model.py", "class InferenceModel"]),
    (lack_requirement_at_import, ["No module named 'no_such_package'", "requirements.txt"]),
    (lack_requirement_at_load, ["No module named 'no_such_package'", "requirements.txt"]),
    (name_another_server, ["server is kfserving", "copier update --data server=kfserving"]),
    (exit_at_load, ["the worker ended while it loaded the model"]),
]


def last_words(directory: Path, port: int, log: Path, watch: bool = True, **environ: str) -> str:
    """The last line of a server that cannot start. Its port must never accept a connection."""
    process = launch(directory, port, log, **environ)
    try:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None:
            assert time.monotonic() < deadline, "the server neither ended nor started"
            if watch:
                with pytest.raises(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
            time.sleep(0.02)
        assert process.returncode == 1
    finally:
        end(process)
    lines = log.read_text().splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert all(isinstance(json.loads(line), dict) for line in lines[:-1])
    return lines[-1]


@pytest.mark.parametrize(
    ("damage", "words"), first(5, BAD_STARTS), ids=[damage.__name__ for damage, _ in BAD_STARTS]
)
def test_a_bad_start_is_one_clear_line(
    scaffold: Scaffold, tmp_path: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    directory = copied(scaffold, tmp_path / "rfc")
    damage(directory)
    line = last_words(directory, free_port(), tmp_path / "log")
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize("variable", ["PORT", "GRPC_PORT"])
def test_a_port_in_use_is_one_clear_line(scaffold: Scaffold, tmp_path: Path, variable: str) -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        ports = {"PORT": str(taken)} if variable == "PORT" else {"GRPC_PORT": str(taken)}
        port = taken if variable == "PORT" else free_port()
        line = last_words(
            scaffold.directory, port, tmp_path / "log", watch=variable != "PORT", **ports
        )
    assert f"port {taken} cannot be taken" in line and variable in line


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AIP_HTTP_PORT": "http"}, "(or AIP_HTTP_PORT in the environment) must be a whole number"),
        ({"AIP_PREDICT_ROUTE": "predict"}, "AIP_PREDICT_ROUTE must be a path like /predict"),
        ({"AIP_HEALTH_ROUTE": "/metrics"}, "AIP_HEALTH_ROUTE is '/metrics', where the server"),
        ({"arguments": ["train"]}, "the arguments may be none or serve, they are 'train'"),
    ],
)
def test_what_a_platform_cannot_want_is_one_clear_line(
    sums: Scaffold, tmp_path: Path, environ: Any, words: str
) -> None:
    """Before a worker is started: there is no interpreter for one."""
    environ = {**environ, "MODEL_PYTHON": "/no/such/python"}
    assert words in last_words(sums.directory, free_port(), tmp_path / "log", **environ)


def test_one_port_for_both_is_one_clear_line(scaffold: Scaffold, tmp_path: Path) -> None:
    port = free_port()
    line = last_words(scaffold.directory, port, tmp_path / "log", GRPC_PORT=str(port))
    assert f"PORT and GRPC_PORT are both {port}" in line


def test_a_second_server_is_refused_while_the_first_loads(sums: Scaffold, tmp_path: Path) -> None:
    """Before it starts a worker of its own."""
    code = OWNERS_CODE.replace("        if pathlib", "        time.sleep(1000)\n        if pathlib")
    directory, port = copied(sums, tmp_path / "slow", code), free_port()
    first = launch(directory, port, tmp_path / "first")
    try:
        running = Running("", first, tmp_path / "first", 0)
        until(running.workers, "the first server loads")
        line = last_words(directory, port, tmp_path / "second", MODEL_PYTHON="/no/such/python")
        assert f"port {port} cannot be taken" in line
    finally:
        end(first)


def test_it_says_that_it_is_ready_when_it_is(sums: Scaffold) -> None:
    port = free_port()
    python = server_python(sums.directory / "server-requirements.txt")
    command = [str(python), str(sums.directory / "src" / "inference_server.py")]
    environ = {**os.environ, "MODEL_PYTHON": sys.executable, "GRPC_PORT": "0", "PORT": str(port)}
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        assert any(f"is ready at http://0.0.0.0:{port}/" in line for line in process.stderr)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /v1/models/model HTTP/1.0\r\n\r\n")
            assert b" 200 " in client.makefile("rb").readline()
    finally:
        end(process)
        process.stderr.close()


@pytest.mark.parametrize(
    ("address", "hosts"),
    first(
        2,
        [
            ("", ["127.0.0.1", "127.0.0.2", "::1"]),
            ("127.0.0.1", ["127.0.0.1"]),
            ("0.0.0.0", ["127.0.0.1", "127.0.0.2"]),
            ("::1", ["::1"]),
        ],
    ),
)
def test_the_server_listens_on_the_address(
    scaffold: Scaffold, address: str, hosts: list[str]
) -> None:
    if "::1" in hosts and not has_ipv6():
        pytest.skip("there is no IPv6 here")
    reached = "127.0.0.1" if "127.0.0.1" in hosts else "[::1]"
    with serving(scaffold.directory, reached, LISTEN_ADDRESS=address) as running:
        port = int(running.url.rpartition(":")[2])
        assert [host for host in ("127.0.0.1", "127.0.0.2", "::1") if opens(host, port)] == hosts


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


def opens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=5).close()
        return True
    return False


def test_no_interpreter_for_the_model_is_one_clear_line(scaffold: Scaffold, tmp_path: Path) -> None:
    line = last_words(
        scaffold.directory, free_port(), tmp_path / "log", MODEL_PYTHON="/no/such/python"
    )
    assert "/no/such/python" in line and "MODEL_PYTHON" in line


def test_two_workers_that_cannot_load_say_so_once(scaffold: Scaffold, tmp_path: Path) -> None:
    directory = copied(scaffold, tmp_path / "rfc")
    remove_model(directory)
    assert "is missing" in last_words(directory, free_port(), tmp_path / "log", WORKERS="2")


def test_a_model_that_never_loads_is_one_clear_line(scaffold: Scaffold, tmp_path: Path) -> None:
    code = OWNERS_CODE.replace("        if pathlib", "        time.sleep(1000)\n        if pathlib")
    directory = copied(scaffold, tmp_path / "slow", code, load_timeout_seconds=2)
    line = last_words(directory, free_port(), tmp_path / "log")
    assert "not loaded within 2 seconds" in line and "load_timeout_seconds" in line
