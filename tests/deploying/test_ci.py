"""CI of a scaffold: valid by GitHub's and GitLab's schemas, and its steps run as a script."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from secrets import token_hex
from typing import Any

import joblib
import pytest
import yaml
from sklearn.ensemble import RandomForestClassifier

import generator
from generator.scaffold import Scaffold
from generator.writing.label import image_tag
from support.rendering.checkouts import commit, git, rendered
from support.servers.containers import Engine
from support.servers.running import configure

FILES = {"github": ".github/workflows/image.yml", "gitlab": ".gitlab-ci.yml"}
SCHEMAS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}
IMAGES = ["iris", "ghcr.io/me/iris:1.0", "registry.example.org:5000/me/iris", "me/iris:1.0"]
BOTH = pytest.mark.parametrize("ci", FILES)


def faults(ci: str, *files: Path) -> list[str]:
    """What the schema of a system, from check-jsonschema, finds in its files."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[ci]]
    command = [*check, "--output-format=json", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return [f"{fault['path']}: {fault['message']}" for fault in json.loads(done.stdout)["errors"]]


@pytest.fixture(scope="module")
def files(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The files of each system, for each name of an image."""
    place = tmp_path_factory.mktemp("ci")
    framework = {"iris": "sklearn"}
    return {
        ci: [
            rendered(plain, place / f"{ci}{n}", ci=ci, image=image, gpu=n > 0,
                     framework=framework.get(image, "pytorch")) / file
            for n, image in enumerate(IMAGES)
        ]
        for ci, file in FILES.items()
    }  # fmt: skip


def loaded(file: Path) -> Any:
    """The YAML in a file, with GitHub's key `on` as a text."""
    return yaml.load(file.read_text(), yaml.BaseLoader)


@BOTH
def test_it_is_valid(files: dict[str, list[Path]], ci: str) -> None:
    assert faults(ci, *files[ci]) == []
    for file in files[ci]:
        text = file.read_text()
        assert not re.search(r"\{%|%\}|\{#|jinja|raw", text)
        assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("ci", "old", "new", "fault"),
    [
        ("github", "timeout-minutes:", "timeout-minute:", "timeout-minute"),
        ("github", "id-token: write", "id-token: read", "id-token"),
        ("github", "runs-on: ubuntu-24.04", "run-on: ubuntu-24.04", "$.jobs.image"),
        ("gitlab", "aud: sigstore", "audience: sigstore", "SIGSTORE_ID_TOKEN"),
        ("gitlab", "timeout: 1 hour", "timeout: [1]", "timeout"),
    ],
)
def test_a_wrong_one_is_refused_by_the_same_check(
    files: dict[str, list[Path]], ci: str, old: str, new: str, fault: str, tmp_path: Path
) -> None:
    text = files[ci][0].read_text()
    assert text.count(old) == 1
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace(old, new))
    assert any(fault in line for line in faults(ci, wrong))


def test_actions_and_images_are_pinned(files: dict[str, list[Path]]) -> None:
    github, gitlab = (files[ci][0].read_text() for ci in FILES)
    used = re.findall(r"(?m)^ +(?:- )?uses: (.*)$", github)
    assert len(used) == 4
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each) for each in used)
    images = re.findall(r"(?m)(?:image: |SYFT: |GRYPE: |services: \[)([^\]\n]*)\]?$", gitlab)
    assert len(images) == 4
    exact = r"docker:\d+\.\d+\.\d+-[a-z]+|anchore/[a-z]+:v[\d.]+@sha256:[0-9a-f]{64}"
    assert all(re.fullmatch(exact, image) for image in images)


@pytest.mark.parametrize(
    ("number", "github", "gitlab"),
    [
        (0, "ghcr.io/${{ github.repository_owner }}/iris", "$CI_REGISTRY_IMAGE/iris"),
        (1, "ghcr.io/me/iris", "ghcr.io/me/iris"),
        (2, "registry.example.org:5000/me/iris", "registry.example.org:5000/me/iris"),
        (3, "docker.io/me/iris", "docker.io/me/iris"),
    ],
    ids=IMAGES,
)
def test_it_pushes_where_the_image_is_named(
    files: dict[str, list[Path]], number: int, github: str, gitlab: str
) -> None:
    """A registry gets the credentials of that registry alone."""
    job = loaded(files["github"][number])["jobs"]["image"]
    assert job["env"]["IMAGE"] == github
    (push,) = (step for step in job["steps"] if step.get("name") == "Push")
    own = github.startswith("ghcr.io/")
    secret = "github.token" if own else "secrets.REGISTRY_PASSWORD"
    assert push["env"]["REGISTRY_PASSWORD"] == f"${{{{ {secret} }}}}"
    pipeline = loaded(files["gitlab"][number])["build and verify"]
    assert pipeline["variables"]["IMAGE"] == gitlab
    (login,) = (line for line in pipeline["script"] if "docker login" in line)
    assert ("$CI_REGISTRY_PASSWORD" in login) == gitlab.startswith("$CI_REGISTRY_IMAGE")


@BOTH
@pytest.mark.parametrize("version", ["1.10", "0123456789ab", "1.10+cu1", "of/may", "v_1-rc.2"])
def test_it_pushes_the_tag_that_the_manifests_name(
    files: dict[str, list[Path]], ci: str, version: str
) -> None:
    lines = re.findall(r"(?m)^ *(tag=.*|\[ \"\$tag\" = .*)$", files[ci][0].read_text())
    assert len(lines) == 2
    script = "\n".join([*lines, 'echo "$tag"'])
    done = subprocess.run(["sh", "-c", script], env={"name": version}, capture_output=True)
    assert done.stdout.decode().strip() == image_tag(version)


def test_a_pull_request_gets_no_secret_and_pushes_nothing(files: dict[str, list[Path]]) -> None:
    workflow = loaded(files["github"][0])
    assert workflow["permissions"] == {} and set(workflow["on"]) == {"push", "pull_request"}
    writing = re.compile(r"secrets\.|github\.token|docker (login|push)|cosign")
    steps = workflow["jobs"]["image"]["steps"]
    guarded = [step for step in steps if step.get("if") == "github.event_name == 'push'"]
    assert [step for step in steps if writing.search(str(step))] == guarded
    assert len(guarded) == 3
    script = loaded(files["gitlab"][0])["build and verify"]["script"]
    stop = script.index('if [ "$PUBLISH" != yes ]; then exit 0; fi')
    assert not writing.search("".join(script[:stop])) and writing.search("".join(script[stop:]))


# ---- its steps, as a script ----


class Steps:
    """The steps of a scaffold's CI that need no service: build, start, verify and stop.

    Args:
        engine: runs them.
        scaffold: a scaffold in git.
        ci: the system.
    """

    def __init__(self, engine: Engine, scaffold: Scaffold, ci: str) -> None:
        self.directory, self.engine = scaffold.directory, engine
        revision = git(self.directory, "rev-parse", "HEAD").strip()
        self.candidate = f"candidate-{token_hex(4)}"
        self.variables = {
            "CANDIDATE": self.candidate,
            "GITHUB_SHA": revision,
            "CI_COMMIT_SHA": revision,
        }
        found = loaded(self.directory / FILES[ci])
        self.build, self.start, self.verify, self.stop = STEPS[ci](found)

    def run(self, step: str) -> "subprocess.CompletedProcess[str]":
        """Run one as GitHub and GitLab do: the first command that fails ends it."""
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step],
            cwd=self.directory,
            env=self.engine.environ | self.variables,
            capture_output=True,
            text=True,
        )

    def verified(self) -> "subprocess.CompletedProcess[str]":
        """Run all of them; the outcome is that of `verify`."""
        for step in (self.build, self.start):
            done = self.run(step)
            assert done.returncode == 0, done.stderr
        try:
            return self.run(self.verify)
        finally:
            stopped = self.run(self.stop)
            assert stopped.returncode == 0, stopped.stderr
            self.log = stopped.stderr.strip()


def _github_steps(workflow: Any) -> list[str]:
    named = {step.get("name"): step.get("run") for step in workflow["jobs"]["image"]["steps"]}
    return [named[name] for name in ("Build", "Start", "Verify", "Stop")]


def _gitlab_steps(pipeline: Any) -> list[str]:
    job = pipeline["build and verify"]
    marks = ("docker build", "docker run --detach", "common.verify")
    lines = [next(line for line in job["script"] if mark in line) for mark in marks]
    return [*lines, "\n".join(job["after_script"])]


STEPS = {"github": _github_steps, "gitlab": _gitlab_steps}


@pytest.fixture(scope="module")
def made(forest: Any, iris: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scaffold]:
    """For each system a scaffold in git, with a smoke test."""
    place, scaffolds = tmp_path_factory.mktemp("made"), {}
    for ci in FILES:
        scaffold = generator.from_model(forest, place / ci, ci=ci, sample_input=iris[0][::30])
        git(scaffold.directory, "init", "--quiet")
        commit(scaffold.directory)
        scaffolds[ci] = scaffold
    return scaffolds


@pytest.mark.docker
@pytest.mark.sweep
@BOTH
def test_its_steps_verify_the_image(engine: Engine, made: dict[str, Scaffold], ci: str) -> None:
    steps = Steps(engine, made[ci], ci)
    done = steps.verified()
    assert done.returncode == 0, done.stderr + steps.log
    assert done.stdout == "the answer is that of smoke-test.json, floats to 1e-09 of the largest\n"
    label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
    said = engine("inspect", "--format", label, steps.candidate)
    assert said == git(steps.directory, "rev-parse", "HEAD").strip()
    (steps.directory / "smoke-test.json").unlink()
    done = steps.verified()
    assert done.returncode == 0 and done.stdout.endswith("so nothing is compared\n"), done.stderr


@pytest.mark.docker
@pytest.mark.sweep
def test_another_model_fails_the_step(
    engine: Engine, made: dict[str, Scaffold], iris: Any, tmp_path: Path
) -> None:
    """One that its owner has recorded, and one that config.yaml does not know."""
    scaffold = generator.load(shutil.copytree(made["github"].directory, tmp_path / "other"))
    recorded = {"request": {"instances": iris[0][::30].tolist()}}
    recorded["response"] = {"predictions": iris[1][::30].tolist()}
    (scaffold.directory / "smoke-test.json").write_text(json.dumps(recorded))
    steps = Steps(engine, scaffold, "github")
    other = RandomForestClassifier(n_estimators=5).fit(iris[0], 2 - iris[1])
    joblib.dump(other, scaffold.directory / "src" / "model" / "model.joblib")
    done = steps.verified()
    assert done.returncode != 0
    (said,) = [line for line in steps.log.splitlines() if not line.startswith("{")]
    assert said.startswith(
        "error: src/model/model.joblib is not the model that config.yaml records"
    )
    configure(scaffold.directory, sha256=None)
    done = steps.verified()
    said = "the answer is not that of smoke-test.json: predictions[0] should be 0, it is 2"
    assert (done.returncode, done.stderr) == (1, f"error: {said}\n")
