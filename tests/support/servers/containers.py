"""Containers of a scaffold's image, built by the commands that users paste, run as a strict
cluster would run them.

Every image and container that the tests make carries a label, by which it is removed at the end.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

import httpx
import pytest

LABEL = "scaffold.test"
BUILD_SECONDS = 600
READY_SECONDS = 60
HARDENED = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", "12345:0", "--memory", "1g", "--health-interval", "1s"),
)


@dataclass(frozen=True)
class Engine:
    """The Docker client, which labels what it makes.

    Attributes:
        label: the label, `KEY=VALUE`.
        environ: an environment in which `docker` is this client.
    """

    label: str
    environ: dict[str, str]

    def __call__(self, *arguments: str, timeout: float = 60) -> str:
        """What `docker ARGUMENTS` prints."""
        return self.shell(shlex.join(["docker", *arguments]), timeout).stdout.strip()

    def shell(
        self, command: str, timeout: float = BUILD_SECONDS
    ) -> "subprocess.CompletedProcess[str]":
        """Run a line as one pasted into a shell."""
        done = subprocess.run(
            ["sh", "-c", command],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done


def answers(client: str) -> bool:
    """Whether a Docker engine answers the client."""
    try:
        done = subprocess.run([client, "version"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def labelling(docker: str, directory: Path, value: str) -> Engine:
    """A client that labels with a value; a script in the directory stands for `docker`."""
    label = f"{LABEL}={value}"
    client = shlex.quote(shutil.which(docker) or docker)
    script = directory / "docker"
    script.write_text(
        "#!/bin/sh\ncommand=$1\nshift\ncase $command in\n"
        f'build | run) exec {client} $command --label {label} "$@" ;;\n'
        f'*) exec {client} $command "$@" ;;\nesac\n'
    )
    script.chmod(0o755)
    path = f"{directory}{os.pathsep}{os.environ['PATH']}"
    return Engine(label, {**os.environ, "DOCKER_BUILDKIT": "1", "PATH": path})


def remove(client: str, value: str) -> None:
    """Remove what carries the label with this value, where an engine answers."""
    mine = ("--filter", f"label={LABEL}={value}")

    def docker(*arguments: str) -> list[str]:
        return subprocess.run([client, *arguments], capture_output=True, text=True).stdout.split()

    with contextlib.suppress(OSError):
        if containers := docker("ps", "--all", "--quiet", *mine):
            docker("rm", "--force", "--volumes", *containers)
        if images := set(docker("images", "--quiet", *mine)):
            docker("rmi", "--force", *images)
            docker("image", "prune", "--force", *mine)


def require_buildkit(engine: Engine) -> None:
    """Skip where the client cannot build with BuildKit, as one without buildx; in CI it must."""
    try:
        engine.shell("printf 'FROM scratch\\nENV A=1\\n' | docker build --quiet -", timeout=60)
    except AssertionError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"the Docker client cannot build with BuildKit; DOCKER names another: {error}")


def compose_command(environ: dict[str, str]) -> list[str]:
    """Docker Compose as a plugin of the client or a program of its own; CI must have one."""
    if not subprocess.run(
        ["docker", "compose", "version"], env=environ, capture_output=True
    ).returncode:
        return ["docker", "compose"]
    if shutil.which("docker-compose", path=environ["PATH"]):
        return ["docker-compose"]
    if os.environ.get("CI"):
        pytest.fail("there is no Docker Compose, and CI is set")
    pytest.skip("there is no Docker Compose")


@dataclass(frozen=True)
class Container:
    """A container of the image."""

    engine: Engine
    name: str

    def inspect(self, field: str) -> str:
        return self.engine("inspect", "--format", f"{{{{{field}}}}}", self.name)

    @property
    def log(self) -> list[str]:
        done = self.engine.shell(f"docker logs {self.name} 2>&1", timeout=60)
        return done.stdout.splitlines()

    @property
    def url(self) -> str:
        """The address on this machine under which its port is published."""
        return "http://" + self.engine("port", self.name, "8080").splitlines()[0]

    @property
    def address(self) -> str:
        """Its own address, within reach of this machine where that runs Linux."""
        networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self.engine("inspect", "--format", networks, self.name)

    def wait_until(self, field: str, value: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while (found := self.inspect(field)) != value:
            assert time.monotonic() < deadline, f"{field} is {found}, not {value}\n" + "\n".join(
                self.log
            )
            time.sleep(0.2)


@contextmanager
def running(engine: Engine, image: str, *options: str) -> Iterator[Container]:
    """A container that is removed at the end, as `docker run` started it."""
    name = f"scaffold-test-{token_hex(4)}"
    try:
        engine("run", "--detach", "--publish", "127.0.0.1::8080", "--name", name, *options, image)
        yield Container(engine, name)
    finally:
        subprocess.run(
            ["docker", "rm", "--force", "--volumes", name], env=engine.environ, capture_output=True
        )


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx.get(f"{url}/v1/models/model", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, f"{url} did not become ready"
        time.sleep(0.05)
