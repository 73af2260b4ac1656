"""`copier update` of edited scaffolds, whichever way they were made.

The first version of the template is a snapshot of this working tree. Later versions are commits on
top of it.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import plumbum
import pytest
import yaml
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import generator
from generator import Scaffold, ScaffoldError, TemplateError, Update, UpdateError
from generator.layout import ANSWERS
from generator.rendering.answers import Answers
from generator.rendering.render import checked_out, named_template, public_address
from support.rendering.checkouts import ROOT, VERSION, commit, git
from support.servers.running import LOCKS

BIN = Path(sys.executable).parent
FIRST, SECOND, THIRD = f"v{VERSION}", "v90.0.0", "v91.0.0"
OWNED = "src/server/inference_model.py"
LOCK = "server-requirements.txt"
CLASS = '"""A scikit-learn model, or whatever else has its `predict`."""'
ROWS = np.random.default_rng(0).normal(size=(30, 3))
LABELS = (ROWS.sum(axis=1) > 0).astype(int)
# What SECOND and THIRD change in template/: old and new texts, which | separates, by file.
CHANGES: dict[str, dict[str, tuple[str, str]]] = {
    SECOND: {
        "src/common/logs.py": ("import json\n", "import json  # newer\n"),
        "src/server/{% if framework == 'sklearn' %}inference_model.py{% endif %}": (
            f"import joblib  # type: ignore[import-untyped, unused-ignore]\n|{CLASS}",
            "import joblib  # type: ignore[import-untyped, unused-ignore]\nimport numpy as np\n|"
            '"""A newer model."""',
        ),
        "README.md.jinja": ("## Updating\n", "## Keeping it fresh\n"),
        "config.yaml.jinja": (
            "    # A log line for every request.\n",
            "    # One log line for every request.\n",
        ),
        "requirements.txt.jinja": ("yours to edit: /opt/model", "yours to change: /opt/model"),
        "{{ framework }}-server.Dockerfile.jinja": (
            "USER 10001:10001\n",
            "USER 10001:10001\nSTOPSIGNAL SIGTERM\n",
        ),
        LOCKS["kserve"].name: ("# The template owns this file:", "# This file is the template's:"),
    },
    THIRD: {
        "src/common/logs.py": ("import json  # newer\n", "import json  # newest\n"),
        "README.md.jinja": ("## Running it\n", "## Running the server\n"),
    },
}
MAKE = """
    import numpy as np, generator
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(0).normal(size=(30, 3))
    model = LogisticRegression().fit(rows, (rows.sum(axis=1) > 0).astype(int))
    generator.from_model(model, "made", sample_input=rows)
"""


@dataclass(frozen=True)
class Releases:
    """A template with three versions, and a scaffold of the first made in each way.

    Attributes:
        template: its repository.
        made: the scaffold, by the way in which it was made.
    """

    template: Path
    made: dict[str, Path]


@pytest.fixture(scope="session")
def releases(
    repository: Path, installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Releases:
    place = tmp_path_factory.mktemp("releases")
    template = shutil.copytree(
        repository, place / "template", symlinks=True, ignore=shutil.ignore_patterns("dist")
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    made = {way: place / way / "made" for way in ("copy", "checkout", "wheel")}
    for directory in made.values():
        directory.parent.mkdir()
    for way, python, environ in [
        ("checkout", [sys.executable], clean | {"PYTHONPATH": str(template)}),
        ("wheel", [installed, "-I"], clean),
    ]:
        command = [*python, "-c", textwrap.dedent(MAKE)]
        done = subprocess.run(
            command, cwd=made[way].parent, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    command = [BIN / "copier", "copy", "--quiet", "--defaults", template, made["copy"]]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copy(made["wheel"] / "src" / "model" / "model.joblib", made["copy"] / "src" / "model")
    for version, changes in CHANGES.items():
        for name, (old, new) in changes.items():
            change(template / "template" / name, old, new)
        (template / "template" / "src" / "common" / f"since_{version[1:3]}.py").write_text(
            '"""New."""\n'
        )
        if version == THIRD:
            (template / "template" / "src" / "common" / f"since_{SECOND[1:3]}.py").unlink()
        commit(template, version)
    return Releases(template, made)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    for before, after in zip(old.split("|"), new.split("|"), strict=True):
        assert text.count(before) == 1, (path, before)
        text = text.replace(before, after)
    path.write_bytes(text.encode())


@pytest.fixture
def public(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Redirect the template's public address to the repository of this test."""
    environ = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{releases.template}.insteadOf",
        "GIT_CONFIG_VALUE_0": public_address(),
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with plumbum.local.env(**environ):  # copier's git keeps the environment of its import
        yield


@pytest.fixture
def owned(releases: Releases, public: None, tmp_path: Path) -> Iterator[Callable[..., Scaffold]]:
    """Copies a scaffold for one test, and commits it to git."""
    with contextlib.ExitStack() as stack:

        def owned(way: str = "wheel", directory: Path | None = None) -> Scaffold:
            directory = directory or tmp_path / "my_rfc"
            shutil.copytree(releases.made[way], directory)
            git(directory, "init", "--quiet")
            commit(directory)
            return stack.enter_context(contextlib.closing(generator.load(directory)))

        yield owned


def read(scaffold: Scaffold, name: str) -> str:
    return (scaffold.directory / name).read_text()


def version_of(scaffold: Scaffold) -> str:
    return str(yaml.safe_load(read(scaffold, ANSWERS))["_commit"])


def copier(scaffold: Scaffold, *arguments: str) -> None:
    command = [str(BIN / "copier"), "update", "--defaults", *arguments]
    done = subprocess.run(command, cwd=scaffold.directory, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- what owners do ----


def unedited(scaffold: Scaffold) -> None:
    pass


def scaler(scaffold: Scaffold) -> None:
    """The edit of the tutorial: a scaler."""
    joblib.dump(
        StandardScaler().fit(ROWS * 3), scaffold.directory / "src" / "data" / "scaler.joblib"
    )
    change(
        scaffold.directory / OWNED,
        '        self._model = fast_path|inputs = self._signature.inputs(request["instances"])',
        '        self._scaler = joblib.load("data/scaler.joblib")\n        self._model = fast_path|'
        'inputs = self._scaler.transform(self._signature.inputs(request["instances"]))',
    )


def requirement(scaffold: Scaffold) -> None:
    with (scaffold.directory / "requirements.txt").open("a") as file:
        file.write("rich==14.0.0\n")


def deleted_readme(scaffold: Scaffold) -> None:
    (scaffold.directory / "README.md").unlink()


def dockerfile(scaffold: Scaffold) -> None:
    change(
        scaffold.directory / "sklearn-server.Dockerfile",
        "WORKDIR /app\n",
        "RUN echo mine\nWORKDIR /app\n",
    )


def renamed(scaffold: Scaffold) -> None:
    change(scaffold.directory / "config.yaml", 'model_name: "model"', 'model_name: "iris"')


def all_of_them(scaffold: Scaffold) -> None:
    for edit in (scaler, requirement, deleted_readme, dockerfile, renamed):
        edit(scaffold)
    (scaffold.directory / "src" / "model" / "features.py").write_text("WIDTH = 3\n")
    (scaffold.directory / "notes.txt").write_text("mine\n")


def same_line(scaffold: Scaffold) -> None:
    change(scaffold.directory / OWNED, CLASS, '"""My own words."""')


SIGNS = {
    scaler: (OWNED, "self._scaler.transform("),
    requirement: ("requirements.txt", "\nrich==14.0.0\n"),
    dockerfile: ("sklearn-server.Dockerfile", "RUN echo mine\n"),
    renamed: ("config.yaml", 'model_name: "iris"'),
}
COMPATIBLE = (unedited, scaler, requirement, deleted_readme, dockerfile, renamed)


def assert_updated(scaffold: Scaffold, edit: Any, to: str, predictions: Any) -> None:
    """The scaffold has the changes of the template and of the owner, and no others."""
    edits: tuple[Any, ...] = (edit,)
    if edit is all_of_them:
        edits = COMPATIBLE[1:]
    assert version_of(scaffold) == to
    comment = {SECOND: "newer", THIRD: "newest"}[to]
    assert f"import json  # {comment}\n" in read(scaffold, "src/common/logs.py")
    assert "import numpy as np\n" in read(scaffold, OWNED)
    assert "STOPSIGNAL SIGTERM\n" in read(scaffold, "sklearn-server.Dockerfile")
    assert "# One log line" in read(scaffold, "config.yaml") and "yours to change" in read(
        scaffold, "requirements.txt"
    )
    assert "# This file is the template's:" in read(scaffold, LOCK)
    for name, sign in (SIGNS[edit] for edit in edits if edit in SIGNS):
        assert sign in read(scaffold, name)
    assert (scaffold.directory / "README.md").exists() == (deleted_readme not in edits)
    touched = {
        line[3:]: line[:2] for line in git(scaffold.directory, "status", "--porcelain").splitlines()
    }
    assert not [name for name in touched if name.startswith(("src/model", "src/data"))]
    assert set(touched.values()) <= {" M", "??"}, touched  # nothing is deleted
    assert [name for name, state in touched.items() if state == "??"] == [
        f"src/common/since_{to[1:3]}.py"
    ]
    assert scaffold.predict(ROWS)["predictions"] == predictions


def run_update(scaffold: Scaffold, edit: Any, to: str, update: Callable[[], Any]) -> None:
    edit(scaffold)
    if edit is not unedited:
        commit(scaffold.directory)
    predictions = scaffold.predict(ROWS)["predictions"]
    update()
    assert_updated(scaffold, edit, to, predictions)


WAYS = ("copy", "checkout", "wheel")


def ways(fast: str) -> pytest.MarkDecorator:
    """Each way to make a scaffold: one of them, and the others in the sweep."""
    slow = [pytest.param(way, marks=pytest.mark.sweep) for way in WAYS if way != fast]
    return pytest.mark.parametrize("way", [fast, *slow])


@ways("copy")
def test_update_with_every_edit(owned: Callable[..., Scaffold], way: str) -> None:
    scaffold = owned(way)
    run_update(scaffold, all_of_them, THIRD, scaffold.update)
    assert (
        read(scaffold, "src/model/features.py") == "WIDTH = 3\n"
        and read(scaffold, "notes.txt") == "mine\n"
    )
    predictions = scaffold.predict(ROWS)
    with scaffold.serve(port=0) as server:
        assert (
            httpx.post(server.predict_url, json={"instances": ROWS.tolist()}, timeout=30).json()
            == predictions
        )


@pytest.mark.sweep
@ways("copy")
def test_plain_copier_with_every_edit(owned: Callable[..., Scaffold], way: str) -> None:
    scaffold = owned(way)
    run_update(scaffold, all_of_them, SECOND, lambda: copier(scaffold, "--vcs-ref", SECOND))


# Each edit with both tools, each tool with both versions and with all ways.
SINGLE_EDITS = [
    pytest.param(
        way, edit, to, plain, id=f"{edit.__name__}-{way}-{'copier' if plain else 'update'}"
    )
    for index, edit in enumerate(COMPATIBLE)
    for plain, to in ((bool(index % 2), SECOND), (not index % 2, THIRD))
    for way in (WAYS[(index + plain) % len(WAYS)],)
]


@pytest.mark.sweep
@pytest.mark.parametrize(("way", "edit", "to", "plain"), SINGLE_EDITS)
def test_every_single_edit(
    owned: Callable[..., Scaffold], way: str, edit: Any, to: str, plain: bool
) -> None:
    scaffold = owned(way)

    def update() -> None:
        if plain:
            copier(scaffold, "--vcs-ref", to)
        else:
            scaffold.update(to.removeprefix("v"))

    run_update(scaffold, edit, to, update)


@pytest.mark.sweep
def test_two_updates_one_after_the_other(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned()
    run_update(scaffold, all_of_them, SECOND, lambda: scaffold.update("90.0.0"))
    commit(scaffold.directory)
    report = scaffold.update()
    assert (report.before, report.after, report.removed) == (
        SECOND,
        THIRD,
        ("src/common/since_90.py",),
    )
    assert version_of(scaffold) == THIRD


@pytest.mark.sweep
def test_an_update_after_retraining(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned("checkout")
    requirement(scaffold)
    renamed(scaffold)
    model = LogisticRegression(C=0.1).fit(ROWS, LABELS)
    scaffold.replace_model(model)
    commit(scaffold.directory)
    report = scaffold.update()
    assert not report.conflicts and "requirements.txt" in report.merged
    assert "\nrich==14.0.0\n" in read(scaffold, "requirements.txt")
    assert scaffold.predict(ROWS)["predictions"] == model.predict(ROWS).tolist()


@pytest.mark.sweep
def test_the_report(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned()
    all_of_them(scaffold)
    commit(scaffold.directory)
    report = scaffold.update(pretend=True)
    assert report == Update(
        before=FIRST,
        after=THIRD,
        changed=(LOCK, "src/common/logs.py"),
        added=("src/common/since_91.py",),
        merged=("config.yaml", "requirements.txt", "sklearn-server.Dockerfile", OWNED),
    )
    assert not git(scaffold.directory, "status", "--porcelain") and version_of(scaffold) == FIRST
    assert scaffold.update() == report
    assert str(report).splitlines() == [
        f"from the template's {FIRST} to {THIRD}:",
        f"  changed   {LOCK}",
        "  changed   src/common/logs.py",
        "  added     src/common/since_91.py",
        "  merged    config.yaml",
        "  merged    requirements.txt",
        "  merged    sklearn-server.Dockerfile",
        f"  merged    {OWNED}",
    ]
    commit(scaffold.directory)
    assert str(scaffold.update()) == f"from the template's {THIRD} to {THIRD}: no file changes"
    assert not git(scaffold.directory, "status", "--porcelain")


@pytest.mark.parametrize(
    "plain", [False, pytest.param(True, marks=pytest.mark.sweep)], ids=["update", "copier"]
)
@ways("copy")
def test_a_conflict_leaves_both_sides(
    owned: Callable[..., Scaffold], way: str, plain: bool
) -> None:
    scaffold = owned(way)
    same_line(scaffold)
    requirement(scaffold)
    commit(scaffold.directory)
    if plain:
        copier(scaffold)
    else:
        assert scaffold.update().conflicts == (OWNED,)
    text = read(scaffold, OWNED)
    marked = text[text.index("<<<<<<< ") : text.index(">>>>>>> ")]
    assert '"""My own words."""' in marked and '"""A newer model."""' in marked
    assert (
        "\nrich==14.0.0\n" in read(scaffold, "requirements.txt") and "import numpy as np\n" in text
    )
    change(scaffold.directory / OWNED, marked, '    """My own words."""\n')
    change(scaffold.directory / OWNED, text[text.index(">>>>>>> ") :].split("\n")[0] + "\n", "")
    assert scaffold.predict(ROWS)["predictions"]


def test_the_lock_is_replaced_and_the_models_pins_stay(
    owned: Callable[..., Scaffold], releases: Releases, tmp_path: Path
) -> None:
    """A security fix needs one command."""
    template = shutil.copytree(releases.template, tmp_path / "template", symlinks=True)
    with (template / "template" / LOCKS["kserve"].name).open("a") as file:
        file.write("msgspec==0.19.0\n")
    commit(template, "v92.0.0")
    scaffold = owned()
    lock = scaffold.directory / LOCK
    lock.write_text(
        "kserve==0.0.1\n"
        + lock.read_text().replace("# The template owns this file:", "# I own this:")
    )
    commit(scaffold.directory)
    pins = {line for line in read(scaffold, "requirements.txt").splitlines() if "==" in line}
    report = scaffold.update(template=str(template))
    kserve = report.server["kserve"]
    assert (
        report.lock_was_edited
        and LOCK in report.changed
        and kserve == (f"0.0.1, {kserve[1]}", kserve[1])
    )
    assert "  server    msgspec (none) -> 0.19.0\n" in str(
        report
    ) and "  server    kserve 0.0.1, " in str(report)
    assert "your edits of server-requirements.txt were replaced" in str(report)
    assert lock.read_bytes() == (template / "template" / LOCKS["kserve"].name).read_bytes()
    assert {
        line for line in read(scaffold, "requirements.txt").splitlines() if "==" in line
    } == pins


@pytest.mark.sweep
def test_an_edited_file_that_the_template_removes_stays(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned()
    scaffold.update("90.0.0")
    (scaffold.directory / "src" / "common" / "since_90.py").write_text("MINE = 1\n")
    commit(scaffold.directory)
    assert scaffold.update().kept == ("src/common/since_90.py",)
    assert read(scaffold, "src/common/since_90.py") == "MINE = 1\n"


@pytest.mark.parametrize(
    ("edit", "conflicts"),
    [
        pytest.param(all_of_them, (), id="merged"),
        pytest.param(same_line, (OWNED,), id="conflict"),
    ],
)
@pytest.mark.sweep
def test_the_line_endings_of_windows_stay(
    owned: Callable[..., Scaffold], edit: Any, conflicts: tuple[str, ...]
) -> None:
    scaffold = owned()
    edit(scaffold)
    endings = [OWNED, "requirements.txt", "config.yaml", "sklearn-server.Dockerfile"]
    for name in endings:
        file = scaffold.directory / name
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    commit(scaffold.directory)
    report = scaffold.update()
    assert report.conflicts == conflicts
    for name in endings:
        content = (scaffold.directory / name).read_bytes()
        assert content.count(b"\n") == content.count(b"\r\n") > 10
    if edit is all_of_them:
        assert_updated(scaffold, edit, THIRD, scaffold.predict(ROWS)["predictions"])


@pytest.mark.sweep
@pytest.mark.parametrize("plain", [False, True], ids=["update", "copier"])
def test_a_scaffold_inside_a_larger_repository(
    owned: Callable[..., Scaffold], tmp_path: Path, plain: bool
) -> None:
    """Its path has a space, an ampersand and letters that are not ASCII."""
    outer = tmp_path / "größer & mehr"
    scaffold = owned("checkout", outer / "models" / "my rfc é")
    shutil.rmtree(scaffold.directory / ".git")
    (outer / "other.txt").write_text("not in the scaffold\n")
    git(outer, "init", "--quiet")
    commit(outer)
    all_of_them(scaffold)
    commit(outer)
    if not plain:
        (outer / "other.txt").write_text("uncommitted, outside the scaffold\n")
        scaffold.update()
    else:
        copier(scaffold)
    assert "import json  # newest\n" in read(scaffold, "src/common/logs.py")
    assert "self._scaler.transform(" in read(scaffold, OWNED) and "import numpy as np\n" in read(
        scaffold, OWNED
    )
    assert not (scaffold.directory / "README.md").exists()


@pytest.mark.sweep
def test_a_model_that_git_ignores_stays(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned()
    with (scaffold.directory / ".gitignore").open("a") as file:
        file.write("/src/model/model.joblib\n")
    git(scaffold.directory, "rm", "--quiet", "--cached", "src/model/model.joblib")
    commit(scaffold.directory)
    expected = scaffold.predict(ROWS)
    scaffold.update()
    assert scaffold.predict(ROWS) == expected


@pytest.mark.sweep
def test_the_model_and_the_data_never_change(
    owned: Callable[..., Scaffold], releases: Releases, tmp_path: Path
) -> None:
    template = shutil.copytree(releases.template, tmp_path / "template", symlinks=True)
    source = template / "template" / "src"
    (source / "model" / "__init__.py").write_text('"""Newer."""\n')
    (source / "data" / "more.txt").write_text("more\n")
    commit(template, "v92.0.0")
    scaffold = owned("checkout")
    (scaffold.directory / "src" / "data" / ".gitkeep").unlink()
    commit(scaffold.directory)
    assert scaffold.update(template=str(template)).after == "v92.0.0"
    assert (
        "src/model" not in (status := git(scaffold.directory, "status", "--porcelain"))
        and "src/data" not in status
    )


@pytest.mark.sweep
def test_git_and_copier_are_enough(owned: Callable[..., Scaffold], tmp_path: Path) -> None:
    """The oldest copier that the template supports, and the command in a scaffold's README."""
    oldest = yaml.safe_load((ROOT / "copier.yml").read_text())["_min_copier_version"]
    assert f'"copier>={oldest.removesuffix(".0")},<10"' in (ROOT / "pyproject.toml").read_text()
    scaffold = owned("wheel")
    bare = tmp_path / "bare"
    uv = BIN / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, bare], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", bare / "bin" / "python", f"copier=={oldest}"],
        check=True,
    )
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    environ["PATH"] = os.pathsep.join(
        [str(bare / "bin"), str(Path(shutil.which("git") or "git").parent)]
    )
    done = subprocess.run(
        ["copier", "update", "--defaults"],
        cwd=scaffold.directory,
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert version_of(scaffold) == THIRD and scaffold.predict(ROWS)["predictions"]


# ---- errors ----


def refused(error: Any, message: str, update: Callable[[], Any]) -> None:
    with pytest.raises(error, match=message) as raised:
        update()
    assert "\n" not in str(raised.value)


def test_refuses_uncommitted_changes(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned()
    (scaffold.directory / "notes.txt").write_text("mine\n")
    change(scaffold.directory / OWNED, CLASS, '"""Mine."""')
    committing = f"run git -C {scaffold.directory} add -A && git -C {scaffold.directory} commit -m"
    refused(
        UpdateError,
        rf"has uncommitted changes \({OWNED}, notes.txt\): {committing}",
        scaffold.update,
    )
    shutil.rmtree(scaffold.directory / ".git")
    refused(
        UpdateError,
        f"is not in git: run git -C {scaffold.directory} init && git -C",
        scaffold.update,
    )
    git(scaffold.directory.parent, "init", "--quiet")
    refused(
        UpdateError,
        f"is not committed to the git repository around it: {committing}",
        scaffold.update,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            None,
            ".copier-answers.yml is missing, which records what the scaffold was made from: "
            "bring it back with `git",
        ),
        ("[", ".copier-answers.yml cannot be read: while parsing"),
        ("- a\n", ".copier-answers.yml holds no answers: bring it back"),
        (
            "_src_path: x\n",
            ".copier-answers.yml: _commit must be a string, it is None; bring it back",
        ),
        ("_commit: 7\n_src_path: x\n", ".copier-answers.yml: _commit must be a string, it is 7"),
        (
            "_commit: v1\n_src_path: /nowhere\n",
            "there is no template at /nowhere: name it as template",
        ),
        (
            "_commit: v1\n_src_path: /nowhere/x.git\n",
            "the template at /nowhere/x.git|no template at /nowhere/x.git",
        ),
    ],
)
def test_refuses_broken_answers(
    owned: Callable[..., Scaffold], text: str | None, message: str
) -> None:
    scaffold = owned()
    file = scaffold.directory / ANSWERS
    file.unlink()
    if text is not None:
        file.write_text(text)
    commit(scaffold.directory)
    refused(ScaffoldError, message, scaffold.update)


def test_refuses_edited_answers(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned()
    change(scaffold.directory / ANSWERS, "framework: sklearn", "framework: caffe")
    commit(scaffold.directory)
    refused(ScaffoldError, "framework.*caffe", scaffold.update)
    change(scaffold.directory / ANSWERS, "framework: caffe", "framework: sklearn")
    change(scaffold.directory / ANSWERS, f"_commit: {FIRST}", "_commit: v0.0.9.dev3")
    commit(scaffold.directory)
    refused(
        TemplateError,
        "has no version 'v0.0.9.dev3': name a tag that it has; a version in development has none; "
        r"the scaffold was made from its v0.0.9.dev3 \(_commit in .copier-answers.yml\)$",
        scaffold.update,
    )
    assert not git(scaffold.directory, "status", "--porcelain")


def test_refuses_versions_that_do_not_exist(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned()
    refused(
        TemplateError,
        "the template at .* has no version 'v77.0.0': .* development has none$",
        lambda: scaffold.update("77.0.0"),
    )
    address = "http://127.0.0.1:9/scaffold.git"
    refused(
        TemplateError,
        f"the template at {address} cannot be read: git says",
        lambda: scaffold.update(template=address),
    )
    assert not git(scaffold.directory, "status", "--porcelain")


@pytest.mark.sweep
def test_refuses_to_downgrade(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned()
    scaffold.update()
    commit(scaffold.directory)
    refused(
        UpdateError, "You are downgrading from 91.0.0 to 90.0.0", lambda: scaffold.update("90.0.0")
    )


@pytest.mark.sweep
def test_an_interrupt_changes_nothing(
    owned: Callable[..., Scaffold], monkeypatch: pytest.MonkeyPatch
) -> None:
    scaffold = owned()
    all_of_them(scaffold)
    commit(scaffold.directory)
    replace, calls = os.replace, []

    def interrupted(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == 7:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scaffold.update()
    assert len(calls) > 7 and not git(scaffold.directory, "status", "--porcelain")
    assert version_of(scaffold) == FIRST


# ---- the address of the template ----


@pytest.mark.sweep
def test_another_template(
    releases: Releases, forest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = generator.from_model(
        forest, tmp_path / "named", template=str(releases.template), ref=SECOND
    )
    answers = yaml.safe_load(read(made, ANSWERS))
    assert (answers["_src_path"], answers["_commit"]) == (str(releases.template), SECOND)
    monkeypatch.setenv("SCAFFOLD_TEMPLATE", str(releases.template))
    assert version_of(generator.new(tmp_path / "latest")) == THIRD
    monkeypatch.setenv("SCAFFOLD_REF", SECOND)
    assert version_of(generator.new(tmp_path / "second")) == SECOND
    refused(TemplateError, "has no version 'v5'", lambda: generator.new(tmp_path / "no", ref="v5"))
    assert not (tmp_path / "no").exists()


@pytest.mark.sweep
def test_a_template_that_has_moved(
    owned: Callable[..., Scaffold], releases: Releases, tmp_path: Path
) -> None:
    scaffold = owned("checkout")
    moved = shutil.copytree(releases.template, tmp_path / "moved", symlinks=True)
    scaffold.update(template=str(moved))
    assert yaml.safe_load(read(scaffold, ANSWERS))["_src_path"] == str(moved)


@pytest.mark.sweep
def test_a_scaffold_of_a_checkout_with_changes_names_its_commit(
    repository: Path, tmp_path: Path
) -> None:
    """It has the files that git tracks or would track, as they are now."""
    dirty = shutil.copytree(repository, tmp_path / "dirty", symlinks=True)
    common = dirty / "template" / "src" / "common"
    change(common / "logs.py", "import json\n", "import json  # dirty\n")
    (common / "newer.py").touch()
    (common / ".mypy_cache").mkdir()
    (common / ".mypy_cache" / "ignored.py").touch()
    (common / "health.py").unlink()
    code = "import generator; generator.new('made', platforms=['ray'])"
    environ = os.environ | {"PYTHONPATH": str(dirty)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, check=True)
    made = tmp_path / "made"
    answers = Answers.read(made)
    assert (answers.template, answers.version) == (str(dirty), FIRST)
    files = made / "src" / "common"
    assert "# dirty" in (files / "logs.py").read_text() and (files / "newer.py").exists()
    assert not (files / ".mypy_cache").exists() and not (files / "health.py").exists()


def test_scaffolds_made_in_threads(tmp_path: Path) -> None:
    """copier changes the working directory and the PATH of the process."""
    place, path = Path.cwd(), plumbum.local.env["PATH"]
    with ThreadPoolExecutor() as threads:
        made = list(threads.map(generator.new, [tmp_path / "one", tmp_path / "two"]))
    assert [version_of(scaffold) for scaffold in made] == [checked_out()] * 2
    assert (Path.cwd(), plumbum.local.env["PATH"]) == (place, path)


# ---- the command line ----


@pytest.mark.sweep
def test_command_line(owned: Callable[..., Scaffold]) -> None:
    scaffold = owned()
    same_line(scaffold)
    commit(scaffold.directory)

    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "generator", "update", str(scaffold.directory), *options]
        return subprocess.run(command, capture_output=True, text=True)

    pretended = run("--pretend")
    assert (pretended.returncode, pretended.stderr) == (0, "")
    assert f"  conflicts {OWNED}\n" in pretended.stdout and version_of(scaffold) == FIRST
    assert run("--to", "89").stderr.startswith("error: the template at ")
    done = run("--to", "90.0.0")
    assert (done.returncode, done.stdout) == (
        1,
        pretended.stdout.replace(THIRD, SECOND).replace("since_91", "since_90"),
    )
    assert done.stderr == (
        f"error: {OWNED}: your lines and the template's are both there, between conflict"
        " markers: choose, then commit\n"
    )


def test_a_template_in_a_directory_is_recorded_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update runs in another directory. Other addresses stay as they are."""
    (tmp_path / "ours").mkdir()
    monkeypatch.chdir(tmp_path)
    assert named_template("ours") == str(tmp_path / "ours")
    monkeypatch.setenv("SCAFFOLD_TEMPLATE", "./ours")
    assert named_template(None) == str(tmp_path / "ours")
    assert named_template("gh:org/scaffold") == "gh:org/scaffold"
