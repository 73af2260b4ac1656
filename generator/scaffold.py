"""A scaffold on disk: predict with it, serve it, verify it, replace its model, update it."""

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from . import layout
from .arguments import argument
from .common import ON_GPU
from .environment import locking
from .environment.venvs import RUNNING
from .errors import ScaffoldError, SettingError
from .hooks import WrittenModelScaffoldDefinition, by_name
from .owners import guarded
from .progress import step
from .rendering import update
from .rendering.update import Update
from .rows import samples, tables
from .rows.body import request_of
from .running.comparison import Verification
from .running.container import uses_buildkit
from .running.headers import header_fields
from .running.runtime import Config, Runtime, is_for_gpu
from .running.server import Server, serve
from .running.verification import (
    CURRENT,
    ENVIRONMENTS,
    response,
    verify_sample,
    verify_smoke_test,
)
from .running.worker import LocalWorker
from .showing.scaffold_card import Shown, broken_card, scaffold_card
from .writing.config_file import read_facts
from .writing.prepare import kept_answering, recognised
from .writing.replace import replace_model


class Scaffold:
    """A scaffold in a directory.

    Args:
        directory: the scaffold's.
        model: the model in memory that it was made from, if there is one.

    Raises:
        ScaffoldError: the directory holds no scaffold, or its `config.yaml` is broken.
    """

    def __init__(self, directory: "str | os.PathLike[str]", model: Any = None) -> None:
        self.directory = Path(directory)
        self._model = model
        self._worker = LocalWorker(self.directory)
        self._check()

    def __repr__(self) -> str:
        return f"Scaffold({str(self.directory)!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows in place of `repr`."""
        try:
            return scaffold_card(self._shown())
        except ScaffoldError as error:
            return broken_card(self.directory, error)

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
    def gpu(self) -> bool:
        """Whether its workers may use NVIDIA GPUs, as `config.yaml` says."""
        return is_for_gpu(self._config)

    @property
    def dockerfile(self) -> str:
        """The name of the Dockerfile in the directory."""
        return layout.dockerfile(self.framework)

    @property
    def docker_build_string(self) -> str:
        """The shell command that builds the image; append `-t NAME` to name it."""
        path = self._shell_path()
        return f"docker build -f {shlex.quote(f'{path}/{self.dockerfile}')} {shlex.quote(path)}"

    @property
    def docker_run_string(self) -> str:
        """The shell command that builds the image if need be, and runs it on port 8080."""
        port = self._config.serving.http_port
        gpus = " --gpus all" if self.gpu else ""
        return f'docker run --rm{gpus} -p 8080:{port} -t "$({self.docker_build_string} -q)"'

    @guarded("the scaffold cannot be asked", ScaffoldError)
    def predict(
        self, instances_or_request: Any, *, headers: "Mapping[str, str] | None" = None
    ) -> dict[str, Any]:
        """Send a request through the whole flow of the server, without a server.

        A worker in this environment answers. It runs until `close`, and starts again when a file
        changes.

        Args:
            instances_or_request: rows (a list, an array of shape [n, ...], a DataFrame, a dict of
                arrays keyed by input name), or a request as a dict with `instances` and whatever
                else the model's code reads. A model that was fitted without feature names takes the
                columns of a DataFrame in their order.
            headers: header fields of the request, by name, for hooks that read them.

        Returns:
            The response, as a client reads it from JSON: a dict with `predictions`.

        Raises:
            ServingError: the worker cannot load the model, or answers with an error.
            SettingError: no request can have these header fields.
            ScaffoldError: the scaffold is from an older template.
        """
        asked = self._worker.ask
        if headers:
            asked = partial(asked, fields=header_fields(headers))
        return response(asked, request_of(self._ordered(instances_or_request)))

    def serve(
        self, port: int = 8080, host: str = "127.0.0.1", *, reload: bool = False
    ) -> "contextlib.AbstractContextManager[Server]":
        """Serve the scaffold without Docker, for as long as the `with` block lasts.

        The server runs in this environment if it holds the server's packages, else in one that is
        made once from `server-requirements.txt`. The model runs in this environment.

        Args:
            port: the port to serve on; 0 takes a free one.
            host: the address to listen on: by default only this machine reaches the server;
                "0.0.0.0" is every address of IPv4, "::" of IPv6 too.
            reload: whether to load the model again when a file under `src/` changes. If that fails,
                the log says why, and the model goes on as it was.

        Raises:
            ServingError: the server did not start.
        """
        return serve(self.directory, self._config, port, host, reload)

    @guarded("the scaffold cannot be verified", ScaffoldError)
    def verify(
        self,
        sample_input: Any = None,
        environment: str = CURRENT,
        *,
        expected: Any = None,
        tolerance: float | None = None,
    ) -> Verification:
        """Compare what the scaffold predicts with what it should predict.

        A sample that passes becomes the scaffold's smoke test, `smoke-test.json`.

        Args:
            sample_input: rows to compare on with the model in memory, as `from_model` takes them;
                without them the smoke test says what the scaffold should predict.
            environment: "current" runs the model in the environment you are in, "isolated" in a
                virtual environment with the scaffold's Python version and `requirements.lock`, or
                `requirements.txt` where there is no lock, made once in the user's cache, "docker"
                in a container of the scaffold's image.
            expected: the predictions for the sample, where they are not those of the model in
                memory.
            tolerance: how far a number may be off, relative to the largest expected one; by
                default the framework's: 0 for scikit-learn, 1e-6 for Keras, PyTorch and
                scikit-learn by ONNX Runtime; with `gpu` 2e-3.

        Raises:
            ScaffoldError: there is nothing to compare with, or the scaffold is of an older
                template.
            SettingError: there is no such environment, or the model cannot predict from the sample.
            ServingError: the environment cannot be created, or the scaffold does not answer there.
        """
        if environment not in ENVIRONMENTS:
            raise SettingError(
                f"{argument('environment')} {environment!r} is none of {', '.join(ENVIRONMENTS)}"
            )
        definition = by_name(self.framework).as_configured(self._config.model)
        if tolerance is None:
            tolerance = definition.tolerance_of(self._config.model)
            if self.gpu:
                tolerance = max(tolerance, ON_GPU)  # another device may have made the numbers
        if sample_input is None:
            with step(f"Verifying {self.directory}"):
                return verify_smoke_test(self._worker, environment, tolerance)
        sample_input = samples.read(sample_input)
        if self._model is not None:
            sample_input = definition.sampled(self._model, sample_input)
        if expected is None:
            expected = self._expected(definition, sample_input)
        sample_input = self._ordered(sample_input)
        with step(f"Verifying {self.directory}"):
            return verify_sample(self._worker, environment, sample_input, expected, tolerance)

    @guarded("the model cannot be replaced", ScaffoldError)
    def replace_model(
        self,
        model: Any,
        *,
        sample_input: Any = None,
        expected: Any = None,
        requirements: Sequence[str] | None = None,
        python_version: str | None = None,
        method: "str | Sequence[str] | None" = None,
        parameters: "Sequence[str] | Mapping[str, Any] | None" = None,
        format: str | None = None,
        engine: str | None = None,
        code: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None" = None,
        wheels: bool = False,
        version: str | None = None,
        change_signature: bool = False,
    ) -> None:
        """Put another model of the same framework into the scaffold, such as one trained again.

        The model's file, its code, its facts in `config.yaml`, its pins and the smoke test change.
        Everything else stays, your edits and your requirements too. If anything fails, nothing
        changes. `requirements.lock` is renewed where the scaffold has one; a warning says why where
        that fails.

        Args:
            model: as `from_model` takes it.
            sample_input: rows to verify the scaffold on, as `from_model` takes them. Without them
                what `config.yaml` says of a row stays, and the smoke test's rows are asked again,
                where the new model takes such rows; else a warning says why not.
            expected: the predictions for the sample, where they are not those of the model in
                memory.
            requirements: requirement lines (PEP 508) that are added to those that were given
                before.
            python_version: "3.10" to "3.13"; by default the running one.
            method: as `from_model` takes it; by default the scaffold's.
            parameters: as `from_model` takes them; by default the scaffold's.
            format: as `from_model` takes it; by default the scaffold's.
            engine: "native" or "onnx", as `from_model` takes it; by default the scaffold's.
            code: as `from_model` takes it. Files that were named for the old model only are
                removed, where nobody has edited them.
            wheels: as `from_model` takes it.
            version: as `from_model` takes it. The version that was given to the model before is
                removed, with a warning where there is no new one.
            change_signature: whether the model may take other rows than the one there.

        Raises:
            ModelError: the object is not a model of this framework that can be served, or the
                scaffold predicts differently.
            SettingError: the model takes other rows, or another argument has a value that its rule
                forbids.
            RequirementError: a line of yours in `requirements.txt` excludes the version that the
                model needs.
            ScaffoldError: the model's code would replace a file in `src/model/` that you have
                edited, or the scaffold is from an older template.
            TargetError: the directory cannot be written.
        """
        answering = kept_answering(self._config.model, method, parameters)
        definition, model = recognised(model, self.framework, *answering)
        with step(f"Replacing the model of {self.directory}"):
            replace_model(
                self.directory,
                self.framework,
                definition,
                model,
                sample_input=sample_input,
                expected=expected,
                requirements=requirements,
                python_version=python_version,
                format=format,
                engine=engine,
                code=code,
                wheels=wheels,
                version=version,
                change_signature=change_signature,
            )
        self.close()
        self._model = model

    @guarded("requirements.lock cannot be made", ScaffoldError)
    def lock(self) -> Path:
        """Make `requirements.lock`, or renew it: all that `requirements.txt` needs, with hashes.

        From then on the image and `verify` in an isolated environment are built from it. An index
        is asked, by uv. What was locked before stays as far as `requirements.txt` allows it: remove
        the file first to have the newest versions.

        Returns:
            The file's path.

        Raises:
            RequirementError: there is no uv, a package is not found or cannot be locked, the lock
                there may hold edits of yours, or the Dockerfile is of an older template.
            TargetError: the file cannot be written.
        """
        return locking.make(self.directory, self._config.python_version or RUNNING)

    @guarded("the scaffold cannot be updated", ScaffoldError)
    def update(
        self, to: str | None = None, *, pretend: bool = False, template: str | None = None
    ) -> Update:
        """Bring a later version of the template into the scaffold, which must be committed to git.

        Your changes and the template's are merged. Where both changed the same lines, the file
        holds both sides between marks. The model, the data and files that you added stay as they
        are. A file that you deleted stays deleted. The server's lock becomes the template's.

        Args:
            to: the template's version, as in "1.2.0", or a branch or commit; by default
                `SCAFFOLD_REF` in the environment, else the latest release.
            pretend: only report what would change.
            template: the template's address where it is no longer the one in `.copier-answers.yml`;
                by default `SCAFFOLD_TEMPLATE` in the environment, else the recorded one.

        Raises:
            UpdateError: the directory is not in git, not everything in it is committed, or the
                version is an earlier one.
            TemplateError: the template, or that version of it, is not available.
        """
        with step(f"Updating {self.directory}"):
            return update.run(self.directory, to, pretend, template)

    def close(self) -> None:
        """End the worker that `predict` started; the next `predict` starts another."""
        self._worker.close()

    def _ordered(self, given: Any) -> Any:
        """Rows or a request, without the names of a DataFrame's columns if the model knows none."""
        if isinstance(given, Mapping) and tables.is_frame(given.get("instances")):
            return {**given, "instances": self._ordered(given["instances"])}
        described = self._config.model.input if tables.is_frame(given) else None
        if getattr(described, "kind", None) != "array" or getattr(described, "names", None):
            return given
        return tables.listed(given)

    @property
    def _config(self) -> Config:
        """`config.yaml` as it is now."""
        return Runtime(self.directory).config()

    def _check(self) -> None:
        """Refuse a directory that holds no scaffold."""
        if not self.directory.is_dir():
            raise ScaffoldError(
                f"{str(self.directory)!r} is not a directory: name one that holds a scaffold"
            )
        Runtime(self.directory).config()

    def _shown(self) -> Shown:
        config, build = self._config, self.docker_build_string
        typed = build if uses_buildkit() else f"DOCKER_BUILDKIT=1 {build}"
        return Shown(
            directory=self.directory,
            name=config.name,
            framework=config.framework,
            server=config.server,
            gpu=is_for_gpu(config),
            version=getattr(config.model, "version", None),  # an older template's has none
            model=read_facts(self.directory / layout.CONFIG),
            build=typed,
            run=self.docker_run_string.replace(build, typed),
        )

    def _shell_path(self) -> str:
        """The directory, written so that no command reads it as an option or an address."""
        path = str(self.directory)
        if path.startswith(("-", "git@", "github.com/")):
            return f"./{path}"
        return path

    def _expected(self, definition: WrittenModelScaffoldDefinition, sample: Any) -> Any:
        if self._model is None:
            raise ScaffoldError(
                f"{self!r} was opened without its model: pass the predictions for the sample"
                f" as {argument('expected')}"
            )
        return definition.expected(self._model, sample)


def load(directory: "str | os.PathLike[str]") -> Scaffold:
    """Open an existing scaffold.

    Raises:
        ScaffoldError: the directory holds no scaffold, or its `config.yaml` is broken.
    """
    return Scaffold(directory)
