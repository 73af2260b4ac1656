"""Scaffolds for a GPU, made where there is none."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import yaml

import generator
from generator import Scaffold, SettingError
from generator.cli import main
from generator.environment import venvs
from generator.errors import ScaffoldWarning
from generator.layout import ANSWERS
from generator.running import verification
from generator.writing import prepare
from support.models.objects import Sums

ROWS = np.arange(8.0).reshape(2, 4)


def made(directory: Path, **given: Any) -> Scaffold:
    return generator.from_model(Sums(), directory, framework="custom", **given)


@pytest.fixture(scope="module")
def for_gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    with pytest.warns(ScaffoldWarning, match="proved on the CPU") as told:
        scaffold = made(tmp_path_factory.mktemp("gpu") / "sums", gpu=True, sample_input=ROWS)
    assert len(told) == 1
    yield scaffold
    scaffold.close()


def answers(scaffold: Scaffold) -> dict[str, Any]:
    return dict(yaml.safe_load((scaffold.directory / ANSWERS).read_text()))


def test_it_says_so(for_gpu: Scaffold, sums: Scaffold) -> None:
    assert (for_gpu.gpu, sums.gpu) == (True, False)
    assert answers(for_gpu)["gpu"] is True and answers(sums)["gpu"] is False
    assert for_gpu.docker_run_string.startswith("docker run --rm --gpus all -p 8080:8080 -t ")
    assert "--gpus" not in sums.docker_run_string
    text = (for_gpu.directory / "README.md").read_text()
    assert "docker run --rm --gpus all -p 8080:8080 -t sums" in text and "**GPUs.**" in text


def test_a_model_that_is_replaced_stays_there(for_gpu: Scaffold) -> None:
    with pytest.warns(ScaffoldWarning, match="proved on the CPU"):
        for_gpu.replace_model(Sums(), sample_input=ROWS)
    with pytest.warns(ScaffoldWarning, match="proved on the CPU"):
        made(for_gpu.directory, overwrite=True, gpu=True, sample_input=ROWS)
    with pytest.raises(SettingError, match=r"gpu False: the scaffold's is True; make another, or"):
        made(for_gpu.directory, overwrite=True, gpu=False)
    assert for_gpu.gpu and answers(for_gpu)["gpu"] is True


def test_numbers_of_another_device_are_compared_more_widely(
    for_gpu: Scaffold, sums: Scaffold
) -> None:
    assert for_gpu.verify().tolerance == 2e-3 and sums.verify().tolerance == 0
    assert for_gpu.verify(tolerance=0).tolerance == 0


def test_where_the_devices_differ_the_proof_does_too(
    for_gpu: Scaffold, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = generator.hooks.by_name("custom")
    there = prepare.prepare(hook, Sums(), ROWS, gpu=True)
    assert there._tolerance(for_gpu.directory) == 0  # noqa: SLF001
    monkeypatch.setattr(prepare.gpus, "visible", lambda: True)
    assert there._tolerance(for_gpu.directory) == 2e-3  # noqa: SLF001


def test_without_a_gpu_an_isolated_environment_has_the_builds_for_the_cpu(
    for_gpu: Scaffold, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    class Ended(Exception):
        pass

    def model_python(requirements: Path, version: str, without_cuda: bool) -> Path:
        asked.append(without_cuda)
        raise Ended

    monkeypatch.setattr(verification, "model_python", model_python)
    for is_there in (False, True):
        monkeypatch.setattr(verification.gpus, "visible", lambda is_there=is_there: is_there)
        with pytest.raises(Exception, match="Ended"), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            for_gpu.verify(environment="isolated")
        assert bool(told) != is_there
    assert asked == [True, False]


def test_that_environment_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents: list[str] = []
    monkeypatch.setattr(
        venvs, "cached", lambda kind, content, *_: contents.append(content) or Path(kind)
    )
    file = tmp_path / "requirements.txt"
    file.write_text("jax[cuda12]==0.10.2  # the model\n")
    for without_cuda in (False, True):
        venvs.model_python(file, "3.11", without_cuda)
    assert contents == ["jax[cuda12]==0.10.2  # the model\n", "jax==0.10.2\n"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gpu": "yes"}, "gpu 'yes': pass True, False, or None for where the model is"),
        ({"gpu": 1}, "gpu 1: pass True"),
    ],
)
def test_what_is_neither_yes_nor_no_is_refused(
    given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=message):
        made(tmp_path / "made", **given)
    assert not (tmp_path / "made").exists()


def test_init_takes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "own"), "--gpu"]) == 0
    assert generator.load(tmp_path / "own").gpu
    assert main(["init", str(tmp_path / "other")]) == 0
    assert not generator.load(tmp_path / "other").gpu


def test_sklearn_refuses_it_in_one_line(
    forest: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingError, match="^gpu: sklearn predicts on no GPU: leave it out$"):
        generator.from_model(forest, tmp_path / "rfc", gpu=True)
    assert not (tmp_path / "rfc").exists()


def test_new_refuses_it_in_one_line(
    forest: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joblib.dump(forest, tmp_path / "model.joblib")
    given = ["new", str(tmp_path / "model.joblib"), str(tmp_path / "rfc"), "--trust-file", "--gpu"]
    assert main(given) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "error: --gpu: sklearn predicts on no GPU: leave it out"
    assert not (tmp_path / "rfc").exists()
