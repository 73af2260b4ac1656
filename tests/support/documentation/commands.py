"""Runs the commands of console blocks, and keeps the servers among them running."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from support.documentation.comparing import difference, matches

DISTRIBUTION = "scaffold-generator"
PORT = "8080"  # on every page
SERVERS = re.compile(r"\bserve\b|\bdocker run\b|\bcompose up\b|\binference_server\.py\b")
SERVE = re.compile(r"(?:\bscaffold|python -m generator) serve\b")
INSTALL = re.compile(r"(?:python -m |uv )?pip install\b")
COMMAND_SECONDS = 500
STOP_SECONDS = 30
POLL_SECONDS = 0.1


class Failure(AssertionError):
    """An example did something else than its page says."""


def parse(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that the page shows."""
    command, shown = "", []
    for line in block.splitlines():
        if command.endswith("\\"):
            command += f"\n{line}"
        elif line.startswith("$ "):
            if command:
                yield command, "\n".join(shown)
            command, shown = line[2:], []
        elif command:
            shown.append(line)
        else:
            raise Failure(f"a console block begins with a line '$ COMMAND', not with {line!r}")
    if command:
        yield command, "\n".join(shown)


def check_installs(command: str) -> None:
    """Check what `pip install` names, which is not run.

    It may name this distribution, the directory `.`, and packages that are installed.
    """
    words = shlex.split(command, comments=True)
    for word in words[words.index("install") + 1 :]:
        if word == "." or word.startswith("-"):
            continue
        name = Requirement(word).name
        if name != DISTRIBUTION:
            try:
                metadata.distribution(name)
            except metadata.PackageNotFoundError as error:
                raise Failure(
                    f"{command}: {name} is not installed: add it to pyproject.toml"
                ) from (error)


class Commands:
    """The commands of a page, which run in one directory.

    `cd` counts for the commands after it. A server takes the place of the one before, and the last
    one runs until `close`.

    Args:
        directory: the working directory of the first.
        environ: the environment of all.
        port: the free port that takes the place of 8080.
    """

    def __init__(self, directory: Path, environ: Mapping[str, str], port: int) -> None:
        self._directory = directory
        self._environ = {**environ}
        self._port = port
        self._running: subprocess.Popen[bytes] | None = None

    def run(self, command: str, shown: str) -> None:
        """Run a command, and compare its output if the page shows some.

        Raises:
            Failure: it failed, or printed something else.
        """
        if INSTALL.match(command):
            check_installs(command)
            return
        is_server = SERVERS.search(command) is not None
        if is_server:
            self.close()
        with tempfile.TemporaryDirectory() as place:
            output, here = Path(place) / "output", Path(place) / "here"
            process = self._started(command, output, here)
            try:
                self._wait(process, command, shown, output, is_server)
            except BaseException:
                _stop(process)
                raise
            if process.returncode is None:
                self._running = process
            else:
                _stop(process)  # what it has left in the background
                self._directory = Path(here.read_text().strip())

    def close(self) -> None:
        """Stop the server that runs, and its children."""
        if self._running is not None:
            _stop(self._running)
            self._running = None

    def _started(self, command: str, output: Path, here: Path) -> "subprocess.Popen[bytes]":
        command = with_port(command, self._port)
        if SERVE.search(command) and "--port" not in command:
            command += f" --port {self._port}"
        script = (
            f"set -o pipefail\n{command}\nstatus=$?; pwd > {shlex.quote(str(here))}; exit $status"
        )
        with output.open("wb") as file:
            return subprocess.Popen(
                ["bash", "-c", script],
                cwd=self._directory,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait(
        self,
        process: "subprocess.Popen[bytes]",
        command: str,
        shown: str,
        output: Path,
        is_server: bool,
    ) -> None:
        """Wait for a command's end; for a server until it is ready and printed what is shown."""
        end = time.monotonic() + COMMAND_SECONDS
        while time.monotonic() < end:
            status = process.poll()
            printed = with_port(output.read_text(errors="replace"), PORT, self._port)
            is_shown = not shown or matches(shown, printed)
            if status is not None:
                if status:
                    raise Failure(f"$ {command}\nexit status {status}\n{printed[-3000:]}")
                if not is_shown:
                    raise Failure(f"$ {command}\n{difference(shown, printed)}")
                return
            if is_server and is_shown and is_ready(self._port):
                return
            time.sleep(POLL_SECONDS)
        raise Failure(
            f"$ {command}\nneither ended nor served in {COMMAND_SECONDS} seconds:\n{printed}"
        )


def with_port(text: str, port: "int | str", old: "int | str" = PORT) -> str:
    """A text with another port. A container's own, the second in 8080:8080, stays."""
    return re.sub(rf"(?<!{old}:)\b{old}\b", str(port), text)


def is_ready(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{port}/readyz", timeout=5
        ),
    ):
        return True
    return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a command as Ctrl-C does, and then whatever is left of its process group."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
