"""A scaffold on disk: predict with it, serve it, verify it."""

import contextlib
import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import ScaffoldError, ServingError
from .hooks import by_name
from .runtime import load as load_runtime
from .samples import Verification, compare, rows
from .serving import Server, serve

SMOKE_TEST = "smoke-test.json"


class Scaffold:
    """A scaffold in a directory.

    Args:
        directory: where it lies.
        model: the model in memory that it was made from, where there is one.

    Raises:
        ScaffoldError: the directory holds no scaffold, or its `config.yaml` is broken.
    """

    def __init__(self, directory: "str | os.PathLike[str]", model: Any = None) -> None:
        self.directory = Path(directory)
        self._model = model
        self._client: Any = None
        self._stamp: float | None = None
        self._config = self._read_config()

    def __repr__(self) -> str:
        return f"Scaffold({str(self.directory)!r})"

    @property
    def name(self) -> str:
        """The model's name, as in `/v1/models/NAME:predict`."""
        return str(self._config.name)

    @property
    def docker_build_string(self) -> str:
        """The shell command that builds the image; append `-t NAME` to name it."""
        path = self._shell_path()
        dockerfile = f"{path}/{self._config.framework}-server.Dockerfile"
        return f"docker build -f {shlex.quote(dockerfile)} {shlex.quote(path)}"

    @property
    def docker_run_string(self) -> str:
        """The shell command that runs the image on port 8080; it builds it first where that has not been done."""
        port = self._config.serving.http_port
        return f'docker run --rm -p 8080:{port} -t "$({self.docker_build_string} -q)"'

    def predict(self, instances_or_request: Any) -> dict[str, Any]:
        """Send a request through the whole flow of the server, without one: a worker runs in this environment.

        Args:
            instances_or_request: rows (a list, an array of shape [n, ...], a DataFrame, a dict of arrays keyed by
                input name), or a request as a dict with `instances` and whatever else the model's code reads.

        Returns:
            The response, as a client reads it from JSON: a dict with `predictions`.

        Raises:
            ServingError: the worker cannot load the model, or answers with an error.
        """
        request = instances_or_request
        if _are_arrays(request):
            request = rows(request)
        if not isinstance(request, dict):
            request = {"instances": request}
        instances = request.get("instances")
        if isinstance(instances, Iterable) and not isinstance(instances, (str, bytes, dict)):
            request = {**request, "instances": rows(instances)}
        serialization = load_runtime(self._source, "serialization")
        kind = load_runtime(self._source, "frames").Kind.JSON
        status, body = self._ask(kind, serialization.json_encode(request))
        response = json.loads(body)
        if status != 200:
            raise ServingError(f"the scaffold answered {status}: {response['error']}")
        return dict(response)

    def serve(self, port: int = 8080) -> "contextlib.AbstractContextManager[Server]":
        """Serve the scaffold without Docker, for as long as the `with` block lasts.

        The server runs in this environment where it holds the server's packages, else in one that is made once from
        `server-requirements.txt`. The model runs in this environment.

        Args:
            port: the port to serve on; 0 takes a free one.

        Raises:
            ServingError: the server did not start.
        """
        return serve(self.directory, self.name, port)

    def verify(self, sample_input: Any = None) -> Verification:
        """Whether the scaffold predicts what it should: to the last bit, or within its framework's tolerance.

        Args:
            sample_input: rows to compare on with the model in memory; without them, or without that model, the
                scaffold's own smoke test is what it should predict.

        Raises:
            ScaffoldError: there is nothing to compare with.
        """
        definition = by_name(self._config.framework)
        if sample_input is not None and self._model is not None:
            expected = definition.predict(self._model, sample_input)
            return compare(expected, self.predict(rows(sample_input))["predictions"], definition.tolerance)
        if sample_input is not None:
            raise ScaffoldError(f"{self!r} was opened without its model: there is nothing to compare sample_input with")
        recorded = self._smoke_test()
        served = self.predict(recorded["request"])["predictions"]
        return compare(recorded["response"]["predictions"], served, definition.tolerance)

    def close(self) -> None:
        """End the worker that `predict` started; the next `predict` starts another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def _source(self) -> Path:
        return self.directory / "src"

    def _shell_path(self) -> str:
        """The directory, so that no command takes it for an option, nor docker for the address of a repository."""
        path = str(self.directory)
        return f"./{path}" if path.startswith(("-", "git@", "github.com/")) else path

    def _read_config(self) -> Any:
        if not self.directory.is_dir():
            raise ScaffoldError(f"{str(self.directory)!r} is no directory: name one that holds a scaffold")
        config = load_runtime(self._source, "config")
        errors = load_runtime(self._source, "errors")
        try:
            return config.Config.read(self.directory / "config.yaml")
        except errors.ConfigError as error:
            raise ScaffoldError(str(error)) from error

    def _ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        errors = load_runtime(self._source, "errors")
        try:
            status, answer = self._worker().request(kind, body)
        except errors.LoadError as error:
            raise ServingError(str(error)) from error
        return status, answer

    def _worker(self) -> Any:
        """A worker that runs the files as they are now."""
        stamp = self._newest_change()
        if self._client is not None and (self._client.closed or stamp != self._stamp):
            self.close()
        if self._client is None:
            self._config = self._read_config()
            self._client = load_runtime(self._source, "client").Client(self._config)
            self._stamp = stamp
        return self._client

    def _newest_change(self) -> float:
        """When a file that a worker reads was last changed."""
        files = [self.directory / "config.yaml", *(path for path in self._source.rglob("*") if path.suffix != ".pyc")]
        return max(path.stat().st_mtime for path in files if path.is_file())

    def _smoke_test(self) -> dict[str, Any]:
        path = self.directory / SMOKE_TEST
        try:
            recorded = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ScaffoldError(f"{path} is missing: make the scaffold with a sample_input to have one") from None
        except ValueError as error:
            raise ScaffoldError(f"{path} is not JSON: {error}") from error
        return dict(recorded)


def _are_arrays(request: Any) -> bool:
    """Whether it is a dict of arrays of rows keyed by input name, and no request."""
    if not isinstance(request, dict) or not request or "instances" in request:
        return False
    return all(hasattr(part, "shape") for part in request.values())


def write_smoke_test(path: Path, instances: list[Any], response: dict[str, Any]) -> None:
    """Keep a request and its answer with the scaffold."""
    pair = {"request": {"instances": instances}, "response": response}
    path.write_text(json.dumps(pair) + "\n", encoding="utf-8")


def load(directory: "str | os.PathLike[str]") -> Scaffold:
    """Open a scaffold that exists.

    Raises:
        ScaffoldError: the directory holds none, or its `config.yaml` is broken.
    """
    return Scaffold(directory)
