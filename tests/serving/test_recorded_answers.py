"""`common.verify`, which CI runs in a container: a server's answer against the recorded one."""

import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest

from common import verify
from common.config import Config
from generator.running.server import Server
from generator.scaffold import Scaffold
from support.rendering.checkouts import ROOT
from support.servers.running import free_port

REQUEST = {"instances": [[0, 0, 0, 0]]}
TOLERANT = "the answer is that of smoke-test.json, floats to 1e-09 of the largest"


@pytest.fixture
def config(server: Server, scaffold: Scaffold) -> Config:
    """That of the server which is running."""
    port = server.url.rpartition(":")[2]
    return Config.read(scaffold.directory / "config.yaml", {"PORT": port})


def recorded(predictions: Any, request: Any = REQUEST) -> bytes:
    return json.dumps({"request": request, "response": {"predictions": predictions}}).encode()


def test_the_recorded_answer_is_verified(config: Config) -> None:
    assert verify.verified(config, recorded([0])) == TOLERANT


def test_without_a_smoke_test_the_example_is_asked_for(config: Config) -> None:
    assert config.model.example
    said = "answered; there is no smoke-test.json, which verify(sample_input) writes, so nothing"
    assert said in verify.verified(config, b"\n")
    nothing = changed(config, example=None)
    assert verify.verified(nothing, b"").startswith("the model is ready; there is no smoke-test")
    wrong = changed(config, example=[[1]])
    with pytest.raises(verify.NotVerified, match=r"the server answered 400: instances\[0\]: the"):
        verify.verified(wrong, b"")


@pytest.mark.parametrize(
    ("smoke_test", "message"),
    [
        (recorded([2]), "the answer is not that of smoke-test.json: predictions[0] should be 2,"),
        (recorded(["0"]), "predictions[0] should be '0', it is 0"),
        (recorded([0, 0]), "predictions should have 2 entries, it has 1"),
        (recorded([0], {"instances": [[1]]}), "the server answered 400: instances[0]: the model"),
        (recorded([0], [1]), "the server answered 400: the body"),
        (b"{", "smoke-test.json cannot be read as JSON: "),
        (b"\xff", "smoke-test.json cannot be read as JSON: "),
        (b"[" * 100_000, "smoke-test.json cannot be read as JSON: "),
        (b"[]", "smoke-test.json must hold a request and its response"),
        (b'{"request": {}, "response": []}', "the response has no predictions, it is a list of 0"),
    ],
)
def test_anything_else_is_one_line(config: Config, smoke_test: bytes, message: str) -> None:
    with pytest.raises(verify.NotVerified, match=re.escape(message)) as raised:
        verify.verified(config, smoke_test)
    assert "\n" not in str(raised.value)


def test_it_waits_no_longer_than_loading_may_take(scaffold: Scaffold) -> None:
    document = Config.read(scaffold.directory / "config.yaml").as_document()
    serving = document["model_metadata"]["serving"]
    serving.update(http_port=free_port(), load_timeout_seconds=0.5)
    with pytest.raises(verify.NotVerified, match="not ready within 0.5 s: raise load_timeout"):
        verify.verified(Config.from_document(document), recorded([0]))


def test_the_command_says_why_it_fails(config: Config, own_scaffold: Scaffold) -> None:
    source = own_scaffold.directory / "src"
    shutil.copy(ROOT / "template" / "src" / "common" / "verify.py", source / "common")
    environ = {**os.environ, "PORT": str(config.serving.http_port)}
    command = [sys.executable, "-m", "common.verify"]
    wrong, right = (
        subprocess.run(command, cwd=source, env=environ, input=given, capture_output=True)
        for given in (recorded([1]), recorded([0]))
    )
    said = "the answer is not that of smoke-test.json: predictions[0] should be 1, it is 0"
    assert (wrong.returncode, wrong.stderr.decode()) == (1, f"error: {said}\n")
    assert (right.returncode, right.stdout.decode()) == (0, f"{TOLERANT}\n")


# ---- the comparison ----


def changed(config: Config, gpu: bool = False, **facts: Any) -> Config:
    document = config.as_document()
    document["model_metadata"]["model"].update(facts)
    document["model_metadata"]["serving"]["gpu"] = gpu
    return Config.from_document(document)


@pytest.mark.parametrize(
    ("expected", "served", "tolerance", "message"),
    [
        ([1.0, -200.0], [1.1, -200.0], 1e-3, None),
        ([1.0, -200.0], [1.3, -200.0], 1e-3, "predictions[0] should be 1.0, it is 1.3 (model.tol"),
        ([1.0], [1.0000001], 0.0, "predictions[0] should be 1.0, it is 1.0000001"),
        ([{"a": 1.0, "b": 1e6}], [{"a": 1.1, "b": 1e6}], 1e-3, "predictions[0]['a'] should be 1.0"),
        ([{"a": 1.0, "b": 1e6}], [{"a": 1.0, "b": 1e6 + 1}], 1e-3, None),
        ([{"a": 1}], [{"b": 1}], 1.0, "predictions[0] should have the keys 'a', it has 'b'"),
        ([{"a": 1}], [{}], 1.0, "predictions[0] should have the keys 'a', it has none"),
        ([{"a": 1}], [[1]], 1.0, "predictions[0] should be an object, it is a list of 1"),
        ([1], [2], 9.0, "predictions[0] should be 1, it is 2"),
        ([1], [True], 9.0, "predictions[0] should be 1, it is true"),
        ([1.5], [None], 9.0, "predictions[0] should be 1.5, it is null"),
        ([0.0], [1e-300], 1e-3, "predictions[0] should be 0.0, it is 1e-300"),
        ([float("nan"), 9.0], [1.0, 9.0], 1e-3, "predictions[0] should be nan, it is 1.0"),
        ([float("inf"), 9.0], [1.0, 9.0], 1e-3, "predictions[0] should be inf, it is 1.0"),
        ([], [], 0.0, None),
        ("a", "a", 0.0, None),
        (None, [None], 0.0, "predictions should be null, it is a list of 1"),
        ([1.5], [10**400], 1.0, "predictions[0] should be 1.5, it is of 1329 bits"),
    ],
    ids=str,
)
def test_differences(expected: Any, served: Any, tolerance: float, message: str | None) -> None:
    found = verify.difference(expected, served, tolerance)
    assert found is None if message is None else found and found.startswith(message)


def described(dtype: str | None, kind: str = "array") -> dict[str, Any]:
    return {"kind": kind, "shape": [2], "dtype": dtype}


@pytest.mark.parametrize(
    ("facts", "tolerance"),
    [
        ({"input": described("float64"), "output": described("float64")}, 1e-9),
        ({"input": described("float64"), "output": described("float32")}, 1e-5),
        ({"input": described("float16"), "output": described("float32")}, 1e-2),
        ({"input": None, "output": None}, 1e-5),
        ({"input": described("float64"), "output": None, "engine": "onnx"}, 1e-6),
        ({"input": described("float32"), "output": None, "gpu": True}, 2e-3),
        ({"input": described("float32"), "output": None, "tolerance": 0}, 0),
    ],
    ids=str,
)
def test_the_tolerance_is_what_the_dtypes_need(
    scaffold: Scaffold, facts: dict[str, Any], tolerance: float
) -> None:
    config = Config.read(scaffold.directory / "config.yaml", {})
    assert verify.tolerance_of(changed(config, **facts)) == tolerance
