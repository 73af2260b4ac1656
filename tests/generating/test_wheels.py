"""Wheels in a scaffold: written with the model, replaced with it, and installed from there."""

import contextlib
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import generator
from generator import ScaffoldError
from generator.environment.venvs import RUNNING, model_python
from generator.writing.wheels import INSTALL
from support.packages.wheels import install, sha256, write_project, write_wheel

X, Y = np.arange(8.0).reshape(4, 2), np.array([1.0, 2, 3, 5])
STEP = "def step(rows):\n    return rows * {}\n"
OPTION = "--find-links wheels  # holds what was installed from a file: frame\n"


def model_of(version: str, site: Path) -> tuple[Any, Path]:
    """A model that needs this version of a package, and the wheel that it was installed from."""
    for old in site.glob("frame-*"):
        old.rename(site.parent / f"gone {old.name}")
    files = {"frame.py": STEP.format(version)}
    wheel = write_wheel(site.parent / "built", "frame", version, files)
    install(wheel, site)
    sys.modules.pop("frame", None)
    importlib.invalidate_caches()
    step = FunctionTransformer(importlib.import_module("frame").step)
    return make_pipeline(step, LinearRegression()).fit(X, Y), wheel


@pytest.mark.sweep
def test_wheels_are_written_and_replaced_with_the_model(site: Path, tmp_path: Path) -> None:
    model, first = model_of("2.0", site)
    made = generator.from_model(model, tmp_path / "made", sample_input=X)
    place = made.directory / "wheels"
    with contextlib.closing(made):
        assert made.predict(X)["predictions"] == model.predict(X).tolist()
    assert (place / first.name).read_bytes() == first.read_bytes()
    assert (place / "requirements.txt").samefile(made.directory / "requirements.txt")
    text = (made.directory / "requirements.txt").read_text()
    assert (
        OPTION in text
        and f"\nframe==2.0  # the model: frame.step; from wheels/{first.name}" in text
    )
    assert recorded(made) == {first.name: sha256(first)}

    model, second = model_of("3.0", site)
    made.replace_model(model)
    assert {path.name for path in place.iterdir()} == {second.name, "requirements.txt"}
    text = (made.directory / "requirements.txt").read_text()
    assert text.count(OPTION) == 1 and "frame==3.0" in text and "frame==2.0" not in text
    with (place / second.name).open("ab") as file:
        file.write(b"edited")
    with pytest.raises(ScaffoldError, match=r"wheels/frame-3.0-py3-none-any.whl holds edits of"):
        made.replace_model(model)
    made.replace_model(LinearRegression().fit(X, Y))
    assert [path.name for path in place.iterdir()] == [second.name]  # it is the owner's now
    assert (
        recorded(made) is None and OPTION not in (made.directory / "requirements.txt").read_text()
    )


def recorded(scaffold: generator.Scaffold) -> Any:
    config = yaml.safe_load((scaffold.directory / "config.yaml").read_text())
    return config["model_metadata"]["model"].get("wheels")


@pytest.mark.sweep
def test_truss_installs_wheels_by_a_build_command(site: Path, tmp_path: Path) -> None:
    """The rest of its part stays as it is, and it comes back with a model that needs no wheel."""
    path = tmp_path / "made" / "config.yaml"
    made = generator.from_model(LinearRegression().fit(X, Y), path.parent)
    model, _ = model_of("2.0", site)
    before = path.read_text().partition("# ---- Baseten")[2]
    made.replace_model(model)
    after = path.read_text().partition("# ---- Baseten")[2]
    changed = [line for line in before.splitlines() if line not in after.splitlines()]
    assert len(changed) == 2 and len(before.splitlines()) == len(after.splitlines())
    config = yaml.safe_load(after.partition("----")[2])
    assert config["requirements_file"] is None
    assert config["build_commands"][0].startswith(f"{INSTALL}{{ python3 -m compileall")
    made.replace_model(LinearRegression().fit(X, Y))
    assert path.read_text().partition("# ---- Baseten")[2] == before
    assert not (made.directory / "wheels").exists()


def test_a_scaffold_of_an_older_template_is_updated_first(site: Path, tmp_path: Path) -> None:
    made = generator.from_model(LinearRegression().fit(X, Y), tmp_path / "made")
    dockerfile = made.directory / made.dockerfile
    old = [line for line in dockerfile.read_text().splitlines() if "wheel[s]" not in line]
    dockerfile.write_text("\n".join(old))
    model, _ = model_of("2.0", site)
    with pytest.raises(ScaffoldError, match=r"Dockerfile installs nothing from wheels/"):
        made.replace_model(model)
    assert not (made.directory / "wheels").exists()


@pytest.mark.sweep
def test_a_project_is_built_where_its_owner_asks(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    write_project(project, site, "frame", {"frame.py": STEP.format(2)})
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.setenv("PYTHONPATH", str(project), prepend=os.pathsep)
    step = FunctionTransformer(importlib.import_module("frame").step)
    model = make_pipeline(step, LinearRegression()).fit(X, Y)
    made = generator.from_model(model, tmp_path / "copied")
    assert (made.directory / "src" / "model" / "frame.py").exists() and recorded(made) is None
    made = generator.from_model(model, tmp_path / "built", wheels=True, sample_input=X)
    assert not (made.directory / "src" / "model" / "frame.py").exists()
    assert list(recorded(made)) == ["frame-1.1-py3-none-any.whl"]
    assert "\nframe==1.1  # " in (made.directory / "requirements.txt").read_text()


def test_an_isolated_environment_holds_the_wheel_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    requirements = tmp_path / "scaffold" / "requirements.txt"
    pythons = set()
    for text in ("VALUE = 1", "VALUE = 2"):
        write_wheel(requirements.parent / "wheels", "frame", "1.0+own", {"frame.py": text})
        requirements.write_text(f"{OPTION}frame==1.0+own  # the model\n")
        python = model_python(requirements, RUNNING)
        code = "import frame; print(frame.VALUE)"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == text[-1] + "\n"
        pythons.add(python)
    assert len(pythons) == 2
