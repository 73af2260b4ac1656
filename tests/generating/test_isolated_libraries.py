"""Models of a dozen libraries: each works with the packages that its scaffold requires, alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import generator
from support.rendering.checkouts import ROOT, call
from support.session.shared import Shared

PROGRAM = ROOT / "tests" / "support" / "programs" / "isolated_models.py"
VERSIONS = """
catboost==1.2.10
category_encoders==2.11.2
imbalanced-learn==0.14.2
lightgbm==4.7.0
lightning==2.6.6
numpy==2.4.6
pandas==3.1.1
polars==2.1.0
pyarrow==26.0.1
scikit-learn==1.9.1
sentence-transformers==6.2.0
skrub==0.11.0
statsmodels==0.15.0
torch==2.13.0
transformers==5.24.0
xgboost-cpu==3.2.0
"""
# Library -> what its scaffold must require, by the names of the distributions
NEEDS = {
    "xgboost": {"xgboost-cpu", "scikit-learn"},
    "lightgbm": {"lightgbm"},
    "catboost": {"catboost"},
    "imblearn": {"imbalanced-learn", "scikit-learn"},
    "category_encoders": {"category-encoders", "pandas", "scikit-learn"},
    "skrub": {"skrub", "pandas", "scikit-learn"},
    "statsmodels": {"statsmodels"},
    "transformers": {"transformers", "torch"},
    "lightning": {"lightning", "torch"},
    "sentence_transformers": {"sentence-transformers"},
    "polars": {"polars", "scikit-learn"},
    "pyarrow": {"pyarrow", "pandas", "scikit-learn"},
}
ISOLATED = ("lightgbm", "pyarrow")  # also in an environment of their own, which takes longer
needs_311 = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="torch here is for 3.11")


@pytest.fixture(scope="module")
def python(shared: Shared) -> Path:
    """The interpreter of an environment with the generator and all of the libraries."""

    def make(place: Path) -> None:
        uv = str(Path(sys.executable).with_name("uv"))
        (place / "libraries.txt").write_text(VERSIONS)
        call([uv, "venv", "--quiet", "--python", sys.executable, str(place / "venv")], place)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python"]
        call([*install, str(place / "venv/bin/python"), "-r", "libraries.txt", str(ROOT)], place)

    return shared.directory("libraries", make) / "venv/bin/python"


@needs_311
@pytest.mark.sweep
@pytest.mark.parametrize("library", NEEDS)
def test_a_model_works_with_what_its_scaffold_requires(
    python: Path, tmp_path: Path, library: str
) -> None:
    done = subprocess.run(
        [str(python), str(PROGRAM), library, "made"],
        cwd=tmp_path,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (tmp_path / "made" / "requirements.txt").read_text().splitlines()
    direct = {
        line.partition("==")[0].replace("_", "-") for line in lines if "needed by" not in line
    }
    assert NEEDS[library] <= direct, direct
    if library in ISOLATED:
        assert generator.load(tmp_path / "made").verify(environment="isolated")
