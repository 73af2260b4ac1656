"""Values in memory as a client reads them: encoded as a scaffold encodes them, and parsed."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..common import json_encode
from ..errors import ModelError


def as_json(value: Any, name: str) -> Any:
    """A value as it leaves in a JSON body, parsed.

    Args:
        value: what the model returned, or a part of it.
        name: what it is, for the message.

    Raises:
        ModelError: a part of it has no form in JSON. The message names that part.
    """
    try:
        return json.loads(json_encode(value))
    except TypeError as error:
        place, reason = _odd_part(value, error)
        raise ModelError(
            f"{name}{place} cannot be sent as JSON: {reason}; let the model return numbers,"
            " strings, dates, arrays, tables, or lists and dicts of these"
        ) from error


def _odd_part(value: Any, error: TypeError) -> tuple[str, TypeError]:
    """The place of the smallest part that cannot be encoded, as in `[0]['a']`, and the reason."""
    for key, part in _parts(value):
        try:
            json_encode(part)
        except TypeError as inner:
            place, reason = _odd_part(part, inner)
            return f"[{key!r}]{place}", reason
    return "", error


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        yield from enumerate(value)


def holds_infinity(value: Any) -> bool:
    """Whether a number in it is infinite, and so leaves as null: JSON has no form for it."""
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fc":
        return bool(np.isinf(value).any())
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.ravel().tolist()
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return any(map(holds_infinity, value))
    return isinstance(value, float) and math.isinf(value)
