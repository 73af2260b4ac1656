"""Measures the image of a scaffold of each framework and server: build, layers, start and memory.

    python benchmarks/images.py [sklearn] [keras] [pytorch] [--servers kserve standalone]

`DOCKER` in the environment names the Docker client. Each image is built without cached layers.
Packages come from the engine's download cache, or else from the network. A build cannot read a
folder of wheels on this machine, unless the base image holds it. The containers and images are
removed at the end, but not the engine's build cache.
"""

import argparse
import contextlib
import http.client
import os
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from models import MODELS

import generator

FRAMEWORKS = {"sklearn": MODELS["forest"], "keras": MODELS["keras"], "pytorch": MODELS["pytorch"]}
SERVERS = ("kserve", "standalone", "kfserving")
DOCKER = os.environ.get("DOCKER", "docker")
BUILD_SECONDS = 1800
READY_SECONDS = 120
STARTS = 5
POLL_SECONDS = 0.02
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Figures:
    """The figures of an image.

    Attributes:
        build: seconds of the build.
        image: bytes of the image.
        added: bytes that it adds to its base image.
        model: bytes of the site-packages in the model's environment.
        server: bytes of the site-packages in the server's environment.
        layers: bytes of each layer above the base image, with the command that made it.
        starts: seconds from `docker run` until the model is ready, for each start.
        memory: bytes that the processes of a container hold once it is ready, for each start.
            Pages that they share count once.
    """

    build: float
    image: int
    added: int
    model: int
    server: int
    layers: list[tuple[int, str]]
    starts: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Build and start the image of a scaffold of each framework."
    )
    parser.add_argument(
        "frameworks",
        nargs="*",
        metavar="FRAMEWORK",
        help=f"any of {', '.join(FRAMEWORKS)}; the default is all",
    )
    parser.add_argument(
        "--servers",
        nargs="+",
        default=["kserve"],
        choices=SERVERS,
        help="the servers, of which each has an image (kserve)",
    )
    given = parser.parse_args()
    chosen = given.frameworks or list(FRAMEWORKS)
    if unknown := [name for name in chosen if name not in FRAMEWORKS]:
        parser.error(f"{unknown[0]} is unknown: choose from {', '.join(FRAMEWORKS)}")
    results: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as images:
        tags = {}
        for name in chosen:
            if missing := FRAMEWORKS[name].missing:
                progress(f"{name} is left out: install {' and '.join(missing)}")
                continue
            for server in given.servers:
                one, place = f"{name}, {server}", Path(directory) / f"{name}-{server}"
                scaffold = generator.from_model(FRAMEWORKS[name].make(), place, server=server)
                tags[one], seconds = images.enter_context(built(scaffold, "--no-cache"))
                results[one] = sizes(tags[one], seconds)
        for turn in range(STARTS):  # side by side: the machine is not the same all the time
            progress(f"start {turn + 1} of {STARTS}")
            for one, tag in tags.items():
                start(tag, results[one])
    report(results)
    return int(not results)


def sizes(image: str, seconds: float) -> Figures:
    """The sizes of an image, whose build took these seconds."""
    size = image_size(image)
    return Figures(
        build=seconds,
        image=size,
        added=size - image_size(base()),
        model=packages_size(image, "/opt/model"),
        server=packages_size(image, "/opt/server"),
        layers=layers(image),
    )


@contextlib.contextmanager
def built(scaffold: generator.Scaffold, *options: str) -> Iterator[tuple[str, float]]:
    """Build the image of a scaffold. Gives its tag and the seconds, and removes it at the end.

    Args:
        options: further ones of `docker build`.
    """
    tag = f"scaffold-benchmark-{token_hex(6)}"
    command = [*shlex.split(scaffold.docker_build_string)[1:], *options, "-t", tag]
    progress(f"docker {shlex.join(command)}")
    start = time.perf_counter()
    try:
        docker(*command, timeout=BUILD_SECONDS)
        yield tag, time.perf_counter() - start
    finally:
        remove("rmi", "--force", tag)


def image_size(image: str) -> int:
    """The bytes of an image. It is pulled first if only BuildKit has it."""
    try:
        return int(docker("image", "inspect", "--format", "{{.Size}}", image))
    except SystemExit:
        docker("pull", image, timeout=BUILD_SECONDS)
        return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def base() -> str:
    """The image that an image of this Python's begins with."""
    return "python:{}.{}-slim".format(*sys.version_info)


def packages_size(image: str, environment: str) -> int:
    """The bytes of the files in an environment's site-packages."""
    command = f"du -s --bytes {environment}/lib/python*/site-packages"
    return int(docker("run", "--rm", "--entrypoint", "sh", image, "-c", command).split()[0])


def layers(image: str) -> list[tuple[int, str]]:
    """The layers above the base image that hold something, the lowest first."""
    form = "{{.Size}} {{.CreatedBy}}"
    history = ("history", "--human=false", "--no-trunc", "--format", form)
    below = len(docker(*history, base()).splitlines())
    lines = docker(*history, image).splitlines()[::-1][below:]
    found = [(int(size), command) for size, _, command in (line.partition(" ") for line in lines)]
    return [(size, command) for size, command in found if size]


def start(image: str, figures: Figures) -> None:
    """Start a container, and add what it took to the figures."""
    with started(image) as (name, _, seconds):
        command = "cat /proc/[0-9]*/smaps_rollup 2> /dev/null | grep ^Pss:"
        listed = docker("exec", name, "sh", "-c", command).splitlines()
        figures.starts.append(seconds)
        figures.memory.append(sum(int(line.split()[1]) * 1024 for line in listed))


@contextlib.contextmanager
def started(image: str) -> Iterator[tuple[str, str, float]]:
    """A container, which is removed at the end.

    Yields:
        Its name, its URL, and the seconds until it was ready.
    """
    port = free_port()
    name = f"scaffold-benchmark-{token_hex(6)}"
    begin = time.perf_counter()
    try:
        docker("run", "--detach", "--publish", f"127.0.0.1:{port}:8080", "--name", name, image)
        while not is_ready(f"http://127.0.0.1:{port}/v1/models/model"):
            if time.perf_counter() - begin > READY_SECONDS:
                raise SystemExit(f"the container did not become ready: {docker('logs', name)}")
            time.sleep(POLL_SECONDS)
        yield name, f"http://127.0.0.1:{port}", time.perf_counter() - begin
    finally:
        remove("rm", "--force", "--volumes", name)


def is_ready(url: str) -> bool:
    try:
        with LOCAL.open(url, timeout=5):
            return True
    except (OSError, http.client.HTTPException):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def docker(*arguments: str, timeout: float = 60) -> str:
    """Run the Docker client and return its output.

    Raises:
        SystemExit: the command failed.
    """
    environ = {**os.environ, "DOCKER_BUILDKIT": "1"}
    done = subprocess.run(
        [DOCKER, *arguments], env=environ, capture_output=True, text=True, timeout=timeout
    )
    if done.returncode:
        raise SystemExit(
            f"{DOCKER} {shlex.join(arguments)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout.strip()


def remove(*arguments: str) -> None:
    """Run a command that removes something. It may not exist."""
    subprocess.run([DOCKER, *arguments], capture_output=True, timeout=60)


def report(results: dict[str, Figures]) -> None:
    """Print the results as a table."""
    form = "{:<19} {:>8} {:>9} {:>9} {:>13} {:>14} {:>9} {:>10}   {}"
    columns = (
        "build, s",
        "image, MB",
        "added, MB",
        "model env, MB",
        "server env, MB",
        "ready, s",
        "memory, MB",
        "each start, s",
    )
    print()
    print(form.format("framework", *columns))
    for name, one in results.items():
        held = [f"{size / 1e6:.0f}" for size in (one.image, one.added, one.model, one.server)]
        ready = f"{statistics.median(one.starts):.2f}"
        memory = f"{statistics.median(one.memory) / 1e6:.0f}"
        starts = ", ".join(f"{seconds:.2f}" for seconds in one.starts)
        print(form.format(name, f"{one.build:.0f}", *held, ready, memory, starts))
    for name, one in results.items():
        print(f"\n{name}, layers above the base image, MB")
        for size, command in one.layers:
            print(f"{size / 1e6:>8.2f}  {' '.join(command.split())[:90]}")


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
