"""The code that travels with a model: importable while the model is loaded and written."""

import contextlib
import sys
from pathlib import Path

from ..errors import ScaffoldError


def importable(directory: Path, stack: contextlib.ExitStack) -> None:
    """Make the modules in a directory importable until the stack is closed.

    Afterwards they are not imported any more: another model may bring others with these names.

    Raises:
        ScaffoldError: a module with the name of one of them is imported already.
    """
    for name in sorted(_names(directory)):
        if name in sys.modules:
            found = getattr(sys.modules[name], "__file__", None) or "this session"
            raise ScaffoldError(
                f"SOURCE brings a module {name!r} ({directory}), and one with that name is"
                f" imported already (from {found}): load it in a session of its own"
            )
    sys.path.insert(0, str(directory))
    stack.callback(_forget, directory)


def entries(directory: Path) -> list[Path]:
    """The files and directories in it, as `code=` takes them."""
    return sorted(entry for entry in directory.iterdir() if entry.name != "__pycache__")


def _names(directory: Path) -> set[str]:
    """The names of the modules in it."""
    found = entries(directory)
    packages = {entry.name for entry in found if (entry / "__init__.py").is_file()}
    return packages | {entry.stem for entry in found if entry.suffix == ".py"}


def _forget(directory: Path) -> None:
    with contextlib.suppress(ValueError):
        sys.path.remove(str(directory))
    tops = _names(directory)
    for name in [name for name in sys.modules if name.partition(".")[0] in tops]:
        del sys.modules[name]
