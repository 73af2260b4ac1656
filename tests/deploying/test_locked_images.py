"""Images that are built from a requirements.lock, and builds that end because it does not fit."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import generator
from generator import Scaffold, ServingError
from support.packages.wheels import write_wheel
from support.servers.containers import Engine

pytestmark = [pytest.mark.docker, pytest.mark.sweep]

STALE = "error: requirements.lock is not of this requirements.txt and wheels/: renew it with"
LISTED = (
    "import frame, importlib.metadata as m;"
    "print(frame.SIZE, m.version('iniconfig'), m.version('numpy'))"
)


@pytest.fixture(scope="module")
def made(sums: Scaffold, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaffold with a lock and a wheel. Nobody edits it."""
    directory = tmp_path_factory.mktemp("locked") / "test_sums"
    shutil.copytree(sums.directory, directory)
    write_wheel(directory / "wheels", "frame", "1.0", {"frame.py": "SIZE = 3\n"})
    change(directory / "requirements.txt", r"\Z", "frame==1.0\niniconfig<2.1\nmarkdown-it-py\n")
    generator.load(directory).lock()
    return directory


@pytest.fixture
def locked(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "own")


def change(path: Path, pattern: str, by: str) -> None:
    text, count = re.subn(pattern, by, path.read_text(), count=1)
    assert count == 1, pattern
    path.write_text(text)


def built(engine: Engine, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Build the stage with the model's environment."""
    command = ["docker", "build", "--progress", "plain", "--target", "model", "--tag", tag(engine)]
    file = str(directory / "custom-server.Dockerfile")
    return subprocess.run(
        [*command, "--file", file, str(directory)],
        env=engine.environ,
        capture_output=True,
        text=True,
    )


def tag(engine: Engine) -> str:
    return "test_locked_" + engine.label.partition("=")[2]


def error(engine: Engine, directory: Path) -> str:
    """The error that ends the build: the one line that a step of the Dockerfile has printed."""
    done = built(engine, directory)
    assert done.returncode != 0
    found = re.findall(r"(?m)^(?:#\d+ )?[\d.]+ (error: .+)$", done.stdout + done.stderr)
    assert len(set(found)) == 1, done.stderr[-3000:]
    return str(found[0])


def test_the_image_holds_what_is_locked(engine: Engine, locked: Path) -> None:
    change(locked / "requirements.txt", r"\A", "# a comment does not count\n")
    done = built(engine, locked)
    assert done.returncode == 0, done.stderr[-3000:]
    python = ("--entrypoint", "/layer/opt/model/bin/python")
    printed = engine("run", "--rm", *python, tag(engine), "-c", LISTED).split()
    lock = (locked / "requirements.lock").read_text()
    assert printed[0] == "3" and printed[1].startswith("2.0")
    assert f"iniconfig=={printed[1]} " in lock and f"numpy=={printed[2]} " in lock


def test_the_whole_image_answers(
    engine: Engine, locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", engine.environ["PATH"])
    monkeypatch.setenv("DOCKER", "docker")
    scaffold = generator.load(locked)
    assert scaffold.verify(environment="docker")
    change(locked / "requirements.txt", r"\Z", "colorama\n")
    with pytest.raises(ServingError, match=r"docker build failed: requirements.lock is not of"):
        scaffold.verify(environment="docker")


def test_a_stale_lock_is_told(engine: Engine, locked: Path) -> None:
    change(locked / "requirements.txt", r"iniconfig<2.1", "iniconfig<2")
    assert error(engine, locked).startswith(STALE)


def test_a_wheel_that_changed_is_told(engine: Engine, locked: Path) -> None:
    write_wheel(locked / "wheels", "frame", "1.0", {"frame.py": "SIZE = 4\n"})
    assert error(engine, locked).startswith(STALE)


@pytest.mark.parametrize(
    ("pattern", "by", "message"),
    [
        (r"(?s)(iniconfig==\S+ \\\n)(    --hash\S+( \\\n)?)+", rf"\1    --hash=sha256:{'0' * 64}",
         "Hash mismatch for `iniconfig=="),
        (r"mdurl==\S+ \\\n(    .*\n)+", "", "`mdurl`"),
        (r"\Z", f"docopt==0.6.2 --hash=sha256:{'0' * 64}\n", "docopt==0.6.2 has no usable wheels"),
    ],
    ids=["another hash", "a hole", "no wheel"],
)  # fmt: skip
def test_a_package_that_does_not_fit_is_named(
    engine: Engine, locked: Path, pattern: str, by: str, message: str
) -> None:
    change(locked / "requirements.lock", pattern, by)
    said = error(engine, locked)
    assert said.startswith("error: requirements.lock cannot be installed: ") and message in said
