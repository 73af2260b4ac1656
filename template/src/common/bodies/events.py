"""Structured CloudEvents: a JSON object with attributes, and a request under `data`.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
"""

from typing import Any

from ..link.frames import V2_HEAD
from .json_codec import json_decode, json_encode
from .values import DecodeError, Encoder

REQUIRED = {"data", "id", "source", "specversion", "time", "type"}  # by KServe, "time" too
MOST_BYTES = 1 << 16  # of the attributes


def decode(body: bytes | memoryview) -> tuple[Any, Encoder]:
    """Decode a body to a request, and make the encoder of its response.

    The response is its own JSON, behind the attributes of the event, as JSON with their size in
    front as `frames.V2_HEAD` packs it. There are none where the body is no event: it is the request
    then, as it is for KServe.

    Raises:
        DecodeError: the body is not JSON, or its attributes are too long.
    """
    return opened(json_decode(body))


def opened(event: Any) -> tuple[Any, Encoder]:
    """As `decode`, for a body whose JSON is decoded. It is changed."""
    request = request_in(event)
    if request is event:
        return event, lambda response: V2_HEAD.pack(0) + json_encode(response)
    del event["data"]
    attributes = json_encode(event)
    if len(attributes) > MOST_BYTES:
        raise DecodeError(f"the event's attributes have more than {MOST_BYTES} bytes")
    head = V2_HEAD.pack(len(attributes)) + attributes
    return request, lambda response: head + json_encode(response)


def request_in(event: Any) -> Any:
    """The request of a decoded body: what is under `data` of an event; else the body itself."""
    if isinstance(event, dict) and event.keys() >= REQUIRED:
        return event["data"]
    return event
