"""The images of models of further frameworks answer what their scaffolds do.

Those of scikit-learn, Keras, PyTorch and of a custom model are in `test_docker.py`. Those whose
packages take a gigabyte are built and asked by `benchmarks/kinds.py` alone.
"""

import importlib
from pathlib import Path
from typing import Any

import pytest

from support.models.kinds import KINDS
from support.rendering.checkouts import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.sweep]

CHOSEN = [
    "XGBoost: Booster",
    "LightGBM: classifier",
    "spaCy",
    "ONNX",
    "JAX and Flax: function",
    "statsmodels: formula",
    "a method of an object",
]


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
