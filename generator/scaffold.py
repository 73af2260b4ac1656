"""A scaffold on disk: predict with it, serve it, verify it."""

import contextlib
import json
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .environment.venvs import RUNNING, model_python
from .errors import ScaffoldError, ServingError, SettingError
from .hooks import WrittenModelScaffoldDefinition, by_name
from .rendering import update
from .rendering.update import Update
from .running import container
from .running.rows import body_rows, rows
from .running.runtime import Config, Runtime, Worker, json_encode
from .running.server import Server, serve
from .running.verification import Verification, compare

SMOKE_TEST = "smoke-test.json"
CURRENT, ISOLATED, DOCKER = ENVIRONMENTS = ("current", "isolated", "docker")


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
        self._worker: Worker | None = None
        self._stamp: float | None = None
        self._config = self._read_config()

    def __repr__(self) -> str:
        return f"Scaffold({str(self.directory)!r})"

    @property
    def name(self) -> str:
        """The model's name, as in `/v1/models/NAME:predict`."""
        return self._config.name

    @property
    def framework(self) -> str:
        """The framework, as `config.yaml` names it."""
        return self._config.framework

    @property
    def server(self) -> str:
        """The server that takes the requests, as `config.yaml` names it."""
        return self._config.server

    @property
    def dockerfile(self) -> str:
        """The name of the Dockerfile in the directory."""
        return f"{self.framework}-server.Dockerfile"

    @property
    def docker_build_string(self) -> str:
        """The shell command that builds the image; append `-t NAME` to name it."""
        path = self._shell_path()
        return f"docker build -f {shlex.quote(f'{path}/{self.dockerfile}')} {shlex.quote(path)}"

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
        return self._answer(CURRENT, _request(instances_or_request))

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

    def verify(
        self,
        sample_input: Any = None,
        environment: str = CURRENT,
        *,
        expected: Any = None,
        tolerance: float | None = None,
    ) -> Verification:
        """Whether the scaffold predicts what it should, here or in an environment made anew from its requirements.

        A sample that passes becomes the scaffold's smoke test, `smoke-test.json`.

        Args:
            sample_input: rows to compare on with the model in memory; without them the smoke test is what the scaffold
                should predict.
            environment: "current" runs the model in the environment you are in, "isolated" in a virtual environment of
                the scaffold's Python version and `requirements.txt`, made once in the user's cache, "docker" in a
                container of the scaffold's image.
            expected: the predictions that the sample should give, where that is not what the model in memory predicts.
            tolerance: how far a number may be off, as a part of the largest expected one; by default the framework's: 0
                for scikit-learn, 1e-6 for Keras, PyTorch and scikit-learn by ONNX Runtime.

        Raises:
            ScaffoldError: there is nothing to compare with.
            SettingError: there is no such environment, or the model cannot predict from the sample.
            ServingError: the environment cannot be made, or the scaffold does not answer there.
        """
        if environment not in ENVIRONMENTS:
            raise SettingError(f"environment {environment!r} is none of {', '.join(ENVIRONMENTS)}")
        definition = by_name(self.framework)
        if sample_input is None:
            recorded = self._smoke_test()
            request, wanted = recorded["request"], _predictions(recorded["response"])
        else:
            request = {"instances": rows(sample_input)}
            wanted = self._expected(definition, sample_input) if expected is None else expected
        response = self._answer(environment, request)
        allowed = definition.tolerance_of(self._config.model) if tolerance is None else tolerance
        verification = compare(wanted, _predictions(response), allowed)
        if verification and sample_input is not None:
            write_smoke_test(self.directory / SMOKE_TEST, body_rows(sample_input), response)
        return verification

    def replace_model(
        self,
        model: Any,
        *,
        sample_input: Any = None,
        expected: Any = None,
        requirements: Sequence[str] | None = None,
        python_version: str | None = None,
        format: str | None = None,
        engine: str | None = None,
        change_signature: bool = False,
    ) -> None:
        """Put another model of the same framework into the scaffold, such as the same one trained anew.

        The model's file, its code, its facts in `config.yaml`, its pins and the smoke test change. Everything else
        stays, your edits and your requirements among it. Nothing changes where anything fails.

        Args:
            model: as `from_model` takes it.
            sample_input: rows to prove the scaffold on, as `from_model` takes them. Without them the smoke test, which
                is the old model's, goes.
            expected: the predictions that the sample should give, where that is not what the model in memory predicts.
            requirements: requirement lines (PEP 508) that are added to those that were given before.
            python_version: "3.10" to "3.13"; by default the running one.
            format: as `from_model` takes it.
            engine: "native" or "onnx", as `from_model` takes it; by default the scaffold's.
            change_signature: whether the model may take other rows than the one there.

        Raises:
            ModelError: the object is no model of this framework that can be served, or the scaffold does not predict
                as it does.
            SettingError: the model takes other rows, or another argument has a value that its rule forbids.
            RequirementError: a line of yours in `requirements.txt` does not admit what the model was trained with.
            ScaffoldError: the model comes with code in place of a file in `src/model/` that you have edited.
            TargetError: the directory cannot be written.
        """
        from .writing.prepare import recognised
        from .writing.replace import replace_model

        definition, model = recognised(model, self.framework)
        replace_model(
            self,
            definition,
            model,
            sample_input=sample_input,
            expected=expected,
            requirements=requirements,
            python_version=python_version,
            format=format,
            engine=engine,
            change_signature=change_signature,
        )
        self.close()
        self._model, self._config = model, self._read_config()

    def update(
        self, to: str | None = None, *, pretend: bool = False, template: str | None = None
    ) -> Update:
        """Bring a later version of the template into the scaffold, which must be committed to git.

        Your changes and the template's are merged; where both changed the same lines, the file holds both sides between
        marks. The model, the data and files that you added stay as they are, a file that you deleted stays deleted,
        and the server's lock becomes the template's.

        Args:
            to: the template's version, as in "1.2.0", or a branch or commit; by default `SCAFFOLD_REF` in the
                environment, else the latest release.
            pretend: change nothing and only tell what would change.
            template: the template's address where it is no longer the one in `.copier-answers.yml`; by default
                `SCAFFOLD_TEMPLATE` in the environment, else the recorded one.

        Raises:
            UpdateError: the directory is not in git, not all in it is committed, or the version is an earlier one.
            TemplateError: the template, or that version of it, cannot be had.
        """
        return update.run(self.directory, to, pretend, template)

    def close(self) -> None:
        """End the worker that `predict` started; the next `predict` starts another."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    @property
    def _source(self) -> Path:
        return self.directory / "src"

    def _shell_path(self) -> str:
        """The directory, so that no command takes it for an option, nor docker for the address of a repository."""
        path = str(self.directory)
        return f"./{path}" if path.startswith(("-", "git@", "github.com/")) else path

    def _read_config(self) -> Config:
        if not self.directory.is_dir():
            raise ScaffoldError(
                f"{str(self.directory)!r} is no directory: name one that holds a scaffold"
            )
        return Runtime(self.directory).config()

    def _expected(self, definition: WrittenModelScaffoldDefinition, sample: Any) -> Any:
        if self._model is None:
            raise ScaffoldError(
                f"{self!r} was opened without its model: pass what the sample should give as expected"
            )
        try:
            return definition.predict(self._model, sample)
        except ScaffoldError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SettingError(f"the model cannot predict from sample_input: {reason}") from error

    def _answer(self, environment: str, request: dict[str, Any]) -> dict[str, Any]:
        """The response to a request, which goes through the whole flow in an environment."""
        body = json_encode(request)
        asked = {CURRENT: self._ask_here, ISOLATED: self._ask_isolated, DOCKER: self._ask_container}
        status, answer = asked[environment](body)
        response = json.loads(answer)
        if status != 200:
            raise ServingError(f"the scaffold answered {status}: {response['error']}")
        return dict(response)

    def _ask_here(self, body: bytes) -> tuple[int, bytes]:
        return self._current_worker().ask(body)

    def _ask_isolated(self, body: bytes) -> tuple[int, bytes]:
        runtime = Runtime(self.directory)
        self._config = runtime.config()
        version = self._config.python_version or RUNNING
        python = model_python(self.directory / "requirements.txt", version)
        with contextlib.closing(runtime.worker(self._config, python=str(python))) as worker:
            return worker.ask(body)

    def _ask_container(self, body: bytes) -> tuple[int, bytes]:
        self._config = self._read_config()
        serving = self._config.serving
        with container.running(
            self.directory, self.dockerfile, self.name, serving.load_timeout_seconds
        ) as url:
            return container.post(
                f"{url}/v1/models/{self.name}:predict", body, serving.predict_timeout_seconds
            )

    def _current_worker(self) -> Worker:
        """A worker that runs the files as they are now."""
        stamp = self._newest_change()
        if self._worker is not None and (self._worker.closed or stamp != self._stamp):
            self.close()
        if self._worker is None:
            runtime = Runtime(self.directory)
            self._config = runtime.config()
            self._worker = runtime.worker(self._config)
            self._stamp = stamp
        return self._worker

    def _newest_change(self) -> float:
        """When a file that a worker reads was last changed."""
        files = [
            self.directory / "config.yaml",
            *(path for path in self._source.rglob("*") if path.suffix != ".pyc"),
        ]
        return max(path.stat().st_mtime for path in files if path.is_file())

    def _smoke_test(self) -> dict[str, Any]:
        path = self.directory / SMOKE_TEST
        try:
            recorded = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ScaffoldError(
                f"{path} is missing: make the scaffold with a sample_input, or call verify with one, to have it"
            ) from None
        except (OSError, ValueError) as error:
            raise ScaffoldError(f"{path} cannot be read as JSON: {error}") from error
        if not isinstance(recorded, dict) or not recorded.keys() >= {"request", "response"}:
            raise ScaffoldError(f"{path} is no smoke test: it must hold a request and its response")
        return {"request": _request(recorded["request"]), "response": recorded["response"]}


def _request(instances_or_request: Any) -> dict[str, Any]:
    """A request of rows, or the request itself with its rows as JSON has them."""
    request = instances_or_request
    if _are_arrays(request):
        request = rows(request)
    if not isinstance(request, dict):
        request = {"instances": request}
    instances = request.get("instances")
    if isinstance(instances, Iterable) and not isinstance(instances, (str, bytes, dict)):
        request = {**request, "instances": rows(instances)}
    return request


def _predictions(response: Any) -> Any:
    if not isinstance(response, dict) or "predictions" not in response:
        raise ScaffoldError(
            f"the response {str(response)[:200]} has no predictions: there is nothing to compare"
        )
    return response["predictions"]


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
