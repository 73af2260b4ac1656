"""`deploy/compose.yaml`: valid by the Compose Specification, with Prometheus too; brought up."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest
import yaml

from generator.scaffold import Scaffold
from support.rendering.checkouts import rendered
from support.servers.containers import (
    BUILD_SECONDS,
    Container,
    Engine,
    compose_command,
    wait_until_ready,
)
from support.servers.running import PREDICT, free_port, until


def with_prometheus(text: str) -> str:
    """The file without the marks that it says to take off."""
    above, mark, below = text.partition("  # Prometheus beside it")
    assert mark and "take the marks off here and under configs" in below.partition("\n")[0]
    assert all(re.match(r" *# ", line) for line in below.splitlines()[1:])
    return above + re.sub(r"(?m)^( *)# ", r"\1", below.partition("\n")[2])


@pytest.fixture(scope="module")
def text(scaffold: Scaffold) -> str:
    return (scaffold.directory / "deploy" / "compose.yaml").read_text()


def faults(text: str, tmp_path: Path) -> list[str]:
    """What the Compose Specification's schema, from check-jsonschema, finds in a file."""
    file = tmp_path / "compose.yaml"
    file.write_text(text)
    check = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        "--output-format=json",
    ]
    done = subprocess.run([*check, str(file)], capture_output=True, text=True)
    assert done.stdout, done.stderr
    return [f"{fault['path']}: {fault['message']}" for fault in json.loads(done.stdout)["errors"]]


def test_it_is_valid(text: str, tmp_path: Path) -> None:
    assert yaml.safe_load(text).keys() == {"name", "services"}
    assert faults(text, tmp_path) == []


def test_with_a_gpu_it_is_valid_and_reserves_one(plain: Path, tmp_path: Path) -> None:
    directory = rendered(plain, tmp_path / "out", framework="pytorch", gpu=True)
    text = (directory / "deploy" / "compose.yaml").read_text()
    assert faults(text, tmp_path) == faults(with_prometheus(text), tmp_path) == []
    server = yaml.safe_load(text)["services"]["server"]
    (device,) = server["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert server["environment"]["WORKERS"] == "1"  # one for each GPU
    wrong = text.replace("capabilities: [gpu]", "capability: [gpu]")
    assert any("capability" in line for line in faults(wrong, tmp_path))


def test_it_is_valid_with_prometheus(text: str, tmp_path: Path) -> None:
    whole = yaml.safe_load(with_prometheus(text))
    assert whole["services"].keys() == {"server", "prometheus"}
    assert faults(with_prometheus(text), tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("mem_limit:", "memory_limit:", "'memory_limit' was unexpected"),
        ("read_only: true", "read_only: 3", "$.services.server.read_only: 3 is not"),
        (
            "cap_drop: [ALL]",
            "cap_drop: ALL",
            "$.services.server.cap_drop: 'ALL' is not of type 'array'",
        ),
        ("- source: prometheus", "- sources: prometheus", "$.services.prometheus.configs[0]: "),
        (
            "profiles: [metrics]",
            "profiles: metrics",
            "$.services.prometheus.profiles: 'metrics' is not of type",
        ),
    ],
)
def test_a_wrong_one_is_refused_by_the_same_check(
    text: str, tmp_path: Path, old: str, new: str, fault: str
) -> None:
    whole = with_prometheus(text)
    assert whole.count(old) == 1
    assert any(fault in line for line in faults(whole.replace(old, new), tmp_path))


@pytest.mark.sweep
def test_prometheus_scrapes_what_the_server_counts(text: str, client: httpx.Client) -> None:
    whole = yaml.safe_load(with_prometheus(text))
    (given,) = whole["services"]["prometheus"]["configs"]
    assert given["target"] == "/etc/prometheus/prometheus.yml"
    (job,) = yaml.safe_load(whole["configs"][given["source"]]["content"])["scrape_configs"]
    (target,) = job["static_configs"]
    assert target["targets"] == ["server:8080"]
    assert "8080:8080" in whole["services"]["server"]["ports"]
    assert "metrics_path" not in job  # /metrics where none is named
    client.post(PREDICT, json={"instances": [[0, 0, 0, 0]]})
    assert "scaffold_requests_total{" in client.get("/metrics").text


@pytest.fixture
def up(engine: Engine, image: str, own_scaffold: Scaffold) -> Iterator[Container]:
    """The service as `docker compose up` started it, under names and on ports of the test's own."""
    name = f"scaffold-test-{token_hex(4)}"
    file = own_scaffold.directory / "deploy" / "compose.yaml"
    others = {
        'name: "test-rfc"\n': "",
        'image: "test_rfc"': f"image: {name}",
    }  # Compose 1 knows no name
    others |= {f'"{port}:{port}"': f'"127.0.0.1:{free_port()}:{port}"' for port in (8080, 8081)}
    changed = file.read_text()
    for old, new in others.items():
        assert changed.count(old) == 1, old
        changed = changed.replace(old, new)
    file.write_text(changed)
    environ = {**engine.environ, "COMPOSE_DOCKER_CLI_BUILD": "1"}  # BuildKit, for Compose 1
    program = compose_command(environ)

    def compose(*arguments: str) -> str:
        command = [*program, "--project-name", name, "--file", str(file), *arguments]
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=BUILD_SECONDS
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        compose("up", "--build", "--detach")
        yield Container(engine, compose("ps", "--quiet", "server").strip())
    finally:
        compose("down", "--rmi", "all", "--volumes", "--timeout", "1")


@pytest.mark.sweep
@pytest.mark.docker
def test_it_brings_up_a_server_that_is_bounded_and_comes_back(up: Container, forest: Any) -> None:
    wait_until_ready(up.url)
    answer = httpx.post(f"{up.url}{PREDICT}", json={"instances": [[0, 0, 0, 0]]}, timeout=30)
    assert answer.json() == {"predictions": forest.predict([[0, 0, 0, 0]]).tolist()}
    host = json.loads(up.engine("inspect", "--format", "{{json .HostConfig}}", up.name))
    assert host["Memory"] == 4 * 1024**3
    assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert up.inspect(".Config.StopTimeout") == "75"
    assert up.engine("top", up.name).count("common.worker") == 2
    up.engine("exec", up.name, "sh", "-c", "kill -INT 1")
    until(lambda: up.inspect(".RestartCount") == "1", "it is started again")
    wait_until_ready(up.url)
