"""Puts load on servers with `wrk`, in rounds that alternate between them.

So a change in the machine's speed affects all servers in the same way.
"""

import json
import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from servers import ANSWER_SECONDS, Failed, Server
from targets import peer_of
from wires import Body

SCRIPT = Path(__file__).with_name("post.lua")
SAMPLE_SECONDS = 0.25


@dataclass(frozen=True)
class Figures:
    """The figures of a round, or the median of each over several rounds.

    Attributes:
        requests: requests a second, as `wrk` counts them.
        median: the latency in milliseconds.
        p99: the latency in milliseconds that 99 of 100 requests do not pass.
        processor: microseconds of processor a request, of all the server's processes.
    """

    requests: float
    median: float
    p99: float
    processor: float

    @classmethod
    def of(cls, rounds: "list[Figures]") -> "Figures":
        """The median of each figure."""
        return cls(
            *(statistics.median(values) for values in zip(*map(astuple, rounds), strict=True))
        )


@dataclass(frozen=True)
class Load:
    """The load on a server.

    Attributes:
        connections: the number of connections, each with one request at a time.
        rounds: the number of rounds of each server.
        seconds: the duration of a round.
        warm_up: seconds of load before the first round.
    """

    connections: int
    rounds: int
    seconds: int
    warm_up: int


def measure(
    load: Load, wire: str, bodies: dict[str, Body], servers: list[Server], place: Path
) -> dict[str, Any]:
    """Measure servers, each while all others are paused.

    After the first round a peer goes on with the best of its variants alone.

    Args:
        load: the connections and the rounds.
        wire: the name of the format in `wires.WIRES`.
        bodies: the request for each server, by the server's name.
        servers: the running servers.
        place: a directory for the bodies.

    Returns:
        For each server's name its figures and their `rounds`, or `failed` with the reason.
    """
    results: dict[str, Any] = {}
    for server in servers:
        server.pause()
    rounds: dict[str, list[Figures]] = {}
    durations = [load.warm_up] + [load.seconds] * load.rounds
    beaten: set[str] = set()
    for number in range(load.rounds + 1):
        for server in servers:
            name = server.recipe.name
            seconds = durations[number]
            if name in results or name in beaten or not seconds:
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
        if number == 1:
            beaten = beaten_variants({name: one[0].requests for name, one in rounds.items()})
    for name in rounds.keys() - results.keys():
        each = [list(astuple(one)) for one in rounds[name]]
        results[name] = {**asdict(Figures.of(rounds[name])), "rounds": each}
    return results


def beaten_variants(rates: dict[str, float]) -> set[str]:
    """The servers of which another variant has a higher rate."""
    best: dict[str, str] = {}
    for name in sorted(rates, key=lambda one: rates[one]):
        best[peer_of(name)] = name
    return set(rates) - set(best.values())


def _round(
    server: Server, wire: str, body: Body, connections: int, seconds: int, place: Path
) -> Figures:
    """Run `wrk` once, and wait until the server has answered the requests that are left.

    Raises:
        Failed: there were errors, so the figures are not valid.
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
    before = server.processor_seconds()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 2 * ANSWER_SECONDS
    )
    processor = server.processor_seconds() - before
    lines = [
        line.removeprefix("RESULT ")
        for line in done.stdout.splitlines()
        if line.startswith("RESULT ")
    ]
    if not lines:
        raise Failed(" ".join((done.stderr or done.stdout).split())[-300:] or "wrk prints nothing")
    result = json.loads(lines[0])
    errors, count = result.pop("errors"), result.pop("count")
    _settle(server, wire, body)
    if errors or not result["requests"]:
        raise Failed(f"{errors:.0f} errors at {connections} connections")
    return Figures(**result, processor=processor / count * 1e6)


def _settle(server: Server, wire: str, body: Body) -> None:
    """Wait until a server answers: it was paused, or requests of `wrk` are left.

    Raises:
        Failed: it does not answer.
    """
    try:
        server.post(wire, body)
    except (OSError, HTTPException) as error:
        raise Failed(f"it stopped answering: {error!r}") from error


def program() -> str:
    """The path of `wrk`.

    Raises:
        SystemExit: `wrk` is not installed.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit(
            "wrk is missing: `apt-get install wrk` (Debian, Ubuntu) or `brew install wrk` (macOS)"
        )
    return wrk


@contextmanager
def peak_memory(server: Server) -> Iterator[list[int]]:
    """Sample the memory of a server during the block. The list holds the peak in bytes."""
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
