"""The files in `deploy/` for clouds: valid by what their makers publish, and true of the server."""

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

import generator
from generator.environment.venvs import RUNNING, model_python
from generator.scaffold import Scaffold
from support.models.objects import Sums
from support.rendering.checkouts import ROOT, rendered
from support.rendering.schemas import Schemas
from support.servers.containers import Engine, compose_command
from support.servers.running import PREDICT, free_port, serving, settings

CLOUDS = ("sagemaker", "vertex", "azureml", "cloudrun")
SCHEMAS = "azure-ai-ml==1.35.2\ncfn-lint==1.58.0\ngoogle-api-python-client==2.202.0\n"
LOCAL_MODE = "sagemaker[local]==2.257.7\n"
MARGIN_SECONDS = 3  # for an answer to leave


@dataclass(frozen=True)
class Container:
    """What a cloud's file says of its container, and what the cloud itself adds.

    Attributes:
        environ: the variables that it is started with, but for the port.
        port_variable: the variable that names its port; None where nothing does.
        port: where it is asked.
        health: the routes that must answer 200.
        predict: the route of predictions.
        arguments: those after the entry point.
    """

    environ: dict[str, str]
    port_variable: str | None
    port: int
    health: tuple[str, ...]
    predict: str
    arguments: tuple[str, ...] = ()


def document(directory: Path, name: str) -> Any:
    class Loader(yaml.SafeLoader):
        """With the short forms of CloudFormation's functions."""

    Loader.add_constructor("!GetAtt", lambda loader, node: loader.construct_scalar(node).split("."))
    return yaml.load((directory / "deploy" / f"{name}.yaml").read_text(), Loader)


def named(variables: list[dict[str, str]]) -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in variables}


def asked(port: int, *probes: dict[str, Any]) -> tuple[str, ...]:
    """The paths of probes, which all ask at one port."""
    assert {probe["port"] for probe in probes} == {port}
    return tuple(probe["path"] for probe in probes)


def resources(directory: Path) -> dict[str, Any]:
    """The properties of each resource that CloudFormation makes."""
    found = document(directory, "sagemaker")["Resources"]
    return {name: resource["Properties"] for name, resource in found.items()}


def sagemaker(directory: Path) -> Container:
    """Port, routes and argument are SageMaker's own: its page on inference code has them."""
    container = resources(directory)["Model"]["PrimaryContainer"]
    variables = container["Environment"]
    return Container(variables, None, 8080, ("/ping",), "/invocations", ("serve",))


def vertex(directory: Path) -> Container:
    spec = document(directory, "vertex")["models.upload"]["model"]["containerSpec"]
    (port,) = (port["containerPort"] for port in spec["ports"])
    probes = (spec[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness"))
    routes = {"AIP_HEALTH_ROUTE": spec["healthRoute"], "AIP_PREDICT_ROUTE": spec["predictRoute"]}
    health = (spec["healthRoute"], *asked(port, *probes))
    return Container(
        named(spec["env"]) | routes, "AIP_HTTP_PORT", port, health, spec["predictRoute"]
    )


def azureml(directory: Path) -> Container:
    deployment = document(directory, "azureml-deployment")
    routes = deployment["environment"]["inference_config"]
    port = routes["scoring_route"]["port"]
    health = asked(port, routes["liveness_route"], routes["readiness_route"])
    variables = deployment["environment_variables"]
    return Container(variables, None, port, health, routes["scoring_route"]["path"])


def revision(directory: Path) -> dict[str, Any]:
    spec: dict[str, Any] = document(directory, "cloudrun")["spec"]["template"]["spec"]
    return spec


def cloudrun(directory: Path) -> Container:
    """Cloud Run passes every path on."""
    (container,) = revision(directory)["containers"]
    (port,) = (port["containerPort"] for port in container["ports"])
    probes = (container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness"))
    return Container(named(container["env"]), "PORT", port, asked(port, *probes), PREDICT)


READERS = {"sagemaker": sagemaker, "vertex": vertex, "azureml": azureml, "cloudrun": cloudrun}


@pytest.fixture(scope="module")
def directory(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaffold without a model, with the files for all clouds."""
    place = tmp_path_factory.mktemp("clouds") / "out"
    return rendered(plain, place, platforms=list(CLOUDS), framework="custom")


@pytest.fixture(scope="module")
def on_gpu(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clouds") / "gpu"
    return rendered(plain, place, platforms=list(CLOUDS), framework="pytorch", gpu=True)


# ---- the server ----


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_server_has_every_route_and_the_port(
    directory: Path, scaffold: Scaffold, client: httpx.Client, cloud: str
) -> None:
    container = READERS[cloud](directory)
    assert {client.get(path).status_code for path in container.health} == {200}
    body = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
    assert client.post(container.predict, json=body).json()["predictions"] == [0]
    assert container.port == settings(scaffold).http_port
    assert container.environ.items() >= {"WORKERS": "1", "GRPC_PORT": "0"}.items()


@pytest.mark.sweep
@pytest.mark.parametrize("server", ["kserve", "standalone", "kfserving"])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_contract_as_the_file_states_it(tmp_path: Path, cloud: str, server: str) -> None:
    """A server is started with what the file says alone, and asked what the file names."""
    rows = np.arange(8.0).reshape(2, 4)
    how: dict[str, Any] = {"framework": "custom", "sample_input": rows, "server": server}
    made = generator.from_model(Sums(), tmp_path / "sums", platforms=[cloud], **how)
    container = READERS[cloud](made.directory)
    port = free_port()
    ports = {"PORT": str(port)}
    if container.port_variable is not None:
        ports = {"PORT": "", container.port_variable: str(port)}
    with (
        serving(
            made.directory,
            port=port,
            arguments=container.arguments,
            **(container.environ | ports),
        ) as running,
        running.client() as client,
    ):
        assert {client.get(path).status_code for path in container.health} == {200}
        answer = client.post(container.predict, json={"instances": rows.tolist()})
        assert answer.json() == {"predictions": [6, 22]}
        assert len(running.workers()) == int(container.environ["WORKERS"])


@pytest.mark.docker
@pytest.mark.sweep
def test_sagemakers_own_sdk_runs_the_image_and_asks_it(
    engine: Engine, image: str, directory: Path, forest: Any, tmp_path: Path
) -> None:
    """In its local mode, by Docker Compose."""
    compose_command(engine.environ)
    (tmp_path / "requirements.txt").write_text(LOCAL_MODE)
    python = model_python(tmp_path / "requirements.txt", RUNNING)
    program = ROOT / "tests" / "support" / "programs" / "sagemaker_local.py"
    variables = json.dumps(sagemaker(directory).environ)
    command = [python, "-W", "ignore", program, image, str(free_port()), tmp_path, variables]
    try:
        done = subprocess.run(
            [*command, "5.1,3.5,1.4,0.2"], env=engine.environ, capture_output=True, text=True
        )
    finally:
        with contextlib.suppress(AssertionError):  # there is none, or another one uses it
            engine("network", "rm", "sagemaker-local")
    assert done.returncode == 0, done.stderr
    (answer,) = re.findall(r'(?m)^\{"answer": (.*)\}$', done.stdout)
    assert json.loads(answer) == {"predictions": forest.predict([[5.1, 3.5, 1.4, 0.2]]).tolist()}


def test_numbers_agree_with_config_yaml(directory: Path, scaffold: Scaffold) -> None:
    serving = settings(scaffold)
    load = serving.load_timeout_seconds
    longest = serving.drain_seconds + serving.predict_timeout_seconds + MARGIN_SECONDS
    (variant,) = resources(directory)["EndpointConfig"]["ProductionVariants"]
    assert load < variant["ContainerStartupHealthCheckTimeoutInSeconds"] <= 3600
    calls = document(directory, "vertex")
    startup = calls["models.upload"]["model"]["containerSpec"]["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == load
    timeout = calls["endpoints.create"]["clientConnectionConfig"]["inferenceTimeout"]
    assert timeout == f"{longest:.0f}s"
    deployment = document(directory, "azureml-deployment")
    assert deployment["liveness_probe"]["initial_delay"] == load
    requests = deployment["request_settings"]
    assert requests["request_timeout_ms"] == longest * 1000 <= 180_000
    assert requests["max_concurrent_requests_per_instance"] * 2 == serving.max_queue
    spec = revision(directory)
    assert spec["timeoutSeconds"] == longest
    assert spec["containerConcurrency"] <= serving.max_batch_size
    startup = spec["containers"][0]["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 240 <= load


def test_the_resources_of_sagemaker_are_tied_together(directory: Path) -> None:
    made = resources(directory)
    assert made["Model"]["ExecutionRoleArn"] == ["Role", "Arn"]
    (variant,) = made["EndpointConfig"]["ProductionVariants"]
    assert variant["ModelName"] == ["Model", "ModelName"]
    assert made["Endpoint"]["EndpointConfigName"] == ["EndpointConfig", "EndpointConfigName"]


def test_the_calls_of_vertex_ai_are_tied_together_and_sent_as_json(directory: Path) -> None:
    """By the command in README.md, without curl."""
    (program,) = re.findall(r"python -c '(.*?)' \"\$1\"", (directory / "README.md").read_text())
    calls = document(directory, "vertex")
    for name in calls:
        with (directory / "deploy" / "vertex.yaml").open() as file:
            command = [sys.executable, "-c", program, name]
            done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == calls[name]
    deployed = calls["endpoints.deployModel"]["deployedModel"]["model"]
    assert deployed.endswith(f"/models/{calls['models.upload']['modelId']}")


def test_azures_deployment_is_for_azures_endpoint(directory: Path) -> None:
    endpoint = document(directory, "azureml-endpoint")["name"]
    assert document(directory, "azureml-deployment")["endpoint_name"] == endpoint


# ---- names, and a GPU ----


@pytest.mark.parametrize(
    "name", ["model", "Iris.v2", "0", "1e5", "ab", "a._-b", "x" * 63, "y-" * 31 + "y"]
)
def test_every_model_name_gives_names_that_a_cloud_takes(
    plain: Path, tmp_path: Path, name: str
) -> None:
    made = rendered(plain, tmp_path / "out", model_name=name, platforms=list(CLOUDS))
    assert re.fullmatch(
        r"(?=.{3,32}$)[a-z](-?[a-z0-9])*", document(made, "azureml-endpoint")["name"]
    )
    service = document(made, "cloudrun")["metadata"]["name"]
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?", service)
    endpoint = resources(made)["Endpoint"]["EndpointName"]
    assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", endpoint)
    upload = document(made, "vertex")["models.upload"]
    assert re.fullmatch(r"[a-z_][a-z0-9_-]{0,62}", upload["modelId"])
    spec = upload["model"]["containerSpec"]
    assert spec["predictRoute"] == f"{spec['healthRoute']}:predict" == f"/v1/models/{name}:predict"
    readme = (made / "README.md").read_text()
    assert f" proxy {service} " in readme and f" --endpoint-name {endpoint} " in readme


def machines(directory: Path) -> dict[str, Any]:
    """What each cloud runs the container on."""
    spec = revision(directory)
    deployed = document(directory, "vertex")["endpoints.deployModel"]["deployedModel"]
    (variant,) = resources(directory)["EndpointConfig"]["ProductionVariants"]
    return {
        "sagemaker": variant["InstanceType"],
        "vertex": deployed["dedicatedResources"]["machineSpec"],
        "azureml": document(directory, "azureml-deployment")["instance_type"],
        "cloudrun": (spec.get("nodeSelector"), spec["containers"][0]["resources"]["limits"]),
    }


def test_a_gpu_is_asked_for_where_the_model_runs_on_one(directory: Path, on_gpu: Path) -> None:
    with_one, without = machines(on_gpu), machines(directory)
    assert (with_one["sagemaker"], without["sagemaker"]) == ("ml.g5.xlarge", "ml.m5.large")
    assert with_one["vertex"] == {
        "machineType": "g2-standard-4",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 1,
    }
    assert without["vertex"].keys() == {"machineType"}
    assert (with_one["azureml"], without["azureml"]) == ("Standard_NC4as_T4_v3", "Standard_D2as_v4")
    selected, limits = with_one["cloudrun"]
    assert selected == {"run.googleapis.com/accelerator": "nvidia-l4"}
    assert limits["nvidia.com/gpu"] == "1"
    selected, limits = without["cloudrun"]
    assert selected is None and limits.keys() == {"cpu", "memory"}
    annotations = document(on_gpu, "cloudrun")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["run.googleapis.com/cpu-throttling"] == "false"  # as Cloud Run asks for


# ---- what their makers publish ----


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], list[str]]]:
    """What the makers' own packages find in a file, in a cached environment of these alone."""
    place = tmp_path_factory.mktemp("schemas") / "requirements.txt"
    place.write_text(SCHEMAS)
    schemas = Schemas(model_python(place, RUNNING), "cloud_schemas.py")
    yield schemas.faults
    schemas.end()


FILES = ("sagemaker", "vertex", "azureml-endpoint", "azureml-deployment", "cloudrun")


@pytest.mark.sweep
@pytest.mark.parametrize("name", FILES)
def test_it_is_valid(
    directory: Path, on_gpu: Path, faults: Callable[[Path], list[str]], name: str
) -> None:
    for place in (directory, on_gpu):
        assert faults(place / "deploy" / f"{name}.yaml") == []


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("sagemaker", "ml.m5.large", "ml.m5.small", "InstanceType: 'ml.m5.small' is not one of"),
        ("sagemaker", "Seconds: 660", "Seconds: 3660", "3660 is greater than the maximum of 3600"),
        ("sagemaker", "VariantName:", "Variant:", "'VariantName' is a required property"),
        ("sagemaker", "Role.Arn", "Rol.Arn", "'Rol' is not one of"),
        ("vertex", "livenessProbe", "livenesProbe", "containerSpec.livenesProbe is unknown"),
        ("vertex", "deployedModel:", "deployed:", "endpoints.deployModel.deployed is unknown"),
        ("vertex", "Enabled: true", "Enabled: yes please", "must be of type boolean"),
        ("vertex", '"0": 100', '"0": all', "trafficSplit.0 must be of type integer, it is 'all'"),
        ("azureml-endpoint", "auth_mode: key", "auth_mode: keys", "'keys' passed is not in set"),
        ("azureml-deployment", "readiness_route", "ready_route", '"ready_route": [ "Unknown field'),
        ("azureml-deployment", "instance_type", "instance", "instance"),
        ("cloudrun", "timeoutSeconds: 65", "timeout: 65", "template.spec.timeout is unknown"),
        ("cloudrun", "      containers:", "      imagePullSecrets: []\n      containers:",
         "spec.imagePullSecrets is not for you to set: Not supported by Cloud Run"),
        ("cloudrun", "/cpu-throttling", "/cpu-throttled", "cpu-throttled is no annotation of a"),
    ],
)  # fmt: skip
def test_a_wrong_one_is_refused_by_the_same_check(
    directory: Path,
    faults: Callable[[Path], list[str]],
    tmp_path: Path,
    name: str,
    old: str,
    new: str,
    fault: str,
) -> None:
    text = (directory / "deploy" / f"{name}.yaml").read_text()
    assert text.count(old) == 1, old
    wrong = tmp_path / f"{name}.yaml"
    wrong.write_text(text.replace(old, new))
    found = faults(wrong)
    assert any(fault in line for line in found), found
