"""Where the owner's code is called, anything may be raised. Here it becomes one sentence."""

import contextlib
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path

from .errors import ModelError, ScaffoldError, ScaffoldWarning

MOST_CHARACTERS = 600
OWN_FILES = (str(Path(__file__).parent), contextlib.__file__)


def one_line(error: BaseException) -> str:
    """The class of an error and what it says."""
    try:
        said = " ".join(str(error).split())
    except Exception:
        said = ""
    return f"{type(error).__name__}: {said}".removesuffix(": ")[:MOST_CHARACTERS]


@contextlib.contextmanager
def guarded(
    doing: str,
    error: type[ScaffoldError] = ModelError,
    fix: str | None = None,
    passing: tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Whatever is raised in the block becomes an error of the generator's.

    The generator's own errors and Ctrl-C pass, and its warnings where the owner has made errors of
    them.

    Args:
        doing: the beginning of the message, as in "the model cannot predict from sample_input".
        error: the class of the error.
        fix: the end of the message: what the owner can do.
        passing: errors that somebody above handles.

    Raises:
        ScaffoldError: of the class `error`; its cause is what was raised.
    """
    try:
        yield
    except (ScaffoldError, ScaffoldWarning):
        raise
    except passing:
        raise
    except (Exception, SystemExit) as raised:
        message = f"{doing}: {one_line(raised)}"
        if fix is not None:
            message = f"{message}; {fix}"
        raise error(message) from raised


def warn(message: str) -> None:
    """Tell the owner something, at the line of theirs that has called the generator."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(OWN_FILES):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, ScaffoldWarning, stacklevel=level)
