"""V2 bodies: tensors whose data is in the JSON, or raw after it.

Source: KServe's Open Inference Protocol (V2), "Inference", and its binary tensor data extension.
"""

import math
import struct
from collections.abc import Callable, Collection, Container
from functools import partial
from typing import Any

import numpy as np

from ...errors import InvalidInput
from ...link.frames import V2_HEAD
from ...rows.packed import are_many, packed
from ...schema import ModelInput
from ...words import kind_of, listing, shown
from ..density import Steps, at_once
from ..json_codec import json_decode, json_encode
from ..ndarray_codec import build_array, check_size, parse_shape
from ..values import Array, DecodeError, Encoder
from .names import DATATYPES
from .v2_tensors import (
    datatype,
    parsed,
    request_in_steps,
    tensors_of_response,
    without_null,
)

DTYPES: dict[str, np.dtype[Any]] = {
    known: np.dtype(name).newbyteorder("<") for name, known in DATATYPES.items()
}
BYTES = "BYTES"
BF16 = "BF16"
RAW_ONLY = ("FP16", BF16)  # datatypes whose data cannot be in JSON
# Parameters of a tensor, of Triton's extensions. To ignore one would give a client another answer
# than it reads.
UNSUPPORTED = ("shared_memory_region", "classification")
# A raw BYTES tensor has the size of each element in front of it.
ELEMENT_SIZE = struct.Struct("<I")
# The kinds of arrays that numpy makes of JSON data, for each kind of dtype that may hold them.
JSON_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
JSON_NAMES = {"b": "true or false", "i": "integers", "u": "integers", "f": "numbers or null"}
MOST_TENSORS = 1 << 16  # one for each feature, where there are many
BINARY_OUTPUT = "binary_data_output"


class V2:
    """Decodes and encodes V2 bodies for one model.

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
        self._model = {"model_name": name}
        if version is not None:
            self._model["model_version"] = version
        self._described = described

    def decode(self, body: bytes | memoryview, request_id: str) -> tuple[dict[str, Any], Encoder]:
        """Decode a body to a request for the model, and make the encoder of its response.

        Args:
            body: the size of the JSON as `frames.V2_HEAD` packs it, then the body itself. The size
                is 0 if no raw data follows the JSON.
            request_id: the id of the response if the body has none.

        Raises:
            DecodeError: the body is not as V2 specifies it.
            InvalidInput: its tensors do not form rows.
        """
        text, raw = parted(body)
        return at_once(self.request_in_steps(json_decode(text), raw, request_id))

    def request_in_steps(
        self,
        head: Any,
        raw: memoryview,
        request_id: str,
        from_json: Callable[[dict[str, Any]], Array] | None = None,
    ) -> Steps[tuple[dict[str, Any], Encoder]]:
        """As `decode`, of the decoded JSON of a body and the raw data after it, with pauses.

        Args:
            head: the JSON.
            raw: the raw data.
            request_id: the id of the response if the body has none.
            from_json: as for `decode_inputs`.

        Raises:
            DecodeError, InvalidInput: as `decode`.
        """
        if not isinstance(head, dict):
            raise DecodeError(f'the body must be an object with "inputs", it is {kind_of(head)}')
        tensors = decode_inputs(head, raw, from_json)
        yield
        parameters = object_of(head, "parameters")
        binary = bool(parameters.pop(BINARY_OUTPUT, False))
        answer_id = head.get("id") or request_id
        if not isinstance(answer_id, str):
            raise DecodeError(f"id: must be a string, it is {kind_of(answer_id)}")
        rows = yield from request_in_steps(tensors, self._described)
        encode = partial(self._encode, answer_id, _requested(head, binary), binary)
        return {**parameters, **rows}, encode

    def _encode(
        self, answer_id: str, requested: dict[str, bool], binary: bool, response: Any
    ) -> bytes:
        """Encode a response, with the size of its JSON in front as for `decode`.

        Args:
            answer_id: the response's id.
            requested: the names of the outputs to send, and whether each is sent as raw data.
                All outputs are sent if it is empty.
            binary: whether all outputs are then sent as raw data.
            response: the model's response.
        """
        outputs: list[dict[str, Any]] = []
        raw: list[bytes] = []
        for name, array in chosen(tensors_of_response(response), requested).items():
            kind = datatype(array.dtype) or BYTES
            outputs.append({"name": name, "datatype": kind, "shape": array.shape})
            if requested.get(name, binary):
                raw.append(encode_raw(array))
                outputs[-1]["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                outputs[-1]["data"] = _json_data(name, array)
        head = json_encode({"id": answer_id, **self._model, "outputs": outputs})
        return b"".join([V2_HEAD.pack(len(head) if raw else 0), head, *raw])


def parted(body: bytes | memoryview) -> tuple[memoryview, memoryview]:
    """The JSON of a body as `V2.decode` takes it, and the raw data after it."""
    view = memoryview(body)
    (size,) = V2_HEAD.unpack_from(view)
    end = V2_HEAD.size + (size or len(view))
    return view[V2_HEAD.size : end], view[end:]


def line_of(answer: bytes) -> bytes:
    """A response as `V2.decode`'s encoder makes it, as one line of JSON.

    Raises:
        InvalidInput: it has raw data.
    """
    (size,) = V2_HEAD.unpack_from(answer)
    if size:
        raise InvalidInput("binary_data: the chunks of a stream are JSON: leave it out")
    return answer[V2_HEAD.size :]


def chosen(tensors: dict[str, Array], requested: Collection[str]) -> dict[str, Array]:
    """The requested outputs in the order of the request; all outputs if none is requested.

    Raises:
        InvalidInput: one of them is unknown.
    """
    if missing := set(requested) - tensors.keys():
        unknown, known = shown(min(missing)), listing(list(tensors))
        raise InvalidInput(f"outputs: {unknown} is unknown, the outputs are {known}")
    if not requested:
        return tensors
    return {name: tensors[name] for name in requested}


def object_of(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """A copy of the object under a key. It is empty if there is none."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DecodeError(f"{key}: must be an object, it is {kind_of(value)}")
    return dict(value)


def check_new(name: str, names: Container[str], key: str) -> None:
    """Check that no object before under a key has this name.

    Raises:
        DecodeError: one has it.
    """
    if name in names:
        raise DecodeError(f"{key}: two objects have the name {shown(name)}: rename one")


def check_parameters(name: str, parameters: Container[str], key: str) -> None:
    """Check that a tensor under a key needs no extension that this server does not have.

    Raises:
        DecodeError: it does.
    """
    for unsupported in UNSUPPORTED:
        if unsupported in parameters:
            raise DecodeError(
                f"{key}: the tensor {shown(name)}: the parameter {unsupported} is not supported:"
                " send the data itself, and take it from the answer"
            )


def _named_objects(parent: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The list of objects under a key. Each has a `name`, and the names are distinct."""
    value = parent.get(key)
    if not isinstance(value, list):
        raise DecodeError(f"{key}: must be a list of objects, it is {kind_of(value)}")
    if len(value) > MOST_TENSORS:
        raise DecodeError(f"{key}: must hold at most {MOST_TENSORS} objects, it holds {len(value)}")
    names: set[str] = set()
    for item in value:
        if not isinstance(item, dict):
            raise DecodeError(f"{key}: must hold objects only, it holds {kind_of(item)}")
        name = item.get("name")
        if not isinstance(name, str):
            raise DecodeError(f"{key}: a name must be a string, it is {kind_of(name)}")
        check_new(name, names, key)
        names.add(name)
    return value


def _requested(head: dict[str, Any], binary: bool) -> dict[str, bool]:
    """The names of the requested outputs, and whether each is sent as raw data."""
    if head.get("outputs") is None:
        return {}
    requested = {}
    for item in _named_objects(head, "outputs"):
        parameters = object_of(item, "parameters")
        check_parameters(item["name"], parameters, "outputs")
        requested[item["name"]] = bool(parameters.get("binary_data", binary))
    return requested


def decode_inputs(
    head: dict[str, Any],
    raw: memoryview,
    from_json: Callable[[dict[str, Any]], Array] | None = None,
    from_raw: Callable[[dict[str, Any], memoryview], Array] | None = None,
) -> dict[str, Array]:
    """The tensors under `inputs`. Raw data belongs to those with a `binary_data_size`, in order.

    Args:
        head: the JSON of the body.
        raw: the raw data after it.
        from_json: decodes a tensor whose data is in the JSON; by default, all of it.
        from_raw: decodes a tensor whose data is raw; by default, all of it.

    Raises:
        DecodeError: they are not as V2 specifies it.
    """
    from_json, from_raw = from_json or decode_json, from_raw or decode_raw
    tensors = {}
    for described in _named_objects(head, "inputs"):
        name = described["name"]
        parameters = object_of(described, "parameters")
        check_parameters(name, parameters, "inputs")
        size = parameters.get("binary_data_size")
        try:
            if size is None:
                tensor = from_json(described)
            else:
                tensor = from_raw(described, _take(raw, size))
                raw = raw[size:]
        except DecodeError as error:
            raise DecodeError(f"inputs: the tensor {shown(name)}: {error}") from None
        tensors[name] = parsed(tensor, parameters) if parameters else tensor
    if raw:
        raise DecodeError(
            f"inputs: {len(raw)} bytes of raw data belong to no tensor: check binary_data_size"
        )
    return tensors


def _take(raw: memoryview, size: Any) -> memoryview:
    if type(size) is not int or not 0 <= size <= len(raw):
        raise DecodeError(
            f"binary_data_size: must be an integer from 0 to {len(raw)}, the bytes that are left, "
            f"it is {kind_of(size)}"
        )
    return raw[:size]


def dtype_of(described: dict[str, Any]) -> np.dtype[Any] | None:
    """The dtype of a tensor's `datatype`, which numpy has; None for BYTES.

    Raises:
        DecodeError: V2 does not have it.
    """
    name = described.get("datatype")
    if name == BYTES:
        return None
    if not isinstance(name, str) or name not in DTYPES:
        names = ", ".join((*DTYPES, BF16))
        raise DecodeError(f"datatype: must be {names} or BYTES, it is {kind_of(name)}")
    return DTYPES[name]


def decode_raw(described: dict[str, Any], data: memoryview) -> Array:
    """The tensor whose data is raw.

    Args:
        described: has its `datatype` and its `shape`.
        data: the elements in row-major order, little-endian.

    Raises:
        DecodeError: the data does not fit the datatype and the shape.
    """
    if described.get("datatype") == BF16:
        return _widened(build_array("<u2", parse_shape(described.get("shape"), "shape"), data))
    dtype, shape = dtype_of(described), parse_shape(described.get("shape"), "shape")
    if dtype is None:
        return reshape(_decode_elements(data, math.prod(shape)), shape)
    return build_array(dtype.str, shape, data)


def _widened(halves: Array) -> Array:
    """bfloat16 as float32, which has the same bits and 16 more."""
    floats: Array = np.left_shift(halves.astype(np.uint32), 16).view(np.float32)
    return floats


def _decode_elements(raw: memoryview, count: int) -> Array:
    """The elements of raw BYTES data. Each has its size in front, as a little-endian uint32.

    Args:
        raw: the data.
        count: how many elements it must have.
    """
    data = bytes(raw)  # whose slices are made faster
    prefix, size_at = ELEMENT_SIZE.size, ELEMENT_SIZE.unpack_from
    elements: list[bytes] = []
    start, last = prefix, len(data)
    while start <= last and len(elements) <= count:
        end = start + size_at(data, start - prefix)[0]
        elements.append(data[start:end])
        start = end + prefix
    if len(elements) > count:
        raise DecodeError(f"data: must have {count} elements, as the shape says, it has more")
    if start - prefix != last:
        raise DecodeError("data: an element is longer than the rest: check the sizes in front")
    return objects_array(elements)


def encode_raw(array: Array) -> bytes:
    """The raw data of a tensor, as `decode_raw` takes it."""
    if array.dtype == object:
        elements = [item.encode() for item in without_null(array)]
        return b"".join(ELEMENT_SIZE.pack(len(element)) + element for element in elements)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _json_data(name: str, array: Array) -> Array:
    if array.dtype == np.float16:
        raise InvalidInput(
            f"outputs: {name!r} is FP16, which V2 forbids in JSON: set binary_data to true"
        )
    return array.reshape(-1)


def objects_array(items: list[Any]) -> Array:
    """A flat array of any values."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def decode_json(described: dict[str, Any]) -> Array:
    """The tensor whose data is in the JSON.

    Raises:
        DecodeError: the data does not fit the datatype and the shape.
    """
    dtype, shape = json_form(described)
    data = described.get("data")
    if not isinstance(data, list):
        raise DecodeError(f"data: must be a list, it is {kind_of(data)}")
    check_items(len(data), shape)
    return reshape(elements(data, dtype), shape)


def json_form(described: dict[str, Any]) -> tuple[np.dtype[Any] | None, tuple[int, ...]]:
    """The dtype and the shape of a tensor whose data is in the JSON.

    Raises:
        DecodeError: there is no such tensor.
    """
    if (name := described.get("datatype")) in RAW_ONLY:
        raise DecodeError(f"datatype: V2 forbids {name} in JSON: send FP32, or raw data")
    return dtype_of(described), parse_shape(described.get("shape"), "shape")


def check_items(count: int, shape: tuple[int, ...]) -> None:
    """Check that a tensor's data has no more items, be they elements or lists, than its shape.

    Raises:
        DecodeError: it has.
    """
    if count > max(math.prod(shape), *shape, 0):
        raise _other_size(shape, count)


def elements(data: list[Any], dtype: np.dtype[Any] | None) -> Array:
    """The elements of data in JSON as a flat array of the dtype; of texts if that is None.

    Raises:
        DecodeError: an element is something else, or the data is nested irregularly.
    """
    if dtype is None:
        return _strings(data)
    return _numbers(data, dtype)


def _flatten(data: list[Any]) -> list[Any]:
    """The items of a list that may be nested like the tensor."""
    while data and isinstance(data[0], list):
        if not all(isinstance(item, list) for item in data):
            raise DecodeError("data: must not mix lists and values on one level")
        data = [item for part in data for item in part]
    return data


def reshape(values: Array, shape: tuple[int, ...]) -> Array:
    """The elements of a tensor in its shape.

    Raises:
        DecodeError: their number is another one.
    """
    check_count(values.size, shape)
    check_size(values.dtype, shape, values.nbytes)
    return values.reshape(shape)


def check_count(count: int, shape: tuple[int, ...]) -> None:
    """Check that a tensor's data has as many elements as its shape.

    Raises:
        DecodeError: it has not.
    """
    if count != math.prod(shape):
        raise _other_size(shape, count)


def _other_size(shape: tuple[int, ...], count: int) -> DecodeError:
    needed = math.prod(shape)
    return DecodeError(
        f"data: must have {needed} elements for the shape {list(shape)}, it has {count}"
    )


def _strings(data: list[Any]) -> Array:
    items = _flatten(data)
    for item in items:
        if item is not None and type(item) is not str:
            raise DecodeError(
                f"data: must hold strings or null for BYTES, it holds {kind_of(item)}"
            )
    return objects_array(items)


def _numbers(data: list[Any], dtype: np.dtype[Any]) -> Array:
    """The numbers of a list that may be nested, as a flat array. null becomes NaN.

    Raises:
        DecodeError: an item is not a number, or does not fit the dtype.
    """
    try:
        values = to_array(data, dtype)
    except (ValueError, TypeError, OverflowError):
        raise DecodeError("data: must hold numbers, in lists of equal length") from None
    return cast(values, dtype)


def cast(values: Array, dtype: np.dtype[Any]) -> Array:
    """What `to_array` makes of data in JSON as a flat array of the dtype.

    Raises:
        DecodeError: an item is not a number, or does not fit the dtype.
    """
    name = datatype(dtype)
    if not values.size:
        return np.empty(0, dtype)
    if values.dtype.kind not in JSON_KINDS[dtype.kind]:
        raise DecodeError(f"data: must hold {JSON_NAMES[dtype.kind]} for {name}")
    if dtype.kind in "iu":
        check_range(values, dtype)
    return values.astype(dtype, copy=False).reshape(-1)


def to_array(data: list[Any], dtype: np.dtype[Any]) -> Array:
    """A list that may be nested as numpy takes it; as flat floats where null becomes NaN.

    Raises:
        ValueError, TypeError, OverflowError: it is irregular, or holds no numbers.
    """
    if data and are_many(data) and (found := packed(data)) is not None:
        return found
    values = np.array(data)
    if values.dtype.kind == "O" and dtype.kind == "f" and None in _flatten(data):
        return np.array([np.nan if item is None else item for item in _flatten(data)])
    # numpy makes floats of a list that mixes numbers over 2**63 with smaller ones.
    is_float = values.dtype.kind == "f"
    if dtype == np.uint64 and is_float and all(type(item) is int for item in _flatten(data)):
        return np.array(data, dtype)
    return values


def check_range(values: Array, dtype: np.dtype[Any]) -> None:
    """Check that whole numbers, of which there are some, fit a dtype.

    Raises:
        DecodeError: one does not.
    """
    limits = np.iinfo(dtype)
    for value in (int(values.min()), int(values.max())):
        if not limits.min <= value <= limits.max:
            raise DecodeError(
                f"data: {datatype(dtype)} holds {limits.min} to {limits.max}, {value} is outside"
            )
