"""gRPC bodies: the messages ModelInferRequest and ModelInferResponse of V2.

A message is read to the form that V2's JSON has, and then checked and answered like it.

Source: KServe's Open Inference Protocol (V2), grpc_predict_v2.proto. Triton's has two more kinds of
parameters.
"""

import math
import struct
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import numpy as np

from ...schema import ModelInput
from ..ndarray_codec import parse_shape
from ..values import Array, DecodeError, Encoder
from . import protobuf, protobuf_fields
from .first_row import Cut, First
from .names import FINAL_ASKED, V2_BYTES, check_model
from .protobuf import Repeated, Scalar
from .protobuf_fields import BYTES, FIXED32, FIXED64, VARINT, Budget
from .v2_codec import (
    BINARY_OUTPUT,
    RAW_ONLY,
    check_new,
    check_parameters,
    check_range,
    chosen,
    decode_raw,
    dtype_of,
    encode_raw,
    objects_array,
    reshape,
)
from .v2_tensors import (
    datatype,
    parsed,
    request_of_tensors,
    tensors_of_response,
    without_null,
)

# ModelInferRequest, and ModelInferResponse up to OUTPUTS.
MODEL_NAME, MODEL_VERSION, ID, PARAMETERS, INPUTS, REQUESTED, RAW_INPUTS = range(1, 8)
OUTPUTS, RAW_OUTPUTS = 5, 6
# InferInputTensor, and InferOutputTensor; InferRequestedOutputTensor has two of them.
NAME, DATATYPE, SHAPE, OF_INPUT, CONTENTS = range(1, 6)
OF_REQUESTED = 2
# An entry of `parameters`, and InferParameter.
KEY, VALUE = 1, 2
BOOL, INT64, STRING, DOUBLE, UINT64 = range(1, 6)

SHAPES = Scalar(VARINT, np.dtype(np.int64))
MOST_SIZES = 1024  # of a shape
FEW_BYTES = 1 << 14  # of contents that are decoded whole for their first row
# InferTensorContents: each field's name, its values, and the datatypes that they may be of.
FIELDS: dict[int, tuple[str, Scalar, tuple[str, ...]]] = {
    1: ("bool_contents", Scalar(VARINT, np.dtype(np.bool_)), ("BOOL",)),
    2: ("int_contents", Scalar(VARINT, np.dtype(np.int32)), ("INT8", "INT16", "INT32")),
    3: ("int64_contents", Scalar(VARINT, np.dtype(np.int64)), ("INT64",)),
    4: ("uint_contents", Scalar(VARINT, np.dtype(np.uint32)), ("UINT8", "UINT16", "UINT32")),
    5: ("uint64_contents", Scalar(VARINT, np.dtype(np.uint64)), ("UINT64",)),
    6: ("fp32_contents", Scalar(FIXED32, np.dtype("<f4")), ("FP32",)),
    7: ("fp64_contents", Scalar(FIXED64, np.dtype("<f8")), ("FP64",)),
    8: ("bytes_contents", Scalar(BYTES), (V2_BYTES,)),
}
NUMBERS = {name: number for number, (_, _, names) in FIELDS.items() for name in names}


class ModelInfer:
    """Decodes and encodes ModelInfer's messages for one model.

    Args:
        name: the model's name.
        described: what a row is, `model.input` of a Config.
        version: the model's version, if it has one.
    """

    def __init__(
        self,
        name: str = "model",
        described: ModelInput | None = None,
        version: str | None = None,
    ) -> None:
        self._name = name
        self._version = version
        self._described = described
        self._model = protobuf.field(MODEL_NAME, name.encode())
        if version is not None:
            self._model += protobuf.field(MODEL_VERSION, version.encode())

    def decode(self, body: bytes | memoryview, request_id: str) -> tuple[dict[str, Any], Encoder]:
        """Decode a ModelInferRequest to a request for the model, and make its response's encoder.

        Args:
            body: the message.
            request_id: the id of the response if the message has none.

        Raises:
            DecodeError: the message is not as V2 specifies it.
            UnknownModel: it is for another model, or another version.
            InvalidInput: its tensors do not form rows.
        """
        message = Message(memoryview(body))
        check_model(self._name, self._version, message.model_name, message.model_version)
        tensors = message.tensors()
        _leave_to_server(message.parameters)
        request = {**message.parameters, **request_of_tensors(tensors, self._described)}
        answer_id = message.id or request_id
        return request, partial(self._encode, answer_id, message.outputs, bool(message.raw))

    def first_row(self, body: bytes | memoryview) -> Iterator[First]:
        """The request of a message's first row.

        Raises:
            DecodeError, UnknownModel, InvalidInput: as `decode`.
            Unseen: only decoding can tell.
        """
        message = Message(memoryview(body))
        check_model(self._name, self._version, message.model_name, message.model_version)
        cut = Cut(self._described)
        tensors = message.tensors(partial(_first_typed, cut), cut.raw)
        _leave_to_server(message.parameters)
        yield cut.first(message.parameters, tensors)

    def _encode(
        self, answer_id: str, requested: Collection[str], raw: bool, response: Any
    ) -> bytes:
        """Encode a ModelInferResponse.

        Args:
            answer_id: its id.
            requested: the names of the outputs to send; all if there are none.
            raw: whether the request's data is raw. Then the response's is. FP16 always is.
            response: the model's response.
        """
        tensors = chosen(tensors_of_response(response), requested)
        raw = raw or any(datatype(array.dtype) in RAW_ONLY for array in tensors.values())
        parts = [
            self._model,
            protobuf.field(ID, answer_id.encode()),
        ]
        for name, array in tensors.items():
            parts += _sized(OUTPUTS, _output(name, array, raw))
        if raw:
            for array in tensors.values():
                parts += _sized(RAW_OUTPUTS, [encode_raw(array)])
        return b"".join(parts)


class Message:
    """A ModelInferRequest. Its inputs and outputs are by name.

    Raises:
        DecodeError: it is not as V2 specifies it.
    """

    def __init__(self, body: memoryview) -> None:
        self.model_name = self.model_version = self.id = ""
        self.parameters: dict[str, Any] = {}
        self.inputs: dict[str, dict[str, Any]] = {}
        self.outputs: dict[str, None] = {}
        self.raw: list[memoryview] = []
        self._budget = Budget()
        for number, value in _parts(body, self._budget):
            if number == MODEL_NAME:
                self.model_name = protobuf_fields.text(value, "model_name")
            elif number == MODEL_VERSION:
                self.model_version = protobuf_fields.text(value, "model_version")
            elif number == ID:
                self.id = protobuf_fields.text(value, "id")
            elif number == PARAMETERS:
                self.parameters.update(_parameters(value, self._budget))
            elif number == INPUTS:
                tensor = _input(value, self._budget)
                check_new(tensor["name"], self.inputs, "inputs")
                self.inputs[tensor["name"]] = tensor
            elif number == REQUESTED:
                name = _name(value, self._budget)
                check_new(name, self.outputs, "outputs")
                self.outputs[name] = None
            elif number == RAW_INPUTS:
                self.raw.append(value)

    def tensors(
        self,
        from_contents: Callable[[dict[str, Any], Budget], Array] | None = None,
        from_raw: Callable[[dict[str, Any], memoryview], Array] | None = None,
    ) -> dict[str, Array]:
        """The tensors under `inputs`.

        Args:
            from_contents: decodes a tensor whose data is in its contents; by default, all of it.
            from_raw: decodes a tensor whose data is raw; by default, all of it.
        """
        from_contents, from_raw = from_contents or typed, from_raw or decode_raw
        if self.raw and len(self.raw) != len(self.inputs):
            raise DecodeError(
                f"raw_input_contents: must have {len(self.inputs)} entries, one for each input, "
                f"it has {len(self.raw)}"
            )
        tensors = {}
        for place, (name, tensor) in enumerate(self.inputs.items()):
            try:
                if self.raw and tensor["contents"]:
                    raise DecodeError("it has contents beside raw_input_contents: send one of them")
                if self.raw:
                    array = from_raw(tensor, self.raw[place])
                else:
                    array = from_contents(tensor, self._budget)
                tensors[name] = parsed(array, tensor["parameters"])
            except DecodeError as error:
                raise DecodeError(f"inputs: the tensor {name!r}: {error}") from None
        return tensors


# ---- reading ----


def _leave_to_server(parameters: dict[str, Any]) -> None:
    """Take out the parameters that are about the answer's form."""
    parameters.pop(BINARY_OUTPUT, None)
    parameters.pop(FINAL_ASKED, None)


def _parts(body: memoryview, budget: Budget) -> Iterator[tuple[int, memoryview]]:
    """The fields of a message that are strings, bytes or messages."""
    for number, wire, value in protobuf_fields.fields(body, budget):
        if wire == BYTES:
            yield number, value


def _name(body: memoryview, budget: Budget) -> str:
    """The name of an InferRequestedOutputTensor."""
    name, parameters = "", {}
    for number, value in _parts(body, budget):
        if number == NAME:
            name = protobuf_fields.text(value, "outputs: name")
        elif number == OF_REQUESTED:
            parameters.update(_parameters(value, budget))
    check_parameters(name, parameters, "outputs")
    return name


def _input(body: memoryview, budget: Budget) -> dict[str, Any]:
    """An InferInputTensor. Its contents are not read yet."""
    tensor: dict[str, Any] = {"name": "", "datatype": "", "shape": [], "contents": []}
    parameters = {}
    for number, wire, value in protobuf_fields.fields(body, budget):
        if number == SHAPE and wire in (VARINT, BYTES):
            tensor["shape"] += _sizes(wire, value)
            if len(tensor["shape"]) > MOST_SIZES:
                raise DecodeError(f"inputs: a shape has more than {MOST_SIZES} dimensions")
        elif wire != BYTES:
            continue
        elif number == NAME:
            tensor["name"] = protobuf_fields.text(value, "inputs: name")
        elif number == DATATYPE:
            tensor["datatype"] = protobuf_fields.text(value, "inputs: datatype")
        elif number == OF_INPUT:
            parameters.update(_parameters(value, budget))
        elif number == CONTENTS:
            tensor["contents"].append(value)
    check_parameters(tensor["name"], parameters, "inputs")
    return {**tensor, "parameters": parameters}


def _sizes(wire: int, value: Any) -> list[int]:
    if wire == VARINT:
        return [protobuf_fields.signed(value)]
    sizes: list[int] = protobuf.packed(value, SHAPES)[: MOST_SIZES + 1].tolist()
    return sizes


def _parameters(body: memoryview, budget: Budget) -> dict[str, Any]:
    """An entry of `parameters`."""
    key, value = "", None
    for number, part in _parts(body, budget):
        if number == KEY:
            key = protobuf_fields.text(part, "parameters: key")
        elif number == VALUE:
            value = _parameter(part, budget)
    if value is None:
        raise DecodeError(f"parameters: {key!r} has no value")
    return {key: value}


def _parameter(body: memoryview, budget: Budget) -> Any:
    """The value of an InferParameter: that of its last field."""
    found = None
    for number, wire, value in protobuf_fields.fields(body, budget):
        if (read := READERS.get((number, wire))) is not None:
            found = read(value)
    return found


READERS: dict[tuple[int, int], Callable[[Any], Any]] = {
    (BOOL, VARINT): bool,
    (INT64, VARINT): protobuf_fields.signed,
    (STRING, BYTES): lambda value: protobuf_fields.text(value, "parameters: string_param"),
    (DOUBLE, FIXED64): lambda value: struct.unpack("<d", value)[0],
    (UINT64, VARINT): int,
}


def typed(tensor: dict[str, Any], budget: Budget) -> Array:
    """The tensor whose data is in its contents.

    Raises:
        DecodeError: the data does not fit the datatype and the shape.
    """
    shape = parse_shape(tensor["shape"], "shape")
    count = math.prod(shape)
    values = first_values(tensor, budget, count + 1)
    if len(values) > count:
        raise DecodeError(f"data: must have {count} elements, as the shape says, it has more")
    return reshape(values, shape)


def first_values(tensor: dict[str, Any], budget: Budget, count: int) -> Array:
    """The first values of a tensor whose data is in its contents. There may be fewer.

    Raises:
        DecodeError: they do not fit the datatype.
    """
    name = tensor["datatype"]
    if name in RAW_ONLY:
        raise DecodeError(f"datatype: V2 has no contents for {name}: send raw_input_contents")
    dtype = dtype_of(tensor)
    contents = {number: Repeated(scalar, 1) for number, (_, scalar, _) in FIELDS.items()}
    right = NUMBERS[name]
    contents[right] = Repeated(FIELDS[right][1], count)
    for part in tensor["contents"]:
        protobuf.read_repeated(part, contents, budget)
    for number, repeated in contents.items():
        if number != right and repeated:
            raise DecodeError(
                f"contents: {name} must be in {FIELDS[right][0]}, it is in {FIELDS[number][0]}"
            )
    values = contents[right].values()[:count]
    if isinstance(values, list):
        return objects_array(values)
    if dtype is not None and dtype.itemsize < values.dtype.itemsize and len(values):
        check_range(values, dtype)
    return values.astype(dtype, copy=False)


def _first_typed(cut: Cut, tensor: dict[str, Any], budget: Budget) -> Array:
    """The first row of a tensor whose data is in its contents."""
    if sum(map(len, tensor["contents"])) < FEW_BYTES:
        return cut.first_of(tensor, typed(tensor, budget))
    shape = parse_shape(tensor["shape"], "shape")
    return cut.values(tensor, shape, partial(first_values, tensor, budget))


# ---- writing ----


def _sized(number: int, parts: list[bytes]) -> list[bytes]:
    """The parts of a field whose value has these parts."""
    return [protobuf.head(number, sum(map(len, parts))), *parts]


def _output(name: str, array: Array, raw: bool) -> list[bytes]:
    """The parts of an InferOutputTensor, whose data is elsewhere if it is raw."""
    kind = datatype(array.dtype) or V2_BYTES
    parts = [
        protobuf.field(NAME, name.encode()),
        protobuf.field(DATATYPE, kind.encode()),
        protobuf.field(SHAPE, protobuf.pack(np.array(array.shape), SHAPES)),
    ]
    if not raw:
        parts += _sized(CONTENTS, _contents(kind, array))
    return parts


def _contents(kind: str, array: Array) -> list[bytes]:
    """The parts of an InferTensorContents."""
    number = NUMBERS[kind]
    scalar = FIELDS[number][1]
    if scalar.dtype is not None:
        return [protobuf.field(number, protobuf.pack(array, scalar))]
    parts: list[bytes] = []
    for item in without_null(array):
        parts += _sized(number, [item.encode()])
    return parts
