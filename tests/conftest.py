"""What the tests share: one trained model, one scaffold of it, one server's environment, one server."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

import generator
from generator.running.server import Server
from generator.scaffold import Scaffold
from support.checkouts import call, snapshot
from support.containers import Engine, labelling, require_buildkit

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell's background job ignores it, and all it starts too


@pytest.fixture(scope="session")
def iris() -> tuple[np.ndarray, np.ndarray]:
    """Rows of shape [150, 4] and their labels 0 to 2."""
    return load_iris(return_X_y=True)


@pytest.fixture(scope="session")
def forest(iris: tuple[np.ndarray, np.ndarray]) -> RandomForestClassifier:
    return RandomForestClassifier(n_estimators=20, random_state=0).fit(*iris)


@pytest.fixture(scope="session")
def scaffold(forest: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    """A scaffold of the forest that nobody edits."""
    made = generator.from_model(forest, tmp_path_factory.mktemp("scaffolds") / "test_rfc")
    yield made
    made.close()


@pytest.fixture
def own_scaffold(scaffold: Scaffold, tmp_path: Path) -> Iterator[Scaffold]:
    """A copy of the scaffold that the test may edit."""
    made = generator.load(shutil.copytree(scaffold.directory, tmp_path / "own_rfc"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def server(scaffold: Scaffold) -> Iterator[Server]:
    """The scaffold's server, on a free port, for tests that leave it as they found it."""
    with scaffold.serve(port=0) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


@pytest.fixture(scope="session")
def docker() -> str:
    """The Docker client, where an engine answers; in CI one must."""
    command = os.environ.get("DOCKER") or shutil.which("docker") or "docker"
    try:
        answered = (
            subprocess.run([command, "version"], capture_output=True, timeout=60).returncode == 0
        )
    except OSError:
        answered = False
    if not answered and os.environ.get("CI"):
        pytest.fail(f"{command} finds no Docker engine, and CI is set")
    if not answered:
        pytest.skip(f"{command} finds no Docker engine")
    return command


@pytest.fixture(scope="session")
def engine(docker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The Docker client, which labels what it makes: that is removed at the end."""
    made = labelling(docker, tmp_path_factory.mktemp("client"))
    try:
        require_buildkit(made)
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def image(engine: Engine, scaffold: Scaffold) -> str:
    """The scaffold's image, built as the tutorial builds it."""
    name = f"test_rfc_{token_hex(4)}"
    engine.shell(f"{scaffold.docker_build_string} -t {name}")
    return name


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as somebody would clone it: committed and tagged with its version, with nothing lying about."""
    return snapshot(tmp_path_factory.mktemp("template") / "scaffold")


@pytest.fixture(scope="session")
def dist(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make package` makes: an sdist, and a wheel made from that."""
    directory = tmp_path_factory.mktemp("dist")
    call(
        [sys.executable, "-m", "build", "--installer", "uv", "--outdir", str(directory)], repository
    )
    return directory


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, scikit-learn and joblib, and what those need."""
    directory = tmp_path_factory.mktemp("installed") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    call([uv, "venv", "--quiet", "--python", sys.executable, str(directory)], directory.parent)
    python = directory / "bin" / "python"
    same = [
        f"{name}=={metadata.version(name)}" for name in ("scikit-learn", "joblib", "numpy", "scipy")
    ]
    install = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--compile-bytecode",
        "--python",
        str(python),
        str(wheel),
        *same,
    ]
    call(install, directory.parent)
    return python
