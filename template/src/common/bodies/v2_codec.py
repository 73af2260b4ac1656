"""The bodies of V2: tensors whose data stands in the JSON, or raw behind it.

Source: KServe's Open Inference Protocol (V2), "Inference", and its binary tensor data extension.
"""

import math
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..link.frames import V2_HEAD
from .json_codec import json_decode, json_encode
from .ndarray_codec import build_array, check_size, parse_shape
from .v2_tensors import DATATYPES, datatype, request_of_tensors, tensors_of_response
from .values import Array, DecodeError, shown

Encoder = Callable[[Any], bytes]

DTYPES: dict[str, np.dtype[Any]] = {
    known: np.dtype(name).newbyteorder("<") for name, known in DATATYPES.items()
}
TEXT = "BYTES"
TEXT_SIZE = struct.Struct("<I")
# What JSON values may be the data of a dtype, as numpy's kinds.
FROM_JSON = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
BINARY_OUTPUT = "binary_data_output"


class V2:
    """V2's bodies for one model.

    Args:
        name: the model's name.
        signature: `model.input` of `config.yaml`.
    """

    def __init__(self, name: str = "model", signature: dict[str, Any] | None = None) -> None:
        self._name = name
        self._signature = signature

    def decode(self, body: bytes | memoryview, request_id: str) -> tuple[dict[str, Any], Encoder]:
        """The request of the flow that a body stands for, and what encodes its response.

        Args:
            body: the size of the JSON in front of raw data, as `frames.V2_HEAD` packs it, or 0; then the body.
            request_id: the id that the response bears where the body has none.

        Raises:
            DecodeError: the body is not what V2 says.
            InvalidInput: its tensors are no rows.
        """
        (size,) = V2_HEAD.unpack_from(body)
        end = V2_HEAD.size + size if size else len(body)
        head = json_decode(body[V2_HEAD.size : end])
        if not isinstance(head, dict):
            raise DecodeError(f'the body must be an object with "inputs", it is {shown(head)}')
        named = _inputs(head, memoryview(body)[end:])
        parameters = _mapping(head, "parameters")
        binary = bool(parameters.pop(BINARY_OUTPUT, False))
        answer_id = head.get("id") or request_id
        if not isinstance(answer_id, str):
            raise DecodeError(f"id: must be a text, it is {shown(answer_id)}")
        request = {**parameters, **request_of_tensors(named, self._signature)}
        return request, partial(self._encode, answer_id, _outputs(head, binary), binary)

    def _encode(self, answer_id: str, asked: dict[str, bool], binary: bool, response: Any) -> bytes:
        """The response's body, with the size of its JSON in front as `decode` takes it.

        Args:
            answer_id: what the response is the answer to.
            asked: the outputs to answer with, and whether each as raw data; all where it is empty.
            binary: whether all are to be raw.
            response: the response of the flow.
        """
        named = tensors_of_response(response)
        if missing := asked.keys() - named.keys():
            there = ", ".join(repr(name) for name in named)
            raise InvalidInput(f"outputs: there is no {min(missing)!r}, the outputs are {there}")
        described, raw = [], []
        for name, is_raw in (asked or dict.fromkeys(named, binary)).items():
            array = named[name]
            output = {"name": name, "datatype": datatype(array.dtype) or TEXT, "shape": array.shape}
            if is_raw:
                raw.append(_raw(array))
                described.append({**output, "parameters": {"binary_data_size": len(raw[-1])}})
            elif array.dtype == np.float16:
                raise InvalidInput(
                    f"outputs: {name!r} is FP16, which JSON does not carry; ask for binary_data"
                )
            else:
                described.append({**output, "data": array.reshape(-1)})
        head = json_encode({"id": answer_id, "model_name": self._name, "outputs": described})
        return b"".join([V2_HEAD.pack(len(head) if raw else 0), head, *raw])


def _mapping(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DecodeError(f"{key}: must be an object, it is {shown(value)}")
    return dict(value)


def _list(parent: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of a list, each with a name."""
    value = parent.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise DecodeError(f"{key}: must be a list of objects, it is {shown(value)}")
    for item in value:
        if not isinstance(item.get("name"), str):
            raise DecodeError(f"{key}: a name must be a text, it is {shown(item.get('name'))}")
    if len({item["name"] for item in value}) != len(value):
        raise DecodeError(f"{key}: two have the same name")
    return value


def _outputs(head: dict[str, Any], binary: bool) -> dict[str, bool]:
    """The outputs that are asked for, and whether each as raw data."""
    if head.get("outputs") is None:
        return {}
    asked = _list(head, "outputs")
    return {
        item["name"]: bool(_mapping(item, "parameters").get("binary_data", binary))
        for item in asked
    }


def _inputs(head: dict[str, Any], raw: memoryview) -> dict[str, Array]:
    """The tensors under `inputs`, with those in the raw data taken from it in their order."""
    named = {}
    for described in _list(head, "inputs"):
        name = described["name"]
        size = _mapping(described, "parameters").get("binary_data_size")
        try:
            if size is None:
                named[name] = _from_json(described)
            else:
                named[name] = _from_raw(described, _taken(raw, size))
                raw = raw[size:]
        except DecodeError as error:
            raise DecodeError(f"inputs: the tensor {name!r}: {error}") from None
    if raw:
        raise DecodeError(
            f"inputs: {len(raw)} bytes of raw data belong to no tensor; see binary_data_size"
        )
    return named


def _taken(raw: memoryview, size: Any) -> bytes:
    if type(size) is not int or not 0 <= size <= len(raw):
        raise DecodeError(
            f"binary_data_size: must be between 0 and {len(raw)}, what is left, it is {shown(size)}"
        )
    return bytes(raw[:size])


def _dtype(described: dict[str, Any]) -> np.dtype[Any] | None:
    """The dtype of a tensor; None for texts."""
    named = described.get("datatype")
    if named == TEXT:
        return None
    if not isinstance(named, str) or named not in DTYPES:
        raise DecodeError(f"datatype: must be {', '.join(DTYPES)} or {TEXT}, it is {shown(named)}")
    return DTYPES[named]


def _from_raw(described: dict[str, Any], data: bytes) -> Array:
    dtype, shape = _dtype(described), parse_shape(described.get("shape"), "shape")
    return _shaped(_texts(data), shape) if dtype is None else build_array(dtype.str, shape, data)


def _texts(data: bytes) -> Array:
    """Elements with their size in front, a little-endian u32."""
    texts, at = [], 0
    while at < len(data):
        start = at + TEXT_SIZE.size
        stop = start + TEXT_SIZE.unpack_from(data, at)[0] if start <= len(data) else start
        if stop > len(data):
            raise DecodeError("data: an element is longer than what is left of the data")
        texts.append(data[start:stop])
        at = stop
    return _objects(texts)


def _raw(array: Array) -> bytes:
    """The data of a tensor as `_from_raw` takes it."""
    if array.dtype == object:
        encoded = [item.encode() for item in array.reshape(-1)]
        return b"".join(TEXT_SIZE.pack(len(text)) + text for text in encoded)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _objects(items: list[Any]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _from_json(described: dict[str, Any]) -> Array:
    dtype, shape = _dtype(described), parse_shape(described.get("shape"), "shape")
    data = described.get("data")
    if not isinstance(data, list):
        raise DecodeError(f"data: must be a list, it is {shown(data)}")
    if dtype == np.float16:
        raise DecodeError("datatype: FP16 is not carried by JSON; send its data raw")
    if dtype is None:
        return _shaped(_objects(_flat(data)), shape, str)
    return _shaped(_numbers(data, dtype), shape)


def _flat(data: list[Any]) -> list[Any]:
    """The items of a list that may be nested as the tensor is."""
    while data and isinstance(data[0], list):
        if not all(isinstance(item, list) for item in data):
            raise DecodeError("data: its lists are not alike")
        data = [item for part in data for item in part]
    return data


def _shaped(values: Array, shape: tuple[int, ...], kind: type | None = None) -> Array:
    if math.prod(shape) != values.size:
        raise DecodeError(f"data: {values.size} elements are not shape {list(shape)}")
    if kind is not None and not all(type(item) is kind for item in values):
        raise DecodeError(f"data: must hold texts, as the datatype is {TEXT}")
    check_size(values.dtype, shape, values.nbytes)
    return values.reshape(shape)


def _numbers(data: list[Any], dtype: np.dtype[Any]) -> Array:
    """The numbers of a list, nested or not, flat; null is NaN.

    Raises:
        DecodeError: one is no number, or does not fit the dtype.
    """
    try:
        values = np.array(data)
        if not values.size:
            return np.empty(0, dtype)
        if values.dtype.kind == "O" and dtype.kind == "f" and None in _flat(data):
            values = np.array([np.nan if item is None else item for item in _flat(data)])
        if (
            dtype == np.uint64
            and values.dtype.kind == "f"
            and all(type(item) is int for item in _flat(data))
        ):
            values = np.array(
                data, dtype
            )  # mixed with smaller ones, numbers over 2**63 make floats
    except (ValueError, TypeError, OverflowError):
        raise DecodeError("data: its lists are not alike, or hold what is no number") from None
    if values.dtype.kind not in FROM_JSON[dtype.kind]:
        raise DecodeError(f"data: must hold what {datatype(dtype)} does")
    if dtype.kind in "iu" and not _fits(values, dtype):
        raise DecodeError(f"data: a number does not fit {datatype(dtype)}")
    return values.astype(dtype, copy=False).reshape(-1)


def _fits(values: Array, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return limits.min <= int(values.min()) and int(values.max()) <= limits.max
