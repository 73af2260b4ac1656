"""Requests as platforms that run containers send them, and MLflow's own client."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

import generator
from generator.scaffold import Scaffold
from support.models.objects import Sums
from support.packages.late import imported_late
from support.servers.running import BINARY, PREDICT, Running, serving

scoring = imported_late("mlflow.pyfunc.scoring_server.client")

ROWS = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]
SUMS = {"predictions": [10.0, 26.0]}
# Vertex AI asks for health and for predictions at one path, where the deployment names none.
ROUTE = "/v1/endpoints/12/deployedModels/34:predict"


@pytest.fixture(
    scope="module",
    params=[
        "kserve",
        *(pytest.param(name, marks=pytest.mark.sweep) for name in ("standalone", "kfserving")),
    ],
)
def server(
    request: pytest.FixtureRequest, sums: Scaffold, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server as SageMaker starts it, with Vertex AI's variables."""
    place = sums.directory
    if request.param != "kserve":
        place = tmp_path_factory.mktemp("platforms") / request.param
        rows = np.arange(8.0).reshape(2, 4)
        how: dict[str, Any] = {"framework": "custom", "sample_input": rows}
        generator.from_model(Sums(), place, server=request.param, **how).close()
    environ = {"AIP_HEALTH_ROUTE": ROUTE, "AIP_PREDICT_ROUTE": ROUTE}
    with serving(place, arguments=["serve"], **environ) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def test_sagemaker(client: httpx.Client) -> None:
    assert client.get("/ping").status_code == 200
    fields = {
        "content-type": "text/csv; header=absent",
        "accept": "application/json",
        "x-amzn-sagemaker-inference-id": "inference-1",
        "x-amzn-sagemaker-custom-attributes": "trace=7",
    }
    answer = client.post("/invocations", content="1.0,2.0,3.0,4.0\n5,6,7,8", headers=fields)
    assert (answer.status_code, answer.json()) == (200, SUMS)
    assert answer.headers["x-request-id"] == "inference-1"
    assert "x-amzn-sagemaker-custom-attributes" not in answer.headers
    assert answer.headers["x-model-version"] == client.get("/ping").json()["version"]


def test_vertex_ai(server: Running, client: httpx.Client) -> None:
    before = server.metric("scaffold_requests_total", route="vertex_predict")
    assert client.get(ROUTE).status_code == client.head(ROUTE).status_code == 200
    answer = client.post(ROUTE, json={"instances": ROWS, "parameters": {}})
    assert (answer.status_code, answer.json()) == (200, SUMS)
    assert answer.headers["x-model-version"] == client.get("/ping").json()["version"]
    assert client.post(ROUTE, json={"inputs": ROWS}).status_code == 400
    refused = client.put(ROUTE)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
    event = {"content-type": "application/cloudevents+json"}
    assert client.post(ROUTE, content=b"{}", headers=event).status_code == 415
    assert server.metric("scaffold_requests_total", route="vertex_predict") == before + 4
    assert set(client.get("/openapi.json").json()["paths"][ROUTE]) == {"get", "post"}


def test_azure_ml(client: httpx.Client) -> None:
    assert client.get("/").status_code == 200
    table = {"columns": list("abcd"), "index": [0, 1], "data": ROWS}
    answer = client.post("/score", json={"input_data": table})
    assert (answer.status_code, answer.json()) == (200, SUMS)


def test_kubernetes(client: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/healthz"):
        assert client.get(path).status_code == client.head(path).status_code == 200


def test_mlflows_client(server: Running) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    client = scoring.ScoringServerClient(host, port)
    client.wait_server_ready(timeout=30)
    frame = pd.DataFrame(ROWS, columns=list("abcd"))
    for data in (frame, pd.DataFrame(ROWS), np.array(ROWS), ROWS):
        assert client.invoke(data) == SUMS
    assert client.invoke(frame).get_predictions()[0].tolist() == SUMS["predictions"]
    frame.loc[0, "b"] = np.nan  # which it writes as NaN
    assert client.invoke(frame, params={}) == {"predictions": [None, 26.0]}
    with pytest.raises(Exception, match="error code 400.*4 values"):
        client.invoke(frame[["a"]])


def test_forms_share_a_connection_with_every_other_body(client: httpx.Client) -> None:
    """A connection of the fast path keeps nothing of the request before."""
    csv = {"content-type": "text/csv"}
    for _ in range(2):
        assert (
            client.post("/invocations", content="a,b,c,d\n1,2,3,4\n5,6,7,8\n", headers=csv).json()
            == SUMS
        )
        assert client.post(PREDICT, json={"instances": ROWS}).json() == SUMS
        assert client.post("/invocations", content="1,2", headers=csv).status_code == 400
        assert client.post(BINARY, content=b"1,2", headers=csv).status_code == 415
        assert client.post("/score", json={"inputs": ROWS}).json() == SUMS


@pytest.mark.sweep
def test_bodies_of_many_megabytes(client: httpx.Client) -> None:
    """They are decoded in pieces."""
    rows = [[1, 2, 3, 4]] * 500_000
    answer = client.post("/invocations", json={"inputs": rows})
    assert answer.json() == {"predictions": [10] * 500_000}
    answer = client.post("/invocations", json={"inputs": [*rows, [1]]})
    assert answer.status_code == 400 and "instances[500000]" in answer.text
    text = "a,b,c,d\n" + "1,2,3,4\n" * 1_000_000
    csv = {"content-type": "text/csv"}
    answer = client.post("/invocations", content=text, headers=csv)
    assert answer.json() == {"predictions": [10] * 1_000_000}
    answer = client.post("/invocations", content=text + "1,2,3,x\n", headers=csv)
    assert answer.status_code == 400 and "row 1000001 of the CSV: 'd' must be" in answer.text
