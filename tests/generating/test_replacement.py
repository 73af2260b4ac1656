"""Replacing the model of an edited scaffold. An error changes no file."""

import contextlib
import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import generator
from generator import ModelError, RequirementError, Scaffold, ScaffoldError, SettingError
from generator.environment.lines import Pin, Requirements
from generator.environment.repin import repinned

# The owner's edit below changes every answer.
pytestmark = pytest.mark.filterwarnings("ignore:the smoke test is removed:UserWarning")
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(40, 3)), RANDOM.integers(0, 2, 40)
POST = 'has one entry a row."""\n'
FACTOR = '        return {**response, "predictions": response["predictions"] + 10}\n'


def linear(scale: float = 1.0, columns: int = 3) -> LinearRegression:
    return LinearRegression().fit(X[:, :columns], X[:, 0] * scale)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a scaffold that nobody edits."""
    directory, given = tmp_path_factory.mktemp("original") / "rfc", ["rich==14.0.0  # for logs"]
    return generator.from_model(linear(), directory, sample_input=X, requirements=given).directory


@pytest.fixture
def edited(original: Path, tmp_path: Path) -> Iterator[Scaffold]:
    """A copy of it with edits in every file that an owner may edit."""
    made = generator.load(shutil.copytree(original, tmp_path / "rfc"))
    change(made, "src/server/inference_model.py", f"{POST}        return response\n", POST + FACTOR)
    change(made, "config.yaml", "workers: 1\n", "workers: 3\n")
    change(made, "config.yaml", 'model_name: "model"', 'model_name: "iris"')
    change(made, "sklearn-server.Dockerfile", "WORKDIR /app\n", "RUN echo mine\nWORKDIR /app\n")
    with (made.directory / "requirements.txt").open("a") as file:
        file.write("httpx  # mine\n")
    (made.directory / "README.md").unlink()
    (made.directory / "src" / "model" / "mine.py").write_text("MINE = 1\n")
    (made.directory / "src" / "data" / "mine.txt").write_text("mine\n")
    yield made
    made.close()


def centred(rows: Any) -> Any:
    return rows - rows.mean(0)


def change(scaffold: Scaffold, name: str, old: str, new: str) -> None:
    path = scaffold.directory / name
    text = path.read_bytes().decode()
    assert text.count(old) == 1, (name, old)
    path.write_bytes(text.replace(old, new).encode())


def read(scaffold: Scaffold, name: str) -> str:
    return (scaffold.directory / name).read_text()


def facts(scaffold: Scaffold) -> dict[str, Any]:
    return dict(yaml.safe_load(read(scaffold, "config.yaml"))["model_metadata"]["model"])


def content(scaffold: Scaffold) -> dict[str, bytes]:
    """Every file except bytecode."""
    files = (
        path for path in scaffold.directory.rglob("*") if path.is_file() and path.suffix != ".pyc"
    )
    return {path.relative_to(scaffold.directory).as_posix(): path.read_bytes() for path in files}


def assert_edits_stay(scaffold: Scaffold) -> None:
    assert FACTOR in read(scaffold, "src/server/inference_model.py")
    assert "workers: 3\n" in read(scaffold, "config.yaml") and 'model_name: "iris"' in read(
        scaffold, "config.yaml"
    )
    assert "RUN echo mine\n" in read(scaffold, "sklearn-server.Dockerfile")
    assert {"httpx  # mine", "rich==14.0.0  # given by you: for logs"} <= set(
        read(scaffold, "requirements.txt").split("\n")
    )
    assert (
        read(scaffold, "src/model/mine.py") == "MINE = 1\n"
        and read(scaffold, "src/data/mine.txt") == "mine\n"
    )
    assert not (scaffold.directory / "README.md").exists()


@pytest.mark.sweep
@pytest.mark.parametrize("sampled", [True, False])
def test_requests_that_share_no_call_go_on_so(
    original: Path, tmp_path: Path, sampled: bool
) -> None:
    """Its owner may want that. Where it is not needed any more, a warning says so."""
    made = generator.load(shutil.copytree(original, tmp_path / "rfc"))
    change(made, "config.yaml", "rows_independent: true\n", "rows_independent: false  # mine\n")
    with contextlib.closing(made), pytest.warns(UserWarning, match="write true there"):
        made.replace_model(linear(2.0), sample_input=X if sampled else None)
    assert "rows_independent: false  # mine\n" in read(made, "config.yaml")


@pytest.mark.sweep
@pytest.mark.filterwarnings("error")
def test_rows_that_depend_on_each_other_are_known_by_then(tmp_path: Path) -> None:
    """The first scaffold warns of them; a model that is trained again tells nothing new."""
    model = make_pipeline(FunctionTransformer(centred), LinearRegression()).fit(X, X[:, 0])
    with pytest.warns(UserWarning, match="will not share a call of predict"):
        made = generator.from_model(model, tmp_path / "rfc", sample_input=X)
    assert facts(made)["rows_independent"] is False
    with contextlib.closing(made):
        made.replace_model(model, sample_input=X)
    assert facts(made)["rows_independent"] is False


def test_a_retrained_model_replaces_the_old_one(edited: Scaffold) -> None:
    before = facts(edited)
    model = linear(2.0)
    with contextlib.closing(edited):
        assert edited.predict(X)["predictions"] == (linear().predict(X) + 10).tolist()
        edited.replace_model(model, sample_input=X[:5], expected=model.predict(X[:5]) + 10)
        assert edited.predict(X)["predictions"] == (model.predict(X) + 10).tolist()
        assert edited.verify()
    assert_edits_stay(edited)
    assert facts(edited)["sha256"] != before["sha256"] and facts(edited)["input"] == before["input"]
    assert json.loads(read(edited, "smoke-test.json"))["request"]["instances"] == X[:5].tolist()


@pytest.mark.sweep
def test_without_a_sample_the_smoke_test_is_asked_again(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [1, 2, 3, 4], "b": [0.5, 1, 2, 4]})
    with contextlib.closing(
        generator.from_model(
            LinearRegression().fit(frame, [1, 2, 3, 5]), tmp_path / "made", sample_input=frame
        )
    ) as made:
        before, rows = facts(made)["input"], json.loads(read(made, "smoke-test.json"))["request"]
        model = LinearRegression().fit(frame, [4, 2, 3, 5])
        made.replace_model(model)
        recorded = json.loads(read(made, "smoke-test.json"))
        assert facts(made)["input"] == before and recorded["request"] == rows
        assert recorded["response"]["predictions"] == model.predict(frame).tolist()
        with pytest.raises(generator.ServingError, match="'a' must be a number"):
            made.predict([{"a": "60", "b": 1}])


def test_an_edit_that_changes_the_answers_ends_the_smoke_test_aloud(edited: Scaffold) -> None:
    with pytest.warns(UserWarning, match=r"smoke test is removed.*predictions\[0\] should be") as w:
        edited.replace_model(linear(2.0))
    assert "if that is your edit, call verify(rows, expected=predictions)" in str(w[0].message)
    assert not (edited.directory / "smoke-test.json").exists()


@pytest.mark.sweep
def test_from_model_with_overwrite_does_the_same(edited: Scaffold, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("more\n")
    made = generator.from_model(
        linear(3.0), edited.directory, overwrite=True, data=tmp_path / "more.txt"
    )
    with contextlib.closing(made):
        assert made.predict(X)["predictions"] == (linear(3.0).predict(X) + 10).tolist()
    assert_edits_stay(made)
    assert read(made, "src/data/more.txt") == "more\n"
    assert not (made.directory / "smoke-test.json").exists()  # it was for the old model


def test_pins_are_those_of_the_new_models_environment(edited: Scaffold) -> None:
    """The old model's pins are older, and one is of a package that the new one does not need."""
    installed = f"scikit-learn=={metadata.version('scikit-learn')}"
    outdated = "outdated==1  # the model: old.Class\n"
    for name, separator in (("requirements.txt", ""), (".copier-answers.yml", "\n  ")):
        change(edited, name, installed, "scikit-learn==0.24.2")
        change(edited, name, "joblib==", f"{outdated}{separator}joblib==")
    change(edited, "requirements.txt", f"numpy=={np.__version__}", "numpy>=2")
    edited.replace_model(linear(2.0))
    text = read(edited, "requirements.txt")
    assert f"\n{installed}  #" in text and "outdated" not in text and "\nnumpy>=2" in text
    assert_edits_stay(edited)
    answers = yaml.safe_load(read(edited, ".copier-answers.yml"))["requirements"]
    assert (
        f"{installed}  #" in answers
        and f"numpy=={np.__version__}  #" in answers
        and "httpx" not in answers
    )


@pytest.mark.sweep
def test_a_requirement_that_is_given_again_is_listed_once(edited: Scaffold) -> None:
    given = ["Rich==14.1.0", "--find-links more", "einops; python_version < '3.12'"]
    for requirements in (given, [*given, "einops; python_version >= '3.12'"]):
        with pytest.warns(UserWarning, match=r"should be 0.*, it is 10\."):  # the owner's edit
            edited.replace_model(linear(), requirements=requirements)
        answers = yaml.safe_load(read(edited, ".copier-answers.yml"))["requirements"]
        for text in (read(edited, "requirements.txt"), answers):
            assert text.lower().count("rich==") == text.count("--find-links more") == 1
    assert "\nRich==14.1.0  # given by you\n" in text and text.count("\neinops") == 2


@pytest.mark.sweep
def test_deleted_files_stay_deleted_and_links_stay_links(edited: Scaffold, tmp_path: Path) -> None:
    (edited.directory / "requirements.txt").unlink()
    (edited.directory / ".venv").symlink_to("nowhere")
    (tmp_path / "elsewhere.txt").write_text("elsewhere\n")
    linked = edited.directory / "src" / "data" / "linked.txt"
    linked.symlink_to(tmp_path / "elsewhere.txt")
    edited.replace_model(linear(2.0))
    assert (
        not (edited.directory / "requirements.txt").exists()
        and (edited.directory / ".venv").is_symlink()
    )
    assert linked.is_symlink() and linked.read_text() == "elsewhere\n"


@pytest.mark.sweep
def test_another_version_of_python(edited: Scaffold) -> None:
    edited.replace_model(linear(2.0), python_version="3.13")
    assert "ARG PYTHON_VERSION=3.13\n" in read(edited, "sklearn-server.Dockerfile")
    assert "python_version: py313\n" in read(edited, "config.yaml")
    assert "  image: python:3.13-slim\n" in read(edited, "config.yaml")
    assert yaml.safe_load(read(edited, ".copier-answers.yml"))["python_version"] == "3.13"


def test_the_line_endings_of_windows_stay(edited: Scaffold) -> None:
    names = ("requirements.txt", "config.yaml", "sklearn-server.Dockerfile")
    for name in names:
        path = edited.directory / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    edited.replace_model(linear(2.0))
    for name in names:
        written = (edited.directory / name).read_bytes()
        assert written.count(b"\n") == written.count(b"\r\n") > 5


def replace_by_another(edited: Scaffold) -> None:
    """Replace the model by one with the same sample, so that only its file changes."""
    model = linear(2.0)
    edited.replace_model(model, sample_input=X, expected=model.predict(X) + 10)


REWRITTEN: dict[str, Callable[[dict[str, Any]], str]] = {
    "by PyYAML": yaml.safe_dump,
    "as JSON": lambda document: json.dumps(document, indent=2),
    "without facts": lambda document: yaml.safe_dump(
        document
        | {"model_metadata": {**document["model_metadata"], "model": {"file": "model.joblib"}}}
    ),
}


@pytest.mark.parametrize(
    "way",
    [
        "by PyYAML",
        "as JSON",
        "without facts",
    ],
)
@pytest.mark.sweep
def test_a_config_that_another_tool_rewrote(edited: Scaffold, way: str) -> None:
    path = edited.directory / "config.yaml"
    path.write_text(REWRITTEN[way](yaml.safe_load(path.read_text())))
    before = path.read_text().splitlines()
    with contextlib.closing(edited):
        replace_by_another(edited)
        assert edited.predict(X)["predictions"] == (linear(2.0).predict(X) + 10).tolist()
    after = path.read_text().splitlines()
    assert yaml.safe_load("\n".join(after))["model_name"] == "iris"
    changed = [line for line in before if line not in after]
    if way != "without facts":
        assert [line.strip(' "')[:6] for line in changed] == ["sha256"]
    assert facts(edited)["class"].endswith("LinearRegression")


@pytest.mark.sweep
def test_a_config_in_flow_style_with_aliases_a_mark_and_line_endings_of_windows(
    edited: Scaffold,
) -> None:
    path = edited.directory / "config.yaml"
    document = yaml.safe_load(path.read_text())
    document["a copy"] = document["model_metadata"]["model"]
    text = yaml.safe_dump(document, default_flow_style=True, explicit_start=True)
    assert "&id001" in text and "*id001" in text
    path.write_bytes(f"\ufeff# mine:\ta tab\n{text}...\n".replace("\n", "\r\n").encode())
    before = facts(edited)
    with contextlib.closing(edited):
        replace_by_another(edited)
        assert edited.predict(X)["predictions"] == (linear(2.0).predict(X) + 10).tolist()
    assert path.read_bytes().decode().startswith("\ufeff# mine:\ta tab\r\n---")
    after = yaml.safe_load(path.read_text())
    assert after["a copy"] == before and facts(edited) == before | {
        "sha256": facts(edited)["sha256"]
    }
    assert facts(edited)["sha256"] != before["sha256"]


def test_only_changed_facts_change_in_the_config(edited: Scaffold) -> None:
    change(edited, "config.yaml", "    input:\n", "    input:  # three numbers\n")
    text = read(edited, "config.yaml").replace("    sha256: ", "    sha256:   ")
    (edited.directory / "config.yaml").write_text(f"{text}# the end, without a line break")
    before = read(edited, "config.yaml").split("\n")
    replace_by_another(edited)
    after = read(edited, "config.yaml").split("\n")
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new for _, new in changed] == [f"    sha256:   {facts(edited)['sha256']}"]


@pytest.mark.sweep
def test_another_kind_of_estimator_that_takes_the_same_rows(edited: Scaffold) -> None:
    edited.replace_model(LogisticRegression().fit(X, Y))
    assert facts(edited)["output"]["kind"] == "class" and facts(edited)["class"].endswith(
        "LogisticRegression"
    )


def refused(scaffold: Scaffold, error: Any, message: str, replace: Callable[[], Any]) -> None:
    before = content(scaffold)
    with pytest.raises(error, match=message) as raised:
        replace()
    assert "\n" not in str(raised.value) and content(scaffold) == before


def test_other_rows_need_change_signature(edited: Scaffold) -> None:
    narrow, frame = linear(columns=2), pandas.DataFrame(X, columns=["a", "b", "c"])
    message = (
        r"takes rows that are numbers of shape \[2\], "
        r"the scaffold's clients send rows that are numbers of shape \[3\]"
    )
    refused(edited, SettingError, message, lambda: edited.replace_model(narrow))
    refused(
        edited,
        SettingError,
        message,
        lambda: generator.from_model(narrow, edited.directory, overwrite=True),
    )
    named = LinearRegression().fit(frame, Y)
    refused(
        edited,
        SettingError,
        "takes rows with the columns a, b, c, the",
        lambda: edited.replace_model(named),
    )
    with contextlib.closing(edited):
        with pytest.warns(UserWarning, match="it is 10.0: pass sample_input"):  # the edit's
            edited.replace_model(narrow, change_signature=True)
        assert edited.predict(X[:, :2])["predictions"] == (narrow.predict(X[:, :2]) + 10).tolist()
    assert_edits_stay(edited)


def test_the_version_is_that_of_the_new_model(original: Path, tmp_path: Path) -> None:
    """What was given to the model before does not name the new one."""
    made = generator.load(shutil.copytree(original, tmp_path / "rfc"))
    with contextlib.closing(made):
        made.replace_model(linear(2.0), version="1.10")
        assert "    version: '1.10'\n" in read(made, "config.yaml")
        with pytest.warns(
            UserWarning, match=r"version: 1\.10 is removed from config\.yaml"
        ) as told:
            made.replace_model(linear(3.0))
        assert [warning.filename for warning in told] == [__file__]
        assert "    version: null\n" in read(made, "config.yaml")


@pytest.mark.sweep
def test_a_scaffold_of_an_older_template_has_no_version(original: Path, tmp_path: Path) -> None:
    made = generator.load(shutil.copytree(original, tmp_path / "rfc"))
    change(made, "config.yaml", "    version: null\n", "")
    with contextlib.closing(made):
        made.replace_model(linear(2.0))
        assert "version" not in facts(made)  # an update brings it, with its comment
        change(made, "src/common/config.py", "    version: str | None = None\n", "")
        reads = '    facts["version"] = _version(facts.get("version"), facts.get("sha256"))\n'
        change(made, "src/common/config.py", reads, "")
        message = "version '2': the scaffold is from an older template"
        refused(made, ScaffoldError, message, lambda: made.replace_model(linear(), version="2"))


def test_refused_replacements(edited: Scaffold, monkeypatch: pytest.MonkeyPatch) -> None:
    class Net:
        def predict(self, rows: Any) -> Any:
            return rows

    refused(
        edited,
        ModelError,
        "Net, which is not a model of sklearn",
        lambda: edited.replace_model(Net()),
    )
    refused(
        edited,
        ModelError,
        "the scaffold is for sklearn, the model is of custom: make another",
        lambda: generator.from_model(
            linear(), edited.directory, framework="custom", overwrite=True
        ),
    )
    refused(
        edited,
        ModelError,
        r"the scaffold does not predict what the model in memory does: predictions\[0\] should be",
        lambda: edited.replace_model(linear(2.0), sample_input=X),  # the edit adds 10
    )
    for settings, message in [
        (
            {"name": "other"},
            "name 'other': the scaffold's is 'iris'; change model_name in its config.yaml",
        ),
        ({"server": "flask"}, "server 'flask': the scaffold's is 'kserve'"),
        ({"ref": "v1"}, "ref 'v1': the scaffold has its template; an update"),
        ({"data": "nowhere"}, "data names 'nowhere', which does not exist"),
    ]:
        refused(
            edited,
            SettingError,
            message,
            lambda settings=settings: generator.from_model(
                linear(), edited.directory, overwrite=True, **settings
            ),
        )
    change(edited, "requirements.txt", f"numpy=={np.__version__}", "numpy<2")
    message = "'numpy<2 .*' is yours, the new model was trained with numpy=="
    refused(edited, RequirementError, message, lambda: edited.replace_model(linear()))


@pytest.mark.sweep
def test_an_interrupt_changes_nothing(edited: Scaffold, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, calls = os.replace, []

    def interrupted(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 6:
            raise KeyboardInterrupt
        replace(source, target)

    before = content(edited)
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        edited.replace_model(linear(2.0))
    assert len(calls) > 6 and content(edited) == before


# ---- the code of a model ----


@pytest.fixture
def project(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("project")
    monkeypatch.syspath_prepend(str(directory))
    yield directory
    for name in ("own_steps", "own_other"):
        sys.modules.pop(name, None)


def pipeline(project: Path, module: str, source: str) -> Any:
    """A pipeline with a function of the project's module, which has this source."""
    (project / f"{module}.py").write_text(source)
    sys.modules.pop(module, None)
    importlib.invalidate_caches()
    step = importlib.import_module(module).step
    return make_pipeline(FunctionTransformer(step), LinearRegression()).fit(X, X[:, 0])


DOUBLE, TRIPLE = (
    "def step(rows):\n    return rows * 2\n",
    "def step(rows):\n    return rows * 33\n",
)


@pytest.mark.sweep
def test_the_code_changes_with_the_model(project: Path, tmp_path: Path) -> None:
    made = generator.from_model(pipeline(project, "own_steps", DOUBLE), tmp_path / "made")
    made.replace_model(pipeline(project, "own_steps", TRIPLE))
    assert read(made, "src/model/own_steps.py") == TRIPLE
    made.replace_model(pipeline(project, "own_other", DOUBLE))
    assert not (made.directory / "src" / "model" / "own_steps.py").exists()
    assert list(facts(made)["code"]) == ["own_other.py"]
    made.replace_model(make_pipeline(LinearRegression()).fit(X, Y))
    assert (
        facts(made)["code"] is None
        and not (made.directory / "src" / "model" / "own_other.py").exists()
    )


@pytest.mark.sweep
def test_code_that_the_owner_edited_is_kept(project: Path, tmp_path: Path) -> None:
    made = generator.from_model(pipeline(project, "own_steps", DOUBLE), tmp_path / "made")
    own = made.directory / "src" / "model" / "own_steps.py"
    own.write_text(DOUBLE + "MINE = 1\n")
    model = pipeline(project, "own_steps", TRIPLE)
    message = (
        "src/model/own_steps.py holds edits of yours, "
        "and the new model comes with another: bring them into"
    )
    refused(made, ScaffoldError, message, lambda: made.replace_model(model))
    made.replace_model(pipeline(project, "own_other", DOUBLE))
    assert own.read_text() == DOUBLE + "MINE = 1\n"


# ---- pins, line by line ----


INDEX = "--extra-index-url https://example.org"


def test_repinned() -> None:
    generated = f"{INDEX}/cpu  # serves torch\na==1  # the model\nb==1  # needed by a\ngone==1\n"
    own = "# my own\nc>=2  # mine\nd @ git+https://example.org/d\n"
    current = f"# Mine.\n{INDEX}/cpu  # serves torch\na==1  # the model\ngone==1\n\n{own}"
    pins = [
        Pin("a==2", "the model"),
        *(Pin(line, "needed by a") for line in ("b==2", "c==2.5", "e==1")),
    ]
    assert repinned(current, generated, Requirements(pins, [f"{INDEX}/gpu  # serves torch"])) == (
        f"# Mine.\n{INDEX}/gpu  # serves torch\na==2  # the model\n\n{own}e==1  # needed by a\n"
    )
    with pytest.raises(
        RequirementError, match=r"'c>=2  # mine' is yours, the new model was trained with c==1"
    ):
        repinned(current, generated, Requirements([Pin("c==1", "needed by a")]))


@pytest.mark.sweep
def test_the_same_model_changes_no_line_of_the_answers(edited: Scaffold) -> None:
    answers = edited.directory / ".copier-answers.yml"
    before = answers.read_text()
    edited.replace_model(linear())
    assert answers.read_text() == before
