"""The container's health check, as the Dockerfile runs it, against a small server."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import common
from common.config import PORT_VARIABLES
from support.servers.running import free_port

SCRIPT = Path(common.__file__).with_name("health.sh")
BASH = shutil.which("bash") or "bash"
Check = Callable[..., "subprocess.CompletedProcess[str]"]


class Answering(BaseHTTPRequestHandler):
    """Answers the readiness route with the server's own status, all others 404."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Runs the check beside a config.yaml, in an environment of its own."""

    def run(config: str, **environ: object) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "config.yaml").write_text(config)
        variables = {name: str(value) for name, value in environ.items()}
        command = ["timeout", "4", BASH, str(SCRIPT)]
        environment = {"PATH": "/usr/bin:/bin", **variables}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return run


def nested(line: str) -> str:
    return f"model_name: m\nmodel_metadata:\n  serving:\n{line}\n  model:\n    file: null\n"


@pytest.mark.parametrize(
    "line",
    [
        "    http_port: {}",
        "    # http_port: 9\n    http_port: {}  # ours",
        "    'http_port' : \"{}\"",
        "    workers: 1\n    http_port:   {}\r",
        "    {{workers: 1, http_port: {}}}",
    ],
)
def test_the_port_of_config_yaml(check: Check, port: int, line: str) -> None:
    done = check(nested(line.format(port)))
    said = f"the server at port {port} answered 200\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_no_port_is_the_default(check: Check) -> None:
    assert "8080" in (done := check(nested("    workers: 1"))).stdout + done.stderr


def test_the_last_variable_wins_and_an_empty_one_is_none(check: Check, port: int) -> None:
    config = nested("    http_port: 9")
    for index, name in enumerate(PORT_VARIABLES):
        before = dict.fromkeys(PORT_VARIABLES[:index], 9)
        after = dict.fromkeys(PORT_VARIABLES[index + 1 :], "")
        done = check(config, **{**before, name: port, **after})
        assert done.returncode == 0, (name, done.stderr)


def test_another_status_is_not_ready(
    check: Check, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answering, "status", 503)
    done = check("", PORT=port)
    assert (done.returncode, done.stdout) == (1, f"the server at port {port} answered 503\n")


def test_nobody_listens(check: Check) -> None:
    done = check("", PORT=free_port())
    assert done.returncode == 1 and "Connection refused" in done.stderr
