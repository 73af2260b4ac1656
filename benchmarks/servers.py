"""Servers as processes: ours, an empty one, and the peers, each in an environment of its own from the user's cache.

All processes of a server bear a mark in their environment, so that none is overlooked that left its parent: their
memory is added up, and all of them end with it. It is Linux that tells both, in /proc.
"""

import ast
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from models import Model
from wires import PROTOCOLS, WIRES, Body, Wire

from generator.environment.venvs import RUNNING, cached, install_requirements, server_python
from generator.errors import ServingError

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
MARK = "SCAFFOLD_BENCHMARK"
START_SECONDS = 120
ANSWER_SECONDS = 60
POLL_SECONDS = 0.02


class Failed(Exception):
    """A server did not start, or did not answer; in one line."""


@dataclass(frozen=True)
class Recipe:
    """How a server is started.

    Attributes:
        name: what results call it.
        title: what tables call it.
        command: gives the command for a port.
        wires: what can be posted to it.
        environ: what its environment has besides this one's.
    """

    name: str
    title: str
    command: Callable[[int], list[str]]
    wires: dict[str, Wire]
    environ: dict[str, str]


@dataclass(frozen=True)
class Peer:
    """Another server, as the head of its file in `peers/` describes it.

    Attributes:
        file: the file, which is started with the model's file and a port.
        facts: TITLE, PROTOCOL (of `wires.PROTOCOLS`), REQUIREMENTS (beside the model's framework); ALONE are
            requirements that are installed without their own, LOCK a file of such; FRAMEWORKS are those that it serves.
    """

    file: Path
    facts: dict[str, Any]

    @classmethod
    def read(cls, file: Path) -> "Peer":
        """What a file says of itself, without importing it: its packages are not here."""
        body = ast.parse(file.read_text()).body
        assigned = {
            ast.unparse(node.targets[0]): node.value
            for node in body
            if isinstance(node, ast.Assign)
        }
        annotated = {
            ast.unparse(node.target): node.value for node in body if isinstance(node, ast.AnnAssign)
        }
        values = {
            **assigned,
            **{name: value for name, value in annotated.items() if value is not None},
        }
        names = ("TITLE", "PROTOCOL", "REQUIREMENTS", "ALONE", "LOCK", "FRAMEWORKS")
        return cls(file, {name: ast.literal_eval(values[name]) for name in names if name in values})

    @property
    def title(self) -> str:
        return str(self.facts["TITLE"])

    @property
    def requirements(self) -> list[str]:
        return [
            *self.facts["REQUIREMENTS"],
            *self.facts.get("ALONE", []),
            *filter(None, [self.facts.get("LOCK")]),
        ]

    def serves(self, model: Model) -> bool:
        return model.framework in self.facts.get("FRAMEWORKS", (model.framework,))

    def python(self, model: Model) -> Path:
        """The interpreter of an environment with the peer and the model's framework.

        Raises:
            Failed: it cannot be made.
        """
        wanted = "\n".join([*self.facts["REQUIREMENTS"], *model.pins, "numpy"])
        lock = (HERE.parent / self.facts["LOCK"]).read_text() if "LOCK" in self.facts else ""
        alone = "\n".join(self.facts.get("ALONE", []))

        def install(python: Path) -> None:
            for options, content in (([], wanted), (["--no-deps"], alone), (["--no-deps"], lock)):
                if content:
                    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                        file.write(content)
                        file.flush()
                        install_requirements(python, options, Path(file.name))

        try:
            return cached("peer", f"{wanted}\n{alone}\n{lock}", RUNNING, install)
        except ServingError as error:
            raise Failed(_line(str(error))) from error


def peers() -> dict[str, Peer]:
    """Every file in `peers/` that starts a server, by its name."""
    files = (file for file in sorted(PEERS.glob("*.py")) if file.stem != "predictor")
    return {file.stem: Peer.read(file) for file in files}


def of_peer(name: str, peer: Peer, model: Model, file: Path) -> Recipe:
    """
    Raises:
        Failed: its environment cannot be made.
    """
    python = str(peer.python(model))
    wires = {"json": PROTOCOLS[peer.facts["PROTOCOL"]]}
    environ = {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    return Recipe(
        name,
        peer.title,
        lambda port: [python, str(peer.file), str(file), str(port)],
        wires,
        environ,
    )


def ours(directory: Path, workers: int = 1, name: str = "ours", title: str = "ours") -> Recipe:
    """The scaffold's server, its model in the running environment."""
    python = str(server_python(directory / "server-requirements.txt"))
    environ = {
        "MODEL_PYTHON": sys.executable,
        "GRPC_PORT": "0",
        "LOG_LEVEL": "WARNING",
        "WORKERS": str(workers),
    }
    command = [python, str(directory / "src" / "inference_server.py")]
    return Recipe(name, title, lambda _: command, WIRES, environ)


def empty(directory: Path) -> Recipe:
    """An ASGI application that does nothing, on our server's uvicorn."""
    python = str(server_python(directory / "server-requirements.txt"))
    file = str(HERE / "empty_server.py")
    return Recipe(
        "empty",
        "empty ASGI app",
        lambda port: [python, file, str(port)],
        {"json": WIRES["json"]},
        {},
    )


class Server:
    """A server that runs, from `start` to `stop`."""

    def __init__(
        self, recipe: Recipe, process: "subprocess.Popen[bytes]", port: int, mark: str
    ) -> None:
        self.recipe = recipe
        self.port = port
        self.seconds = 0.0
        self._process = process
        self._mark = f"{MARK}={mark}".encode()

    @classmethod
    def start(cls, recipe: Recipe, directory: Path, body: Body) -> "Server":
        """Start it in a directory of its own, where its log is, and wait until it answers the request.

        Raises:
            Failed: it ended, or does not answer.
        """
        place = Path(tempfile.mkdtemp(dir=directory))
        mark = token_hex(8)
        port = free_port()
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environ = {
            **inherited,
            **recipe.environ,
            "PORT": str(port),
            "TMPDIR": str(place),
            MARK: mark,
        }
        with (place / "log").open("wb") as log:
            begin = time.perf_counter()
            process = subprocess.Popen(
                recipe.command(port),
                cwd=place,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        server = cls(recipe, process, port, mark)
        try:
            server._wait(body, begin, place / "log")
        except BaseException:
            server.stop()
            raise
        server.seconds = time.perf_counter() - begin
        return server

    def _wait(self, body: Body, begin: float, log: Path) -> None:
        refusal = "no answer"
        while True:
            try:
                self.post("json", body)
                return
            except Failed as error:
                refusal = str(error)
            except (OSError, http.client.HTTPException):
                pass
            if self._process.poll() is not None:
                raise Failed(f"it ended as it started: {_last(log)}")
            if time.perf_counter() - begin > START_SECONDS:
                raise Failed(f"it is not ready after {START_SECONDS} s ({refusal}): {_last(log)}")
            time.sleep(POLL_SECONDS)

    def url(self, wire: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.recipe.wires[wire].path}"

    def post(self, wire: str, body: Body) -> Any:
        """The predictions.

        Raises:
            Failed: the answer is an error.
        """
        parts = urllib.parse.urlsplit(self.url(wire))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request("POST", parts.path, body.content, dict(body.headers))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise Failed(_line(f"{answer.status}: {content.decode(errors='replace')}"))
        return self.recipe.wires[wire].decode(content, answer.headers)

    def memory(self) -> int:
        """Bytes of all its processes; a page that several share counts once (Pss, the proportional set size)."""
        return sum(map(proportional_bytes, self._processes()))

    def pause(self) -> None:
        """Take it off the processor, of which some take a tenth while nobody asks them."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all its processes at once: how a server ends is not measured here."""
        while self._signal(signal.SIGKILL):
            time.sleep(POLL_SECONDS)
        self._process.wait()

    def _signal(self, what: signal.Signals) -> set[int]:
        """Send it to all processes of the server; those."""
        numbers = self._processes()
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, what)
        return numbers

    def _processes(self) -> set[int]:
        """Those that bear the server's mark or are of its session, and all that came from them, as far as they run.

        The mark alone does not do: who writes a title for `ps` writes it over the environment.
        """
        parents = dict(filter(None, map(_ancestry, _numbers())))
        found = {number for number, (_, session) in parents.items() if session == self._process.pid}
        found |= {number for number in parents if self._mark in _environ(number)}
        while (
            more := {number for number, (parent, _) in parents.items() if parent in found} - found
        ):
            found |= more
        return found


def _numbers() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal()]


def _ancestry(number: int) -> tuple[int, tuple[int, int]] | None:
    """A process, its parent and its session; None where it has ended."""
    try:
        state, parent, _, session = (
            Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[:4]
        )
    except OSError:
        return None
    return None if state == "Z" else (number, (int(parent), int(session)))


def _environ(number: int) -> list[bytes]:
    try:
        return Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def proportional_bytes(number: int) -> int:
    try:
        text = Path(f"/proc/{number}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next(
        (int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:")), 0
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return _line(lines[-1]) if lines else "it said nothing"


def _line(text: str) -> str:
    return " ".join(text.split())[-300:]
