"""All that is found out about a model before a file of its scaffold is written, and the writing of it."""

import contextlib
import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..capture.captured import Captured
from ..capture.collect import capture
from ..environment import pins as environment
from ..environment.lines import Requirements
from ..environment.venvs import RUNNING
from ..errors import ModelError, SettingError
from ..hooks import NATIVE, ONNX, Description, WrittenModelScaffoldDefinition, find
from ..running import clean_process
from ..running.runtime import ONNX_FILE, digest, schema
from ..scaffold import Scaffold
from .config_file import write_facts

# Not msgpack, for which the template has a range: truss, which deploys to Baseten, holds it to a version of its own.
WORKER_NEEDS = dict.fromkeys(("numpy", "orjson"), "bodies of requests and responses in the worker")
PYTHON_VERSIONS = ("3.10", "3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Prepared:
    """A model that can be written into a scaffold.

    Attributes:
        definition: its framework.
        model: the model in memory.
        served: the form of it that is served.
        captured: the owner's own code that travels with it.
        description: what its rows and predictions are.
        compiled: what predicts in its place, by another engine; None where it predicts itself.
        needed: the packages that it needs.
        python_version: of the environment that serves it.
    """

    definition: WrittenModelScaffoldDefinition
    model: Any
    served: Any
    captured: Captured
    description: Description
    compiled: bytes | None
    needed: Requirements
    python_version: str

    @property
    def engine(self) -> str:
        """What predicts, as `config.yaml` names it."""
        return NATIVE if self.compiled is None else ONNX

    def write(self, directory: Path) -> list[str]:
        """Write the serialized model, its code and the facts in `config.yaml` into a scaffold.

        Returns:
            The names of the files in `src/model/`.
        """
        with self.captured.renamed():
            file = self.definition.serialize_model_to_directory(
                self.served, directory / "src" / "model"
            )
            facts = self.definition.facts(self.model)
        self.captured.write(directory / "src" / "model")
        if self.compiled is not None:
            compiled = file.with_name(ONNX_FILE)
            compiled.write_bytes(self.compiled)
            facts |= {"engine": ONNX, "onnx_sha256": hashlib.sha256(self.compiled).hexdigest()}
        write_facts(directory / "config.yaml", {**self._facts(file), **facts})
        return [file.name, *([] if self.compiled is None else [ONNX_FILE]), *self.captured.files]

    def _facts(self, file: Path) -> dict[str, Any]:
        others = ("msgpack", "onnxruntime", "orjson")
        versions = {
            name: text for name, text in self.needed.versions.items() if not name.startswith(others)
        }
        code = {
            name: hashlib.sha256(content).hexdigest()
            for name, content in sorted(self.captured.files.items())
        }
        with self.captured.renamed():
            kind = f"{type(self.model).__module__}.{type(self.model).__qualname__}"
        return {
            "file": file.name,
            "sha256": digest(file),
            "code": code or None,
            "class": kind,
            "trained_with": {"python": platform.python_version(), **versions},
            "input": schema.as_document(self.description.input),
            "output": schema.as_document(self.description.output),
            "example": self.description.example,
        }

    def check(self, directory: Path, sample: Any, expected: Any = None) -> None:
        """Find that the scaffold loads where nothing of the owner's is importable, and predicts as it should.

        Raises:
            ModelError: it does not.
        """
        if self.captured.files:
            clean_process.check(directory, self.captured.path, self.description.example)
        if sample is not None:
            self._prove(directory, sample, expected)

    def _prove(self, directory: Path, sample: Any, expected: Any) -> None:
        with contextlib.closing(Scaffold(directory, self.model)) as scaffold:
            verification = scaffold.verify(sample, expected=expected)
        if not verification:
            raise ModelError(
                f"the scaffold does not predict what the model in memory does: {verification.difference}"
            )


def recognised(model: Any, framework: str | None) -> tuple[WrittenModelScaffoldDefinition, Any]:
    """The framework of a model, and the model without what training puts around it.

    Raises:
        ModelError: the object is no trained model that can be served.
        SettingError: there is no such framework.
    """
    definition = find(model, framework)
    model = definition.unwrapped(model)
    definition.check(model)
    return definition, model


def prepare(
    definition: WrittenModelScaffoldDefinition,
    model: Any,
    sample: Any = None,
    *,
    requirements: Sequence[str] | None = None,
    python_version: str | None = None,
    format: str | None = None,
    engine: str | None = None,
) -> Prepared:
    """Find out all that a scaffold of the model needs. The arguments are those of `from_model`.

    Raises:
        ModelError: the model cannot be written, or cannot be had in the format.
        SettingError: another argument has a value that its rule forbids.
        RequirementError: something the model needs cannot be written as a requirement.
    """
    served = definition.converted(model, format, sample)
    captured = capture(definition.definitions(served), requirements or ())
    version = served_python(python_version, captured)
    description = definition.describe(model, sample)
    with captured.renamed():
        references = definition.references(served)
    compiled = definition.compiled(model, engine, description, sample)
    runtime = (
        {}
        if compiled is None
        else {"onnxruntime": f"src/common/onnx_engine.py, which runs {ONNX_FILE}"}
    )
    needed = environment.infer(
        captured.outside(references),
        imported={**captured.imports, **runtime},
        always={**WORKER_NEEDS, **description.distributions},
        given=requirements or (),
    )
    return Prepared(definition, model, served, captured, description, compiled, needed, version)


def served_python(version: str | None, captured: Captured) -> str:
    """The Python version of the scaffold: the wanted one, else the running one."""
    if version is not None and version not in PYTHON_VERSIONS:
        raise SettingError(f"python_version {version!r} is not one of {', '.join(PYTHON_VERSIONS)}")
    if version is None and RUNNING not in PYTHON_VERSIONS:
        raise SettingError(
            f"Python {RUNNING} is running, a scaffold takes {', '.join(PYTHON_VERSIONS)}: pass python_version"
        )
    if version not in (None, RUNNING) and captured.by_value:
        raise SettingError(
            f"python_version {version!r} is not the running {RUNNING}, which code pickled by value is bound to "
            f"({', '.join(captured.by_value)}): define that in a module of your own, or leave python_version out"
        )
    return version or RUNNING
