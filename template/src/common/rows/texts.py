"""Texts and bytes of a request.

JSON has no bytes: they are `{"b64": "..."}`, an object with base64 in it, as in TensorFlow
Serving's REST API, or a string, which stands for its UTF-8. msgpack has bytes, V2 has BYTES.

Source: https://www.tensorflow.org/tfx/serving/api_rest, "Encoding binary values".
"""

import base64
from collections.abc import Callable
from typing import Any

from ..errors import InvalidInput
from ..words import kind_of

B64 = "b64"

Item = Callable[[Any], Any]
"""Converts a value of a body. The message of its InvalidInput goes on after the value's place."""


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"must be a string, it is {kind_of(value)}")
    return value


def text_or_bytes(value: Any) -> str | bytes:
    """A string or bytes: TensorFlow's strings are both."""
    if isinstance(value, (str, bytes)):
        return value
    if is_b64(value):
        return _decoded(value[B64])
    form = 'bytes as {"b64": "..."}'
    raise InvalidInput(f"must be a string, or {form}, it is {kind_of(value)}")


def to_bytes(value: Any) -> bytes:
    """Bytes; of a string, its UTF-8."""
    found = text_or_bytes(value)
    if isinstance(found, str):
        return found.encode("utf-8", "surrogatepass")
    return found


def with_bytes(value: Any) -> Any:
    """A value of JSON with bytes for each `{"b64": "..."}` in it."""
    if is_b64(value):
        return _decoded(value[B64])
    if isinstance(value, dict):
        return {key: with_bytes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_bytes(item) for item in value]
    return value


def is_b64(value: Any) -> bool:
    """Whether a value of JSON stands for bytes."""
    return isinstance(value, dict) and value.keys() == {B64}


def _decoded(encoded: Any) -> bytes:
    if not isinstance(encoded, str):
        raise InvalidInput(f"must have base64 as the string b64, it is {kind_of(encoded)}")
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise InvalidInput(f"must have base64 as the string b64: {error}") from None
