"""Servers as processes: ours, the peers in their cached environments, and those that are limits.

A variable in the environment marks all processes of a server, even those whose parent has ended.
Their memory and their processor time are added up, and all of them are stopped. This needs Linux's
/proc.
"""

import ast
import contextlib
import http.client
import os
import shutil
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
from packaging.requirements import Requirement
from wires import PROTOCOLS, WIRES, Body, Wire

from generator.environment.venvs import RUNNING, cached, install_requirements, server_python
from generator.errors import ServingError

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
SHARED = ("batching", "predictor")  # modules in PEERS that are no peers
LIMITS = HERE / "limits"
MARK = "SCAFFOLD_BENCHMARK"
START_SECONDS = 120
ANSWER_SECONDS = 60
POLL_SECONDS = 0.02


class Failed(Exception):
    """A server did not start or did not answer. The message is one line."""


@dataclass(frozen=True)
class Recipe:
    """How to start a server.

    Attributes:
        name: its name in results: "mosec_server", or with a variant "mosec_server/no batching".
        title: its name in tables.
        command: returns the command for a port.
        wires: the requests that it takes, by name.
        environ: its additional environment variables.
    """

    name: str
    title: str
    command: Callable[[int], list[str]]
    wires: dict[str, Wire]
    environ: dict[str, str]


@dataclass(frozen=True)
class Peer:
    """Another model server, described by the constants at the top of its file in `peers/`.

    They are TITLE, PROTOCOL (a key of `wires.PROTOCOLS`) and REQUIREMENTS (besides the model's
    framework). Optional are ALONE (requirements to install without their dependencies), LOCK (a
    file of such requirements), FRAMEWORKS (those that it serves) and VARIANTS (environment
    variables by the name of a variant, of which the best counts in each case).

    Attributes:
        file: the program. Its arguments are the model's file and a port.
        facts: the constants by name.
    """

    file: Path
    facts: dict[str, Any]

    @classmethod
    def read(cls, file: Path) -> "Peer":
        """Read the constants of a file. It is not imported: its packages are not installed here."""
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
        names = ("TITLE", "PROTOCOL", "REQUIREMENTS", "ALONE", "LOCK", "FRAMEWORKS", "VARIANTS")
        return cls(file, {name: ast.literal_eval(values[name]) for name in names if name in values})

    @property
    def variants(self) -> dict[str, dict[str, str]]:
        """The environment variables of each variant. The name of an only one is empty."""
        return dict(self.facts.get("VARIANTS", {"": {}}))

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

        A package has the version of the running environment, unless REQUIREMENTS names it.

        Raises:
            Failed: the environment cannot be made.
        """
        own = self.facts["REQUIREMENTS"]
        named = {Requirement(one).name for one in own}
        pins = [pin for pin in model.pins if Requirement(pin).name not in named]
        wanted = "\n".join([*own, *pins, "numpy"])
        lock = self._lock()
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

    def _lock(self) -> str:
        if "LOCK" not in self.facts:
            return ""
        return (HERE.parent / self.facts["LOCK"]).read_text()


def peers() -> dict[str, Peer]:
    """The peers, by the names of their files in `peers/`."""
    files = (file for file in sorted(PEERS.glob("*.py")) if file.stem not in SHARED)
    return {file.stem: Peer.read(file) for file in files}


def of_peer(name: str, peer: Peer, model: Model, file: Path) -> list[Recipe]:
    """How to start a peer with a model's file, in each of its variants.

    Raises:
        Failed: its environment cannot be made.
    """
    python = str(peer.python(model))
    wires = {"json": PROTOCOLS[peer.facts["PROTOCOL"]]}
    environ = {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    if hasattr(model.inputs(1), "columns"):
        environ["COLUMNS"] = "1"  # BentoML declares the type of its rows
    return [
        Recipe(
            "/".join(filter(None, [name, variant])),
            titled(peer, variant),
            lambda port: [python, str(peer.file), str(file), str(port)],
            wires,
            {**environ, **variables},
        )
        for variant, variables in peer.variants.items()
    ]


def titled(peer: Peer, variant: str) -> str:
    return ", ".join(filter(None, [peer.title, variant]))


def titles(chosen: dict[str, Peer]) -> dict[str, str]:
    """The titles of all variants of peers, by the names of their recipes."""
    return {
        "/".join(filter(None, [name, variant])): titled(peer, variant)
        for name, peer in chosen.items()
        for variant in peer.variants
    }


def ours(directory: Path, workers: int = 1, name: str = "ours", title: str = "ours") -> Recipe:
    """How to start a scaffold's server, with its model in the running environment."""
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
    """How to start an ASGI application that does nothing, on our server's uvicorn."""
    python = str(server_python(directory / "server-requirements.txt"))
    file = str(LIMITS / "empty_server.py")
    return _limit("empty", lambda port: [python, file, str(port)])


def nginx(directory: Path) -> Recipe:
    """How to start nginx with a fixed answer. It writes beside the scaffold's `directory`.

    Raises:
        Failed: nginx is not installed.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise Failed("nginx is not installed: `apt-get install nginx-light`")
    prefix = Path(tempfile.mkdtemp(dir=directory.parent))

    def command(port: int) -> list[str]:
        file = prefix / "nginx.conf"
        file.write_text((LIMITS / file.name).read_text().replace("PORT", str(port)))
        return [program, "-p", str(prefix), "-c", str(file), "-e", "stderr"]

    return _limit("nginx", command)


def epoll(directory: Path) -> Recipe:
    """How to start the server in C. It is compiled to a file beside the scaffold's `directory`.

    Raises:
        Failed: there is no compiler, or it fails.
    """
    if shutil.which("cc") is None:
        raise Failed("cc is not installed: `apt-get install gcc libc6-dev`")
    program = str(directory.parent / "epoll")
    compiler = ["cc", "-O2", "-o", program, str(LIMITS / "epoll.c")]
    done = subprocess.run(compiler, capture_output=True, text=True)
    if done.returncode:
        raise Failed(_line(done.stderr))
    return _limit("epoll", lambda port: [program, str(port)])


def _limit(name: str, command: Callable[[int], list[str]]) -> Recipe:
    return Recipe(name, FIXED_ANSWER_TITLES[name], command, {"json": WIRES["json"]}, {})


FIXED_ANSWERS = {"empty": empty, "nginx": nginx, "epoll": epoll}
FIXED_ANSWER_TITLES = {
    "empty": "limit: empty ASGI app",
    "nginx": "limit: nginx, return 200",
    "epoll": "limit: epoll in C",
}


class Server:
    """A running server, from `start` to `stop`."""

    def __init__(
        self,
        recipe: Recipe,
        process: "subprocess.Popen[bytes]",
        port: int,
        mark: str,
        place: Path,
    ) -> None:
        self.recipe = recipe
        self.port = port
        self.seconds = 0.0
        self._place = place
        self._process = process
        self._mark = f"{MARK}={mark}".encode()

    @classmethod
    def start(cls, recipe: Recipe, directory: Path, body: Body) -> "Server":
        """Start a server in a new directory, which holds its log, and wait until it answers.

        Raises:
            Failed: it ended, or it does not answer in time.
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
        server = cls(recipe, process, port, mark, place)
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
                raise Failed(f"it ended during its start: {_last(log)}")
            if time.perf_counter() - begin > START_SECONDS:
                raise Failed(f"it is not ready after {START_SECONDS} s ({refusal}): {_last(log)}")
            time.sleep(POLL_SECONDS)

    def url(self, wire: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.recipe.wires[wire].path}"

    def post(self, wire: str, body: Body) -> Any:
        """Send a request and return the predictions.

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
        """The memory of all its processes in bytes. Shared pages count once (Pss)."""
        return sum(map(proportional_bytes, self._processes()))

    def processor_seconds(self) -> float:
        """The time that its processes have used so far, in user mode and in the kernel."""
        return sum(map(_ticks, self._processes())) / os.sysconf("SC_CLK_TCK")

    def log_lines(self) -> int:
        """The lines in all files of its directory that are named as logs."""
        files = (file for file in self._place.rglob("*log*") if file.is_file())
        return sum(file.read_bytes().count(b"\n") for file in files)

    def pause(self) -> None:
        """Stop its processes: some idle servers use a tenth of a core."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill all its processes. A clean shutdown is not measured."""
        while self._signal(signal.SIGKILL):
            time.sleep(POLL_SECONDS)
        self._process.wait()

    def _signal(self, what: signal.Signals) -> set[int]:
        """Send a signal to all processes of the server, and return their numbers."""
        numbers = self._processes()
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, what)
        return numbers

    def _processes(self) -> set[int]:
        """The running processes with the server's mark or in its session, and their descendants.

        The mark alone is not enough: a process that sets its title for `ps` overwrites it.
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
    """A process with its parent and its session, or None if it has ended."""
    try:
        state, parent, _, session = (
            Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[:4]
        )
    except OSError:
        return None
    if state == "Z":
        return None
    return number, (int(parent), int(session))


def _ticks(number: int) -> int:
    """The processor time of a process and of its children that have ended, in clock ticks."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def _environ(number: int) -> list[bytes]:
    try:
        return Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def proportional_bytes(number: int) -> int:
    """The proportional set size (Pss) of a process in bytes, 0 if it has ended."""
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
    """The last line of a log."""
    lines = log.read_text(errors="replace").split("\n")
    return next((_line(line) for line in reversed(lines) if line.strip()), "its log is empty")


def _line(text: str) -> str:
    return " ".join(text.split())[-300:]
