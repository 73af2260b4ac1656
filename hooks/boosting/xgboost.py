"""XGBoost: boosters and estimators, saved as UBJSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from generator.common import schema
from generator.errors import ModelError

from ..base import Description
from ..scikit.sklearn import SPARSE_DOUBT
from .base import Boosting, Rows

MODEL_FILE = "model.ubj"
BOOSTER = "Booster"
# What the file says of the estimator that it was saved from.
ESTIMATORS = {"classifier": "XGBClassifier", "regressor": "XGBRegressor", "ranker": "XGBRanker"}
BEGINNINGS = (b"{L", b'{"learner"', b'{"version"')  # of UBJSON, and of JSON
FITTED = ("kwargs", "n_classes_")  # of an estimator, beside the parameters that all of them have
DEFAULTS = {"nthread": "0", "device": "cpu"}  # of a booster, which the file does not hold
ABSENT = object()


class XGBoost(Boosting):
    """XGBoost's boosters and estimators."""

    name: ClassVar[str] = "xgboost"
    label: ClassVar[str] = "XGBoost"
    models: ClassVar[str] = "`Booster`, classifiers, regressors and rankers"
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    has_gpu: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = (".ubj", ".json")
    package: ClassVar[str] = "xgboost"
    classes: ClassVar[tuple[str, ...]] = (
        BOOSTER,
        *ESTIMATORS.values(),
        "XGBRFClassifier",
        "XGBRFRegressor",
    )

    def _is_whole_in_its_file(self, model: Any) -> bool:
        missing = getattr(model, "missing", math.nan)
        is_json = missing is None or (isinstance(missing, (int, float)) and not math.isinf(missing))
        return is_json and not callable(getattr(model, "objective", None))

    def read(self, path: Path) -> Any:
        import xgboost

        def load() -> Any:
            booster = xgboost.Booster(model_file=path)
            said = json.loads(booster.attr("scikit_learn") or "{}")
            model = getattr(xgboost, ESTIMATORS.get(said.get("_estimator_type"), BOOSTER))()
            model.load_model(path)
            return model

        with path.open("rb") as file:
            start = b"".join(file.read(64).split())
        return self._loaded(path, load, start.startswith(BEGINNINGS))

    def check(self, model: Any) -> None:
        import xgboost

        if type(model).__name__ != BOOSTER:
            super().check(model)
            return
        try:
            model.num_features()
        except xgboost.core.XGBoostError:
            raise ModelError("Booster is not trained: pass what xgboost.train returns") from None

    def describe(self, model: Any, sample: Any) -> Description:
        description = super().describe(model, sample)
        if type(model).__name__ != BOOSTER or sample is not None or description.untried:
            return description
        if isinstance(description.input, schema.ArrayInput):
            return replace(description, untried=SPARSE_DOUBT)
        return description

    def on_gpu(self, model: Any) -> bool:
        booster = model if type(model).__name__ == BOOSTER else model.get_booster()
        return str(_parameters(booster).get("device", "")).startswith("cuda")

    def _settings(self, model: Any) -> dict[str, Any]:
        name = type(model).__name__
        if name == BOOSTER:
            return {"class": name, "parameters": _parameters(model)}
        parameters = _parameters(model.get_booster())
        return {"class": name, "attributes": _lost(model), "parameters": parameters}

    def facts_for_gpu(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        settings = facts["settings"]
        parameters = {"device": "cuda", **settings["parameters"]}
        return {"settings": {**settings, "parameters": parameters}}

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        path = directory / MODEL_FILE
        model.save_model(path)
        return path

    def _estimator(self, model: Any) -> Any:
        if type(model).__name__ != BOOSTER:
            return model
        return BoosterRows(model)

    def _distributions(self, model: Any) -> dict[str, str]:
        if isinstance(model, Rows):
            return {}
        return {"scikit-learn": "what the estimator is built on"}


class BoosterRows(Rows):
    """A booster that predicts from rows, as an estimator does."""

    def __init__(self, booster: Any) -> None:
        super().__init__(self._predict, booster.num_features(), booster.feature_names)
        self._booster = booster

    def get_booster(self) -> Any:
        """The booster, whose categories scikit-learn's hook reads."""
        return self._booster

    def _predict(self, rows: Any, **parameters: Any) -> Any:
        import xgboost

        names = None if hasattr(rows, "columns") else self._booster.feature_names
        matrix = xgboost.DMatrix(rows, feature_names=names, enable_categorical=True)
        return self._booster.predict(matrix, **parameters)


def _parameters(booster: Any) -> dict[str, str]:
    """How a booster computes: its threads, and its device, where they are not the default."""
    found = json.loads(booster.save_config())["learner"]["generic_param"]
    return {name: found[name] for name, usual in DEFAULTS.items() if found[name] != usual}


def _lost(model: Any) -> dict[str, Any]:
    """The attributes of an estimator that are others once its file is loaded: name to value.

    What JSON cannot hold is for training alone.
    """
    loaded = type(model)()
    loaded.load_model(bytearray(model.get_booster().save_raw()))
    names = [*loaded.get_params(), *FITTED]
    pairs = {name: (_plain(model, name), _plain(loaded, name)) for name in names}
    return {name: had for name, (had, has) in pairs.items() if had is not ABSENT and had != has}


def _plain(model: Any, name: str) -> Any:
    """An attribute as JSON has it; ABSENT if it has no such form."""
    try:
        return json.loads(json.dumps(getattr(model, name, None), allow_nan=False))
    except (TypeError, ValueError):
        return ABSENT
