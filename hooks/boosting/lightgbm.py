"""LightGBM: boosters and estimators, saved as LightGBM's text."""

import json
from pathlib import Path
from typing import Any, ClassVar

from generator.errors import ModelError

from ..methods import PREDICT
from .base import Boosting, Rows

MODEL_FILE = "model.txt"
BOOSTER = "Booster"
# The parameters of an estimator with which its booster predicts.
PREDICTING = (
    "pred_early_stop",
    "pred_early_stop_freq",
    "pred_early_stop_margin",
    "predict_disable_shape_check",
)


class LightGBM(Boosting):
    """LightGBM's boosters and estimators."""

    name: ClassVar[str] = "lightgbm"
    label: ClassVar[str] = "LightGBM"
    models: ClassVar[str] = "`Booster`, classifiers, regressors and rankers"
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    package: ClassVar[str] = "lightgbm"
    classes: ClassVar[tuple[str, ...]] = (
        BOOSTER,
        "LGBMClassifier",
        "LGBMRegressor",
        "LGBMRanker",
    )

    def _is_whole_in_its_file(self, model: Any) -> bool:
        objectives = (getattr(model, name, None) for name in ("objective", "objective_"))
        classes = getattr(model, "classes_", None)
        return not any(map(callable, objectives)) and (
            classes is None or _is_plain(classes.tolist())
        )

    def read(self, path: Path) -> Any:
        import lightgbm

        with path.open("rb") as file:
            holds = file.read(16).split()[:1] == [b"tree"]
        return self._loaded(path, lambda: lightgbm.Booster(model_file=path), holds)

    def check(self, model: Any) -> None:
        if type(model).__name__ != BOOSTER:
            super().check(model)
        elif not model.num_trees():
            raise ModelError("Booster is not trained: pass what lightgbm.train returns")

    def _settings(self, model: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {"best_iteration": int(_booster(model).best_iteration)}
        if type(model).__name__ != BOOSTER:
            settings["parameters"] = _parameters(model)
        if hasattr(model, "classes_"):
            settings["classes"] = model.classes_.tolist()
            settings["classes_dtype"] = str(model.classes_.dtype)
        return settings

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        path = directory / MODEL_FILE
        _booster(model).save_model(path, num_iteration=-1)
        return path

    def _methods_of(self, model: Any) -> tuple[str, ...]:
        return super()._methods_of(model) or (PREDICT, "predict_proba")

    def _estimator(self, model: Any) -> Any:
        if type(model).__name__ != BOOSTER:
            return model
        return BoosterRows(model)


class BoosterRows(Rows):
    """A booster that predicts from rows, as an estimator does."""

    def __init__(self, booster: Any) -> None:
        names = booster.feature_name()
        if names == [f"Column_{index}" for index in range(len(names))]:  # it was trained without
            names = None
        super().__init__(booster.predict, booster.num_feature(), names)
        self.booster_ = booster


def _booster(model: Any) -> Any:
    """The booster of an estimator, or the model itself."""
    return getattr(model, "booster_", model)


def _parameters(model: Any) -> dict[str, Any]:
    """With what an estimator calls its booster's `predict`."""
    given = model.get_params()
    found = {name: given[name] for name in PREDICTING if name in given}
    if isinstance(model.n_jobs, int) and model.n_jobs > 0:
        found["num_threads"] = model.n_jobs
    return found


def _is_plain(value: Any) -> bool:
    """Whether it comes back from JSON as it is: texts, numbers, and lists of them."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False
