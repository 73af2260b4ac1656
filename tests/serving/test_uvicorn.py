"""The server subclasses uvicorn's protocol: what it relies on is there, and a change is named."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from generator.environment.venvs import server_python
from support.servers.running import LOCKS

TESTS = Path(__file__).resolve().parents[1]
PROTOCOL = "protocols/http/httptools_impl.py"


def changes(server: str, *path: Path) -> list[str]:
    """What the check prints in a server's environment, with these directories first on its path."""
    done = subprocess.run(
        [str(server_python(LOCKS[server])), "-m", "support.programs.uvicorn_changes"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, TESTS]))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("server", LOCKS)
def test_uvicorn_has_what_the_server_relies_on(server: str) -> None:
    assert changes(server) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        (PROTOCOL, "STATUS_LINE", "STATUS_LINES", "STATUS_LINE["),
        (
            PROTOCOL,
            "message_event",
            "event",
            "RequestResponseCycle no longer has or uses message_event",
        ),
        (PROTOCOL, "self.url", "self.target", "HttpToolsProtocol no longer has or uses url"),
        (PROTOCOL, "def on_body(self, body", "def on_body(self, more, body", "on_body is"),
        (PROTOCOL, "def on_body(", "def on_chunk(", "on_body is missing"),
        (PROTOCOL, "self.url = b", "self.began = self.url = b", "on_message_begin also uses began"),
        (PROTOCOL, "self.cycle.disconnected", "self.cycle.gone", "of self.cycle, also uses gone"),
        ("protocols/http/flow_control.py", "write_paused", "paused", "FlowControl no longer has"),
        ("server.py", "default_headers", "headers", "ServerState no longer has or uses default_"),
        (
            "server.py",
            "def handle_exit(self, sig:",
            "def handle_exit(self, number:",
            "handle_exit is",
        ),
    ],
)
def test_a_change_in_uvicorn_is_named(
    file: str, old: str, new: str, named: str, tmp_path: Path
) -> None:
    environment = server_python(LOCKS["kserve"]).parents[1]
    [package] = environment.glob("lib/python*/site-packages/uvicorn")
    shutil.copytree(package, tmp_path / "uvicorn")
    changed = tmp_path / "uvicorn" / file
    assert old in changed.read_text()
    changed.write_text(changed.read_text().replace(old, new))
    assert any(named in line for line in changes("kserve", tmp_path))
