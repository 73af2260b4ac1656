"""Locks of real scaffolds, which uv makes of PyPI's packages."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import generator
from generator import RequirementError, Scaffold, ScaffoldWarning
from generator.cli import main
from generator.environment import venvs
from support.models.objects import Sums
from support.packages.wheels import write_wheel

PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin")
OTHER = "iniconfig==2.0.0"


@pytest.fixture(scope="module")
def made(sums: Scaffold, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaffold with a lock, and with a wheel that no index has. Nobody edits it."""
    directory = tmp_path_factory.mktemp("locked") / "test_sums"
    shutil.copytree(sums.directory, directory)
    write_wheel(directory / "wheels", "frame", "1.0+own", {"frame.py": "SIZE = 3\n"})
    add(directory, "--find-links wheels  # holds frame", "frame==1.0+own", "iniconfig<3")
    assert main(["lock", str(directory)]) == 0
    return directory


@pytest.fixture
def locked(made: Path, tmp_path: Path) -> Iterator[Scaffold]:
    """A copy of it."""
    scaffold = generator.load(shutil.copytree(made, tmp_path / "own", symlinks=True))
    yield scaffold
    scaffold.close()


def add(directory: Path, *lines: str) -> None:
    path = directory / "requirements.txt"
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))


def lock_of(scaffold: Scaffold) -> str:
    return (scaffold.directory / "requirements.lock").read_text()


def packages(lock: str) -> dict[str, list[str]]:
    """What is locked, each with its hashes."""
    found: dict[str, list[str]] = {}
    for line in lock.splitlines():
        if line.startswith("    --hash"):
            found[next(reversed(found))].append(line.strip(" \\"))
        elif line and not line.startswith((" ", "#", "-")):
            found[line.removesuffix(" \\")] = []
    return found


def test_all_is_locked_with_hashes(made: Path) -> None:
    found = packages((made / "requirements.lock").read_text())
    names = [re.split("==", name)[0] for name in found]
    wheel = "./wheels/frame-1.0+own-py3-none-any.whl"
    assert sorted(names) == [wheel, "iniconfig", "msgpack", "numpy", "orjson"]
    assert all(found.values())
    assert len(found[next(name for name in found if name.startswith("numpy"))]) > 20


@pytest.mark.sweep
@pytest.mark.parametrize("platform", PLATFORMS)
def test_it_installs_on_each_platform(made: Path, platform: str, tmp_path: Path) -> None:
    command = [str(venvs.uv()), "pip", "install", "--dry-run", "--require-hashes"]
    options = ["--only-binary", ":all:", "--target", str(tmp_path)]
    where = ["--python-platform", platform, "--python-version", venvs.RUNNING]
    done = subprocess.run(
        [*command, *options, *where, "-r", "requirements.lock"],
        cwd=made,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.sweep
def test_a_renewal_keeps_what_still_fits(locked: Scaffold) -> None:
    before = lock_of(locked)
    assert locked.lock() == locked.directory / "requirements.lock"
    assert lock_of(locked) == before
    path = locked.directory / "requirements.txt"
    path.write_text(path.read_text().replace("iniconfig<3", OTHER))
    locked.lock()
    assert OTHER in lock_of(locked)
    path.write_text(path.read_text().replace(OTHER, "iniconfig"))
    locked.lock()
    assert OTHER in lock_of(locked)


def test_a_package_without_a_wheel_is_named(
    locked: Scaffold, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lock_of(locked)
    add(locked.directory, "docopt==0.6.2")
    assert main(["lock", str(locked.directory)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line.startswith("error: requirements.lock cannot be made of ") and "docopt==0.6.2" in line
    )
    assert "pip wheel --no-deps -w wheels" in line and lock_of(locked) == before


@pytest.mark.sweep
def test_without_wheels_for_macos_it_is_for_linux(locked: Scaffold) -> None:
    add(locked.directory, "nvidia-nvtx-cu12==12.9.79", "colorama; sys_platform == 'darwin'")
    locked.lock()
    assert f"# For Python {venvs.RUNNING} on Linux alone, of" in lock_of(locked)
    assert "nvidia-nvtx-cu12==12.9.79 \\\n" in lock_of(locked) and "colorama" not in lock_of(locked)


@pytest.mark.sweep
def test_an_isolated_environment_is_made_from_it(
    locked: Scaffold, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    path = locked.directory / "requirements.txt"
    path.write_text(path.read_text().replace("iniconfig<3", OTHER))
    locked.lock()
    path.write_text(path.read_text() + "# a comment\n")
    assert locked.verify(environment="isolated")
    python = venvs.model_python(path, venvs.RUNNING)
    code = "import frame, importlib.metadata as m; print(frame.SIZE, m.version('iniconfig'))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "2.0.0"]
    add(locked.directory, "colorama")
    with pytest.raises(RequirementError, match=r"requirements.lock is not of this requirements"):
        locked.verify(environment="isolated")


@pytest.mark.sweep
def test_a_model_with_the_same_pins_keeps_the_lock(
    locked: Scaffold, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lock_of(locked)
    without_index(monkeypatch)
    locked.replace_model(Sums())
    assert lock_of(locked) == before


@pytest.mark.sweep
def test_a_model_with_other_pins_renews_it(locked: Scaffold) -> None:
    locked.replace_model(Sums(), requirements=["colorama==0.4.6"])
    assert "colorama==0.4.6 \\\n" in lock_of(locked)
    assert locked.verify()


def test_where_no_index_answers_the_model_is_replaced(
    locked: Scaffold, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = lock_of(locked)
    without_index(monkeypatch)
    with pytest.warns(ScaffoldWarning, match=r"requirements.lock is still of the model before.*"):
        locked.replace_model(Sums(), requirements=["colorama==0.4.6"])
    assert lock_of(locked) == before
    assert "colorama==0.4.6" in (locked.directory / "requirements.txt").read_text()


@pytest.mark.sweep
def test_edits_in_it_stay(locked: Scaffold) -> None:
    path = locked.directory / "requirements.lock"
    path.write_text(path.read_text() + "# ours\n")
    before = lock_of(locked)
    with pytest.warns(ScaffoldWarning, match="may hold edits of yours"):
        locked.replace_model(Sums(), requirements=["colorama==0.4.6"])
    assert lock_of(locked) == before


def without_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CACHE", "1")


@pytest.mark.sweep
@pytest.mark.skipif(sys.platform != "linux", reason="its command is for Linux")
def test_the_command_in_it_makes_one_with_uv_alone(locked: Scaffold) -> None:
    commands = re.findall(r"(?m)^#  (.*)$", lock_of(locked))
    assert commands[0].strip().startswith("python -m generator")
    add(locked.directory, OTHER)
    bin_directory = Path(str(venvs.uv())).parent
    environ = {**os.environ, "PATH": f"{bin_directory}{os.pathsep}{os.environ['PATH']}"}
    script = "\n".join(commands[1:])
    subprocess.run(
        ["sh", "-c", script], cwd=locked.directory, env=environ, capture_output=True, check=True
    )
    found = packages(lock_of(locked))
    assert OTHER in found and all(found.values()) and len(found) == 5
    path = locked.directory / "requirements.txt"
    assert venvs.model_python(path, venvs.RUNNING).exists()
