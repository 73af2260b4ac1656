"""Modules that are imported when a test first uses them: every process collects every test."""

import importlib
import importlib.util
from typing import Any

import pytest


class Later:
    """A module. Where its package is not installed, the test module is skipped."""

    def __init__(self, name: str) -> None:
        self._name = name
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            pytest.skip(f"needs {name}", allow_module_level=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)
