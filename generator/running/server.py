"""Runs a scaffold's server as a process on this machine, without Docker."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import layout
from ..arguments import argument
from ..common import PORT_VARIABLES, Lifeline, guardian
from ..environment.venvs import server_python
from ..errors import ServingError
from .log_lines import show
from .runtime import Config, has_page

POLL_SECONDS = 0.05
STOP_SECONDS = 10  # beside a call of predict
LOG_LINES = 50
# How a server that nobody else started is told of another port.
SERVERS_FIX = re.compile(r"set PORT\b.* in the environment, or the port in config\.yaml$")
EVERY_ADDRESS = ("0.0.0.0", "::")
# Without the proxies that the environment names: they cannot reach this machine's ports.
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        url: its address, `http://127.0.0.1:PORT`.
        predict_url: where to post JSON.
        page_url: a page to try the model; None where `serving.page` is false, or not known.
        process: the server's process.
    """

    url: str
    predict_url: str
    page_url: str | None
    process: "subprocess.Popen[str]"


@contextlib.contextmanager
def serve(
    directory: Path,
    config: Config,
    port: int = 8080,
    host: str = "127.0.0.1",
    reload: bool = False,
) -> Iterator[Server]:
    """Serve the scaffold in a directory until the block ends.

    Args:
        directory: the scaffold's.
        config: what its `config.yaml` says.
        port: the port to serve on; 0 takes a free one.
        host: the address to listen on.
        reload: whether to load the model again when a file under `src/` changes.

    Raises:
        ServingError: the server did not become ready; the message has its reason.
    """
    port = _port(host, port)
    python = server_python(directory / layout.SERVER_REQUIREMENTS)
    defaults = {"MODEL_PYTHON": sys.executable, "GRPC_PORT": "0", "LOG_LEVEL": "WARNING"}
    ports = dict.fromkeys(PORT_VARIABLES, "")  # of the platform that this runs on, if it is one
    environ = {**defaults, **os.environ, **ports, "PORT": str(port), "LISTEN_ADDRESS": host}
    if reload:
        environ["RELOAD"] = "1"
    lifeline = Lifeline()
    under_guard = [sys.executable, "-I", "-S", guardian.__file__, str(lifeline.reading)]
    process = subprocess.Popen(
        [*under_guard, str(python), str(directory / layout.INFERENCE_SERVER)],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        pass_fds=[lifeline.reading],
    )
    os.close(lifeline.reading)
    log: deque[str] = deque(maxlen=LOG_LINES)
    ready = threading.Event()
    reader = threading.Thread(target=_forward, args=(process, log, ready), daemon=True)
    reader.start()
    url = f"http://{_reached(host)}:{port}"
    try:
        _wait_until_ready(process, reader, log, f"{url}/v1/models/{config.name}")
        ready.set()
        page = f"{url}/" if has_page(config) else None
        yield Server(url, f"{url}/v1/models/{config.name}:predict", page, process)
    finally:
        _stop(process, config.serving.predict_timeout_seconds + STOP_SECONDS)
        lifeline.close()
        reader.join(timeout=1)
        if process.stderr is not None:
            process.stderr.close()


def _forward(process: "subprocess.Popen[str]", log: "deque[str]", ready: threading.Event) -> None:
    """Print the server's log, and keep its last lines for an error message."""
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line.strip())
        if line.startswith("error: ") and not ready.is_set():
            continue
        with contextlib.suppress(ValueError, OSError):  # stderr is closed: keep reading the pipe
            show(line, sys.stderr)


def _wait_until_ready(
    process: "subprocess.Popen[str]", reader: threading.Thread, log: "deque[str]", url: str
) -> None:
    while True:
        if process.poll() is not None:
            reader.join(timeout=1)
            raise ServingError(f"the server did not start: {_reason(process, log)}")
        with contextlib.suppress(OSError), LOCAL.open(url, timeout=5):
            return
        time.sleep(POLL_SECONDS)


def _reason(process: "subprocess.Popen[str]", log: "deque[str]") -> str:
    """The last error that the server printed, else its last line, else its exit status."""
    errors = [line.removeprefix("error: ") for line in log if line.startswith("error: ")]
    reason = (errors or list(log) or [f"exit status {process.returncode}"])[-1]
    return SERVERS_FIX.sub(lambda _: _another(), reason)


def _another() -> str:
    """What to do where a port cannot be taken."""
    port, host = argument("port"), argument("host")
    return f"pass another {port} (0 takes a free one), or another {host}"


def _stop(process: "subprocess.Popen[str]", seconds: float) -> None:
    """Ask the server to stop. It first answers the requests that it has accepted."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reached(host: str) -> str:
    """The address in a URL: this machine's own where the server listens on every address."""
    if host in EVERY_ADDRESS:
        return "127.0.0.1"
    if ":" in host:
        return f"[{host}]"
    return host


def _port(host: str, wanted: int) -> int:
    """The port, after a check that it is free; a free one for 0.

    Raises:
        ServingError: it is not free, or not a port number, or the host is not this machine's.
            Without this check, another server at the port could be mistaken for this one.
    """
    try:
        family = socket.AF_INET
        if ":" in host:
            family = socket.AF_INET6
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, wanted))
            return int(probe.getsockname()[1])
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "a port is a number from 0 to 65535"
        raise ServingError(
            f"port {wanted} cannot be taken on {host}: {reason}; {_another()}"
        ) from error
