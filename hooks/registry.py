"""The frameworks, in the order in which a model is offered to them."""

import os
from typing import Any

from generator.errors import ModelError, SettingError

from .base import WrittenModelScaffoldDefinition
from .custom import Custom
from .keras import Keras
from .pytorch import PyTorch
from .sklearn import SKLearn

DEFINITIONS: tuple[WrittenModelScaffoldDefinition, ...] = (SKLearn(), Keras(), PyTorch(), Custom())


def find(model: Any, framework: str | None = None) -> WrittenModelScaffoldDefinition:
    """The framework of a model.

    Args:
        model: the model in memory.
        framework: the framework's name, where somebody has told it.

    Raises:
        ModelError: it is no model, or of no framework that is known here, or not of the one that was told.
        SettingError: there is no such framework.
    """
    if isinstance(model, type):
        raise ModelError(
            f"{model.__name__} is a class, not a model: pass an instance of it that was trained"
        )
    if framework is not None:
        return _told(model, framework)
    for definition in DEFINITIONS:
        if definition.recognises(model):
            return definition
    if isinstance(model, (str, os.PathLike)):
        named = (
            f"the text {model[:60]!r}"
            if isinstance(model, str)
            else f"the path {os.fspath(model)!r}"
        )
        raise ModelError(
            f"model is {named}, not a model: load the model and pass the object itself"
        )
    known = ", ".join(
        definition.name for definition in DEFINITIONS if definition.name != Custom.name
    )
    raise ModelError(
        f"model is a {_kind(model)}, whose framework cannot be told: pass a trained model of one of {known}, or"
        f" framework={Custom.name!r} with any object that has a predict"
    )


def _told(model: Any, framework: str) -> WrittenModelScaffoldDefinition:
    named = {definition.name: definition for definition in DEFINITIONS}
    if framework not in named:
        raise SettingError(f"framework {framework!r} is none of {', '.join(named)}")
    if framework != Custom.name and not named[framework].recognises(model):
        raise ModelError(
            f"model is a {_kind(model)}, which is no model of {framework}: leave framework out"
        )
    return named[framework]


def _kind(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}".removeprefix("builtins.")


def reader(suffix: str) -> WrittenModelScaffoldDefinition | None:
    """The framework whose models lie in files with this ending; None where the ending does not tell."""
    return next((definition for definition in DEFINITIONS if suffix in definition.suffixes), None)


def by_name(name: str) -> WrittenModelScaffoldDefinition:
    """The framework that `config.yaml` names."""
    for definition in DEFINITIONS:
        if definition.name == name:
            return definition
    raise ModelError(
        f"config.yaml: framework is {name!r}, known are {', '.join(d.name for d in DEFINITIONS)}"
    )
