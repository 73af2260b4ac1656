"""Wheels that travel in a scaffold's `wheels/`: those that a package was installed from here.

- A wheel's name: the binary distribution format
  (https://packaging.python.org/en/latest/specifications/binary-distribution-format/).
- The archive that a package was installed from, and its hash: PEP 610's `direct_url.json`
  (https://packaging.python.org/en/latest/specifications/direct-url-data-structure/).
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from .. import layout
from ..arguments import argument
from ..errors import RequirementError
from .installed import Installed
from .venvs import MAX_OUTPUT, uv

OPTION = f"--find-links {layout.WHEELS}"


@dataclass(frozen=True)
class Wheel:
    """A wheel for `wheels/`.

    Attributes:
        name: the file's name.
        version: the version of the package in it.
        content: the file that is copied, or what is written.
    """

    name: str
    version: str
    content: Path | bytes

    @property
    def sha256(self) -> str:
        """Its SHA-256, in hexadecimal."""
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        return _digest(self.content, "sha256")

    def write(self, directory: Path) -> None:
        """Write the file into `wheels/`."""
        directory.mkdir(exist_ok=True)
        if isinstance(self.content, bytes):
            (directory / self.name).write_bytes(self.content)
        else:
            shutil.copyfile(self.content, directory / self.name)


def wheel_of(installed: Installed, build: bool) -> Wheel | None:
    """The wheel of a package that was installed from a file or a project on this machine.

    Args:
        installed: the package.
        build: whether a wheel is built of its project.

    Returns:
        None if it was installed from neither a wheel nor, where one may be built, a project.

    Raises:
        RequirementError: the wheel is gone, is another than the one that was installed, is for
            another system than Linux, or cannot be built.
    """
    if installed.local is None:
        return None
    path = Path(installed.local)
    if path.suffix == ".whl" and not installed.is_project:
        _check_file(installed, path)
        return Wheel(path.name, installed.version, path)
    if build and installed.can_be_built:
        return _built(installed, path)
    return None


def _check_file(installed: Installed, path: Path) -> None:
    """Refuse a wheel that is not the one that was installed."""
    line = f"{installed.name}=={installed.version}"
    fix = (
        f"bring it back, install {installed.name} from another wheel or from an index, or give a"
        f" line for it, as in {argument('requirements', [line])}"
    )
    if not path.is_file():
        raise RequirementError(
            f"{installed.name} was installed from the wheel {path}, which is gone: {fix}"
        )
    if _version(installed, path.name) != Version(installed.version):
        raise RequirementError(
            f"{path} is not the wheel of {installed.name} {installed.version}, which is installed:"
            f" {fix}"
        )
    for algorithm, recorded in installed.hashes.items():
        known = algorithm in hashlib.algorithms_available
        if known and (found := _digest(path, algorithm)) != recorded:
            raise RequirementError(
                f"{path} is not the wheel that {installed.name} was installed from: its"
                f" {algorithm} is {found}, at the installation it was {recorded}; {fix}"
            )


def _digest(path: Path, algorithm: str) -> str:
    found = hashlib.new(algorithm)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def _version(installed: Installed, file: str) -> Version:
    """The version in a wheel's name, after a check that it is the package's and for Linux."""
    try:
        name, version, _, tags = parse_wheel_filename(file)
    except InvalidWheelFilename as error:
        raise RequirementError(f"{error}: give the file the name that its builder gave") from error
    if name != canonicalize_name(installed.name):
        raise RequirementError(
            f"{file} is a wheel of {name}, not of {installed.name}: give it its own name"
        )
    _check_platform(file, tags)
    return version


def _check_platform(file: str, tags: "frozenset[Tag]") -> None:
    """Refuse a wheel that a Linux image with glibc cannot install."""
    platforms = sorted({tag.platform for tag in tags})
    if not any(name == "any" or name.startswith(("linux", "manylinux")) for name in platforms):
        raise RequirementError(
            f"{file} is for {', '.join(platforms)}, and the image is Linux with glibc: install a"
            f" wheel for that, or give a line for the package in {argument('requirements')}"
        )


# ---- building ----


def _built(installed: Installed, project: Path) -> Wheel:
    """A wheel that is built of a project."""
    with _build(installed, _project_root(project)) as path:
        return Wheel(path.name, str(_version(installed, path.name)), path.read_bytes())


def _project_root(path: Path) -> Path:
    """The directory with the project's file, at or above a directory of its code."""
    for place in (path, *path.parents):
        if any((place / name).exists() for name in ("pyproject.toml", "setup.py")):
            return place
    return path


@contextmanager
def _build(installed: Installed, project: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="scaffold-wheel.") as place:
        command = [*_builder(place), str(project)]
        done = subprocess.run(command, capture_output=True, text=True)
        built = list(Path(place).glob("*.whl"))
        if done.returncode or len(built) != 1:
            output = " ".join((done.stderr or done.stdout).split())[-MAX_OUTPUT:]
            raise RequirementError(
                f"no wheel of {installed.name} can be built from {project}: {output}"
            )
        yield built[0]


def _builder(place: str) -> list[str]:
    """The command that builds a wheel of a project into a directory."""
    if found := uv():
        return [found, "build", "--wheel", "--out-dir", place]
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    return [*pip, "--no-deps", "--wheel-dir", place]
