"""Lightning: the module inside of what has trained it."""

import contextlib
import sys
from typing import Any

from generator.errors import ModelError

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
WRAPPERS = ("lightning.fabric.wrappers", "lightning_fabric.wrappers")


def is_trainer(model: object) -> bool:
    """Whether this is a `Trainer`, which has a `predict` that takes no rows."""
    kinds = (getattr(sys.modules.get(name), "Trainer", None) for name in PACKAGES)
    return any(kind is not None and isinstance(model, kind) for kind in kinds)


def inside(model: Any) -> Any:
    """The module that a `Trainer` has trained, or that `Fabric` has set up; any other itself.

    Raises:
        ModelError: the Trainer has none yet.
    """
    if is_trainer(model):
        if model.lightning_module is None:
            raise ModelError("this Trainer has no module yet: call its fit first")
        return model.lightning_module
    return model.module if _is_wrapped(model) else model


def _is_wrapped(model: Any) -> bool:
    for name in WRAPPERS:
        is_wrapped = getattr(sys.modules.get(name), "is_wrapped", None)
        with contextlib.suppress(RuntimeError):  # a module that was compiled before the import
            if is_wrapped is not None and is_wrapped(model):
                return True
    return False
