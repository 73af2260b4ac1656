"""The template without the generator: its questions and its files."""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import copier
import joblib
import pytest
import yaml
from packaging.requirements import Requirement

import generator
from common.config import Config
from generator import ServingError, hooks
from generator.environment.venvs import server_python
from generator.hooks import DEFINITIONS
from generator.layout import ANSWERS
from generator.rendering.render import without_git
from generator.writing.prepare import PYTHON_VERSIONS
from support.rendering.checkouts import ROOT, VERSION, commit, git, last_release, rendered

TEMPLATE = yaml.safe_load((ROOT / "copier.yml").read_text())
QUESTIONS = {name: question for name, question in TEMPLATE.items() if not name.startswith("_")}
ASKED = {name: question for name, question in QUESTIONS.items() if question.get("when", True)}
REQUIREMENTS = QUESTIONS["requirements"]["default"]
UNSAVED = ("statsmodels", "jax", "function", "custom")  # whoever copies the template writes load
FILES = {each.name: each.files[0] for each in DEFINITIONS} | dict.fromkeys(UNSAVED)
PACKAGES = {
    "xgboost": ["scikit-learn", "xgboost"],
    "lightgbm": ["lightgbm"],
    "catboost": ["catboost"],
    "keras": ["keras", "tensorflow"],
    "onnx": ["onnxruntime"],
    "tensorflow": ["tensorflow"],
    "jax": ["jax"],
    "pytorch": ["torch"],
    "transformers": ["torch", "transformers"],
    "spacy": ["spacy"],
    "sentence_transformers": ["sentence-transformers", "torch"],
    "sklearn": ["joblib", "scikit-learn"],
    "statsmodels": ["statsmodels"],
    "mlflow": ["mlflow-skinny"],
    "function": [],
    "custom": [],
}
LOCK = "server-requirements.txt"
FRAMEWORKS = list(QUESTIONS["framework"]["choices"].values())
# The others differ from these in a file or two.
FIRST = ("sklearn", "keras", "pytorch", "custom")
SERVERS = list(TEMPLATE["server"]["choices"].values())
RENDERED = [
    pytest.param(name, marks=[] if name in FIRST else [pytest.mark.sweep]) for name in FRAMEWORKS
]
BIN = Path(sys.executable).parent


@pytest.fixture
def empty(plain: Path, tmp_path: Path) -> Path:
    """A scaffold without a model."""
    return rendered(plain, tmp_path / "empty")


def copied(copie: Any, template: Path, **answers: Any) -> Path:
    with without_git():
        result = copie.copy(extra_answers=answers, template_dir=template)
    assert result.exception is None, result.exception
    assert isinstance(result.project_dir, Path)
    return result.project_dir


def text_files(directory: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path, path.read_text()


def ruff(*arguments: str, cwd: Path) -> None:
    passes("ruff", *arguments, f"--config={ROOT}/pyproject.toml", "--no-cache", cwd=cwd)


def mypy(cwd: Path) -> None:
    cache = f"--cache-dir={ROOT}/.mypy_cache/rendered"
    passes("mypy", f"--config-file={ROOT}/pyproject.toml", cache, ".", cwd=cwd)


def passes(name: str, *arguments: str, cwd: Path) -> None:
    command = [str(BIN / name), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- questions ----


def test_questions_and_their_defaults() -> None:
    assert {name: question["default"] for name, question in ASKED.items()} == {
        "model_name": "model",
        "deployment_name": QUESTIONS["deployment_name"]["default"],
        "framework": "sklearn",
        "engine": "native",
        "python_version": "3.11",
        "gpu": False,
        "requirements": REQUIREMENTS,
        "server": "kserve",
        "image": QUESTIONS["image"]["default"],
        "platforms": QUESTIONS["platforms"]["default"],
        "ci": "none",
    }


def broken_promises(released: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What breaks for the answers of a released template: questions, defaults and choices."""
    questions = {name: question for name, question in released.items() if not name.startswith("_")}
    gone = [name for name in questions if name not in now]
    both = [(name, questions[name], now[name]) for name in questions if name in now]
    changed = [
        name
        for name, old, new in both
        if old.get("default") != new.get("default") and old.get("when", True)
    ]
    choices = [(name, set(_values(old)) - set(_values(new))) for name, old, new in both]
    return [
        *gone,
        *changed,
        *(f"{name}: {choice}" for name, lost in choices for choice in sorted(lost)),
    ]


def _values(question: dict[str, Any]) -> list[str]:
    choices = question.get("choices", [])
    if isinstance(choices, dict):
        return list(choices.values())
    return list(choices)


def test_answers_of_the_last_release_are_valid() -> None:
    tag = last_release()
    if tag is None:
        pytest.skip("there is no tag of a release")
    assert not broken_promises(yaml.safe_load(git(ROOT, "show", f"{tag}:copier.yml")), TEMPLATE)


def test_a_broken_promise_is_reported() -> None:
    other = yaml.safe_load((ROOT / "copier.yml").read_text())
    other["title"] = {"type": "str", "default": "x"}
    other["model_name"]["default"] = "another"
    other["python_version"]["choices"].append("3.9")
    other["framework"]["choices"]["Caffe"] = "caffe"
    expected = ["title", "model_name", "framework: caffe", "python_version: 3.9"]
    assert sorted(broken_promises(other, TEMPLATE)) == sorted(expected) and not broken_promises(
        TEMPLATE, TEMPLATE
    )


def test_the_generator_answers_every_question(
    forest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: dict[str, Any] = {}

    def render(answers: dict[str, Any], directory: Path, source: Any) -> None:
        answered.update(answers)
        raise KeyboardInterrupt

    monkeypatch.setattr("generator.create.render", render)
    with pytest.raises(KeyboardInterrupt):
        generator.from_model(
            forest, tmp_path / "rfc", image="rfc", platforms=["kserve"], ci="gitlab"
        )
    assert answered.keys() == ASKED.keys() - {"deployment_name"}  # the template asks the directory


def test_python_versions_are_those_of_the_generator() -> None:
    assert tuple(QUESTIONS["python_version"]["choices"]) == PYTHON_VERSIONS


@pytest.mark.parametrize("name", ASKED)
def test_help_is_one_line(name: str) -> None:
    text = ASKED[name]["help"]
    assert text.strip() == text and "\n" not in text and 20 <= len(text) <= 100


def test_needs_no_trust() -> None:
    """These settings make copier demand --trust. Tests below run `copier copy` without it."""
    assert not TEMPLATE.keys() & {"_tasks", "_migrations", "_jinja_extensions"}


def test_frameworks_are_those_with_hooks() -> None:
    choices = {definition.label: definition.name for definition in DEFINITIONS}
    assert QUESTIONS["framework"]["choices"] == choices
    assert list(choices.values()) == FRAMEWORKS


def refusal(template: Path, directory: Path, **answers: Any) -> str:
    """The error of copier for these answers, or an empty string."""
    try:
        copier.run_copy(
            str(template), directory / "out", data=answers, defaults=True, quiet=True, pretend=True
        )
    except ValueError as error:
        return str(error)
    return ""


GOOD_NAMES = ["model", "m", "0", "iris-v2", "a.b_c", "Iris", "true", "1e5", "3.10", "x" * 63]
BAD_NAMES = [
    "",
    " ",
    "a b",
    "-a",
    "a-",
    ".a",
    "a/b",
    "a:b",
    "é",
    "x" * 64,
    "a\n",
    "a\nb",
    "{{ 1 }}",
    "a'b",
    'a"b',
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_accepts_the_name(name: str, copie: Any, plain: Path) -> None:
    directory = copied(copie, plain, model_name=name)
    assert Config.read(directory / "config.yaml", {}).name == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_refuses_the_name(name: str, plain: Path, tmp_path: Path) -> None:
    message = refusal(plain, tmp_path, model_name=name)
    assert f"'{name}' is not a model name: take 1 to 63 letters, digits, '.', '_' or '-'" in message


GOOD_LINES = [
    "numpy",
    "scikit-learn==1.7.2",
    "  scikit_learn >= 1.5, < 2  ",
    "a==1.*",
    "a~=1.2",
    "a===1.0+cpu",
    "a!=1.3,>=1",
    "kserve[storage]==0.15",
    "a[b,c-d.e]>=1",
    "a [b, c] >= 1",
    "torch; sys_platform == 'linux'",
    'tomli==2; python_version < "3.11"  # until 3.10 ends',
    "package @ https://example.org/package-1.0-py3-none-any.whl#sha256=00",
    "package @ git+https://example.org/package.git@0123abc",
    "package[extra] @ git+ssh://git@example.org/package.git",
    "package @ https://example.org/p.whl ; python_version > '3.10'",
    "numpy==2.4.6  # the model: numpy.ndarray; bodies of requests",
    "# only a comment",
    "",
    "--extra-index-url https://download.pytorch.org/whl/cpu  # serves the cpu variant of torch",
    "-i https://example.org/simple",
]
BAD_LINES = [
    "foo bar",
    "==1",
    "a==",
    "a=1",
    "numpy 1.0",
    "a @",
    "./wheels/a.whl",
    "a[b",
    "é==1",
    "a==1 b==2",
    "a,b",
]


@pytest.mark.parametrize("line", GOOD_LINES)
def test_accepts_the_requirement(line: str, copie: Any, plain: Path) -> None:
    directory = copied(copie, plain, requirements=f"joblib\n{line}\nscikit-learn\n")
    assert line in (directory / "requirements.txt").read_text().splitlines()


@pytest.mark.parametrize("line", BAD_LINES)
def test_refuses_the_requirement(line: str, plain: Path, tmp_path: Path) -> None:
    message = refusal(plain, tmp_path, requirements=f"joblib\n{line}\nscikit-learn\n")
    assert (
        f"'{line}' is not a requirement: write NAME, NAME==VERSION or NAME @ URL, one a line"
        in message
    )
    assert "'joblib'" not in message and "'scikit-learn'" not in message


@pytest.mark.parametrize(
    "answers",
    [
        {"framework": "caffe"},
        {"python_version": "3.9"},
        {"server": "flask"},
        {"engine": "jit"},
        {"platforms": "[compose, heroku]"},
        {"ci": "jenkins"},
    ],
)
def test_refuses_unknown_choices(answers: dict[str, str], plain: Path, tmp_path: Path) -> None:
    (name, value), *_ = answers.items()
    wrong = value.strip("[]").rpartition(", ")[2]
    assert re.search(f"{name}.*{wrong}", refusal(plain, tmp_path, **answers))


# ---- with a GPU ----

ON_GPU = {
    "keras": ["keras", "tensorflow[and-cuda]"],
    "tensorflow": ["tensorflow[and-cuda]"],
    "onnx": ["onnxruntime-gpu[cuda,cudnn]"],
    "jax": ["jax[cuda12]"],
    "spacy": ["cupy-cuda12x[ctk]", "spacy"],
    "pytorch": ["torch"],
}


@pytest.mark.parametrize("framework", ["sklearn", "lightgbm", "statsmodels"])
def test_refuses_a_gpu_where_nothing_uses_one(framework: str, plain: Path, tmp_path: Path) -> None:
    message = refusal(plain, tmp_path, framework=framework, gpu=True)
    assert f"{framework} predicts on no GPU: leave it out" in message


@pytest.mark.parametrize("framework", ON_GPU)
def test_the_default_requirements_bring_cuda(framework: str, plain: Path, tmp_path: Path) -> None:
    directory = rendered(plain, tmp_path / "out", framework=framework, gpu=True)
    lines = (directory / "requirements.txt").read_text().splitlines()
    needed = [
        line for line in lines if line and not line.startswith(("#", "msgpack", "orjson", "numpy"))
    ]
    assert sorted(needed) == ON_GPU[framework]
    assert answers_of(directory)["gpu"] is True
    assert Config.read(directory / "config.yaml", {}).serving.gpu is True


def test_nothing_tells_of_gpus_without_one(plain: Path, tmp_path: Path) -> None:
    """But what was there before the question: Baseten's resources, Ray's, and some comments."""
    with_all = {"framework": "pytorch", "platforms": ["kubernetes", "kserve", "compose", "ray"]}
    texts = {
        answer: dict(text_files(rendered(plain, tmp_path / str(answer), gpu=answer, **with_all)))
        for answer in (False, True)
    }
    mark = re.compile(r"nvidia|NVIDIA|--gpus|accelerator: T4$|^ +num_gpus", re.MULTILINE)
    marked = {
        answer: {
            path.name
            for path, text in found.items()
            if not {"common", LOCK}.intersection(path.parts) and mark.search(text)
        }
        for answer, found in texts.items()
    }
    assert marked == {
        False: set(),
        True: {
            *("README.md", "config.yaml", "compose.yaml", "kserve.yaml", "kubernetes.yaml"),
            "ray.yaml",
        },
    }


# ---- rendered files ----


@pytest.fixture(scope="session", params=RENDERED)
def scaffold_files(
    request: pytest.FixtureRequest, copie_session: Any, plain: Path
) -> tuple[str, Path]:
    """A framework and a scaffold for it."""
    return request.param, copied(
        copie_session, plain, framework=request.param, model_name="iris.v2"
    )


def test_files_of_a_scaffold(scaffold_files: tuple[str, Path]) -> None:
    framework, directory = scaffold_files
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    common = {name for name in found if re.fullmatch(r"src/common/[a-z0-9_/]+\.py", name)}
    assert common >= {
        f"src/common/{name}.py"
        for name in (
            "__init__",
            "config",
            "bodies/__init__",
            "link/frames",
            "serving/server",
            "worker/main",
        )
    }
    assert found - common == {
        ".copier-answers.yml",
        ".dockerignore",
        ".gitattributes",
        ".gitignore",
        ".truss_ignore",
        "README.md",
        "config.yaml",
        "deploy/compose.yaml",
        "deploy/kserve.yaml",
        "deploy/kubernetes.yaml",
        "deploy/kustomization.yaml",
        "deploy/networkpolicy.yaml",
        "deploy/podmonitor.yaml",
        "model-card.md",
        "requirements.txt",
        "server-requirements.txt",
        f"{framework}-server.Dockerfile",
        "src/common/health.sh",
        "src/common/serving/applications/page.html",
        "src/data/.gitkeep",
        "src/inference_server.py",
        "src/model/__init__.py",
        "src/server/__init__.py",
        "src/server/inference_model.py",
    }


def test_the_pages_name_the_framework(scaffold_files: tuple[str, Path]) -> None:
    framework, directory = scaffold_files
    page, card = ((directory / name).read_text() for name in ("README.md", "model-card.md"))
    assert page.startswith("# iris.v2\n") and "# Model Card for iris.v2\n" in card
    head = yaml.safe_load(card.split("---\n")[1])
    if framework in ("function", "custom"):
        assert "This directory serves one model. It" in page and head == {"tags": []}
    else:
        label = hooks.by_name(framework).label
        assert f"This directory serves one model, made with {label}. It" in page
        assert head["library_name"] == framework.replace("_t", "-t")


@pytest.mark.sweep
@pytest.mark.parametrize("server", SERVERS)
def test_a_scaffold_holds_one_server(server: str, copie_session: Any, plain: Path) -> None:
    directory = copied(copie_session, plain, framework="sklearn", server=server)
    applications = directory / "src" / "common" / "serving" / "applications"
    assert [path.name for path in applications.glob("*_application.py")] == [
        f"{server}_application.py"
    ]
    lock = (directory / "server-requirements.txt").read_text()
    assert set(re.findall(r"(?m)^(kserve|kfserving)==", lock)) == {server} - {"standalone"}
    config = yaml.safe_load((directory / "config.yaml").read_text())["model_metadata"]
    assert (config["server"], config["serving"]["grpc_port"] > 0) == (server, server != "kfserving")
    ruff("check", ".", cwd=directory / "src")
    mypy(directory / "src")


@pytest.mark.sweep
@pytest.mark.parametrize("server", ["kfserving", "standalone"])
def test_the_server_of_a_scaffold_can_be_changed(
    server: str, repository: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "rfc"
    copier.run_copy(str(repository), directory, defaults=True, quiet=True)
    with (directory / "README.md").open("a") as readme:
        readme.write("mine\n")
    git(directory, "init", "--quiet")
    commit(directory)
    changed = {"server": server}
    copier.run_update(directory, data=changed, defaults=True, overwrite=True, quiet=True)
    common = {path.name for path in (directory / "src" / "common").rglob("*_application.py")}
    assert common == {f"{server}_application.py"}
    manifest = "kfserving.yaml" if server == "kfserving" else "kserve.yaml"
    assert (directory / "deploy" / manifest).exists()
    lock = (directory / "server-requirements.txt").read_text()
    assert ("\nkfserving==" in lock) == (server == "kfserving") and "\nkserve==" not in lock
    assert (directory / "README.md").read_text().endswith("mine\n")


@pytest.mark.sweep
def test_rendered_python_is_clean(scaffold_files: tuple[str, Path]) -> None:
    _, directory = scaffold_files
    ruff("check", ".", cwd=directory / "src")
    ruff("format", "--check", ".", cwd=directory / "src")
    owned = ["--line-length=120", "server/inference_model.py"]  # formatted for 120 columns
    ruff("format", "--check", *owned, cwd=directory / "src")
    mypy(directory / "src")


def test_rendered_python_parses_in_the_oldest_version(scaffold_files: tuple[str, Path]) -> None:
    _, directory = scaffold_files
    for path in directory.rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 10))


def test_no_trace_of_jinja(scaffold_files: tuple[str, Path]) -> None:
    _, directory = scaffold_files
    for path, text in text_files(directory):
        assert not re.search(r"[{%}]|jinja", str(path.relative_to(directory))), path
        assert not re.search(r"\{\{|\{%|%\}|\{#|_copier_|\.jinja", text), path


def test_config_is_valid(scaffold_files: tuple[str, Path]) -> None:
    framework, directory = scaffold_files
    config = Config.read(directory / "config.yaml", {})
    assert (config.name, config.framework) == ("iris.v2", framework)
    assert config.serving.workers == 1 and config.serving.http_port == 8080
    assert (
        config.model.file == FILES[framework]
        and config.model.sha256 is None
        and config.model.input is None
    )


def test_every_setting_is_in_config_with_its_default_and_a_comment(
    scaffold_files: tuple[str, Path],
) -> None:
    framework, directory = scaffold_files
    text = (directory / "config.yaml").read_text()
    written = yaml.safe_load(text)["model_metadata"]["serving"]
    document = {
        "model_name": "m",
        "model_metadata": {"framework": framework, "model": {"file": "m"}},
    }
    defaults = Config.from_document(document).as_document()["model_metadata"]["serving"]
    if framework in (
        "xgboost",
        "lightgbm",
        "catboost",
        "sklearn",
    ):  # a call costs as much for one row as for hundreds
        defaults["max_batch_size"] = 4096
    assert defaults.pop("gpu") is False  # which is there with a GPU only
    assert written == defaults
    for setting in set(written) - {"http_port"}:  # its comment is that of both ports
        assert re.search(rf"#.*\n +{setting}:", text), f"no comment above {setting}"


def test_requirements_are_those_of_the_framework(scaffold_files: tuple[str, Path]) -> None:
    framework, directory = scaffold_files
    lines = [
        line.split(" #")[0] for line in (directory / "requirements.txt").read_text().splitlines()
    ]
    names = [Requirement(line).name for line in lines if line and not line.startswith("#")]
    assert sorted(names) == sorted(["msgpack", "numpy", "orjson", *PACKAGES[framework]])


def test_the_workers_requirements_are_added_once(copie: Any, plain: Path) -> None:
    directory = copied(
        copie, plain, requirements="scikit-learn\nNumPy==2.4.6\nnumpydoc\norjson[x]>3\n"
    )
    lines = (directory / "requirements.txt").read_text().splitlines()[2:]
    assert [line.split("  #")[0] for line in lines] == [
        "scikit-learn", "NumPy==2.4.6", "numpydoc", "orjson[x]>3", "msgpack>=1,<2",
    ]  # fmt: skip


def test_dockerfile_has_the_answers(copie: Any, plain: Path) -> None:
    directory = copied(copie, plain, python_version="3.13", model_name="Iris")
    text = (directory / "sklearn-server.Dockerfile").read_text()
    assert "ARG PYTHON_VERSION=3.13\n" in text and re.search(r"-t iris\b", text)
    assert (directory / "config.yaml").read_text().count("py313") == 1


def test_caches_are_not_rendered(plain: Path, tmp_path: Path) -> None:
    dirty = shutil.copytree(plain, tmp_path / "dirty", symlinks=True)
    cache = dirty / "template" / "src" / "common" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "config.cpython-311.pyc").write_bytes(b"\0")
    (dirty / "template" / "src" / "old.pyc").write_bytes(b"\0")
    copier.run_copy(str(dirty), tmp_path / "out", defaults=True, quiet=True)
    assert not [path for path in (tmp_path / "out").rglob("*") if "pyc" in path.name]


# ---- copier without --trust ----


def answers_of(directory: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((directory / ANSWERS).read_text()))


def test_copier_copy(repository: Path, tmp_path: Path) -> None:
    command = [
        str(BIN / "copier"),
        "copy",
        "--defaults",
        "--data",
        "model_name=Iris",
        str(repository),
        "test_rfc",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'joblib.dump(model, "test_rfc/src/model/model.joblib")' in done.stderr
    assert "docker build -f test_rfc/sklearn-server.Dockerfile test_rfc -t iris\n" in done.stderr
    answers = answers_of(tmp_path / "test_rfc")
    assert (answers["_src_path"], answers["_commit"]) == (str(repository), f"v{VERSION}")
    assert generator.load(tmp_path / "test_rfc").name == "Iris"


def test_copier_copy_for_a_custom_model(repository: Path, tmp_path: Path) -> None:
    command = [
        str(BIN / "copier"),
        "copy",
        "--defaults",
        "--data",
        "framework=custom",
        str(repository),
        "mine",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1. Write load and predict in mine/src/server/inference_model.py\n" in done.stderr
    assert answers_of(tmp_path / "mine")["requirements"].strip() == ""
    with pytest.raises(ServingError, match="there is no model yet: write load and predict in"):
        generator.load(tmp_path / "mine").predict([[1]])


def test_answers_render_the_same_files_again(repository: Path, tmp_path: Path) -> None:
    given = {
        "model_name": "iris",
        "deployment_name": "flowers",
        "framework": "sklearn",
        "engine": "onnx",
        "python_version": "3.12",
        "requirements": "scikit-learn==1.7.2  # é: 'quoted' \"twice\"\n--pre\njoblib\n",
        "server": "kserve",
        "image": "registry.example.org:5000/me/iris:1.0",
        "platforms": ["kserve", "ray"],
        "ci": "github",
    }
    copier.run_copy(str(repository), tmp_path / "once", data=given, defaults=True, quiet=True)
    answers = answers_of(tmp_path / "once")
    assert {name: answers[name] for name in given} == given and answers.keys() - given == {
        "_commit",
        "_src_path",
    }
    copier.run_copy(str(repository), tmp_path / "twice", data=answers, defaults=True, quiet=True)
    for path, text in text_files(tmp_path / "once"):
        assert (tmp_path / "twice" / path.relative_to(tmp_path / "once")).read_text() == text


# ---- without a model and with one ----

MISSING = (
    "src/model/model.joblib is missing: write the model there with"
    " joblib.dump(model, 'src/model/model.joblib')"
)


def test_predict_without_a_model_names_the_file_and_the_call(empty: Path) -> None:
    with pytest.raises(ServingError) as raised:
        generator.load(empty).predict([[0, 0, 0, 0]])
    assert MISSING in str(raised.value) and "\n" not in str(raised.value)


def test_server_without_a_model_names_the_file_and_the_call(empty: Path) -> None:
    python = server_python(empty / "server-requirements.txt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environ = {**os.environ, "MODEL_PYTHON": sys.executable, "PORT": port, "GRPC_PORT": "0"}
    command = [str(python), str(empty / "src" / "inference_server.py")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd="/", timeout=60)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {MISSING}") and "Traceback" not in done.stderr


def test_a_model_that_is_added_predicts(empty: Path, forest: Any, iris: Any) -> None:
    joblib.dump(forest, empty / "src" / "model" / "model.joblib")
    scaffold = generator.load(empty)
    assert scaffold.predict(iris[0])["predictions"] == forest.predict(iris[0]).tolist()
    scaffold.close()
