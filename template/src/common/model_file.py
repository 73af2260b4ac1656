"""The serialized model: its path, and a check that it is the file that was written."""

import hashlib
from pathlib import Path

from .config import Config
from .errors import LoadError

MODEL_DIRECTORY = Path("model")
ONNX_FILE = "model.onnx"


def model_path(config: Config) -> Path:
    """The path of the model file, with the SHA-256 that `config.yaml` records.

    Raises:
        LoadError: `config.yaml` names no file, the file is missing, or is not the one that
            `config.yaml` records.
    """
    if config.model.file is None:
        raise LoadError(
            "there is no model yet: write load and predict in src/server/inference_model.py, or put"
            " a model into src/model/ and name its file under model.file in config.yaml"
        )
    path = MODEL_DIRECTORY / config.model.file
    if not path.is_file():
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
    }
    return calls.get(Path(path).suffix, f"joblib.dump(model, '{path}')")


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    return sha256.hexdigest()
