"""Files that a model's own code reads travel with it: a package's own, and those in `code=`."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import generator
from generator import ModelError, ScaffoldError, SettingError
from generator.capture import data_files
from generator.importing import locate

X, Y = np.arange(8.0).reshape(4, 2), np.array([1.0, 2, 3, 5])
STEP = """
import json
from importlib import resources
from pathlib import Path


def step(rows):
    factor = json.loads((Path(__file__).parent / "tables" / "table.json").read_text())
    return rows * factor + json.loads(resources.files("owner.more").joinpath("b.json").read_text())
"""
PACKAGE = {
    "owner/__init__.py": "",
    "owner/steps.py": STEP,
    "owner/tables/table.json": "2",
    "owner/more/__init__.py": "NOT_IMPORTED = 1",
    "owner/more/b.json": "1",
    "owner/.env": "SECRET=1",
    "owner/.git/config": "",
    "owner/__pycache__/x.txt": "",
}
TRAVELS = {"owner/__init__.py", "owner/steps.py", "owner/tables/table.json", "owner/more/b.json"}

Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a project that can be imported from, and removes its modules at the end."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.syspath_prepend(str(project))
    before = set(sys.modules)

    def written(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
        importlib.invalidate_caches()
        return project

    yield written
    for name in set(sys.modules) - before:
        del sys.modules[name]


def pipeline(module: str) -> Any:
    step = importlib.import_module(module).step
    return make_pipeline(FunctionTransformer(step), LinearRegression()).fit(X, Y)


def code(scaffold: generator.Scaffold) -> set[str]:
    """The files that `config.yaml` records, each of which must be there."""
    config = yaml.safe_load((scaffold.directory / "config.yaml").read_text())
    recorded = config["model_metadata"]["model"]["code"] or {}
    model = scaffold.directory / "src" / "model"
    files = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    own = {name for name in files if "__pycache__" not in name} - {"__init__.py", "model.joblib"}
    assert own == set(recorded)
    return own


@pytest.mark.sweep
def test_the_files_of_a_package_travel_and_are_replaced_with_the_model(
    write: Write, tmp_path: Path
) -> None:
    project = write(PACKAGE)
    model = pipeline("owner.steps")
    with contextlib.closing(generator.from_model(model, tmp_path / "made", sample_input=X)) as made:
        assert code(made) == TRAVELS
        (project / "owner" / "tables" / "table.json").write_text("3")
        (project / "owner" / "more" / "b.json").rename(project / "owner" / "more" / "c.json")
        moved = write({"owner/steps.py": STEP.replace("b.json", "c.json")})
        del sys.modules["owner.steps"]
        assert moved == project
        model = pipeline("owner.steps")
        made.replace_model(model, sample_input=X)
        assert made.predict(X)["predictions"] == model.predict(X).tolist()
        assert code(made) == {*TRAVELS, "owner/more/c.json"} - {"owner/more/b.json"}
        own = made.directory / "src" / "model" / "owner" / "tables" / "table.json"
        own.write_text("4")
        with pytest.raises(ScaffoldError, match=r"owner/tables/table.json holds edits of yours"):
            made.replace_model(model, sample_input=X)


BESIDE = """
import importlib
import json
from pathlib import Path


def step(rows):
    late = importlib.import_module("la" + "te")
    return rows * json.loads((Path(__file__).parent / "data/table.json").read_text()) + late.OFFSET
"""


@pytest.mark.sweep
def test_code_names_the_files_beside_a_module(write: Write, tmp_path: Path) -> None:
    project = write({"beside.py": BESIDE, "data/table.json": "2", "late.py": "OFFSET = 0.5"})
    model = pipeline("beside")
    for named, problem, missing in (
        ([], "late is code of yours that no import statement names", "late.py"),
        (["late.py"], "src/model/data/table.json is missing", "data/table.json"),
    ):
        with pytest.raises(ModelError) as caught:
            paths = [project / name for name in named]
            generator.from_model(model, tmp_path / "made", sample_input=X, code=paths)
        fix = f"; {problem}: name it, as in code=['{project / missing}']"
        assert str(caught.value).endswith(fix), caught.value
    paths = [project / "late.py", project / "data"]
    made = generator.from_model(model, tmp_path / "made", sample_input=X, code=paths)
    with contextlib.closing(made):
        assert code(made) == {"beside.py", "late.py", "data/table.json"}
        assert made.predict(X)["predictions"] == model.predict(X).tolist()
        with pytest.raises(ModelError, match="late is code of yours"):
            made.replace_model(model, sample_input=X)
        made.replace_model(model, sample_input=X, code=paths)


def test_a_file_of_the_working_directory_is_named_with_the_fix(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "from pathlib import Path\n\n\n"
        "def step(rows):\n    return rows * float(Path('factor.txt').read_text())\n"
    )
    project = write({"relative.py": source, "factor.txt": "2"})
    monkeypatch.chdir(project)
    message = "'factor.txt' is read from the working directory, which is src/ in a scaffold"
    with pytest.raises(ModelError, match=message):
        generator.from_model(pipeline("relative"), tmp_path / "made", sample_input=X)


HOLDS = """
from pathlib import Path

from sklearn.base import BaseEstimator, TransformerMixin


class Scale(TransformerMixin, BaseEstimator):
    def fit(self, rows, y=None):
        self.path_ = str(Path(__file__).parent / "factor.txt")
        return self

    def transform(self, rows):
        return rows * float(Path(self.path_).read_text())
"""


@pytest.mark.sweep
def test_a_path_of_this_machine_in_the_model_is_refused(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file travels, but the model would read the one that is here only."""
    project = write({"holds/__init__.py": "", "holds/steps.py": HOLDS, "holds/factor.txt": "2"})
    scale = importlib.import_module("holds.steps").Scale()
    model = make_pipeline(scale, LinearRegression()).fit(X, Y)
    monkeypatch.chdir(project)  # the scaffold is in the project
    with pytest.raises(ModelError) as caught:
        generator.from_model(model, "made", sample_input=X)
    assert f"No such file or directory: '{project}/holds/factor.txt'; the model holds" in str(
        caught.value
    )
    scale.path_ = str(tmp_path / "other.txt")
    (tmp_path / "other.txt").write_text("2")
    generator.from_model(model, "made", sample_input=X).close()  # no file of the owner's code


# ---- which files: without a scaffold ----


def packaged(project: Path, *named: Path) -> set[str]:
    """What the package `owner` in a project brings."""
    module = {"owner.steps": str(project / "owner" / "steps.py")}
    return set(data_files.package_files(module, data_files.named_code(named)))


def test_code_hidden_files_and_caches_stay_behind(write: Write) -> None:
    more = ("a.pyc", "native.cpython-311-x86_64-linux-gnu.so", "lib.so", "x.py", "notes.ipynb")
    project = write({**PACKAGE, **{f"owner/more/{name}": "" for name in more}, "beside.txt": ""})
    (project / "owner" / "around").symlink_to(project / "owner")
    (project / "owner" / "gone").symlink_to(project / "nowhere")
    (project / "owner" / "beside.txt").symlink_to(project / "beside.txt")
    expected = {"tables/table.json", "more/b.json", "more/lib.so", "more/notes.ipynb", "beside.txt"}
    assert packaged(project) == {f"owner/{name}" for name in expected}


def test_a_large_package_brings_what_is_named(write: Write) -> None:
    project = write(PACKAGE)
    large = project / "owner" / "large.bin"
    with large.open("wb") as file:
        file.truncate(data_files.MAX_BYTES + 1)
    with pytest.raises(ModelError) as caught:
        packaged(project)
    assert f"the largest is {large} (64 MiB); more than 64 MiB travel only by name" in str(
        caught.value
    )
    table = project / "owner" / "tables" / "table.json"
    assert packaged(project, table) == set()
    assert data_files.named_files([table], [project]) == {"owner/tables/table.json": table}


def test_a_namespace_package_brings_the_directory_of_the_module(write: Write) -> None:
    project = write({"space/part/steps.py": "", "space/part/a.txt": "", "space/other/b.txt": ""})
    modules = {"space.part.steps": str(project / "space" / "part" / "steps.py")}
    assert set(data_files.package_files(modules, [])) == {"space/part/a.txt"}


def test_a_file_that_no_module_is_beside_has_its_name(write: Write, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.txt").write_text("")
    project = write({"deep/b.txt": ""})
    paths = [tmp_path / "elsewhere", project / "deep" / "b.txt"]
    assert set(data_files.named_files(paths, [])) == {"elsewhere/a.txt", "deep/b.txt"}
    assert set(data_files.named_files([project], [project])) == {"deep/b.txt"}
    write({"one/two/three.py": ""})
    spec = locate("one.two.three")  # in namespace packages that are not imported
    assert spec is not None and spec.origin == str(project / "one" / "two" / "three.py")
    with pytest.raises(SettingError, match=r"b.txt would both be src/model/b.txt: rename one"):
        write({"a/b.txt": ""})
        both = [project / "a" / "b.txt", project / "deep" / "b.txt"]
        data_files.named_files(both, [project / "a", project / "deep"])


def test_refused_names(write: Write, tmp_path: Path) -> None:
    project = write({**PACKAGE, "model.joblib": ""})
    with pytest.raises(SettingError, match="code names 'nowhere', which does not exist"):
        data_files.named_code("nowhere")
    with pytest.raises(SettingError, match=r"src/model/model.joblib has the name of a file of the"):
        generator.from_model(
            pipeline("owner.steps"), tmp_path / "made", code=[project / "model.joblib"]
        )
    odd = os.fsdecode(bytes(project / "owner") + b"/\xff")
    Path(odd).write_text("")
    with pytest.raises(ModelError, match="is not a name in UTF-8: rename the file"):
        packaged(project)
