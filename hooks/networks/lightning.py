"""Lightning: the module inside of what has trained it."""

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
    is_wrapped = (getattr(sys.modules.get(name), "is_wrapped", None) for name in WRAPPERS)
    return model.module if any(wraps and wraps(model) for wraps in is_wrapped) else model
