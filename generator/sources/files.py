"""A model in a file, or in a directory that a framework of `hooks/` knows."""

import contextlib
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ScaffoldError
from ..hooks import WrittenModelScaffoldDefinition, reader
from ..owners import one_line
from .loaded import Ask, Loaded

MAIN = r"[mM]odule '(?:[\w.]+\.)?__(?:mp_)?main__'"
OF_A_SESSION = re.compile(rf"attribute '([\w.]+)' on <{MAIN}|{MAIN} has no attribute '([\w.]+)'")
OURS = __package__.split(".")[0]
OF_OURS = re.compile(
    rf"attribute '([\w.]+)' on <module '{OURS}' |^module '{OURS}' has no attribute '(\w+)'"
)
PICKLES = (".joblib", ".pickle", ".pkl")
PICKLE = "joblib or pickle"


def read(path: Path, ask: Ask) -> Loaded:
    """The model in a file, or in a directory of its framework's.

    Raises:
        ScaffoldError: there is none, it cannot be loaded, or its code may not run.
    """
    framework = reader(path)
    if framework is None:
        return Loaded(unpickled(path, ask))
    model = of_framework(framework, path, ask)
    return Loaded(model, format=framework.format_of(path))


def of_framework(framework: WrittenModelScaffoldDefinition, path: Path, ask: Ask) -> Any:
    """The model that a framework reads, without running its code where that is possible."""
    with loading(path, framework.name):
        model = framework.read_safely(path)
    if model is not None:
        return model
    ask()
    with loading(path, framework.name):
        return framework.read(path)


def unpickled(path: Path, ask: Ask) -> Any:
    """The model in a file of joblib's, pickle's or cloudpickle's."""
    ask()
    with loading(path, PICKLE):
        try:
            import joblib
        except ModuleNotFoundError:
            with path.open("rb") as file:
                return pickle.load(file)
        return joblib.load(path)


@contextlib.contextmanager
def loading(path: Path, kind: str) -> Iterator[None]:
    """Whatever is raised in the block becomes one sentence about the source."""
    try:
        yield
    except ScaffoldError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and _is_module(error.name):
            raise _missing(path, str(error.name)) from error
        if found := OF_OURS.search(str(error)):
            raise _of_another(path, f"{OURS}.{found[1] or found[2]}") from error
        if (name := _of_a_session(error)) is not None:
            raise ScaffoldError(
                f"SOURCE {str(path)!r} needs {name!r}, which only the program or notebook that"
                " saved it defines: call generator.from_model(model, DIRECTORY) there"
            ) from error
        raise ScaffoldError(
            f"SOURCE {str(path)!r} does not hold a model that {kind} can load: {one_line(error)}"
        ) from error


def _is_module(name: str | None) -> bool:
    """Whether a pickle may name such a module. What is read of another file may be any text."""
    return name is not None and all(part.isidentifier() for part in name.split("."))


def _missing(path: Path, module: str) -> ScaffoldError:
    """The error where a module that a file needs cannot be imported."""
    if module.startswith(f"{OURS}."):
        return _of_another(path, f"the module {module!r}")
    return ScaffoldError(
        f"SOURCE {str(path)!r} needs the module {module!r}: install what it was made with"
    )


def _of_another(path: Path, name: str) -> ScaffoldError:
    """The error where a module of the owner's has the name of this package."""
    return ScaffoldError(
        f"SOURCE {str(path)!r} needs {name}, which this generator is not: rename your {OURS}.py, or"
        f" your package {OURS}, and make the model again"
    )


def _of_a_session(error: BaseException) -> str | None:
    """What a pickle looks for in `__main__`: in the session that loads it, which is another."""
    raised: BaseException | None = error
    while raised is not None:
        if isinstance(raised, AttributeError) and (found := OF_A_SESSION.search(str(raised))):
            return found[1] or found[2]
        raised = raised.__cause__ or raised.__context__
    return None
