"""CatBoost: models and estimators, saved in CatBoost's binary format."""

from pathlib import Path
from typing import Any, ClassVar

from generator.errors import ModelError

from .base import Boosting

MODEL_FILE = "model.cbm"
BEGINNING = b"CBM1"
LOSSES = ("loss_function", "objective")


class CatBoost(Boosting):
    """CatBoost's models: classifiers, regressors, rankers, and `CatBoost` itself."""

    name: ClassVar[str] = "catboost"
    label: ClassVar[str] = "CatBoost"
    models: ClassVar[str] = "`CatBoost`, classifiers, regressors and rankers"
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    has_gpu: ClassVar[bool] = True
    suffixes: ClassVar[tuple[str, ...]] = (".cbm",)
    package: ClassVar[str] = "catboost"
    classes: ClassVar[tuple[str, ...]] = (
        "CatBoost",
        "CatBoostClassifier",
        "CatBoostRegressor",
        "CatBoostRanker",
    )

    def _is_whole_in_its_file(self, model: Any) -> bool:
        losses = (model.get_param(name) for name in LOSSES)
        return all(loss is None or isinstance(loss, str) for loss in losses)

    def read(self, path: Path) -> Any:
        import catboost

        def load() -> Any:
            model = catboost.CatBoost().load_model(path)
            if len(model.classes_):
                return catboost.to_classifier(model)
            try:
                return catboost.to_regressor(model)
            except catboost.CatBoostError:
                return catboost.to_ranker(model)

        with path.open("rb") as file:
            holds = file.read(len(BEGINNING)) == BEGINNING
        return self._loaded(path, load, holds)

    def check(self, model: Any) -> None:
        if not model.is_fitted():
            name = type(model).__name__
            raise ModelError(f"{name} is not fitted: call fit(X, y) before making a scaffold of it")

    def _settings(self, model: Any) -> dict[str, Any]:
        return {"class": type(model).__name__}

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        path = directory / MODEL_FILE
        model.save_model(path)
        return path
