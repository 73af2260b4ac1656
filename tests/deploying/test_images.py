"""The image of a model of each framework answers what the scaffold does.

Those of scikit-learn, Keras, PyTorch and of a custom model are in `test_docker.py`.
"""

import importlib
from pathlib import Path
from typing import Any

import pytest

from generator.hooks import DEFINITIONS
from support.models.kinds import KINDS
from support.rendering.checkouts import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.sweep]

CHOSEN = [
    "XGBoost: Booster",
    "LightGBM: classifier",
    "CatBoost: classifier",
    "transformers: images",
    "Sentence Transformers",
    "spaCy",
    "ONNX",
    "TensorFlow: SavedModel",
    "JAX and Flax: function",
    "statsmodels: formula",
    "a method of an object",
]
ELSEWHERE = {"sklearn", "keras", "pytorch", "custom", "mlflow"}


@pytest.mark.usefixtures("engine")
@pytest.mark.filterwarnings("ignore:requests will not share a call of predict")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's
@pytest.mark.parametrize("name", CHOSEN)
def test_the_image_answers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    table: Any = importlib.import_module("kinds")
    with table.made_scaffold(KINDS[name](), tmp_path / "made") as (scaffold, _):
        said, size = table.in_container(scaffold)
    assert said == "yes" and size > 0


def test_every_framework_has_an_image_here() -> None:
    labels = {name.partition(":")[0] for name in CHOSEN}
    here = {each.label for each in DEFINITIONS if each.name not in ELSEWHERE}
    assert labels - {"a method of an object"} == here - {"a function, or a method of an object"}
