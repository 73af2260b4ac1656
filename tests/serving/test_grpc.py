"""gRPC: ModelInfer, metadata, health and reflection, with the clients of Triton and KServe."""

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generator
from generator.environment.venvs import server_python
from generator.scaffold import Scaffold
from support.models.objects import Sums
from support.packages.late import imported_late
from support.servers.running import (
    LOCKS,
    PATIENCE,
    PREDICT,
    Running,
    configure,
    copied,
    free_port,
    serving,
    until,
)

grpc = imported_late("grpc")
triton = imported_late("tritonclient.grpc")
service_pb2 = imported_late("tritonclient.grpc.service_pb2")

TESTS = Path(__file__).resolve().parents[1]
INFER = "/inference.GRPCInferenceService/ModelInfer"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
SERVING, NOT_SERVING, UNKNOWN = b"\x08\x01", b"\x08\x02", b"\x08\x03"
MODEL = b"\x0a\x05model"  # HealthCheckRequest(service="model")
LIMIT, PLACES = 2**20, 2
ROWS = np.arange(8.0).reshape(2, 4)

# A parameter selects a behaviour.
OWNERS_CODE = """
import time

from common import InvalidInput


class InferenceModel:
    def __init__(self, config):
        pass

    def load(self):
        time.sleep(0.5)

    def preprocess(self, request):
        return request

    def predict(self, request):
        if "invalid" in request:
            raise InvalidInput(request["invalid"] * 1000)
        if "fail" in request:
            raise RuntimeError("the secret is 4711")
        time.sleep(request.get("sleep", 0))
        rows = request["instances"]
        return {"predictions": [sum(row) for row in rows], "rows": rows}

    def postprocess(self, response):
        return response
"""


@pytest.fixture(
    scope="module", params=["kserve", pytest.param("standalone", marks=pytest.mark.sweep)]
)
def directory(
    request: pytest.FixtureRequest, sums: Scaffold, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    place = tmp_path_factory.mktemp("grpc") / "own"
    if request.param != sums.server:
        rows = np.arange(8.0).reshape(2, 4)
        made = tmp_path_factory.mktemp(request.param) / "test_sums"
        how = {"framework": "custom", "sample_input": rows, "server": request.param}
        sums = generator.from_model(Sums(), made, **how)
        sums.close()
    knobs = {
        "max_body_bytes": LIMIT,
        "max_queue_bytes": PLACES * LIMIT,
        "predict_timeout_seconds": 3,
        "drain_seconds": 1,
    }
    made = copied(sums, place, OWNERS_CODE, access_log=True, example=None, **knobs)
    config = made / "config.yaml"
    head, _, _ = config.read_text().partition("    input:\n")
    config.write_text(head)
    return made


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Running]:
    """A server for tests that leave it as they found it."""
    with serving(directory, GRPC_PORT=str(free_port())) as running:
        yield running


@contextlib.contextmanager
def channel(server: Running, **options: Any) -> Iterator[Any]:
    settings = [(f"grpc.{name}", value) for name, value in options.items()]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", settings) as opened:
        yield opened


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as opened:
        yield opened


def tensor(values: Any = ROWS, name: str = "instances") -> Any:
    made = triton.InferInput(name, list(values.shape), triton_datatype(values))
    made.set_data_from_numpy(values)
    return made


def triton_datatype(values: Any) -> str:
    return {"float64": "FP64", "float32": "FP32", "int64": "INT64"}.get(values.dtype.name, "BYTES")


def message(values: Any = ROWS, **others: Any) -> Any:
    """A request with typed contents."""
    parameters = {
        name: service_pb2.InferParameter(**{kind: value})
        for name, (kind, value) in others.pop("parameters", {}).items()
    }
    contents = service_pb2.InferTensorContents(fp64_contents=values.ravel().tolist())
    part = service_pb2.ModelInferRequest.InferInputTensor(
        name="x", datatype="FP64", shape=list(values.shape), contents=contents
    )
    given = {"model_name": "model", "inputs": [part], "parameters": parameters, **others}
    return service_pb2.ModelInferRequest(**given)


def infer(channel: Any, request: Any, **call: Any) -> Any:
    """The response; its message may be any bytes."""
    ask = channel.unary_unary(INFER)
    data = request if isinstance(request, bytes) else request.SerializeToString()
    return service_pb2.ModelInferResponse.FromString(ask(data, timeout=PATIENCE, **call))


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    """The code and the details of a call's error."""
    with pytest.raises(grpc.RpcError) as refused:
        call()
    error: Any = refused.value
    return error.code().name, error.details()


# ---- ModelInfer ----


def test_an_answer_is_that_of_http(server: Running, client: Any) -> None:
    with server.client() as http:
        expected = http.post(PREDICT, json={"instances": ROWS.tolist()}).json()
    answer = client.infer("model", [tensor()], request_id="mine")
    assert answer.get_response().id == "mine"
    assert answer.as_numpy("predictions").tolist() == expected["predictions"]
    assert answer.as_numpy("rows").tolist() == expected["rows"]
    with channel(server) as opened:
        typed = infer(opened, message())
    predictions = {output.name: output for output in typed.outputs}["predictions"]
    assert list(predictions.contents.fp64_contents) == expected["predictions"]


def test_requested_outputs_come_in_their_order(client: Any) -> None:
    asked = [triton.InferRequestedOutput(name) for name in ("rows", "predictions")]
    answer = client.infer("model", [tensor()], outputs=asked).get_response()
    assert [output.name for output in answer.outputs] == ["rows", "predictions"]
    answer = client.infer("model", [tensor()], outputs=asked[1:]).get_response()
    assert [output.name for output in answer.outputs] == ["predictions"]
    asked = [triton.InferRequestedOutput("labels")]
    with pytest.raises(triton.InferenceServerException) as refused:
        client.infer("model", [tensor()], outputs=asked)
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert (
        refused.value.message()
        == "outputs: 'labels' is unknown, the outputs are 'predictions', 'rows'"
    )


def test_errors_have_grpcs_codes(server: Running) -> None:
    def refused(request: Any) -> tuple[str, str]:
        with channel(server) as opened:
            return refusal(lambda: infer(opened, request))

    code, details = refused(message(model_name="another"))
    assert code == "NOT_FOUND" and "no model 'another' here" in details
    code, details = refused(message(model_version="2"))
    assert code == "NOT_FOUND" and "no version '2' here, the version is '" in details
    code, details = refused(b"\xff" * 20)
    assert code == "INVALID_ARGUMENT" and details.startswith("the message is malformed")
    code, details = refused(message(ROWS[0, 0]))
    assert code == "INVALID_ARGUMENT" and "first axis must be rows" in details
    code, details = refused(message(parameters={"invalid": ("string_param", "das Öl ")}))
    assert code == "INVALID_ARGUMENT" and details.startswith("das Öl das Öl ")
    code, details = refused(message(parameters={"fail": ("bool_param", True)}, id="mine"))
    assert code == "INTERNAL" and details.endswith("request id mine") and "4711" not in details
    code, details = refused(message(parameters={"sleep": ("int64_param", 100)}))
    assert code == "DEADLINE_EXCEEDED" and "predict_timeout_seconds" in details
    until(server.ready, "the worker is replaced")


def test_small_messages_that_are_malformed_are_the_clients_mistake(server: Running) -> None:
    before = [line for line in server.lines() if "exception" in line]
    with channel(server) as opened:
        for method in (
            "/inference.GRPCInferenceService/ModelReady",
            "/inference.GRPCInferenceService/RepositoryModelUnload",
            "/grpc.health.v1.Health/Check",
        ):
            call = opened.unary_unary(method)
            code, details = refusal(lambda call=call: call(b"\xff", timeout=PATIENCE))
            assert code == "INVALID_ARGUMENT" and "the message is not a" in details
        watch = opened.unary_stream(WATCH)(b"\xff", timeout=PATIENCE)
        assert refusal(lambda: next(watch))[0] == "INVALID_ARGUMENT"
        answers = opened.stream_stream(REFLECTION)(iter([b"\xff"]), timeout=PATIENCE)
        assert b"\x08\x03" in next(answers)  # ErrorResponse(error_code=INVALID_ARGUMENT)
    assert [line for line in server.lines() if "exception" in line] == before


def test_a_message_has_the_limit_of_a_body(server: Running, client: Any) -> None:
    fits = np.zeros(((LIMIT - 4096) // 32, 4))
    assert len(client.infer("model", [tensor(fits)]).as_numpy("predictions")) == len(fits)
    large = np.zeros((LIMIT // 32 + 1, 4))
    for compression in (None, "gzip"):
        with pytest.raises(triton.InferenceServerException) as refused:
            client.infer("model", [tensor(large)], compression_algorithm=compression)
        assert refused.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
    compressed = client.infer("model", [tensor()], compression_algorithm="gzip")
    assert compressed.as_numpy("predictions").tolist() == ROWS.sum(axis=1).tolist()


def logged(server: Running, request_id: str) -> list[str]:
    """The access log's lines of a request."""
    return [
        line["message"]
        for line in server.lines()
        if line["logger"] == "access" and line.get("request_id") == request_id
    ]


@pytest.mark.parametrize(
    ("metadata", "given", "expected"),
    [
        ((("x-request-id", "abc-1"),), "other", "abc-1"),
        ((), "mine-2", "mine-2"),
        ((("x-request-id", "with space"),), "mine-3", None),
        ((), "x" * 70_000, None),
        ((), "ü", None),
        ((), "", None),
    ],
)
def test_the_request_id_is_the_metadatas_or_the_messages(
    server: Running, metadata: Any, given: str, expected: str | None
) -> None:
    with channel(server) as opened:
        call = opened.unary_unary(INFER)
        data = message(id=given).SerializeToString()
        body, done = call.with_call(data, metadata=metadata, timeout=PATIENCE)
    [request_id] = [value for key, value in done.trailing_metadata() if key == "x-request-id"]
    answer = service_pb2.ModelInferResponse.FromString(body)
    assert answer.id == (given or request_id)
    assert dict(done.trailing_metadata())["x-model-version"] == answer.model_version
    assert expected in (None, request_id) and len(request_id) <= 128
    until(lambda: logged(server, request_id), "the answer is logged")
    assert logged(server, request_id)[0].startswith("grpc_infer 200 ")


def test_answers_are_counted(server: Running) -> None:
    def figures() -> list[float]:
        codes = [
            server.metric("scaffold_requests_total", route="grpc_infer", code=code)
            for code in ("200", "400", "404", "499")
        ]
        return [
            *codes,
            server.metric("scaffold_request_seconds_count", route="grpc_infer"),
            server.metric("scaffold_batch_rows_sum"),
        ]

    before = figures()
    with channel(server) as opened:
        infer(opened, message())
        refusal(lambda: infer(opened, b"\xff"))
        refusal(lambda: infer(opened, message(model_name="x")))
    changes = [round(new - old) for old, new in zip(before, figures(), strict=True)]
    assert changes == [1, 1, 1, 0, 3, 2]


def test_a_call_that_is_given_up_is_not_waited_for(server: Running) -> None:
    def given_up() -> float:
        return server.metric("scaffold_requests_total", route="grpc_infer", code="499")

    before = given_up()
    slow = message(parameters={"sleep": ("double_param", 1.0)}).SerializeToString()
    with channel(server) as opened:
        ask = opened.unary_unary(INFER)
        start = time.monotonic()
        assert refusal(lambda: ask(slow, timeout=0.2))[0] == "DEADLINE_EXCEEDED"
        until(lambda: given_up() == before + 1, "the call is counted")
        assert time.monotonic() - start < PATIENCE / 2
        call = ask.future(slow, timeout=PATIENCE)
        until(lambda: server.metric("scaffold_queue_length") > 0, "it is at the worker")
        call.cancel()
        until(lambda: given_up() == before + 2, "the call is counted")
        infer(opened, message())  # the worker goes on


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """A frame of HTTP/2: RFC 9113, 4.1."""
    return struct.pack("!I", len(content))[1:] + struct.pack("!BBI", kind, flags, stream) + content


def half_sent(stream: int) -> bytes:
    """A call of ModelInfer whose message has 10 bytes of the 1000 that it announces."""
    path = bytes([4, len(INFER)]) + INFER.encode()  # fields as in RFC 7541, 6
    fields = (
        b"\x83\x86"
        + path
        + b"\x01\x01a"
        + b"\x0f\x10\x10application/grpc"
        + b"\x00\x02te\x08trailers"
    )
    data = struct.pack("!BI", 0, 1000) + bytes(10)
    return frame(1, 4, stream, fields) + frame(0, 0, stream, data)


def ended_streams(connection: socket.socket, count: int) -> set[int]:
    """The first streams that the server ends."""
    data, ended = b"", set()
    while len(ended) < count:
        chunk = connection.recv(2**16)
        assert chunk, "the server has closed the connection"
        data += chunk
        while len(data) >= 9 and len(data) >= (end := 9 + int.from_bytes(data[:3], "big")):
            kind, flags, stream = struct.unpack_from("!BBI", data, 3)
            if kind == 1 and flags & 1:
                ended.add(stream)
            data = data[end:]
    return ended


def test_messages_that_do_not_come_make_room(server: Running) -> None:
    def refused() -> float:
        return server.metric("scaffold_requests_total", route="grpc_infer", code="503")

    before = refused()
    streams = [1, 3, 5, 7, 9]
    with socket.create_connection(("127.0.0.1", server.grpc_port), PATIENCE) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        connection.sendall(b"".join(map(half_sent, streams)))
        gone = len(streams) - PLACES
        assert ended_streams(connection, gone) == set(streams[:gone])
        until(lambda: refused() - before == gone, "they are counted")
        with channel(server) as opened:
            infer(opened, message())
        assert refused() - before == gone


def test_a_call_without_a_message(server: Running) -> None:
    with channel(server) as opened:
        ask = opened.stream_unary(INFER)
        code, details = refusal(lambda: ask(iter(()), timeout=PATIENCE))
    assert (code, details) == ("INVALID_ARGUMENT", "the call has no message")


def test_many_calls_at_the_same_time(server: Running) -> None:
    with channel(server) as opened:
        ask = opened.unary_unary(INFER)
        values = [np.full((1, 4), float(number)) for number in range(500)]
        calls = [ask.future(message(rows).SerializeToString(), timeout=60) for rows in values]
        for number, call in enumerate(calls):
            outputs = service_pb2.ModelInferResponse.FromString(call.result()).outputs
            assert list(outputs[0].contents.fp64_contents) == [4.0 * number]


# ---- the other services ----


@pytest.fixture(scope="module")
def stubs(server: Running) -> dict[str, Any]:
    """What the stubs of KServe and gRPC's own services are answered."""
    done = subprocess.run(
        [
            str(server_python(LOCKS["kserve"])),
            "-m",
            "support.programs.grpc_stubs",
            str(server.grpc_port),
        ],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def test_metadata_is_that_of_http(server: Running, stubs: dict[str, Any]) -> None:
    answers = stubs["inference"]
    assert answers["ServerLive"] == {"live": True}
    assert answers["ServerReady"] == answers["ModelReady"] == {"ready": True}
    with server.client() as http:
        of_server, of_model = (http.get(path).json() for path in ("/v2", "/v2/models/model"))
    assert answers["ServerMetadata"] == of_server
    expected = of_model
    for part in (*expected["inputs"], *expected["outputs"]):
        part["shape"] = list(map(str, part["shape"]))  # protobuf's JSON of an int64
    assert answers["ModelMetadata"] == expected


def test_a_model_is_neither_loaded_nor_unloaded(stubs: dict[str, Any]) -> None:
    for method in ("RepositoryModelLoad", "RepositoryModelUnload"):
        code, details = stubs["inference"][method]
        assert code == "UNIMPLEMENTED" and "this server serves one model" in details


def test_another_model_has_no_metadata(server: Running, client: Any) -> None:
    for call in (client.get_model_metadata, client.is_model_ready):
        for arguments in (("another",), ("model", "7")):
            with pytest.raises(triton.InferenceServerException) as refused:
                call(*arguments)
            assert refused.value.status() == "StatusCode.NOT_FOUND"


def test_health_of_the_server_and_the_model(stubs: dict[str, Any]) -> None:
    answers = stubs["health"]
    code, details = answers.pop("another")
    assert code == "NOT_FOUND" and "the services are '', 'inference" in details
    assert answers == dict.fromkeys(
        ("", "model", "inference.GRPCInferenceService"), {"status": "SERVING"}
    )


def test_reflection_shows_what_is_served(stubs: dict[str, Any]) -> None:
    answers = stubs["reflection"]
    assert answers["services"] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]
    assert answers["inference.GRPCInferenceService"] == [
        "ServerLive",
        "ServerReady",
        "ModelReady",
        "ServerMetadata",
        "ModelMetadata",
        "ModelInfer",
        "ModelStreamInfer",
    ]
    assert answers["as KServe's"] == [True]
    assert answers["grpc.health.v1.Health"] == ["Check", "Watch"]
    assert answers["google.protobuf.Any"] == []  # the process knows it, but serves none


def test_few_streams_stay_open(directory: Path, tmp_path: Path) -> None:
    own = shutil.copytree(directory, tmp_path / "own")
    configure(own, max_connections=8)
    with serving(own, GRPC_PORT=str(free_port())) as running, channel(running) as opened:
        ask = opened.unary_stream(WATCH)
        watches = [ask(MODEL, timeout=PATIENCE) for _ in range(2)]
        assert [next(watch) for watch in watches] == [SERVING, SERVING]
        third = ask(MODEL, timeout=PATIENCE)
        assert refusal(lambda: next(third))[0] == "UNAVAILABLE"
        reflected = opened.stream_stream(REFLECTION)(iter([b"\x3a\x00"]), timeout=PATIENCE)
        assert refusal(lambda: next(reflected))[0] == "UNAVAILABLE"
        watches[0].cancel()

        def watched() -> bool:
            with contextlib.suppress(grpc.RpcError):
                return bool(next(ask(MODEL, timeout=PATIENCE)) == SERVING)
            return False

        until(watched, "there is room again")


# ---- the end ----


def test_health_follows_the_workers_and_the_end(directory: Path) -> None:
    with serving(directory, GRPC_PORT=str(free_port())) as running, channel(running) as opened:
        seen: list[bytes] = []
        gone = threading.Event()

        def watch() -> None:
            seen.extend(opened.unary_stream(WATCH)(MODEL, timeout=PATIENCE))

        def never() -> Iterator[bytes]:
            gone.wait(PATIENCE)
            yield from ()

        unknown = opened.unary_stream(WATCH)(b"\x0a\x01x", timeout=PATIENCE)
        assert next(unknown) == UNKNOWN
        reflected = opened.stream_stream(REFLECTION)(never(), timeout=PATIENCE)
        watching = threading.Thread(target=watch)
        watching.start()
        until(lambda: seen == [SERVING], "the server is ready")
        [worker] = running.workers()
        os.kill(worker, signal.SIGKILL)
        until(lambda: len(seen) == 3, "the worker is replaced")
        assert seen == [SERVING, NOT_SERVING, SERVING]

        slow = message(parameters={"sleep": ("double_param", 2.0)}).SerializeToString()
        pending = opened.unary_unary(INFER).future(slow, timeout=PATIENCE)
        until(lambda: running.metric("scaffold_queue_length") == 1, "the request is at work")
        running.process.send_signal(signal.SIGTERM)
        until(lambda: len(seen) == 4, "the server drains")
        infer(opened, message())  # the server still answers
        outputs = service_pb2.ModelInferResponse.FromString(pending.result()).outputs
        assert list(outputs[0].contents.fp64_contents) == ROWS.sum(axis=1).tolist()
        assert running.process.wait(timeout=20) == 0  # whatever streams are open
        watching.join()
        assert seen == [SERVING, NOT_SERVING, SERVING, NOT_SERVING]
        assert list(reflected) == [] and list(unknown) == []
        gone.set()


def test_no_call_is_lost_at_the_end(directory: Path, tmp_path: Path) -> None:
    own = shutil.copytree(directory, tmp_path / "own")
    configure(own, drain_seconds=0)
    codes: Counter[str] = Counter()
    gone = threading.Event()
    data = message().SerializeToString()

    def call(running: Running) -> None:
        with channel(running, use_local_subchannel_pool=1) as opened:
            ask = opened.unary_unary(INFER)
            while not gone.is_set():
                try:
                    ask(data, timeout=PATIENCE)
                    codes["OK"] += 1
                except grpc.RpcError as error:
                    codes[error.code().name] += 1
                    time.sleep(0.05)

    with serving(own, GRPC_PORT=str(free_port())) as running:
        threads = [threading.Thread(target=call, args=(running,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: codes["OK"] > 50, "there is load")
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(timeout=PATIENCE) == 0
            until(lambda: codes["UNAVAILABLE"], "the clients have noticed")
        finally:
            gone.set()
            for thread in threads:
                thread.join()
    assert codes.keys() == {"OK", "UNAVAILABLE"}
