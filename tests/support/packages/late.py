"""Packages that take seconds to import.

Each process of `pytest -n` collects all tests and runs some of them: only these import the package.
"""

import importlib
import importlib.util
import warnings
from typing import Any

import pytest


def imported_late(name: str, missing: str = "") -> Any:
    """A module that is imported at its first use. If there is none, the file's tests are skipped.

    Args:
        name: the module's.
        missing: why it may not be there.
    """
    require(name.split(".")[0], missing)
    return _Late(name)


def require(package: str, missing: str = "") -> None:
    """Skip the file's tests if the package is not installed. The arguments are as above."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(missing or f"{package} is not installed", allow_module_level=True)


class _Late:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest asks for some while it collects
            raise AttributeError(attribute)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(self._name)
        return getattr(module, attribute)
