"""A scaffold's own `common` package, of any version: it reads `config.yaml` and starts workers.

`Config` and `Client` are the interface that it must have.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, Protocol

from .. import layout
from ..common import json_encode
from ..errors import ScaffoldError, ServingError
from .log_lines import failure, last_words
from .worker_log import WorkerLog


class Serving(Protocol):
    """`serving` of a scaffold's `config.yaml`: the settings that the generator reads."""

    @property
    def http_port(self) -> int: ...

    @property
    def load_timeout_seconds(self) -> float: ...

    @property
    def predict_timeout_seconds(self) -> float: ...


class Config(Protocol):
    """A scaffold's `config.yaml`, as its own `common/config.py` reads it."""

    @property
    def name(self) -> str: ...

    @property
    def framework(self) -> str: ...

    @property
    def server(self) -> str: ...

    @property
    def python_version(self) -> str | None: ...

    @property
    def serving(self) -> Serving: ...

    @property
    def model(self) -> Any: ...


class Client(Protocol):
    """A worker of a scaffold, as its own `common/link/client.py` starts it."""

    @property
    def closed(self) -> bool: ...

    def request(self, kind: int, body: bytes, beside: bytes = b"") -> tuple[int, bytes]: ...

    def close(self) -> None: ...


class _ReadsConfig(Protocol):
    def __call__(self, path: Path, environ: Mapping[str, str]) -> Config: ...


class _StartsClient(Protocol):
    def __call__(
        self,
        config: Any,  # what the same runtime has read
        path: Sequence[str] | None = None,
        log: IO[bytes] | None = None,
        python: str | None = None,
    ) -> Client: ...


if TYPE_CHECKING:  # mypy checks that the template's classes have this interface
    from ..common import Client as _TemplateClient
    from ..common import Config as _TemplateConfig

    _reads: _ReadsConfig = _TemplateConfig.read
    _starts: _StartsClient = _TemplateClient


def is_for_gpu(config: Config) -> bool:
    """Whether a scaffold's workers may use GPUs. One of an older template says nothing of that."""
    return bool(getattr(config.serving, "gpu", False))


def has_page(config: Config) -> bool:
    """Whether a server has a page to try the model. One of an older template has none."""
    return bool(getattr(config.serving, "page", False))


class Worker:
    """A process that has loaded a scaffold's model and answers requests. Close it."""

    def __init__(
        self, client: Client, kinds: Any, load_error: type[Exception], log: WorkerLog
    ) -> None:
        self._client = client
        self._kind: int = kinds.JSON
        self._trial: int | None = getattr(kinds, "TRIAL", None)
        self._load_error = load_error
        self._log = log

    @property
    def closed(self) -> bool:
        """Whether it was closed, or has ended."""
        return self._client.closed

    def ask(self, body: bytes, beside: bytes = b"") -> tuple[int, bytes]:
        """Send a JSON body through the whole flow. Returns the status and the body of the answer.

        Where the model failed, the answer says why, with the `traceback`. No client of the server
        is told that.

        Args:
            body: the body.
            beside: what the hooks are told beside it, as `Runtime.beside` writes it.

        Raises:
            ServingError: the worker died, or took too long.
        """
        others = (beside,) if beside else ()  # an older template's client takes none
        try:
            status, answer = self._client.request(self._kind, body, *others)
        except self._load_error as error:
            raise ServingError(f"{error}{last_words(self._log.news())}") from error
        failed = failure(self._log.news())
        if status == 500 and failed is not None:
            answer = json_encode({"error": failed.reason, "traceback": failed.traceback})
        return status, answer

    def close(self) -> None:
        """End the process."""
        self._client.close()
        self._log.close()

    def try_rows(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Try whether the rows of a request are independent.

        Returns:
            What the scaffold's `common/worker/independence.py` found, a Finding as a dict. None if
            the rows cannot be tried: they are equal, or get no predictions.

        Raises:
            ServingError: the worker died, or took too long.
        """
        if self._trial is None:  # an older template's scaffold
            return None
        try:
            _, body = self._client.request(self._trial, json_encode(request))
        except self._load_error as error:
            raise ServingError(f"{error}{last_words(self._log.news())}") from error
        self._log.news()
        found: dict[str, Any] | None = json.loads(body)
        return found


class Runtime:
    """A scaffold's own `common` package, as its files are now.

    It is imported under a name of its own, so that several scaffolds can be open at once.

    Args:
        directory: the scaffold's.

    Raises:
        ScaffoldError: the directory holds no such package, or it cannot be imported.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._package = _package(directory)

    def config(self) -> Config:
        """`config.yaml`, read and checked.

        It is read as it is written: PORT and the like in the environment are for a server alone.

        Raises:
            ScaffoldError: it is missing or broken.
        """
        reads: _ReadsConfig = self._module("config").Config.read
        config_error: type[Exception] = self._module("errors").ConfigError
        try:
            return reads(self._directory / layout.CONFIG, {})
        except config_error as error:
            raise ScaffoldError(str(error)) from error

    def worker(
        self,
        config: Config,
        *,
        path: Sequence[str] | None = None,
        shown: bool = True,
        python: str | None = None,
    ) -> Worker:
        """Start a worker; it is ready when this returns.

        Args:
            config: what `config` has read.
            path: the only directories to import from, besides the scaffold and the standard
                library; by default what its interpreter finds.
            shown: whether its log goes to this process's standard error.
            python: the interpreter of another environment to run in; by default this one.

        Raises:
            ServingError: the model cannot be loaded.
            ScaffoldError: the scaffold is from an older template.
        """
        self.check_layout()
        starts: _StartsClient = self._module("link.client").Client
        kinds = self._module("link.frames").Kind
        load_error: type[Exception] = self._module("errors").LoadError
        with contextlib.ExitStack() as unless_started:
            log = WorkerLog(shown)
            unless_started.callback(log.close)
            try:
                client = starts(config, path=path, log=log.file, python=python)
            except load_error as error:
                raise ServingError(f"{error}{last_words(log.news())}") from error
            log.news()  # what it has logged while it loaded
            unless_started.pop_all()
            return Worker(client, kinds, load_error, log)

    def beside(self, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
        """What hooks are told beside a body.

        Args:
            fields: header fields, with names in lower case.

        Raises:
            ScaffoldError: the scaffold is from an older template, whose hooks read none.
        """
        if not (self._directory / layout.COMMON / "serving" / "beside.py").is_file():
            raise ScaffoldError(
                f"{self._directory / layout.COMMON} is from an older template, whose code reads no"
                f" header fields: run `{self._update()}` first"
            )
        said: bytes = self._module("serving.beside").told(fields)
        return said

    def check_layout(self) -> None:
        """Refuse a scaffold whose `common` has the layout of an earlier template.

        Raises:
            ScaffoldError: it has; the message says how to update it.
        """
        common = self._directory / layout.COMMON
        if not (common / "link" / "client.py").is_file():
            raise ScaffoldError(f"{common} is from an older template: run `{self._update()}` first")

    def _update(self) -> str:
        """The command that brings the template of this version."""
        return f"python -m generator update {shlex.quote(str(self._directory))}"

    def _module(self, name: str) -> Any:
        try:
            return importlib.import_module(f"{self._package.__name__}.{name}")
        except (ImportError, SyntaxError) as error:
            file = self._directory / layout.COMMON / name.replace(".", "/")
            raise ScaffoldError(f"{file}.py cannot be imported: {error}") from error


def _package(directory: Path) -> ModuleType:
    common = (directory / layout.COMMON).resolve()
    file = common / "__init__.py"
    if not file.is_file():
        raise ScaffoldError(f"{directory} is not a scaffold: {file} is missing")
    name = f"_scaffold_{_stamp(common)}"
    try:
        return sys.modules.get(name) or _imported(name, file)
    except (ImportError, SyntaxError) as error:
        raise ScaffoldError(f"{file} cannot be imported: {error}") from error


def _stamp(directory: Path) -> str:
    """A text that changes with the modules in the directory, which are then imported again."""
    # An editor's lock file, such as Emacs's `.#config.py`, is a link to nothing.
    modules = (file for file in sorted(directory.rglob("*.py")) if file.is_file())
    files = [(file, file.stat()) for file in modules]
    text = str([(str(file), stat.st_mtime_ns, stat.st_size) for file, stat in files])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _imported(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=[str(file.parent)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    try:
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules[name]
        raise
    return package
