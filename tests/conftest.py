"""What the tests share: one trained model, one scaffold of it, one image, one wheel."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import numpy as np
import pytest
from filelock import FileLock
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

import generator
from generator.running.server import Server
from generator.scaffold import Scaffold
from support.models.objects import Sums
from support.packages.environments import BROWSER, environment
from support.rendering.checkouts import call, snapshot
from support.rendering.jinja import compile_once
from support.servers.asking import UsePage, page_user
from support.servers.containers import Engine, answers, labelling, remove, require_buildkit
from support.session.shared import Shared, is_worker, name_the_run, run_name

# A shell's background job ignores it, and so does all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

UNIT_FOLDERS = {"unit", "runtime"}


def pytest_configure() -> None:
    name_the_run()
    compile_once()


def pytest_unconfigure() -> None:
    """Remove the image that the run's processes have shared, once all of them have ended."""
    if not is_worker():
        remove(docker_client(), run_name())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files that use Docker, which take longest, and end with the many short tests."""
    docker = {item.path for item in items if item.get_closest_marker("docker")}

    def turn(item: pytest.Item) -> tuple[bool, bool]:
        return item.path not in docker, not UNIT_FOLDERS.isdisjoint(item.path.parts)

    items.sort(key=turn)


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


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    """A scaffold whose worker starts in no time: it imports numpy alone. Nobody edits it."""
    directory = tmp_path_factory.mktemp("scaffolds") / "test_sums"
    rows = np.arange(8.0).reshape(2, 4)
    made = generator.from_model(Sums(), directory, framework="custom", sample_input=rows)
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


def docker_client() -> str:
    return os.environ.get("DOCKER") or shutil.which("docker") or "docker"


@pytest.fixture(scope="session")
def docker() -> str:
    """The Docker client, where an engine answers; in CI one must."""
    command = docker_client()
    if answers(command):
        return command
    if os.environ.get("CI"):
        pytest.fail(f"{command} finds no Docker engine, and CI is set")
    pytest.skip(f"{command} finds no Docker engine")


@pytest.fixture(scope="session")
def engine(docker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The Docker client, which labels what it makes: that is removed at the end."""
    label = token_hex(8)
    made = labelling(docker, tmp_path_factory.mktemp("client"), label)
    try:
        require_buildkit(made)
        yield made
    finally:
        remove(docker, label)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Makes what is slow to make once in a run, whichever of its processes asks first."""
    return Shared.of_this_run(tmp_path_factory)


@pytest.fixture
def much_memory(shared: Shared) -> Iterator[None]:
    """For a test that takes gigabytes: one of them at a time, in all processes."""
    with FileLock(shared.root / "memory.lock"):
        yield


@pytest.fixture(scope="session")
def image(engine: Engine, docker: str, scaffold: Scaffold, shared: Shared) -> str:
    """The scaffold's image, built as the tutorial builds it."""
    name = f"test_rfc_{run_name()}"

    def build(directory: Path) -> None:
        command = f"{scaffold.docker_build_string} -t {name}"
        labelling(docker, directory, run_name()).shell(command)

    shared.directory("image", build)
    return name


@pytest.fixture(scope="session")
def repository(shared: Shared) -> Path:
    """The template as somebody would clone it: committed, tagged with its version, and clean."""
    return shared.directory("template", lambda place: snapshot(place / "scaffold")) / "scaffold"


@pytest.fixture(scope="session")
def plain(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files without git, which renders faster: for what does not look at versions."""
    ignored = shutil.ignore_patterns(".git")
    return shutil.copytree(
        repository, tmp_path_factory.mktemp("plain") / "scaffold", ignore=ignored, symlinks=True
    )


@pytest.fixture(scope="session")
def dist(repository: Path, shared: Shared) -> Path:
    """What `make package` makes: an sdist, and a wheel made from that."""
    build = [sys.executable, "-m", "build", "--installer", "uv", "--outdir"]
    return shared.directory("dist", lambda place: call([*build, str(place)], repository))


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, shared: Shared) -> Path:
    """The interpreter of an environment that holds the wheel, and scikit-learn, and their needs."""
    return shared.directory("installed", lambda place: install(wheel, place)) / "venv/bin/python"


@pytest.fixture(scope="session")
def playwright(shared: Shared) -> Path:
    """An interpreter of an environment with Playwright, where there is a browser for it."""
    if not BROWSER.exists():
        pytest.skip(f"{BROWSER} is not installed: apt install chromium")

    def make(place: Path) -> None:
        environment(place / "venv", "playwright")

    return shared.directory("playwright", make) / "venv/bin/python"


@pytest.fixture(scope="session")
def use_page(playwright: Path) -> UsePage:
    """Does steps on the page of a server, in a browser."""
    return page_user(playwright)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with installed packages that workers import from, too, such as `frame`."""
    directory = tmp_path / "site-packages"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    monkeypatch.setenv("PYTHONPATH", str(directory), prepend=os.pathsep)
    yield directory
    sys.modules.pop("frame", None)


def install(wheel: Path, place: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    python = place / "venv" / "bin" / "python"
    same = ("scikit-learn", "joblib", "numpy", "scipy")
    pins = [f"{name}=={metadata.version(name)}" for name in same]
    options = ["--quiet", "--compile-bytecode", "--python", str(python)]
    call([uv, "venv", "--quiet", "--python", sys.executable, str(place / "venv")], place)
    call([uv, "pip", "install", *options, str(wheel), *pins], place)
