"""`Scaffold.verify` in this environment, and in a new isolated one."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import generator
from generator import Scaffold, ScaffoldError, ServingError, SettingError
from generator.environment.venvs import model_python, without_torch_index


@pytest.fixture(scope="module")
def original(forest: Any, iris: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("original") / "verified"
    return generator.from_model(forest, directory, sample_input=iris[0][::30]).directory


@pytest.fixture
def scaffold(original: Path, forest: Any, tmp_path: Path) -> Iterator[Scaffold]:
    """A scaffold with its model in memory and a smoke test. The test may edit it."""
    made = Scaffold(shutil.copytree(original, tmp_path / "verified"), forest)
    yield made
    made.close()


def other_python() -> str | None:
    """Another version of Python on this machine, which numpy's pin supports."""
    versions = (version for version in ("3.12", "3.13") if version != running())
    return next(filter(has, versions), None)


def running() -> str:
    return "{}.{}".format(*sys.version_info)


def has(version: str) -> bool:
    uv = Path(sys.executable).with_name("uv")
    command = [uv, "python", "find", "--no-python-downloads", version]
    return subprocess.run(command, capture_output=True).returncode == 0


def output(python: Path, code: str) -> str:
    command = [python, "-c", code]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def test_an_isolated_environment(
    scaffold: Scaffold, iris: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It imports nothing from outside. A sample that passes becomes the smoke test."""
    (tmp_path / "sklearn.py").write_text("raise ImportError('from outside')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MODEL_PYTHON", "/nowhere")
    verification = scaffold.verify(iris[0], "isolated")
    assert verification and verification.tolerance == 0
    recorded = json.loads((scaffold.directory / "smoke-test.json").read_text())
    assert recorded["response"]["predictions"] == verification.served == verification.expected
    assert len(recorded["request"]["instances"]) == 150
    assert generator.load(scaffold.directory).verify(environment="isolated")


def test_an_environment_is_created_once_for_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("msgpack\n")
    first = model_python(requirements, running())
    (first.parent / "added").touch()
    assert model_python(requirements, running()) == first and (first.parent / "added").exists()
    assert capsys.readouterr() == ("", "")
    names = ("msgpack", "numpy")
    code = f"import importlib.util as u; print(*(bool(u.find_spec(name)) for name in {names}))"
    assert output(first, code) == "True False"
    requirements.write_text("msgpack==0.0.77\n")
    with pytest.raises(
        ServingError, match=r"the model's environment cannot be created: .*msgpack==0.0.77"
    ) as raised:
        model_python(requirements, running())
    assert "\n" not in str(raised.value)
    assert len(list((tmp_path / "scaffold-generator" / "models").iterdir())) == 1
    requirements.unlink()
    with pytest.raises(ServingError, match="requirements.txt cannot be read: No such file"):
        model_python(requirements, running())


def test_a_cache_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scaffold-generator").write_text("a file, no directory")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    (tmp_path / "requirements.txt").write_text("")
    fix = "Not a directory; set XDG_CACHE_HOME to a directory that can be written"
    with pytest.raises(ServingError, match=f"the model's environment cannot be created in .*{fix}"):
        model_python(tmp_path / "requirements.txt", running())


def test_processes_that_need_the_same_environment_create_it_once(tmp_path: Path) -> None:
    code = """
import time

from generator.environment import venvs


def install(python):
    time.sleep(1)
    print("created")


print(venvs.cached("model", "nothing", venvs.RUNNING, install).exists())
"""
    command = [sys.executable, "-c", code]
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    processes = [
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    printed = [process.communicate()[0].split() for process in processes]
    assert sorted(printed, key=len) == [["True"], ["True"], ["created", "True"]]


def test_the_environment_has_the_scaffolds_python(forest: Any, iris: Any, tmp_path: Path) -> None:
    version = other_python()
    if version is None:
        pytest.skip("there is no other Python here")
    made = generator.from_model(forest, tmp_path / "other", python_version=version)
    assert made.verify(iris[0], "isolated")
    python = model_python(made.directory / "requirements.txt", str(version))
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    assert output(python, code) == version
    made.close()


@pytest.mark.sweep
def test_a_missing_requirement_is_reported(scaffold: Scaffold) -> None:
    """The package is installed here, but would not be in the container."""
    file = scaffold.directory / "src" / "server" / "inference_model.py"
    file.write_text(file.read_text().replace("import joblib  #", "import joblib\nimport httpx  #"))
    assert scaffold.verify()
    with pytest.raises(
        ServingError, match="No module named 'httpx'; add the package .* to requirements.txt"
    ):
        scaffold.verify(environment="isolated")


def test_torch_is_pinned_to_its_variant_if_its_index_cannot_be_reached() -> None:
    option = "--extra-index-url https://download.pytorch.org/whl/cu121"
    index = f"{option}  # serves the cu121 variant of torch\n"
    pins = "numpy==2.0\ntorch==2.13.0  # runs the model\ntorchvision==0.2 ; python_version > '3'\n"
    assert without_torch_index(index + pins) == (
        "numpy==2.0\ntorch==2.13.0+cu121  # runs the model\n"
        "torchvision==0.2+cu121 ; python_version > '3'\n"
    )
    assert without_torch_index(pins) is None


def test_tolerance(scaffold: Scaffold) -> None:
    file = scaffold.directory / "smoke-test.json"
    recorded = json.loads(file.read_text())
    labels = recorded["response"]["predictions"]

    def record(predictions: list[float]) -> None:
        file.write_text(json.dumps({**recorded, "response": {"predictions": predictions}}))

    record([label + 1e-7 for label in labels])
    assert scaffold.verify(tolerance=1e-6)
    assert "should be " in str(scaffold.verify().difference)
    record([1, *labels[1:]])
    assert scaffold.verify(tolerance=1).difference == "predictions[0] should be 1, it is 0"


def test_a_sample_that_fails_is_not_recorded(scaffold: Scaffold, iris: Any) -> None:
    before = (scaffold.directory / "smoke-test.json").read_text()
    assert not scaffold.verify(iris[0][:2], expected=[2, 2])
    assert (scaffold.directory / "smoke-test.json").read_text() == before


def test_errors(scaffold: Scaffold, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SettingError, match="environment 'conda' is none of current, isolated, docker"
    ):
        scaffold.verify(environment="conda")
    with pytest.raises(
        ServingError, match=r"the scaffold answered 400: instances\[0\]: the model takes 4 values"
    ):
        scaffold.verify([[1, 2]], expected=[0])
    monkeypatch.setenv("DOCKER", "/nowhere/docker")
    with pytest.raises(
        ServingError, match="'/nowhere/docker' cannot be run: No such file or directory; install"
    ):
        scaffold.verify(environment="docker")
    file = scaffold.directory / "smoke-test.json"
    for text, message in [
        ("{", "cannot be read as JSON"),
        ("[]", "is not a smoke test: it must hold a request"),
    ]:
        file.write_text(text)
        with pytest.raises(ScaffoldError, match=message):
            scaffold.verify()
