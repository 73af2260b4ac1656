"""Where modules come from, found without importing them."""

import importlib.util
import os
import sys
from collections.abc import Iterable
from importlib.machinery import SOURCE_SUFFIXES, ModuleSpec
from types import ModuleType


def locate(name: str) -> ModuleSpec | None:
    """Where a module was imported from, or would be; None where that is not known."""
    if name in sys.modules:
        return _recorded(name, sys.modules[name])
    parent, path = name.rpartition(".")[0], None
    if parent:
        package = locate(parent)
        if package is None or package.submodule_search_locations is None:
            return None
        path = package.submodule_search_locations
    finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
    try:
        return next(filter(None, (finder.find_spec(name, path) for finder in finders)), None)
    except KeyError:  # a namespace package in a package that is not imported
        return _namespace(name, path or ())


def _namespace(name: str, path: Iterable[str]) -> ModuleSpec:
    """The namespace package of a name in a package with these directories."""
    places = (os.path.join(place, name.rpartition(".")[2]) for place in path)
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [place for place in places if os.path.isdir(place)]
    return spec


def _recorded(name: str, module: ModuleType | None) -> ModuleSpec | None:
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    file = getattr(module, "__file__", None)
    if spec is None and file:
        return importlib.util.spec_from_file_location(name, file)
    return spec


def is_source(spec: ModuleSpec) -> bool:
    """Whether the module is a file of Python source."""
    return spec.has_location and str(spec.origin).endswith(tuple(SOURCE_SUFFIXES))
