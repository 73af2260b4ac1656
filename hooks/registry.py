"""The frameworks, in the order in which a model is offered to them."""

import os
from typing import Any

from generator.errors import ModelError

from .base import WrittenModelScaffoldDefinition
from .keras import Keras
from .pytorch import PyTorch
from .sklearn import SKLearn

DEFINITIONS: tuple[WrittenModelScaffoldDefinition, ...] = (SKLearn(), Keras(), PyTorch())


def find(model: Any) -> WrittenModelScaffoldDefinition:
    """The framework of a model.

    Raises:
        ModelError: it is no model, or of no framework that is known here.
    """
    if isinstance(model, type):
        raise ModelError(f"{model.__name__} is a class, not a model: pass an instance of it that was trained")
    for definition in DEFINITIONS:
        if definition.recognises(model):
            return definition
    kind = f"{type(model).__module__}.{type(model).__qualname__}".removeprefix("builtins.")
    if isinstance(model, (str, os.PathLike)):
        named = f"the text {model[:60]!r}" if isinstance(model, str) else f"the path {os.fspath(model)!r}"
        raise ModelError(f"model is {named}, not a model: load the model and pass the object itself")
    known = ", ".join(definition.name for definition in DEFINITIONS)
    raise ModelError(f"model is a {kind}, whose framework cannot be told: pass a trained model of one of {known}")


def by_name(name: str) -> WrittenModelScaffoldDefinition:
    """The framework that `config.yaml` names."""
    for definition in DEFINITIONS:
        if definition.name == name:
            return definition
    raise ModelError(f"config.yaml: framework is {name!r}, known are {', '.join(d.name for d in DEFINITIONS)}")
