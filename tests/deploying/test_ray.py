"""deploy/ray.yaml and deploy/ray_app.py on a Ray cluster of two nodes. One node is killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

import generator
from common.bodies import msgpack_decode, msgpack_encode
from generator.environment import venvs
from generator.scaffold import Scaffold
from support.servers.running import BINARY, PREDICT, configure, free_port, settings, together

PROGRAMS = Path(__file__).resolve().parents[1] / "support" / "programs"
INFER = "/v2/models/model/infer"
STARTED = 180  # seconds after which the start of a cluster has failed
CLIENTS = 6
HEALTH_CHECKS = 3  # REPLICA_HEALTH_CHECK_UNHEALTHY_THRESHOLD in Ray Serve's constants
LIMIT = 5  # predict_timeout_seconds of the cluster's scaffold

# An owner's edits: the first feature selects a behaviour, and `tell` is a file for a line a call.
OWNERS_PREPROCESS = """
        first = request["instances"][0][0]
        if first == -1:
            raise InvalidInput("the first feature is -1")
        if first == -2:
            raise RuntimeError("an internal secret")
        return request
"""
OWNERS_PREDICT = """
        import os, time
        if request["instances"][0][0] == -3:
            time.sleep(3600)
        inputs = self._signature.inputs(request["instances"])
        if request.get("tell"):
            with open(request["tell"], "a") as file:
                print(os.getpid(), file=file)
            time.sleep(0.05)
"""


@pytest.fixture(scope="session")
def scaffold(forest: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    """A scaffold for Ray that nobody edits."""
    directory = tmp_path_factory.mktemp("scaffolds") / "test_rfc"
    made = generator.from_model(forest, directory, platforms=["ray"])
    yield made
    made.close()


@pytest.fixture(scope="session")
def ray_python(scaffold: Scaffold) -> Path:
    """The interpreter of a cached environment with deploy/ray-requirements.txt."""
    requirements = scaffold.directory / "deploy" / "ray-requirements.txt"
    content = requirements.read_text() + (scaffold.directory / "requirements.txt").read_text()

    def install(python: Path) -> None:
        venvs.install_requirements(python, [], requirements)

    return venvs.cached("ray", content, venvs.RUNNING, install)


# --- the config


def document(directory: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((directory / "deploy" / "ray.yaml").read_text()))


def deployment(directory: Path) -> dict[str, Any]:
    """The only deployment in the config."""
    (application,) = document(directory)["applications"]
    (found,) = application["deployments"]
    return dict(found)


WRONG = [
    ("max_queued_requests: 1024", "max_queued_request: 1024", "max_queued_request is unknown"),
    ("min_replicas: 2", "min_replica: 2", "autoscaling_config.min_replica is unknown"),
    ("import_path: deploy.ray_app:application", "import_path: deploy", "Got invalid import path"),
    ("num_cpus: 1", "num_cpus: one", "num_cpus: Input should be a valid number"),
    (
        "max_replicas: 6",
        "max_replicas: 1",
        "max_replicas (1) must be greater than or equal to min_replicas (2)",
    ),
    ("retry_after_s: 1", "retry_after: 1", "retry_after: Extra inputs are not permitted"),
]
OFFERED = ("runtime_env:", "  working_dir:", "  pip:", "num_gpus:")


@pytest.mark.sweep
def test_the_config_is_valid_and_wrong_ones_are_refused(
    scaffold: Scaffold, ray_python: Path, tmp_path: Path
) -> None:
    text = (scaffold.directory / "deploy" / "ray.yaml").read_text()
    configs = {"plain": text, "offered": text}
    for line in OFFERED:
        assert text.count(f"# {line}") == 1, line
        configs["offered"] = configs["offered"].replace(f"# {line}", line)
    for old, new, _ in WRONG:
        assert text.count(f" {old}\n") == 1, old
        configs[new] = text.replace(f" {old}\n", f" {new}\n")
    files = [tmp_path / f"{index}.yaml" for index in range(len(configs))]
    for file, config in zip(files, configs.values(), strict=True):
        file.write_text(config)
    command = [ray_python, "-W", "ignore", PROGRAMS / "ray_config.py", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    faults = dict(zip(configs, map(json.loads, done.stdout.splitlines()), strict=True))
    assert faults["plain"] == faults["offered"] == []
    assert [
        (new, faults[new])
        for _, new, fault in WRONG
        if not any(fault in line for line in faults[new])
    ] == []


def test_numbers_agree_with_config_yaml(scaffold: Scaffold) -> None:
    serving = settings(scaffold)
    config, model = document(scaffold.directory), deployment(scaffold.directory)
    assert config["http_options"]["port"] == serving.http_port
    assert config["http_options"]["request_timeout_s"] > 2 * serving.predict_timeout_seconds
    assert config["applications"][0]["logging_config"]["enable_access_log"] == serving.access_log
    assert (
        model["autoscaling_config"]["target_ongoing_requests"]
        == serving.max_queue / 4
        <= serving.max_batch_size
    )
    assert model["max_ongoing_requests"] <= 2 * serving.max_batch_size
    assert model["max_queued_requests"] == serving.max_queue
    assert model["graceful_shutdown_timeout_s"] > serving.predict_timeout_seconds
    assert HEALTH_CHECKS * model["health_check_timeout_s"] > serving.predict_timeout_seconds


# --- the cluster


@dataclass
class Cluster:
    """A cluster that runs the scaffold's config.

    Attributes:
        url: the address of the proxies of all nodes. The kernel distributes connections to them.
        nodes: the ids of the nodes. The last node can be killed.
    """

    url: str
    dashboard: str
    nodes: list[str]
    process: "subprocess.Popen[str]"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def state(self) -> dict[str, Any]:
        """The state of Serve's applications."""
        answer = httpx.get(f"{self.dashboard}/api/serve/applications/", timeout=30, trust_env=False)
        return dict(answer.raise_for_status().json())

    def replicas(self) -> dict[int, str]:
        """The node of each running replica, by process id."""
        found = self.state()["applications"]["test-rfc"]["deployments"]["model"]["replicas"]
        return {
            replica["pid"]: replica["node_id"] for replica in found if replica["state"] == "RUNNING"
        }

    def kill(self) -> tuple[float, float]:
        """Kill the last node. Returns the time of the kill, and the time when it was gone."""
        assert self.process.stdin is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        times = next_message(self.process)
        self.nodes.pop()
        return times["at"], times["gone"]


def next_message(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The next message of the cluster's script. Ray prints to its standard output too."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
    raise AssertionError("the cluster ended")


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + STARTED
    while not condition():
        assert time.monotonic() < deadline, f"timeout: waited until {what}"
        time.sleep(0.25)


@contextlib.contextmanager
def started(
    python: Path, log: Path, **environ: str
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A cluster without applications, and the address of its dashboard."""
    port = free_port()
    command = [
        str(python),
        "-W",
        "ignore",
        str(PROGRAMS / "ray_cluster.py"),
        str(port),
        str(free_port()),
    ]
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            start_new_session=True,
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        try:
            process.wait(STARTED)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.stdout.close()


@pytest.fixture(scope="module")
def cluster(
    scaffold: Scaffold, ray_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """The scaffold with an owner's edits, deployed with its deploy/ray.yaml on another port."""
    directory = edited(scaffold, tmp_path_factory.mktemp("ray") / "test_rfc")
    port = free_port()
    config = directory / "deploy" / "ray.yaml"
    config.write_text(config.read_text().replace("port: 8080\n", f"port: {port}\n"))
    with started(ray_python, directory.parent / "log", PYTHONPATH=str(directory)) as (
        process,
        dashboard,
    ):
        nodes = next_message(process)["nodes"]
        deploy(ray_python, dashboard, config)
        running = Cluster(f"http://127.0.0.1:{port}", dashboard, nodes, process)
        wait_until(lambda: status(running) == "RUNNING", "the application runs")
        wait_until(
            lambda: set(running.replicas().values()) == set(nodes), "each node has a replica"
        )
        yield running


def edited(scaffold: Scaffold, directory: Path) -> Path:
    """A copy of the scaffold with an owner's edits."""
    shutil.copytree(scaffold.directory, directory)
    configure(directory, predict_timeout_seconds=LIMIT, rows_independent=True)
    code = directory / "src" / "server" / "inference_model.py"
    text = code.read_text()
    for old, new in (
        ("        return request\n", OWNERS_PREPROCESS.lstrip("\n")),
        (
            '        inputs = self._signature.inputs(request["instances"])\n',
            OWNERS_PREDICT.lstrip("\n"),
        ),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    code.write_text(text)
    return directory


def deploy(python: Path, dashboard: str, config: Path) -> None:
    # bin/serve has the path where the environment was made.
    serve = "from ray.serve.scripts import cli; cli()"
    command = [python, "-W", "ignore", "-c", serve, "deploy", "--address", dashboard, config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STARTED)
    assert done.returncode == 0, done.stdout + done.stderr


def status(cluster: Cluster) -> str:
    application = cluster.state()["applications"]["test-rfc"]
    assert application["status"] != "DEPLOY_FAILED", application["message"]
    return str(application["status"])


@pytest.fixture
def ray_client(cluster: Cluster) -> Iterator[httpx.Client]:
    with cluster.client() as client:
        yield client


@pytest.mark.sweep
def test_predictions_are_those_of_the_model_in_memory(
    ray_client: httpx.Client, forest: Any, iris: tuple[np.ndarray, np.ndarray]
) -> None:
    rows, _ = iris
    expected = forest.predict(rows).tolist()
    body = {"instances": rows.tolist(), "probabilities": True}
    answer = ray_client.post(PREDICT, json=body).raise_for_status().json()
    assert answer == {"predictions": expected, "probabilities": forest.predict_proba(rows).tolist()}
    binary = ray_client.post(
        BINARY,
        content=msgpack_encode({"instances": rows}),
        headers={"Content-Type": "application/msgpack"},
    )
    assert msgpack_decode(binary.raise_for_status().content)["predictions"].tolist() == expected
    tensor = {
        "name": "x",
        "shape": list(rows.shape),
        "datatype": "FP64",
        "data": rows.ravel().tolist(),
    }
    (output,) = (
        ray_client.post(INFER, json={"inputs": [tensor]}).raise_for_status().json()["outputs"]
    )
    assert output["data"] == expected


@pytest.mark.sweep
@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1/models", "/v1/models/model", "/v2", "/v2/health/live", "/v2/health/ready",
        "/v2/models/model", "/v2/models/model/ready", "/metrics", "/docs",
        "/docs/static/swagger-ui.css", "/openapi.json",
    ],
)  # fmt: skip
def test_the_other_routes_exist(ray_client: httpx.Client, path: str) -> None:
    assert ray_client.get(path).status_code == 200


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("path", "body", "media_type", "status", "message"),
    [
        (PREDICT, "{", "application/json", 400, "JSON"),
        (PREDICT, "{}", "application/json", 400, '"instances" is missing'),
        (PREDICT, '{"instances": [[1, 2, 3]]}', "application/json", 400,
         "the model takes 4 values a row"),
        (PREDICT, '{"instances": [[-1, 2, 3, 4]]}', "application/json", 400,
         "the first feature is -1"),
        (BINARY, "\x00", "application/msgpack", 400, "the body must be an object"),
        (INFER, "{}", "application/json", 400, "inputs"),
        ("/v1/models/other:predict", "{}", "application/json", 404, "'other'"),
        ("/nowhere", "{}", "application/json", 404, "Not Found"),
        (BINARY, "{}", "application/json", 415, "this route does not take application/json"),
        (PREDICT, '{"instances": [[-2, 2, 3, 4]]}', "application/json", 500, "under request id"),
    ],
)  # fmt: skip
def test_errors_are_the_same_as_without_ray(
    ray_client: httpx.Client, path: str, body: str, media_type: str, status: int, message: str
) -> None:
    answer = ray_client.post(
        path, content=body, headers={"Content-Type": media_type, "X-Request-Id": "mine-1"}
    )
    assert answer.status_code == status
    assert message in answer.json()["error"] and "secret" not in answer.text
    assert answer.headers.get_list("x-request-id") == ["mine-1"]
    assert len(answer.headers.get_list("x-model-version")) == 1


@pytest.mark.sweep
def test_a_body_over_the_limit_is_refused(ray_client: httpx.Client) -> None:
    answer = ray_client.post(
        PREDICT, content=b" " * (64 * 2**20 + 1), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


@pytest.mark.sweep
def test_concurrent_requests_are_batched_in_both_replicas(
    cluster: Cluster, forest: Any, iris: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    rows, _ = iris
    calls = tmp_path / "calls"

    def ask(index: int) -> Any:
        with cluster.client() as client:
            body = {"instances": [rows[index].tolist()], "tell": str(calls)}
            return client.post(PREDICT, json=body).raise_for_status().json()

    for _ in range(20):  # the first shared calls are checked: each request is computed alone too
        calls.unlink(missing_ok=True)
        answers = together(32, ask)
        assert [answer["predictions"] for answer in answers] == [
            [label] for label in forest.predict(rows[:32])
        ]
        if len(calls.read_text().splitlines()) <= 16:
            break
    replicas = Counter(int(line) for line in calls.read_text().splitlines())
    assert replicas.total() <= 16, replicas
    assert set(replicas) == set(cluster.replicas())


@dataclass
class Load:
    """Clients that send requests all the time.

    Attributes:
        asked: the start, the end and the failure of each request. The failure may be None.
    """

    url: str
    row: list[float]
    asked: list[tuple[float, float, str | None]] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            while not self.enough.is_set():
                begun = time.monotonic()
                try:
                    answer = client.post(PREDICT, json={"instances": [self.row]})
                    assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
                    failure = None
                except (httpx.TransportError, AssertionError) as error:
                    failure = repr(error)
                self.asked.append((begun, time.monotonic(), failure))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.enough.set()
            for thread in threads:
                thread.join()

    def answered_since(self, moment: float) -> int:
        return sum(begun > moment and failure is None for begun, _, failure in list(self.asked))


@pytest.mark.sweep
def test_killing_a_node_fails_only_its_requests_in_flight(
    cluster: Cluster, iris: tuple[np.ndarray, np.ndarray]
) -> None:
    *_, doomed = cluster.nodes
    lost = {pid for pid, node in cluster.replicas().items() if node == doomed}
    assert lost
    load = Load(cluster.url, iris[0][0].tolist())
    with load.running():
        wait_until(lambda: len(load.asked) > 50, "the clients are answered")
        at, gone = cluster.kill()
        wait_until(lambda: load.answered_since(gone) > 200, "they are answered again")
        wait_until(
            lambda: len(set(cluster.replicas()) - lost) == 2,
            "a new replica replaces the lost one",
        )
        replaced = time.monotonic()
        wait_until(lambda: load.answered_since(replaced) > 50, "they are still answered")
    failed = [
        (begun, ended, failure) for begun, ended, failure in load.asked if failure is not None
    ]
    seconds = replaced - at
    print(f"{len(failed)} of {len(load.asked)} failed, a new replica ran after {seconds:.1f} s")
    elsewhere = [each for each in failed if not (each[0] < gone and each[1] > at)]
    assert elsewhere == [], (at, gone)
    assert len(failed) <= 2 * CLIENTS
    assert set(cluster.replicas().values()) == set(cluster.nodes)


@pytest.mark.sweep
def test_a_replica_that_hangs_answers_504_and_is_replaced(
    cluster: Cluster, ray_client: httpx.Client
) -> None:
    before = set(cluster.replicas())
    answer = ray_client.post(PREDICT, json={"instances": [[-3, 0, 0, 0]]})
    assert answer.status_code == 504
    assert (
        f"predict took longer than {LIMIT} seconds (predict_timeout_seconds)"
        in answer.json()["error"]
    )
    wait_until(lambda: len(set(cluster.replicas()) - before) == 1, "a new replica runs")
    assert len(before & set(cluster.replicas())) == 1
    assert ray_client.post(PREDICT, json={"instances": [[5, 3, 1, 0]]}).status_code == 200


@pytest.mark.sweep
def test_applications_from_archives_share_a_cluster_under_prefixes(
    scaffold: Scaffold, ray_python: Path, tmp_path: Path
) -> None:
    config = document(scaffold.directory)
    config["http_options"]["port"] = port = free_port()
    (application,) = config["applications"]
    application["deployments"][0]["autoscaling_config"] = {"min_replicas": 1, "max_replicas": 1}
    application["deployments"][0] |= {"max_ongoing_requests": 1, "max_queued_requests": 1}
    config["applications"] = []
    for name in ("whole", "broken"):
        directory = shutil.copytree(scaffold.directory, tmp_path / name)
        if name == "broken":
            (directory / "src" / "model" / "model.joblib").write_bytes(b"not a model")
        archive = shutil.make_archive(str(directory), "zip", directory)
        own = {
            "name": name,
            "route_prefix": f"/{name}",
            "runtime_env": {"working_dir": f"file://{archive}"},
        }
        config["applications"].append({**application, **own})
    (tmp_path / "ray.yaml").write_text(yaml.safe_dump(config))
    with started(ray_python, tmp_path / "log") as (process, dashboard):
        cluster = Cluster(
            f"http://127.0.0.1:{port}/whole", dashboard, next_message(process)["nodes"], process
        )
        deploy(ray_python, dashboard, tmp_path / "ray.yaml")

        def status(name: str) -> Any:
            return cluster.state()["applications"][name]["status"]

        wait_until(
            lambda: status("whole") == "RUNNING" and status("broken") == "DEPLOY_FAILED",
            "both have an outcome",
        )
        (broken,) = cluster.state()["applications"]["broken"]["deployments"].values()
        assert (
            "src/model/model.joblib is not the model that config.yaml records"
            in broken["message"].splitlines()[-1]
        )
        with cluster.client() as client:
            for path in (
                "",
                "/v1/models/model",
                "/v2/models/model/ready",
                "/docs",
                "/docs/static/swagger-ui.css",
            ):
                assert client.get(path).status_code == 200, path
        answers = together(
            16,
            lambda _: httpx.post(
                f"{cluster.url}{PREDICT}", json={"instances": [[5, 3, 1, 0]] * 2000}
            ),
        )
        assert {answer.status_code for answer in answers} == {200, 503}
        assert {
            answer.headers.get("retry-after") for answer in answers if answer.status_code == 503
        } == {"1"}


@pytest.mark.sweep
def test_another_model_replaces_the_replicas_where_the_file_changes(
    scaffold: Scaffold, ray_python: Path, forest: Any, tmp_path: Path
) -> None:
    """Serve looks at the file alone, not at the directory: the guide to Ray Serve has the way."""
    directory = shutil.copytree(scaffold.directory, tmp_path / "test_rfc")
    config = document(directory)
    config["http_options"]["port"] = port = free_port()
    (application,) = config["applications"]
    application["deployments"][0]["autoscaling_config"] = {"min_replicas": 1, "max_replicas": 1}
    file = tmp_path / "ray.yaml"
    url = f"http://127.0.0.1:{port}/v1/models/model"

    def version() -> str | None:
        return httpx.get(url, timeout=60, trust_env=False).headers.get("x-model-version")

    with started(ray_python, tmp_path / "log", PYTHONPATH=str(directory)) as (process, dashboard):
        next_message(process)
        for given in ("1", "2"):
            made = generator.load(directory)
            made.replace_model(forest, version=given)
            made.close()
            application["runtime_env"] = {"env_vars": {"MODEL_VERSION": given}}
            file.write_text(yaml.safe_dump(config))
            deploy(ray_python, dashboard, file)
            wait_until(lambda given=given: version() == given, f"version {given} answers")
