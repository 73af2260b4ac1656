"""What XGBoost, LightGBM and CatBoost have in common: each saves models in a format of its own."""

import sys
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from generator.arguments import argument
from generator.capture import pickle_references
from generator.common import listing, schema
from generator.errors import ModelError, SettingError
from generator.owners import guarded

from .. import outputs
from ..base import NATIVE, Description
from ..methods import PREDICT, WithMethods
from ..scikit.sklearn import SKLearn, estimator_output

Self = TypeVar("Self", bound="Boosting")
KINDS = {"Classifier": "class", "Regressor": "number"}  # the ends of the estimators' names


class Boosting(SKLearn):
    """A library of boosted trees. No file of it holds code.

    A subclass of one of its classes, and an estimator whose file would not hold all that it
    predicts with, are models of scikit-learn's hook.
    """

    package: ClassVar[str]
    """The library's module."""

    classes: ClassVar[tuple[str, ...]]
    """The names of its classes that are taken."""

    def recognises(self, model: object) -> bool:
        library = sys.modules.get(self.package)
        is_its_own = any(type(model) is getattr(library, name, None) for name in self.classes)
        return is_its_own and self._is_whole_in_its_file(model)

    def _is_whole_in_its_file(self, model: Any) -> bool:
        """Whether the file and `model.settings` hold all that the model predicts with."""
        return True

    def answering(self: Self, model: Any, method: Any = None, parameters: Any = None) -> Self:
        made = super().answering(model, method, parameters)
        known = self._methods_of(model)
        unknown = next((name for name in made.methods if known and name not in known), None)
        if unknown is None:
            return made
        raise SettingError(
            f"{argument('method')} {unknown!r}: a {type(model).__name__} of {self.label} answers"
            f" with {listing(list(known))}; pass {argument('framework', SKLearn.name)} for another"
            " method of an estimator"
        )

    def _methods_of(self, model: Any) -> tuple[str, ...]:
        """The methods that its file answers with; none if it is loaded with all that it has."""
        if isinstance(self._estimator(model), Rows):
            return (PREDICT,)
        return ()

    def read_safely(self, path: Path) -> Any:
        return self.read(path)

    def _loaded(self, path: Path, load: Callable[[], Any], holds: bool) -> Any:
        """What a file holds.

        Args:
            path: the file.
            load: reads it.
            holds: whether it begins as the library's own files do.

        Raises:
            ModelError: it is no file of the library's, or is broken.
        """
        what = f"{str(path)!r} does not hold a model that {self.label} can load"
        if not holds:
            raise ModelError(f"{what}: it does not begin as {self.label}'s files do")
        with guarded(what):
            return load()

    def converted(self, model: Any, format: str | None, sample: Any) -> Any:
        if format is None:
            return model
        raise SettingError(
            f"{argument('format')} {format!r} is none of {self.name}'s, whose own runs no code:"
            f" leave it out, or pass {argument('framework', SKLearn.name)} too"
        )

    def definitions(self, model: Any) -> list[pickle_references.Named]:
        return []

    def references(self, model: Any) -> dict[str, str]:
        return {type(model).__module__: type(model).__qualname__}

    def sampled(self, model: Any, sample: Any) -> Any:
        return super().sampled(self._estimator(model), sample)

    def describe(self, model: Any, sample: Any) -> Description:
        return super().describe(self._estimator(model), sample)

    def compiled(
        self, model: Any, engine: str | None, description: Description, sample: Any
    ) -> bytes | None:
        if engine not in (None, NATIVE):
            raise SettingError(
                f"{argument('engine')} {engine!r} is none of {self.name}'s: leave it out, or pass"
                f" {argument('framework', SKLearn.name)} too"
            )
        return None

    def predict(self, model: Any, inputs: Any) -> Any:
        return super().predict(self._estimator(model), inputs)

    def _estimator(self, model: Any) -> Any:
        """The model, or what scikit-learn's hook reads of it in its place."""
        return model

    def _distributions(self, model: Any) -> dict[str, str]:
        return {}

    def facts(self, model: Any) -> dict[str, Any]:
        return {**WithMethods.facts(self, model), "settings": self._settings(model)}

    @abstractmethod
    def _settings(self, model: Any) -> dict[str, Any]:
        """How the model predicts from its file: `model.settings` of `config.yaml`."""

    def _output(self, model: Any, prediction: Any) -> schema.ModelOutput | None:
        if not self.predicts:
            return outputs.described(prediction)
        if isinstance(model, Rows):
            return model.output(prediction)
        name = type(model).__name__
        kind = next((kind for end, kind in KINDS.items() if name.endswith(end)), None)
        return estimator_output(model, prediction, kind)


class Rows:
    """A booster with the attributes of an estimator that scikit-learn's hook reads.

    Args:
        predict: the prediction for rows as an estimator takes them, and parameters by name.
        count: how many features a row has.
        names: their names; None if it was trained without names.
    """

    def __init__(self, predict: Callable[..., Any], count: int, names: list[str] | None) -> None:
        self.predict = predict
        self.n_features_in_ = count
        if names is not None:
            self.feature_names_in_ = names

    def output(self, prediction: Any) -> schema.ArrayOutput | None:
        """What a prediction is; None if it is not known."""
        if not hasattr(prediction, "dtype"):
            return None
        return schema.ArrayOutput(tuple(prediction.shape[1:]), str(prediction.dtype))
