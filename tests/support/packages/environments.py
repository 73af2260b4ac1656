"""Environments of a test's own, and the programs that run in them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

BROWSER = Path("/usr/bin/chromium")
PROGRAMS = Path(__file__).resolve().parents[1] / "programs"


def run(*command: Any, cwd: Path | None = None, given: str | None = None) -> str:
    """What a command prints, which gets a text to read."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, input=given, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def environment(directory: Path, *packages: str) -> Path:
    """The interpreter of an environment with packages."""
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "--quiet", directory)
    python = directory / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--python", python, *packages)
    return python
