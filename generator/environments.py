"""The server's environment where KServe is not at hand: made once from the lock, in the user's cache."""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import platformdirs

from .errors import ServingError

SERVER_MODULES = ("fastapi_swagger", "httptools", "msgpack", "uvloop", "yaml")


def server_python(lock: Path) -> Path:
    """The interpreter of an environment that holds what the lock names: this one, or one from the cache.

    Args:
        lock: the scaffold's `server-requirements.txt`.

    Raises:
        ServingError: the environment cannot be made.
    """
    try:
        content = lock.read_bytes()
    except OSError as error:
        raise ServingError(f"{lock} cannot be read: {error.strerror}; `copier update` brings it back") from error
    if _holds_server(content.decode(errors="replace")):
        return Path(sys.executable)
    version = "{}.{}".format(*sys.version_info)
    key = f"{hashlib.sha256(content).hexdigest()[:16]}-py{version}"
    directory = platformdirs.user_cache_path("scaffold-generator") / "servers" / key
    if not directory.exists():
        _make(directory, lock)
    return _python(directory)


def _holds_server(lock: str) -> bool:
    """Whether the running environment holds the very KServe of the lock, and what stands beside it."""
    pinned = re.search(r"(?m)^kserve==(\S+)", lock)
    try:
        installed = metadata.version("kserve")
    except metadata.PackageNotFoundError:
        return False
    same = pinned is not None and pinned[1] == installed
    return same and all(importlib.util.find_spec(module) is not None for module in SERVER_MODULES)


def _make(directory: Path, lock: Path) -> None:
    """Make the environment beside its place and move it there whole, so that nobody finds half of one."""
    print(f"making the server's environment once in {directory} (a minute or so)", file=sys.stderr, flush=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", dir=directory.parent))
    try:
        for command in _commands(unfinished, lock):
            _run(command)
        unfinished.rename(directory)
    except OSError:
        if not directory.exists():  # unless somebody else has made it meanwhile
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _commands(directory: Path, lock: Path) -> list[list[str]]:
    python = str(_python(directory))
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is not None:
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(directory)]
        return [make, [*install, "--require-hashes", "-r", str(lock)]]
    make = [sys.executable, "-m", "venv", "--clear", str(directory)]
    return [make, [python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]]


def _python(directory: Path) -> Path:
    return directory / "bin" / "python"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ServingError(f"the server's environment cannot be made: {' '.join(command[:4])} ...: {lines[-1]}")
