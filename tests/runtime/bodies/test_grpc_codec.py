"""ModelInfer's messages in the worker: compared with protobuf's own, and with V2 over HTTP."""

import json
import random
import struct
from typing import Any

import numpy as np
import pytest

from common.bodies.v2 import protobuf, protobuf_fields
from common.bodies.v2.grpc_codec import ModelInfer
from common.bodies.v2.v2_codec import V2
from common.bodies.values import DecodeError
from common.errors import InvalidInput, UnknownModel
from common.link.frames import V2_HEAD, Kind, Request, Response
from common.schema import read_input
from common.worker.flow import Flow
from support.packages.late import imported_late
from support.servers.flows import proved

service_pb2 = imported_late("tritonclient.grpc.service_pb2")

CODEC = ModelInfer()
CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True, True],
    **{f"INT{bits}": [-(2 ** (bits - 1)), -1, 0, 2 ** (bits - 1) - 1] for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": [0, 1, 200, 2**bits - 1] for bits in (8, 16, 32, 64)},
    "FP32": [0.5, -0.0, float("inf"), float("nan")],
    "FP64": [1e300, -1.5, 0.0, float("nan")],
    "BYTES": [b"", b"red", "ü".encode(), b"x" * 300],
}


class Echo:
    """A model whose predictions are the instances, and which has a second output."""

    def load(self) -> None:
        pass

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        rows = request["instances"]
        return {"predictions": rows, "texts": ["a", None][: len(rows)]}

    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
        return response


def typed(datatype: str, shape: list[int], values: Any, name: str = "x") -> Any:
    contents = service_pb2.InferTensorContents()
    if datatype in CONTENTS:
        getattr(contents, CONTENTS[datatype]).extend(values)
    return service_pb2.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=shape, contents=contents
    )


def untyped(datatype: str, shape: list[int], name: str = "x") -> Any:
    return service_pb2.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)


def packed(*inputs: Any, raw: list[bytes] | None = None, **others: Any) -> bytes:
    """A request's message."""
    others = {"model_name": "model", "id": "7", **others}
    request = service_pb2.ModelInferRequest(inputs=inputs, raw_input_contents=raw or [], **others)
    return bytes(request.SerializeToString())


def decoded(message: bytes) -> dict[str, Any]:
    return CODEC.decode(message, "an-id")[0]


def answer(message: bytes) -> Response:
    flow = Flow(Echo(), proved(256), grpc=CODEC)
    [(responses, _)] = flow.answer([flow.open(Request(1, Kind.GRPC, "an-id", message))])
    return responses[0]


def answered(message: bytes) -> Any:
    response = answer(message)
    assert (response.status, response.kind) == (200, Kind.GRPC)
    return service_pb2.ModelInferResponse.FromString(response.body)


def refusal(message: bytes, status: int = 400) -> str:
    response = answer(message)
    assert (response.status, response.kind) == (status, Kind.JSON)
    text: str = json.loads(response.body)["error"]
    assert text and "\n" not in text
    return text


def raw(datatype: str, values: list[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(item)) + item for item in values)
    names = {"FP32": "float32", "FP64": "float64"}
    return np.array(values, names.get(datatype, datatype.lower())).tobytes()


def of_http(datatype: str, shape: list[int], data: bytes) -> Any:
    """The rows that V2 over HTTP makes of the same raw tensor."""
    parameters = {"binary_data_size": len(data)}
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    return V2().decode(V2_HEAD.pack(len(head)) + head + data, "an-id")[0]["instances"]


@pytest.mark.parametrize("datatype", VALUES)
def test_typed_and_raw_tensors_are_those_of_http(datatype: str) -> None:
    values = VALUES[datatype]
    data = raw(datatype, values)
    expected = of_http(datatype, [2, 2], data)
    for message in (
        packed(typed(datatype, [2, 2], values)),
        packed(untyped(datatype, [2, 2]), raw=[data]),
    ):
        rows = decoded(message)["instances"]
        assert type(rows) is type(expected)
        np.testing.assert_array_equal(rows, expected)
        if isinstance(expected, np.ndarray):
            assert rows.dtype == expected.dtype and rows.flags.writeable


@pytest.mark.parametrize("datatype", VALUES)
def test_an_answer_is_raw_where_the_request_is(datatype: str) -> None:
    values = VALUES[datatype]
    data = raw(datatype, values)
    response = answered(packed(untyped(datatype, [2, 2]), raw=[data]))
    assert [output.datatype for output in response.outputs] == [datatype, "BYTES"]
    assert list(response.raw_output_contents) == [data, raw("BYTES", [b"a", b"null"])]
    assert not any(output.HasField("contents") for output in response.outputs)
    response = answered(packed(typed(datatype, [2, 2], values)))
    predictions, texts = response.outputs
    assert (predictions.name, predictions.datatype) == ("predictions", datatype)
    assert (list(predictions.shape), list(texts.shape)) == ([2, 2], [2])
    found = list(getattr(predictions.contents, CONTENTS[datatype]))
    np.testing.assert_array_equal(found, values)
    assert list(texts.contents.bytes_contents) == [b"a", b"null"]
    assert not response.raw_output_contents


def test_half_precision_is_raw_only() -> None:
    data = np.array([[1.5, -2.0], [0.1, 65504.0]], np.float16)
    response = answered(packed(untyped("FP16", [2, 2]), raw=[data.tobytes()]))
    assert response.raw_output_contents[0] == data.tobytes()
    for datatype in ("FP16", "BF16"):
        assert "send raw_input_contents" in refusal(packed(typed(datatype, [2, 2], [])))


def test_an_answer_with_half_precision_is_raw_though_the_request_is_not() -> None:
    class Half(Echo):
        def predict(self, request: dict[str, Any]) -> dict[str, Any]:
            return {"predictions": request["instances"].astype(np.float16)}

    flow = Flow(Half(), proved(256), grpc=CODEC)
    message = packed(typed("FP32", [2, 1], [1.0, 2.0]))
    [(responses, _)] = flow.answer([flow.open(Request(1, Kind.GRPC, "an-id", message))])
    response = service_pb2.ModelInferResponse.FromString(responses[0].body)
    assert response.outputs[0].datatype == "FP16"
    assert list(response.raw_output_contents) == [np.array([1, 2], np.float16).tobytes()]


def test_bfloat16_becomes_the_same_number_in_float32() -> None:
    bits = np.arange(2**16, dtype=np.uint32) << 16  # all that there are
    halves = (bits >> 16).astype("<u2").tobytes()
    message = packed(untyped("BF16", [2**14, 4]), raw=[halves])
    for rows in (decoded(message)["instances"], of_http("BF16", [2**14, 4], halves)):
        assert rows.dtype == np.float32 and rows.shape == (2**14, 4)
        assert rows.tobytes() == bits.tobytes()
    assert "must have 8 bytes" in refusal(packed(untyped("BF16", [2, 2]), raw=[b"1234567"]))


def test_parameters_are_keys_beside_the_rows() -> None:
    values = {
        "flag": service_pb2.InferParameter(bool_param=False),
        "count": service_pb2.InferParameter(int64_param=-3),
        "text": service_pb2.InferParameter(string_param="ü"),
        "share": service_pb2.InferParameter(double_param=0.25),
        "large": service_pb2.InferParameter(uint64_param=2**64 - 1),
        "binary_data_output": service_pb2.InferParameter(bool_param=True),
    }
    request = decoded(packed(typed("FP32", [1, 1], [1]), parameters=values))
    del request["instances"]
    assert request == {
        "flag": False,
        "count": -3,
        "text": "ü",
        "share": 0.25,
        "large": 2**64 - 1,
    }


def test_outputs_are_those_that_are_asked_for_in_their_order() -> None:
    asked = [
        service_pb2.ModelInferRequest.InferRequestedOutputTensor(name=name)
        for name in ("texts", "predictions")
    ]
    tensor = typed("INT64", [2, 1], [1, 2])
    response = answered(packed(tensor, outputs=asked))
    assert [output.name for output in response.outputs] == ["texts", "predictions"]
    response = answered(packed(tensor, outputs=asked[:1]))
    assert [output.name for output in response.outputs] == ["texts"]
    data = np.array([1, 2]).tobytes()
    response = answered(packed(untyped("INT64", [2, 1]), raw=[data], outputs=asked))
    assert response.raw_output_contents[1] == data
    unknown = service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="y")
    expected = "outputs: 'y' is unknown, the outputs are 'predictions', 'texts'"
    assert refusal(packed(tensor, outputs=[unknown])) == expected
    assert "rename one" in refusal(packed(tensor, outputs=[unknown, unknown]))


def test_the_id_of_an_answer() -> None:
    tensor = typed("INT64", [1, 1], [1])
    assert answered(packed(tensor, id="ü" * 40_000)).id == "ü" * 40_000
    response = answered(packed(tensor, id=""))
    assert (response.id, response.model_name, response.model_version) == ("an-id", "model", "")


def test_the_version_of_an_answer() -> None:
    codec = ModelInfer("model", version="1.0+cpu")
    for asked in ("", "1.0+cpu"):
        message = packed(typed("INT64", [1, 1], [1]), model_version=asked)
        _, encode = codec.decode(message, "an-id")
        response = service_pb2.ModelInferResponse.FromString(encode({"predictions": [1]}))
        assert (response.model_name, response.model_version) == ("model", "1.0+cpu")
    with pytest.raises(UnknownModel, match="no version '2' here, the version is '1.0\\+cpu'"):
        codec.decode(packed(model_version="2"), "an-id")


def test_a_column_a_tensor() -> None:
    columns = [{"name": "size", "dtype": "float64"}, {"name": "colour", "dtype": "object"}]
    codec = ModelInfer("model", read_input({"kind": "table", "columns": columns}))
    message = packed(
        typed("FP64", [2], [1.5, 2], "size"), typed("BYTES", [2, 1], [b"red", b"blue"], "colour")
    )
    request, _ = codec.decode(message, "an-id")
    assert request["instances"] == [
        {"size": 1.5, "colour": "red"},
        {"size": 2.0, "colour": "blue"},
    ]


@pytest.mark.parametrize("parameter", ["shared_memory_region", "classification"])
def test_a_parameter_that_would_change_where_the_data_is_is_refused(parameter: str) -> None:
    given = {parameter: service_pb2.InferParameter(int64_param=1)}
    tensor = service_pb2.ModelInferRequest.InferInputTensor(
        name="x", datatype="FP32", shape=[1, 1], parameters=given
    )
    expected = f"inputs: the tensor 'x': the parameter {parameter} is not supported"
    assert expected in refusal(packed(tensor))
    asked = service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="texts", parameters=given)
    expected = f"outputs: the tensor 'texts': the parameter {parameter} is not supported"
    assert expected in refusal(packed(typed("FP32", [1, 1], [1]), outputs=[asked]))


def test_fields_may_come_in_any_order() -> None:
    data = np.array([[1, 2], [3, 4]]).tobytes()
    whole = packed(untyped("INT64", [2, 2]), raw=[data], parameters={
        "flag": service_pb2.InferParameter(bool_param=True)
    })  # fmt: skip
    parts = [
        protobuf.field(number, bytes(value))
        for number, _, value in protobuf_fields.fields(memoryview(whole), protobuf_fields.Budget())
    ]
    backwards = b"".join(reversed(parts))
    assert backwards != whole
    request = decoded(backwards)
    assert request["instances"].tolist() == [[1, 2], [3, 4]] and request["flag"] is True


@pytest.mark.parametrize(
    "shape", [[0, 4], [2, 0], [0]], ids=["no rows", "rows of nothing", "no numbers"]
)
def test_tensors_without_elements(shape: list[int]) -> None:
    for message in (
        packed(typed("FP32", shape, [])),
        packed(untyped("FP32", shape)),
        packed(untyped("FP32", shape), raw=[b""]),
    ):
        assert decoded(message)["instances"].shape == tuple(shape)


def test_messages_are_merged_as_protobuf_does() -> None:
    first = packed(typed("INT64", [2, 1], [1]))
    number, _, tensor = list(protobuf_fields.fields(memoryview(first), protobuf_fields.Budget()))[2]
    more = service_pb2.ModelInferRequest.InferInputTensor(
        datatype="INT64", contents=service_pb2.InferTensorContents(int64_contents=[2])
    )
    whole = protobuf.field(1, b"another") + protobuf.field(1, b"model")
    whole += protobuf.field(number, bytes(tensor) + more.SerializeToString())
    request = service_pb2.ModelInferRequest.FromString(whole)
    assert list(request.inputs[0].contents.int64_contents) == [1, 2]
    assert decoded(whole)["instances"].tolist() == [[1], [2]]


X = "inputs: the tensor 'x': "


def wrong() -> dict[str, tuple[bytes, str]]:
    """Messages, and what their refusal says."""
    four = np.zeros((2, 2), np.float32).tobytes()
    good, fp32 = typed("FP32", [2, 2], [1, 2, 3, 4]), untyped("FP32", [2, 2])
    unset = {"flag": service_pb2.InferParameter()}
    both = service_pb2.ModelInferRequest.InferInputTensor()
    both.CopyFrom(typed("FP32", [2, 2], [1, 2, 3, 4]))
    both.contents.int_contents.append(1)
    return {
        "no inputs": (packed(), "inputs is empty"),
        "two of a name": (packed(good, good), "inputs: two objects have the name 'x'"),
        "too few": (packed(typed("FP32", [2, 2], [1])), X + "data: must have 4 elements"),
        "too many": (packed(typed("FP32", [1], [1, 2])), X + "data: must have 1 elements"),
        "huge": (packed(typed("FP32", [2**40, 1], [1])), X + "data: must have 1099511627776"),
        "huge and raw": (packed(untyped("FP32", [2**40, 2**40]), raw=[four]), X + "data: must"),
        "huge and empty": (packed(untyped("FP32", [2**40, 0]), raw=[b""]), X + "shape: "),
        "overflow": (packed(typed("FP32", [2**62, 4], [])), X + "data: must have"),
        "negative": (packed(typed("FP32", [-1, 4], [1])), X + "shape: must hold integers that"),
        "dimensions": (packed(typed("FP32", [1] * 33, [1])), X + "shape: must have at most 32"),
        "many dimensions": (packed(typed("FP32", [1] * 5000, [1])), "more than 1024 dimensions"),
        "scalar": (packed(typed("FP32", [], [1])), "its first axis must be rows"),
        "datatype": (packed(typed("FP8", [1], [])), X + "datatype: must be BOOL, INT8"),
        "no datatype": (packed(typed("", [1], [])), X + "datatype: must be BOOL, INT8"),
        "both": (packed(good, raw=[four]), X + "it has contents beside raw_input_contents"),
        "two raw": (packed(fp32, raw=[four, four]), "must have 1 entries, one for each input"),
        "raw and no input": (packed(raw=[four]), "must have 0 entries, one for each input"),
        "short": (packed(fp32, raw=[four[:-1]]), X + "data: must have 16 bytes"),
        "a bool of 2": (packed(untyped("BOOL", [1]), raw=[b"\2"]), X + "data: the byte of a bool"),
        "an element": (packed(untyped("BYTES", [1]), raw=[b"\7\0\0\0a"]), X + "data: an element"),
        "range": (packed(typed("INT8", [2], [1, 128])), X + "data: INT8 holds -128 to 127, 128"),
        "unsigned": (packed(typed("UINT8", [1], [256])), X + "data: UINT8 holds 0 to 255, 256"),
        "field": (
            packed(service_pb2.ModelInferRequest.InferInputTensor(
                name="x", datatype="INT32", shape=[1],
                contents=service_pb2.InferTensorContents(int64_contents=[1]),
            )),
            X + "contents: INT32 must be in int_contents, it is in int64_contents",
        ),
        "two fields": (packed(both), X + "contents: FP32 must be in fp32_contents, it is in int_"),
        "texts": (packed(typed("BYTES", [1], [b"\xff"])), "must hold UTF-8"),
        "parameter": (packed(good, parameters=unset), "parameters: 'flag' has no value"),
        "no utf-8": (protobuf.field(1, b"\xff"), "model_name: must be UTF-8"),
        "no protobuf": (b"{}", "the message"),
        "cut": (packed(good)[:-3], "the message ends within a field"),
    }  # fmt: skip


def test_what_is_wrong_is_named() -> None:
    for case, (message, expected) in wrong().items():
        found = refusal(message)
        assert expected in found, (case, found)
        assert len(found) < 500, case


def test_the_model_must_be_this_one() -> None:
    tensor = typed("INT64", [1, 1], [1])
    assert "no model 'other' here" in refusal(packed(tensor, model_name="other"), 404)
    assert "no model '' here" in refusal(b"", 404)
    assert "leave out the version '1'" in refusal(packed(tensor, model_version="1"), 404)
    with pytest.raises(UnknownModel) as refused:
        decoded(packed(tensor, model_name="x" * 10**6))
    assert len(str(refused.value)) < 200


# ---- mutated messages ----


def mutated(choice: random.Random, message: bytes) -> bytes:
    """A message with some bytes changed, cut out, doubled or put in."""
    data = bytearray(message)
    for _ in range(choice.randrange(1, 6)):
        at = choice.randrange(len(data) + 1)
        match choice.randrange(5):
            case 0:
                data[at : at + 1] = choice.randbytes(1)
            case 1:
                del data[at : at + choice.randrange(1, 9)]
            case 2:
                data[at:at] = choice.randbytes(choice.randrange(1, 9))
            case 3:
                data[at:at] = data[at : at + choice.randrange(1, 40)]
            case _:
                data[at:at] = protobuf.varint(choice.getrandbits(choice.randrange(1, 70)))
    return bytes(data)


def seeds() -> list[bytes]:
    parameters = {"flag": service_pb2.InferParameter(double_param=1)}
    asked = [service_pb2.ModelInferRequest.InferRequestedOutputTensor(name="texts")]
    messages = [
        packed(typed(datatype, [2, 2], values), parameters=parameters, outputs=asked)
        for datatype, values in VALUES.items()
    ]
    messages += [
        packed(untyped(datatype, [2, 2]), raw=[raw(datatype, values)])
        for datatype, values in VALUES.items()
    ]
    return messages + [message for message, _ in wrong().values()]


def test_mutated_messages_are_refused_in_one_sentence() -> None:
    choice, messages = random.Random(7), seeds()
    written = []
    for _ in range(10_000):
        message = mutated(choice, choice.choice(messages))
        try:
            _, encode = CODEC.decode(memoryview(message), "an-id")
            written.append(encode({"predictions": np.arange(3), "texts": ["a"]}))
        except (DecodeError, InvalidInput) as error:
            assert str(error) and "\n" not in str(error), message
    assert 100 < len(written) < 9_900
    for message in written:
        assert service_pb2.ModelInferResponse.FromString(message).outputs


def test_what_is_accepted_is_what_protobuf_reads() -> None:
    choice, messages = random.Random(8), [packed(typed(*each)) for each in (
        ("INT64", [2, 2], [1, -1, 300, 2**40]), ("FP32", [4], [1, 2, 3, 4]), ("BOOL", [2], [1, 0])
    )]  # fmt: skip
    same = 0
    for _ in range(10_000):
        message = mutated(choice, choice.choice(messages))
        try:
            rows = decoded(message)["instances"]
        except (DecodeError, InvalidInput):
            continue
        tensor = service_pb2.ModelInferRequest.FromString(message).inputs[0]
        contents = list(getattr(tensor.contents, CONTENTS[tensor.datatype]))
        if tensor.datatype != "BYTES":
            np.testing.assert_array_equal(np.ravel(rows).astype(float), np.array(contents, float))
            assert rows.shape == tuple(tensor.shape)
            same += 1
    assert same > 50
