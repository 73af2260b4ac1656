"""Collects what a scaffold needs to know about a model, and writes the model into it."""

import contextlib
import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import layout
from ..arguments import argument
from ..capture.captured import Captured
from ..capture.changes.find import Change, changes
from ..capture.collect import capture
from ..capture.data_files import missing, named_code
from ..common import ON_GPU, VERSION, VERSION_RULE, digest, gpus, schema, written
from ..environment import pins
from ..environment.installed import Environment, Installed
from ..environment.isolation import lacking
from ..environment.lines import Requirements
from ..environment.venvs import RUNNING
from ..errors import ModelError, SettingError
from ..files import without_links
from ..hooks import NATIVE, ONNX, Description, WrittenModelScaffoldDefinition, find
from ..hooks.objects.custom import Custom
from ..owners import guarded, warn
from ..progress import step
from ..rows import samples
from ..rows.as_json import holds_infinity
from ..rows.body import body_rows, distinct, few
from ..running import clean_process
from ..running.comparison import Verification, compare
from ..running.runtime import Runtime
from ..running.verification import CURRENT, check_expected, response, verify_sample
from ..running.worker import LocalWorker
from .config_file import read_facts, write_facts
from .label import label_version
from .wheels import write_wheels

# The template has a range for msgpack: truss, which deploys to Baseten, pins a version of its own.
WORKER_NEEDS = dict.fromkeys(("numpy", "orjson"), "bodies of requests and responses in the worker")
NOT_OF_TRAINING = ("msgpack", "onnxruntime", "orjson")
TRIED_ROWS = 8  # of a sample, together and one by one
PYTHON_VERSIONS = ("3.10", "3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Prepared:
    """A model that can be written into a scaffold.

    Attributes:
        definition: its framework.
        model: the model in memory.
        sample: rows to compare on, as the model takes them; None where there are none.
        served: the form of it that is served.
        captured: the owner's own code that travels with it.
        description: what its rows and predictions are.
        compiled: what another engine runs in its place; None if the model itself predicts.
        python_version: of the environment that serves it.
        environment: what is installed here.
        given: the owner's requirement lines.
        capturing: captures the code again, with what the session has changed in it.
        changes: what that is.
        found: the distributions that the proof has found missing, each with the reason for it.
        version: the model's, if the owner gives one.
        is_unshared: whether its requests share no call of `predict` in any case.
        gpu: whether the scaffold is for an NVIDIA GPU.
    """

    definition: WrittenModelScaffoldDefinition
    model: Any
    sample: Any
    served: Any
    captured: Captured
    description: Description
    compiled: bytes | None
    python_version: str
    environment: Environment
    given: Sequence[str]
    capturing: Callable[[Sequence[Change]], Captured]
    changes: tuple[Change, ...] = ()
    found: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    is_unshared: bool = False
    gpu: bool = False

    @property
    def engine(self) -> str:
        """What predicts, as `config.yaml` names it."""
        if self.compiled is None:
            return NATIVE
        return ONNX

    @contextlib.contextmanager
    def named(self) -> Iterator[Requirements]:
        """The packages that the scaffold needs. Call `write` while the block lasts.

        Inside the block, the session's definitions have the names that the scaffold imports.

        Raises:
            ModelError: the model cannot be pickled.
            RequirementError: something the model needs cannot be written as a requirement.
        """
        with self.captured.renamed():
            with self._writing():
                needed = self._needed()
            yield needed

    def serialized(self, place: Path) -> Path:
        """Write the model alone into a directory; returns its file, or its own directory there.

        Raises:
            ModelError: it cannot be written.
            OSError: the disk is full, or cannot be written to.
        """
        with step("Writing the model"), self._writing():
            path = self.definition.serialize_model_to_directory(self.served, place)
            without_links(path)
        return path

    def _writing(self) -> "contextlib.AbstractContextManager[None]":
        doing = f"{type(self.model).__name__} cannot be written"
        return guarded(doing, passing=(OSError,))

    def _needed(self) -> Requirements:
        imported = dict(self.captured.imports)
        if self.compiled is not None:
            engine = f"{layout.COMMON}/onnx_engine.py, which runs {layout.ONNX_FILE}"
            imported["onnxruntime"] = engine
        return pins.infer(
            self.captured.outside(self.definition.references(self.served)),
            self.environment,
            imported=imported,
            always={**self.found, **WORKER_NEEDS, **self.description.distributions},
            given=self.given,
            gpu=self.gpu,
        )

    def write(self, directory: Path, needed: Requirements) -> list[str]:
        """Write the serialized model, its code and its facts in `config.yaml` into a scaffold.

        Args:
            directory: the scaffold's.
            needed: what `named` yields.

        Returns:
            The paths of the files in `src/model/` and `wheels/`, of the model's directory where it
            is one, of those that name its version, and of `inference_model.py` where the served
            form needs an edit.
        """
        place = directory / layout.MODEL
        file = self.serialized(place)
        self._check_names(file)
        self.captured.write(place)
        facts = {**self._facts(file, needed), **self.definition.facts(self.model)}
        facts |= self.definition.served_facts(self.served, file)
        if self.gpu:
            facts |= self.definition.facts_for_gpu(facts)
        names = [file.name, *self.captured.digests]
        before = read_facts(directory / layout.CONFIG)
        if before.get("rows_independent") is not None:
            facts |= {"rows_independent": None, "batch_noise": None}  # of the model before
        if self.version is not None or before.get("version") is not None:
            facts["version"] = self.version
        if self.compiled is not None:
            (place / layout.ONNX_FILE).write_bytes(self.compiled)
            names.append(layout.ONNX_FILE)
            facts |= {"engine": ONNX, "onnx_sha256": _sha256(self.compiled)}
        if needed.wheels:
            facts["wheels"] = {wheel.name: wheel.sha256 for wheel in needed.wheels}
        write_facts(directory / layout.CONFIG, facts)
        others = label_version(directory, before, facts)
        others += write_wheels(directory, needed.wheels)
        if self.definition.edit_code(self.served, directory / layout.INFERENCE_MODEL):
            others = [*others, layout.INFERENCE_MODEL]
        return [*(f"{layout.MODEL}/{name}" for name in names), *others]

    def _check_names(self, file: Path) -> None:
        """Refuse a file of the owner's that would replace one of the scaffold's own.

        Nor may a module have the name of the model's directory, which may hide it.
        """
        taken = {file.name, layout.ONNX_FILE, "__init__.py"}
        if file.is_dir():
            taken.add(f"{file.name}.py")
        for name in (*self.captured.data, *self.captured.files):
            if name in taken or Path(name).parts[0] == file.name:
                raise SettingError(
                    f"{layout.MODEL}/{name} has the name of a file of the scaffold's own: rename"
                    " yours, or leave it out of code"
                )

    def _facts(self, file: Path, needed: Requirements) -> dict[str, Any]:
        """The keys of `model` in `config.yaml` that are independent of engine and framework."""
        versions = needed.versions.items()
        trained = {name: text for name, text in versions if not name.startswith(NOT_OF_TRAINING)}
        code = dict(sorted(self.captured.digests.items()))
        return {
            "file": file.name,
            "sha256": digest(file),
            "code": code or None,
            "class": f"{type(self.model).__module__}.{type(self.model).__qualname__}",
            "trained_with": {"python": platform.python_version(), **trained},
            "input": schema.as_document(self.description.input),
            "output": schema.as_document(self.description.output),
            "example": self.description.example,
        }

    def check(self, directory: Path, expected: Any = None) -> None:
        """Check that the scaffold loads without the owner's modules and predicts as the model does.

        Args:
            directory: the scaffold's.
            expected: what the scaffold should predict; by default what the model predicts.

        Raises:
            ModelError: it does not.
            Incomplete: the proof has shown what else must travel.
        """
        verification = self.verification(directory, expected)
        if verification is not None and not verification:
            raise ModelError(
                "the scaffold does not predict what the model in memory does:"
                f" {verification.difference}"
            )

    def verification(self, directory: Path, expected: Any = None) -> Verification | None:
        """Check as `check` does, but only report what the scaffold predicts for the sample.

        Returns:
            The comparison, after which the sample is the smoke test if it holds; None without a
            sample.

        Raises:
            ModelError: the scaffold does not load without the owner's modules.
        """
        self._check_unchanged(directory)
        proving = step("Proving the answers in a process of its own")
        given = self.captured.given
        with proving, clean_process.site(directory, self.environment, given) as site:
            if self.sample is None:
                self._check_without_sample(directory, site)
                return None
            return self._check_with(directory, site, expected)

    def _check_with(self, directory: Path, site: clean_process.Site, expected: Any) -> Verification:
        if expected is None:
            expected = self.definition.expected(self.model, self.sample)
        check_expected(expected)
        if holds_infinity(expected):
            warn(
                f"a prediction for {argument('sample_input')} is infinite, which JSON has no form"
                " for: clients get null"
            )
        with self._elsewhere(directory, site) as worker:
            return self._compared(directory, worker, expected)

    @contextlib.contextmanager
    def _elsewhere(
        self, directory: Path, site: clean_process.Site
    ) -> "Iterator[clean_process.CleanWorker]":
        """A worker without the owner's own files, and with the scaffold's packages only.

        Raises:
            ModelError: it does not answer. The message says which file to name in `code=`.
            Incomplete: a package is missing that is installed here.
        """
        roots = self.captured.roots
        try:
            with clean_process.worker(directory, site.path, roots) as worker:
                yield worker
        except ModelError as error:
            if found := lacking(str(error), self.environment, site.present):
                raise Incomplete(self._with_distribution(found)) from error
            raise ModelError(f"{error}{missing(str(error), roots)}") from error

    def _with_distribution(self, found: Installed) -> "Prepared":
        reason = "the model imports it when it is loaded or predicts"
        return replace(self, found={**self.found, found.name: reason})

    def _check_unchanged(self, directory: Path) -> None:
        """Check that the code in the scaffold is what it is in this session."""
        if not self.captured.sources:
            return
        known = {change.place for change in self.changes}
        found = changes(self.captured, directory / layout.SOURCE, self.captured.path)
        if wrong := [each for each in found if each.place in known and each.is_exact]:
            raise ModelError(
                f"{wrong[0]} was changed after its source had run, and cannot be written as it is"
                " now: change the source instead, and create the model again"
            )
        if new := [each for each in found if each.place not in known]:
            every = (*self.changes, *new)
            captured = self.capturing(every)
            served_python(self.python_version, captured.by_value)
            raise Incomplete(replace(self, captured=captured, changes=every))

    def _check_without_sample(self, directory: Path, site: clean_process.Site) -> None:
        """Warn where it is not certain that the scaffold predicts as the model does."""
        with self._elsewhere(directory, site) as worker:
            answer = self._answer_for_example(worker)
        doubt = self.description.doubt or self._untold(directory, answer)
        if doubt is not None:
            warn(
                "requests may be refused, or answered otherwise than in memory, because"
                f" {doubt}: pass {argument('sample_input')}"
            )

    def _answer_for_example(self, worker: clean_process.CleanWorker) -> dict[str, Any] | None:
        """None where no rows are known; the model is loaded all the same."""
        if self.description.example is None:
            worker.started()
            return None
        return response(worker.ask, {"instances": self.description.example})

    def _untold(self, directory: Path, answer: Any) -> str | None:
        """What is wrong with the predictions for the example; None if nothing is."""
        if answer is None:
            return None
        try:
            check_expected(self.description.prediction)
        except ModelError as error:
            return str(error)
        served = answer.get("predictions")
        difference = compare(
            self.description.prediction, served, self._tolerance(directory)
        ).difference
        return difference and f"for {written(self.description.example)} {difference}"

    def _compared(self, directory: Path, worker: LocalWorker, expected: Any) -> Verification:
        tolerance = self._tolerance(directory)
        verification = verify_sample(worker, CURRENT, self.sample, expected, tolerance)
        if verification:
            write_facts(directory / layout.CONFIG, self._tried(worker, self.sample))
        return verification

    def _tried(self, worker: LocalWorker, sample: Any) -> dict[str, Any]:
        """What is known of the sample's rows once they were tried, for `config.yaml`."""
        tried = distinct(body_rows(sample), TRIED_ROWS)
        requests: list[dict[str, Any]] = [{"instances": tried}]
        if getattr(self.description.output, "probabilities", False):
            requests.append({"instances": tried, "probabilities": True})
        found = [finding for request in requests if (finding := worker.try_rows(request))]
        if not found:
            return {}
        reasons = [finding["reason"] for finding in found if finding["reason"]]
        if reasons:
            if not self.is_unshared:
                warn(f"requests will not share a call of predict, which is slower: {reasons[0]}")
            return {"rows_independent": False}
        noise = max(finding["noise"] for finding in found)
        return {"rows_independent": True, "batch_noise": float(f"{noise:.1e}")}

    def _tolerance(self, directory: Path) -> float:
        tolerance = self.definition.tolerance_of(Runtime(directory).config().model)
        if self.definition.on_gpu(self.model) == (self.gpu and gpus.visible()):
            return tolerance
        return max(tolerance, ON_GPU)  # it is compared with another device


class Incomplete(Exception):
    """The proof of a scaffold has shown what else must travel.

    Attributes:
        prepared: the model with that.
    """

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        self.prepared = prepared


def complete(prepared: Prepared, make: Callable[[Prepared], None]) -> None:
    """Make and check a scaffold, and again wherever the check has shown what else must travel."""
    while True:
        try:
            make(prepared)
            break
        except Incomplete as error:
            prepared = error.prepared
    if prepared.gpu and not gpus.visible():
        warn(
            "the scaffold is for a GPU, and was proved on the CPU, with the builds that are"
            " installed here, because no GPU is visible: verify it where there is one"
        )


def recognised(
    model: Any, framework: str | None, method: Any = None, parameters: Any = None
) -> tuple[WrittenModelScaffoldDefinition, Any]:
    """The framework of a model, and the model without a wrapper that training put around it.

    The framework has the methods that answer, and what a request may set of them.

    Raises:
        ModelError: the object is not a trained model that can be served.
        SettingError: there is no such framework, method or parameter.
    """
    kind = type(model).__name__
    with guarded(f"{kind} cannot be examined"):
        names_method = method is not None or parameters is not None
        definition = find(model, framework, names_method=names_method)
    with _taken_for(model, definition):
        model = definition.unwrapped(model)
        definition.check(model)
        definition = definition.answering(model, method, parameters)
    return definition, model


def kept_answering(facts: Any, method: Any, parameters: Any) -> tuple[Any, Any]:
    """The methods that answer, and what a request may set: as given, else as a scaffold has them.

    Args:
        facts: `model` of the scaffold's Config, which may be older than these keys.
        method: as `from_model` takes it.
        parameters: as `from_model` takes them.
    """
    if method is None:
        method = getattr(facts, "method", None)
    if parameters is None:
        recorded = getattr(facts, "parameters", None) or ()
        parameters = {each.name: each.default for each in recorded} or None
    return method, parameters


def _taken_for(
    model: Any, definition: WrittenModelScaffoldDefinition
) -> "contextlib.AbstractContextManager[None]":
    """A guard for what the model may raise where its framework's own methods are called."""
    doing = f"{type(model).__name__} cannot be described as a model of {definition.name}"
    fix = None
    if definition.name != Custom.name:
        fix = f"if it is none, pass {argument('framework', Custom.name)}"
    return guarded(doing, ModelError, fix)


def prepare(
    definition: WrittenModelScaffoldDefinition,
    model: Any,
    sample: Any = None,
    *,
    requirements: Sequence[str] | None = None,
    python_version: str | None = None,
    format: str | None = None,
    engine: str | None = None,
    code: Any = None,
    wheels: bool = False,
    version: str | None = None,
    gpu: bool = False,
) -> Prepared:
    """Find out what a scaffold of the model needs. The arguments are those of `from_model`.

    `gpu` says whether the scaffold is for a GPU: see `takes_gpu` of the definition.

    Raises:
        ModelError: the model cannot be written, or not in this format.
        SettingError: another argument has a value that its rule forbids.
    """
    _check_version(version)
    given, environment = requirements or (), Environment(builds_wheels=wheels)
    examining = step("Examining the model, its code and its packages")
    with examining, _taken_for(model, definition):
        sample = definition.sampled(model, samples.read(sample))
        served = definition.converted(model, format, sample)
        definitions, files = definition.definitions(served), named_code(code)

        def capturing(changed: Sequence[Change]) -> Captured:
            return capture(definitions, environment, given, files, changed)

        captured = capturing(())
        python = served_python(python_version, captured.by_value)
        description = definition.describe(model, sample)
        if sample is not None:
            definition = definition.tried(model, sample)
        if sample is not None and description.example is not None:
            tried = few(distinct(body_rows(sample), TRIED_ROWS))
            description = replace(description, example=tried)
        if served is not model:
            row = definition.served_input(description, served, sample)
            description = replace(description, input=row)
        compiled = definition.compiled(model, engine, description, sample)
    return Prepared(
        definition,
        model,
        sample,
        served,
        captured,
        description,
        compiled,
        python,
        environment,
        given,
        capturing,
        version=version,
        gpu=gpu,
    )


def _check_version(version: Any) -> None:
    """Check the version of a model, if there is one.

    Raises:
        SettingError: it has another form.
    """
    if version is not None and not (isinstance(version, str) and VERSION.fullmatch(version)):
        raise SettingError(f"{argument('version')} {version!r}: must be a string of {VERSION_RULE}")


def served_python(version: str | None, by_value: Sequence[str] = ()) -> str:
    """The Python version of the scaffold: the wanted one, else the running one.

    Args:
        version: the wanted one, as in "3.11".
        by_value: the names of what is pickled by value, which only the running version can read.

    Raises:
        SettingError: a scaffold cannot take that version.
    """
    known = ", ".join(PYTHON_VERSIONS)
    if version is None and RUNNING not in PYTHON_VERSIONS:
        raise SettingError(
            f"Python {RUNNING} is running, a scaffold takes {known}: pass"
            f" {argument('python_version')}"
        )
    if version is not None and version not in PYTHON_VERSIONS:
        raise SettingError(f"{argument('python_version')} {version!r} is not one of {known}")
    if version not in (None, RUNNING) and by_value:
        raise SettingError(
            f"{argument('python_version')} {version!r} is not the running {RUNNING}, which code"
            " pickled by value"
            f" is bound to ({', '.join(by_value)}): define that in a module of your own, or leave"
            f" {argument('python_version')} out"
        )
    return version or RUNNING


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
