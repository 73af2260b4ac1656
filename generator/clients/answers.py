"""Answers of a server, in the form in which `Scaffold.predict` gives them."""

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from ..common import DecodeError, json_encode, msgpack_decode
from ..errors import ServingError
from .address import Address, without_password

if TYPE_CHECKING:
    import httpx

OK, BAD_REQUEST, UNAUTHORIZED, TOO_LARGE, BUSY = 200, 400, 401, 413, 503
WAIT_SECONDS, MOST_WAIT_SECONDS = 1.0, 10.0
ERROR = "error"
OTHERS = ("detail", "message")  # keys of messages of gateways
MOST_CHARACTERS = 2000
TIMES = (dt.datetime, dt.time, dt.timedelta)
"""msgpack has them to the microsecond, JSON to the nanosecond."""


def read(answer: "httpx.Response", address: Address) -> Any:
    """The JSON of an answer.

    Raises:
        ServingError: it is an error, or not a scaffold's.
    """
    content = _json(answer)
    if answer.is_success and content is not None:
        return content
    raise ServingError(f"the server at {address} answered {answer.status_code}: {_said(answer)}")


def response(answer: "httpx.Response", address: Address) -> dict[str, Any]:
    """The response to a request in JSON.

    Raises:
        ServingError: it is an error, or not a scaffold's.
    """
    content = read(answer, address)
    if not isinstance(content, dict):
        raise ServingError(
            f"the server at {address} answered {answer.status_code}: {_foreign(answer)}"
        )
    return content


def of_binary(answer: "httpx.Response") -> dict[str, Any] | None:
    """The response to a request in msgpack, as JSON has it; None where only JSON can tell."""
    try:
        content = msgpack_decode(answer.content)
        if isinstance(content, dict) and not _holds_times(content):
            return dict(orjson.loads(json_encode(content)))
    except (DecodeError, TypeError):
        pass
    return None


def datatype(answer: "httpx.Response") -> str | None:
    """The datatype of the one array that a model takes, of its metadata; None if it has no such."""
    content = _json(answer)
    inputs = content.get("inputs") if _is_object(content) else None
    if answer.status_code != OK or not isinstance(inputs, list) or len(inputs) != 1:
        return None
    return str(inputs[0].get("datatype")) if _is_object(inputs[0]) else None


def is_refusal(answer: "httpx.Response", words: str) -> bool:
    """Whether an answer refuses the rows with these words."""
    return answer.status_code == BAD_REQUEST and words in _said(answer)


def wait(answer: "httpx.Response") -> float:
    """The seconds that a busy server asks for."""
    try:
        asked = float(answer.headers["Retry-After"])
    except (KeyError, ValueError):  # it may be a date
        return WAIT_SECONDS
    if math.isnan(asked):
        return WAIT_SECONDS
    return min(max(asked, 0.0), MOST_WAIT_SECONDS)


def _json(answer: "httpx.Response") -> Any:
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None


def _said(answer: "httpx.Response") -> str:
    """The server's message."""
    if answer.has_redirect_location:
        place = without_password(answer.headers["Location"])[:200]
        return f"it redirects to {place}: pass the url that it leads to"
    said = message(_json(answer)) or _foreign(answer)
    if answer.status_code == UNAUTHORIZED:
        return f"{said}; pass a key in headers, as in {{'Authorization': 'Bearer KEY'}}"
    return said


def message(content: Any) -> str | None:
    """The message of an error; None where it has none."""
    if not _is_object(content):
        return None
    if isinstance(content.get(ERROR), str):
        return str(content[ERROR])
    found = [content[key] for key in (ERROR, *OTHERS) if content.get(key)]
    return " ".join(str(found[0]).split())[:MOST_CHARACTERS] if found else None


def _is_object(content: Any) -> bool:
    return isinstance(content, Mapping)


def _foreign(answer: "httpx.Response") -> str:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()[:60]
    return f"what is not of a scaffold ({kind or 'no media type'})"


def _holds_times(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_times, value.values()))
    if isinstance(value, list):
        return any(map(_holds_times, value))
    return isinstance(value, TIMES)
