"""How many things an input's numbers may name, where an embedding looks them up as they came.

A number beyond that is an error on a processor, and leaves a GPU's context broken.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from generator.common import schema


def of_module(model: Any, inputs: Mapping[str, Any], call: Callable[..., Any]) -> dict[str, int]:
    """The limits of a PyTorch module's inputs, by name, where they are known.

    Args:
        model: the module. TorchScript does not tell.
        inputs: tensors of one row, by name.
        call: calls the model with such tensors.
    """
    from torch import nn

    found: dict[str, int] = {}

    def look(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        values = arguments[0] if arguments else named.get("input")
        for name, tensor in inputs.items():
            if _is_all_of(tensor, values):
                found[name] = min(module.num_embeddings, found.get(name, module.num_embeddings))

    looking = [
        module.register_forward_pre_hook(look, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag))
    ]
    if not looking:
        return {}
    try:
        call(inputs)
    finally:
        for hook in looking:
            hook.remove()
    return {name: size for name, size in found.items() if _refuses(call, inputs, name, size)}


def _is_all_of(tensor: Any, values: Any) -> bool:
    """Whether values are those of a tensor, and no copy, whatever shape they are given."""
    import torch

    if not isinstance(values, torch.Tensor) or not values.numel() == tensor.numel() > 0:
        return False
    return bool(values.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr())


def _refuses(call: Callable[..., Any], inputs: Mapping[str, Any], name: str, size: int) -> bool:
    """Whether the model fails for the first number beyond: it may change numbers in their place.

    That is not tried on a GPU, which would be broken then.
    """
    if inputs[name].device.type != "cpu":
        return True
    beyond = inputs[name].clone()
    try:
        beyond.reshape(-1)[0] = size
        call({**inputs, name: beyond})
    except Exception:
        return True
    return False


def of_keras(model: Any, tensor: Any) -> int | None:
    """The limit of one declared input of a Keras model; None where it is not known."""
    import keras

    sizes = [
        int(layer.input_dim)
        for layer in model.layers
        if isinstance(layer, keras.layers.Embedding) and _takes(layer, tensor)
    ]
    return min(sizes, default=None)


def _takes(layer: Any, tensor: Any) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return layer.input is tensor
    except (AttributeError, ValueError):  # it is used nowhere, or in several places
        return False


def limited(described: schema.ModelInput, limits: Mapping[str, int]) -> schema.ModelInput:
    """What a row is, with the limits of the inputs; a single input has the name ""."""
    match described:
        case schema.ArrayInput():
            return replace(described, below=limits.get(""))
        case schema.TensorsInput():
            parts = [replace(part, below=limits.get(part.name)) for part in described.inputs]
            return replace(described, inputs=tuple(parts))
    return described


def limits(described: schema.ModelInput | None) -> dict[str, int]:
    """The limits in a description of a row, as `limited` takes them."""
    parts: dict[str, Any] = {}
    match described:
        case schema.ArrayInput():
            parts = {"": described}
        case schema.TensorsInput():
            parts = {part.name: part for part in described.inputs}
    return {name: part.below for name, part in parts.items() if part.below is not None}
