"""Rows that are sent as msgpack: large arrays, and bytes, which are longer and slower in JSON.

The model must get the values and the dtype that it would get of JSON. So an array is sent in its
own dtype where the model is known to take that, else in the one that JSON's numbers come out in.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common import json_encode, msgpack_encode

LARGE_BYTES = 1 << 16  # below it, JSON is as fast
MOST_BYTES = 1 << 31  # msgpack has a limit of twice as many
FEW = 2  # rows
ROWS = "instances"
Array = np.ndarray[Any, np.dtype[Any]]
AS_JSON: dict[str, "np.dtype[Any]"] = {
    "b": np.dtype(bool),
    "i": np.dtype(np.int64),
    "u": np.dtype(np.int64),
    "f": np.dtype(np.float64),
}
"""The dtype that numbers of JSON come out in, by the kind of theirs."""
DECLARED: dict[str, "np.dtype[Any]"] = {
    **{f"INT{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32)},
    **{f"UINT{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32)},
}
"""Dtypes by V2's names. A server says FP64 or INT64 too where it does not know the dtype."""


@dataclass(frozen=True)
class Binary:
    """A request whose rows may be sent as msgpack.

    Attributes:
        rows: an array, or a list of rows with bytes in them.
        others: the request's other keys, as JSON has them.
        null: the place of a row that JSON has null in, if there is one.
    """

    rows: Any
    others: dict[str, Any]
    null: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def likeness(self) -> tuple[Any, ...]:
        """Equal for requests that a server answers in the same way, in JSON or in msgpack."""
        others = json.dumps(self.others, sort_keys=True)
        if isinstance(self.rows, np.ndarray):
            return str(self.rows.dtype), self.rows.ndim, self.null is not None, others
        return bytes, others

    def few(self) -> "Binary":
        """One or two of its rows, with null in one if there is null in any."""
        if len(self) <= FEW or not self.null:
            return Binary(self.rows[:FEW], self.others)
        return Binary(self.rows[[0, self.null]], self.others)

    @property
    def request(self) -> dict[str, Any]:
        return {**self.others, ROWS: self.rows}

    def as_msgpack(self) -> bytes:
        return msgpack_encode(self.request)


def binary(given: Any) -> Binary | None:
    """A request as it may be sent as msgpack; None if JSON is better, or the only way.

    Args:
        given: rows, or a request, as `Scaffold.predict` takes them.
    """
    rows, others = given, {}
    if isinstance(given, Mapping):
        if ROWS not in given:
            return None
        rows, others = given[ROWS], {key: given[key] for key in given if key != ROWS}
    try:
        others = json.loads(json_encode(others))
    except TypeError:
        return None
    if type(rows) is list and rows and _bytes_in(rows[0]):
        return _of_bytes(rows, others)
    if type(rows) is not np.ndarray or not rows.ndim or rows.dtype.kind not in AS_JSON:
        return None
    if rows.itemsize > 8 or not LARGE_BYTES <= rows.nbytes < MOST_BYTES:
        return None
    return _of_array(rows, others)


def in_dtype(request: Binary, declared: str | None) -> Binary | None:
    """A request in the dtype that the model would get of JSON; None if that makes it long.

    Args:
        request: the request.
        declared: V2's name of the datatype that the model takes, if it is known.
    """
    rows = request.rows
    if not isinstance(rows, np.ndarray):
        return request
    known = DECLARED.get(declared or "")
    if known is not None and np.can_cast(rows.dtype, known):
        return request
    target = AS_JSON[rows.dtype.kind]
    if target.itemsize > 2 * rows.itemsize or not np.can_cast(rows.dtype, target):
        return None
    return Binary(rows.astype(target, copy=False), request.others, request.null)


def _of_array(rows: Array, others: dict[str, Any]) -> Binary | None:
    if rows.dtype.kind != "f" or np.isfinite(rows).all():
        return Binary(rows, others)
    if np.isinf(rows).any():  # null in JSON, which is NaN for a model
        return None
    missing = np.isnan(rows).reshape(len(rows), -1).any(axis=1)
    return Binary(rows, others, int(missing.argmax()))


def _of_bytes(rows: list[Any], others: dict[str, Any]) -> Binary | None:
    try:
        size = sum(map(_weight, rows))
    except ValueError:
        return None
    return Binary(rows, others) if LARGE_BYTES <= size < MOST_BYTES else None


def _bytes_in(row: Any) -> bool:
    if isinstance(row, Mapping):
        return any(map(_bytes_in, row.values()))
    return type(row) is bytes


def _weight(value: Any) -> int:
    """How many bytes a value has that msgpack holds shorter than JSON.

    Raises:
        ValueError: JSON may hold it in another way than msgpack.
    """
    if type(value) is bytes:
        return len(value)
    if type(value) is dict and all(type(key) is str for key in value):
        return sum(map(_weight, value.values()))
    if type(value) is list:
        return sum(map(_weight, value))
    if type(value) in (str, bool, type(None)) or (type(value) is float and math.isfinite(value)):
        return 0
    if type(value) is int and -(1 << 63) <= value < 1 << 63:
        return 0
    raise ValueError
