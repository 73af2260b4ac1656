"""The frameworks, in the order in which a model is offered to them."""

import os
from pathlib import Path
from typing import Any

from generator.arguments import NAME, argument
from generator.errors import ModelError, SettingError

from .base import WrittenModelScaffoldDefinition
from .boosting.catboost import CatBoost
from .boosting.lightgbm import LightGBM
from .boosting.xgboost import XGBoost
from .networks.jax import Jax
from .networks.keras import Keras
from .networks.onnx import Onnx
from .networks.pytorch import PyTorch
from .networks.tensorflow import TensorFlow
from .objects.custom import Custom
from .objects.function import Function
from .objects.mlflow import MLflow
from .objects.statsmodels import Statsmodels
from .scikit.sklearn import SKLearn
from .texts.sentence_transformers import SentenceTransformers
from .texts.spacy import SpaCy
from .texts.transformers import Transformers

FUNCTION, CUSTOM = Function(), Custom()
# The boosters come first: their estimators have scikit-learn's interface too.
DEFINITIONS: tuple[WrittenModelScaffoldDefinition, ...] = (
    XGBoost(),
    LightGBM(),
    CatBoost(),
    SKLearn(),
    Keras(),
    SentenceTransformers(),
    PyTorch(),
    Transformers(),
    SpaCy(),
    Statsmodels(),
    MLflow(),
    Onnx(),
    TensorFlow(),
    Jax(),
    FUNCTION,
    CUSTOM,
)
NO_MODELS = (str, bytes, os.PathLike)


def find(
    model: Any, framework: str | None = None, *, names_method: bool = False
) -> WrittenModelScaffoldDefinition:
    """The framework of a model.

    Args:
        model: the model in memory.
        framework: the framework's name, if the caller gives one.
        names_method: whether the caller names the method that answers, or its parameters: then any
            object may be one of `Function`.

    Raises:
        ModelError: it is not a model, or not one of a known framework, or of the given one.
        SettingError: there is no such framework.
    """
    if isinstance(model, type):
        raise ModelError(
            f"{model.__name__} is a class, not a model: pass an instance of it that was trained"
        )
    if framework is not None:
        definition = _given(model, framework)
    else:
        definition = _recognised(model, names_method)
    if definition is CUSTOM and names_method:
        return FUNCTION
    return definition


def _recognised(model: Any, names_method: bool) -> WrittenModelScaffoldDefinition:
    for definition in DEFINITIONS:
        if definition.recognises(model):
            return definition
    if names_method and not isinstance(model, NO_MODELS):
        return FUNCTION
    raise ModelError(f"model is {_unknown(model)}")


def _unknown(model: Any) -> str:
    """Describes an object that is not a model, and says what to pass instead."""
    load = "not a model: load the model and pass the object itself"
    if isinstance(model, str):
        return f"the string {model[:60]!r}, {load}"
    if isinstance(model, os.PathLike):
        return f"the path {os.fspath(model)!r}, {load}"
    if told := next(filter(None, (each.instead(model) for each in DEFINITIONS)), None):
        return told
    known = ", ".join(each.name for each in DEFINITIONS if each not in (FUNCTION, CUSTOM))
    return (
        f"a {_kind(model)}, whose framework is not known: pass a trained model of one of {known},"
        " a function, or an object with a predict; for another method of an object, pass"
        f" {argument('method', NAME)}"
    )


def _given(model: Any, framework: str) -> WrittenModelScaffoldDefinition:
    named = {definition.name: definition for definition in DEFINITIONS}
    if framework not in named:
        raise SettingError(f"{argument('framework')} {framework!r} is none of {', '.join(named)}")
    if framework not in (FUNCTION.name, CUSTOM.name) and not named[framework].recognises(model):
        raise ModelError(
            f"model is a {_kind(model)}, which is not a model of {framework}: leave"
            f" {argument('framework')} out"
        )
    return named[framework]


def _kind(model: Any) -> str:
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    return " ".join(name.split()).removeprefix("builtins.")


def names() -> list[str]:
    """The frameworks' names, as `framework=` takes them."""
    return [definition.name for definition in DEFINITIONS]


def reader(path: Path) -> WrittenModelScaffoldDefinition | None:
    """The framework that reads a file or a directory; None if no framework says that it does."""
    return next((definition for definition in DEFINITIONS if definition.reads(path)), None)


def by_name(name: str) -> WrittenModelScaffoldDefinition:
    """The framework that `config.yaml` names."""
    for definition in DEFINITIONS:
        if definition.name == name:
            return definition
    raise ModelError(f"config.yaml: framework is {name!r}, known are {', '.join(names())}")
