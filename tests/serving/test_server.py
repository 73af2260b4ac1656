"""The servers over HTTP and gRPC, as processes and in containers: answers, metadata and logs."""

import contextlib
import gzip
import json
import re
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import zstandard
from openapi_spec_validator import validate
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import generator
from common.bodies import msgpack_decode, msgpack_encode
from common.platforms import LIVE, READY, SCORING
from generator.environment.venvs import server_python
from generator.scaffold import Scaffold
from support.servers import openapi_page, v2_client
from support.servers.containers import HARDENED, Container, Engine, wait_until_ready
from support.servers.containers import running as running_container
from support.servers.running import (
    BINARY,
    LOCKS,
    PATIENCE,
    PREDICT,
    Running,
    copied,
    free_port,
    metric,
    serving,
    together,
    until,
)

ROW = [5.1, 3.5, 1.4, 0.2]
INFER = "/v2/models/model/infer"
HEALTH = (*LIVE, *READY)
JSON = {"content-type": "application/json"}
MEDIA_TYPES = {BINARY: "application/msgpack"}

# The first row selects a behaviour.
OWNERS_CODE = """
import time

from common import InvalidInput


class InferenceModel:
    def __init__(self, config):
        pass

    def load(self):
        pass

    def preprocess(self, request):
        return request

    def predict(self, request):
        what, *arguments = request["instances"][0]
        if what == "invalid":
            raise InvalidInput("the moon is not a number")
        if what == "fail":
            raise RuntimeError("the secret is 4711")
        if what == "sleep":
            time.sleep(arguments[0])
        if what == "nothing":
            return None
        if what == "much":
            return {"predictions": ["x" * arguments[0]]}
        return {"predictions": [row[0] for row in request["instances"]]}

    def postprocess(self, response):
        return response
"""


@dataclass(frozen=True)
class Contained:
    """A server in a container, with the methods of `Running`, which is a process."""

    container: Container
    url: str
    grpc_port: int

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)

    def metric(self, name: str, **labels: str) -> float:
        with self.client() as client:
            return metric(client, name, **labels)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.container.log]


SERVERS = ("kserve", "standalone", "kfserving")
AnyServer = Running | Contained
Start = Callable[[Path], AbstractContextManager[AnyServer]]
IN_CONTAINER = (pytest.mark.docker, pytest.mark.sweep)
PLACES = [
    pytest.param(("kserve", False), id="kserve-process"),
    *(
        pytest.param((server, False), id=f"{server}-process", marks=pytest.mark.sweep)
        for server in SERVERS[1:]
    ),
    *(
        pytest.param((server, True), id=f"{server}-container", marks=IN_CONTAINER)
        for server in SERVERS
    ),
]


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> tuple[str, bool]:
    """The name of the server, and whether it is in a container."""
    server, contained = request.param
    return server, contained


@pytest.fixture(scope="module")
def kind(place: tuple[str, bool]) -> str:
    """The server's name."""
    return place[0]


@pytest.fixture(scope="module")
def scaffold(kind: str, forest: Any, tmp_path_factory: pytest.TempPathFactory) -> Scaffold:
    return generator.from_model(forest, tmp_path_factory.mktemp(kind) / "test_rfc", server=kind)


@pytest.fixture(scope="module")
def start(
    place: tuple[str, bool], table_scaffold: Scaffold, request: pytest.FixtureRequest
) -> Start:
    """Starts the server of a scaffold's directory, with gRPC if the server has it."""
    server, contained = place
    if not contained and server != "kfserving":
        return lambda directory: serving(directory, GRPC_PORT=str(free_port()))
    if not contained:
        return lambda directory: serving(directory, GRPC_PORT="0")
    engine: Engine = request.getfixturevalue("engine")
    image = f"test_{server}_{token_hex(4)}"
    engine.shell(f"{table_scaffold.docker_build_string} -t {image}")
    return lambda directory: contained_in(engine, image, directory)


@contextlib.contextmanager
def contained_in(engine: Engine, image: str, directory: Path) -> Iterator[Contained]:
    """A hardened container of the image, with another scaffold's model, code and settings."""
    own = {"config.yaml": "config.yaml", "src/model": "model", "src/server": "server"}
    mounts = [f"--volume={directory / source}:/app/{target}:ro" for source, target in own.items()]
    with running_container(
        engine, image, *HARDENED, "--publish=127.0.0.1::8081", *mounts
    ) as container:
        wait_until_ready(container.url)
        grpc_address = engine("port", container.name, "8081").splitlines()[0]
        yield Contained(container, container.url, int(grpc_address.rpartition(":")[2]))


@pytest.fixture(scope="module")
def server(start: Start, scaffold: Scaffold) -> Iterator[AnyServer]:
    """A server for tests that do not change its state."""
    with start(scaffold.directory) as running:
        yield running


@pytest.fixture
def client(server: AnyServer) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def owners(
    start: Start, scaffold: Scaffold, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnyServer]:
    """A server with an owner's code and low limits."""
    limits = {
        "max_body_bytes": 2000,
        "max_answer_bytes": 100_000,
        "max_batch_size": 1,
        "max_queue": 1,
        "predict_timeout_seconds": 4,
    }
    directory = copied(
        scaffold,
        tmp_path_factory.mktemp("owners") / "own",
        OWNERS_CODE,
        example=None,
        access_log=True,
        **limits,
    )
    facts = (directory / "config.yaml").read_text()
    head, _, _ = facts.partition("    input:\n")
    (directory / "config.yaml").write_text(head)
    with start(directory) as running:
        yield running


@pytest.fixture(scope="module")
def owners_client(owners: AnyServer) -> Iterator[httpx.Client]:
    with owners.client() as client:
        yield client


def behaviour(what: str, *arguments: Any) -> dict[str, Any]:
    """A request whose first row selects a behaviour of the code above."""
    return {"instances": [[what, *arguments]]}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "colour": ["red", "blue", "red", "green"]})


@pytest.fixture(scope="module")
def table_model(table: pd.DataFrame) -> Any:
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["colour"]), remainder="passthrough"
    )
    return make_pipeline(encoder, LogisticRegression()).fit(table, ["no", "no", "yes", "yes"])


@pytest.fixture(scope="module")
def table_scaffold(
    kind: str, table_model: Any, table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Scaffold:
    directory = tmp_path_factory.mktemp("tables") / "table"
    return generator.from_model(table_model, directory, sample_input=table, server=kind)


@pytest.fixture(scope="module")
def table_server(start: Start, table_scaffold: Scaffold) -> Iterator[AnyServer]:
    """A server of a model that was fitted on a DataFrame with a column of strings."""
    with start(table_scaffold.directory) as running:
        yield running


# --- predictions


def test_one_row(client: httpx.Client, forest: Any) -> None:
    answer = client.post(PREDICT, json={"instances": [ROW]})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.json() == {"predictions": forest.predict([ROW]).tolist()}


def test_many_rows(client: httpx.Client, forest: Any, iris: Any) -> None:
    answer = client.post(PREDICT, json={"instances": iris[0].tolist()})
    assert answer.json() == {"predictions": forest.predict(iris[0]).tolist()}


def test_probabilities(client: httpx.Client, forest: Any, iris: Any) -> None:
    answer = client.post(PREDICT, json={"instances": iris[0].tolist(), "probabilities": True})
    assert answer.json() == {
        "predictions": forest.predict(iris[0]).tolist(),
        "probabilities": forest.predict_proba(iris[0]).tolist(),
    }


@pytest.mark.parametrize("rows", [1, 150])
def test_msgpack_returns_the_arrays_of_the_model_in_memory(
    client: httpx.Client, forest: Any, iris: Any, rows: int
) -> None:
    body = msgpack_encode({"instances": iris[0][:rows], "probabilities": True})
    answer = client.post(BINARY, content=body, headers={"content-type": "application/msgpack"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/msgpack"
    response = msgpack_decode(answer.content)
    expected = {
        "predictions": forest.predict(iris[0][:rows]),
        "probabilities": forest.predict_proba(iris[0][:rows]),
    }
    assert response.keys() == expected.keys()
    for key, value in expected.items():
        assert response[key].dtype == value.dtype
        np.testing.assert_array_equal(response[key], value)


def test_fifty_clients_each_get_their_own_answers(
    server: AnyServer, client: httpx.Client, forest: Any, iris: Any
) -> None:
    calls, shared = (metric(client, f"scaffold_batch_requests_{kind}") for kind in ("count", "sum"))
    rounds = 40  # the first calls are checked: each request is computed alone too
    # Computed here once: scikit-learn's warning filters are not safe in threads.
    probabilities = forest.predict_proba(iris[0])

    def one(index: int) -> int:
        order = np.random.default_rng(index).permutation(150)[: index + 1]
        rows, expected = iris[0][order], probabilities[order].tolist()
        binary = msgpack_encode({"instances": rows, "probabilities": True})
        with httpx.Client(base_url=server.url, timeout=60) as own:
            for turn in range(rounds):
                if (index + turn) % 3:
                    answer = own.post(
                        PREDICT, json={"instances": rows.tolist(), "probabilities": True}
                    ).json()
                    assert answer["probabilities"] == expected
                else:
                    media_type = {"content-type": "application/msgpack"}
                    content = own.post(BINARY, content=binary, headers=media_type).content
                    assert msgpack_decode(content)["probabilities"].tolist() == expected
        return rounds

    answered = sum(together(50, one))
    asked = metric(client, "scaffold_batch_requests_sum") - shared
    assert asked == answered == 50 * rounds
    assert metric(client, "scaffold_batch_requests_count") - calls < asked, (
        "no requests were batched"
    )


def test_a_keepalive_connection_survives_errors(server: AnyServer, forest: Any) -> None:
    with httpx.Client(base_url=server.url, limits=httpx.Limits(max_connections=1)) as own:
        for _ in range(3):
            assert own.post(PREDICT, content=b"{", headers=JSON).status_code == 400
            assert own.get(PREDICT).status_code == 405
            assert own.post(PREDICT, json={"instances": [ROW]}).status_code == 200


# --- connections


def exchange(server: AnyServer, *sent: bytes) -> bytes:
    """Send bytes over a new connection, and return all that the server sends until it closes it."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        for part in sent:
            connection.sendall(part)
            time.sleep(0.05)
        heard = b""
        while chunk := connection.recv(1 << 16):
            heard += chunk
    return heard


def posted(body: bytes, *fields: str, version: str = "1.1", path: str = PREDICT) -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: here", "Content-Type: application/json", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


BODY = json.dumps({"instances": [ROW]}).encode()
LENGTH = f"Content-Length: {len(BODY)}"
CLOSE = "Connection: close"


def test_pipelined_requests_are_answered_in_order(server: AnyServer) -> None:
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    ways = [(BODY, LENGTH), (chunks, "Transfer-Encoding: chunked"), (BODY, LENGTH)]
    requests, names = [], []
    for number in range(12):
        body, header = ways[number % 3]
        requests.append(posted(body, header, f"X-Request-Id: n{number}"))
        names.append(b"n%d" % number)
        if number % 4 == 3:
            requests.append(
                b"GET /v1/models/model HTTP/1.1\r\nHost: here\r\nX-Request-Id: g%d\r\n\r\n" % number
            )
            names.append(b"g%d" % number)
    heard = exchange(server, b"".join(requests) + posted(BODY, LENGTH, CLOSE, "X-Request-Id: last"))
    names.append(b"last")
    assert heard.count(b"HTTP/1.1 200 OK") == len(names)
    assert re.findall(rb"x-request-id: (\w+)", heard) == names


def test_a_request_in_pieces(server: AnyServer) -> None:
    request = posted(BODY, LENGTH, CLOSE)
    for cut in (10, request.index(b"\r\n\r\n") + 2, len(request) - 3):
        assert b'{"predictions":[0]}' in exchange(server, request[:cut], request[cut:])


def test_a_connection_closes_when_the_client_requests_it(server: AnyServer) -> None:
    heard = exchange(server, posted(BODY, LENGTH, CLOSE) + posted(BODY, LENGTH))
    assert heard.count(b"200 OK") == 1 and b"connection: close" in heard
    assert exchange(server, posted(BODY, LENGTH, version="1.0")).startswith(b"HTTP/1.1 200 OK")


def test_expect_100_continue_is_answered(server: AnyServer) -> None:
    heard = exchange(server, posted(b"", LENGTH, CLOSE, "Expect: 100-continue"), BODY)
    assert heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def many(size: int) -> list[str]:
    """Header fields of about so many bytes."""
    return [f"X-{number}: {'x' * 1000}" for number in range(size // 1000)]


def error_of(heard: bytes) -> str:
    head, _, body = heard.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head and b"connection: close" in head
    return str(json.loads(body)["error"])


def test_a_large_head_is_refused(server: AnyServer) -> None:
    assert b" 200 OK" in exchange(server, posted(BODY, LENGTH, CLOSE, *many(60_000)))
    heard = exchange(server, posted(BODY, LENGTH, *many(70_000)))
    assert heard.startswith(b"HTTP/1.1 431 ")
    assert error_of(heard).startswith("the header fields are larger than 65536 bytes (serving.max_")
    long = exchange(server, posted(BODY, LENGTH, path=f"{PREDICT}?{'x' * 70_000}"))
    assert long.startswith(b"HTTP/1.1 414 ")
    assert error_of(long).startswith("the request line is larger than 65536 bytes")
    begun, ended = many(60_000), many(10_000)
    whole = posted(BODY, LENGTH, CLOSE, *begun, *ended)
    assert exchange(server, whole[:60_000], whole[60_000:]).startswith(b"HTTP/1.1 431 ")
    line = posted(BODY, LENGTH, CLOSE, path=f"{PREDICT}?{'x' * 70_000}")
    assert exchange(server, line[:65_000], line[65_000:]).startswith(b"HTTP/1.1 414 ")


def kernel_buffers() -> int:
    """The most bytes between client and server: two connections where Docker's proxy is between."""
    limits = [Path(f"/proc/sys/net/ipv4/tcp_{end}mem") for end in "rw"]
    return 2 * sum(int(limit.read_text().split()[2]) for limit in limits)


@pytest.mark.parametrize(
    ("begun", "more", "status"),
    [
        (b"GET /?", b"x", 414),
        (b"GET / HTTP/1.1\r\nX: ", b"x", 431),
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n", 431),
    ],
    ids=["line", "value", "fields"],
)
def test_a_head_without_an_end_is_refused(
    server: AnyServer, client: httpx.Client, begun: bytes, more: bytes, status: int
) -> None:
    """The server reads no more than a few hundred KiB of it, and answers others meanwhile."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    sent, piece = 0, more * (2**16 // len(more))
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(begun)
        with contextlib.suppress(ConnectionError):
            for _ in range(2**13):
                sent += connection.send(piece)
        assert sent < 2**23 + kernel_buffers()
        with contextlib.suppress(ConnectionError):
            assert connection.recv(2**16).startswith(b"HTTP/1.1 %d " % status)
    assert client.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize("sent", [b"\0\1\2\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n"])
def test_what_is_not_http_is_400(server: AnyServer, sent: bytes) -> None:
    heard = exchange(server, sent)
    assert heard.startswith(b"HTTP/1.1 400 ")
    assert error_of(heard) == "the request is not valid HTTP/1.1"


H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAA")
WEBSOCKET = ("Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")


@pytest.mark.parametrize("asked", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
def test_another_protocol_is_not_wanted(server: AnyServer, asked: tuple[str, ...]) -> None:
    """The request is answered all the same, and so is what comes after it: RFC 9110, 7.8."""
    upgrading = posted(BODY, LENGTH, *asked, "X-Request-Id: up")
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    chunked = posted(chunks, "Transfer-Encoding: chunked", *asked, "X-Request-Id: up")
    fields = "\r\n".join(("Host: here", "X-Request-Id: up", *asked))
    read = f"GET /v1/models/model HTTP/1.1\r\n{fields}\r\n\r\n".encode()
    last = posted(BODY, LENGTH, CLOSE, "X-Request-Id: last")
    head = upgrading.index(b"\r\n\r\n") + 4
    for sent in (
        [upgrading, last],
        [upgrading + last],
        [upgrading[:head], upgrading[head:], last],
        [upgrading[:30], upgrading[30 : head + 5], upgrading[head + 5 :] + last],
        [chunked + last],
        [read + last],
        [posted(BODY, LENGTH, *asked, "X-Request-Id: up", path=INFER) + last],
    ):
        heard = exchange(server, *sent)
        assert re.findall(rb"x-request-id: (\w+)", heard) == [b"up", b"last"], sent
        assert heard.count(b"HTTP/1.1 ") == 2 and b" 101 " not in heard
        assert heard.count(b" 200 OK") == (1 if INFER.encode() in sent[0] else 2)
    closing = [field.replace("Connection:", "Connection: close,") for field in asked]
    for version in ("1.1", "1.0"):
        heard = exchange(server, posted(BODY, LENGTH, *closing, version=version))
        assert heard.count(b"HTTP/1.1 200 OK") == 1 and heard.count(b"HTTP/1.1 ") == 1
    heard = exchange(server, upgrading * 500 + last)
    assert heard.count(b"200 OK") == 501


def test_a_proxy_is_not_offered(server: AnyServer) -> None:
    asked = b"CONNECT here:80 HTTP/1.1\r\nHost: here\r\n\r\n"
    assert re.match(rb"HTTP/1.1 4\d\d ", exchange(server, asked + posted(BODY, LENGTH, CLOSE)))


def test_a_client_that_disconnects_does_no_harm(
    owners: AnyServer, owners_client: httpx.Client
) -> None:
    waiting = json.dumps(behaviour("sleep", 0.5)).encode()
    request = posted(waiting, f"Content-Length: {len(waiting)}")
    host, _, port = owners.url.removeprefix("http://").partition(":")
    for cut in (len(request), len(request) - 3):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(request[:cut])
            time.sleep(0.1)
    until(
        lambda: owners_client.post(PREDICT, json=behaviour("x")).status_code == 200,
        "the next is answered",
    )
    assert not [
        line for line in owners.lines() if "never" in str(line) or "InvalidState" in str(line)
    ]


# --- errors


def refused(answer: httpx.Response, status: int, *words: str) -> str:
    """Check the form of an error response, and return its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert (
        list(body) == ["error"] and "Traceback" not in body["error"] and "\n" not in body["error"]
    )
    for word in words:
        assert word in body["error"]
    return str(body["error"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["not JSON"]),
        (b"{", ["not JSON"]),
        (b'{"instances": [[NaN, 1, 1, 1]]}', ["not JSON"]),
        (b"\xff", ["not JSON"]),
        (b"[]", ["must be an object", "list"]),
        (b"{}", ['"instances" is missing']),
        (b'{"instances": 1}', ['"instances" must be a list of rows', "it is the number 1"]),
        (b'{"instances": []}', ["instances is empty"]),
        (b'{"instances": [[1, 2, 3]]}', ["instances[0]", "4 values", "3"]),
        (b'{"instances": [[1, 2, 3, "x"]]}', ["instances[0][3]", "number or null", "'x'"]),
        (b'{"instances": [[1, 2, 3, 4], 5]}', ["instances[1]", "the number 5"]),
        (b'{"instances": [{"a": 1}]}', ["instances"]),
        (b'{"instances": ' + b"[" * 2000 + b"]" * 2000 + b"}", []),
        (b'{"instances": [[1e400, 1, 1, 1]]}', []),
    ],
)
def test_a_bad_json_body_is_400(client: httpx.Client, body: bytes, words: list[str]) -> None:
    refused(client.post(PREDICT, content=body, headers=JSON), 400, *words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["not msgpack"]),
        (b"\xc1", ["not msgpack"]),
        (b"\x81", ["truncated"]),
        (msgpack_encode([]), ["must be an object"]),
        (msgpack_encode({"instances": "x"}), ["must be a list of rows"]),
        (msgpack_encode({"instances": np.zeros((1, 3))}), ["4 values", "3"]),
        (msgpack_encode({"instances": np.zeros((1, 4), "S1")}), ["must hold numbers"]),
        (
            msgpack_encode(
                {
                    "instances": {
                        b"nd": True,
                        b"type": "|O",
                        b"kind": b"O",
                        b"shape": [1],
                        b"data": b"x",
                    }
                }
            ),
            [],
        ),
    ],
)
def test_a_bad_msgpack_body_is_400(client: httpx.Client, body: bytes, words: list[str]) -> None:
    answer = client.post(BINARY, content=body, headers={"content-type": "application/msgpack"})
    refused(answer, 400, *words)


def test_invalid_input_of_owners_code_is_400_with_its_message(owners_client: httpx.Client) -> None:
    request = behaviour("invalid")
    for path, body in ((PREDICT, json.dumps(request).encode()), (BINARY, msgpack_encode(request))):
        assert refused(owners_client.post(path, content=body), 400) == "the moon is not a number"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/models/other:predict"),
        ("POST", "/v1/models/other:predict_binary"),
        ("GET", "/v1/models/other"),
    ],
)
def test_an_unknown_model_is_404_and_named(client: httpx.Client, method: str, path: str) -> None:
    refused(client.request(method, path, json={"instances": [ROW]}), 404, "other")


def test_an_unknown_path_is_404(client: httpx.Client) -> None:
    refused(client.get("/nothing"), 404)
    refused(client.post("/v2/models/other/infer", json={"inputs": []}), 404, "other")


@pytest.mark.parametrize("path", [PREDICT, BINARY])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_405(client: httpx.Client, path: str, method: str) -> None:
    answer = client.request(method, path)
    refused(answer, 405, "POST", method)
    assert answer.headers["allow"] == "POST"


def test_another_method_is_405_on_v2s_route(client: httpx.Client) -> None:
    answer = client.get(INFER)
    refused(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_an_answer_over_the_limit_is_500(owners: AnyServer, owners_client: httpx.Client) -> None:
    assert owners_client.post(PREDICT, json=behaviour("much", 99_000)).status_code == 200
    name = {"x-request-id": "too-much"}
    answer = owners_client.post(PREDICT, json=behaviour("much", 100_000), headers=name)
    refused(answer, 500, "the answer has 100020 bytes", "max_answer_bytes", "too-much")
    assert owners_client.post(PREDICT, json=behaviour("x")).status_code == 200
    logged = [line["message"] for line in owners.lines() if line.get("request_id") == "too-much"]
    assert any(message.startswith("the answer has 100020 bytes") for message in logged)


def test_a_predict_that_returns_nothing_is_500(
    owners: AnyServer, owners_client: httpx.Client
) -> None:
    name = {"x-request-id": "nothing"}
    answer = owners_client.post(PREDICT, json=behaviour("nothing"), headers=name)
    refused(answer, 500, "the model failed", "nothing")
    logged = [line["message"] for line in owners.lines() if line.get("request_id") == "nothing"]
    assert "predict returned None, it must return a dict with predictions" in logged


@pytest.mark.parametrize("path", [PREDICT, BINARY, INFER, "/invocations"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(
    owners_client: httpx.Client, path: str, chunked: bool
) -> None:
    content: Any = b" " * 2001
    if chunked:
        content = (b" " * 100 for _ in range(21))
    headers = {"content-type": MEDIA_TYPES.get(path, "application/json")}
    answer = owners_client.post(path, content=content, headers=headers)
    refused(answer, 413, "2000", "max_body_bytes")
    assert owners_client.post(PREDICT, json=behaviour("x")).status_code == 200


@pytest.mark.parametrize("media_type", ["application/cloudevents+json", "application/octet-stream"])
def test_a_body_over_the_limit_is_413_for_each_media_type(
    owners_client: httpx.Client, media_type: str
) -> None:
    refused(
        owners_client.post(PREDICT, content=b" " * 2001, headers={"content-type": media_type}), 413
    )


def test_a_body_of_exactly_the_limit_is_accepted(owners_client: httpx.Client) -> None:
    body = json.dumps(behaviour("x")).encode().ljust(2000)
    assert owners_client.post(PREDICT, content=body, headers=JSON).status_code == 200


def test_a_chunked_body_is_joined(client: httpx.Client, forest: Any, iris: Any) -> None:
    body = json.dumps({"instances": iris[0].tolist()}).encode()
    chunks = (body[at : at + 77] for at in range(0, len(body), 77))
    answer = client.post(PREDICT, content=chunks, headers=JSON)
    assert answer.json() == {"predictions": forest.predict(iris[0]).tolist()}


def test_an_unknown_media_type_is_415(client: httpx.Client) -> None:
    for path, media_type, hint in [
        (PREDICT, "application/msgpack", "application/json"),
        (INFER, "application/cloudevents+json", "application/json"),
        (PREDICT, "multipart/form-data", "application/json"),
        (INFER, "text/plain", "application/json"),
        (BINARY, "application/json", "application/msgpack"),
        (BINARY, "image/png; charset=utf-8", "application/msgpack"),
    ]:
        answer = client.post(path, content=b"{}", headers={"content-type": media_type})
        refused(answer, 415, media_type.split(";")[0], hint)


def some(*fields: tuple[str, str | None]) -> dict[str, str]:
    """The header fields that have a value."""
    return {name: value for name, value in fields if value is not None}


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=UTF-8",
        "application/x-www-form-urlencoded",  # curl -d
        "text/plain;charset=UTF-8",  # fetch
        None,
    ],
)
def test_json_media_types(client: httpx.Client, media_type: str | None) -> None:
    body = json.dumps({"instances": [ROW]}).encode()
    answer = client.post(PREDICT, content=body, headers=some(("content-type", media_type)))
    assert (answer.status_code, answer.json()) == (200, {"predictions": [0]})


@pytest.mark.parametrize("media_type", ["application/x-msgpack", "application/octet-stream", None])
def test_msgpack_media_types(client: httpx.Client, media_type: str | None) -> None:
    body = msgpack_encode({"instances": [ROW]})
    answer = client.post(BINARY, content=body, headers=some(("content-type", media_type)))
    assert msgpack_decode(answer.content)["predictions"] == [0]


CODINGS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_compressed_body(client: httpx.Client, coding: str) -> None:
    encode, rows = CODINGS[coding], {"instances": [ROW]}
    head, raw = v2_raw(np.array([ROW]))
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t"}
    for path, body, headers in [
        (PREDICT, json.dumps(rows).encode(), JSON),
        (PREDICT, json.dumps(rows).encode(), {**JSON, **event}),
        (BINARY, msgpack_encode(rows), {}),
        (INFER, json.dumps({"inputs": [tensor([ROW], [1, 4])]}).encode(), JSON),
        (INFER, head + raw, {"inference-header-content-length": str(len(head))}),
    ]:
        plain = client.post(path, content=body, headers=headers)
        answer = client.post(
            path, content=encode(body), headers={**headers, "content-encoding": coding}
        )
        assert (answer.status_code, plain.status_code) == (200, 200), answer.text
        assert without_id(answer) == without_id(plain)


def v2_raw(array: Any) -> tuple[bytes, bytes]:
    """The JSON of a request with one raw tensor, and its data."""
    raw = array.tobytes()
    declared = {**tensor(None, list(array.shape)), "parameters": {"binary_data_size": len(raw)}}
    del declared["data"]
    return json.dumps({"inputs": [declared]}).encode(), raw


def without_id(answer: httpx.Response) -> bytes:
    return answer.content.replace(answer.headers["x-request-id"].encode(), b"")


def test_a_compressed_body_is_refused_where_it_is_wrong(client: httpx.Client) -> None:
    for path in (PREDICT, BINARY, INFER):
        for coding, body, status, words in [
            ("gzip", b"\x1f\x8b", 400, "truncated"),
            ("gzip", b"{}", 400, "not gzip"),
            ("zstd", zstandard.compress(b"x")[:-1], 400, "truncated"),
            ("br", b"x", 415, "gzip"),
            ("gzip, gzip", b"x", 415, "gzip"),
            ("deflate", zlib.compress(bytes(100 << 20)), 413, "max_body_bytes"),
            ("zstd", zstandard.compress(bytes(100 << 20)), 413, "max_body_bytes"),
        ]:
            answer = client.post(path, content=body, headers={"content-encoding": coding})
            refused(answer, status, words)
            assert ("accept-encoding" in answer.headers) == (status == 415)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_a_large_answer_is_compressed_where_the_client_accepts_it(
    client: httpx.Client, iris: Any, coding: str
) -> None:
    many = iris[0].tolist() * 100
    rows = {"instances": many, "probabilities": True}
    wanted = {"accept-encoding": coding}
    for path, body in [
        (PREDICT, json.dumps(rows).encode()),
        (BINARY, msgpack_encode(rows)),
        (INFER, json.dumps({"inputs": [tensor(many, [15_000, 4])]}).encode()),
    ]:
        plain = client.post(path, content=body, headers={"accept-encoding": "identity"})
        small = client.post(path, content=body, headers=wanted)
        assert "content-encoding" not in plain.headers
        assert small.headers["content-encoding"] == coding
        assert small.headers["vary"] == "accept-encoding"
        assert int(small.headers["content-length"]) < len(plain.content) // 2
        assert without_id(small) == without_id(plain)
    answer = client.post(PREDICT, json={"instances": [ROW]}, headers=wanted)
    assert "content-encoding" not in answer.headers


def test_a_large_answer_is_compressed_whichever_way_its_request_went(
    client: httpx.Client, iris: Any
) -> None:
    body = json.dumps({"instances": iris[0].tolist() * 100}).encode()
    chunks = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    answer = client.post(PREDICT, content=chunks, headers={**JSON, "accept-encoding": "gzip"})
    assert (
        answer.headers["content-encoding"] == "gzip" and len(answer.json()["predictions"]) == 15_000
    )


def test_errors_in_owners_code_are_500_with_the_traceback_in_the_log(
    owners: AnyServer, owners_client: Any
) -> None:
    for path, body, headers in [
        (PREDICT, json.dumps(behaviour("fail")).encode(), JSON),
        (BINARY, msgpack_encode(behaviour("fail")), {"content-type": "application/msgpack"}),
        (
            PREDICT,
            json.dumps(behaviour("fail")).encode(),
            {"content-type": "application/octet-stream"},
        ),
    ]:
        answer = owners_client.post(path, content=body, headers=headers)
        request_id = answer.headers["x-request-id"]
        assert "4711" not in refused(answer, 500, request_id)
        [line] = [
            line
            for line in owners.lines()
            if line.get("request_id") == request_id and "exception" in line
        ]
        assert line["level"] == "ERROR" and "the secret is 4711" in line["exception"]
        assert "inference_model.py" in line["exception"]


def test_a_full_queue_is_503(owners: AnyServer, owners_client: httpx.Client) -> None:
    """One request is in predict, one waits at the worker, one in the queue. The others get 503."""

    def one(_: int) -> httpx.Response:
        with owners.client() as own:
            return own.post(PREDICT, json=behaviour("sleep", 0.5))

    answers = together(12, one)
    rejected = [answer for answer in answers if answer.status_code != 200]
    assert 1 <= len(rejected) <= 9
    for answer in rejected:
        refused(answer, 503, "waiting")
        assert answer.headers["retry-after"] == "1"
    assert owners.metric("scaffold_worker_restarts_total") == 0


def test_predict_over_its_time_limit_is_504(owners: AnyServer, owners_client: httpx.Client) -> None:
    before = owners.metric("scaffold_worker_restarts_total", reason="stuck")
    refused(
        owners_client.post(PREDICT, json=behaviour("sleep", 600)),
        504,
        "4 seconds",
        "predict_timeout_seconds",
    )
    assert owners.metric("scaffold_worker_restarts_total", reason="stuck") == before + 1
    wait_until_ready(owners.url)
    assert owners_client.post(PREDICT, json=behaviour("x")).json() == {"predictions": ["x"]}


# --- request ids and logs


def test_request_ids_are_echoed(client: httpx.Client) -> None:
    paths = [("POST", PREDICT), ("GET", "/v1/models"), ("GET", "/nothing"), ("GET", INFER)]
    for method, path in paths:
        answer = client.request(method, path, headers={"x-request-id": "a-1.b/c"})
        assert answer.headers.get_list("x-request-id") == ["a-1.b/c"]


def test_invalid_request_ids_are_replaced(client: httpx.Client) -> None:
    seen = set()
    for sent in ("", "two words", "x" * 129, "é".encode()):
        answer = client.post(PREDICT, json={"instances": [ROW]}, headers={"x-request-id": sent})
        assert answer.status_code == 200 and answer.headers["x-request-id"] not in ("", sent)
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == 4


def test_every_line_of_the_log_is_json(owners: AnyServer, owners_client: httpx.Client) -> None:
    owners_client.post(PREDICT, json=behaviour("x"), headers={"x-request-id": "find-me"})
    owners_client.post(INFER, json={"inputs": 3}, headers={"x-request-id": "find-me-too"})
    until(lambda: "find-me-too" in str(owners.lines()), "the request is in the log")
    lines = owners.lines()
    assert lines and all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    accessed = {
        line.get("request_id"): line["message"] for line in lines if line["logger"] == "access"
    }
    assert accessed["find-me"].startswith("predict 200 ")
    assert accessed["find-me-too"].startswith("infer 400 ")


def test_bad_requests_leave_no_traceback_in_the_log(
    owners: AnyServer, owners_client: httpx.Client
) -> None:
    start = len(owners.lines())
    for path in (PREDICT, INFER, "/v1/models/other:predict"):
        assert owners_client.post(path, content=b"{", headers=JSON).status_code in (400, 404)
    raw = {"content-type": "application/octet-stream", "inference-header-content-length": "x"}
    assert owners_client.post(INFER, content=b"{", headers=raw).status_code == 400
    assert not [line for line in owners.lines()[start:] if "exception" in line]


# --- the routes of each server's application: KFServing's differ, for its own clients


@pytest.fixture(scope="module")
def version(scaffold: Scaffold) -> str:
    """The model's version: the beginning of its file's digest."""
    file = scaffold.directory / "src" / "model" / "model.joblib"
    return sha256(file.read_bytes()).hexdigest()[:12]


def test_the_answers_for_each_servers_own_clients(
    client: httpx.Client, kind: str, version: str
) -> None:
    alive, models = client.get("/"), client.get("/v1/models")
    assert alive.status_code == models.status_code == 200
    if kind != "kfserving":
        assert (alive.json(), models.json()) == ({"status": "alive"}, {"models": ["model"]})
    else:
        assert (alive.text, models.json()) == ("Alive", ["model"])
        expected = {"name": "model", "ready": True, "version": version}
        assert client.get("/v2/models/model/status").json() == expected


def test_health_and_metadata(client: httpx.Client, kind: str, version: str) -> None:
    for path, expected in [
        ("/v1/models/model", {"name": "model", "ready": True, "version": version}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models", {"models": ["model"]}),
        ("/v2/models/model/ready", {"name": "model", "ready": True, "version": version}),
        *((path, {"live": True}) for path in LIVE),
        *((path, {"name": "model", "ready": True, "version": version}) for path in READY),
    ]:
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (200, expected)
    metadata = client.get("/v2").json()
    assert (metadata["name"], metadata["extensions"]) == (kind, ["binary_tensor_data"])
    assert client.get("/v2/models/model").json() == {
        "name": "model",
        "versions": [version],
        "platform": "sklearn",
        "inputs": [{"name": "instances", "datatype": "FP64", "shape": [-1, 4]}],
        "outputs": [{"name": "predictions", "datatype": "INT64", "shape": [-1]}],
    }
    refused(client.get("/v2/models/other"), 404, "other")


def test_v2_is_answered_by_its_metadata(
    client: httpx.Client, table_server: AnyServer, table: pd.DataFrame
) -> None:
    with table_server.client() as tables:
        for asked, rows in ((client, [ROW] * 3), (tables, table.to_dict("records"))):
            metadata = asked.get("/v2/models/model").json()
            answer = asked.post(INFER, json=v2_client.request(metadata, rows))
            assert answer.status_code == 200, answer.text
            v2_client.check(metadata, answer.json())
            assert metadata["versions"] == [answer.json()["model_version"]]


def test_the_model_cannot_be_unloaded(client: httpx.Client) -> None:
    refused(client.post("/v2/repository/models/model/unload"), 501, "cannot be unloaded")
    assert client.post("/v2/repository/models/model/load").json() == {"name": "model", "load": True}
    assert client.get("/v1/models/model").json()["ready"] is True


def test_what_the_model_does_not_support_is_501(client: httpx.Client) -> None:
    refused(client.post("/v1/models/model:explain", json={"instances": [ROW]}), 501)


def test_another_method_is_405_on_every_route(client: httpx.Client) -> None:
    for path in ("/", "/v1/models", "/v1/models/model", "/v2", "/v2/models/model", *HEALTH):
        answer = client.put(path)
        refused(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD"


GETS = [
    "/", "/metrics", "/docs", "/docs/static/swagger-ui.css", "/openapi.json", "/v1/models",
    "/v1/models/model", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models",
    "/v2/models/model", "/v2/models/model/ready", "/ping", "/health", "/healthz", "/livez",
    "/readyz",
]  # fmt: skip
# What differs from request to request.
OWN_FIELDS = {"date", "x-request-id"}


def head(connection: HTTPConnection, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection.request(method, path)
    answer = connection.getresponse()
    fields = {name.lower(): value for name, value in answer.getheaders()}
    if path == "/metrics":
        fields.pop("content-length", None)
    kept = {name: value for name, value in fields.items() if name not in OWN_FIELDS}
    return answer.status, kept, answer.read()


def test_head_is_get_without_the_body(server: AnyServer, forest: Any) -> None:
    """On one connection, whose next answer is the next request's."""
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=PATIENCE)
    for path in [*GETS, "/nowhere", "/v1/models/other", "/v2/models/other"]:
        status, fields, body = head(connection, "GET", path)
        assert body and head(connection, "HEAD", path) == (status, fields, b""), path
        connection.request("POST", PREDICT, json.dumps({"instances": [ROW]}), JSON)
        answer = json.loads(connection.getresponse().read())
        assert answer == {"predictions": forest.predict([ROW]).tolist()}
    connection.close()


def test_head_is_405_where_get_is(client: httpx.Client) -> None:
    for path in (PREDICT, BINARY, INFER, *SCORING):
        answer = client.head(path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")
        assert client.get("/v1/models/model").status_code == 200


EVENT = ("specversion", "id", "source", "type", "time")


def test_a_structured_cloudevent(client: httpx.Client, kind: str) -> None:
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "s",
        "type": "t",
        "time": "2024-02-29T00:00:00Z",
    }
    media_type = {"content-type": "application/cloudevents+json"}
    answer = client.post(PREDICT, json={**event, "data": {"instances": [ROW]}}, headers=media_type)
    assert answer.status_code == 200
    if kind != "kfserving":
        assert answer.headers["content-type"] == "application/cloudevents+json"
        assert answer.json()["specversion"] == "1.0" and answer.json()["data"] == {
            "predictions": [0]
        }
    else:
        assert answer.json() == {"predictions": [0]}
    refused(
        client.post(PREDICT, json={**event, "data": {"instances": 3}}, headers=media_type),
        400,
        "instances",
    )


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        ({"instances": [ROW]}, 200, "predictions"),  # no event: the request itself
        ([1], 400, "must be an object"),
        ({**dict.fromkeys(EVENT, "x"), "data": None}, 400, "must be an object"),
        ({**dict.fromkeys(EVENT, "x"), "data": {}, "much": "x" * 70_000}, 400, "attributes"),
    ],
)
def test_a_structured_cloudevent_of_another_form(
    client: httpx.Client, sent: Any, status: int, words: str
) -> None:
    media_type = {"content-type": "application/cloudevents+json"}
    answer = client.post(PREDICT, json=sent, headers=media_type)
    assert answer.status_code == status and words in answer.text


def test_a_binary_cloudevent(client: httpx.Client, kind: str) -> None:
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t", **JSON}
    answer = client.post(PREDICT, json={"instances": [ROW]}, headers=event)
    assert answer.json() == {"predictions": [0]}
    kserves = "io.kserve.inference.response"
    assert answer.headers["ce-type"] == ("t" if kind == "kfserving" else kserves)
    refused(client.post(PREDICT, json={"instances": [[1]]}, headers=event), 400, "4 values")
    refused(client.post(PREDICT, content=b"{", headers=event), 400)
    refused(
        client.post(PREDICT, json={}, headers={**event, "ce-specversion": "9"}), 400, "specversion"
    )


def tensor(data: Any, shape: list[int], datatype: str = "FP64", name: str = "x") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def outputs(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_v2_takes_tensors_as_json(client: httpx.Client, forest: Any, iris: Any) -> None:
    rows = iris[0][::30]
    inputs = [tensor(rows.ravel().tolist(), list(rows.shape))]
    answer = client.post(
        INFER, json={"id": "mine", "inputs": inputs, "parameters": {"probabilities": True}}
    )
    assert answer.json()["id"] == "mine" and answer.json()["model_name"] == "model"
    assert outputs(answer)["predictions"] == forest.predict(rows).tolist()
    assert outputs(answer)["probabilities"] == forest.predict_proba(rows).ravel().tolist()
    assert answer.json()["outputs"][0]["datatype"] == "INT64"


def test_v2_takes_tensors_as_bytes(client: httpx.Client, forest: Any, iris: Any) -> None:
    rows = iris[0][::30]
    declared = {**tensor(None, list(rows.shape)), "parameters": {"binary_data_size": rows.nbytes}}
    del declared["data"]
    wanted = [{"name": "predictions", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [declared], "outputs": wanted}).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }
    answer = client.post(INFER, content=head + rows.tobytes(), headers=headers)
    assert answer.status_code == 200, answer.text
    size = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:size])["outputs"][0]["datatype"] == "INT64"
    assert np.frombuffer(answer.content[size:], "<i8").tolist() == forest.predict(rows).tolist()


GOOD = tensor(ROW, [1, 4])


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        {"inputs": 3},
        {"inputs": []},
        {"inputs": [3]},
        {"inputs": [{**GOOD, "data": None}]},
        {"inputs": [{**GOOD, "shape": [2, 4]}]},
        {"inputs": [{**GOOD, "shape": [1, 5], "data": [1, 2, 3, 4, 5]}]},
        {"inputs": [{**GOOD, "shape": []}]},
        {"inputs": [{**GOOD, "shape": [2**40, 2**40]}]},
        {"inputs": [{**GOOD, "shape": "x"}]},
        {"inputs": [{**GOOD, "datatype": "NOPE"}]},
        {"inputs": [{**GOOD, "datatype": "FP16"}]},
        {"inputs": [{**GOOD, "datatype": "BYTES", "data": ["a", "b", "c", "d"]}]},
        {"inputs": [{**GOOD, "datatype": "INT8", "data": [1000, 1, 1, 1]}]},
        {"inputs": [{**GOOD, "data": ["a", 1, 1, 1]}]},
        {"inputs": [{**GOOD, "data": [{}, 1, 1, 1]}]},
        {"inputs": [{**GOOD, "data": [[1], [1, 2]]}]},
        {"inputs": [GOOD, GOOD, {**GOOD, "name": "y"}]},
        {"inputs": [GOOD], "outputs": [{"name": "nope"}]},
    ],
)
def test_malformed_v2_is_400(client: httpx.Client, body: Any) -> None:
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    refused(client.post(INFER, content=body, headers=JSON), 400)


@pytest.mark.parametrize("length", ["x", "-4", "0", "3", None])
def test_malformed_binary_v2_lengths_are_400(client: httpx.Client, length: str | None) -> None:
    media_type = ("content-type", "application/octet-stream")
    headers = some(media_type, ("inference-header-content-length", length))
    body = json.dumps({"inputs": [GOOD]}).encode()
    refused(client.post(INFER, content=body, headers=headers), 400)


@pytest.mark.parametrize(
    "head",
    [
        [],
        {},
        {"inputs": 3},
        {"inputs": [3]},
        {"inputs": [{"name": "x"}]},
        {"inputs": [{**GOOD, "data": None, "parameters": {"binary_data_size": 32}}]},
        {"inputs": [{**GOOD, "data": None, "parameters": {"binary_data_size": "a"}}]},
        {"inputs": [{**GOOD, "data": None, "parameters": {"binary_data_size": -1}}]},
        {
            "inputs": [
                {**GOOD, "data": None, "datatype": "BYTES", "parameters": {"binary_data_size": 4}}
            ]
        },
        {
            "inputs": [
                {**GOOD, "data": None, "datatype": "NOPE", "parameters": {"binary_data_size": 4}}
            ]
        },
        {"inputs": [GOOD], "outputs": 3},
    ],
)
def test_malformed_binary_v2_is_400(client: httpx.Client, head: Any) -> None:
    content = json.dumps(head).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(content)),
    }
    refused(client.post(INFER, content=content + b"abcd", headers=headers), 400)


# --- MLflow's scoring protocol, which SageMaker's and Azure ML's routes take

CSV = {"content-type": "text/csv"}
PURE_CSV = {"content-type": "text/csv; header=absent"}


def test_the_forms_of_the_scoring_protocol(client: httpx.Client, forest: Any, iris: Any) -> None:
    rows = iris[0][::30].tolist()
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    expected = {"predictions": forest.predict(iris[0][::30]).tolist()}
    table = {"columns": names, "index": list(range(len(rows))), "data": rows}
    for path in SCORING:
        for body in (
            {"instances": rows},
            {"inputs": rows},
            {"dataframe_split": table},
            {"input_data": table},
        ):
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.json()) == (200, expected), body
            assert answer.headers["content-type"] == "application/json"
    asked = client.post("/invocations", json={"inputs": rows, "probabilities": True}).json()
    assert asked == {**expected, "probabilities": forest.predict_proba(iris[0][::30]).tolist()}


def test_csv_with_and_without_names(client: httpx.Client, forest: Any, iris: Any) -> None:
    expected = {"predictions": forest.predict(iris[0]).tolist()}
    frame = pd.DataFrame(iris[0], columns=list("abcd"))
    named, bare = (frame.to_csv(index=False, header=header) for header in (True, False))
    assert client.post("/invocations", content=named, headers=CSV).json() == expected
    assert client.post("/invocations", content=bare, headers=PURE_CSV).json() == expected
    chunks = iter([named[:99].encode(), named[99:].encode()])
    assert client.post("/score", content=chunks, headers=CSV).json() == expected
    packed = {**CSV, "content-encoding": "gzip"}
    answer = client.post("/invocations", content=gzip.compress(named.encode()), headers=packed)
    assert answer.json() == expected
    refused(client.post("/invocations", content=bare, headers=CSV), 400, "header=absent")


def test_a_table_takes_the_scoring_protocol(
    table_server: AnyServer, table_model: Any, table: pd.DataFrame
) -> None:
    expected = {"predictions": table_model.predict(table).tolist()}
    turned = table[["colour", "size"]]
    with table_server.client() as client:
        for body in (
            {"dataframe_split": turned.to_dict("split")},
            {"dataframe_records": turned.to_dict("records")},
            {"inputs": turned.to_dict("list")},
        ):
            assert client.post("/invocations", json=body).json() == expected, body
        text = turned.to_csv(index=False)
        assert client.post("/invocations", content=text, headers=CSV).json() == expected
        text = table.to_csv()
        refused(client.post("/invocations", content=text, headers=CSV), 400, "''", "'size'")


def test_bad_bodies_of_the_scoring_protocol_are_4xx(client: httpx.Client) -> None:
    for content, headers, status, words in (
        (b"{", JSON, 400, "not JSON"),
        (b"", JSON, 400, "not JSON"),
        (b"", CSV, 400, "send at least one row"),
        (b"[1]", JSON, 400, "'dataframe_split'"),
        (b'{"inputs": [[1]]}', JSON, 400, "4 values"),
        (b'{"dataframe_records": [{"a": 1}]}', JSON, 400, "must be a list"),
        (b"a,b,c,d\n1,2,3,x\n", CSV, 400, "row 1 of the CSV: 'd' must be a number"),
        (b"a,b\n1,2\n", CSV, 400, "4 values"),
        (b"\xff", CSV, 400, "not UTF-8"),
        (b"\x80", {"content-type": "application/msgpack"}, 415, "text/csv"),
        (b"x", {"content-type": "text/csv; charset=utf-16"}, 415, "utf-8"),
    ):
        refused(client.post("/invocations", content=content, headers=headers), status, words)


def test_a_table_takes_objects_and_tensors(
    table_server: AnyServer, table_model: Any, table: pd.DataFrame
) -> None:
    expected = table_model.predict(table).tolist()
    with table_server.client() as client:
        answer = client.post(PREDICT, json={"instances": table.to_dict("records")})
        assert answer.json() == {"predictions": expected}
        named = [
            tensor(table["colour"].tolist(), [4, 1], "BYTES", "colour"),
            tensor(table["size"].tolist(), [4], "FP64", "size"),
        ]
        answer = client.post(INFER, json={"inputs": named})
        assert (
            outputs(answer) == {"predictions": expected}
            and answer.json()["outputs"][0]["datatype"] == "BYTES"
        )
        refused(client.post(INFER, json={"inputs": named[:1]}), 400, "lacks 'size'")
        refused(
            client.post(INFER, json={"inputs": [named[0], {**named[1], "name": "sise"}]}),
            400,
            "'size'",
        )
        refused(
            client.post(INFER, json={"inputs": [named[0], tensor([1.0], [1], "FP64", "size")]}),
            400,
            "rows",
        )
        inputs = client.get("/v2/models/model").json()["inputs"]
        assert [(item["name"], item["datatype"]) for item in inputs] == [
            ("size", "FP64"),
            ("colour", "BYTES"),
        ]


GRPC_CLIENT = """
import asyncio, json, sys

import grpc
import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2, grpc_predict_v2_pb2_grpc


async def outputs(port):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = grpc_predict_v2_pb2_grpc.GRPCInferenceServiceStub(channel)
        about = await stub.ModelMetadata(grpc_predict_v2_pb2.ModelMetadataRequest(name="model"))
    return [(about.platform, item.name, item.datatype, *item.shape) for item in about.outputs]


async def main(port, columns):
    client = InferenceGRPCClient(f"127.0.0.1:{port}", timeout=60)
    size = InferInput("size", [4], "FP64")
    size.set_data_from_numpy(np.array(columns["size"]), binary_data=True)
    colour = InferInput("colour", [4, 1], "BYTES")
    texts = np.array(columns["colour"], dtype=object).reshape(4, 1)
    colour.set_data_from_numpy(texts, binary_data=True)
    answer = await client.infer(InferRequest("model", [size, colour], request_id="mine" * 30_000))
    values = answer.outputs[0].as_numpy().ravel().tolist()
    texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    ready = await client.is_server_ready(), await client.is_model_ready("model")
    try:
        await client.infer(InferRequest("model", [size]))
    except grpc.aio.AioRpcError as error:
        refused = error.code().name, error.details()
    except Exception as error:
        refused = type(error).__name__, str(error)
    await client.close()
    ident = answer.id[:4], len(answer.id)
    found = {"id": ident, "predictions": texts, "ready": ready, "refused": refused}
    print(json.dumps({**found, "outputs": await outputs(port)}))


asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""


@pytest.mark.parametrize(
    "place", [place for place in PLACES if "kfserving" not in place.values[0]], indirect=True
)
def test_grpc(table_server: AnyServer, table_model: Any, table: pd.DataFrame) -> None:
    python = server_python(LOCKS["kserve"])
    columns = json.dumps(table.to_dict("list"))
    command = [str(python), "-c", GRPC_CLIENT, str(table_server.grpc_port), columns]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["id"] == ["mine", 120_000]  # longer than a frame's id
    assert answer["ready"] == [True, True]
    assert answer["predictions"] == table_model.predict(table).tolist()
    assert answer["outputs"] == [["sklearn", "predictions", "BYTES", -1]]
    assert "INVALID_ARGUMENT" in str(answer["refused"]) and "lacks 'colour'" in str(
        answer["refused"]
    )
    assert not [line for line in table_server.lines() if "exception" in line]


# --- /metrics, /docs, /openapi.json


def test_metrics_count(client: httpx.Client) -> None:
    def figures() -> list[float]:
        return [
            metric(client, "scaffold_requests_total", route="predict", code="200"),
            metric(client, "scaffold_requests_total", route="predict_binary", code="400"),
            metric(client, "scaffold_requests_total", route="infer", code="200"),
            metric(client, "scaffold_requests_total", route="invocations", code="200"),
            metric(client, "scaffold_request_seconds_count", route="predict"),
            metric(client, "scaffold_batch_rows_sum"),
            metric(client, "scaffold_batch_requests_count"),
            metric(client, "scaffold_phase_seconds_count", phase="predict"),
            metric(client, "request_predict_seconds_count", model_name="model"),
        ]

    before = figures()
    client.post(PREDICT, json={"instances": [ROW] * 7})
    client.post(BINARY, content=b"\xc1")
    client.post(INFER, json={"inputs": [GOOD]})
    client.post("/invocations", content=b"a,b,c,d\n1,2,3,4\n", headers=CSV)
    changes = [round(new - old) for old, new in zip(before, figures(), strict=True)]
    assert changes == [1, 1, 1, 1, 1, 9, 3, 3, 3]


def test_metrics_names(client: httpx.Client) -> None:
    text = client.get("/metrics").text
    phases = ("decode", "preprocess", "predict", "postprocess", "encode")
    assert metric(client, "scaffold_queue_length") == 0
    assert all(f'scaffold_phase_seconds_count{{phase="{phase}"}}' in text for phase in phases)
    for name in (
        "scaffold_worker_restarts",
        "request_preprocess_seconds",
        "request_postprocess_seconds",
    ):
        assert f"# HELP {name}" in text


def test_every_operation_of_the_page_works(client: httpx.Client) -> None:
    document = openapi_page.check_page(client)
    validate(document)
    schemas = document["components"]["schemas"]
    assert (schemas["Row"]["minItems"], schemas["Row"]["maxItems"]) == (4, 4)
    assert schemas["Prediction"] == {"type": "integer", "enum": [0, 1, 2]}
    asked = {**openapi_page.example_of(document, "predict"), "probabilities": True}
    [predict] = [each for each in openapi_page.operations(document) if each.id == "predict"]
    openapi_page.check(document, predict, client.post(PREDICT, json=asked))


def test_every_operation_of_the_page_of_a_table_works(table_server: AnyServer) -> None:
    with table_server.client() as client:
        document = openapi_page.check_page(client)
    row = document["components"]["schemas"]["Row"]
    assert row["required"] == ["size", "colour"]
    assert row["properties"]["colour"] == {"type": ["string", "null"]}


def test_docs_load_all_files_from_this_server(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text and "https://" not in page.text
    for file in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"docs/static/{file}" in page.text
        assert client.get(f"/docs/static/{file}").status_code == 200
    assert "openapi.json" in page.text
