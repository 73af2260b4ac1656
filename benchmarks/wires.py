"""Request and response formats: how rows are encoded for a server, and predictions decoded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

import numpy as np

from generator.rows.body import rows as rows_of
from generator.template.src.common.bodies import msgpack_decode, msgpack_encode

JSON = "application/json"
HEAD_LENGTH = "Inference-Header-Content-Length"
DATATYPES = {"float64": "FP64", "float32": "FP32"}


@dataclass(frozen=True)
class Body:
    """The body of a request.

    Attributes:
        content: the bytes.
        headers: the HTTP headers that describe them.
    """

    content: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})


@dataclass(frozen=True)
class Wire:
    """A way to request predictions.

    Attributes:
        path: the route.
        encode: returns the body for inputs as the model in memory takes them.
        decode: returns the predictions from the bytes and the headers of an answer.
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


def _v2(inputs: Any) -> Body:
    """The inputs for MLServer, which takes a DataFrame as a tensor a column."""
    if not hasattr(inputs, "columns"):
        return _tensors(inputs)
    columns = [
        {
            "name": name,
            "shape": [len(inputs), 1],
            "datatype": DATATYPES.get(column.dtype.name, "BYTES"),
            "data": column.tolist(),
        }
        for name, column in inputs.items()
    ]
    return Body(json.dumps({"parameters": {"content_type": "pd"}, "inputs": columns}).encode())


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
    """The first output. Its data is in the JSON, or raw after it."""
    size = int(headers.get(HEAD_LENGTH, len(content)))
    output = json.loads(content[:size])["outputs"][0]
    data = output.get("data")
    if data is None:
        data = np.frombuffer(content[size:], NUMPY[output["datatype"]])
    return np.reshape(data, output["shape"]).tolist()


def _column(content: bytes, headers: Message) -> Any:
    """The first output of MLServer, which makes one column of an array without columns."""
    array = np.array(_outputs(content, headers))
    if array.shape[1:] == (1,):
        array = array[:, 0]
    return array.tolist()


def _inputs(inputs: Any) -> Body:
    if hasattr(inputs, "columns"):
        return Body(json.dumps({"dataframe_split": inputs.to_dict(orient="split")}).encode())
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
# The formats of peers that do not speak V1.
PROTOCOLS = {
    "v1": WIRES["json"],
    "v2": Wire(V2, _v2, _column),
    "mlflow": Wire("/invocations", _inputs, _predictions),
    "bentoml": Wire("/predict", _instances, _bare),
}
