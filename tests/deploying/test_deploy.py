"""The manifests in `deploy/`: valid by their schemas, and in agreement with the server."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import generator
from generator.environment.venvs import server_python
from generator.scaffold import Scaffold
from support.rendering.checkouts import rendered
from support.rendering.schemas import Schemas
from support.servers.running import LOCKS, TEMPLATE, settings

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
MANIFESTS = ("kserve.yaml", "kubernetes.yaml")
KNATIVE_CONCURRENCY = 1000  # container-concurrency-max-limit in its config-defaults
# What a predictor holds that is KServe's own; the rest goes to Knative as it is.
KSERVE_OWN = {
    "minReplicas",
    "maxReplicas",
    "scaleMetric",
    "scaleTarget",
    "containerConcurrency",
    "timeout",
}
# The fields that Knative Serving takes without feature flags: pkg/apis/serving/fieldmask.go as of
# August 2026. startupProbe is the youngest of them, of July 2024 (Knative 1.15).
KNATIVE = {
    "pod": {
        *(
            "serviceAccountName",
            "automountServiceAccountToken",
            "containers",
            "volumes",
            "imagePullSecrets",
        ),
        "enableServiceLinks",
    },
    "container": {
        *(
            "name",
            "image",
            "imagePullPolicy",
            "command",
            "args",
            "workingDir",
            "env",
            "envFrom",
            "ports",
            "resources",
        ),
        *("livenessProbe", "readinessProbe", "startupProbe", "securityContext", "volumeMounts"),
        *("terminationMessagePath", "terminationMessagePolicy"),
    },
    "securityContext": {
        *(
            "capabilities",
            "readOnlyRootFilesystem",
            "runAsUser",
            "runAsGroup",
            "runAsNonRoot",
            "seccompProfile",
        ),
        *("allowPrivilegeEscalation", "privileged"),
    },
    "probe": {
        *(
            "httpGet",
            "tcpSocket",
            "exec",
            "grpc",
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
        ),
        *("successThreshold", "failureThreshold", "terminationGracePeriodSeconds"),
    },
    "httpGet": {"host", "path", "scheme", "httpHeaders", "port"},
    "port": {"containerPort", "name", "protocol"},
}


def documents(directory: Path, name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((directory / "deploy" / name).read_text()))


def pod(document: dict[str, Any]) -> dict[str, Any]:
    """What both manifests say of the pod."""
    spec = document["spec"]
    return dict(
        spec["predictor"] if document["kind"] == "InferenceService" else spec["template"]["spec"]
    )


@pytest.fixture(scope="session")
def faults() -> Iterator[Callable[..., list[str]]]:
    """What the schemas find in a manifest."""
    running: dict[str, Schemas] = {}

    def found(manifest: Path, server: str = "kserve") -> list[str]:
        if server not in running:
            source = str(TEMPLATE / "src")
            python = server_python(LOCKS[server])
            running[server] = Schemas(python, "schemas.py", PYTHONPATH=source)
        return running[server].faults(manifest)

    yield found
    for schemas in running.values():
        schemas.end()


@pytest.fixture(scope="session")
def kfserving(forest: Any, tmp_path_factory: pytest.TempPathFactory) -> Scaffold:
    """A scaffold whose server is KFServing."""
    return generator.from_model(
        forest, tmp_path_factory.mktemp("kfserving") / "rfc", server="kfserving"
    )


@pytest.mark.parametrize("name", MANIFESTS)
def test_with_a_gpu_it_is_valid_and_asks_for_one(
    faults: Callable[[Path], list[str]], plain: Path, tmp_path: Path, name: str
) -> None:
    directory = rendered(plain, tmp_path / "out", framework="pytorch", gpu=True)
    assert faults(directory / "deploy" / name) == []
    document = documents(directory, name)[0]
    (container,) = pod(document)["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in container["resources"]["requests"]  # Kubernetes sets it alike
    if name == "kserve.yaml":  # Knative takes tolerations only where they are turned on
        assert pod(document).keys() - KSERVE_OWN <= KNATIVE["pod"]
    else:
        assert pod(document)["tolerations"][0]["key"] == "nvidia.com/gpu"


@pytest.mark.parametrize("name", MANIFESTS)
def test_it_is_valid(scaffold: Scaffold, faults: Callable[[Path], list[str]], name: str) -> None:
    assert faults(scaffold.directory / "deploy" / name) == []


@pytest.mark.parametrize(
    ("name", "marked"),
    [
        ("kserve.yaml", "canaryTrafficPercent: 10"),
        ("kserve.yaml", "imagePullSecrets:|  - name: NAME"),
        ("kubernetes.yaml", "imagePullSecrets:|  - name: NAME"),
        ("networkpolicy.yaml", "- namespaceSelector:|    matchLabels:|"
         "      kubernetes.io/metadata.name: ingress-nginx"),
    ],
)  # fmt: skip
def test_what_is_marked_as_a_comment_is_valid_too(
    scaffold: Scaffold,
    faults: Callable[[Path], list[str]],
    tmp_path: Path,
    name: str,
    marked: str,
) -> None:
    text = (scaffold.directory / "deploy" / name).read_text()
    for line in marked.split("|"):
        assert text.count(f"# {line}\n") == 1, line
        text = text.replace(f"# {line}\n", f"{line}\n")
    (tmp_path / name).write_text(text)
    assert faults(tmp_path / name) == []
    assert marked.split("|")[-1].split()[-1] in str(list(yaml.safe_load_all(text)))


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        (
            "kserve.yaml",
            "livenessProbe:",
            "livenesProbe:",
            "predictor.containers[0].livenesProbe is unknown",
        ),
        (
            "kserve.yaml",
            "minReplicas: 1",
            "minReplicas: one",
            "minReplicas must be of type int, it is 'one'",
        ),
        (
            "kubernetes.yaml",
            "maxReplicas: 6",
            "maxReplica: 6",
            "HorizontalPodAutoscaler.spec.maxReplica is unknown",
        ),
        (
            "kubernetes.yaml",
            "  maxReplicas: 6\n",
            "",
            "V2HorizontalPodAutoscalerSpec maxReplicas Field required",
        ),
        (
            "kubernetes.yaml",
            "drop: [ALL]",
            "drop: ALL",
            "capabilities.drop must be a list, it is 'ALL'",
        ),
        (
            "kubernetes.yaml",
            "policy/v1",
            "policy/v2",
            "('policy/v2', 'PodDisruptionBudget') is no kind that is known",
        ),
    ],
)
def test_a_wrong_one_is_refused_by_the_same_check(
    scaffold: Scaffold,
    faults: Callable[[Path], list[str]],
    tmp_path: Path,
    name: str,
    old: str,
    new: str,
    fault: str,
) -> None:
    text = (scaffold.directory / "deploy" / name).read_text()
    assert text.count(old) == 1
    (tmp_path / name).write_text(text.replace(old, new))
    assert any(fault in line for line in faults(tmp_path / name))


@pytest.mark.parametrize(
    "model_name", ["model", "Iris.v2", "0", "true", "1e5", "a._-b", "x" * 63, "1" * 63]
)
def test_every_model_name_gives_names_that_a_cluster_takes(
    faults: Callable[[Path], list[str]], plain: Path, tmp_path: Path, model_name: str
) -> None:
    rendered(plain, tmp_path / "out", model_name=model_name)
    found = [document for name in MANIFESTS for document in documents(tmp_path / "out", name)]
    names = {document["metadata"]["name"] for document in found}
    assert len(names) == 1 and DNS_LABEL.fullmatch(names.pop())
    for name in MANIFESTS:
        assert faults(tmp_path / "out" / "deploy" / name) == []
    (compose,) = documents(tmp_path / "out", "compose.yaml")
    assert isinstance(compose["name"], str) and isinstance(
        compose["services"]["server"]["image"], str
    )


@pytest.mark.sweep
def test_kfservings_manifest_with_a_gpu(
    faults: Callable[..., list[str]], plain: Path, tmp_path: Path
) -> None:
    directory = rendered(plain, tmp_path / "out", framework="onnx", server="kfserving", gpu=True)
    assert faults(directory / "deploy" / "kfserving.yaml", "kfserving") == []
    (document,) = documents(directory, "kfserving.yaml")
    (container,) = document["spec"]["predictor"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.mark.sweep
def test_kfservings_manifest(
    kfserving: Scaffold, faults: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Fields as Knative 0.22 takes them, which KFServing 0.6 was released with."""
    file = kfserving.directory / "deploy" / "kfserving.yaml"
    assert faults(file, "kfserving") == []
    (tmp_path / "wrong.yaml").write_text(
        file.read_text().replace("minReplicas: 1", "minReplica: 1")
    )
    assert faults(tmp_path / "wrong.yaml", "kfserving") == [
        "InferenceService.spec.predictor.minReplica is unknown"
    ]
    (document,) = documents(kfserving.directory, "kfserving.yaml")
    predictor, serving = document["spec"]["predictor"], settings(kfserving)
    (container,) = predictor["containers"]
    assert container.keys() <= KNATIVE["container"] - {"startupProbe"}
    assert container["securityContext"].keys() == {"readOnlyRootFilesystem"}
    assert container["livenessProbe"]["initialDelaySeconds"] == serving.load_timeout_seconds
    target = int(document["metadata"]["annotations"]["autoscaling.knative.dev/target"])
    assert target == serving.max_queue / 4 <= serving.max_batch_size
    assert predictor["containerConcurrency"] == min(serving.max_queue, KNATIVE_CONCURRENCY)
    assert predictor["timeout"] > serving.predict_timeout_seconds + serving.drain_seconds


def test_no_port_is_named_that_the_server_does_not_open(kfserving: Scaffold) -> None:
    texts = [path.read_text() for path in (kfserving.directory / "deploy").glob("*.yaml")]
    assert not [
        text
        for text in (*texts, (kfserving.directory / kfserving.dockerfile).read_text())
        if "8081" in text
    ]


def test_numbers_agree_with_config_yaml(scaffold: Scaffold) -> None:
    serving = settings(scaffold)
    (kserve,) = documents(scaffold.directory, "kserve.yaml")
    predictor = kserve["spec"]["predictor"]
    assert predictor["containerConcurrency"] == min(serving.max_queue, KNATIVE_CONCURRENCY)
    assert predictor["scaleTarget"] == serving.max_queue / 4 <= serving.max_batch_size
    deployment = documents(scaffold.directory, "kubernetes.yaml")[0]
    for document in (kserve, deployment):
        startup = pod(document)["containers"][0]["startupProbe"]
        assert (
            startup["periodSeconds"] * startup["failureThreshold"] == serving.load_timeout_seconds
        )
    grace = pod(deployment)["terminationGracePeriodSeconds"]
    deadline = kserve["metadata"]["annotations"]["serving.knative.dev/progress-deadline"]
    assert int(deadline.removesuffix("s")) > serving.load_timeout_seconds
    (server,) = pod(deployment)["containers"]
    command, seconds = server["lifecycle"]["preStop"]["exec"]["command"]
    assert command == "sleep"
    for given in (grace - int(seconds), predictor["timeout"]):
        assert given >= serving.grace_seconds + serving.drain_seconds + 2  # its last connections
    (compose,) = documents(scaffold.directory, "compose.yaml")
    server = compose["services"]["server"]
    assert server["stop_grace_period"] == f"{grace}s"
    assert server["healthcheck"]["start_period"] == f"{serving.load_timeout_seconds:.0f}s"
    assert server["build"]["dockerfile"] == scaffold.dockerfile


def test_knative_takes_what_kserve_hands_on(scaffold: Scaffold) -> None:
    (kserve,) = documents(scaffold.directory, "kserve.yaml")
    predictor = kserve["spec"]["predictor"]
    assert predictor.keys() - KSERVE_OWN <= KNATIVE["pod"]
    assert predictor["automountServiceAccountToken"] is False  # the one value that Knative takes
    (container,) = predictor["containers"]
    assert container.keys() <= KNATIVE["container"]
    assert container["securityContext"].keys() <= KNATIVE["securityContext"]
    assert container["securityContext"]["capabilities"].keys() <= {"drop"}
    (port,) = container["ports"]
    assert port.keys() <= KNATIVE["port"] and port.get("name", "") in {"", "http1", "h2c"}
    for probe in (value for name, value in container.items() if name.endswith("Probe")):
        assert probe.keys() <= KNATIVE["probe"] and probe["httpGet"].keys() <= KNATIVE["httpGet"]
        assert probe["httpGet"]["port"] == port["containerPort"]


def test_every_pod_is_as_restricted_as_the_image_bears(scaffold: Scaffold) -> None:
    image = (scaffold.directory / scaffold.dockerfile).read_text()
    for name in MANIFESTS:
        (document, *_) = documents(scaffold.directory, name)
        context = {
            **pod(document).get("securityContext", {}),
            **pod(document)["containers"][0]["securityContext"],
        }
        if name == "kubernetes.yaml":  # OpenShift, where KServe often runs, gives ids of its own
            user, group = context.pop("runAsUser"), context.pop("runAsGroup")
            assert f"USER {user}:{group}\n" in image
        assert context == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_the_server_answers_what_the_probes_ask(scaffold: Scaffold, client: httpx.Client) -> None:
    for document in (documents(scaffold.directory, name)[0] for name in MANIFESTS):
        (container,) = pod(document)["containers"]
        probes = (
            container[f"{kind}Probe"]["httpGet"]["path"]
            for kind in ("startup", "liveness", "readiness")
        )
        assert (paths := list(probes)) == ["/", "/", "/v1/models/model"]
        assert {client.get(path).status_code for path in paths} == {200}


def test_the_service_leads_to_the_deployment(scaffold: Scaffold) -> None:
    deployment, service, scaler, budget = documents(scaffold.directory, "kubernetes.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == budget["spec"]["selector"]["matchLabels"] == labels
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    ports = {
        port["name"]: port["containerPort"] for port in pod(deployment)["containers"][0]["ports"]
    }
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys()
