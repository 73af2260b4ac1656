"""The interface of a framework, which each of the other modules here implements."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from generator.arguments import argument
from generator.capture import pickle_references
from generator.common import listing, schema
from generator.errors import SettingError
from generator.owners import guarded

PICKLE = "pickle"  # the format of frameworks whose own file is one
NATIVE, ONNX = "native", "onnx"  # the engines: the model itself, and ONNX Runtime


def cannot_predict() -> str:
    """The beginning of the message where a model fails on the sample."""
    return f"the model cannot predict from {argument('sample_input')}"


@dataclass(frozen=True)
class Description:
    """What is known about a model. None stands for what is not known.

    Attributes:
        input: what one row is, `model.input` of `config.yaml`.
        output: what a prediction is, `model.output` of `config.yaml`.
        example: rows as a JSON body has them.
        prediction: what the model in memory predicts for the example.
        untried: why no example was predicted.
        distributions: what serving needs besides the model's own classes: distribution name to
            reason.
    """

    input: schema.ModelInput | None
    output: schema.ModelOutput | None
    example: list[Any] | None
    distributions: Mapping[str, str] = field(default_factory=dict)
    prediction: Any = None
    untried: str | None = None

    @property
    def doubt(self) -> str | None:
        """Why requests may be refused, or answered otherwise than in memory, for want of a sample.

        None if rows as the model takes them were predicted.
        """
        if self.untried is not None:
            return self.untried
        if isinstance(self.input, schema.TableInput):
            unknown = [column.name for column in self.input.columns if column.dtype is None]
            if unknown:
                return f"the dtypes of the columns {listing(unknown)} are not known"
        return None


class WrittenModelScaffoldDefinition(ABC):
    """A framework. Subclasses import theirs inside the methods."""

    name: ClassVar[str]
    """The framework as `copier.yml` and `config.yaml` name it."""

    label: ClassVar[str]
    """What people call it: its choice in `copier.yml`."""

    models: ClassVar[str]
    """Which models it takes, for the table in the README."""

    files: ClassVar[tuple[str, ...]]
    """What the model's file in `src/model/` may be called."""

    tolerance: ClassVar[float] = 0.0
    """How far a served number may be from the one in memory, as a fraction of the largest."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """The endings of files that hold a model of this framework and no other's."""

    has_gpu: ClassVar[bool] = True
    """Whether its models can predict on an NVIDIA GPU at all."""

    def on_gpu(self, model: Any) -> bool:
        """Whether the model in memory predicts on an NVIDIA GPU, as far as that is certain."""
        return False

    def takes_gpu(self, model: Any, gpu: Any) -> bool:
        """Whether the scaffold is one for an NVIDIA GPU.

        Args:
            model: the model in memory.
            gpu: what the caller says; None for where the model is now.

        Raises:
            SettingError: a model of this framework predicts on no GPU, or it is none of these.
        """
        if gpu is None:
            return self.has_gpu and self.on_gpu(model)
        if not isinstance(gpu, bool):
            raise SettingError(
                f"{argument('gpu')} {gpu!r}: pass True, False, or None for where the model is"
            )
        if gpu and not self.has_gpu:
            raise SettingError(f"{argument('gpu')}: {self.name} predicts on no GPU: leave it out")
        return gpu

    def tolerance_of(self, config: Any) -> float:
        """The tolerance for a model. `config` is `model` of a Config, or an object like it."""
        return self.tolerance

    def reads(self, path: Path) -> bool:
        """Whether it is a file, or a directory, that holds a model of this framework's.

        Its name says so, or the names of the files in it. It is not opened.
        """
        return path.suffix in self.suffixes and path.is_file()

    def read(self, path: Path) -> Any:
        """The model in a file or a directory that it `reads`. Code in there is run."""
        raise NotImplementedError

    def read_safely(self, path: Path) -> Any:
        """The same, without running code that is in there; None if it cannot be read so."""
        return None

    def format_of(self, path: Path) -> str | None:
        """The `format` of a model's file, by its name; None for the framework's own."""
        return None

    @abstractmethod
    def recognises(self, model: object) -> bool:
        """Whether the model is of this framework. Imports nothing."""

    def instead(self, model: object) -> str | None:
        """What an object is that lacks something to be a model of this framework, and what to pass.

        None for any other object. It is asked where no framework recognises the object.
        """
        return None

    def answering(
        self, model: Any, method: Any = None, parameters: Any = None
    ) -> "WrittenModelScaffoldDefinition":
        """This framework, with the methods that answer and what a request may set of them.

        Args:
            model: the model in memory.
            method: the name of a method, or several; None for the framework's default.
            parameters: the names of parameters, or a dict of names to defaults; None for none.

        Raises:
            SettingError: the model has no such method, or the method no such parameter.
            ModelError: the model has none of the default methods.
        """
        for key, value in (("method", method), ("parameters", parameters)):
            if value is not None:
                raise SettingError(f"{key} {value!r} is not for {self.name}: leave it out")
        return self

    def tried(self, model: Any, sample: Any) -> "WrittenModelScaffoldDefinition":
        """This framework, with what the parameters of a request were found to bring.

        Raises:
            SettingError: one brings what no answer can hold.
        """
        return self

    def as_configured(self, config: Any) -> "WrittenModelScaffoldDefinition":
        """This framework, as a scaffold has it. `config` is `model` of a Config."""
        return self

    def sampled(self, model: Any, sample: Any) -> Any:
        """A sample as the model takes it: rows as a client would send them may become a table.

        Raises:
            SettingError: they cannot.
        """
        return sample

    @abstractmethod
    def check(self, model: Any) -> None:
        """Refuse what cannot be served.

        Raises:
            ModelError: the model is not trained, or cannot predict.
        """

    def unwrapped(self, model: Any) -> Any:
        """The model without a wrapper that training put around it; else the model itself."""
        return model

    def converted(self, model: Any, format: str | None, sample: Any) -> Any:
        """The form in which a model is served: itself, or what `format` makes of it.

        Raises:
            SettingError: there is no such format, or it needs a sample and there is none.
            ModelError: the model cannot be converted.
        """
        if format is not None:
            raise SettingError(
                f"{argument('format')} {format!r} is none of {self.name}'s: leave it out"
            )
        return model

    def definitions(self, model: Any) -> list[pickle_references.Named]:
        """Everything that the serialized model refers to by name."""
        return pickle_references.definitions(model)

    def references(self, model: Any) -> dict[str, str]:
        """Every module that loading the serialized model imports, with a qualified name in it.

        Raises:
            ModelError: the model cannot be written.
        """
        return pickle_references.references(model)

    @abstractmethod
    def describe(self, model: Any, sample: Any) -> Description:
        """What is known about the model. `sample` holds rows, or is None if there are none.

        Raises:
            SettingError: the model cannot take the sample.
        """

    def served_input(self, description: Description, served: Any, sample: Any) -> Any:
        """What one row is for the form that is served: `model.input` of `config.yaml`."""
        return description.input

    def compiled(
        self, model: Any, engine: str | None, description: Description, sample: Any
    ) -> bytes | None:
        """What another engine runs in place of the model; None where the model itself predicts.

        Raises:
            SettingError: there is no such engine, or a package that it needs is not installed.
        """
        if engine not in (None, NATIVE):
            raise SettingError(
                f"{argument('engine')} {engine!r} is none of {self.name}'s: leave it out"
            )
        return None

    def facts(self, model: Any) -> dict[str, Any]:
        """Further keys of `model` in `config.yaml`, for this framework's `inference_model.py`."""
        return {}

    def facts_for_gpu(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """What of `model` in `config.yaml` is otherwise in a scaffold for a GPU."""
        return {}

    def served_facts(self, served: Any, file: Path) -> dict[str, Any]:
        """The same, of the form that is served, which has been written to a file."""
        return {}

    def expected(self, model: Any, sample: Any) -> Any:
        """What the model in memory predicts for a sample.

        Raises:
            SettingError: the model cannot predict from it.
        """
        with guarded(cannot_predict(), SettingError):
            return self.predict(model, sample)

    @abstractmethod
    def predict(self, model: Any, inputs: Any) -> Any:
        """What the model in memory predicts: a scaffold must answer the same `predictions`."""

    def edit_code(self, served: Any, path: Path) -> bool:
        """Edit a scaffold's `inference_model.py`, if the template's does not read the served form.

        Returns:
            Whether it may have changed.
        """
        return False

    @abstractmethod
    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        """Write the model into the scaffold's `src/model/`; returns its file there.

        Or the directory there that holds all of its files. It needs a name of its own, such as
        `model`, and what it holds is written by this call alone.
        """
