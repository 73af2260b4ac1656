"""Which model answers: its version in routes, header fields, metadata, metrics and the log."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

import generator
from generator.scaffold import Scaffold
from support.models.objects import Sums
from support.packages.late import imported_late
from support.servers.running import (
    BINARY,
    PATIENCE,
    PREDICT,
    Running,
    configure,
    copied,
    free_port,
    serving,
)
from support.session.cases import first

grpc = imported_late("grpc")
triton = imported_late("tritonclient.grpc")

VERSION = "1.10+cpu"
JSON = {"content-type": "application/json"}
MODEL = "/v2/models/model"
VERSIONED = f"{MODEL}/versions/{VERSION}"
ROWS = {"instances": [[1, 2, 3, 4]]}
TENSOR = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": [1, 2, 3, 4]}


@pytest.fixture(
    scope="module",
    params=first(1, ["kserve", "standalone", "kfserving"]),
)
def server(
    request: pytest.FixtureRequest, sums: Scaffold, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("versions") / request.param
    if request.param == "kserve":
        configure(copied(sums, place), version=VERSION)
    else:
        rows = np.arange(8.0).reshape(2, 4)
        how: dict[str, Any] = {"framework": "custom", "sample_input": rows}
        generator.from_model(Sums(), place, server=request.param, version=VERSION, **how).close()
    ports = {} if request.param == "kfserving" else {"GRPC_PORT": str(free_port())}
    with serving(place, **ports) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def told(answer: httpx.Response, status: int) -> httpx.Response:
    assert (answer.status_code, answer.headers.get_list("x-model-version")) == (status, [VERSION])
    return answer


def test_the_openapi_document_describes_the_header_fields(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    for path, method in (("/v1/models/model:predict", "post"), ("/v2/models/model", "get")):
        answer = client.request(method, path, json=ROWS if method == "post" else None)
        described = document["paths"][path][method]["responses"]
        assert answer.status_code == 200 and set(described["200"]["headers"]) == {
            "X-Request-Id",
            "X-Model-Version",
        }
        assert set(map(str.lower, described["200"]["headers"])) < set(answer.headers)


def test_every_answer_names_it(client: httpx.Client) -> None:
    told(client.post(PREDICT, json=ROWS), 200)
    told(client.post(PREDICT, content=iter([json.dumps(ROWS).encode()]), headers=JSON), 200)
    told(client.post(PREDICT, json={"instances": [["x"]]}), 400)
    told(client.post(PREDICT, content=b"{", headers=JSON), 400)
    told(client.post(BINARY, json=ROWS), 415)
    told(client.post("/v1/models/other:predict", json=ROWS), 404)
    told(client.post(f"{MODEL}/infer", json={"inputs": [TENSOR]}), 200)
    told(client.post(f"{MODEL}/infer", json={}), 400)
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"}
    told(client.post(PREDICT, json=ROWS, headers=event), 200)
    for path in ("/", "/metrics", "/v1/models/model", MODEL):
        told(client.get(path), 200)


def test_what_is_not_http_is_answered_with_it(server: Running) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 ") and b"x-model-version: 1.10+cpu\r\n" in answer


def test_it_is_in_the_metadata_and_in_answers_of_v2(client: httpx.Client) -> None:
    ready = {"name": "model", "ready": True, "version": VERSION}
    for path in ("/v1/models/model", f"{MODEL}/ready", f"{VERSIONED}/ready"):
        assert told(client.get(path), 200).json() == ready
    assert client.get(MODEL).json() == told(client.get(VERSIONED), 200).json()
    assert client.get(MODEL).json()["versions"] == [VERSION]
    for body in ({"inputs": [TENSOR]}, {"inputs": [TENSOR], "parameters": {"x": 1}}):
        for path in (f"{VERSIONED}/infer", f"{MODEL}/versions/1.10%2Bcpu/infer"):
            answer = told(client.post(path, json=body), 200).json()
            assert (answer["model_version"], answer["outputs"][0]["data"]) == (VERSION, [10.0])
    assert client.get("/v1/models/model?version=2").json() == ready  # which the path alone chooses


def test_another_version_is_unknown(client: httpx.Client) -> None:
    other = f"{MODEL}/versions/1.1"
    error = {"error": f"there is no version '1.1' here, the version is '{VERSION}'"}
    assert told(client.post(f"{other}/infer", content=b"{"), 404).json() == error
    for path in (other, f"{other}/ready"):
        assert told(client.get(path), 404).json() == error
    for path in ("/v1/models/other", f"/v2/models/other/versions/{VERSION}"):
        assert "other" in told(client.get(path), 404).json()["error"]


def test_the_metrics_and_the_log_tell_it(client: httpx.Client, server: Running) -> None:
    labels = f'{{framework="custom",model_name="model",version="{VERSION}"}}'
    lines = re.findall("(?m)^scaffold_model_info.*$", client.get("/metrics").text)
    assert [sorted_labels(line) for line in lines] == [f"scaffold_model_info{labels} 1.0"]
    assert f"of model, version {VERSION}" in server.lines()[0]["message"]


def sorted_labels(line: str) -> str:
    name, labels, value = re.split("[{}]", line)
    return f"{name}{{{','.join(sorted(labels.split(',')))}}}{value}"


@pytest.mark.parametrize(  # KFServing has no gRPC
    "server", ["kserve", pytest.param("standalone", marks=pytest.mark.sweep)], indirect=True
)
def test_grpc_names_it(server: Running) -> None:
    tensor = triton.InferInput("x", [1, 4], "FP64")
    tensor.set_data_from_numpy(np.array([[1.0, 2, 3, 4]]))
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        assert client.is_model_ready("model", VERSION)
        assert list(client.get_model_metadata("model", VERSION).versions) == [VERSION]
        for version in ("", VERSION):
            answer = client.infer("model", [tensor], model_version=version)
            assert answer.get_response().model_version == VERSION
        with pytest.raises(triton.InferenceServerException) as refused:
            client.infer("model", [tensor], model_version="2")
    assert refused.value.status() == "StatusCode.NOT_FOUND"
    assert f"the version is '{VERSION}'" in str(refused.value)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        done = call.future(b"\xff" * 20, timeout=PATIENCE)
        assert done.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert dict(done.trailing_metadata())["x-model-version"] == VERSION
