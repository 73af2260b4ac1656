"""A scaffold holds only what its framework, its server and its platforms use."""

import ast
import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

import common
import generator
from generator import SettingError
from generator.cli import main
from generator.layout import ANSWERS
from support.rendering.checkouts import ROOT, commit, git, rendered
from support.session.cases import first

QUESTIONS = yaml.safe_load((ROOT / "copier.yml").read_text())
FRAMEWORKS, SERVERS, PLATFORMS = (
    list(QUESTIONS[name]["choices"].values()) for name in ("framework", "server", "platforms")
)
# `make sweep` has the others.
USUAL = [("sklearn", "kserve")]
COMBINATIONS = [
    pytest.param(*both, marks=[] if both in USUAL else pytest.mark.sweep)
    for both in itertools.product(FRAMEWORKS, SERVERS)
]
DEFAULT = ["kubernetes", "kserve", "compose"]
CI = (
    ".github/workflows/image.yml.jinja",
    ".gitlab-ci.yml.jinja",
    "src/common/verify.py",
)
CARD = "model-card.md.jinja"
IN_CLUSTERS = {"kustomization.yaml", "podmonitor.yaml"}
FILES = {
    "kubernetes": {"kubernetes.yaml", "networkpolicy.yaml", *IN_CLUSTERS},
    "kserve": {"kserve.yaml", *IN_CLUSTERS},
    "compose": {"compose.yaml"},
    "ray": {"ray.yaml", "ray_app.py", "ray-requirements.txt"},
    "sagemaker": {"sagemaker.yaml"},
    "vertex": {"vertex.yaml"},
    "azureml": {"azureml-endpoint.yaml", "azureml-deployment.yaml"},
    "cloudrun": {"cloudrun.yaml"},
}
ADDED = {*IN_CLUSTERS, "networkpolicy.yaml"}  # by an update, where there are clusters
ENTRIES = (
    "inference_server.py",
    "common/worker/__main__.py",
    "common/health.py",
    "common/link/client.py",  # `scaffold.predict`
    "common/verify.py",  # CI
    "server/inference_model.py",
    "../deploy/ray_app.py",
)


def deployed(directory: Path) -> set[str]:
    """The names of the files in `deploy/`."""
    return {path.name for path in directory.glob("deploy/*")}


def answered(directory: Path) -> Any:
    return yaml.safe_load((directory / ANSWERS).read_text())["platforms"]


# ---- modules that nothing imports ----


def unused(directory: Path) -> list[str]:
    """The modules of `common` that no entry point imports, directly or indirectly."""
    source = directory / "src"
    modules = dict(_modules(source, "common")) | dict(_modules(source, "server"))
    waiting = list(_named_elsewhere(directory))
    for entry in ENTRIES:
        if (source / entry).exists():
            waiting += _imports(source / entry, ".".join(Path(entry).with_suffix("").parts))
    reached = {".".join(Path(entry).with_suffix("").parts) for entry in ENTRIES}
    while waiting:
        name = waiting.pop()
        if name in modules and name not in reached:
            reached.add(name)
            waiting += _imports(modules[name], name)
    return sorted(name for name in modules if name.startswith("common.") and name not in reached)


def _modules(source: Path, package: str) -> Iterator[tuple[str, Path]]:
    for path in (source / package).rglob("*.py"):
        parts = path.relative_to(source).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def _named_elsewhere(directory: Path) -> Iterator[str]:
    """The modules that the Dockerfile and config.yaml import."""
    for path in (*directory.glob("*.Dockerfile"), directory / "config.yaml"):
        yield from re.findall(r"\bcommon\.[a-z0-9_.]*[a-z0-9_]", path.read_text())


def _imports(file: Path, name: str) -> Iterator[str]:
    """The modules that a file imports, and their packages, but not the exports of `common`."""
    if name == "common":
        return
    package = name
    if file.name != "__init__.py":
        package = name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text())):
        for imported in _imported(node, package):
            parts = imported.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value  # the argument of import_module
    elif isinstance(node, ast.ImportFrom):
        base = _base(node, package)
        for alias in node.names:
            yield f"{base}.{alias.name}"
            if base == "common" and alias.name in common.MODULES:
                yield f"common.{common.MODULES[alias.name]}"


def _base(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of the module that `from` names."""
    if not node.level:
        return str(node.module)
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    if node.module:
        parts.append(node.module)
    return ".".join(parts)


@pytest.mark.parametrize(("framework", "server"), COMBINATIONS)
def test_every_module_is_imported(plain: Path, tmp_path: Path, framework: str, server: str) -> None:
    for name, platforms in (("none", []), ("all", PLATFORMS)):
        answers = {"framework": framework, "server": server, "platforms": platforms}
        assert unused(rendered(plain, tmp_path / name, **answers)) == [], answers


@pytest.mark.sweep
@pytest.mark.parametrize("server", SERVERS)
def test_every_module_is_imported_with_one_platform(
    plain: Path, tmp_path: Path, server: str
) -> None:
    for platform in PLATFORMS:
        answers = {"framework": "sklearn", "server": server, "platforms": [platform]}
        assert unused(rendered(plain, tmp_path / platform, **answers)) == [], answers


def test_a_module_that_nothing_imports_is_reported(plain: Path, tmp_path: Path) -> None:
    directory = rendered(plain, tmp_path / "keras", framework="keras")
    source = directory / "src" / "common"
    (source / "serving" / "leftover.py").write_text("from .. import dead\n")
    (source / "dead.py").write_text("from .config import Config\n")
    shutil.copy(ROOT / "template" / "src" / "common" / "threads.py", source)
    assert unused(directory) == ["common.dead", "common.serving.leftover", "common.threads"]
    with (source / "worker" / "flow.py").open("a") as file:
        file.write("\nfrom ..serving import leftover\n")
    with (directory / "src" / "server" / "inference_model.py").open("a") as file:
        file.write("\nfrom common import Threads\n")
    assert unused(directory) == []


# ---- what `common` exports ----


def python(directory: Path, code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=directory / "src", capture_output=True, text=True)


def test_common_exports_every_name(plain: Path, tmp_path: Path) -> None:
    names = ", ".join(name for name in common.MODULES if name != "Methods")
    directory = rendered(plain, tmp_path / "pytorch", framework="pytorch")
    done = python(directory, f"from common import {names}; print(Threads.__module__, plain)")
    assert done.stdout.startswith("common.threads <function plain"), done.stderr


@pytest.mark.parametrize("name", ["Threads", "Predictor", "plain"])
def test_the_error_names_the_file_of_a_missing_name(plain: Path, tmp_path: Path, name: str) -> None:
    directory = rendered(plain, tmp_path / "keras", framework="keras")
    done = python(directory, f"from common import Config, {name}")
    home = common.MODULES[name]
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: {name} needs src/common/{home}.py, which this scaffold does not have:"
        f" copy template/src/common/{home}.py of the scaffold's template there"
    )
    wrong = python(directory, "import common; common.Nothing").stderr.splitlines()[-1]
    assert wrong == "AttributeError: module 'common' has no attribute 'Nothing'"


def test_importing_common_imports_nothing_heavy(plain: Path, tmp_path: Path) -> None:
    directory = rendered(plain, tmp_path / "sklearn")
    code = "import sys, common.health; print({'numpy', 'common.signature'} & {*sys.modules})"
    assert python(directory, code).stdout == "set()\n"


# ---- platforms ----


@pytest.mark.parametrize("server", first(1, SERVERS))
def test_each_platform_has_its_files(plain: Path, tmp_path: Path, server: str) -> None:
    own = "kfserving.yaml" if server == "kfserving" else "kserve.yaml"
    files = {**FILES, "kserve": {own, *IN_CLUSTERS}}
    for platform in PLATFORMS:
        directory = rendered(plain, tmp_path / platform, server=server, platforms=[platform])
        assert deployed(directory) == files[platform]
        readme = (directory / "README.md").read_text()
        named = set(re.findall(r"deploy/([A-Za-z_-]+\.[a-z]+)", readme))
        assert named and named <= files[platform], platform
        assert ("Ray" in readme) == (platform == "ray")
    directory = rendered(plain, tmp_path / "none", server=server, platforms=[])
    assert not (directory / "deploy").exists()
    assert "deploy/" not in (directory / "README.md").read_text()


def test_the_default_platforms(plain: Path, tmp_path: Path) -> None:
    directory = rendered(plain, tmp_path / "made")
    assert answered(directory) == DEFAULT
    assert deployed(directory) == set().union(*(FILES[name] for name in DEFAULT))


def test_the_generator_takes_platforms(forest: Any, tmp_path: Path) -> None:
    made = generator.from_model(forest, tmp_path / "rfc", platforms=("ray", "compose", "ray"))
    assert answered(made.directory) == ["compose", "ray"]
    assert deployed(made.directory) == FILES["compose"] | FILES["ray"]
    assert deployed(generator.new(tmp_path / "new", platforms=[]).directory) == set()
    command = ["init", str(tmp_path / "cli"), "--platform", "ray", "--platform", "kubernetes"]
    assert main(command) == 0
    assert deployed(tmp_path / "cli") == FILES["kubernetes"] | FILES["ray"]


@pytest.mark.parametrize(
    ("platforms", "message"),
    [
        (
            ["heroku"],
            r"platforms: 'heroku' is not in \['kubernetes', 'kserve', 'compose', 'ray',"
            r" 'sagemaker', 'vertex', 'azureml', 'cloudrun'\]",
        ),
        (["ray", "cloud-run"], "platforms: 'cloud-run' is not in .*'cloudrun'"),
        (["Ray"], "platforms: 'Ray' is not in"),
        ("ray", r"""platforms 'ray': write a list of names, as in \["kubernetes", "ray"\]"""),
        ([3], r"platforms \[3\]: write a list of names"),
        (3, "platforms 3: write a list of names"),
    ],
    ids=str,
)
def test_wrong_platforms_are_refused(tmp_path: Path, platforms: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        generator.new(tmp_path / "new", platforms=platforms)
    assert not (tmp_path / "new").exists()


def test_from_model_cannot_change_platforms(own_scaffold: Any, forest: Any) -> None:
    with pytest.raises(SettingError, match=r"platforms \['ray'\]: .* `copier update --data"):
        generator.from_model(forest, own_scaffold.directory, platforms=["ray"], overwrite=True)


# ---- scaffolds of earlier versions ----


@pytest.fixture(scope="module")
def releases(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template in two versions: without two questions, with all files, and now."""
    template = shutil.copytree(
        plain, tmp_path_factory.mktemp("releases") / "template", symlinks=True
    )
    now = (template / "copier.yml").read_text()
    exclude = re.sub(r"(?s)  # Files that only.*?(?=_message_after_copy)", "", now)
    before = re.sub(r"(?s)platforms:\n.*?(?=# ---- derived)", "", exclude)
    before = re.sub(r"(?s)deployment_name:\n.*?(?=# ---- model)", "", before)
    before = before.replace("deployment_name", "model_name")
    assert "platforms" not in before and before.count("- __pycache__") == 1
    (template / "copier.yml").write_text(before)
    readme = template / "template" / "README.md.jinja"
    new = readme.read_text()
    readme.write_text("# {{ model_name }}\n")
    later = {
        path: path.read_text()
        for name in ("sagemaker", "vertex", "azureml", "cloudrun", *ADDED)
        for path in (template / "template" / "deploy").glob(f"{name}*")
    }
    for path in (template / "template" / name for name in (*CI, CARD)):
        later[path] = path.read_text()
    for path in later:
        path.unlink()
    git(template, "init", "--quiet")
    commit(template, "v1.0.0")
    for path, text in later.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (template / "copier.yml").write_text(now)
    readme.write_text(new)
    with (template / "template" / "deploy" / "ray_app.py").open("a") as file:
        file.write("# newer\n")
    commit(template, "v2.0.0")
    return template


def made_before(releases: Path, directory: Path, **answers: Any) -> Path:
    return made_at("v1.0.0", releases, directory, **answers)


def made_at(version: str, releases: Path, directory: Path, **answers: Any) -> Path:
    copier.run_copy(
        str(releases), directory, data=answers, defaults=True, quiet=True, vcs_ref=version
    )
    git(directory, "init", "--quiet")
    commit(directory)
    return directory


def by_copier(directory: Path) -> None:
    copier.run_update(directory, defaults=True, overwrite=True, quiet=True)


def by_generator(directory: Path) -> None:
    generator.load(directory).update()


UPDATES = pytest.mark.parametrize(
    "update", [pytest.param(by_copier, marks=pytest.mark.sweep), by_generator]
)


@UPDATES
@pytest.mark.parametrize("server", ["kserve", pytest.param("kfserving", marks=pytest.mark.sweep)])
def test_an_update_keeps_the_files_in_deploy(
    releases: Path, tmp_path: Path, server: str, update: Any
) -> None:
    directory = made_before(releases, tmp_path / "my [old] model", server=server)
    (directory / "deploy" / "compose.yaml").unlink()
    (directory / "deploy" / "cloudrun.yaml").write_text("mine: true\n")
    commit(directory)
    before, known = deployed(directory), identities(directory)
    assert before > FILES["ray"]
    update(directory)
    assert known.items() <= identities(directory).items()  # a cluster would keep the old ones too
    assert deployed(directory) == before | ADDED
    assert answered(directory) == ["kubernetes", "kserve", "ray"]
    assert ci_files(directory) == set()
    assert (directory / "deploy" / "ray_app.py").read_text().endswith("# newer\n")
    assert (directory / "deploy" / "cloudrun.yaml").read_text() == "mine: true\n"
    assert (
        directory / "src" / "common" / "serving" / "applications" / "fallback_routes.py"
    ).exists()


def identities(directory: Path) -> dict[str, Any]:
    """What a cluster or an engine knows the scaffold's objects by."""
    found: dict[str, Any] = {}
    for path in directory.glob("deploy/*.yaml"):
        for each in yaml.safe_load_all(path.read_text()):
            name = each.get("name") or each.get("metadata", {}).get("name")
            found[f"{path.name} {each.get('kind')}"] = (name, each.get("spec", {}).get("selector"))
    return found


@UPDATES
@pytest.mark.sweep
@pytest.mark.parametrize("answers", [{}, {"model_name": "Iris.v2", "image": "me/flowers:1"}])
def test_an_update_renames_nothing_that_is_deployed(
    releases: Path, tmp_path: Path, answers: dict[str, str], update: Any
) -> None:
    directory = made_before(releases, tmp_path / "flowers", **answers)
    before = identities(directory)
    assert before["kubernetes.yaml Service"][0] == ("iris-v2" if answers else "model")
    images = re.findall(r"image: .*", (directory / "deploy" / "kserve.yaml").read_text())
    update(directory)
    after = identities(directory)
    assert before.items() <= after.items()
    assert after["networkpolicy.yaml NetworkPolicy"][0] == before["kserve.yaml InferenceService"][0]
    assert re.findall(r"image: .*", (directory / "deploy" / "kserve.yaml").read_text()) == images
    commit(directory)
    moved = directory.rename(tmp_path / "elsewhere")  # the answers have the name now
    copier.run_update(
        moved, data={"server": "standalone"}, defaults=True, overwrite=True, quiet=True
    )
    assert identities(moved) == after


@UPDATES
@pytest.mark.sweep
@pytest.mark.parametrize("framework", ["keras", "custom"])
def test_an_update_keeps_modules_that_an_owner_may_import(
    releases: Path, tmp_path: Path, framework: str, update: Any
) -> None:
    directory = made_before(releases, tmp_path / "mine", framework=framework)
    code = directory / "src" / "mine.py"
    code.write_text(
        "from common import Predictor, Threads, plain\nfrom common.fast_path import fast_path\n"
    )
    commit(directory)
    update(directory)
    done = python(directory, "import mine")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("wrong", ["ray", "3", "[heroku]"])
def test_wrong_platforms_in_the_answers_are_refused_in_one_line(
    releases: Path, tmp_path: Path, wrong: str
) -> None:
    directory = made_at("v2.0.0", releases, tmp_path / "mine")
    file = directory / ANSWERS
    text = re.sub(r"(?m)^platforms:\n(- .*\n)+", f"platforms: {wrong}\n", file.read_text())
    assert f"platforms: {wrong}\n" in text
    file.write_text(text)
    commit(directory)
    with pytest.raises(generator.ScaffoldError, match=f"platforms.*{wrong.strip('[]')}") as raised:
        by_generator(directory)
    assert "\n" not in str(raised.value)
    assert not git(directory, "status", "--porcelain")


@pytest.mark.sweep
def test_platforms_can_be_changed(releases: Path, tmp_path: Path) -> None:
    directory = made_at("v2.0.0", releases, tmp_path / "mine")
    for platforms in (["ray"], ["kserve", "compose"], PLATFORMS):
        changed = {"platforms": platforms}
        copier.run_update(directory, data=changed, defaults=True, overwrite=True, quiet=True)
        assert deployed(directory) == set().union(*(FILES[name] for name in platforms))
        assert unused(directory) == []
        commit(directory)


# ---- CI ----


def ci_files(directory: Path) -> set[str]:
    """The files of CI in a scaffold, those of every system."""
    found = (name.removesuffix(".jinja") for name in CI)
    return {name for name in found if (directory / name).exists()}


def test_a_scaffold_has_the_files_of_its_ci(plain: Path, tmp_path: Path) -> None:
    files = {
        "none": set(),
        "github": {".github/workflows/image.yml", "src/common/verify.py"},
        "gitlab": {".gitlab-ci.yml", "src/common/verify.py"},
    }
    for ci, expected in files.items():
        directory = rendered(plain, tmp_path / ci, ci=ci)
        assert ci_files(directory) == expected and unused(directory) == []
        assert (directory / ".github").exists() == (ci == "github")
        readme = (directory / "README.md").read_text()
        assert {name for name in expected if name.startswith(".")} == {
            name for name in (".github/workflows/image.yml", ".gitlab-ci.yml") if name in readme
        }


def test_the_generator_takes_ci(forest: Any, own_scaffold: Any, tmp_path: Path) -> None:
    made = generator.new(tmp_path / "new", ci="gitlab")
    assert ci_files(made.directory) == {".gitlab-ci.yml", "src/common/verify.py"}
    assert main(["init", str(tmp_path / "cli"), "--ci", "github"]) == 0
    assert ".github/workflows/image.yml" in ci_files(tmp_path / "cli")
    assert ci_files(own_scaffold.directory) == set()
    with pytest.raises(SettingError, match="'GitHub' is not in .*'github'"):
        generator.new(tmp_path / "other", ci="GitHub")
    with pytest.raises(SettingError, match="ci 'github': .* `copier update --data ci=NAME`"):
        generator.from_model(forest, own_scaffold.directory, ci="github", overwrite=True)


@pytest.mark.parametrize(
    "systems", [["github"], pytest.param(["github", "gitlab"], marks=pytest.mark.sweep)]
)
def test_an_update_adds_ci_where_it_is_asked_for(
    releases: Path, tmp_path: Path, systems: list[str]
) -> None:
    """To a scaffold that was made before the question, and has a workflow of its owner's."""
    directory = made_before(releases, tmp_path / "mine")
    mine = directory / ".github" / "workflows" / "tests.yml"
    mine.parent.mkdir(parents=True)
    mine.write_text("on: push\n")
    for ci in systems:
        commit(directory)
        changed = {"ci": ci}
        copier.run_update(directory, data=changed, defaults=True, overwrite=True, quiet=True)
        file = {"github": ".github/workflows/image.yml", "gitlab": ".gitlab-ci.yml"}[ci]
        assert ci_files(directory) == {file, "src/common/verify.py"}
        assert mine.read_text() == "on: push\n"


# ---- git ----


def test_a_review_shows_only_the_owners_files(plain: Path, tmp_path: Path) -> None:
    directory = rendered(plain, tmp_path / "made")
    git(directory, "init", "--quiet")
    names = [path.relative_to(directory).as_posix() for path in directory.rglob("*.py")]
    lines = git(directory, "check-attr", "linguist-generated", "diff", "--", *names).splitlines()
    values = {tuple(line.rsplit(": ", 2)[:2]): line.rsplit(": ", 1)[1] for line in lines}
    for name in names:
        templates = name.startswith("src/common/") or name == "src/inference_server.py"
        assert (values[name, "linguist-generated"] == "true") == templates
        assert values[name, "diff"] == "unspecified"
