"""From a model in memory to a scaffold: the steps, in their order."""

import contextlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import elsewhere
from . import requirements as environment
from .captured import Captured
from .config import write_facts
from .errors import ModelError, SettingError, TargetError
from .hooks import Description, WrittenModelScaffoldDefinition, find
from .render import render
from .runtime import TEMPLATE_SOURCE, load
from .scaffold import Scaffold
from .sources import capture

WORKER_NEEDS = dict.fromkeys(("msgpack", "numpy", "orjson"), "bodies of requests and responses in the worker")
PREFIX = ".scaffold."  # of a directory that is not finished; the target's name may be as long as names can be
PYTHON_VERSIONS = ("3.10", "3.11", "3.12", "3.13")


def from_model(
    model: Any,
    target_directory: "str | os.PathLike[str] | None" = None,
    *,
    name: str = "model",
    sample_input: Any = None,
    requirements: Sequence[str] | None = None,
    python_version: str | None = None,
    data: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None" = None,
    server: str = "kserve",
    framework: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
) -> Scaffold:
    """Write a scaffold that serves a trained model.

    Args:
        model: a fitted scikit-learn estimator with a `predict`, a Keras model that is built, a PyTorch module, scripted
            or not, or, with `framework="custom"`, any object that has a `predict` and can be pickled.
        target_directory: the directory to make; by default named after the model's class.
        name: the model's name, as in `/v1/models/NAME:predict`.
        sample_input: rows as the model's `predict` takes them, of shape [n, features], or a DataFrame, or a list, or a
            dict of arrays keyed by input name. They tell the dtypes, and the scaffold is proved on them: a worker in a
            process of its own must answer exactly what the model in memory predicts (Keras and PyTorch: to 1e-6 of
            the largest number). The pair stays in the scaffold as its smoke test.
        requirements: requirement lines (PEP 508) that are added to what is inferred, or replace it by package name.
        python_version: "3.10" to "3.13"; by default the running one.
        data: a file or a directory, or several, to copy into `src/data/`.
        server: the server that takes the requests: "kserve".
        framework: "sklearn", "keras", "pytorch" or "custom"; by default what the model is found to be of.
        format: "export" saves a PyTorch module as a program of `torch.export`, traced on `sample_input`, for any number
            of rows: nothing is pickled, and no class of yours is needed. By default the module is saved as it is.
        overwrite: whether a directory that holds something may be replaced.

    Raises:
        ModelError: the object is no trained model that can be served, or its scaffold does not predict as it does.
        SettingError: another argument has a value that its rule forbids.
        RequirementError: something the model needs cannot be written as a requirement.
        TargetError: the directory cannot be written, or holds something already.
    """
    definition = find(model, framework)
    model = definition.unwrapped(model)
    definition.check(model)
    target = _target(target_directory, type(model).__name__, overwrite)
    served = definition.converted(model, format, sample_input)
    captured = capture(definition.definitions(served), requirements or ())
    answers = _answers(name, definition.name, _python_version(python_version, captured), server)
    files = _data_files(data)
    description = definition.describe(model, sample_input)
    with captured.renamed():
        references = definition.references(served)
    needed = environment.infer(
        captured.outside(references),
        imported=captured.imports,
        always={**WORKER_NEEDS, **description.distributions},
        given=requirements or (),
    )
    with _beside(target) as directory:
        render({**answers, "requirements": needed.text()}, directory)
        versions = {name: version for name, version in needed.versions.items() if name not in ("msgpack", "orjson")}
        with captured.renamed():
            _write_model(definition, model, served, description, versions, directory)
        captured.write(directory / "src" / "model")
        _copy_data(files, directory / "src" / "data")
        if captured.files:
            elsewhere.check(directory, captured.path, description.example)
        if sample_input is not None:
            _prove(model, sample_input, directory)
    return Scaffold(target, model=model)


def new(
    target_directory: "str | os.PathLike[str]",
    *,
    name: str = "model",
    requirements: Sequence[str] | None = None,
    python_version: str | None = None,
    data: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None" = None,
    server: str = "kserve",
    overwrite: bool = False,
) -> Scaffold:
    """Write a scaffold without a model: `load` and `predict` in its `src/server/inference_model.py` are to be written.

    Args:
        target_directory: the directory to make.
        name: the model's name, as in `/v1/models/NAME:predict`.
        requirements: requirement lines (PEP 508) for what the code is going to import.
        python_version: "3.10" to "3.13"; by default the running one.
        data: a file or a directory, or several, to copy into `src/data/`.
        server: the server that takes the requests: "kserve".
        overwrite: whether a directory that holds something may be replaced.

    Raises:
        SettingError, RequirementError, TargetError: as `from_model` does.
    """
    target = _target(target_directory, "", overwrite)
    answers = _answers(name, "custom", _python_version(python_version, Captured()), server)
    files = _data_files(data)
    needed = environment.infer({}, always=WORKER_NEEDS, given=requirements or ())
    with _beside(target) as directory:
        render({**answers, "requirements": needed.text()}, directory)
        _copy_data(files, directory / "src" / "data")
    return Scaffold(target)


def _answers(name: str, framework: str, python_version: str, server: str) -> dict[str, str]:
    """Answers to the questions of `copier.yml`, but for the requirements."""
    return {"model_name": name, "framework": framework, "python_version": python_version, "server": server}


def _target(directory: "str | os.PathLike[str] | None", class_name: str, overwrite: bool) -> Path:
    """The directory to make, found to be free."""
    target = Path(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower() if directory is None else directory)
    if reason := _occupied(target, overwrite):
        raise TargetError(f"target_directory {str(target)!r} {reason}")
    return target


def _occupied(target: Path, overwrite: bool) -> str | None:
    """Why no scaffold can be put there, and what to do; None where one can."""
    try:
        if target.exists() and not target.is_dir():
            return "is a file: name a directory that does not exist yet"
        if target.is_dir() and any(target.iterdir()) and not overwrite:
            return "holds something already: name another, or pass overwrite=True"
        if Path.cwd().is_relative_to(target.resolve()):
            return "is where you are: name a directory in it"
    except (OSError, ValueError) as error:
        return f"cannot be used: {getattr(error, 'strerror', error)}; name another"
    return None


def _python_version(version: str | None, captured: Captured) -> str:
    running = ".".join(platform.python_version_tuple()[:2])
    if version is not None and version not in PYTHON_VERSIONS:
        raise SettingError(f"python_version {version!r} is not one of {', '.join(PYTHON_VERSIONS)}")
    if version is None and running not in PYTHON_VERSIONS:
        raise SettingError(
            f"Python {running} is running, a scaffold takes {', '.join(PYTHON_VERSIONS)}: pass python_version"
        )
    if version not in (None, running) and captured.by_value:
        raise SettingError(
            f"python_version {version!r} is not the running {running}, which code pickled by value is bound to "
            f"({', '.join(captured.by_value)}): define that in a module of your own, or leave python_version out"
        )
    return version or running


def _data_files(data: Any) -> list[Path]:
    """What is to be copied into `src/data/`: files, or the content of one directory."""
    if data is None:
        return []
    named = [Path(data)] if isinstance(data, (str, os.PathLike)) else [Path(item) for item in data]
    for path in named:
        if not path.exists():
            raise SettingError(f"data names {str(path)!r}, which does not exist")
    return sorted(named[0].iterdir()) if len(named) == 1 and named[0].is_dir() else named


def _copy_data(files: list[Path], directory: Path) -> None:
    for path in files:
        if path.is_dir():
            shutil.copytree(path, directory / path.name)
        else:
            shutil.copy2(path, directory / path.name)


def _write_model(
    definition: WrittenModelScaffoldDefinition,
    model: Any,
    served: Any,
    description: Description,
    versions: Mapping[str, str],
    directory: Path,
) -> None:
    """The serialized model in the form that is served, and what `config.yaml` records of it."""
    file = definition.serialize_model_to_directory(served, directory / "src" / "model")
    facts = {
        "file": file.name,
        "sha256": load(TEMPLATE_SOURCE, "artifact").digest(file),
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "trained_with": {"python": platform.python_version(), **versions},
        "input": description.input,
        "output": description.output,
        "example": description.example,
        **definition.facts(model),
    }
    write_facts(directory / "config.yaml", facts)


def _prove(model: Any, sample: Any, directory: Path) -> None:
    """Run the sample through the whole flow in a process of its own, and compare with the model in memory."""
    with contextlib.closing(Scaffold(directory, model)) as scaffold:
        verification = scaffold.verify(sample)
    if not verification:
        raise ModelError(f"the scaffold does not predict what the model in memory does: {verification.difference}")


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A directory beside the target that takes its place at the end, or leaves nothing behind."""
    place = target.resolve()
    missing = [parent for parent in place.parents if not parent.exists()]
    directory = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place.parent))
        yield directory
        directory.chmod(0o777 & ~_umask())
        _take_place(directory, place)
    except OSError as error:
        raise TargetError(
            f"target_directory {str(target)!r} cannot be written: {error}; mend that, or name another"
        ) from error
    finally:
        _clear(directory, missing)


def _clear(directory: Path | None, parents: list[Path]) -> None:
    """Remove what is unfinished, and the parents that were made for it, innermost first, where nothing is in them."""
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)
    for parent in parents:
        with contextlib.suppress(OSError):
            parent.rmdir()


def _take_place(directory: Path, target: Path) -> None:
    """Rename the new directory to the target; what stood there comes back when that fails."""
    if not target.exists() or not any(target.iterdir()):
        os.replace(directory, target)
        return
    old = Path(tempfile.mkdtemp(prefix=PREFIX, dir=target.parent))
    os.replace(target, old)
    try:
        os.replace(directory, target)
    except BaseException:
        os.replace(old, target)
        raise
    shutil.rmtree(old)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
