"""`config.yaml` for truss: what `truss push` sends, what Baseten builds, and how it starts it."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import generator
from common.config import Config
from generator.environment.venvs import RUNNING, model_python, server_python
from generator.scaffold import Scaffold
from support.packages.wheels import import_private
from support.rendering.checkouts import ROOT, rendered
from support.servers.containers import Engine, running, wait_until_ready
from support.servers.running import Running, end, free_port, until

TRUSS = "truss==0.18.36"
FRAMEWORKS = ("custom", "keras", "pytorch", "sklearn")
NAME = "iris.v2"
PROXY_PORT = 8080
BASETENS_USER = 60000
# Baseten builds with it: https://docs.baseten.co/development/model/custom-server, "Non-root user".
NON_ROOT = {"BT_USE_NON_ROOT_USER": "true"}
WRONG = [
    ("server_port: 8000", "server_port: http",
     "docker_server.server_port\n  Input should be a valid integer"),
    ("  liveness_endpoint: /\n", "", "docker_server.liveness_endpoint\n  Field required"),
    ("  start_command: >-", "  command: >-", "start_command is required when no_build is not true"),
    ("docker_server:", "server:", "Extra fields not allowed: [server]"),
    ("python_version: py", "python_version: ", "python_version\n  Input should be a valid string"),
    ("requirements_file:", "requirements: [numpy]\nrequirements_file:",
     "`requirements` and `requirements_file`"),
]  # fmt: skip
# What truss's build downloads from astral.sh and GitHub: uv, and the Python of its supervisor.
DOWNLOADS = (
    "https://astral.sh/uv/install.sh",
    "https://github.com/astral-sh/python-build-standalone/releases",
)
# Replacements from PyPI, for machines that cannot reach these.
REPLACEMENTS = (
    (r"curl [^|]*https://astral\.sh/uv/([0-9.]+)/install\.sh \| sh", r"pip install --user uv==\1"),
    (r"uv python install [0-9.]+", "true"),
    (r"(uv venv /docker_server/\.venv --python) [0-9.]+", r"\1 python3"),
)

Call = Callable[..., str]


@pytest.fixture(scope="session")
def truss(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Runs pushing.py in a cached environment that holds only truss."""
    directory = tmp_path_factory.mktemp("truss")
    (directory / "requirements.txt").write_text(f"{TRUSS}\n")
    python = model_python(directory / "requirements.txt", RUNNING)

    def called(*arguments: str | Path, **environ: str) -> str:
        program = ROOT / "tests" / "support" / "programs" / "pushing.py"
        command = [python, "-W", "ignore", program, *arguments]
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BT_", "TRUSS_"))
        }
        # truss keeps its settings in the home directory.
        settings = {**clean, "HOME": str(directory), **environ}
        done = subprocess.run(command, env=settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return called


@pytest.fixture(scope="session")
def scaffolds(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A scaffold without a model for each framework."""
    answers = {"model_name": NAME, "python_version": "3.12"}
    return {
        framework: rendered(
            plain, tmp_path_factory.mktemp(framework) / "out", framework=framework, **answers
        )
        for framework in FRAMEWORKS
    }


@pytest.fixture(scope="session")
def read(scaffolds: dict[str, Path], truss: Call) -> dict[str, dict[str, Any]]:
    """The configuration of each framework's scaffold, as truss reads it."""
    lines = truss(
        "read", *(directory / "config.yaml" for directory in scaffolds.values())
    ).splitlines()
    return dict(zip(scaffolds, map(json.loads, lines), strict=True))


@pytest.fixture(scope="session")
def sent(scaffold: Scaffold, truss: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what `truss push` sends of the scaffold."""
    directory = tmp_path_factory.mktemp("sent")
    truss("send", scaffold.directory, directory)
    return directory


@pytest.fixture(scope="session")
def context(sent: Path, truss: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build context that truss makes of what was sent."""
    directory = tmp_path_factory.mktemp("context")
    truss("build", sent, directory, **NON_ROOT)
    return directory


def files(directory: Path) -> set[str]:
    return {
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.sweep
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_truss_reads_the_configuration(
    read: dict[str, dict[str, Any]], scaffolds: dict[str, Path], framework: str
) -> None:
    config = read[framework]
    assert (config["model_name"], config["python_version"]) == (NAME, "py312")
    assert config["base_image"]["image"] == "python:3.12-slim"
    assert (scaffolds[framework] / config["requirements_file"]).is_file()
    assert config["system_packages"] == ["git", "libgomp1"]
    assert len(config["build_commands"]) == 3
    assert (config["resources"]["cpu"], config["resources"]["memory"]) == ("1", "2Gi")
    server = config["docker_server"]
    assert server["server_port"] not in (PROXY_PORT, None)
    assert (server["no_build"], server["run_as_user_id"]) == (None, None)
    assert server["predict_endpoint"] == f"/v1/models/{NAME}:predict"
    assert server["readiness_endpoint"] == f"/v1/models/{NAME}"
    assert server["liveness_endpoint"] == "/"
    written = yaml.safe_load((scaffolds[framework] / "config.yaml").read_text())
    assert config["model_metadata"] == written["model_metadata"]


@pytest.mark.sweep
def test_truss_refuses_wrong_configurations(
    scaffolds: dict[str, Path], truss: Call, tmp_path: Path
) -> None:
    text = (scaffolds["sklearn"] / "config.yaml").read_text()
    for index, (old, new, _) in enumerate(WRONG):
        assert text.count(old) == 1, old
        (tmp_path / f"{index}.yaml").write_text(text.replace(old, new))
    lines = truss("read", *(tmp_path / f"{index}.yaml" for index in range(len(WRONG)))).splitlines()
    for line, (_, _, fault) in zip(lines, WRONG, strict=True):
        assert fault in json.loads(line).get("refused", ""), line


@pytest.mark.sweep
def test_push_sends_what_the_image_needs_and_nothing_else(
    own_scaffold: Scaffold, truss: Call, tmp_path: Path
) -> None:
    """By default, truss leaves out `lib/`, `build/`, `*.log` and more, in its context too."""
    directory = own_scaffold.directory
    ours = {
        "src/model/lib/code.py",
        "src/model/build/plan.py",
        "src/data/words.log",
        "src/data/.env",
    }
    stray = {
        ".git/config",
        ".venv/x",
        "notes.txt",
        "src/model/__pycache__/code.pyc",
        "src/data/.git/config",
    }
    for name in ours | stray:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("")
    truss("send", directory, tmp_path / "sent")
    expected = {name for name in files(directory) if name.startswith("src/")} - stray
    config = {".truss_ignore", "config.yaml", "requirements.txt", "server-requirements.txt"}
    assert ours < expected
    assert files(tmp_path / "sent") == expected | config
    truss("build", tmp_path / "sent", tmp_path / "context")
    assert expected < files(tmp_path / "context")


@pytest.mark.sweep
def test_the_context_serves_the_scaffolds_configuration(scaffold: Scaffold, context: Path) -> None:
    ours = Config.read(scaffold.directory / "config.yaml", {})
    assert Config.read(context / "config.yaml", {}) == ours
    server = yaml.safe_load((context / "config.yaml").read_text())["docker_server"]
    assert f"\ncommand = {server['start_command']}\n" in (context / "supervisord.conf").read_text()
    proxy = (context / "proxy.conf").read_text()
    assert f"listen {PROXY_PORT};" in proxy
    assert set(re.findall("proxy_pass (.*);", proxy)) == {
        f"http://127.0.0.1:{server['server_port']}"
    }


def test_the_context_has_all_files_of_the_dockerfile(context: Path) -> None:
    """Also truss's own files, which the scaffold's .dockerignore would exclude."""
    dockerfile = (context / "Dockerfile").read_text()
    copied = re.findall(r"(?m)^COPY (?:--\S+ )*\./(\S+) ", dockerfile)
    mounted = re.findall(r"--mount=type=bind,source=([^, ]+),", dockerfile)
    assert {"user_requirements.txt", "proxy.conf", "config.yaml"} <= set(copied)
    assert set(mounted) == {"server-requirements.txt", "src"}
    assert all((context / name).exists() for name in (*copied, *mounted))
    assert not (context / ".dockerignore").exists()


def test_the_model_environment_is_the_same_and_within_the_bounds_of_truss(
    scaffold: Scaffold, context: Path
) -> None:
    text = (context / "user_requirements.txt").read_text()
    assert text == (scaffold.directory / "requirements.txt").read_text()
    bounds = {
        canonicalize_name(bound.name): bound.specifier
        for bound in requirements(context / "constraints.txt")
    }
    assert "msgpack" in bounds
    for pin in requirements(context / "user_requirements.txt"):
        versions = [part.version for part in pin.specifier if part.operator == "=="]
        bound = bounds.get(canonicalize_name(pin.name), "")
        assert all(version in bound for version in versions if bound), f"{pin}: truss has {bound}"


@pytest.mark.sweep
def test_a_build_command_of_truss_installs_wheels(
    truss: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "def step(rows):\n    return rows * 2\n"
    step = import_private(tmp_path, "scaffold_private_steps", source, monkeypatch).step
    directory, context = tmp_path / "made", tmp_path / "context"
    model = make_pipeline(FunctionTransformer(step), LinearRegression()).fit(np.eye(2), [1, 3])
    generator.from_model(model, directory)
    truss("send", directory, tmp_path / "sent")
    truss("build", tmp_path / "sent", context)
    dockerfile = (context / "Dockerfile").read_text()
    mounted = re.findall(r"--mount=type=bind,source=([^, ]+),", dockerfile)
    assert mounted[:2] == ["wheels/requirements.txt", "wheels"]
    assert "user_requirements.txt" not in dockerfile
    wheel = "wheels/scaffold_private_steps-1.0+own-py3-none-any.whl"
    assert (context / wheel).read_bytes() == (directory / wheel).read_bytes()
    shown = (context / "wheels" / "requirements.txt").read_text()
    assert shown == (directory / "requirements.txt").read_text()


def requirements(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def test_both_images_install_the_server_environment_with_the_same_options(
    scaffold: Scaffold, context: Path
) -> None:
    """Only what uv caches and prints differs: one build has a cache and its own report."""

    def options(dockerfile: Path) -> set[str]:
        text = dockerfile.read_text()
        found = re.search(r"uv pip install (.*?)/tmp/server-requirements\.txt", text)
        assert found is not None, text
        return set(found[1].split()) - {"--no-cache", "--compile-bytecode", "-q"}

    assert options(scaffold.directory / scaffold.dockerfile) == options(context / "Dockerfile")


def test_the_command_starts_a_server_with_the_endpoints(
    scaffold: Scaffold, context: Path, forest: Any, iris: Any, tmp_path: Path
) -> None:
    """Runs the command with the paths of this machine. PORT is set too, as Baseten may set it."""
    named = yaml.safe_load((context / "config.yaml").read_text())["docker_server"]
    port = named["server_port"]
    if not is_free(port):
        port = free_port()
    here = {
        "/opt/server/bin/python": server_python(scaffold.directory / "server-requirements.txt"),
        "/usr/local/bin/python3": sys.executable,
        "/opt/scaffold/": f"{scaffold.directory}/",
        f" PORT={named['server_port']} ": f" PORT={port} ",
    }
    command = named["start_command"]
    for there, path in here.items():
        assert command.count(there) == 1, there
        command = command.replace(there, str(path))
    environ = {**os.environ, "PORT": str(PROXY_PORT), "GRPC_PORT": "8081"}
    log = tmp_path / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            shlex.split(command), env=environ, stderr=stream, start_new_session=True
        )
    server = Running(f"http://127.0.0.1:{port}", process, log, 0)
    try:
        until(lambda: process.poll() is not None or server.ready(), "the server is ready")
        with server.client() as client:
            assert client.get(named["liveness_endpoint"]).status_code == 200, log.read_text()
            assert client.get(named["readiness_endpoint"]).status_code == 200
            answer = client.post(named["predict_endpoint"], json={"instances": iris[0].tolist()})
        assert answer.json() == {"predictions": forest.predict(iris[0]).tolist()}
    finally:
        end(process)


@pytest.mark.docker
@pytest.mark.sweep
@pytest.mark.parametrize(
    ("environ", "port"),
    [
        pytest.param(NON_ROOT, PROXY_PORT, id="behind truss's proxy"),
        # https://github.com/basetenlabs/truss/pull/2402
        pytest.param(NON_ROOT | {"BT_USE_DOCKER_SERVER_SLIM": "true"}, 8000, id="alone"),
        pytest.param({}, PROXY_PORT, id="as root"),
    ],
)
def test_the_image_that_truss_builds_predicts_as_the_model(
    engine: Engine,
    sent: Path,
    truss: Call,
    forest: Any,
    iris: Any,
    tmp_path: Path,
    environ: dict[str, str],
    port: int,
) -> None:
    truss("build", sent, tmp_path, **environ)
    if not all(map(answers, DOWNLOADS)):
        replacements = REPLACEMENTS
        if port != PROXY_PORT:  # there is no supervisor, which needs the others
            replacements = REPLACEMENTS[:1]
        replace_downloads(tmp_path / "Dockerfile", replacements)
    name = f"test_baseten_{token_hex(4)}"
    engine.shell(shlex.join(["docker", "build", str(tmp_path), "-t", name]))
    with running(
        engine, name, "--env", f"PORT={PROXY_PORT}", "--publish", "127.0.0.1::8000"
    ) as container:
        url = "http://" + engine("port", container.name, str(port)).splitlines()[0]
        wait_until_ready(url)
        answer = httpx.post(
            f"{url}/v1/models/model:predict", json={"instances": iris[0].tolist()}, timeout=30
        )
        assert answer.json() == {"predictions": forest.predict(iris[0]).tolist()}
        assert httpx.get(f"{url}/", timeout=30).json() == {"status": "alive"}
        user = 0
        if environ:
            user = BASETENS_USER
        assert f"Uid:\t{user}\t" in engine("exec", container.name, "cat", "/proc/1/status")
        engine("stop", container.name)
        # Without the proxy, the server's parent is a shell, which forwards no signals.
        if port == PROXY_PORT:
            assert container.inspect(".State.ExitCode") == "0", container.log


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def answers(url: str) -> bool:
    try:
        return httpx.get(url, follow_redirects=True, timeout=10).is_success
    except httpx.TransportError:
        return False


def replace_downloads(dockerfile: Path, replacements: tuple[tuple[str, str], ...]) -> None:
    text = dockerfile.read_text()
    for pattern, replacement in replacements:
        text, found = re.subn(pattern, replacement, text)
        assert found == 1, pattern
    dockerfile.write_text(text)
