"""Where modules come from, told without importing them."""

import importlib.util
import sys
from importlib.machinery import SOURCE_SUFFIXES, ModuleSpec
from types import ModuleType


def locate(name: str) -> ModuleSpec | None:
    """Where a module was imported from, or would be; None where there is no telling, and where there is none."""
    if name in sys.modules:
        return _recorded(name, sys.modules[name])
    parent = name.rpartition(".")[0]
    package = locate(parent) if parent else None
    path = package.submodule_search_locations if package else None
    if parent and path is None:
        return None
    found = (
        finder.find_spec(name, path) for finder in sys.meta_path if hasattr(finder, "find_spec")
    )
    return next(filter(None, found), None)


def _recorded(name: str, module: ModuleType | None) -> ModuleSpec | None:
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    file = getattr(module, "__file__", None)
    return spec or (importlib.util.spec_from_file_location(name, file) if file else None)


def is_source(spec: ModuleSpec) -> bool:
    """Whether the module is a file of Python source."""
    return spec.has_location and str(spec.origin).endswith(tuple(SOURCE_SUFFIXES))
