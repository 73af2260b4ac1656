"""Environments of their own, each made once from a scaffold's requirements and kept in the user's cache.

Their key is what the requirements say and the version of Python: what changes neither is used again.
"""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import platformdirs

from ..errors import ServingError

SERVER_MODULES = ("fastapi_swagger", "httptools", "msgpack", "uvloop", "yaml")
RUNNING = "{}.{}".format(*sys.version_info)
TORCH_OPTION = re.compile(
    r"(?m)^--extra-index-url +https://download\.pytorch\.org/whl/(?:[^ \n]*/)?([^ /\n]+).*\n"
)
TORCH_PIN = re.compile(r"(?m)^(torch(?:vision|audio)?==[^ +;\n]+)")
MOST_SAID = 600

Install = Callable[[Path], None]


def server_python(lock: Path) -> Path:
    """The interpreter of an environment that holds what the lock names: this one, or one from the cache.

    Args:
        lock: the scaffold's `server-requirements.txt`.

    Raises:
        ServingError: the environment cannot be made.
    """
    content = _read(lock, "`copier update` brings it back")
    if _holds_server(content):
        return Path(sys.executable)

    def install(python: Path) -> None:
        install_requirements(python, ["--no-deps", "--require-hashes"], lock)

    return cached("server", content, RUNNING, install)


def model_python(requirements: Path, version: str) -> Path:
    """The interpreter of an environment that holds what the requirements name, and nothing else.

    Args:
        requirements: the scaffold's `requirements.txt`.
        version: the version of Python, as in "3.11".

    Raises:
        ServingError: the environment cannot be made.
    """
    content = _read(requirements, "it says what the model needs")

    def install(python: Path) -> None:
        try:
            install_requirements(python, [], requirements)
        except ServingError:
            elsewhere = _torch_from_elsewhere(content)
            if elsewhere is None:
                raise
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
                file.write(elsewhere)
                file.flush()
                install_requirements(python, [], Path(file.name))

    return cached("model", content, version, install)


def _read(path: Path, mend: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(
            f"{path} cannot be read: {getattr(error, 'strerror', error)}; {mend}"
        ) from error


def _holds_server(lock: str) -> bool:
    """Whether the running environment holds the very KServe or KFServing of the lock, and what stands beside it."""
    pinned = re.search(r"(?m)^(kserve|kfserving)==(\S+)", lock)
    if pinned is None:
        return False
    try:
        installed = metadata.version(pinned[1])
    except metadata.PackageNotFoundError:
        return False
    return installed == pinned[2] and all(
        importlib.util.find_spec(module) is not None for module in SERVER_MODULES
    )


def cached(kind: str, content: str, version: str, install: Install) -> Path:
    """The interpreter of the environment for this content, which is made where there is none yet.

    Args:
        kind: what it is for; environments of a kind lie together.
        content: what it holds, in any words: others make another environment.
        version: the version of Python, as in "3.11".
        install: fills a new one, given its interpreter.

    Raises:
        ServingError: it cannot be made.
    """
    key = f"{hashlib.sha256(content.encode()).hexdigest()[:16]}-py{version}"
    directory = platformdirs.user_cache_path("scaffold-generator") / f"{kind}s" / key
    if not directory.exists():
        print(
            f"making the {kind}'s environment once in {directory} (a minute or so)",
            file=sys.stderr,
            flush=True,
        )
        try:
            _make(directory, version, install)
        except ServingError as error:
            raise ServingError(f"the {kind}'s environment cannot be made: {error}") from error
    return _python(directory)


def _make(directory: Path, version: str, install: Install) -> None:
    """Make the environment beside its place and move it there whole, so that nobody finds half of one."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", dir=directory.parent))
    try:
        _run(_creation(unfinished, version))
        install(_python(unfinished))
        unfinished.rename(directory)
    except OSError:
        if not directory.exists():  # unless somebody else has made it meanwhile
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _creation(directory: Path, version: str) -> list[str]:
    """The command that makes an empty environment."""
    interpreter = sys.executable if version == RUNNING else version
    if uv := _uv():
        return [uv, "venv", "--quiet", "--clear", "--python", interpreter, str(directory)]
    if version != RUNNING:
        found = shutil.which(f"python{version}")
        if found is None:
            raise ServingError(
                f"no python{version} is found: install uv (pip install uv), which finds or fetches one"
            )
        interpreter = found
    return [interpreter, "-m", "venv", "--clear", str(directory)]


def install_requirements(python: Path, options: list[str], requirements: Path) -> None:
    """Install what a file of requirements names, by uv or else by pip.

    Args:
        python: the environment's interpreter.
        options: further options of `pip install`.

    Raises:
        ServingError: that failed.
    """
    what = [*options, "-r", str(requirements)]
    if uv := _uv():
        # Packages from other indexes are chosen as pip would choose them.
        chosen = ["--index-strategy", "unsafe-best-match", "--python", str(python)]
        _run([uv, "pip", "install", "--quiet", "--compile-bytecode", *chosen, *what])
    else:
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *what])


def _torch_from_elsewhere(requirements: str) -> str | None:
    """The requirements without PyTorch's index, which may be out of reach: the same variant from where else pip and uv
    look, as the Dockerfile does. None where they name no such index."""
    option = TORCH_OPTION.search(requirements)
    return (
        None
        if option is None
        else TORCH_PIN.sub(rf"\g<1>+{option[1]}", TORCH_OPTION.sub("", requirements))
    )


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def _python(directory: Path) -> Path:
    return directory / "bin" / "python"


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split())[-MOST_SAID:] or f"exit status {done.returncode}"
        raise ServingError(f"{' '.join(command[:4])} ...: {said}")
