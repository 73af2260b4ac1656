"""Wheels as builders write them, and installed as installers do."""

import hashlib
import importlib
import json
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the backend below runs where there is no pytest
    import pytest


def write_wheel(
    directory: Path, name: str, version: str, files: Mapping[str, str], tag: str = "py3-none-any"
) -> Path:
    """A wheel with these files.

    Args:
        name: the package's, in which `-` is written as `_`.
        tag: what it runs on, as in "cp311-cp311-win_amd64".
    """
    information = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    wheel = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
    content = {**files, f"{information}/METADATA": metadata, f"{information}/WHEEL": wheel}
    record = "".join(f"{file},,\n" for file in (*content, f"{information}/RECORD"))
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (*content.items(), (f"{information}/RECORD", record)):
            archive.writestr(file, text)
    return path


def install(wheel: Path, site: Path, archive_info: Mapping[str, Any] | None = None) -> None:
    """Unpack a wheel into a directory of `sys.path`, with PEP 610's record of where it came from.

    Args:
        archive_info: the record's; by default with the SHA-256.
    """
    if archive_info is None:
        archive_info = {"hashes": {"sha256": sha256(wheel)}}
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        (information,) = {name.split("/")[0] for name in archive.namelist() if "dist-info" in name}
    origin = {"url": wheel.as_uri(), "archive_info": archive_info}
    (site / information / "direct_url.json").write_text(json.dumps(origin))


def import_private(
    directory: Path, name: str, source: str, monkeypatch: "pytest.MonkeyPatch"
) -> ModuleType:
    """A module of a package that no index has, which is installed here from a wheel.

    The processes that the test starts can import it, too.
    """
    site = directory / "site-packages"
    install(write_wheel(directory / "built", name, "1.0+own", {f"{name}.py": source}), site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    sys.modules.pop(name, None)  # of another test's package
    return importlib.import_module(name)


BACKEND = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
from support.packages.wheels import write_wheel


def build_wheel(directory, settings=None, metadata=None):
    return write_wheel(Path(directory), {name!r}, "1.1", {files!r}).name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = {name!r}
version = "1.1"
"""


def write_project(place: Path, site: Path, name: str, files: Mapping[str, str]) -> None:
    """A project that needs nothing to be built, installed in editable mode into a directory.

    Its code is at the top of it. Version 1.0 was installed, 1.1 is built.
    """
    place.mkdir()
    settings = {"tests": str(Path(__file__).resolve().parents[2]), "name": name, "files": files}
    content = {"backend.py": BACKEND, "pyproject.toml": PROJECT}
    content = {file: text.format(**settings) for file, text in content.items()}
    for file, text in {**content, **files}.items():
        (place / file).write_text(text)
    install(write_wheel(place / "dist", name, "1.0", {}), site)
    origin = {"url": place.as_uri(), "dir_info": {"editable": True}}
    (site / f"{name}-1.0.dist-info" / "direct_url.json").write_text(json.dumps(origin))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
