"""The wheel: its content, and a working scaffold that it makes without this repository."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator.rendering.render import public_address
from support.rendering.checkouts import ROOT, VERSION, call, commit, git

pytestmark = pytest.mark.sweep

BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def made(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A scaffold that the installed generator made and verified, and what it printed."""
    directory = tmp_path_factory.mktemp("outside")
    code = """
        import json, generator
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression

        x, y = load_iris(return_X_y=True)
        model = LogisticRegression(max_iter=1000).fit(x, y)
        scaffold = generator.from_model(model, "test_rfc", sample_input=x[:5])
        print(json.dumps({
            "file": generator.__file__,
            "served": scaffold.predict(x)["predictions"],
            "expected": model.predict(x).tolist(),
            "verified": bool(generator.load("test_rfc").verify()),
        }))
        scaffold.close()
    """
    printed = call([str(installed), "-I", "-W", "error", "-c", textwrap.dedent(code)], directory)
    return directory / "test_rfc", json.loads(printed)


def tracked(repository: Path, directory: str) -> set[str]:
    return {name for name in git(repository, "ls-files", "-z", directory).split("\0") if name}


def test_wheel_holds_only_the_generator(wheel: Path, repository: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    inside = {
        name for name in names if not name.startswith(f"scaffold_generator-{VERSION}.dist-info/")
    }
    generator = tracked(repository, "generator") - {"generator/hooks", "generator/template"}
    hooks = {f"generator/{name}" for name in tracked(repository, "hooks")}
    template = {f"generator/{name}" for name in tracked(repository, "template")}
    assert {"generator/template/.dockerignore", "generator/template/src/data/.gitkeep"} <= template
    assert inside == generator | hooks | template | {"generator/copier.yml"}


def test_metadata_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        information = f"scaffold_generator-{VERSION}.dist-info"
        text = archive.read(f"{information}/METADATA").decode()
        assert archive.read(f"{information}/entry_points.txt").decode().split("\n")[:2] == [
            "[console_scripts]",
            "scaffold = generator.__main__:main",
        ]
        assert f"{information}/licenses/LICENSE" in archive.namelist()
    assert f"Version: {VERSION}\n" in text and "License-Expression: Apache-2.0\n" in text
    for framework in ("scikit-learn", "kserve", "torch", "tensorflow"):
        assert f"Requires-Dist: {framework}" not in text


def test_sdist_holds_what_the_wheel_needs(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "copier.yml",
        "generator/template/.dockerignore",
        "generator/hooks/scikit/sklearn.py",
        "pyproject.toml",
    } <= names
    assert not [name for name in names if name.startswith(("hooks/", "template/", ".git/"))]


@pytest.mark.sweep
def test_installed_generator_makes_a_working_scaffold(
    made: tuple[Path, dict[str, Any]], installed: Path
) -> None:
    directory, printed = made
    assert (
        printed["file"].startswith(str(installed.parents[1])) and str(ROOT) not in printed["file"]
    )
    assert printed["served"] == printed["expected"] and printed["verified"]
    assert [path.name for path in directory.parent.iterdir()] == ["test_rfc"]


# In src/common/, for other frameworks than scikit-learn, or with CI.
OF_OTHERS = ("outputs", "pipelines", "documents", "tensorflow_start", "verify")


@pytest.mark.sweep
def test_installed_scaffold_has_the_files_of_the_checkout(
    made: tuple[Path, dict[str, Any]], repository: Path
) -> None:
    """Every file of the template that needs no rendering is equal, dotfiles too."""
    directory, _ = made
    others = {f"src/common/{name}.py" for name in OF_OTHERS}
    others |= {f"deploy/{name}" for name in ("ray_app.py", "ray-requirements.txt")}
    modules = (
        "cloud_events",
        "fallback_routes",
        "kfserving_application",
        "standalone_application",
        "tornado_asgi",
    )
    others |= {f"src/common/serving/applications/{name}.py" for name in modules}
    assert not [name for name in others if (directory / name).exists()]
    plain = [
        name.removeprefix("template/")
        for name in tracked(repository, "template")
        if "{" not in name
    ]
    assert others < set(plain)
    for name in plain:
        if not name.endswith(".jinja") and name not in others:
            assert (directory / name).read_bytes() == (repository / "template" / name).read_bytes()


def test_answers_name_the_public_template(made: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = made
    answers = yaml.safe_load((directory / ".copier-answers.yml").read_text())
    assert answers["_src_path"] == public_address() and answers["_commit"] == f"v{VERSION}"
    assert answers["model_name"] == "model" and "scikit-learn==" in answers["requirements"]


def test_make_release_checks_first(repository: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(repository, tmp_path / "scaffold", symlinks=True)

    def message() -> str:
        done = subprocess.run(["make", "release"], cwd=copy, capture_output=True, text=True)
        assert done.returncode and not (copy / ".venv").exists()
        return done.stderr.splitlines()[0]

    assert message() == f"v{VERSION} has been released: raise version in pyproject.toml"
    git(copy, "tag", "--delete", f"v{VERSION}")
    text = (copy / "CHANGELOG.md").read_text()
    heading = rf"(?m)^## .*{re.escape(VERSION)}.*$"
    (copy / "CHANGELOG.md").write_text(re.sub(heading, "## Unreleased", text))
    commit(copy)
    assert message().startswith(
        f"CHANGELOG.md needs the heading '## {VERSION} (DATE)' and, under it, '### For owners"
    )
    (copy / "CHANGELOG.md").write_text("# Changelog\n")
    assert message() == "there are uncommitted changes: commit them"


def test_console_script(made: tuple[Path, dict[str, Any]], installed: Path) -> None:
    script = str(installed.with_name("scaffold"))
    assert "SOURCE DIRECTORY" in call([script, "new", "--help"], made[0])
    answered = call([script, "predict", ".", "[[6, 3, 5, 2]]"], made[0])
    assert json.loads(answered) == {"predictions": [2]}


SCRIPT = """
    from typing import Any, assert_type

    import generator

    scaffold = generator.from_model(object(), "made", sample_input=[[1, 2]])
    assert_type(scaffold, generator.Scaffold)
    assert_type(scaffold.predict([[1, 2]]), dict[str, Any])
    assert_type(scaffold.verify(), generator.Verification)
    assert_type(scaffold.update(pretend=True), generator.Update)
    with generator.load("made").serve(port=0) as server:
        assert_type(server.predict_url, str)
"""


def mypy(script: str, python: Path, directory: Path) -> str:
    """The output of `mypy --strict` for a script, with the packages of an interpreter."""
    (directory / "script.py").write_text(textwrap.dedent(script))
    options = ["--strict", "--config-file=", "--cache-dir=cache", f"--python-executable={python}"]
    command = [str(BIN / "mypy"), *options, "script.py"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True).stdout


@pytest.mark.sweep
@pytest.mark.skipif(sys.version_info < (3, 11), reason="typing.assert_type needs Python 3.11")
def test_a_users_script_is_checked_strictly(installed: Path, tmp_path: Path) -> None:
    assert mypy(SCRIPT, installed, tmp_path) == "Success: no issues found in 1 source file\n"
    wrong = mypy(f"{SCRIPT}\n    scaffold.predict_all([[1, 2]])\n", installed, tmp_path)
    assert '"Scaffold" has no attribute "predict_all"' in wrong
