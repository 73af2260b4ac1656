"""A scaffold held against what it should predict: here, in an environment made anew, and in its image."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import generator
from generator import Scaffold, ScaffoldError, ServingError, SettingError
from generator.environment.venvs import _torch_from_elsewhere, model_python


@pytest.fixture
def proved(forest: Any, iris: Any, tmp_path: Path) -> Iterator[Scaffold]:
    """A scaffold with its model in memory and its smoke test, which the test may edit."""
    made = generator.from_model(forest, tmp_path / "proved", sample_input=iris[0][::30])
    yield made
    made.close()


def other_python() -> str | None:
    """Another version of Python that lies on this machine, in which numpy's pin can be had too."""
    found = [version for version in ("3.12", "3.13") if version != running() and has(version)]
    return found[0] if found else None


def running() -> str:
    return "{}.{}".format(*sys.version_info)


def has(version: str) -> bool:
    uv = Path(sys.executable).with_name("uv")
    return (
        subprocess.run(
            [uv, "python", "find", "--no-python-downloads", version], capture_output=True
        ).returncode
        == 0
    )


def test_in_an_isolated_environment(
    proved: Scaffold, iris: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing from outside comes in, and what passes is the smoke test from then on."""
    (tmp_path / "sklearn.py").write_text("raise ImportError('from outside')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MODEL_PYTHON", "/nowhere")
    verification = proved.verify(iris[0], "isolated")
    assert verification and verification.tolerance == 0
    recorded = json.loads((proved.directory / "smoke-test.json").read_text())
    assert recorded["response"]["predictions"] == verification.served == verification.expected
    assert len(recorded["request"]["instances"]) == 150
    assert generator.load(proved.directory).verify(environment="isolated")


def test_an_environment_is_made_once_for_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("msgpack\n")
    first = model_python(requirements, running())
    assert "making the model's environment once in " in capsys.readouterr().err
    assert model_python(requirements, running()) == first and capsys.readouterr().err == ""
    code = "import importlib.util as u; print(*(bool(u.find_spec(name)) for name in ('msgpack', 'numpy')))"
    assert subprocess.run([first, "-c", code], capture_output=True, text=True).stdout.split() == [
        "True",
        "False",
    ]
    requirements.write_text("msgpack==0.0.77\n")
    with pytest.raises(
        ServingError, match=r"the model's environment cannot be made: .*msgpack==0.0.77"
    ) as raised:
        model_python(requirements, running())
    assert (
        "\n" not in str(raised.value)
        and len(list((tmp_path / "scaffold-generator" / "models").iterdir())) == 1
    )
    requirements.unlink()
    with pytest.raises(ServingError, match="requirements.txt cannot be read: No such file"):
        model_python(requirements, running())


@pytest.mark.skipif(other_python() is None, reason="no other Python lies on this machine")
def test_the_environment_is_of_the_scaffolds_python(forest: Any, iris: Any, tmp_path: Path) -> None:
    version = other_python()
    made = generator.from_model(forest, tmp_path / "other", python_version=version)
    assert made.verify(iris[0], "isolated")
    python = model_python(made.directory / "requirements.txt", str(version))
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    assert (
        subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()
        == version
    )
    made.close()


def test_a_requirement_that_was_left_out_is_found(proved: Scaffold) -> None:
    """Here the package is at hand, in the container it would not be."""
    file = proved.directory / "src" / "server" / "inference_model.py"
    file.write_text(file.read_text().replace("import joblib  #", "import joblib\nimport httpx  #"))
    assert proved.verify()
    with pytest.raises(
        ServingError, match="No module named 'httpx'; add the package .* to requirements.txt"
    ):
        proved.verify(environment="isolated")


def test_torch_is_had_from_elsewhere_where_its_index_is_out_of_reach() -> None:
    index = "--extra-index-url https://download.pytorch.org/whl/cu121  # serves the cu121 variant of torch\n"
    pins = "numpy==2.0\ntorch==2.13.0  # runs the model\ntorchvision==0.2 ; python_version > '3'\n"
    assert _torch_from_elsewhere(index + pins) == (
        "numpy==2.0\ntorch==2.13.0+cu121  # runs the model\ntorchvision==0.2+cu121 ; python_version > '3'\n"
    )
    assert _torch_from_elsewhere(pins) is None


def test_tolerance(proved: Scaffold, iris: Any) -> None:
    file = proved.directory / "smoke-test.json"
    recorded = json.loads(file.read_text())
    recorded["response"]["predictions"] = [
        value + 1e-7 for value in recorded["response"]["predictions"]
    ]
    file.write_text(json.dumps(recorded))
    assert proved.verify(tolerance=1e-6)
    assert "should be " in str(proved.verify().difference)


def test_a_sample_that_fails_is_not_recorded(proved: Scaffold, iris: Any) -> None:
    before = (proved.directory / "smoke-test.json").read_text()
    assert not proved.verify(iris[0][:2], expected=[2, 2])
    assert (proved.directory / "smoke-test.json").read_text() == before


def test_refuses(proved: Scaffold, iris: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        SettingError, match="environment 'conda' is none of current, isolated, docker"
    ):
        proved.verify(environment="conda")
    with pytest.raises(
        ServingError, match=r"the scaffold answered 400: instances\[0\]: the model takes 4 values"
    ):
        proved.verify([[1, 2]], expected=[0])
    monkeypatch.setenv("DOCKER", "/nowhere/docker")
    with pytest.raises(
        ServingError, match="'/nowhere/docker' cannot be run: No such file or directory; install"
    ):
        proved.verify(environment="docker")
    file = proved.directory / "smoke-test.json"
    for text, message in [
        ("{", "cannot be read as JSON"),
        ("[]", "is no smoke test: it must hold a request"),
    ]:
        file.write_text(text)
        with pytest.raises(ScaffoldError, match=message):
            proved.verify()
