"""A model that is a directory in `src/model/`: its digest, its code, its replacement."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml

import generator
from common.errors import LoadError
from common.model_file import LEFT_OUT, digest
from generator import ScaffoldError, ServingError, SettingError
from generator.hooks.objects.custom import Custom
from generator.writing.prepare import prepare
from generator.writing.replace import replace_model
from support.models.weighted import Scaled
from support.rendering.checkouts import ROOT

ROWS = np.arange(6.0).reshape(3, 2)


class Folder(Custom):
    """Writes the model above as a directory."""

    files: ClassVar[tuple[str, ...]] = ("model",)

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        for name, weight in model.weights.items():
            file = directory / "model" / "weights" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(weight))
        (directory / "model" / "linked").symlink_to("weights")
        return directory / "model"


LOAD = """\
        place = model_path(self._config) / "weights"
        weights = {file.name: float(file.read_text()) for file in place.iterdir()}
        from support.models.weighted import Scaled

        self._model = Scaled(**weights)
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaffold whose `load` reads the directory."""
    directory = generator.new(tmp_path_factory.mktemp("original") / "folder").directory
    path = directory / "src" / "server" / "inference_model.py"
    head, _, tail = path.read_text().partition("        with model_path(")
    path.write_text(head + LOAD + tail.partition("config.yaml\n")[2])
    model = Scaled(first=1.0, second=2.0)
    replace_model(directory, "custom", Folder(), model, sample_input=ROWS)
    return directory


@pytest.fixture
def scaffold(original: Path, tmp_path: Path) -> Iterator[generator.Scaffold]:
    made = generator.load(shutil.copytree(original, tmp_path / "folder"))
    yield made
    made.close()


def recorded(scaffold: generator.Scaffold) -> dict[str, Any]:
    text = (scaffold.directory / "config.yaml").read_text()
    return dict(yaml.safe_load(text)["model_metadata"]["model"])


def names(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_a_directory_is_served(scaffold: generator.Scaffold) -> None:
    place = scaffold.directory / "src" / "model" / "model"
    assert scaffold.predict(ROWS.tolist())["predictions"] == (ROWS * 3).tolist()
    assert recorded(scaffold)["file"] == "model" and recorded(scaffold)["sha256"] == digest(place)
    assert (place / "linked" / "first").read_text() == "1.0"
    assert not (place / "linked").is_symlink()  # it might lead out of the image


def test_a_changed_directory_is_not_loaded(scaffold: generator.Scaffold) -> None:
    place = scaffold.directory / "src" / "model" / "model"
    (place / "weights" / "third").write_text("1.0")
    with pytest.raises(ServingError, match="src/model/model is not the model that config.yaml"):
        scaffold.predict([[1, 1]])
    shutil.rmtree(place)
    with pytest.raises(ServingError, match="src/model/model is missing"):
        scaffold.predict([[1, 1]])


def test_replacing_removes_the_files_that_only_the_old_model_had(
    scaffold: generator.Scaffold,
) -> None:
    replace_model(scaffold.directory, "custom", Folder(), Scaled(third=5.0), sample_input=ROWS)
    place = scaffold.directory / "src" / "model" / "model"
    assert names(place) == ["linked", "linked/third", "weights", "weights/third"]
    assert scaffold.predict([[1, 2]])["predictions"] == [[5.0, 10.0]]


@pytest.mark.sweep
def test_a_refused_model_leaves_the_directory(
    scaffold: generator.Scaffold, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = names(scaffold.directory)
    calls = []
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        calls.append(source)
        if len(calls) == 4:  # after the directory was moved away
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(generator.TargetError, match="unchanged: .*No space left"):
        replace_model(scaffold.directory, "custom", Folder(), Scaled(x=5.0), sample_input=ROWS)
    assert names(scaffold.directory) == before
    assert scaffold.predict([[1, 2]])["predictions"] == [[3.0, 6.0]]


@pytest.mark.sweep
def test_a_file_takes_the_place_of_a_directory_and_back(scaffold: generator.Scaffold) -> None:
    model = scaffold.directory / "src" / "model"
    shutil.rmtree(model / "model")
    (model / "model").write_text("a file")
    replace_model(scaffold.directory, "custom", Folder(), Scaled(x=5.0), sample_input=ROWS)
    assert names(model / "model") == ["linked", "linked/x", "weights", "weights/x"]


def test_a_directory_of_the_owners_is_not_replaced(scaffold: generator.Scaffold) -> None:
    config = scaffold.directory / "config.yaml"
    config.write_text(config.read_text().replace("file: model\n", "file: model.pickle\n"))
    with pytest.raises(ScaffoldError, match="src/model/model holds files of yours"):
        replace_model(scaffold.directory, "custom", Folder(), Scaled(x=5.0), sample_input=ROWS)


def test_code_with_the_name_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "words.txt").write_text("mine\n")
    prepared = prepare(Folder(), Scaled(x=1.0), ROWS, code=[tmp_path / "model"])
    assert prepared.captured.data, "the directory travels"
    with prepared.named() as needed, pytest.raises(SettingError, match="has the name of a file of"):
        prepared.write(generator.new(tmp_path / "rfc").directory, needed)


# ---- the digest ----


def test_the_digest_is_what_the_shell_says(tmp_path: Path) -> None:
    for name in ("b.txt", "a/b c.bin", "a-b", "a.b", "é/ü", "deep/er/one", "new\nline"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "empty").mkdir()
    command = "find * -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum -z | sha256sum"
    said = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True)
    assert digest(tmp_path) == said.stdout.decode().split()[0]


def test_the_digest_counts_what_an_image_has(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("1")
    before = digest(tmp_path)
    for name in ("__pycache__/a.pyc", "b.pyc", ".DS_Store", ".mypy_cache/x", "empty/er"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty" / "er").unlink()
    assert digest(tmp_path) == before
    (tmp_path / "elsewhere").symlink_to(tmp_path / "weights")
    linked = digest(tmp_path)
    assert linked != before
    (tmp_path / "elsewhere").unlink()
    shutil.copy(tmp_path / "weights", tmp_path / "elsewhere")
    assert digest(tmp_path) == linked
    (tmp_path / "elsewhere").rename(tmp_path / "another")
    assert digest(tmp_path) != linked


@pytest.mark.parametrize("target", [".", "nowhere"])
def test_the_digest_refuses_links_that_an_image_does_not_have(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(LoadError, match="link is no file, or a link to a directory"):
        digest(tmp_path)


def test_the_digest_leaves_out_what_the_image_does() -> None:
    lines = (ROOT / "template" / ".dockerignore").read_text().split()
    patterns = {line.removeprefix("**/") for line in lines if line.startswith("**/")}
    assert set(LEFT_OUT) == patterns
