"""Starting a worker: a process of the model's environment, at the other end of a Unix socket pair."""

import json
import math
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..config import SOURCE, Config
from ..errors import LoadError
from .frames import Kind, Request

SOCKET_BYTES = 1 << 21
# What a call of predict has freed the next one takes again. By itself glibc may give it back to the system in between,
# which then has to clear every page once more: mallopt(3). 32 MiB is the most that it takes for the first.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
# An idle thread of OpenBLAS looks for work for two to the power of so many cycles: 0.1 ms. By itself it is 26, tens of
# milliseconds, in which it keeps those who bring the next work off the processor.
BLAS = {"OPENBLAS_THREAD_TIMEOUT": "18"}


def start(
    config: Config,
    path: Sequence[str] | None = None,
    log: IO[bytes] | None = None,
    python: str | None = None,
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a worker and hand it its configuration; it answers READY or FAILED on the socket.

    `MODEL_PYTHON` in the environment names the interpreter of the model's environment, by default this one.

    Args:
        config: the scaffold's configuration.
        path: the only directories for it to import from, beside `src/` and the standard library, with this
            interpreter; by default what its interpreter finds.
        log: where its log goes, by default to this process's.
        python: the interpreter of an environment to run in that nothing outside adds to.

    Raises:
        LoadError: the interpreter cannot be started.
    """
    interpreter = _interpreter(path, python)
    ours, theirs = socket.socketpair()
    with theirs:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        try:
            process = subprocess.Popen(
                [*interpreter, "-m", "common.worker", str(theirs.fileno())],
                cwd=SOURCE,
                env=_environment(config, path),
                stderr=log,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C at the terminal is for the server alone
            )
        except OSError as error:
            ours.close()
            raise LoadError(
                f"the worker cannot be started with {interpreter[0]}: {error.strerror}; see MODEL_PYTHON"
            ) from error
    body = json.dumps(config.as_document(), default=str).encode()  # YAML makes dates of some texts
    ours.sendall(Request(0, Kind.CONFIG, "", body).pack())
    return process, ours


def _interpreter(path: Sequence[str] | None, python: str | None) -> list[str]:
    """The interpreter, with the options that keep out what is not to be imported."""
    if python is not None:
        return [python, "-E"]  # no PYTHONPATH
    if path is not None:
        return [sys.executable, "-S"]  # no .pth file adds to the path
    return [os.environ.get("MODEL_PYTHON") or sys.executable]


def cores() -> int:
    """How many processors this process may keep busy: those there are, and no more than its control group is given."""
    there = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, math.ceil(min(there, _quota())))


def _quota(root: Path = Path("/sys/fs/cgroup")) -> float:
    """The processors that the control group is given: `docker run --cpus`, Kubernetes's limit; infinite without one.

    Source: Linux's Documentation/admin-guide/cgroup-v2.rst, `cpu.max`; for version 1 scheduler/sched-bwc.rst.
    """
    try:
        if (file := root / "cpu.max").exists():
            quota, period = file.read_text().split()
        else:
            quota, period = (
                (root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        return int(quota) / int(period) if quota.strip() not in ("max", "-1") else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _environment(config: Config, path: Sequence[str] | None) -> dict[str, str]:
    """The worker's environment: the server's, no more threads than the machine has cores for, MALLOC and BLAS."""
    threads = str(max(1, cores() // config.serving.workers))
    imports = {} if path is None else {"PYTHONPATH": os.pathsep.join(path)}
    return {
        "OMP_NUM_THREADS": threads,
        **MALLOC,
        **BLAS,
        **os.environ,
        **imports,
        "PYTHONUNBUFFERED": "1",
    }
