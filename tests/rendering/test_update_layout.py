"""`copier update` of edited scaffolds whose `src/common` has no folders yet.

The earlier version is a commit of this repository. Its own generator makes the scaffolds.
"""

import compileall
import contextlib
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

import generator
from generator import Scaffold, ServingError
from generator.environment.venvs import server_python
from generator.rendering.answers import Answers
from generator.rendering.render import Source, render
from support.rendering.checkouts import VERSION, archived, commit, git, snapshot

BEFORE = "769d155eee5adbdf59a824ca9c892aadf61afa6c"  # the last commit with src/common in one folder
OLD, NEW = "v0.1.0", "v90.0.0"
OWNED = "src/server/inference_model.py"
RAY, KUBERNETES = "deploy/ray.yaml", "deploy/kubernetes.yaml"
MOVED = ("src/common/flow.py", "src/common/worker.py")  # now worker/flow.py and a folder
# Scaffolds of other frameworks do not need these any more, but their owners may import them.
KEPT = {f"src/common/{name}.py" for name in ("fast_path", "outputs", "threads")}
COPIER = Path(sys.executable).with_name("copier")

# Each defines `model`, and `predicted`: an array with its predictions for `scaled`.
MODELS = {
    "sklearn": """
from sklearn.linear_model import LogisticRegression

model = LogisticRegression().fit(scaled, (scaled.sum(axis=1) > 0).astype(int))
predicted = model.predict(scaled)
""",
    "keras": """
import keras

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
scaled = scaled.astype("float32")
predicted = model.predict(scaled, verbose=0)
""",
    "pytorch": """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())

    def forward(self, rows):
        return self.layers(rows)


torch.manual_seed(0)
model, scaled = Net(), scaled.astype("float32")
predicted = model(torch.from_numpy(scaled)).detach().numpy()
""",
    "custom": """
class Sums:
    def predict(self, rows):
        return np.asarray(rows).sum(axis=1)


model = Sums()
predicted = model.predict(scaled)
""",
}
MAKE = """
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import joblib
import numpy as np
from sklearn.preprocessing import StandardScaler

import generator

rows = np.random.default_rng(0).normal(3, 2, size=(12, 3))
scaler = StandardScaler().fit(rows)
scaled = scaler.transform(rows)
{model}
framework, server = sys.argv[1:]
generator.from_model(model, "made", sample_input=scaled, framework=framework, server=server)
joblib.dump(scaler, "made/src/data/scaler.joblib")
np.savez("predicted.npz", rows=rows, predicted=predicted)
"""
# The owner verifies the edited scaffold, which records a new smoke test.
VERIFY = """
import json

import numpy as np

import generator

with np.load("predicted.npz") as arrays:
    rows, predicted = arrays["rows"], arrays["predicted"]
scaffold = generator.load("made")
assert (found := scaffold.verify(rows, expected=predicted, tolerance=1e-5)), found.difference
with open("answer.json", "w") as file:
    json.dump(scaffold.predict(rows), file)
scaffold.close()
"""

# The owner's edits: old and new texts, by file.
Edits = dict[str, list[tuple[str, str]]]
LIMITED = """\
        if len(request["instances"]) > MOST_ROWS:
            raise InvalidInput(f"send at most {MOST_ROWS} rows")
        return {**request, "checked": True}

    def predict"""
METHODS = [
    ("        return request\n\n    def predict", LIMITED),
    (
        'whatever else the other methods need."""\n',
        'whatever else the other methods need."""\n'
        '        self._scaler = joblib.load("data/scaler.joblib")\n',
    ),
]
INPUTS = 'self._signature.inputs(request["instances"])'
IMPORTED = "from common import Config, InvalidInput, Signature, model_path\n"
FEATURES = "from features import MOST_ROWS\n"
SCALED = (INPUTS, f"self._scaler.transform({INPUTS})")
CODE: dict[str, list[tuple[str, str]]] = {
    "sklearn": [*METHODS, SCALED, (IMPORTED, IMPORTED + FEATURES)],
    "keras": [
        *METHODS,
        SCALED,
        ("import numpy as np\n", "import joblib\nimport numpy as np\n"),
        (IMPORTED, IMPORTED + FEATURES),
    ],
    "pytorch": [
        *METHODS,
        ("self._signature.inputs(rows)", "self._scaler.transform(self._signature.inputs(rows))"),
        ("import torch\n\nfrom", f"import joblib\nimport torch\n{FEATURES}\nfrom"),
    ],
    "custom": [
        *METHODS,
        SCALED,
        (
            "import pickle\nfrom typing import Any\n",
            "import pickle\nfrom typing import Any\n\nimport joblib\n",
        ),
        ("from common import Config, Signature, model_path\n", IMPORTED + FEATURES),
    ],
}
FILES: Edits = {
    "config.yaml": [
        ("    max_queue: 1024\n", "    max_queue: 64  # a small machine\n"),
        (
            "    predict_timeout_seconds: 60\n",
            "    # The gateway gives up after 35.\n    predict_timeout_seconds: 30\n",
        ),
    ],
    RAY: [("          max_replicas: 6\n", "          max_replicas: 3  # as many as we pay for\n")],
    KUBERNETES: [("  minReplicas: 2\n", "  minReplicas: 4\n")],
    "README.md": [("## Retraining\n", "## Ours\n\nAsk Maria.\n\n## Retraining\n")],
}
DOCKERFILE = [("WORKDIR /app\n", "RUN echo ours\nWORKDIR /app\n")]
REQUIREMENT = "rich==14.0.0  # for our logs\n"
ADDED = {
    "src/model/features.py": "MOST_ROWS = 50\n",
    "src/data/note.txt": "The scaler is of May.\n",
    "notes.txt": "ours\n",
    "requirements.lock": "# not the template's\n",
}


@dataclass(frozen=True)
class Case:
    """A scaffold of the earlier version.

    Attributes:
        directory: it is edited and committed.
        rows: rows as a client sends them.
        answer: the answer of the earlier version for them, after the edits.
        edited: the texts that its owner has changed or added, by file.
    """

    directory: Path
    rows: Any
    answer: dict[str, Any]
    edited: dict[str, list[str]]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the earlier version, which is checked out, and the current one."""
    place = tmp_path_factory.mktemp("layouts")
    directory = archived(BEFORE, place / "template")
    git(directory, "init", "--quiet")
    commit(directory, OLD)
    newest = snapshot(place / "newest")
    git(directory, "fetch", "--quiet", str(newest), f"refs/tags/v{VERSION}:refs/tags/{NEW}")
    git(directory, "gc", "--quiet")
    return directory


@pytest.fixture(scope="module")
def cases(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """Makes the scaffold for a name, `FRAMEWORK-SERVER`, once."""

    @functools.cache
    def make(name: str) -> Case:
        framework, server = name.split("-")
        place = tmp_path_factory.mktemp(name)
        earlier(template, place, MAKE.format(model=MODELS[framework]), framework, server)
        edited = edit(place / "made", framework)
        earlier(template, place, VERIFY)
        # Old bytecode must not matter after the update.
        compileall.compile_dir(place / "made" / "src", quiet=1)
        git(place / "made", "init", "--quiet")
        commit(place / "made")
        with np.load(place / "predicted.npz") as arrays:
            rows = arrays["rows"].tolist()
        answer = json.loads((place / "answer.json").read_text())
        return Case(place / "made", rows, answer, edited)

    return make


def earlier(template: Path, place: Path, script: str, *arguments: str) -> None:
    """Run a script with the generator of the earlier version."""
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    environ = os.environ | {"PYTHONPATH": str(template)}
    done = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def edit(directory: Path, framework: str) -> dict[str, list[str]]:
    """Edit a scaffold as its owner would. Returns the texts that must stay, by file."""
    edits = FILES | {OWNED: CODE[framework], f"{framework}-server.Dockerfile": DOCKERFILE}
    for name, changes in edits.items():
        for old, new in changes:
            change(directory / name, old, new)
    for name, text in ADDED.items():
        (directory / name).write_text(text)
    with (directory / "requirements.txt").open("a") as file:
        file.write(REQUIREMENT)
    kept = {name: [new for _, new in changes] for name, changes in edits.items()}
    return (
        kept | {name: [text] for name, text in ADDED.items()} | {"requirements.txt": [REQUIREMENT]}
    )


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Case, str], Path]:
    """Copies the scaffold of a case, so that a test can update it."""
    return lambda case, name: shutil.copytree(case.directory, tmp_path / name, symlinks=True)


def update_by_copier(directory: Path) -> None:
    command = [str(COPIER), "update", "--defaults"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def tree(directory: Path) -> str:
    """The hash of what git would commit."""
    git(directory, "add", "--all")
    return git(directory, "write-tree")


def files(directory: Path, below: str) -> set[str]:
    """The files below a directory, without bytecode."""
    found = (directory / below).rglob("*")
    return {str(path.relative_to(directory)) for path in found if is_source(path)}


def is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def rendered(directory: Path, target: Path) -> Path:
    """A new scaffold with the answers of an updated one."""
    answers = Answers.read(directory)
    target.mkdir()
    render(answers.values, target, Source(answers.template, NEW))
    return target


def served(scaffold: Scaffold, rows: Any) -> Any:
    with scaffold.serve(port=0) as server:
        # The health check of the Dockerfile before, which its owner may have edited.
        python = server_python(scaffold.directory / "server-requirements.txt")
        port = str(httpx.URL(server.predict_url).port)
        subprocess.run(
            [str(python), "-m", "common.health"],
            cwd=scaffold.directory / "src",
            env=os.environ | {"PORT": port, "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
        )
        return httpx.post(server.predict_url, json={"instances": rows}, timeout=30).json()


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


CASES = [  # half a minute each
    pytest.param("sklearn-kserve", marks=pytest.mark.sweep),
    pytest.param("custom-kserve", marks=pytest.mark.sweep),
    pytest.param("sklearn-kfserving", marks=pytest.mark.sweep),
    pytest.param("keras-kserve", marks=[needs("keras"), pytest.mark.sweep]),
    pytest.param("pytorch-kserve", marks=[needs("torch"), pytest.mark.sweep]),
]


@pytest.mark.parametrize("name", CASES)
def test_an_edited_scaffold_is_updated(
    cases: Callable[[str], Case],
    copied: Callable[[Case, str], Path],
    tmp_path: Path,
    name: str,
) -> None:
    case = cases(name)
    ours, plain = copied(case, "ours"), copied(case, "plain")
    update_by_copier(plain)
    with contextlib.closing(generator.load(ours)) as scaffold:
        report = scaffold.update()
        assert (report.before, report.after) == (OLD, NEW)
        assert report.conflicts == report.kept == () and set(MOVED) < set(report.removed)
        assert tree(ours) == tree(plain)
        new = files(rendered(ours, tmp_path / "new"), "src/common")
        assert new <= files(ours, "src/common") <= new | KEPT
        assert_edits_are_there(ours, case)
        assert names(case.directory) == {"model"} == names(ours)  # it is deployed under this name
        assert scaffold.predict(case.rows) == case.answer
        assert scaffold.verify()
        assert served(scaffold, case.rows) == case.answer
        with pytest.raises(ServingError, match="send at most 50 rows"):
            scaffold.predict(case.rows * 9)


def names(directory: Path) -> set[str]:
    """The names of the objects that `kubectl apply` makes."""
    paths = [path for path in directory.glob("deploy/*.yaml") if "\nmetadata:" in path.read_text()]
    documents = (each for path in paths for each in yaml.safe_load_all(path.read_text()))
    return {each["metadata"]["name"] for each in documents}


def assert_edits_are_there(directory: Path, case: Case) -> None:
    for name, texts in case.edited.items():
        content = (directory / name).read_text()
        assert [text for text in texts if text not in content] == [], name
    for name in ("src/model", "src/data"):
        assert files(directory, name) == files(case.directory, name)
    modules = re.findall(r"\bcommon(?:\.\w+)+", texts_of(directory))
    assert [name for name in modules if not is_module(directory / "src", name)] == []
    changed = git(
        directory, "diff", "--cached", "--name-only", "HEAD", "--", "src/model", "src/data"
    )
    assert not changed


def texts_of(directory: Path) -> str:
    """The texts of the files outside of `src` that name modules of `src/common`."""
    paths = [
        directory / "config.yaml",
        *directory.glob("*.Dockerfile"),
        *directory.glob("deploy/*"),
    ]
    return "".join(path.read_text() for path in paths if path.is_file())


def is_module(source: Path, name: str) -> bool:
    path = source.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


SETTING = re.compile(r"^    (\w+): ?(.*)$")  # of `serving` and of `model`
EDIT = "    {}: edited  # by its owner"


@pytest.mark.parametrize("framework", ["sklearn", "keras"])
def test_any_edited_setting_stays_without_a_conflict(
    template: Path, tmp_path: Path, framework: str
) -> None:
    """A new setting in the template must not stand beside one that an owner edits."""
    answers = {"framework": framework, "server": "kserve"}
    old, new = (config_of(template, tag, answers, tmp_path / tag) for tag in (OLD, NEW))
    lines = old.splitlines()
    settings = [index for index, line in enumerate(lines) if SETTING.match(line)]
    assert len(settings) > 15
    for index in settings:
        edit = EDIT.format(SETTING.match(lines[index])[1])  # type: ignore[index]
        edited = [*lines[:index], edit, *lines[index + 1 :]]
        merged = three_way(old, "\n".join(edited) + "\n", new, tmp_path)
        assert edit in merged.splitlines() and "<<<<" not in merged, edit


def config_of(template: Path, tag: str, answers: dict[str, str], place: Path) -> str:
    place.mkdir()
    render(answers, place, Source(str(template), tag))
    return (place / "config.yaml").read_text()


def three_way(base: str, ours: str, theirs: str, place: Path) -> str:
    """What git merges."""
    texts = {"ours": ours, "base": base, "theirs": theirs}
    for name, text in texts.items():
        (place / name).write_text(text)
    command = ["git", "merge-file", "--stdout", *texts]
    return subprocess.run(command, cwd=place, capture_output=True, text=True).stdout


@pytest.mark.sweep
def test_pretend_changes_nothing(
    cases: Callable[[str], Case], copied: Callable[[Case, str], Path]
) -> None:
    directory = copied(cases("sklearn-kserve"), "ours")
    before = tree(directory)
    scaffold = generator.load(directory)
    report = scaffold.update(pretend=True)
    assert tree(directory) == before
    assert report == scaffold.update()


@pytest.mark.sweep
def test_an_edited_file_that_has_moved_stays_and_is_reported(
    cases: Callable[[str], Case], copied: Callable[[Case, str], Path]
) -> None:
    """It has no effect any more: the server imports the file in the new folder."""
    case = cases("sklearn-kserve")
    directory = copied(case, "ours")
    for name in (*MOVED, "src/common/logs.py"):
        with (directory / name).open("a") as file:
            file.write("OURS = True\n")
    commit(directory)
    with contextlib.closing(generator.load(directory)) as scaffold:
        report = scaffold.update()
        assert (
            report.kept == MOVED and "src/common/logs.py" in report.merged and not report.conflicts
        )
        for name in (*MOVED, "src/common/logs.py"):
            assert (directory / name).read_text().endswith("OURS = True\n")
        assert scaffold.predict(case.rows) == case.answer


def test_a_missing_history_is_an_error_with_a_fix() -> None:
    with pytest.raises(pytest.fail.Exception, match="git fetch --unshallow"):
        archived("0" * 40, Path("nowhere"))
