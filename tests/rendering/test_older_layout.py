"""A scaffold whose src/common is one folder opens, serves, and can be updated.

What needs its worker fails with one line that names the update.
"""

import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pytest

import generator
from generator import Scaffold, ScaffoldError
from support.rendering.checkouts import archived, call, commit, git

FLAT, LATER = "769d155", "v90.0.0"  # the last commit whose src/common is one folder
ROWS = np.random.default_rng(0).normal(size=(30, 3))
MAKE = """
    import numpy as np, generator
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(0).normal(size=(30, 3))
    model = LogisticRegression().fit(rows, (rows.sum(axis=1) > 0).astype(int))
    generator.from_model(model, "made", sample_input=rows)
"""


@pytest.fixture(scope="session")
def flat(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaffold of the earlier generator. Its template has the new layout by now."""
    place = tmp_path_factory.mktemp("flat")
    template = archived(FLAT, place / "template")
    git(template, "init", "--quiet")
    commit(template, "v0.0.9")
    call([sys.executable, "-c", textwrap.dedent(MAKE)], place, PYTHONPATH=str(template))
    git(template, "rm", "-r", "--quiet", ".")
    ignored = shutil.ignore_patterns(".git", "dist")
    shutil.copytree(repository, template, symlinks=True, ignore=ignored, dirs_exist_ok=True)
    commit(template, LATER)
    return place / "made"


@pytest.fixture
def older(flat: Path, tmp_path: Path) -> Scaffold:
    """A copy of the scaffold for one test, committed to git."""
    directory = tmp_path / "made"
    shutil.copytree(flat, directory, ignore=shutil.ignore_patterns("__pycache__"))
    git(directory, "init", "--quiet")
    commit(directory)
    return generator.load(directory)


def model_of(scaffold: Scaffold) -> Any:
    return joblib.load(scaffold.directory / "src" / "model" / "model.joblib")


def test_it_opens(older: Scaffold) -> None:
    assert (older.directory / "src" / "common" / "frames.py").exists()
    assert (older.name, older.framework, older.server) == ("model", "sklearn", "kserve")
    path = older.directory
    assert older.docker_build_string == f"docker build -f {path}/sklearn-server.Dockerfile {path}"
    assert older.docker_run_string.startswith("docker run --rm -p 8080:8080 ")


@pytest.mark.parametrize(
    "use",
    [
        lambda scaffold: scaffold.predict(ROWS),
        lambda scaffold: scaffold.verify(),
        lambda scaffold: scaffold.verify(environment="isolated"),
        lambda scaffold: scaffold.verify(ROWS, expected=[0] * len(ROWS)),
        lambda scaffold: scaffold.replace_model(model_of(scaffold), sample_input=ROWS),
        lambda scaffold: scaffold.replace_model(model_of(scaffold)),
    ],
    ids=[
        "predict",
        "verify",
        "verify isolated",
        "verify a sample",
        "replace",
        "replace, no sample",
    ],
)
def test_what_needs_its_worker_names_the_update(
    older: Scaffold, use: Callable[[Scaffold], Any], capfd: pytest.CaptureFixture[str]
) -> None:
    common = older.directory / "src" / "common"
    command = f"`python -m generator update {older.directory}`"
    message = re.escape(f"{common} is from an older template: run {command} first")
    with pytest.raises(ScaffoldError, match=f"^{message}$"):
        use(older)
    assert git(older.directory, "status", "--porcelain", "--untracked-files=no") == ""
    assert capfd.readouterr().err == ""


def test_the_command_line_names_the_update(older: Scaffold) -> None:
    command = [sys.executable, "-m", "generator", "predict", str(older.directory), "[[1, 2, 3]]"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert done.stderr.endswith(f"run `python -m generator update {older.directory}` first\n")


@pytest.mark.sweep
def test_it_serves(older: Scaffold) -> None:
    with older.serve(port=0) as server:
        answer = httpx.post(server.predict_url, json={"instances": ROWS.tolist()}, trust_env=False)
    assert answer.json() == {"predictions": model_of(older).predict(ROWS).tolist()}


@pytest.mark.sweep
def test_an_update_makes_all_of_it_work(older: Scaffold) -> None:
    model = model_of(older)
    older.update(LATER)
    assert not (older.directory / "src" / "common" / "frames.py").exists()
    assert older.predict(ROWS) == {"predictions": model.predict(ROWS).tolist()}
    assert older.verify()
    older.replace_model(model, sample_input=ROWS)
    older.close()
