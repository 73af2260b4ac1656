"""What an owner's hooks may know, say and do, over real HTTP and gRPC."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import generator
from generator.running.server import Server
from generator.scaffold import Scaffold
from support.servers.running import copied, serving

MODEL = '''
import os
import time
from pathlib import Path

from common import Context, InvalidInput, route

WELL = Path("data/well")


class InferenceModel:
    """Everything that an owner may add."""

    shared_headers = ("x-factor",)

    def __init__(self, config):
        self.warm = 0

    def load(self):
        self.loaded = True

    def warmup(self):
        self.warm += 1

    def health(self):
        return WELL.exists() or "the feature store is away"

    def close(self):
        Path("data/closed").write_text(str(self.warm))

    def preprocess(self, request, context: Context):
        if context.request.headers.get("x-tenant") == "unknown":
            context.status = 403
            raise InvalidInput("there is no such tenant")
        context.values["tenant"] = context.request.headers.get("x-tenant")
        context.values["query"] = dict(context.request.query)
        return request

    def predict(self, request, context):
        factor = int(context.request.headers.get("x-factor", 1))
        return {"predictions": [factor * sum(row) for row in request["instances"]]}

    def postprocess(self, response, context):
        context.headers["X-Tenant-Seen"] = str(context.values["tenant"])
        if context.values["tenant"] == "odd":
            context.headers |= {"x-data-bin": "a", "grpc-a": "a", "x!a": "a", "x-plain": "a"}
            context.headers |= {"x-latin": "\\u00e9", "x-tab": "a\\tb"}
        if context.values["query"]:
            return {**response, "query": context.values["query"], "id": context.request.id}
        context.status = 203 if context.values["tenant"] else 200
        return response

    @route("/explain")
    def explain(self, request):
        """How much each value adds."""
        return {"explanations": [[value for value in row] for row in request["instances"]]}

    @route("/picture", methods=["GET"])
    def picture(self, request, context):
        context.media_type = "image/png"
        context.headers["Cache-Control"] = "no-store"
        return b"\\x89PNG" + context.request.query.get("size", "").encode()

    @route("/state", methods=["GET", "PUT"])
    def state(self, request, context):
        if request == "busy":
            time.sleep(0.03)
        if request == "slow":
            time.sleep(60)
        if request == "die":
            os._exit(9)
        if request == "wrong":
            raise KeyError("wrong")
        if request == "refused":
            raise InvalidInput("the state must be a number")
        if request is not None:
            context.status = 201
        return {"request": request if not isinstance(request, bytes) else len(request)}
'''


@pytest.fixture(
    scope="module", params=["standalone", pytest.param("kserve", marks=pytest.mark.sweep)]
)
def own(
    request: pytest.FixtureRequest, sums: Scaffold, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scaffold]:
    """A scaffold whose owner uses all of it."""
    directory = tmp_path_factory.mktemp("hooks") / "own"
    if request.param == "standalone":
        made = generator.new(directory, server="standalone")
    else:
        made = generator.load(shutil.copytree(sums.directory, directory))
    (directory / "src/server/inference_model.py").write_text(MODEL)
    (directory / "src/data").mkdir(exist_ok=True)
    (directory / "src/data/well").touch()
    yield made
    made.close()


@pytest.fixture(scope="module")
def running(own: Scaffold) -> Iterator[Server]:
    with own.serve(port=0) as server:
        yield server


@pytest.fixture
def asked(running: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, timeout=30) as client:
        yield client


ODD = ("x-data-bin", "grpc-a", "x!a", "x-latin", "x-tab")
PREDICT = "/v1/models/model:predict"
ROWS = {"instances": [[1.0, 2.0, 3.0, 4.0]]}


def test_a_hook_reads_headers_and_query_and_chooses_status_and_headers(
    asked: httpx.Client,
) -> None:
    answer = asked.post(PREDICT, json=ROWS, headers={"X-Tenant": "a", "X-Factor": "3"})
    assert (answer.status_code, answer.json()) == (203, {"predictions": [30.0]})
    assert answer.headers["x-tenant-seen"] == "a"
    plain = asked.post(PREDICT, json=ROWS)
    assert (plain.status_code, plain.json()) == (200, {"predictions": [10.0]})
    ids = {"X-Request-Id": "an-id"}
    query = asked.post(f"{PREDICT}?deep=yes&n=2", json=ROWS, headers=ids).json()
    assert query["query"] == {"deep": "yes", "n": "2"} and query["id"] == "an-id"


def test_a_hook_refuses_with_a_status_of_its_own(asked: httpx.Client) -> None:
    answer = asked.post(PREDICT, json=ROWS, headers={"X-Tenant": "unknown"})
    assert (answer.status_code, answer.json()) == (403, {"error": "there is no such tenant"})


def test_v2_and_cloud_events_get_a_context_too(asked: httpx.Client) -> None:
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}
    headers = {"X-Tenant": "a", "X-Factor": "2"}
    infer = asked.post("/v2/models/model/infer", json={"inputs": [tensor]}, headers=headers)
    assert infer.status_code == 203 and infer.headers["x-tenant-seen"] == "a"
    assert infer.json()["outputs"][0]["data"] == [20.0]
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "a", "ce-type": "b"}
    binary = asked.post(PREDICT, json=ROWS, headers={**headers, **event})
    assert (binary.status_code, binary.json()) == (203, {"predictions": [20.0]})
    assert binary.headers["x-tenant-seen"] == "a" and "ce-id" in binary.headers
    unknown = asked.post(PREDICT, json=ROWS, headers={**event, "X-Tenant": "unknown"})
    assert unknown.status_code == 403 and "tenant" in unknown.json()["error"]


def test_concurrent_requests_with_other_headers_are_kept_apart(running: Server) -> None:
    import concurrent.futures

    def ask(number: int) -> bool:
        factor = number % 5 + 1
        headers = {"X-Factor": str(factor)}
        answer = httpx.post(running.predict_url, json=ROWS, headers=headers, timeout=30)
        return bool(answer.json() == {"predictions": [factor * 10.0]})

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(200)))


def test_a_route_of_the_owners(asked: httpx.Client) -> None:
    answer = asked.post("/explain", json={"instances": [[1, 2]]})
    assert answer.json() == {"explanations": [[1, 2]]} and answer.headers["x-request-id"]
    picture = asked.get("/picture?size=3")
    assert (picture.content, picture.headers["content-type"]) == (b"\x89PNG3", "image/png")
    assert picture.headers["cache-control"] == "no-store"
    head = asked.head("/picture?size=3")
    assert head.status_code == 200 and head.content == b""
    assert asked.put("/state", json=5).status_code == 201
    assert asked.get("/state").json() == {"request": None}
    sent = asked.put("/state", content=b"12345", headers={"content-type": "image/png"})
    assert sent.json() == {"request": 5}


def test_a_route_answers_errors_as_the_others_do(asked: httpx.Client) -> None:
    wrong = asked.delete("/state")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "GET, HEAD, PUT"
    assert asked.get("/explain").status_code == 405
    assert asked.put("/state", json="refused").json() == {"error": "the state must be a number"}
    failed = asked.put("/state", json="wrong")
    assert failed.status_code == 500 and "request id" in failed.json()["error"]
    broken = asked.put("/state", content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code == 400
    died = asked.put("/state", json="die")
    assert died.status_code == 503
    missing = asked.post("/explains", json={})
    assert missing.status_code == 404


def test_routes_are_described_and_counted(asked: httpx.Client) -> None:
    until_ready(asked)
    asked.post("/explain", json={"instances": [[1, 2]]})
    paths = asked.get("/openapi.json").json()["paths"]
    assert paths["/explain"]["post"]["summary"] == "How much each value adds."
    assert set(paths["/state"]) == {"get", "put"} and "requestBody" in paths["/state"]["put"]
    assert 'route="/explain"' in asked.get("/metrics").text


def test_health_says_no_and_yes_again(own: Scaffold, asked: httpx.Client) -> None:
    until_ready(asked)
    well = own.directory / "src/data/well"
    well.unlink()
    until(lambda: asked.get("/readyz").status_code == 503)
    assert asked.post(PREDICT, json=ROWS).status_code == 200
    well.touch()
    until_ready(asked)


@pytest.mark.sweep
def test_a_worker_that_is_never_idle_tells_its_health(sums: Scaffold, tmp_path: Path) -> None:
    """With `max_batch_size: 1` two requests are at the worker, and the others wait."""
    directory = copied(sums, tmp_path / "busy", MODEL, max_batch_size=1)
    well = directory / "src/data/well"
    well.parent.mkdir(exist_ok=True)
    well.touch()
    ended = threading.Event()
    with serving(directory) as server, server.client() as client:

        def asking() -> None:
            with server.client() as own:
                while not ended.is_set():
                    own.put("/state", json="busy")

        threads = [threading.Thread(target=asking) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            well.unlink()
            until(lambda: client.get("/readyz").status_code == 503)
            well.touch()
            until_ready(client)
        finally:
            ended.set()
            for thread in threads:
                thread.join()


@pytest.mark.sweep
def test_a_health_that_hangs_has_its_worker_replaced(sums: Scaffold, tmp_path: Path) -> None:
    hangs = "return not (Path('data/hang').exists() and time.sleep(99))"
    code = MODEL.replace('return WELL.exists() or "the feature store is away"', hangs)
    assert hangs in code
    directory = copied(sums, tmp_path / "hanging", code, predict_timeout_seconds=1.5)
    hang = directory / "src/data/hang"
    hang.parent.mkdir(exist_ok=True)
    with serving(directory) as server, server.client() as client:
        until_ready(client)
        hang.touch()
        until(lambda: server.metric("scaffold_worker_restarts_total", reason="stuck") > 0)
        hang.unlink()
        until(lambda: client.post(PREDICT, json=ROWS).status_code == 200)
        assert "stuck in health()" in server.log.read_text()


def test_close_is_called_on_the_way_out(own: Scaffold) -> None:
    closed = own.directory / "src/data/closed"
    closed.unlink(missing_ok=True)
    with own.serve(port=0) as server:
        assert httpx.post(server.predict_url, json=ROWS, timeout=30).status_code == 200
        assert not closed.exists()
    assert closed.read_text() == "1"


def test_grpc_gets_metadata_and_gives_some(own: Scaffold) -> None:
    grpc = pytest.importorskip("grpc")
    from support.servers.running import free_port

    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRPC_PORT", str(port))
        with own.serve(port=0), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            with pytest.raises(grpc.RpcError) as refused:
                infer(message(), timeout=30, metadata=(("x-tenant", "unknown"),))
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
            _, call = infer.with_call(message(), timeout=30, metadata=(("x-tenant", "a"),))
            assert dict(call.trailing_metadata())["x-tenant-seen"] == "a"
            # Metadata cannot have all that header fields can.
            _, call = infer.with_call(message(), timeout=30, metadata=(("x-tenant", "odd"),))
            found = dict(call.trailing_metadata())
            assert found["x-plain"] == "a" and found.keys().isdisjoint(ODD)


def message() -> bytes:
    """A ModelInferRequest with one row."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name="model")
    tensor = request.inputs.add(name="input", datatype="FP64", shape=[1, 4])
    tensor.contents.fp64_contents.extend([1, 2, 3, 4])
    return bytes(request.SerializeToString())


def until_ready(client: httpx.Client) -> None:
    until(lambda: client.get("/readyz").status_code == 200)


def until(condition: Any) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come true in 30 seconds")


MISTAKES = {
    '@route("explain")': "must be like /explain",
    '@route("/metrics")': "a route '/metrics' of its own",
    '@route("/v1/models/model:explain")': "must be like /explain",
    '@route("/a", methods=["HEAD"])': "must be some of GET",
}


@pytest.mark.parametrize("decorator", MISTAKES)
def test_a_wrong_route_ends_the_start(decorator: str, own: Scaffold, tmp_path: Path) -> None:
    directory = shutil.copytree(own.directory, tmp_path / "wrong")
    file = directory / "src/server/inference_model.py"
    file.write_text(file.read_text().replace('@route("/explain")', decorator))
    wrong = generator.load(directory)
    with pytest.raises(generator.ServingError, match=MISTAKES[decorator]):
        wrong.predict([[1.0]])
    wrong.close()
