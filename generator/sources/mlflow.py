"""An MLflow model: a directory with a file `MLmodel`, or an address that MLflow fetches.

A model of a framework that is known is loaded as that, without MLflow. Any other is served as
MLflow loads it, by `hooks/objects/mlflow.py`.
"""

import contextlib
import importlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from ..errors import ModelError, ScaffoldError, SettingError
from ..hooks import by_name, find, reader
from ..hooks.objects.custom import Custom
from ..hooks.objects.function import Function
from ..owners import one_line, warn
from . import boosters, code, examples, files
from .loaded import Ask, Loaded

FILE = "MLmodel"
PYFUNC = "python_function"
INSTALL = "pip install mlflow-skinny"
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")
_REGISTERED = re.compile(r"models:/([^/@]+)[/@][^/]+")
_MODEL_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
# By default MLflow tries for minutes to reach a server that is not there.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_SKOPS = "skops"
_TORCH_BUILD = re.compile(r"torch(?:vision|audio)?==[^+\s]+\+(cpu|xpu|cu\d+)")
_WHY = "# requirements.txt of the MLflow model"

Flavor = Mapping[str, Any]
Load = Callable[[Path, Flavor, Ask], Any]
"""Loads the model of a flavor in a directory; None where only MLflow itself can."""


# ---- addresses ----


def is_address(source: str) -> bool:
    """Whether it is an address that MLflow fetches, as `models:/NAME/1` or `runs:/ID/model`."""
    return _ADDRESS.match(source) is not None


def name_in(address: str) -> str | None:
    """The name of a registered model, where it can be a scaffold's model's name."""
    found = _REGISTERED.fullmatch(address)
    if found is None or not _MODEL_NAME.fullmatch(found[1]):
        return None
    return found[1]


def fetched(address: str, stack: contextlib.ExitStack) -> Path:
    """The directory that MLflow fetches, which is removed when the stack is closed.

    Raises:
        SettingError: MLflow is not installed.
        ScaffoldError: MLflow cannot fetch it.
    """
    try:
        from mlflow import artifacts, get_registry_uri
    except ModuleNotFoundError:
        raise SettingError(
            f"SOURCE {address!r} is fetched with MLflow, which is not installed: {INSTALL}"
        ) from None
    place = stack.enter_context(tempfile.TemporaryDirectory(prefix="scaffold-source."))
    before = dict(os.environ)
    os.environ.update({key: value for key, value in _PATIENCE.items() if key not in before})
    try:
        return Path(artifacts.download_artifacts(artifact_uri=address, dst_path=place))
    except Exception as error:
        raise ScaffoldError(
            f"SOURCE {address!r} cannot be fetched with MLflow, whose registry is"
            f" {get_registry_uri()} (MLFLOW_TRACKING_URI names it): {one_line(error)}"
        ) from error
    finally:
        for key in _PATIENCE.keys() - before.keys():
            os.environ.pop(key, None)


# ---- a directory ----


def read(directory: Path, ask: Ask, stack: contextlib.ExitStack, name: str | None = None) -> Loaded:
    """The model in a directory. Its code is importable until the stack is closed.

    Args:
        name: the model's name in the registry.

    Raises:
        ScaffoldError: it is none, or cannot be loaded.
    """
    document = _document(directory / FILE)
    flavors = document["flavors"]
    folder, entries = _code(directory, flavors), []
    if folder is not None:
        ask()  # its modules come before all others
        code.importable(folder, stack)
        entries = code.entries(folder)
    sample = examples.read(directory, document)
    model, flavor = _loaded(directory, flavors, ask)
    if model is None or not _is_known(model):
        model = files.of_framework(by_name("mlflow"), directory, ask)
        return Loaded(model, sample, _requirements(directory), name=name, framework="mlflow")
    _compare_versions(directory, flavor)
    return Loaded(model, sample, code=entries, name=name)


def _document(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScaffoldError(
            f"SOURCE {str(file.parent)!r} is no MLflow model: it has no file {FILE}"
        ) from None
    except (ValueError, yaml.YAMLError) as error:
        raise ScaffoldError(f"SOURCE {str(file)!r} is not YAML: {one_line(error)}") from error
    flavors = document.get("flavors") if isinstance(document, dict) else None
    if not isinstance(flavors, dict) or not all(isinstance(f, dict) for f in flavors.values()):
        raise ScaffoldError(f"SOURCE {str(file)!r} has no flavors: it is no MLflow model")
    if PYFUNC not in flavors and not flavors.keys() & _LOADERS.keys():
        raise ScaffoldError(
            f"SOURCE {str(file)!r} has the flavors {', '.join(flavors)}, known are"
            f" {', '.join([*_LOADERS, PYFUNC])}"
        )
    return {**document, "flavors": flavors}


def _code(directory: Path, flavors: Mapping[str, Flavor]) -> Path | None:
    """The directory of code that travels with the model."""
    names = [flavor["code"] for flavor in flavors.values() if flavor.get("code")]
    return next((directory / name for name in names if (directory / name).is_dir()), None)


def _loaded(directory: Path, flavors: Mapping[str, Flavor], ask: Ask) -> tuple[Any, str]:
    """The model as its own framework loads it, and the flavor; None where only MLflow can."""
    for name, load in _LOADERS.items():
        if name in flavors:
            with files.loading(directory, name):
                return load(directory, flavors[name], ask), name
    return None, PYFUNC


def _is_known(model: Any) -> bool:
    """Whether a framework takes the model, other than as any object that has a `predict`."""
    try:
        return find(model).name not in (Custom.name, Function.name)
    except ModelError:
        return False


def _lines(directory: Path) -> list[str]:
    """The lines of its `requirements.txt`, without MLflow's, which is pinned as it is here."""
    file = directory / "requirements.txt"
    if not file.is_file():
        return []
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not re.match(r"#|mlflow(-skinny)?\b", line)]


def _requirements(directory: Path) -> list[str]:
    """The same as requirements of a scaffold, with the index that serves a build of PyTorch."""
    lines = _lines(directory)
    builds = {found[1] for line in lines if (found := _TORCH_BUILD.match(line))}
    indexes = [f"--extra-index-url https://download.pytorch.org/whl/{name}" for name in builds]
    return [*indexes, *(line if "#" in line else f"{line}  {_WHY}" for line in lines)]


def _compare_versions(directory: Path, flavor: str) -> None:
    """Warn where the model was made with another version of its framework."""
    name = {"sklearn": "scikit-learn", "pytorch": "torch"}.get(flavor, flavor)
    for line in _lines(directory):
        said = re.fullmatch(rf"{re.escape(name)}==([^\s;+]+).*", line)
        with contextlib.suppress(metadata.PackageNotFoundError):
            if said is not None and metadata.version(name).partition("+")[0] != said[1]:
                warn(
                    f"the model was made with {name} {said[1]}, and is loaded and pinned with"
                    f" {metadata.version(name)}: install its requirements.txt for the former"
                )


# ---- flavors ----


def _sklearn(directory: Path, flavor: Flavor, ask: Ask) -> Any:
    return _saved(directory / flavor["pickled_model"], flavor, ask)


def _saved(file: Path, flavor: Flavor, ask: Ask) -> Any:
    if flavor.get("serialization_format") != _SKOPS:
        return files.unpickled(file, ask)
    return files.of_framework(by_name("sklearn"), file, ask)


def _xgboost(directory: Path, flavor: Flavor, ask: Ask) -> Any:
    place = flavor.get("model_class") or "xgboost.core.Booster"
    return boosters.xgboost_model(directory / flavor["data"], place)


def _lightgbm(directory: Path, flavor: Flavor, ask: Ask) -> Any:
    file = directory / flavor["data"]
    if file.suffix == ".lgb":
        return boosters.lightgbm_booster(file)
    return _saved(file, flavor, ask)


def _catboost(directory: Path, flavor: Flavor, ask: Ask) -> Any:
    if flavor.get("save_format") not in (None, "cbm"):
        return None
    return boosters.catboost_model(directory / flavor["data"], flavor["model_type"])


def _keras(directory: Path, flavor: Flavor, ask: Ask) -> Any:
    found = sorted((directory / (flavor.get("data") or "data")).rglob("model.keras"))
    if not found:
        return None
    return files.of_framework(by_name("keras"), found[0], ask)


def _tensorflow(directory: Path, flavor: Flavor, ask: Ask) -> Any:
    """A model of Keras 3, else the SavedModel of a module or of Keras 2, if it has a signature."""
    if (model := _keras(directory, flavor, ask)) is not None:
        return model
    data = directory / (flavor.get("saved_model_dir") or flavor.get("data") or "data")
    framework = by_name("tensorflow")
    found = [place for place in (data, data / "model") if framework.reads(place)]
    if not found:
        return None
    model = files.of_framework(framework, found[0], ask)
    return model if model.signatures else None


def _pytorch(directory: Path, flavor: Flavor, ask: Ask) -> Any:
    data = directory / flavor["model_data"]
    found = [file for name in ("model.pth", "model.pt2") if (file := data / name).is_file()]
    if not found:
        return None
    return files.read(found[0], ask).model


def _statsmodels(directory: Path, flavor: Flavor, ask: Ask) -> Any:
    return files.unpickled(directory / flavor["data"], ask)


def _onnx(directory: Path, flavor: Flavor, ask: Ask) -> Any:
    """As a framework of `hooks/` reads it, if one does."""
    framework = reader(directory / flavor["data"])
    if framework is None:
        return None
    return files.of_framework(framework, directory / flavor["data"], ask)


def _by_mlflow(module: str) -> Load:
    """A flavor whose directory only MLflow's own module puts together."""

    def load(directory: Path, flavor: Flavor, ask: Ask) -> Any:
        ask()
        with files.loading(directory, f"mlflow.{module}"):
            return importlib.import_module(f"mlflow.{module}").load_model(str(directory))

    return load


_LOADERS: Mapping[str, Load] = {
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "catboost": _catboost,
    "keras": _keras,
    "tensorflow": _tensorflow,
    "pytorch": _pytorch,
    "onnx": _onnx,
    "statsmodels": _statsmodels,
    "spacy": _by_mlflow("spacy"),
    "transformers": _by_mlflow("transformers"),
    "sentence_transformers": _by_mlflow("sentence_transformers"),
}
