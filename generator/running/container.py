"""Runs a scaffold's image in a container on this machine, for the time of a `with` block."""

import contextlib
import os
import re
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ..errors import ServingError
from ..progress import step
from .server import LOCAL

POLL_SECONDS = 0.1
MAX_REASON_LENGTH = 600
FIRST_WITH_BUILDKIT = 23
VERSION_SECONDS = 5
OFF = ("0", "f", "false")  # as Go reads it
ERROR = re.compile(r"(?m)^(?:#\d+ )?(?:[\d.]+ )?error: (.+)$")
"""An error that a step of the Dockerfile prints, behind the step's number and time."""


@contextlib.contextmanager
def running(
    directory: Path, dockerfile: str, name: str, patience: float, on_gpu: bool = False
) -> Iterator[str]:
    """Build the image and run it for as long as the block lasts; its layers stay cached.

    `DOCKER` in the environment names the client, by default `docker`.

    Args:
        directory: the scaffold's.
        dockerfile: the Dockerfile's name in it.
        name: the model's name.
        patience: seconds to wait until the model is ready.
        on_gpu: whether the container is given this machine's GPUs.

    Yields:
        The address, `http://127.0.0.1:PORT`.

    Raises:
        ServingError: there is no Docker, the image cannot be built, or it does not become ready.
    """
    with _image(directory, directory / dockerfile) as image, _container(image, on_gpu) as container:
        url = "http://" + _docker("port", container, "8080").splitlines()[0]
        with step("Starting the container"):
            _wait_until_ready(container, f"{url}/v1/models/{name}", patience)
        yield url


def uses_buildkit() -> bool:
    """Whether `docker build`, as it is typed here, builds with BuildKit, which a Dockerfile needs.

    Clients do by default since 23. Where there is no client, the newest is assumed.
    """
    if said := os.environ.get("DOCKER_BUILDKIT"):
        return said.lower() not in OFF
    try:
        done = subprocess.run(
            [_client(), "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    version = re.match(r"Docker version (\d+)\.", done.stdout)
    return version is None or int(version[1]) >= FIRST_WITH_BUILDKIT


@contextlib.contextmanager
def _image(directory: Path, dockerfile: Path) -> Iterator[str]:
    image = f"scaffold-verify:{secrets.token_hex(6)}"
    with step(f"Building the image of {directory} (a minute or more the first time)"):
        _docker("build", "--quiet", "--file", str(dockerfile), "--tag", image, str(directory))
    try:
        yield image
    finally:
        _docker("rmi", image)


@contextlib.contextmanager
def _container(image: str, on_gpu: bool) -> Iterator[str]:
    settings = ("--env", "PORT=8080", "--env", "GRPC_PORT=0", "--publish", "127.0.0.1::8080")
    devices = ("--gpus", "all") if on_gpu else ()
    container = _docker("run", "--detach", *settings, *devices, image)
    try:
        yield container
    finally:
        _docker("rm", "--force", "--volumes", container)


def post(url: str, body: bytes, seconds: float) -> tuple[int, bytes]:
    """Post JSON. Returns the status and the body of the answer.

    Raises:
        ServingError: there was no answer.
    """
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with LOCAL.open(request, timeout=seconds) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        raise ServingError(f"the container does not answer: {error}") from error


def _wait_until_ready(container: str, url: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), LOCAL.open(url, timeout=5):
            return
        if _docker("inspect", "--format", "{{.State.Running}}", container) != "true":
            raise ServingError(f"the container did not start: {_last_error(container)}")
        time.sleep(POLL_SECONDS)
    raise ServingError(
        f"the container did not become ready within {patience:g} s: raise load_timeout_seconds in"
        " config.yaml, or make load() faster"
    )


def _last_error(container: str) -> str:
    """The error that the server printed last, else the last line of its log."""
    done = subprocess.run([_client(), "logs", container], capture_output=True, text=True)
    lines = done.stderr.splitlines() + done.stdout.splitlines()
    reasons = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (reasons or lines or ["its log is empty"])[-1]


def _client() -> str:
    return os.environ.get("DOCKER") or "docker"


def _docker(*arguments: str) -> str:
    """The output of `docker ARGUMENTS`.

    Raises:
        ServingError: there is no such client, or the command fails.
    """
    client, environ = _client(), {**os.environ, "DOCKER_BUILDKIT": "1"}
    try:
        done = subprocess.run(
            [client, *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environ,
        )
    except OSError as error:
        raise ServingError(
            f"{client!r} cannot be run: {error.strerror}; install Docker, or set DOCKER in the"
            " environment to the client to use"
        ) from error
    if done.returncode:
        named = ERROR.findall(done.stderr)
        said = named[-1][:MAX_REASON_LENGTH] if named else done.stderr
        reason = " ".join(said.split())[-MAX_REASON_LENGTH:]
        raise ServingError(
            f"{client} {arguments[0]} failed: {reason or f'exit status {done.returncode}'}"
        )
    return done.stdout.strip()
