"""ModelStreamInfer: answers that come chunk by chunk over gRPC, with Triton's client."""

import contextlib
import queue
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import generator
from support.packages.late import imported_late
from support.servers.running import PATIENCE, PREDICT, Running, configure, free_port, serving, until

grpc = imported_late("grpc")
triton = imported_late("tritonclient.grpc")
service_pb2 = imported_late("tritonclient.grpc.service_pb2")

STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
MODEL = '''
import time
from pathlib import Path

from common import InvalidInput, route


class InferenceModel:
    """Yields as many chunks as the first row says."""

    def __init__(self, config):
        self.made = 0

    def load(self): ...

    def preprocess(self, request):
        return request

    def predict(self, request, context):
        context.headers["X-Streams"] = "yes"
        if request.get("whole"):
            return {"number": [len(request["instances"])], "keys": [sorted(request)]}
        return self._chunks(request)

    def _chunks(self, request):
        try:
            for number in range(int(request["instances"][0][0])):
                if request.get("fails") == number:
                    raise InvalidInput("there is no more")
                if request.get("odd") == number:
                    yield "a text"
                time.sleep(request.get("pause", 0))
                self.made += 1
                yield {"number": [number], "fill": ["x" * request.get("fill", 0)]}
        finally:
            if name := request.get("name"):
                Path("data", name).write_text("closed")

    def postprocess(self, response):
        return response

    @route("/made", methods=["GET"])
    def told(self, request):
        return self.made
'''


@pytest.fixture(
    scope="module", params=["standalone", pytest.param("kserve", marks=pytest.mark.sweep)]
)
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("grpc_streams") / "own"
    generator.new(place, server=request.param).close()
    (place / "src/server/inference_model.py").write_text(MODEL)
    (place / "src/data").mkdir(exist_ok=True)
    configure(place, drain_seconds=0)
    return place


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Running]:
    with serving(directory, GRPC_PORT=str(free_port())) as running:
        yield running


class Calls:
    """A stream of Triton's client, and what comes on it."""

    def __init__(self, client: Any) -> None:
        self._came: queue.Queue[Any] = queue.Queue()
        self._client = client
        client.start_stream(callback=lambda result, error: self._came.put((result, error)))

    def ask(self, count: int, final: bool = True, **parameters: Any) -> None:
        tensor = triton.InferInput("x", [1, 1], "INT64")
        tensor.set_data_from_numpy(np.array([[count]]))
        options = {"request_id": f"of-{count}", "parameters": parameters}
        self._client.async_stream_infer(
            "model", [tensor], enable_empty_final_response=final, **options
        )

    def next(self) -> tuple[str, Any]:
        """The next response's id and number; "error" and the message where it is one."""
        result, error = self._came.get(timeout=PATIENCE)
        if error is not None:
            return "error", error.message()
        response, number = result.get_response(), result.as_numpy("number")
        is_last = response.parameters["triton_final_response"].bool_param
        if number is None:
            assert is_last
            return response.id, "last"
        return response.id, number.item()


@pytest.fixture
def calls(server: Running) -> Iterator[Calls]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
        yield Calls(client)
        client.stop_stream(cancel_requests=True)


def request(count: int, **parameters: int | str) -> bytes:
    kinds = {
        name: service_pb2.InferParameter(
            **{"string_param" if isinstance(value, str) else "int64_param": value}
        )
        for name, value in parameters.items()
    }
    contents = service_pb2.InferTensorContents(int64_contents=[count])
    tensor = service_pb2.ModelInferRequest.InferInputTensor(
        name="x", datatype="INT64", shape=[1, 1], contents=contents
    )
    made = service_pb2.ModelInferRequest(model_name="model", inputs=[tensor], parameters=kinds)
    return bytes(made.SerializeToString())


@contextlib.contextmanager
def stream(server: Running) -> Iterator[tuple["queue.Queue[Any]", Any]]:
    """A call that stays open: what takes its requests, and its responses."""
    requests: queue.Queue[Any] = queue.Queue()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        ask = channel.stream_stream(
            STREAM_INFER,
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )
        yield requests, ask(iter(requests.get, None), timeout=PATIENCE)
        requests.put(None)


def test_chunks_come_one_by_one(calls: Calls) -> None:
    calls.ask(3)
    assert [calls.next() for _ in range(4)] == [("of-3", 0), ("of-3", 1), ("of-3", 2)] + [
        ("of-3", "last")
    ]


def test_requests_of_one_call_are_answered_in_their_order(calls: Calls) -> None:
    for count in (2, 0, 1):
        calls.ask(count)
    expected = [("of-2", 0), ("of-2", 1), ("of-2", "last"), ("of-0", "last")]
    assert [calls.next() for _ in range(6)] == [*expected, ("of-1", 0), ("of-1", "last")]


def test_an_error_is_a_response_and_the_call_goes_on(calls: Calls) -> None:
    calls.ask(3, fails=1)
    assert [calls.next(), calls.next()] == [("of-3", 0), ("error", "there is no more")]
    calls.ask(2, fails=0)
    assert calls.next() == ("error", "there is no more")
    calls.ask(2, odd=1)
    assert calls.next() == ("of-2", 0)
    kind, message = calls.next()
    assert kind == "error" and message.endswith("under request id of-2")
    calls.ask(1, final=False)
    calls.ask(1, final=False)
    assert [calls.next(), calls.next()] == [("of-1", 0), ("of-1", 0)]


def test_an_answer_that_is_no_stream_is_one_response(calls: Calls) -> None:
    calls.ask(7, whole=True)
    assert calls.next() == ("of-7", 1)
    calls.ask(8, whole=True, final=False)
    assert calls.next() == ("of-8", 1)


def test_the_model_does_not_see_what_is_for_the_server(server: Running) -> None:
    asked = request(1, whole=1)
    final = service_pb2.ModelInferRequest(
        parameters={
            "triton_enable_empty_final_response": service_pb2.InferParameter(bool_param=True)
        }
    )
    with stream(server) as (requests, answers):
        requests.put(asked + final.SerializeToString())
        infer = next(answers).infer_response
    assert infer.parameters["triton_final_response"].bool_param
    assert b"whole" in str(infer).encode() and "triton_enable" not in str(infer.outputs)


def test_what_a_hook_says_beside_chunks_is_trailing_metadata(server: Running) -> None:
    with stream(server) as (requests, answers):
        requests.put(request(2))
        requests.put(None)
        assert len(list(answers)) == 2
        metadata = dict(answers.trailing_metadata())
    assert metadata["x-streams"] == "yes" and metadata["x-request-id"]


def test_calls_that_wait_for_a_request_make_room(directory: Path, tmp_path: Path) -> None:
    place = shutil.copytree(directory, tmp_path / "own")
    configure(place, max_connections=36)
    with (
        serving(place, GRPC_PORT=str(free_port())) as server,
        contextlib.ExitStack() as opened,
    ):
        calls = []
        for _ in range(10):
            requests, answers = opened.enter_context(stream(server))
            requests.put(request(1))
            next(answers)
            calls.append(answers)
        ended = calls[0]
        assert refused_code(ended) is grpc.StatusCode.UNAVAILABLE
        assert "max_queue_bytes" in ended.details()
        requests.put(request(1))
        next(answers)


def refused_code(answers: Any) -> Any:
    with pytest.raises(grpc.RpcError) as refused:
        next(answers)
    return refused.value.code()


def test_malformed_requests_are_responses(server: Running) -> None:
    with stream(server) as (requests, answers):
        requests.put(b"\xff" * 20)
        assert next(answers).error_message.startswith("the message is malformed")
        other = service_pb2.ModelInferRequest(model_name="another", id="mine")
        requests.put(other.SerializeToString())
        refused = next(answers)
        assert "no model 'another' here" in refused.error_message
        assert refused.infer_response.id == "mine"
        requests.put(request(1))
        assert list(next(answers).infer_response.outputs[0].contents.int64_contents) == [0]


def test_model_infer_of_a_stream_says_what_to_call(server: Running) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            ask(request(1), timeout=PATIENCE)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "ModelStreamInfer" in refused.value.details()


def test_a_client_that_leaves_ends_the_generator(server: Running, directory: Path) -> None:
    with stream(server) as (requests, answers):
        requests.put(request(100_000, pause=0, fill=1000, name="left"))
        next(answers)
        answers.cancel()
    until((directory / "src/data/left").exists, "the generator is closed")


def test_a_client_that_stops_reading_stops_the_generator(server: Running) -> None:
    with stream(server) as (requests, answers), server.client() as http:
        before = http.get("/made").json()
        requests.put(request(100_000, fill=10_000))
        next(answers)
        until(lambda: made(http) == made(http, 0.5), "it stops")
        assert made(http) - before < 5000
        with stream(server) as (others, told):
            others.put(request(2))
            assert [next(told), next(told)], "others go on"
        answers.cancel()


def made(http: httpx.Client, pause: float = 0) -> Any:
    """How many chunks were made, after a pause."""
    time.sleep(pause)
    return http.get("/made").json()


def test_a_server_that_stops_ends_streams(directory: Path) -> None:
    with serving(directory, GRPC_PORT=str(free_port())) as running:
        with stream(running) as (requests, answers), stream(running) as (_, idle):
            requests.put(request(3))
            assert [next(answers) for _ in range(3)]
            time.sleep(0.3)  # the server waits for the next request
            running.process.send_signal(signal.SIGTERM)
            for each in (answers, idle):
                with pytest.raises(grpc.RpcError) as ended:
                    next(each)
                assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
                assert "stopping" in ended.value.details()
        assert running.process.wait(timeout=PATIENCE) == 0


def test_v2_over_http_streams_lines_of_json(server: Running) -> None:
    body = {
        "id": "mine",
        "inputs": [{"name": "x", "shape": [1, 1], "datatype": "INT64", "data": [2]}],
        "outputs": [{"name": "number"}],
    }
    infer = "/v2/models/model/infer"
    with server.client() as http:
        lines = http.post(infer, json=body).text.splitlines()
        assert '"id":"mine"' in lines[0] and '"data":[0]' in lines[0] and len(lines) == 2
        events = http.post(infer, json=body, headers={"Accept": "text/event-stream"})
        assert events.text.startswith('data: {"id":"mine"') and events.text.endswith(
            "\n\nevent: end\ndata: {}\n\n"
        )
        body["parameters"] = {"binary_data_output": True}
        raw = http.post(infer, json=body)
        assert raw.status_code == 400 and "binary_data" in raw.json()["error"]
        assert http.post(PREDICT, json={"instances": [[1]]}).json()["number"] == [0]
