"""Puts another model into a scaffold that its owner has edited.

The model, its code, its facts and its pins change. All else stays.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..arguments import argument
from ..common import ConfigError, digest, schema
from ..environment import locking
from ..environment.lines import Requirements
from ..environment.lock import Lock, command
from ..environment.repin import given_lines, repinned, with_new
from ..environment.wheels import Wheel
from ..errors import ModelError, ScaffoldError, SettingError, TargetError
from ..files import edit, exchange
from ..hooks import NATIVE, Description, WrittenModelScaffoldDefinition
from ..layout import (
    ANSWERS,
    CONFIG,
    DATA,
    DOCKERFILES,
    LOCK,
    MANIFESTS,
    MODEL,
    ONNX_FILE,
    REQUIREMENTS,
    SMOKE_TEST,
    SOURCE,
    WHEELS,
    WHEELS_REQUIREMENTS,
)
from ..owners import warn
from ..rendering.answers import Answers
from ..running.runtime import Runtime, is_for_gpu
from .config_file import read_config, read_facts, value_at, write_facts, write_values
from .kept import Kept, kept
from .pages import PAGES, write_pages
from .prepare import Prepared, complete, prepare

# Facts that a model may lack.
OF_ONE_MODEL = ("sklearn_config", "wheels", "method", "parameters", "settings")


def replace_model(
    directory: Path,
    framework: str,
    definition: WrittenModelScaffoldDefinition,
    model: Any,
    *,
    sample_input: Any = None,
    expected: Any = None,
    requirements: Sequence[str] | None = None,
    python_version: str | None = None,
    format: str | None = None,
    engine: str | None = None,
    code: Any = None,
    wheels: bool = False,
    version: str | None = None,
    data: Mapping[str, Path] | None = None,
    change_signature: bool = False,
) -> None:
    """Put a model into a scaffold: see `Scaffold.replace_model`.

    Args:
        directory: the scaffold's.
        framework: the scaffold's.
        data: maps a path in `src/data/` to the file that is put there.
    """
    answers, facts = Answers.read(directory), read_facts(directory / CONFIG)
    if definition.name != framework:
        raise ModelError(
            f"the scaffold is for {framework}, the model is of {definition.name}: make another"
        )
    if version is not None and not hasattr(Runtime(directory).config().model, "version"):
        raise ScaffoldError(
            f"{argument('version')} {version!r}: the scaffold is from an older template, which"
            " tells no version: update it first"
        )
    given = with_new(given_lines(_generated_pins(answers)), requirements or ())
    stays = None
    if sample_input is None:
        stays = _kept(directory, facts, definition, model)
        sample_input = stays and stays.sample
    prepared = prepare(
        definition,
        model,
        sample_input,
        requirements=given,
        python_version=python_version,
        format=format or definition.format_of(Path(facts.get("file") or "")),
        engine=engine or facts.get("engine"),
        code=code,
        wheels=wheels,
        version=version,
        gpu=bool(answers.values.get("gpu")) or is_for_gpu(Runtime(directory).config()),
    )
    if stays is not None:
        prepared = _with_input(prepared, stays.input_for(prepared.description.input))
    prepared = replace(prepared, is_unshared=facts.get("rows_independent") is False)
    _check_signature(facts.get("input"), prepared.description.input, change_signature)
    if sample_input is not None or prepared.captured.path:  # is checked in a worker
        Runtime(directory).check_layout()
    model_files = _model_files(facts)

    def make(prepared: Prepared) -> None:
        files = prepared.captured.digests
        stale = _stale_files(directory, MODEL, facts.get("code") or {}, files)
        with tempfile.TemporaryDirectory(prefix="scaffold-replace.") as place:
            copy = _copied(directory, Path(place) / "scaffold", [*stale, *model_files])
            _check_free(copy, definition.files)
            with prepared.named() as needed:
                old_wheels = _stale_wheels(directory, facts.get("wheels") or {}, needed.wheels)
                written = _write(prepared, needed, copy, answers, facts)
            if stays is None:
                prepared.check(copy, expected)
            else:
                _check_kept(prepared, copy, stays)
            if prepared.is_unshared:
                _keep_unshared(copy)
            removed = [SMOKE_TEST, *(f"{MODEL}/{name}" for name in (*stale, *model_files))]
            _tell_version(facts.get("version"), version)
            written += [SMOKE_TEST, *write_pages(copy)]
            changes = _changes(directory, copy, [*removed, *old_wheels], written)
            exchange(directory, {**changes, **_data_files(data or {})})
            with contextlib.suppress(OSError):  # it is not there, or not empty
                (directory / WHEELS).rmdir()

    try:
        complete(prepared, make)
    except OSError as error:
        raise TargetError(f"{directory} cannot be written, and is unchanged: {error}") from error
    _renew_lock(directory, prepared.python_version)


def _kept(
    directory: Path,
    facts: Mapping[str, Any],
    definition: WrittenModelScaffoldDefinition,
    model: Any,
) -> Kept | None:
    """What stays of the rows of the model before; None, with a warning if need be, if nothing."""
    try:
        stays, reason = kept(directory, facts, definition, model)
    except ConfigError as error:
        raise ScaffoldError(str(error)) from error
    if reason is not None:
        warn(
            "the dtypes in config.yaml and the smoke test are not kept, because the new model does"
            f" not predict from such rows: {reason}; pass {argument('sample_input')}"
        )
    return stays


def _with_input(prepared: Prepared, described: schema.ModelInput) -> Prepared:
    return replace(prepared, description=replace(prepared.description, input=described))


def _of_first_row(description: Description) -> Description:
    """The description with the one row that its prediction is for."""
    if description.example is None:
        return description
    return replace(description, example=description.example[:1])


def _check_kept(prepared: Prepared, copy: Path, stays: Kept) -> None:
    """Ask the smoke test again. Its answer may be another than the model's: by an owner's edit."""
    if not stays.is_tested:
        prepared = replace(prepared, sample=None, description=_of_first_row(prepared.description))
    verification = prepared.verification(copy)
    if verification is not None and not verification:
        warn(
            "the smoke test is removed, because the scaffold does not predict what the model in"
            f" memory does: {verification.difference}; if that is your edit, call"
            " verify(rows, expected=predictions)"
        )


def _keep_unshared(copy: Path) -> None:
    """Requests still share no call of `predict`: it may be the owner who wants that."""
    if read_facts(copy / CONFIG).get("rows_independent"):
        warn(
            "rows_independent: false stays in config.yaml, though the rows of the new model do not"
            " depend on each other: write true there, and requests share calls of predict"
        )
    write_facts(copy / CONFIG, {"rows_independent": False})


def _renew_lock(directory: Path, python_version: str) -> None:
    """Renew `requirements.lock`, where there is one and it is of the model before."""
    try:
        lock = Lock.read(directory)
        if lock is None or (lock.is_current and lock.is_for(python_version)):
            return
        locking.make(directory, python_version)
    except (ScaffoldError, OSError) as error:
        warn(
            f"{LOCK} is still of the model before, and no image is built until"
            f" `{command(directory)}` has renewed it, or it is removed: {error}"
        )


def _tell_version(old: Any, new: str | None) -> None:
    """Tell that a version, which the owner gave to the model before, does not name the new one."""
    if old is not None and new is None:
        warn(
            f"{argument('version')}: {old} is removed from config.yaml, because it named the model"
            f" before: pass {argument('version')} to name the new one"
        )


def _generated_pins(answers: Answers) -> str:
    """The lines of `requirements.txt` that the generator wrote."""
    return str(answers.values.get("requirements", ""))


def _model_files(facts: Mapping[str, Any]) -> list[str]:
    """The names of the old model's files in `src/model/`; a directory is one of them."""
    compiled = facts.get("onnx_sha256") and ONNX_FILE
    return [name for name in (facts.get("file"), compiled) if name]


def _check_free(copy: Path, names: Sequence[str]) -> None:
    """Refuse to write a model into a directory in which the owner has put something.

    Args:
        copy: the scaffold without the old model.
        names: what the new model's file or directory may be called.
    """
    for name in names:
        place = copy / MODEL / name
        if place.is_dir() and any(place.iterdir()):
            raise ScaffoldError(
                f"{MODEL}/{name} holds files of yours, and is the new model's place: move them"
            )


def _changes(
    directory: Path, copy: Path, removed: Sequence[str], written: Sequence[str]
) -> dict[str, Path | None]:
    """Maps a path in the scaffold to the file that replaces it; None removes it."""
    gone = {name: None for name in removed if (directory / name).exists()}
    return {**gone, **{name: copy / name for name in written if (copy / name).exists()}}


def _data_files(data: Mapping[str, Path]) -> dict[str, Path | None]:
    return {f"{DATA}/{name}": path for name, path in data.items()}


def _write(
    prepared: Prepared,
    needed: Requirements,
    copy: Path,
    answers: Answers,
    facts: Mapping[str, Any],
) -> list[str]:
    """Write the model, its facts and its pins into a copy of the scaffold.

    Args:
        needed: the packages of the new model.
        facts: what `config.yaml` records of the old model.

    Returns:
        The paths of the files that may have changed.
    """
    if facts.get("engine", NATIVE) != NATIVE or facts.get("onnx_sha256"):
        write_facts(copy / CONFIG, {"engine": NATIVE, "onnx_sha256": None})
    gone = [key for key in OF_ONE_MODEL if facts.get(key)]
    write_facts(copy / CONFIG, dict.fromkeys(gone))
    names = prepared.write(copy, needed)
    generated = _generated_pins(answers)
    if (copy / REQUIREMENTS).exists():
        edit(copy / REQUIREMENTS, lambda text: repinned(text, generated, needed))
    _set_python(copy, str(answers.values.get("python_version")), prepared.python_version)
    answers.values["requirements"] = needed.text()
    answers.values["python_version"] = prepared.python_version
    if "engine" in answers.values:
        answers.values["engine"] = prepared.engine
    answers.write(copy)
    dockerfiles = [path.name for path in copy.glob(DOCKERFILES)]
    return [*names, CONFIG, REQUIREMENTS, ANSWERS, *dockerfiles]


def _copied(directory: Path, copy: Path, old: Sequence[str]) -> Path:
    """Copy what a worker of the scaffold reads and what may change, without the old model.

    The data is linked where the file system can.

    Args:
        old: the files of the old model in `src/model/`.
    """
    left_out = {directory / MODEL / name for name in old}

    def ignored(place: str, names: list[str]) -> list[str]:
        return [name for name in names if Path(place) / name in left_out or name == "__pycache__"]

    def copied(source: str, target: str) -> None:
        if not Path(source).is_relative_to(directory / DATA) or not _link(source, target):
            shutil.copy2(source, target)

    shutil.copytree(directory / SOURCE, copy / SOURCE, ignore=ignored, copy_function=copied)
    named = [path for pattern in (DOCKERFILES, MANIFESTS) for path in directory.glob(pattern)]
    named += [directory / name for name in (CONFIG, REQUIREMENTS, ANSWERS)]
    named += [page for name in PAGES if not (page := directory / name).is_symlink()]
    for file in named:
        if file.is_file():
            place = copy / file.relative_to(directory)
            place.parent.mkdir(exist_ok=True)
            shutil.copy2(file, place)
    return copy


def _link(source: str, target: str) -> bool:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another file system, or one without links
        return False
    return True


# ---- what the clients send ----


def _check_signature(old: Any, new: schema.ModelInput | None, change: bool) -> None:
    """Refuse a model that takes other rows than the clients send.

    Args:
        old: `model.input` as the scaffold's config.yaml has it.
        new: what the new model takes.
        change: whether the clients are going to send something else.
    """
    if old is None or new is None or change:
        return
    try:
        sent, taken = _in_words(schema.read_input(old)), _in_words(new)
    except ConfigError as error:
        raise ScaffoldError(str(error)) from error
    if sent != taken:
        raise SettingError(
            f"the new model takes {taken}, the scaffold's clients send {sent}: pass"
            f" {argument('change_signature', True)} if they are going to send the former"
        )


def _in_words(described: schema.ModelInput | None) -> str:
    """Describes rows: the text is the same for two models that take the same rows."""
    match described:
        case schema.TableInput():
            return f"rows with the columns {', '.join(described.names)}"
        case schema.TensorsInput():
            inputs = sorted(f"{item.name} {_array(item)}" for item in described.inputs)
            return f"rows with the inputs {', '.join(inputs)}"
        case schema.ArrayInput():
            return f"rows that are {_array(described)}"
        case schema.TextInput():
            return "rows of text"
    return "rows of json"


def _array(described: schema.ArrayInput | schema.Tensor) -> str:
    what = "numbers"
    if described.dtype == schema.TEXT:
        what = "texts"
    if described.shape is None:
        return f"{what} of any shape"
    return f"{what} of shape {list(described.shape)}"


# ---- the code and the wheels that came with the old model ----


def _stale_files(
    directory: Path, folder: str, recorded: Mapping[str, str], new: Mapping[str, str]
) -> list[str]:
    """The files that only the old model came with, and that nobody has edited.

    Args:
        directory: the scaffold's.
        folder: the folder in it that holds them.
        recorded: maps a file that came with the old model to its SHA-256.
        new: the same for the new model.

    Raises:
        ScaffoldError: a file of the new model would replace one that the owner wrote or edited.
    """
    place = directory / folder
    for name, content in new.items():
        if (place / name).exists() and not _is(place / name, content, recorded.get(name)):
            raise ScaffoldError(
                f"{folder}/{name} holds edits of yours, and the new model comes with another:"
                " bring them into the code that the model is made with, and remove the file"
            )
    return [name for name, old in recorded.items() if name not in new and _is(place / name, old)]


def _stale_wheels(
    directory: Path, recorded: Mapping[str, str], wheels: Sequence[Wheel]
) -> list[str]:
    """The paths of the wheels that only the old model came with, and of the link beside them."""
    new = {wheel.name: wheel.sha256 for wheel in wheels}
    stale = _stale_files(directory, WHEELS, recorded, new)
    paths = [f"{WHEELS}/{name}" for name in stale]
    if recorded and not new:
        paths.append(WHEELS_REQUIREMENTS)
    return paths


def _is(file: Path, *digests: str | None) -> bool:
    """Whether it is a file with one of these SHA-256."""
    return file.is_file() and digest(file) in digests


# ---- the version of Python ----


def _set_python(directory: Path, old: str, new: str) -> None:
    """Replace the version of Python wherever it is still as it was generated."""
    if old == new:
        return
    config = directory / CONFIG
    values, generated, after = read_config(config), _python_values(old), _python_values(new)
    stale = [keys for keys, value in generated.items() if value_at(values, keys) == value]
    write_values(config, {keys: after[keys] for keys in stale})
    line = rf"(?m)^ARG PYTHON_VERSION={re.escape(old)}$"
    for file in directory.glob(DOCKERFILES):
        edit(file, lambda text: re.sub(line, f"ARG PYTHON_VERSION={new}", text))


def _python_values(version: str) -> dict[tuple[str, ...], str]:
    """What the template writes into `config.yaml` for a version of Python."""
    return {
        ("python_version",): f"py{version.replace('.', '')}",
        ("base_image", "image"): f"python:{version}-slim",
    }
