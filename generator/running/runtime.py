"""A scaffold's own `common` package, imported under a name of its own so that several scaffolds can be open at once."""

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ScaffoldError
from ..rendering.render import TEMPLATE

TEMPLATE_SOURCE = TEMPLATE / "template" / "src"


def load(source: Path, module: str) -> Any:
    """A module of the `common` package in a scaffold's `src/`.

    Args:
        source: the scaffold's `src/`, or the template's.
        module: the module's name in the package.

    Raises:
        ScaffoldError: the directory holds no such package, or it cannot be imported.
    """
    package = _package((source / "common").resolve())
    try:
        return importlib.import_module(f"{package.__name__}.{module}")
    except ImportError as error:
        raise ScaffoldError(
            f"{source / 'common' / module}.py cannot be imported: {error}"
        ) from error


def _package(directory: Path) -> ModuleType:
    name = f"_scaffold_{hashlib.sha256(str(directory).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    file = directory / "__init__.py"
    if not file.is_file():
        raise ScaffoldError(f"{directory.parents[1]} is no scaffold: {file} is missing")
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=[str(directory)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    try:
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules[name]
        raise
    return package
