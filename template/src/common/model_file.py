"""The serialized model, a file or a directory, and a check that it is what was written."""

import hashlib
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from .config import Config
from .errors import LoadError

MODEL_DIRECTORY = Path("model")
ONNX_FILE = "model.onnx"
# In a directory, what .dockerignore keeps out of the image: it is no part of the model.
LEFT_OUT = (".git", ".DS_Store", ".ipynb_checkpoints", ".*_cache", "__pycache__", "*.py[co]")


def model_path(config: Config) -> Path:
    """The path of the model's file or directory, with the digest that `config.yaml` records.

    Raises:
        LoadError: `config.yaml` names none, it is missing, or is not the one that `config.yaml`
            records.
    """
    if config.model.file is None:
        raise LoadError(
            "there is no model yet: write load and predict in src/server/inference_model.py, or put"
            " a model into src/model/ and name its file under model.file in config.yaml"
        )
    path = MODEL_DIRECTORY / config.model.file
    if not path.exists():
        raise LoadError(
            f"src/{path} is missing: write the model there with {_writing(f'src/{path}')},"
            " or make the scaffold with generator.from_model(model, ...)"
        )
    _check_digest(path, "sha256", config.model.sha256)
    return path


def onnx_path(config: Config) -> Path:
    """The path of the model's compiled form, with the SHA-256 that `config.yaml` records.

    Raises:
        LoadError: the file is missing, or is not the one that `config.yaml` records.
    """
    path = MODEL_DIRECTORY / ONNX_FILE
    if not path.is_file():
        raise LoadError(
            f"src/{path} is missing: set model.engine to native in config.yaml, or make the file"
            ' with replace_model(model, engine="onnx")'
        )
    _check_digest(path, "onnx_sha256", config.model.onnx_sha256)
    return path


def _check_digest(path: Path, key: str, expected: str | None) -> None:
    if expected is not None and (found := digest(path)) != expected:
        raise LoadError(
            f"src/{path} is not the model that config.yaml records: its SHA-256 is {found},"
            f" model.{key} is {expected}; restore the file, or record the new digest if you"
            " replaced the model on purpose"
        )


def _writing(path: str) -> str:
    """The call that writes the model."""
    calls = {
        ".keras": f"model.save('{path}')",
        ".ubj": f"model.save_model('{path}')",
        ".cbm": f"model.save_model('{path}')",
        ".txt": f"booster.save_model('{path}')",
        ".pt": f"torch.save(model, '{path}')",
        ".pt2": f"torch.export.save(program, '{path}')",
        ".pickle": f"pickle.dump(model, open('{path}', 'wb'))",
        "": "its framework's own call, as a directory",
    }
    return calls.get(Path(path).suffix, f"joblib.dump(model, '{path}')")


def digest(path: Path) -> str:
    """The SHA-256 of a file, or of a directory's files, in hexadecimal.

    That of a directory is the SHA-256 of what `sha256sum -z` prints for its files, in the order of
    their paths in it:

        find * -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | sha256sum

    A link to a file counts as that file. Empty directories and what `LEFT_OUT` names do not count.

    Raises:
        LoadError: the directory holds a link to a directory, or something that is no file.
    """
    if not path.is_dir():
        return _digest(path)
    lines = hashlib.sha256()
    for name, file in sorted((os.fsencode(f.relative_to(path).as_posix()), f) for f in files(path)):
        lines.update(f"{_digest(file)}  ".encode() + name + b"\0")
    return lines.hexdigest()


def files(directory: Path) -> Iterator[Path]:
    """The files of a model that is a directory, in no order.

    Raises:
        LoadError: there is a link to a directory, or something that is no file.
    """
    for entry in directory.iterdir():
        if any(fnmatch(entry.name, pattern) for pattern in LEFT_OUT):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from files(entry)
        elif entry.is_file():
            yield entry
        else:
            raise LoadError(
                f"src/{entry} is no file, or a link to a directory: a model that is a directory"
                " holds files and directories"
            )


def _digest(file: Path) -> str:
    sha256 = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()
