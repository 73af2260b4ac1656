"""Where the numbers of a model are."""

import sys
from collections.abc import Iterable
from typing import Any


def on_cuda(tensors: Iterable[Any]) -> bool:
    """Whether one of PyTorch's tensors is on an NVIDIA GPU: AMD's have the same name there."""
    torch = sys.modules.get("torch")
    if torch is None or torch.version.hip is not None:
        return False
    return any(tensor.device.type == "cuda" for tensor in tensors)


def of_module(module: Any) -> Iterable[Any]:
    """The tensors of a module of PyTorch."""
    yield from module.parameters()
    yield from module.buffers()


def arrays_on_gpu(arrays: Iterable[Any]) -> bool:
    """Whether one of JAX's arrays is on an NVIDIA GPU."""
    return any(
        device.platform == "gpu" and "rocm" not in device.client.platform_version
        for array in arrays
        for device in array.devices()
    )


def placed_on_gpu(variables: Iterable[Any]) -> bool:
    """Whether one of TensorFlow's variables is on a GPU."""
    return any("GPU:" in str(getattr(variable, "device", "")).upper() for variable in variables)
