"""Servers of a test's own: the scaffold is edited, its server a process, its log in a file."""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from common.config import Config, Serving
from generator.environment.venvs import server_python
from generator.scaffold import Scaffold

TEMPLATE = Path(__file__).resolve().parents[3] / "template"
LOCKS = {
    server: TEMPLATE / f"{{% if server == '{server}' %}}server-requirements.txt{{% endif %}}"
    for server in ("kserve", "standalone", "kfserving")
}
PATIENCE = 60  # seconds after which something hangs
_PORTS = itertools.count(20000 + os.getpid() * 97 % 12000)  # each process has some of its own
PREDICT = "/v1/models/model:predict"
BINARY = "/v1/models/model:predict_binary"


def copied(scaffold: Scaffold, directory: Path, code: str | None = None, **knobs: Any) -> Path:
    """A copy of a scaffold with other settings and, where given, another inference_model.py."""
    shutil.copytree(scaffold.directory, directory)
    configure(directory, **knobs)
    if code is not None:
        (directory / "src" / "server" / "inference_model.py").write_text(code)
    return directory


def configure(directory: Path, **knobs: Any) -> None:
    """Set what `config.yaml` writes as `key: value` on one line."""
    file = directory / "config.yaml"
    text = file.read_text()
    for key, value in knobs.items():
        text, found = re.subn(rf"(?m)^(\s*{key}:).*$", rf"\g<1> {json.dumps(value)}", text)
        assert found == 1, key
    file.write_text(text)


def settings(scaffold: Scaffold) -> Serving:
    """A scaffold's `serving` settings."""
    return Config.read(scaffold.directory / "config.yaml", {}).serving


def free_port() -> int:
    """A port that is free, and that no other process of the run is given meanwhile.

    It lies below those that Linux takes by itself, from 32768 on.
    """
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def launch(
    directory: Path, port: int, log: Path, arguments: Sequence[str] = (), **environ: str
) -> "subprocess.Popen[bytes]":
    """Start the server of a scaffold; standard error goes to a file."""
    python = server_python(directory / "server-requirements.txt")
    settings = {
        **os.environ,
        "MODEL_PYTHON": sys.executable,
        "GRPC_PORT": "0",
        "PORT": str(port),
        **environ,
    }
    with log.open("wb") as stream:
        command = [str(python), str(directory / "src" / "inference_server.py"), *arguments]
        return subprocess.Popen(command, env=settings, stderr=stream, start_new_session=True)


@dataclass
class Running:
    """A server that runs."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    grpc_port: int

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)

    def ready(self) -> bool:
        try:
            return (
                httpx.get(
                    f"{self.url}/v1/models/model", timeout=PATIENCE, trust_env=False
                ).status_code
                == 200
            )
        except httpx.TransportError:
            return False

    def lines(self) -> list[dict[str, Any]]:
        """The log, a JSON object a line."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a figure's samples with these labels."""
        with self.client() as client:
            return metric(client, name, **labels)

    def workers(self) -> list[int]:
        """The process ids of the workers."""
        listing = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        )
        rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
        return [
            int(pid)
            for pid, parent, args in (row for row in rows if len(row) == 3)
            if int(parent) == self.process.pid and "common.worker" in args
        ]


@contextlib.contextmanager
def serving(
    directory: Path,
    host: str = "127.0.0.1",
    arguments: Sequence[str] = (),
    port: int | None = None,
    **environ: str,
) -> Iterator[Running]:
    """Serve a scaffold's directory until the block ends, at a port of its own if none is named."""
    port = port or free_port()
    log = directory.parent / f"{directory.name}-{port}.log"
    process = launch(directory, port, log, arguments, **environ)
    running = Running(f"http://{host}:{port}", process, log, int(environ.get("GRPC_PORT", "0")))
    try:
        until(lambda: process.poll() is not None or running.ready(), "the server is ready")
        assert process.poll() is None, log.read_text()[-3000:]
        yield running
    finally:
        end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End a server and what it has started."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until something is so; a hang is an error."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not come about that {what}"
        time.sleep(0.05)


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What a function returns for 0 to count - 1, called at once in a thread each."""
    barrier = threading.Barrier(count)

    def begin(index: int) -> Any:
        barrier.wait(PATIENCE)
        return work(index)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(begin, range(count)))
