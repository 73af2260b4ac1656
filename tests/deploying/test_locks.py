"""The servers' locks install from wheels alone wherever a scaffold is run: no image has a compiler.

Sources of the platforms' names: https://docs.astral.sh/uv/reference/cli/#uv-pip-install
"""

import subprocess
from pathlib import Path

import pytest

from generator.environment import venvs
from support.servers.running import LOCKS

PLATFORMS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
WITHOUT_A_WHEEL = """\
psutil==5.9.8 --hash=sha256:6be126e3225486dff286a8fb9a06246a5253f4c7c53b475ea5f5ac934e64194c
"""


def refusal(lock: Path, platform: str, python: str, target: Path) -> str:
    """What uv says against a lock for a platform, with the package; empty if it would install."""
    found = venvs.uv()
    assert found is not None, "uv is among the development's requirements"
    options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(target))
    where = ("--python-platform", platform, "--python-version", python)
    command = [found, "pip", "install", "--dry-run", *options, *where, "-r", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.stderr if done.returncode else ""


@pytest.mark.sweep
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("server", LOCKS)
def test_a_lock_has_wheels_for_each_platform(server: str, platform: str, tmp_path: Path) -> None:
    said = {python: refusal(LOCKS[server], platform, python, tmp_path) for python in PYTHONS}
    assert said == dict.fromkeys(PYTHONS, "")


@pytest.mark.sweep
def test_a_package_without_a_wheel_is_named(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(WITHOUT_A_WHEEL)
    said = refusal(lock, "aarch64-unknown-linux-gnu", "3.12", tmp_path)
    assert "psutil==5.9.8 has no usable wheels" in said
