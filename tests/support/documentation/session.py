"""One Python for all blocks of a page, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from support.packages.environments import PROGRAMS

BLOCK_SECONDS = 400
END_SECONDS = 30


class PythonSession:
    """Runs blocks, one after another, in one namespace.

    Args:
        directory: the working directory.
        environ: the process's environment.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "python_session.py")],
            cwd=directory,
            env={**environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, name: str, source: str) -> tuple[str, str | None]:
        """What a block prints, and the traceback of what it raises.

        Args:
            name: in tracebacks the block's file.
            source: the block.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        limit = threading.Timer(BLOCK_SECONDS, self._kill)
        limit.start()
        try:
            self._process.stdin.write(json.dumps([name, source]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        finally:
            limit.cancel()
        if not answer:
            return "", f"Python ended, or {BLOCK_SECONDS} seconds were over"
        printed, failure = json.loads(answer)
        return printed, failure

    def close(self) -> None:
        """End Python, and what it has started."""
        try:
            self._process.communicate(timeout=END_SECONDS)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._kill()
            self._process.wait()

    def _kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
