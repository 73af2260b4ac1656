"""Creates isolated environments from requirements, and caches them in the user's cache directory.

The key of an environment is the text of its requirements and its version of Python.
"""

import contextlib
import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import platformdirs

from ..errors import ServingError
from ..layout import LOCK, WHEELS
from ..progress import step
from .gpu import on_cpu
from .lock import Lock

SERVER_MODULES = ("fastapi_swagger", "httptools", "msgpack", "uvloop", "yaml")
RUNNING = "{}.{}".format(*sys.version_info)
TORCH_OPTION = re.compile(
    r"(?m)^--extra-index-url +https://download\.pytorch\.org/whl/(?:[^ \n]*/)?([^ /\n]+).*\n"
)
TORCH_PIN = re.compile(r"(?m)^(torch(?:vision|audio)?==[^ +;\n]+)")
FIND_WHEELS = re.compile(rf"(?m)^--find-links {WHEELS}\b.*\n")
MAX_OUTPUT = 600
"""The most characters of an installer's output in an error."""

Install = Callable[[Path], None]


def server_python(lock: Path) -> Path:
    """The interpreter of an environment with the packages in the lock: this one, or a cached one.

    Args:
        lock: the scaffold's `server-requirements.txt`.

    Raises:
        ServingError: the environment cannot be created.
    """
    content = _read(lock, "run `copier update` to restore it")
    if _holds_server(content):
        return Path(sys.executable)

    def install(python: Path) -> None:
        install_requirements(python, ["--no-deps", "--require-hashes"], lock)

    return cached("server", content, RUNNING, install)


def model_python(requirements: Path, version: str, without_cuda: bool = False) -> Path:
    """The interpreter of an environment with the required packages, and nothing else.

    They are installed from the scaffold's `requirements.lock`, where it has one.

    Args:
        requirements: the scaffold's `requirements.txt`.
        version: the version of Python, as in "3.11".
        without_cuda: whether the builds for the CPU stand for those for CUDA, which are gigabytes.

    Raises:
        ServingError: the environment cannot be created.
        RequirementError: the lock is not of this `requirements.txt`.
    """
    content = _read(requirements, "restore it: it lists the packages that the model needs")
    if without_cuda:
        content = on_cpu(content)
    elif (lock := Lock.read(requirements.parent)) is not None:
        return _locked_python(lock, version)
    wheels = sorted((requirements.parent.resolve() / WHEELS).glob("*.whl"))
    # by name, so that no index's build of the same version is taken
    named = list(map(str, wheels))

    def install(python: Path) -> None:
        try:
            if without_cuda:
                _install_text(python, named, FIND_WHEELS.sub("", content))
            else:
                install_requirements(python, named, requirements)
        except ServingError:
            fallback = without_torch_index(content)
            if fallback is None:
                raise
            _install_text(python, named, FIND_WHEELS.sub("", fallback))

    return cached("model", "\n".join([content, *map(_digest, wheels)]), version, install)


def _locked_python(lock: Lock, version: str) -> Path:
    """The interpreter of an environment with the packages in the model's lock."""
    lock.check()

    def install(python: Path) -> None:
        options = ["--require-hashes", "--only-binary", ":all:"]
        install_requirements(python, options, lock.directory / LOCK)

    return cached("model", lock.text, version, install)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _install_text(python: Path, wheels: list[str], requirements: str) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        install_requirements(python, wheels, Path(file.name))


def _read(path: Path, fix: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(
            f"{path} cannot be read: {getattr(error, 'strerror', error)}; {fix}"
        ) from error


def _holds_server(lock: str) -> bool:
    """Whether the running environment has the lock's KServe or KFServing, and what it needs."""
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
    """The interpreter of the cached environment for this content. If there is none, it is created.

    Args:
        kind: what it is for, as in "model". It names a directory of the cache.
        content: what it holds, in any form. Different content gives a different environment.
        version: the version of Python, as in "3.11".
        install: installs the packages into a new environment, given its interpreter.

    Raises:
        ServingError: it cannot be created.
    """
    key = f"{hashlib.sha256(content.encode()).hexdigest()[:16]}-py{version}"
    directory = platformdirs.user_cache_path("scaffold-generator") / f"{kind}s" / key
    try:
        if not directory.exists():
            with _alone(directory):
                _create_once(directory, kind, version, install)
    except OSError as error:
        raise ServingError(
            f"the {kind}'s environment cannot be created in {directory}: {error.strerror};"
            " set XDG_CACHE_HOME to a directory that can be written"
        ) from error
    return _python(directory)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Of several processes that need the same environment, one creates it; the others wait."""
    import fcntl  # Unix only

    lock = directory.parents[1] / "locks" / directory.name
    for path in (lock, directory):
        path.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _create_once(directory: Path, kind: str, version: str, install: Install) -> None:
    if directory.exists():
        return
    doing = f"Creating the {kind}'s environment once, in {directory} (about a minute)"
    try:
        with step(doing):
            _create(directory, version, install)
    except ServingError as error:
        raise ServingError(f"the {kind}'s environment cannot be created: {error}") from error


def _create(directory: Path, version: str, install: Install) -> None:
    """Create the environment under another name and rename it when it is complete."""
    unfinished = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", dir=directory.parent))
    try:
        _run(_creation_command(unfinished, version))
        install(_python(unfinished))
        unfinished.rename(directory)
    except OSError:
        if not directory.exists():  # another process may have created it in the meantime
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _creation_command(directory: Path, version: str) -> list[str]:
    """The command that creates an empty environment."""
    if found := uv():
        interpreter = {RUNNING: sys.executable}.get(version, version)
        return [found, "venv", "--quiet", "--clear", "--python", interpreter, str(directory)]
    return [_interpreter(version), "-m", "venv", "--clear", str(directory)]


def _interpreter(version: str) -> str:
    """An installed interpreter of this version of Python."""
    if version == RUNNING:
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        raise ServingError(
            f"python{version} is not found: install uv (pip install uv), which finds or "
            "downloads one"
        )
    return found


def install_requirements(python: Path, options: list[str], requirements: Path) -> None:
    """Install a file of requirements with uv, or with pip if there is no uv.

    Args:
        python: the environment's interpreter.
        options: further options of `pip install`.
        requirements: the file.

    Raises:
        ServingError: the installation failed.
    """
    arguments = [*options, "-r", str(requirements.resolve())]
    place = None
    if (requirements.parent / WHEELS).exists():  # uv before 0.11 looks for it in its own directory
        place = requirements.parent
    if found := uv():
        # pip's rule: the best version of all indexes
        settings = ["--index-strategy", "unsafe-best-match", "--python", str(python)]
        _run(
            [found, "pip", "install", "--quiet", "--compile-bytecode", *settings, *arguments], place
        )
    else:
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *arguments], place)


def without_torch_index(requirements: str) -> str | None:
    """The requirements without PyTorch's own index, which may be out of reach.

    The pins name the variant instead, which pip and uv may find in another index. The Dockerfile
    does the same.

    Args:
        requirements: the text of a requirements.txt.

    Returns:
        The changed text; None if the text does not have PyTorch's index.
    """
    option = TORCH_OPTION.search(requirements)
    if option is None:
        return None
    return TORCH_PIN.sub(rf"\g<1>+{option[1]}", TORCH_OPTION.sub("", requirements))


def uv() -> str | None:
    """The path of uv; None if it is not installed."""
    installed = Path(sys.executable).with_name("uv")
    if installed.exists():
        return str(installed)
    return shutil.which("uv")


def _python(directory: Path) -> Path:
    return directory / "bin" / "python"


def _run(command: list[str], place: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    if done.returncode:
        output = " ".join(done.stderr.split())[-MAX_OUTPUT:]
        reason = output or f"exit status {done.returncode}"
        raise ServingError(f"{' '.join(command[:4])} ...: {reason}")
