"""The image: built with the commands that users paste, and run with the limits of a cluster."""

import importlib.util
import itertools
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import generator
from common import bodies
from generator import ServingError
from generator.scaffold import Scaffold
from support.models import scripts
from support.packages.wheels import import_private
from support.servers.containers import (
    HARDENED,
    READY_SECONDS,
    Container,
    Engine,
    running,
    wait_until_ready,
)
from support.servers.running import configure, free_port, until

pytestmark = pytest.mark.docker

ODD_NAME = 'it\'s a "mod el" $HOME & co'
JSON = {"Content-Type": "application/json"}
MSGPACK = {"Content-Type": "application/msgpack"}


@pytest.fixture(scope="module")
def hardened(engine: Engine, image: str) -> Iterator[Container]:
    """A ready container with hardly any permissions."""
    with running(engine, image, *HARDENED) as container:
        wait_until_ready(container.url)
        yield container


@pytest.fixture(
    scope="module",
    params=[("tensorflow", scripts.KERAS), ("torch", scripts.PYTORCH)],
    ids=["keras", "pytorch"],
)
def trained(
    request: pytest.FixtureRequest, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Container, scripts.Made]]:
    """A hardened container of a script's model, and the model's predictions in the script."""
    package, source = request.param
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: see CONTRIBUTING.md for the Pythons that have it")
    made = scripts.run(tmp_path_factory.mktemp(package), source)
    name = f"test_{package}_{token_hex(4)}"
    engine.shell(f"{made.scaffold.docker_build_string} -t {name}")
    with running(engine, name, *HARDENED) as container:
        container.wait_until(".State.Health.Status", "healthy")
        yield container, made


def test_json_answers_equal_the_model(hardened: Container, forest: Any, iris: Any) -> None:
    body = {"instances": iris[0].tolist(), "probabilities": True}
    answer = httpx.post(f"{hardened.url}/v1/models/model:predict", json=body, timeout=30)
    assert answer.status_code == 200
    assert answer.json() == {
        "predictions": forest.predict(iris[0]).tolist(),
        "probabilities": forest.predict_proba(iris[0]).tolist(),
    }


def test_msgpack_answers_equal_the_model(hardened: Container, forest: Any, iris: Any) -> None:
    body = bodies.msgpack_encode({"instances": iris[0]})
    url = f"{hardened.url}/v1/models/model:predict_binary"
    answer = httpx.post(url, content=body, headers=MSGPACK, timeout=30)
    assert answer.status_code == 200
    predictions = bodies.msgpack_decode(answer.content)["predictions"]
    assert predictions.tolist() == forest.predict(iris[0]).tolist()


@pytest.mark.sweep
def test_answers_equal_the_model_of_another_framework(
    trained: tuple[Container, scripts.Made],
) -> None:
    container, made = trained
    url = f"{container.url}/v1/models/model:predict"
    answer = httpx.post(url, json={"instances": made.rows.tolist()}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert (verification := made.compare(answer.json()["predictions"])), verification.difference
    body = bodies.msgpack_encode({"instances": made.rows})
    answer = httpx.post(f"{url}_binary", content=body, headers=MSGPACK, timeout=30)
    assert answer.status_code == 200, answer.text
    predictions = bodies.msgpack_decode(answer.content)["predictions"]
    assert predictions.dtype == made.predictions.dtype
    assert (verification := made.compare(predictions)), verification.difference


def test_it_runs_as_any_user_with_a_read_only_root_and_no_capabilities(
    engine: Engine, hardened: Container
) -> None:
    status = engine("exec", hardened.name, "cat", "/proc/1/status")
    assert "Uid:\t12345\t12345\t12345\t12345\n" in status
    assert "CapEff:\t0000000000000000\n" in status
    with pytest.raises(AssertionError, match="Read-only file system"):
        engine("exec", "--user", "0", hardened.name, "touch", "/tmp/file")


def test_it_has_neither_pip_nor_a_compiler(engine: Engine, image: str) -> None:
    """For no Python: neither to run nor as files, by which scanners find them."""
    look = (
        "for python in python /opt/server/bin/python /opt/model/bin/python; do"
        " $python --version; for name in pip ensurepip; do $python -m $name 2>&1; done; done;"
        " for name in pip gcc cc ld make; do command -v $name; done;"
        " find / -xdev -path /proc -prune -o ! -empty -path '*-packages/pip*' -print"
        " -o ! -empty -path '*/ensurepip' -print"
    )
    options = ("--rm", "--user", "0", "--entrypoint", "sh")
    said = engine("run", *options, image, "-c", look).splitlines()
    found = [line for line in said if not line.startswith("Python 3.")]
    assert len(said) - len(found) == 3
    assert all(
        re.search(r": No module named (pip|ensurepip)(\.__main__; .*)?$", line) for line in found
    ), found
    assert len(found) == 6


def test_its_labels_name_the_model_and_its_version(engine: Engine, image: str) -> None:
    labels = json.loads(engine("inspect", "--format", "{{json .Config.Labels}}", image))
    read = engine("run", "--rm", "--entrypoint", "cat", image, "/app/config.yaml")
    facts = yaml.safe_load(read)["model_metadata"]["model"]
    names = ("title", "version", "revision")
    found = [labels[f"org.opencontainers.image.{name}"] for name in names]
    assert found == ["model", facts["sha256"][:12], ""]


@pytest.mark.sweep
def test_the_build_names_a_commit(engine: Engine, image: str, scaffold: Scaffold) -> None:
    name = f"test_rfc_{token_hex(4)}"
    given = "--build-arg REVISION=0123abc --build-arg MODEL_VERSION=1.10"
    engine.shell(f"{scaffold.docker_build_string} {given} -t {name}")
    labels = json.loads(engine("inspect", "--format", "{{json .Config.Labels}}", name))
    assert labels["org.opencontainers.image.revision"] == "0123abc"
    assert labels["org.opencontainers.image.version"] == "1.10"


def test_it_becomes_healthy(hardened: Container) -> None:
    hardened.wait_until(".State.Health.Status", "healthy")


@pytest.mark.sweep
def test_the_health_check_uses_the_configured_port_and_no_proxy(engine: Engine, image: str) -> None:
    options = (
        "--env",
        "PORT=9090",
        "--env",
        "http_proxy=http://127.0.0.1:9",
        "--health-interval",
        "1s",
    )
    with running(engine, image, *options) as container:
        container.wait_until(".State.Health.Status", "healthy")


def test_the_number_of_cores_is_the_limit_of_the_container(engine: Engine, image: str) -> None:
    with running(engine, image, "--cpus", "1") as container:
        command = (
            "/opt/server/bin/python",
            "-c",
            "from common.link.launch import cores; print(cores())",
        )
        assert engine("exec", container.name, *command) == "1"


def test_logs_are_json_lines(hardened: Container) -> None:
    httpx.post(f"{hardened.url}/v1/models/model:predict", content=b"{", headers=JSON, timeout=30)
    lines = [json.loads(line) for line in hardened.log]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert any(line["message"].startswith("model is ready at") for line in lines)


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a container's own address is out of reach"
)
def test_stop_under_load_loses_no_request(
    engine: Engine, image: str, scaffold: Scaffold, iris: Any, forest: Any, tmp_path: Path
) -> None:
    """Clients send requests until the server closes their connection.

    A slow request after that is answered too.
    """
    source = (scaffold.directory / "src" / "server" / "inference_model.py").read_text()
    slow = tmp_path / "inference_model.py"
    slow.write_text(
        f"{source}\n\ndef _slow(predict):\n"
        "    def slow(self, request):\n"
        "        import time\n\n"
        "        time.sleep(request.get('seconds', 0))\n"
        "        return predict(self, request)\n\n"
        "    return slow\n\n\nInferenceModel.predict = _slow(InferenceModel.predict)\n"
    )
    slow.chmod(0o644)
    instances = iris[0][:3].tolist()
    expected = {"predictions": forest.predict(instances).tolist()}
    mount = f"{slow}:/app/server/inference_model.py:ro"
    with running(engine, image, "--volume", mount) as container, ThreadPoolExecutor(9) as threads:
        # Not the published port: Docker's proxy accepts connections that the server never gets.
        url = f"http://{container.address}:8080"
        wait_until_ready(url)
        clients = [
            threads.submit(post_until_closed, url, {"instances": instances}, expected)
            for _ in range(8)
        ]
        time.sleep(1)
        stop = threads.submit(engine, "stop", container.name)
        counts = [client.result(timeout=30) for client in clients]
        late = {"instances": instances, "seconds": 3}
        assert (
            httpx.post(f"{url}/v1/models/model:predict", json=late, timeout=30).json() == expected
        )
        stop.result(timeout=30)
        assert min(counts) > 1
        # 137 would mean that Docker killed it after its grace period.
        assert container.inspect(".State.ExitCode") == "0", container.log


def post_until_closed(url: str, body: Any, expected: Any) -> int:
    """Send requests until the server closes the connection. Returns their number."""
    with httpx.Client(timeout=30) as client:
        count = 0
        while True:
            answer = client.post(f"{url}/v1/models/model:predict", json=body)
            assert (answer.status_code, answer.json()) == (200, expected)
            count += 1
            if answer.headers.get("connection") == "close":
                return count


@pytest.mark.sweep
def test_its_end_resets_no_connection(engine: Engine, image: str, iris: Any) -> None:
    """Of clients that use a new connection for each request, for a user without any right."""
    body, answered, failures = json.dumps({"instances": iris[0][:1].tolist()}), 0, list[str]()

    def ask(address: str) -> int:
        """Post until nobody listens. What is connected sends at once, however busy this machine."""
        for count in itertools.count():
            connection = HTTPConnection(address, 8080, timeout=20)
            try:
                connection.connect()
            except OSError:
                return count
            try:
                connection.request("POST", "/v1/models/model:predict", body, JSON)
                answer = connection.getresponse()
                assert answer.status == 200, answer.read()
            except (OSError, HTTPException, AssertionError) as error:
                failures.append(repr(error))
            finally:
                connection.close()
        raise AssertionError

    for _ in range(10):
        with running(engine, image, *HARDENED) as container, ThreadPoolExecutor(16) as threads:
            url = f"http://{container.address}:8080"
            wait_until_ready(url)
            clients = [threads.submit(ask, container.address) for _ in range(16)]
            time.sleep(1)
            engine("stop", container.name)
            answered += sum(client.result(timeout=60) for client in clients)
            assert container.inspect(".State.ExitCode") == "0", container.log
    assert failures == [] and answered > 160


LEAVING = """
import subprocess


class InferenceModel:
    def __init__(self, config):
        pass

    def load(self):
        pass

    def preprocess(self, request):
        return request

    def predict(self, request):
        leave = ["sh", "-c", "sleep 0.1 >&2 & echo $!"]
        done = subprocess.run(leave, stdout=subprocess.PIPE, check=True)
        return {"predictions": [int(done.stdout) for row in request["instances"]]}

    def postprocess(self, response):
        return response
"""


def test_the_first_process_collects_what_is_left_to_it(
    engine: Engine, image: str, tmp_path: Path
) -> None:
    """A process whose parent has ended would stay in the container's table for ever."""
    code = tmp_path / "leaving.py"
    code.write_text(LEAVING)
    code.chmod(0o644)
    mount = f"{code}:/app/server/inference_model.py:ro"
    with running(engine, image, *HARDENED, "--volume", mount) as container:
        url = f"http://{container.address}:8080"
        wait_until_ready(url)
        answer = httpx.post(f"{url}/v1/models/model:predict", json={"instances": [[0]]})
        [orphan] = answer.json()["predictions"]
        left = f"test -e /proc/{orphan} && echo left || echo collected"
        until(
            lambda: engine("exec", container.name, "sh", "-c", left) == "collected",
            "the orphan is collected",
        )


def test_stop_before_it_is_ready_ends_it_at_once(
    engine: Engine, image: str, tmp_path: Path
) -> None:
    stuck = tmp_path / "inference_model.py"
    stuck.write_text("import time\n\ntime.sleep(300)\n")
    stuck.chmod(0o644)
    with running(
        engine, image, "--volume", f"{stuck}:/app/server/inference_model.py:ro"
    ) as container:
        deadline = time.monotonic() + READY_SECONDS
        while "common.worker" not in engine("top", container.name):
            assert time.monotonic() < deadline, container.log
            time.sleep(0.1)
        engine("stop", container.name)
        assert container.inspect(".State.ExitCode") == "130", container.log


def test_a_truncated_model_ends_the_start_with_one_line(
    engine: Engine, image: str, scaffold: Scaffold, tmp_path: Path
) -> None:
    model = tmp_path / "model.joblib"
    model.write_bytes((scaffold.directory / "src" / "model" / "model.joblib").read_bytes()[:1000])
    model.chmod(0o644)
    with running(engine, image, "--volume", f"{model}:/app/model/model.joblib:ro") as container:
        container.wait_until(".State.Status", "exited")
        assert container.inspect(".State.ExitCode") == "1"
        plain = [line for line in container.log if not line.startswith("{")]
        assert len(plain) == 1, plain
        assert plain[0].startswith(
            "error: src/model/model.joblib is not the model that config.yaml records"
        )


@pytest.mark.sweep
def test_the_docker_strings_can_be_pasted_for_any_path(
    engine: Engine, image: str, scaffold: Scaffold, forest: Any, tmp_path: Path
) -> None:
    odd = generator.load(shutil.copytree(scaffold.directory, tmp_path / ODD_NAME))
    engine.shell(odd.docker_build_string)
    port = 8080
    if not is_free(port):
        port = free_port()
    command = odd.docker_run_string.replace("-p 8080:", f"-p {port}:")
    client = subprocess.Popen(
        ["sh", "-c", command], env=engine.environ, stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until_ready(f"http://localhost:{port}")
        curl = (
            "curl -sS -H 'Content-Type: application/json' -d '{\"instances\": [[0,0,0,0]]}'"
            f" -X POST http://localhost:{port}/v1/models/model:predict"
        )
        assert json.loads(engine.shell(curl).stdout) == {
            "predictions": forest.predict([[0, 0, 0, 0]]).tolist()
        }
    finally:
        published = engine(
            "ps", "--quiet", "--filter", f"label={engine.label}", "--filter", f"publish={port}"
        ).split()
        if published:
            engine("stop", *published)
        client.communicate(timeout=60)
    assert client.returncode == 0


def test_a_changed_model_reinstalls_nothing_and_stray_files_are_left_out(
    engine: Engine, image: str, own_scaffold: Scaffold
) -> None:
    source = own_scaffold.directory / "src"
    # A new value, so that no earlier run has built this layer.
    (source / "model" / "extra.py").write_text(f"EXTRA = {token_hex(4)!r}\n")
    for path in (
        "model/__pycache__/extra.cpython-311.pyc",
        ".git/config",
        "data/.ipynb_checkpoints/x",
        "../.venv/x",
    ):
        file = source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(1000))
    (source / "model" / "extra.py").chmod(0o600)  # as with an owner's umask of 077
    name = f"test_rfc_{token_hex(4)}"
    output = engine.shell(
        f"{own_scaffold.docker_build_string} --progress plain -t {name} 2>&1"
    ).stdout
    cached = set(re.findall(r"^#(\d+) CACHED", output, re.MULTILINE))
    steps = re.findall(r"^#(\d+) \[[^]]*\d+/\d+\] (.*)", output, re.MULTILINE)
    assert [
        step.split(" ")[:2]
        for number, step in steps
        if number not in cached and not step.startswith("FROM")
    ] == [["RUN", "--mount=type=bind,source=src,target=/src"], *([["COPY", "--from=app"]] * 2)]
    find = engine.shell(
        f"docker run --rm --user 12345:0 --entrypoint find {name} /app -name '*' -type f -readable"
    )
    files = {Path(line).relative_to("/app").as_posix() for line in find.stdout.splitlines()}
    ours = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    stray = {
        name for name in ours if "__pycache__" in name or name.startswith((".git/", "data/.ipynb"))
    }
    assert ours - stray <= files
    assert not stray & files
    bytecode = {name for name in files if name.startswith("common/") and "__pycache__/" in name}
    assert files - bytecode - ours == {"config.yaml"}


@pytest.fixture
def plain_docker(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator uses this run's Docker client too, under the name `docker`."""
    monkeypatch.delenv("DOCKER", raising=False)
    monkeypatch.setenv("PATH", engine.environ["PATH"])


@pytest.mark.sweep
@pytest.mark.usefixtures("plain_docker")
def test_verify_asks_the_image_and_removes_it(
    engine: Engine, forest: Any, iris: Any, tmp_path: Path
) -> None:
    scaffold = generator.from_model(forest, tmp_path / "rfc")
    verification = scaffold.verify(iris[0], "docker")
    assert verification and len(verification.served) == 150
    configure(scaffold.directory, http_port=9000)
    assert scaffold.verify(environment="docker")
    file = scaffold.directory / "src" / "model" / "model.joblib"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(
        ServingError,
        match="the container did not start: src/model/model.joblib is not the model that",
    ):
        scaffold.verify(environment="docker")
    (scaffold.directory / "sklearn-server.Dockerfile").write_text("FRM scratch\n")
    with pytest.raises(ServingError, match="build failed: .*unknown instruction: FRM"):
        scaffold.verify(environment="docker")
    mine = ("--filter", f"label={engine.label}", "--format")
    assert "scaffold-verify" not in engine("images", *mine, "{{.Repository}}") + engine(
        "ps", "-a", *mine, "{{.Image}}"
    )


@pytest.mark.sweep
@pytest.mark.usefixtures("plain_docker")
def test_the_image_of_a_custom_model(forest: Any, iris: Any, tmp_path: Path) -> None:
    made = generator.from_model(
        forest, tmp_path / "custom", framework="custom", sample_input=iris[0]
    )
    assert (made.directory / "custom-server.Dockerfile").exists()
    assert made.verify(environment="docker").served == forest.predict(iris[0]).tolist()


@pytest.mark.sweep
@pytest.mark.usefixtures("plain_docker")
def test_a_wheel_that_no_index_has_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "def step(rows):\n    return rows * 2\n"
    step = import_private(tmp_path, "scaffold_private_steps", source, monkeypatch).step
    rows = np.arange(8.0).reshape(4, 2)
    model = make_pipeline(FunctionTransformer(step), LinearRegression()).fit(rows, [1, 2, 3, 5])
    made = generator.from_model(model, tmp_path / "made", sample_input=rows)
    assert made.verify(environment="docker").served == model.predict(rows).tolist()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True
