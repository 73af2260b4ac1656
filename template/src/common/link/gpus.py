"""Which NVIDIA GPUs the workers see.

`CUDA_VISIBLE_DEVICES` names GPUs by their numbers, by UUID or as instances of one that is divided
(MIG), and what follows a name that is none of these is not visible; "" and -1 hide all of them.
Source: CUDA C++ Programming Guide, CUDA Environment Variables.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from itertools import takewhile
from pathlib import Path

from ..config import Serving

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
NAME = re.compile(r"[0-9]+|GPU-[0-9a-fA-F-]+|MIG-[0-9a-zA-Z/-]+")
DEVICES = ("nvidia[0-9]*", "dxg")  # in /dev; the second is WSL's
# TensorFlow and JAX take nearly all of a GPU's memory at their start, and leave none to another
# worker: TensorFlow's guide "Use a GPU", JAX's "GPU memory allocation".
MEMORY = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def named(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """The GPUs that the environment makes visible; None if it names none and hides none."""
    value = environ.get(VISIBLE)
    if value is None:
        return None
    names = (name.strip() for name in value.split(","))
    return list(dict.fromkeys(takewhile(NAME.fullmatch, names)))


def present(devices: Path = Path("/dev")) -> bool:
    """Whether this machine, or container, has an NVIDIA GPU."""
    return any(any(devices.glob(pattern)) for pattern in DEVICES)


def visible(environ: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> bool:
    """Whether a process that sees all of them sees any."""
    names = named(environ)
    return bool(names) or (names is None and present(devices))


def of_workers(
    serving: Serving, found: Callable[[], list[str]], environ: Mapping[str, str] = os.environ
) -> list[str | None]:
    """The GPU that each worker sees; None where it sees what this process does.

    Args:
        serving: the server's settings.
        found: the GPUs of the machine, where the environment names none.
        environ: the environment.
    """
    alike: list[str | None] = [None] * serving.workers
    names = named(environ)
    if serving.workers == 1 or (names is None and not serving.gpu):
        return alike
    if names is None:
        names = found()
    if not names:
        return alike
    if serving.workers > len(names):
        logger.warning(
            "%d workers share %d GPU%s: each holds the model in a GPU's memory; WORKERS in the"
            " environment, or serving.workers in config.yaml, sets their number",
            serving.workers,
            len(names),
            "" if len(names) == 1 else "s",
        )
    return [names[number % len(names)] for number in range(serving.workers)]


def defaults(serving: Serving) -> dict[str, str]:
    """What a worker's environment says of GPUs where the server's own says nothing."""
    if serving.gpu:
        return MEMORY
    return {**MEMORY, VISIBLE: ""}
