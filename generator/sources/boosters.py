"""Models of XGBoost, LightGBM and CatBoost in their own formats, which run no code."""

import importlib
from pathlib import Path
from typing import Any

from ..errors import ScaffoldError
from .files import loading


def xgboost_model(file: Path, place: str) -> Any:
    """The model in a file. `place` is its class, as in `xgboost.sklearn.XGBClassifier`."""
    with loading(file, "xgboost"):
        model = _class(file, place, "xgboost")()
        model.load_model(file)
    return model


def xgboost_estimator(file: Path) -> Any:
    """The same as MLServer loads it: a regressor, or a classifier if the file says so."""
    with loading(file, "xgboost"):
        import xgboost

        try:
            regressor = xgboost.XGBRegressor()
            regressor.load_model(file)
        except TypeError:
            classifier = xgboost.XGBClassifier()
            classifier.load_model(file)
            return classifier
        return regressor


def lightgbm_booster(file: Path) -> Any:
    with loading(file, "lightgbm"):
        import lightgbm

        return lightgbm.Booster(model_file=str(file))


def catboost_model(file: Path, name: str) -> Any:
    """The model in a file. `name` is its class, as in `CatBoostClassifier`."""
    with loading(file, "catboost"):
        model = _class(file, f"catboost.{name}", "catboost")()
        return model.load_model(str(file))


def _class(file: Path, place: str, package: str) -> Any:
    """A class of the package's own: a file that names another runs no code of that."""
    module, _, name = place.rpartition(".")
    if module.partition(".")[0] != package:
        raise ScaffoldError(f"SOURCE {str(file)!r} is of {place!r}, which is not {package}'s")
    return getattr(importlib.import_module(module), name)
