"""What `kubectl apply -k deploy` applies: the image of the model's version, under names of its own.

kubectl, or kustomize, merges the files as a cluster's owner has them merged: no cluster is asked.
"""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import generator
from common.config import Config
from generator.environment.venvs import RUNNING, model_python
from generator.scaffold import Scaffold
from support.models.objects import Sums
from support.rendering.checkouts import rendered
from support.rendering.schemas import Schemas

CHECKERS = (
    "checkov==3.3.30\nkubernetes-validate==1.37.0\ncloudcoil-models-prometheus-operator==0.80.1.0\n"
)
UNCHECKED = {
    "CKV_K8S_21",  # the namespace: it is kubectl's, or kustomization.yaml's
    "CKV_K8S_43",  # an image's digest: it is known once the image has been pushed
}
FILE = "deploy/kustomization.yaml"
IN_CLUSTERS = ["kubernetes", "kserve"]
VERSION = "app.kubernetes.io/version"
ALL = [*IN_CLUSTERS, "compose", "ray", "sagemaker", "vertex", "azureml", "cloudrun"]

Merge = Callable[[Path], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def merge() -> Merge:
    """What is applied of a scaffold's directory."""
    programs = [(shutil.which("kubectl"), ["kustomize"]), (shutil.which("kustomize"), ["build"])]
    program = next(([path, *command] for path, command in programs if path), None)
    if program is None:
        pytest.skip("there is neither kubectl nor kustomize")

    def merged(directory: Path) -> list[dict[str, Any]]:
        command = [*program, str(directory / "deploy")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return list(yaml.safe_load_all(done.stdout))

    return merged


@pytest.fixture
def own_sums(sums: Scaffold, tmp_path: Path) -> Iterator[Scaffold]:
    made = generator.load(shutil.copytree(sums.directory, tmp_path / "own_sums"))
    yield made
    made.close()


def images(value: Any) -> Iterator[str]:
    """The images in a document, whatever its form."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if key in ("image", "Image", "imageUri"):
            yield item
        elif isinstance(item, (dict, list)):
            yield from images(item)


def applied(documents: list[dict[str, Any]]) -> set[str]:
    return {image for document in documents for image in images(document)}


def manifests(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (directory / "deploy").glob("*.yaml")}


def recorded(directory: Path) -> Config:
    return Config.read(directory / "config.yaml", {})


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new))


# ---- the image ----


def test_the_image_is_that_of_the_models_version(scaffold: Scaffold, merge: Merge) -> None:
    documents, version = merge(scaffold.directory), recorded(scaffold.directory).model.version
    assert version and applied(documents) == {f"test_rfc:{version}"}
    assert {each["metadata"]["labels"][VERSION] for each in documents} == {version}
    (deployment,) = (each for each in documents if each["kind"] == "Deployment")
    assert deployment["spec"]["template"]["metadata"]["labels"][VERSION] == version
    # A cluster refuses another selector of a Deployment that it has.
    assert deployment["spec"]["selector"] == {"matchLabels": {"app.kubernetes.io/name": "test-rfc"}}


@pytest.mark.parametrize("server", ["kserve", pytest.param("kfserving", marks=pytest.mark.sweep)])
def test_the_image_of_an_inference_service(
    plain: Path, tmp_path: Path, merge: Merge, server: str
) -> None:
    named = "registry.example.org:5000/me/iris:1.0"
    made = rendered(plain, tmp_path / "made", platforms=["kserve"], server=server, image=named)
    (service,) = merge(made)
    assert service["kind"] == "InferenceService" and applied([service]) == {named}
    change(made / FILE, 'newTag: ""', 'newTag: "3fa"')
    assert applied(merge(made)) == {"registry.example.org:5000/me/iris:3fa"}


def test_the_readmes_commands_name_the_image(scaffold: Scaffold, merge: Merge) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    (line,) = re.findall(r"(?m)^IMAGE=.*$", (scaffold.directory / "README.md").read_text())
    command = ["sh", "-c", f'{line}; echo "$IMAGE"']
    done = subprocess.run(command, cwd=scaffold.directory, capture_output=True, text=True)
    assert {done.stdout.rstrip("\n")} == applied(merge(scaffold.directory))


def test_without_a_model_the_files_name_the_tag(plain: Path, tmp_path: Path, merge: Merge) -> None:
    assert applied(merge(rendered(plain, tmp_path / "Two words"))) == {"two-words"}
    tagged = rendered(plain, tmp_path / "tagged", image="iris:1.0")
    assert applied(merge(tagged)) == {"iris:1.0"}


def test_another_model_changes_the_tag_in_one_place(own_sums: Scaffold) -> None:
    before = manifests(own_sums.directory)
    own_sums.replace_model(Sums(), version="1.10+cu121")
    after = manifests(own_sums.directory)
    assert [name for name in before if after[name] != before[name]] == ["kustomization.yaml"]
    written = yaml.safe_load(after["kustomization.yaml"])
    (image,), (labels,) = written["images"], written["labels"]
    assert re.fullmatch(r"1\.10-cu121-[0-9a-f]{8}", image["newTag"])
    assert labels["pairs"] == {VERSION: image["newTag"]}


def test_a_tag_of_the_owners_stays(own_sums: Scaffold) -> None:
    file = own_sums.directory / FILE
    (old,) = re.findall(r'newTag: "(.*)"', file.read_text())
    change(file, f'newTag: "{old}"', "newTag: ours")
    kept = own_sums.directory / "deploy" / "sagemaker.yaml"
    kept.write_text(f"Image: account.example.org/sums:{old}  # by hand\nOther: sums:{old}\n")
    foreign = own_sums.directory / "deploy" / "latin.yaml"
    foreign.write_bytes(b"# caf\xe9\r\nimage: sums:1.0\n")
    own_sums.replace_model(Sums(), version="2")
    assert "newTag: ours\n" in file.read_text() and f'{VERSION}: "2"\n' in file.read_text()
    assert kept.read_text() == f"Image: account.example.org/sums:2  # by hand\nOther: sums:{old}\n"
    assert foreign.read_bytes() == b"# caf\xe9\r\nimage: sums:1.0\n"


@pytest.mark.parametrize(
    "image", ["registry.example.org/me/iris:1.0", "me/iris", "localhost:5/a", "localhost/a"]
)
def test_no_comment_puts_one_registry_behind_another(
    plain: Path, tmp_path: Path, image: str
) -> None:
    made = rendered(plain, tmp_path / "made", image=image, platforms=ALL)
    texts = "".join([*manifests(made).values(), (made / "README.md").read_text()])
    pushed = re.findall(r"\b(?:REGISTRY|REPOSITORY|amazonaws\.com|azurecr\.io)/(\S+)", texts)
    assert pushed and not [name for name in pushed if "example.org" in name or "localhost" in name]
    assert (f"docker push {image}\n" in texts) == (image != "me/iris")


# ---- names ----


def test_two_models_without_names_do_not_replace_each_other(
    plain: Path, tmp_path: Path, merge: Merge
) -> None:
    made = [rendered(plain, tmp_path / name, platforms=ALL) for name in ("north", "south")]
    first, second = (
        {(each["kind"], each["metadata"]["name"]) for each in merge(directory)}
        for directory in made
    )
    assert len(first) == len(second) == 5 and first.isdisjoint(second)
    for name, text in manifests(made[0]).items():
        other = (made[1] / "deploy" / name).read_text()
        assert other == text.replace("north", "south") and "north" in text, name


def test_the_generators_scaffolds_are_named_after_their_directories(tmp_path: Path) -> None:
    named = {}
    for directory, name in [("Sales 2", "model"), ("sales", "iris.v2"), ("...", "model")]:
        made = generator.new(tmp_path / directory, name=name).directory
        named[directory] = yaml.safe_load((made / "deploy" / "compose.yaml").read_text())
    found = {key: (each["name"], *images(each)) for key, each in named.items()}
    assert found == {
        "Sales 2": ("sales-2", "sales-2"),
        "sales": ("iris-v2", "iris.v2"),
        "...": ("model", "model"),
    }


# ---- who may ask ----


def test_the_network_lets_in_what_the_replicas_answer(scaffold: Scaffold, merge: Merge) -> None:
    specs = {each["kind"]: each["spec"] for each in merge(scaffold.directory)}
    pod, policy = specs["Deployment"]["template"], specs["NetworkPolicy"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    near, prometheus = policy["ingress"]
    assert {port["port"] for port in near["ports"]} == ports
    assert near["from"] == [{"podSelector": {}}]
    annotated = pod["metadata"]["annotations"]["prometheus.io/port"]
    assert [str(port["port"]) for port in prometheus["ports"]] == [annotated]
    assert policy["policyTypes"] == ["Ingress", "Egress"] and policy["egress"] == []


def test_prometheuss_operator_finds_the_replicas(plain: Path, tmp_path: Path) -> None:
    made = rendered(plain, tmp_path / "made", platforms=IN_CLUSTERS)
    monitor = yaml.safe_load((made / "deploy" / "podmonitor.yaml").read_text())
    deployment, *_ = yaml.safe_load_all((made / "deploy" / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {each["name"] for each in pod["spec"]["containers"][0]["ports"]}
    assert endpoint["path"] == pod["metadata"]["annotations"]["prometheus.io/path"]
    made = rendered(plain, tmp_path / "services", platforms=["kserve"], model_name="Iris")
    monitor = yaml.safe_load((made / "deploy" / "podmonitor.yaml").read_text())["spec"]
    assert monitor["selector"]["matchLabels"] == {"serving.kserve.io/inferenceservice": "iris"}
    assert monitor["podMetricsEndpoints"] == [{"portNumber": 8080, "path": "/metrics"}]


# ---- by the checkers ----


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Schemas]:
    """checkov, kubernetes-validate and the schemas of Prometheus's operator."""
    requirements = tmp_path_factory.mktemp("checkers") / "requirements.txt"
    requirements.write_text(CHECKERS)
    running = Schemas(model_python(requirements, RUNNING), "manifest_checks.py")
    yield running
    running.end()


def with_monitor(template: Path, directory: Path, **answers: Any) -> Path:
    """A scaffold as for a model, in a cluster with Prometheus's operator."""
    made = rendered(template, directory, **answers)
    change(made / FILE, 'newTag: ""', 'newTag: "3fa"')
    change(made / FILE, "# - podmonitor.yaml", "- podmonitor.yaml")
    return made


def found(checks: Schemas, documents: list[dict[str, Any]], place: Path) -> list[str]:
    place.write_text(yaml.safe_dump_all(documents))
    return [fault for fault in checks.faults(place) if fault.split()[0] not in UNCHECKED]


@pytest.mark.sweep
@pytest.mark.parametrize("server", ["kserve", "kfserving"])
@pytest.mark.parametrize("gpu", [False, True])
def test_the_checkers_pass_what_is_applied(
    checks: Schemas, plain: Path, tmp_path: Path, merge: Merge, server: str, gpu: bool
) -> None:
    answers = {"platforms": IN_CLUSTERS, "framework": "pytorch", "gpu": gpu, "server": server}
    documents = merge(with_monitor(plain, tmp_path / "made", **answers))
    assert len(documents) == 6
    assert found(checks, documents, tmp_path / "applied.yaml") == []


POD = "spec.template.spec"


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("kind", "place", "value", "fault"),
    [
        ("Deployment", f"{POD}.containers.0.imagePullPolicy", "IfNotPresent", "CKV_K8S_15 "),
        ("Deployment", f"{POD}.securityContext.runAsUser", 1000, "CKV_K8S_40 "),
        ("Deployment", f"{POD}.containers.0.image", "made", "CKV_K8S_14 "),
        ("Deployment", f"{POD}.topologySpreadConstraints.0.maxSkew", "1", "'1' is not of type"),
        ("Deployment", f"{POD}.enableServiceLink", False, "'enableServiceLink' was unexpected"),
        ("NetworkPolicy", "spec.podSelector.matchLabels", {"other": "made"}, "CKV2_K8S_6 "),
        ("NetworkPolicy", "spec.ingress.0.ports.0.port", [8080], "is not valid"),
        ("PodMonitor", "spec.podMetricsEndpoints.0.port", 8080, "should be a valid string"),
        ("PodMonitor", "spec.podMetricsEndpoints.0.ports", "http", "keys that are unknown"),
    ],
)
def test_the_checkers_find_a_fault(
    checks: Schemas,
    plain: Path,
    tmp_path: Path,
    merge: Merge,
    kind: str,
    place: str,
    value: Any,
    fault: str,
) -> None:
    documents = merge(with_monitor(plain, tmp_path / "made", platforms=["kubernetes"]))
    (at,) = (each for each in documents if each["kind"] == kind)
    *places, last = (int(part) if part.isdecimal() else part for part in place.split("."))
    for part in places:
        at = at[part]
    at[last] = value
    faults = found(checks, documents, tmp_path / "applied.yaml")
    assert any(fault in line for line in faults), faults
