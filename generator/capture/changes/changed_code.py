"""Puts back what was changed in classes and modules after their source had run.

The source beside this module is as its owner wrote it. What the session of the training had put
into it later, such as a method or another value of a class attribute, is in `changed_code.pickle`,
which is bound to the minor version of Python that wrote it. The changed modules import this one at
their end. The generator copies this module into `src/model/`.
"""

import importlib
import pickle
from pathlib import Path
from typing import Any


def _holder(module: str, qualname: str) -> Any:
    """The module, or the class or function in it, that a change is made in."""
    found: Any = importlib.import_module(module)
    for part in filter(None, qualname.split(".")):
        found = getattr(found, part)
    return found


with Path(__file__).with_suffix(".pickle").open("rb") as file:
    for module, qualname, name, values in pickle.load(file):
        if values:
            setattr(_holder(module, qualname), name, values[0])
        else:
            delattr(_holder(module, qualname), name)
