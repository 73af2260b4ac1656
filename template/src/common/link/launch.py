"""Starts a worker: a process of the model's environment, connected by a Unix socket pair."""

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..config import SOURCE, Config
from ..errors import LoadError
from . import gpus
from .child import Child
from .frames import Kind, Request

SOCKET_BYTES = 1 << 21
# One call of predict frees memory that the next one needs. By default glibc may return it to the
# system in between, which must then clear every page again: mallopt(3). 32 MiB is the most
# that the first setting allows.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
# An idle thread of OpenBLAS polls for work for 2**18 cycles: 0.1 ms. The default is 2**26, tens of
# milliseconds, during which it keeps a processor from the server, which sends the next work.
BLAS = {"OPENBLAS_THREAD_TIMEOUT": "18"}


def start(
    config: Config,
    path: Sequence[str] | None = None,
    log: IO[bytes] | None = None,
    python: str | None = None,
    gpu: str | None = None,
) -> Child:
    """Start a worker and send it its configuration; it answers READY or FAILED on the socket.

    `MODEL_PYTHON` in the environment is the interpreter of the model's environment, by default
    this process's.

    Args:
        config: the scaffold's configuration.
        path: the only directories that it imports from, besides `src/` and the standard library,
            with this process's interpreter. By default it imports from its interpreter's path.
        log: the file for its log. By default it goes to this process's standard error.
        python: the interpreter of another environment, isolated from `PYTHONPATH`.
        gpu: the GPU that it alone sees; None for all that it may see.

    Raises:
        LoadError: the interpreter cannot be started.
    """
    interpreter = _interpreter(path, python)
    try:
        child = Child(
            [*interpreter, "-m", "common.worker"],
            SOCKET_BYTES,
            cwd=SOURCE,
            env=environment(config, path, gpu),
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        command = interpreter[0]
        raise LoadError(
            f"the worker cannot be started with {command}: {error.strerror}; see MODEL_PYTHON"
        ) from error
    child.gpu = gpu
    body = json.dumps(config.as_document(), default=str).encode()  # YAML reads some texts as dates
    with contextlib.suppress(ConnectionError):  # it has ended: whoever waits for it is told
        child.connection.sendall(Request(0, Kind.CONFIG, "", body).pack())
    return child


def _interpreter(path: Sequence[str] | None, python: str | None) -> list[str]:
    """The interpreter, with the options that keep other directories off its path."""
    if python is not None:
        return [python, "-E"]  # no PYTHONPATH
    if path is not None:
        return [sys.executable, "-S"]  # no site-packages, no .pth files
    return [os.environ.get("MODEL_PYTHON") or sys.executable]


def cores() -> int:
    """How many processors this process may use: its affinity, limited by its cgroup's quota."""
    return max(1, math.ceil(min(_affinity(), cgroup_quota())))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float:
    """How many processors the cgroup may use; infinite without a limit.

    `docker run --cpus` and Kubernetes's limits set it.
    Source: Linux's Documentation/admin-guide/cgroup-v2.rst, `cpu.max`; for version 1
    Documentation/scheduler/sched-bwc.rst.

    Args:
        root: where the cgroup file system is mounted.
    """
    try:
        quota, period = _quota_and_period(root)
        if quota.strip() in ("max", "-1"):
            return math.inf
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _quota_and_period(root: Path) -> list[str]:
    """The quota and the period, both in microseconds, as cgroup v2 or v1 has them."""
    if (file := root / "cpu.max").exists():
        return file.read_text().split()
    return [(root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]


def environment(
    config: Config, path: Sequence[str] | None, gpu: str | None = None
) -> dict[str, str]:
    """A worker's environment: this process's, and defaults for its threads, memory and GPUs.

    Args:
        config: the scaffold's configuration.
        path: as in `start`.
        gpu: as in `start`.
    """
    threads = str(max(1, cores() // config.serving.workers))
    defaults = {"OMP_NUM_THREADS": threads, **MALLOC, **BLAS, **gpus.defaults(config.serving)}
    variables = {**defaults, **os.environ}
    if gpu is not None:
        variables[gpus.VISIBLE] = gpu
    if path is not None:
        variables["PYTHONPATH"] = os.pathsep.join(path)
    variables["PYTHONUNBUFFERED"] = "1"
    variables.pop("PYTHONSAFEPATH", None)  # it would hide `common`, which lies in `src/`
    return variables
