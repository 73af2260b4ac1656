"""What a framework needs before it computes on a GPU, and whether it does."""

import importlib
import logging
import re
import sys
from typing import Any

from ..config import Config
from ..link import gpus

logger = logging.getLogger(__name__)

# Frameworks of which `in_use` knows.
KNOWN = ("jax", "keras", "onnx", "pytorch", "sentence_transformers", "tensorflow", "transformers")
# What PyTorch, JAX and CuPy raise where a model was saved on a GPU, and there is none.
NEEDED = re.compile(
    r"CUDA device but torch\.cuda\.is_available|No CUDA GPUs are available"
    r"|Found no NVIDIA driver|not compiled with CUDA|cudaErrorNoDevice|no CUDA-capable device"
)
FIX = (
    "this model needs an NVIDIA GPU, and no GPU is visible: give the container one (docker run"
    " --gpus all, the limit nvidia.com/gpu), with gpu: true under serving in config.yaml, which"
    " gpu=True of from_model writes, and the CUDA build of its packages; or save it on the CPU"
)


def prepare(config: Config) -> None:
    """Do what is to be done before the model is loaded, where a GPU is visible."""
    if not gpus.visible():
        return
    if config.framework == "onnx":
        onnxruntime = importlib.import_module("onnxruntime")
        # CUDA's libraries lie in packages of their own, which it finds if it is told to.
        if _has_cuda(onnxruntime) and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
    if config.framework == "spacy" and not importlib.import_module("spacy").prefer_gpu():
        logger.warning(
            "there is a GPU, and spaCy cannot use it: it needs CuPy and CUDA's libraries"
        )


def check(config: Config) -> None:
    """Log it where a GPU is there, and the framework, which is loaded, does not use it."""
    expected = config.serving.gpu and config.framework in KNOWN and gpus.visible()
    if expected and not in_use():
        logger.warning(
            "there is a GPU, and the model runs on the CPU: requirements.txt has a build of the"
            " framework without CUDA, or the driver is older than that build needs"
        )


def in_use() -> bool:
    """Whether a framework that is loaded computes on a GPU."""
    torch, tensorflow = sys.modules.get("torch"), sys.modules.get("tensorflow")
    onnxruntime, jax = sys.modules.get("onnxruntime"), sys.modules.get("jax")
    if torch is not None and torch.cuda.is_available():
        return True
    if onnxruntime and _has_cuda(onnxruntime) and gpus.visible():
        return True
    if tensorflow is not None and tensorflow.config.list_physical_devices("GPU"):
        return True
    return jax is not None and jax.default_backend() == "gpu"


def _has_cuda(onnxruntime: Any) -> bool:
    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()
