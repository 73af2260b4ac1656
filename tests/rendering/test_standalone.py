"""The standalone server's environment: what it lacks."""

import subprocess
import sys
from pathlib import Path

import pytest

from generator.environment.venvs import server_python
from support.rendering.checkouts import ROOT
from support.servers.running import LOCKS

LOCK = LOCKS["standalone"]
SOURCE = ROOT / "template" / "src"
APPLICATION = "common.serving.applications.standalone_application"
SERVER = f"common.serving.main, common.serving.server, common.serving.grpc.server, {APPLICATION}"
# KServe's SDK, and packages of which each is larger than all that the server is.
LACKS = {"kserve", "kubernetes", "pandas", "numpy", "fastapi", "pydantic"}


def imported(python: Path, modules: str) -> set[str]:
    """The packages that a process holds once it has imported modules of the template."""
    code = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [str(python), "-c", code], cwd=SOURCE, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_application_imports_little() -> None:
    found = imported(Path(sys.executable), APPLICATION)
    assert "starlette" in found and not found & LACKS


@pytest.mark.sweep
def test_the_environment_holds_all_that_the_server_imports() -> None:
    python = server_python(LOCK)
    found = imported(python, SERVER)
    assert {"grpc", "uvicorn"} <= found and not found & LACKS
    packages = {path.name for path in (python.parents[1] / "lib").glob("python*/site-packages/*")}
    assert "starlette" in packages and not packages & LACKS
