"""Many numbers of one type as an array, in a third of numpy's time.

`marshal` writes a list in one pass, a byte for the type before each value. So a list of floats, or
of lists of as many floats each, comes out as records of one size. numpy checks and takes these.
"""

import marshal
from math import prod
from typing import Any

import numpy as np

FEW_VALUES = 1000
CHUNK_VALUES = 1 << 13  # which fit into the processor's cache
MOST_VALUES = 1 << 24  # in a row: a record has a limit
MOST_DEPTH = 8
FORMAT = 2  # of `marshal`: its first with floats in binary, and its last without references
HEAD_BYTES = 5  # of a list: its type, and its length in four bytes
LIST = ord("[")
# How each type is written: its byte, and the value's dtype. A larger int is written as "l".
CODES: dict[type, tuple[int, np.dtype[Any]]] = {
    float: (ord("g"), np.dtype("<f8")),
    int: (ord("i"), np.dtype("<i4")),
}
DTYPES = {float: np.float64, int: np.int64}

Array = np.ndarray[Any, np.dtype[Any]]


def are_many(rows: list[Any]) -> bool:
    """Whether rows hold many values, if all are like the first."""
    count, row = len(rows), rows[0]
    while type(row) is list and row:
        count *= len(row)
        row = row[0]
    return count > FEW_VALUES


def packed(rows: list[Any]) -> Array | None:
    """Floats as float64, or whole numbers of 32 bits as int64; None for anything else.

    Args:
        rows: numbers, or nested lists of equal lengths.
    """
    shape, kind = _of_first(rows)
    per_row = prod(shape)
    if kind not in CODES or not 0 < per_row <= MOST_VALUES or len(shape) > MOST_DEPTH:
        return None
    code, dtype = CODES[kind]
    record = _record(shape, dtype)
    try:
        array: Array = np.empty((len(rows), *shape), DTYPES[kind])
    except MemoryError:  # the first row may be a long one before many that are empty
        return None
    step = max(1, CHUNK_VALUES // per_row)
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        try:
            written = marshal.dumps(chunk, FORMAT)
        except ValueError:  # a type that it does not write
            return None
        if len(written) != HEAD_BYTES + len(chunk) * record.itemsize:
            return None
        found = np.frombuffer(written, record, offset=HEAD_BYTES)
        for size in shape:
            if (found["code"] != LIST).any() or (found["size"] != size).any():
                return None
            found = found["items"]
        if (found["code"] != code).any():
            return None
        array[start : start + step] = found["value"]
    return array


def _of_first(rows: list[Any]) -> tuple[list[int], type]:
    """The lengths of the lists in the first row, and the type of its first value."""
    shape, item = [], rows[0]
    while type(item) is list and item:
        shape.append(len(item))
        item = item[0]
    return shape, type(item)


def _record(shape: list[int], dtype: np.dtype[Any]) -> np.dtype[Any]:
    """How a row is written."""
    record = np.dtype([("code", "u1"), ("value", dtype)])
    for size in reversed(shape):
        record = np.dtype([("code", "u1"), ("size", "<i4"), ("items", record, (size,))])
    return record
