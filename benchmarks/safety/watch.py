"""Watches a server from another process: how long its health checks take, and its memory.

    python benchmarks/safety/watch.py URL PID

Until its standard input closes, it asks for readiness every 20 ms on a new connection, and adds up
the memory of the server and its workers. Then it prints one line of JSON.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

PAUSE_SECONDS = 0.02
MEMORY_EVERY = 5  # checks
TIMEOUT_SECONDS = 30


@dataclass
class Seen:
    """What was seen of a server meanwhile.

    Attributes:
        checks: how many health checks were asked.
        failed: how many of them got no 200.
        slowest, typical: the longest and the median time of one, in seconds.
        before, peak: the memory (Pss) of the server and its workers, in bytes.
    """

    checks: int = 0
    failed: int = 0
    slowest: float = 0.0
    typical: float = 0.0
    before: int = 0
    peak: int = 0


@contextlib.contextmanager
def watched(url: str, pid: int) -> Iterator[Seen]:
    """Watch a server during the block."""
    command = [sys.executable, __file__, url, str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()  # it has begun
        seen = Seen()
        try:
            yield seen
        finally:
            process.stdin.close()
            vars(seen).update(json.loads(process.stdout.readline()))


def memory(pid: int) -> int:
    """The memory of a process and its children, in bytes. Pages that they share count once."""
    total = 0
    for process in (pid, *children(pid)):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def children(pid: int) -> list[int]:
    """All processes that a process has started, directly or indirectly."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += [int(child), *children(int(child))]
    return found


def is_healthy(url: str) -> bool:
    """Whether a server says that it is ready."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    url, pid = sys.argv[1], int(sys.argv[2])
    seen, times = Seen(before=memory(pid)), []
    print("watching", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        start = time.perf_counter()
        seen.failed += not is_healthy(url)
        times.append(time.perf_counter() - start)
        if len(times) % MEMORY_EVERY == 0:
            seen.peak = max(seen.peak, memory(pid))
    seen.checks = len(times)
    if times:
        seen.slowest, seen.typical = max(times), sorted(times)[len(times) // 2]
    print(json.dumps(vars(seen)), flush=True)


if __name__ == "__main__":
    main()
