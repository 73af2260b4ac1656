"""The bodies of requests: how rows travel to a server, and predictions back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

import numpy as np

from generator.running.rows import rows as rows_of
from generator.template.src.common.bodies import msgpack_decode, msgpack_encode

JSON = "application/json"
HEAD_LENGTH = "Inference-Header-Content-Length"
DATATYPES = {"float64": "FP64", "float32": "FP32"}


@dataclass(frozen=True)
class Body:
    """A request that can be posted.

    Attributes:
        content: its bytes.
        headers: what is to be said of them.
    """

    content: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})


@dataclass(frozen=True)
class Wire:
    """A way to ask for predictions.

    Attributes:
        path: the route.
        encode: the body for inputs as the model in memory takes them.
        decode: the predictions in an answer's bytes, whose headers come with them.
    """

    path: str
    encode: Callable[[Any], Body]
    decode: Callable[[bytes, Message], Any]


def _instances(inputs: Any) -> Body:
    return Body(json.dumps({"instances": rows_of(inputs)}).encode())


def _predictions(content: bytes, _: Message) -> Any:
    return json.loads(content)["predictions"]


def _msgpack(inputs: Any) -> Body:
    body = msgpack_encode({"instances": inputs})
    return Body(body, {"Content-Type": "application/msgpack"})


def _msgpack_predictions(content: bytes, _: Message) -> Any:
    return rows_of(msgpack_decode(content)["predictions"])


def _described(inputs: Any) -> dict[str, Any]:
    return {"name": "input", "shape": list(inputs.shape), "datatype": DATATYPES[inputs.dtype.name]}


def _tensors(inputs: Any) -> Body:
    return Body(
        json.dumps({"inputs": [{**_described(inputs), "data": inputs.ravel().tolist()}]}).encode()
    )


def _binary_tensors(inputs: Any) -> Body:
    raw = np.ascontiguousarray(inputs).tobytes()
    tensor = {**_described(inputs), "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return Body(
        head + raw, {"Content-Type": "application/octet-stream", HEAD_LENGTH: str(len(head))}
    )


def _outputs(content: bytes, headers: Message) -> Any:
    """The first output, whose data stands in the JSON or behind it."""
    size = int(headers.get(HEAD_LENGTH, len(content)))
    output = json.loads(content[:size])["outputs"][0]
    raw = "data" not in output
    array = (
        np.frombuffer(content[size:], NUMPY[output["datatype"]])
        if raw
        else np.array(output["data"])
    )
    return array.reshape(output["shape"]).tolist()


def _column(content: bytes, headers: Message) -> Any:
    """MLServer writes what has no columns as one column."""
    array = np.array(_outputs(content, headers))
    return (array[:, 0] if array.shape[1:] == (1,) else array).tolist()


def _inputs(inputs: Any) -> Body:
    return Body(json.dumps({"inputs": rows_of(inputs)}).encode())


def _bare(content: bytes, _: Message) -> Any:
    return json.loads(content)


NUMPY = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}
V1 = "/v1/models/model:predict"
V2 = "/v2/models/model/infer"
WIRES = {
    "json": Wire(V1, _instances, _predictions),
    "msgpack": Wire(V1 + "_binary", _msgpack, _msgpack_predictions),
    "v2": Wire(V2, _tensors, _outputs),
    "v2 binary": Wire(V2, _binary_tensors, _outputs),
}
# What a peer takes in the place of JSON at V1's route.
PROTOCOLS = {
    "v1": WIRES["json"],
    "v2": Wire(V2, _tensors, _column),
    "mlflow": Wire("/invocations", _inputs, _predictions),
    "bentoml": Wire("/predict", _instances, _bare),
}
