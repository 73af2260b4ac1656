"""A model that cannot recover, on a server: its worker is replaced."""

from pathlib import Path

import pytest

from generator.scaffold import Scaffold
from support.servers.running import PREDICT, Running, copied, serving, until

# Answers its process id. A row's first number: 1 breaks the model, 2 asks for too much of a GPU's
# memory, 3 leaves CUDA broken, 4 fails alone.
OWNERS_CODE = """
import os


class AcceleratorError(RuntimeError):
    pass


class OutOfMemoryError(RuntimeError):
    pass


class InferenceModel:
    def __init__(self, config):
        self.broken = False

    def load(self):
        pass

    def preprocess(self, request):
        return request

    def predict(self, request):
        first = request["instances"][0][0]
        self.broken = self.broken or first == 1
        if self.broken:
            raise RuntimeError("it is broken")
        if first == 2:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")
        if first == 3:
            raise AcceleratorError("CUDA error: device-side assert triggered")
        if first == 4:
            raise RuntimeError("it cannot do this")
        return {"predictions": [os.getpid() for row in request["instances"]]}

    def postprocess(self, response):
        return response
"""


def rows(first: float) -> dict[str, list[list[float]]]:
    return {"instances": [[first, 0, 0, 0]]}


def ask(running: Running, first: float) -> int:
    with running.client() as client:
        return client.post(PREDICT, json=rows(first)).status_code


@pytest.fixture
def directory(sums: Scaffold, tmp_path: Path) -> Path:
    """A scaffold of that code, whose example is of rows that it answers."""
    return copied(sums, tmp_path / "own", OWNERS_CODE)


def test_a_worker_whose_model_is_broken_is_replaced(directory: Path) -> None:
    with serving(directory) as running, running.client() as client:
        for count, (bad, words) in enumerate([(1, "fails now"), (3, "device-side assert")], 1):
            [worker] = running.workers()
            assert client.post(PREDICT, json=rows(bad)).status_code == 500
            until(lambda count=count: restarts(running) == count, "the worker is replaced")
            answer = client.post(PREDICT, json=rows(0))  # waits for the new one
            assert answer.status_code == 200 and answer.json()["predictions"] != [worker]
            assert any(
                "broken (" in line["message"] and words in line["message"]
                for line in running.lines()
            )
        [worker] = running.workers()
        answer = client.post(PREDICT, json=rows(2))
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        assert "fewer rows" in answer.json()["error"]
        assert [client.post(PREDICT, json=rows(4)).status_code for _ in range(5)] == [500] * 5
        assert running.workers() == [worker] and restarts(running) == 2


def restarts(running: Running) -> float:
    return running.metric("scaffold_worker_restarts_total", reason="broken")


def test_a_broken_worker_does_not_draw_the_requests_of_the_other(directory: Path) -> None:
    with serving(directory, WORKERS="2") as running:
        assert ask(running, 1) == 500
        until(lambda: restarts(running) == 1, "the broken one is replaced")
        assert {ask(running, 0) for _ in range(20)} == {200}
        until(lambda: len(running.workers()) == 2, "there are two again")
