"""What a framework tells the generator: the interface that each module beside this one implements."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from generator.capture import pickle_references
from generator.errors import SettingError

NATIVE, ONNX = "native", "onnx"  # the engines: the model itself, and ONNX Runtime


@dataclass(frozen=True)
class Description:
    """What is known of a model without running it elsewhere. None stands for what is not known.

    Attributes:
        input: what one row is, as `model.input` of `config.yaml` takes it (see `common/signature.py`).
        output: what a prediction is, as `model.output` of `config.yaml` takes it.
        example: rows as they would stand in a JSON body.
        distributions: what serving needs beside the model's own classes: distribution name to reason.
    """

    input: dict[str, Any] | None
    output: dict[str, Any] | None
    example: list[Any] | None
    distributions: Mapping[str, str] = field(default_factory=dict)


class WrittenModelScaffoldDefinition(ABC):
    """A framework. Subclasses import theirs inside the methods."""

    name: ClassVar[str]
    """The framework as `copier.yml` and `config.yaml` name it."""

    tolerance: ClassVar[float] = 0.0
    """How far a served number may be from the one in memory, as a part of the largest of all that were predicted."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """The endings of files that hold a model of this framework and no other's."""

    def tolerance_of(self, config: Any) -> float:
        """The tolerance for the model that `model` of `config.yaml` tells of."""
        return self.tolerance

    def read(self, path: Path) -> Any:
        """The model in a file with one of the `suffixes`. Code in it is run: it is as trusted as the session."""
        raise NotImplementedError

    @abstractmethod
    def recognises(self, model: object) -> bool:
        """Whether the model is of this framework. Imports nothing."""

    @abstractmethod
    def check(self, model: Any) -> None:
        """Refuse what cannot be served.

        Raises:
            ModelError: the model is not trained, or cannot predict.
        """

    def unwrapped(self, model: Any) -> Any:
        """The model inside of what training puts around it; else the model itself."""
        return model

    def converted(self, model: Any, format: str | None, sample: Any) -> Any:
        """What is served of a model: itself, or what a format that was asked for makes of it.

        Raises:
            SettingError: there is no such format, or the sample that it takes is missing.
            ModelError: the model cannot be had in it.
        """
        if format is not None:
            raise SettingError(f"format {format!r} is none of {self.name}'s: leave it out")
        return model

    def definitions(self, model: Any) -> list[Any]:
        """Every class and function that the serialized model refers to."""
        return pickle_references.definitions(model)

    def references(self, model: Any) -> dict[str, str]:
        """Every module that loading the serialized model imports, with a qualified name in it as an example.

        Raises:
            ModelError: the model cannot be written.
        """
        return pickle_references.references(model)

    @abstractmethod
    def describe(self, model: Any, sample: Any) -> Description:
        """What is known of the model, from itself and from sample rows (None where there are none).

        Raises:
            SettingError: the model cannot take the sample.
        """

    def compiled(
        self, model: Any, engine: str | None, description: Description, sample: Any
    ) -> bytes | None:
        """What another engine runs in the model's place; None where the model itself is to predict.

        Raises:
            SettingError: there is no such engine, or what it takes is not installed.
        """
        if engine not in (None, NATIVE):
            raise SettingError(f"engine {engine!r} is none of {self.name}'s: leave it out")
        return None

    def facts(self, model: Any) -> dict[str, Any]:
        """What the framework's `inference_model.py` reads besides: key under `model` of `config.yaml` to value."""
        return {}

    @abstractmethod
    def predict(self, model: Any, inputs: Any) -> Any:
        """What the model in memory predicts: what a scaffold must answer under `predictions`."""

    @abstractmethod
    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        """Write the model into the scaffold's `src/model/`; the file that holds it."""
