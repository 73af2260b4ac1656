"""Finds out what a source is, and reads it."""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from .. import layout
from ..common import listing
from ..errors import ScaffoldError
from ..hooks import reader
from . import files, hub, mlflow, mlserver
from .loaded import Ask, Loaded

KNOWN = (
    f"an MLflow model ({mlflow.FILE}), one of MLServer's ({mlserver.FILE}), and the directories"
    " that a framework writes"
)


SAVED_MODEL = "saved_model.pb"  # the file of TensorFlow's directories


@contextlib.contextmanager
def read(source: "str | os.PathLike[str]", ask: Ask) -> Iterator[Loaded]:
    """The model in a source. Its own code can be imported while the block lasts.

    Args:
        source: a file, a directory, an address as MLflow takes it, or the name of a repository of
            Hugging Face's.
        ask: see `Ask`. It is called once at most.

    Raises:
        ScaffoldError: there is no such source, it holds no model, or its code may not run.
    """
    with contextlib.ExitStack() as stack:
        yield _read(os.fspath(source), functools.cache(ask), stack)


def _read(source: str, ask: Ask, stack: contextlib.ExitStack) -> Loaded:
    path = Path(source)
    if not path.exists() and mlflow.is_address(source):
        place = mlflow.fetched(source, stack)
        return mlflow.read(place, ask, stack, name=mlflow.name_in(source))
    if not path.exists() and hub.is_name(source):
        path = hub.fetched(source)
    if not path.exists():
        raise ScaffoldError(f"SOURCE {source!r} does not exist")
    if path.name in (mlflow.FILE, mlserver.FILE, SAVED_MODEL):
        path = path.parent
    if path.is_file():
        return files.read(path, ask)
    return _in_directory(path, ask, stack)


def _in_directory(path: Path, ask: Ask, stack: contextlib.ExitStack) -> Loaded:
    if (path / mlflow.FILE).is_file():
        return mlflow.read(path, ask, stack)
    if (path / mlserver.FILE).is_file():
        return mlserver.read(path, ask, stack)
    if reader(path) is not None:
        return files.read(path, ask)
    raise ScaffoldError(f"SOURCE {str(path)!r} {_no_model(path)}")


def _no_model(path: Path) -> str:
    """Why a directory cannot be read, and what to do."""
    if (path / layout.ANSWERS).exists():
        return "is a scaffold already: use it with generator.load"
    if versions := sorted(each.parent.name for each in path.glob(f"*/{SAVED_MODEL}")):
        return f"holds SavedModels in {listing(versions)}: name the directory of one"
    return f"is a directory that holds no model: known are {KNOWN}"
