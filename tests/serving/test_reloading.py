"""A server that loads the model again when its owner edits, over real HTTP."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import generator
from generator.running.server import Server
from generator.scaffold import Scaffold
from support.servers import running as started
from support.servers.running import PREDICT, copied, serving

ROWS = {"instances": [[1.0, 2.0, 3.0, 4.0]]}
SUM, MORE = (
    "return response",
    'return {"predictions": [1 + one for one in response["predictions"]]}',
)


@pytest.fixture
def edited(sums: Scaffold, tmp_path: Path) -> Iterator[Path]:
    yield shutil.copytree(sums.directory, tmp_path / "edited")


@pytest.fixture
def running(edited: Path) -> Iterator[Server]:
    with generator.load(edited).serve(port=0, reload=True) as server:
        yield server


def ask(server: Server) -> Any:
    answer = httpx.post(server.predict_url, json=ROWS, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def until(server: Server, expected: Any) -> None:
    for _ in range(150):
        if ask(server) == expected:
            return
        time.sleep(0.2)
    raise AssertionError(f"the server did not answer {expected}")


def code(directory: Path) -> Path:
    return directory / "src/server/inference_model.py"


def change(directory: Path, old: str, new: str) -> None:
    text = code(directory).read_text()
    assert old in text
    code(directory).write_text(text.replace(old, new))


def test_an_edit_is_served_and_a_broken_one_is_not(
    running: Server, edited: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ask(running) == [10.0]
    change(edited, SUM, MORE)
    until(running, [11.0])
    change(edited, MORE, "return nothing(")
    said = ""
    for _ in range(150):
        assert ask(running) == [11.0]
        said += capfd.readouterr().err
        if "goes on as it was" in said:
            break
        time.sleep(0.2)
    assert "inference_model.py cannot be imported" in said
    change(edited, "return nothing(", SUM)
    until(running, [10.0])


def test_no_request_is_lost_while_edits_are_loaded(running: Server, edited: Path) -> None:
    """Asked all the while by four clients, through three edits."""
    ended, answers = threading.Event(), []

    def asking() -> None:
        with httpx.Client(timeout=30) as client:
            while not ended.is_set():
                answers.append(client.post(running.predict_url, json=ROWS))

    threads = [threading.Thread(target=asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for old, new, expected in ((SUM, MORE, 11.0), (MORE, SUM, 10.0), (SUM, MORE, 11.0)):
            change(edited, old, new)
            until(running, [expected])
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["predictions"][0] for answer in answers} == {10.0, 11.0}


def test_a_new_route_comes_with_an_edit(running: Server, edited: Path) -> None:
    assert httpx.post(f"{running.url}/more", json=3, timeout=30).status_code == 404
    change(edited, "    def preprocess(", '    @route("/more")\n    def more(self, value):\n'
           "        return value + 1\n\n    def preprocess(")  # fmt: skip
    change(edited, "from common import Config,", "from common import route, Config,")
    for _ in range(150):
        answer = httpx.post(f"{running.url}/more", json=3, timeout=30)
        if answer.status_code == 200:
            break
        time.sleep(0.2)
    assert answer.json() == 4
    assert "/more" in httpx.get(f"{running.url}/openapi.json", timeout=30).json()["paths"]


def test_without_it_the_server_serves_what_it_has_loaded(edited: Path) -> None:
    with generator.load(edited).serve(port=0) as server:
        change(edited, SUM, MORE)
        time.sleep(2)
        assert ask(server) == [10.0]


CLOSING = '''
import time
from pathlib import Path


class InferenceModel:
    """Takes a while to load and to close."""

    def __init__(self, config):
        pass

    def load(self):
        time.sleep(1)

    def preprocess(self, request):
        return request

    def predict(self, request):
        return {"predictions": [0 for row in request["instances"]]}

    def postprocess(self, response):
        return response

    def close(self):
        time.sleep(0.5)
        Path("../closed").write_text("whole")
'''


def test_the_model_before_may_close_what_it_holds(sums: Scaffold, tmp_path: Path) -> None:
    directory = copied(sums, tmp_path / "closing", CLOSING)
    with serving(directory, RELOAD="1") as running:
        change(directory, "[0 for", "[1 for")
        closed = directory / "closed"
        started.until(closed.exists, "the model before has closed")
        with running.client() as client:
            assert client.post(PREDICT, json=ROWS).json() == {"predictions": [1]}
        assert closed.read_text() == "whole"


@pytest.mark.sweep
def test_a_worker_that_dies_meanwhile_leaves_none_too_many(sums: Scaffold, tmp_path: Path) -> None:
    directory = copied(sums, tmp_path / "dying", CLOSING)
    with serving(directory, RELOAD="1") as running, running.client() as client:
        [before] = running.workers()
        change(directory, "[0 for", "[1 for")
        started.until(lambda: len(running.workers()) == 2, "the new worker loads")
        os.kill(before, signal.SIGKILL)
        started.until(lambda: len(running.workers()) == 2, "the dead one is replaced")

        def is_new() -> bool:
            answer = client.post(PREDICT, json=ROWS)
            return answer.status_code == 200 and answer.json() == {"predictions": [1]}

        started.until(is_new, "the edit is served")
        started.until(lambda: "loaded again" in running.log.read_text(), "it is told")
        started.until(lambda: len(running.workers()) == 1, "one worker is left")
        time.sleep(2)
        assert len(running.workers()) == 1 and is_new()
        assert "could not be restarted" not in running.log.read_text()
