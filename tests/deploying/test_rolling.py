"""A rolling replacement under load, as Kubernetes does it with `deploy/kubernetes.yaml`."""

import dataclasses
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from generator.scaffold import Scaffold
from support.servers.cluster import Manifest, deployed, find_nginx
from support.servers.containers import Engine
from support.servers.running import PATIENCE, PREDICT, configure, until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.sweep,
    pytest.mark.skipif(
        sys.platform != "linux", reason="elsewhere a container's own address is out of reach"
    ),
]

CLIENTS = 4  # of each kind
PAUSE = 0.05  # seconds between requests, so that two cores can start containers meanwhile
Replace = Callable[..., tuple["Load", list[str]]]


@dataclass
class Load:
    """What clients saw that sent requests all the time.

    Attributes:
        failures: the requests without status 200 or without the right predictions.
        answers: the number of answers of each server. A request id starts with its server's name.
        leaving: the servers that closed connections of clients.
    """

    failures: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    leaving: set[str] = field(default_factory=set)


@contextmanager
def asking(url: str, rows: Any, expected: Any) -> Iterator[Load]:
    """Send requests all the time, without retries.

    Half of the clients keep their connection, half use a new one for each request.
    """
    load, stop = Load(), threading.Event()

    def ask(index: int) -> None:
        body = {"instances": rows[index : index + 3].tolist()}
        right = {"predictions": expected[index : index + 3].tolist()}
        kept = index % 2
        kind = ("new", "old")[kept]
        with httpx.Client(
            limits=httpx.Limits(max_keepalive_connections=kept), timeout=20, trust_env=False
        ) as client:
            while not stop.wait(PAUSE):
                try:
                    answer = client.post(f"{url}{PREDICT}", json=body)
                    assert (answer.status_code, answer.json()) == (200, right), answer.text
                except (httpx.HTTPError, AssertionError) as error:
                    load.failures.append(f"{kind} connection: {error!r}")
                else:
                    server = answer.headers["x-request-id"].partition("-")[0]
                    load.answers[server] += 1
                    if answer.headers.get("connection") == "close":
                        load.leaving.add(server)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(2 * CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of nginx, for a TCP proxy. In CI it must be installed."""
    found = find_nginx()
    if found is None and os.environ.get("CI"):
        pytest.fail("nginx with its stream module is not installed, and CI is set")
    if found is None:
        pytest.skip(
            "nginx with its stream module is not installed (Debian: nginx, libnginx-mod-stream)"
        )
    return found


@pytest.fixture
def manifest(scaffold: Scaffold) -> Manifest:
    return Manifest.read(scaffold.directory / "deploy" / "kubernetes.yaml")


@pytest.fixture
def replace(
    engine: Engine,
    image: str,
    manifest: Manifest,
    nginx: str,
    forest: Any,
    iris: Any,
    tmp_path: Path,
) -> Replace:
    """Replaces all containers under load.

    Returns what the clients saw, and the exit statuses of the old containers.
    """
    rows = iris[0][::12]
    expected = forest.predict(rows)

    def replaced(
        replicas: int, *options: str, manifest: Manifest = manifest
    ) -> tuple[Load, list[str]]:
        with deployed(engine, image, manifest, nginx, tmp_path) as deployment:
            deployment.start(replicas, *options)
            with asking(deployment.proxy.url, rows, expected) as load:
                until(lambda: len(load.answers) == replicas, "every container has answered")
                old = deployment.replace(*options)
                until(lambda: len(load.answers) == 2 * replicas, "every new container has answered")
            return load, [pod.container.inspect(".State.ExitCode") for pod in old]

    return replaced


def test_a_rolling_replacement_under_load_fails_no_request(
    replace: Replace, manifest: Manifest
) -> None:
    load, statuses = replace(manifest.replicas)
    assert load.failures == []
    assert statuses == ["0"] * manifest.replicas
    assert len(load.leaving) == manifest.replicas


def test_a_rolling_replacement_without_its_hook_fails_no_request_either(
    replace: Replace, manifest: Manifest
) -> None:
    """As on Knative, which takes no hooks: `drain_seconds` is longer than proxies take to learn."""
    load, statuses = replace(1, manifest=dataclasses.replace(manifest, before_stop=[]))
    assert (load.failures, statuses) == ([], ["0"])


def test_a_rolling_replacement_without_draining_fails_requests(
    replace: Replace, manifest: Manifest, scaffold: Scaffold, tmp_path: Path
) -> None:
    """This is why `drain_seconds` exists: the proxy learns late that a container stops."""
    directory = shutil.copytree(scaffold.directory, tmp_path / "hasty")
    configure(directory, drain_seconds=0)
    (directory / "config.yaml").chmod(0o644)
    mount = f"{directory / 'config.yaml'}:/app/config.yaml:ro"
    hasty = dataclasses.replace(manifest, before_stop=[])
    load, _ = replace(1, "--volume", mount, manifest=hasty)
    assert load.failures
