"""Starting a worker: a process of the model's environment, at the other end of a Unix socket pair."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from .config import Config
from .errors import LoadError
from .frames import Kind, Request

SOURCE = Path(__file__).resolve().parents[1]
SOCKET_BYTES = 1 << 21


def start(config: Config) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a worker and hand it its configuration; it answers READY or FAILED on the socket.

    `MODEL_PYTHON` in the environment names the interpreter of the model's environment, by default this one.

    Raises:
        LoadError: the interpreter cannot be started.
    """
    python = os.environ.get("MODEL_PYTHON") or sys.executable
    ours, theirs = socket.socketpair()
    with theirs:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        try:
            process = subprocess.Popen(
                [python, "-m", "common.worker", str(theirs.fileno())],
                cwd=SOURCE,
                env=_environment(config),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C at the terminal is for the server alone
            )
        except OSError as error:
            ours.close()
            raise LoadError(
                f"the worker cannot be started with {python}: {error.strerror}; see MODEL_PYTHON"
            ) from error
    body = json.dumps(config.as_document(), default=str).encode()  # YAML makes dates of some texts
    ours.sendall(Request(0, Kind.CONFIG, "", body).pack())
    return process, ours


def _environment(config: Config) -> dict[str, str]:
    """The worker's environment: the server's, and no more threads than the machine has cores for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(1, cores // config.serving.workers))
    return {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONUNBUFFERED": "1"}
