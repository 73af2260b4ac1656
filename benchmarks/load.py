"""Loading servers with `wrk`, in rounds that alternate between them, so that the machine's drift meets all alike."""

import json
import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from servers import ANSWER_SECONDS, Failed, Server
from wires import Body

SCRIPT = Path(__file__).with_name("post.lua")
SAMPLE_SECONDS = 0.25


@dataclass(frozen=True)
class Figures:
    """What `wrk` measured: requests a second, latencies in milliseconds."""

    requests: float
    median: float
    p99: float

    @classmethod
    def of(cls, rounds: "list[Figures]") -> "Figures":
        """The median of each figure."""
        return cls(
            *(
                statistics.median(getattr(one, name) for one in rounds)
                for name in ("requests", "median", "p99")
            )
        )


@dataclass(frozen=True)
class Load:
    """What is posted, and how.

    Attributes:
        connections: how many post at the same time, each one request after the other.
        rounds: how often a server is measured.
        seconds: how long a round lasts.
        warm_up: how long a server is loaded before its first round.
    """

    connections: int
    rounds: int
    seconds: int
    warm_up: int


def measure(
    load: Load, wire: str, bodies: dict[str, Body], servers: list[Server], place: Path
) -> dict[str, Any]:
    """Server to figures and rounds, or to the reason why it has none. All are paused but the one that is loaded.

    Args:
        bodies: what each server is sent, by its name.
        place: a directory for the bodies.
    """
    results: dict[str, Any] = {}
    for server in servers:
        server.pause()
    rounds: dict[str, list[Figures]] = {}
    for number in range(load.rounds + 1):
        for server in servers:
            name = server.recipe.name
            seconds = load.seconds if number else load.warm_up
            if name in results or not seconds:
                continue
            server.resume()
            try:
                figures = _round(server, wire, bodies[name], load.connections, seconds, place)
            except Failed as failure:
                results[name] = {"failed": str(failure)}
                continue
            finally:
                server.pause()
            if number:
                rounds.setdefault(name, []).append(figures)
    for name in rounds.keys() - results.keys():
        each = [[one.requests, one.median, one.p99] for one in rounds[name]]
        results[name] = {**asdict(Figures.of(rounds[name])), "rounds": each}
    return results


def _round(
    server: Server, wire: str, body: Body, connections: int, seconds: int, place: Path
) -> Figures:
    """One run of `wrk`. The next begins when the server has worked off what this one leaves behind.

    Raises:
        Failed: there were errors, so that the figures mean nothing.
    """
    _settle(server, wire, body)
    file = place / "body"
    file.write_bytes(body.content)
    headers = [part for header in body.headers.items() for part in header]
    options = [
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        f"--timeout={ANSWER_SECONDS}s",
        "-s",
        str(SCRIPT),
    ]
    command = [program(), *options, server.url(wire), "--", str(file), *headers]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 2 * ANSWER_SECONDS
    )
    lines = [
        line.removeprefix("RESULT ")
        for line in done.stdout.splitlines()
        if line.startswith("RESULT ")
    ]
    if not lines:
        raise Failed(" ".join((done.stderr or done.stdout).split())[-300:] or "wrk says nothing")
    result = json.loads(lines[0])
    errors = result.pop("errors")
    _settle(server, wire, body)
    if errors or not result["requests"]:
        raise Failed(f"{errors:.0f} errors at {connections} connections")
    return Figures(**result)


def _settle(server: Server, wire: str, body: Body) -> None:
    """Wait until it answers: it was paused, or has what `wrk` has left to work off.

    Raises:
        Failed: it does not.
    """
    try:
        server.post(wire, body)
    except (OSError, HTTPException) as error:
        raise Failed(f"it answers no longer: {error!r}") from error


def program() -> str:
    """
    Raises:
        SystemExit: `wrk` is not installed.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit(
            "wrk is missing: `apt-get install wrk` on Debian and Ubuntu, `brew install wrk` on macOS"
        )
    return wrk


@contextmanager
def peak_memory(server: Server) -> Iterator[list[int]]:
    """A list whose last number is the most memory that the server was seen to take while the block ran."""
    most = [server.memory()]
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            most[0] = max(most[0], server.memory())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield most
    finally:
        ended.set()
        sampler.join()
