"""A directory as MLServer serves it: `model-settings.json` and the model beside it."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ScaffoldError
from . import boosters, files, mlflow
from .loaded import Ask, Loaded

FILE = "model-settings.json"
MLFLOW = "mlserver_mlflow.MLflowRuntime"
# What each runtime of MLServer looks for where `uri` names no file.
FILES = {
    "mlserver_sklearn.SKLearnModel": ("model.joblib", "model.pickle", "model.pkl"),
    "mlserver_xgboost.XGBoostModel": ("model.bst", "model.json", "model.ubj"),
    "mlserver_lightgbm.LightGBMModel": ("model.bst",),
    "mlserver_catboost.CatboostModel": ("model.cbm", "model.bin"),
    MLFLOW: (),
}


def read(directory: Path, ask: Ask, stack: contextlib.ExitStack) -> Loaded:
    """The model that the settings in a directory name, under its name there.

    Raises:
        ScaffoldError: the settings cannot be read, or name no model that is known.
    """
    settings = _settings(directory / FILE)
    implementation = settings.get("implementation")
    if implementation not in FILES:
        raise ScaffoldError(
            f"SOURCE {str(directory / FILE)!r} has the implementation {implementation!r}, known are"
            f" {', '.join(FILES)}: for code of your own, make a scaffold with generator.new, and"
            " write load and predict in it"
        )
    uri = (settings.get("parameters") or {}).get("uri")
    loaded = _loaded(implementation, directory, uri, ask, stack)
    return replace(loaded, name=settings.get("name") or loaded.name)


def _settings(file: Path) -> Mapping[str, Any]:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScaffoldError(f"SOURCE {str(file)!r} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ScaffoldError(f"SOURCE {str(file)!r} is no object in JSON")
    return settings


def _loaded(
    implementation: str, directory: Path, uri: str | None, ask: Ask, stack: contextlib.ExitStack
) -> Loaded:
    place = directory
    if uri is not None and mlflow.is_address(uri):
        place = mlflow.fetched(uri, stack)
    elif uri is not None:
        place = directory / uri
    if implementation == MLFLOW:
        return mlflow.read(place, ask, stack)
    file = _file(place, FILES[implementation])
    match implementation:
        case "mlserver_xgboost.XGBoostModel":
            return Loaded(boosters.xgboost_estimator(file))
        case "mlserver_lightgbm.LightGBMModel":
            return Loaded(boosters.lightgbm_booster(file))
        case "mlserver_catboost.CatboostModel":
            return Loaded(boosters.catboost_model(file, "CatBoostClassifier"))
    return files.read(file, ask)


def _file(place: Path, names: tuple[str, ...]) -> Path:
    """The model's file: the place itself, or one in it with a name that the runtime looks for."""
    if place.is_file():
        return place
    for name in names:
        if (place / name).is_file():
            return place / name
    raise ScaffoldError(
        f"SOURCE {str(place)!r} holds no model: MLServer would look for {' or '.join(names)}; name"
        f" another under parameters.uri in {FILE}"
    )
