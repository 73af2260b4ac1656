"""A limit for the lists and objects in a large body.

Each takes up to two hundred bytes of memory. A body of msgpack can hold one in each byte, one of
JSON one in two: `[],[],[]`. Of rows that hold a value each, none has more than one in two or in
four. So what a body decodes to takes at most 75 times the body's size, whatever it holds: objects
of one short key in msgpack come closest. Rows of a model whose `model.input` is known take less,
as `worker/first_rows.py` refuses others before.
"""

from __future__ import annotations

import operator
from collections.abc import Generator, Iterator
from functools import partial
from itertools import chain, repeat
from typing import TypeVar

import msgpack  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

from .values import DecodeError

LARGE_BYTES = 1 << 20  # smaller bodies have no limit
JSON_BYTES, MSGPACK_BYTES = 4, 2  # for one list or object: `[1],`, and an array of a small integer
CHUNK_BYTES = 1 << 18  # what fits into the processor's cache

T = TypeVar("T")
Codes = npt.NDArray[np.uint8]
Steps = Generator[None, None, T]
"""Work with pauses, in which a worker answers smaller requests. It returns a T."""

_HEADERS = np.zeros(256, bool)  # the first bytes of msgpack's arrays and maps
_HEADERS[[*range(0x80, 0xA0), *range(0xDC, 0xE0)]] = True


def at_once(steps: Steps[T]) -> T:
    """What work with pauses returns, without the pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            returned: T = ended.value
            return returned


def check_json(body: bytes | memoryview) -> None:
    """Check how many lists and objects a body of JSON holds.

    Raises:
        DecodeError: it is a large body, and they are too many.
    """
    if len(body) >= LARGE_BYTES:
        at_once(check_large_json(body))


def check_large_json(body: bytes | memoryview) -> Steps[None]:
    """As `check_json` for a body of any size, with pauses."""
    most = len(body) // JSON_BYTES
    if (yield from holds_more(body, most)):
        raise DecodeError(_refusal(len(body), most))


def holds_more(body: bytes | memoryview, most: int) -> Steps[bool]:
    """Whether a body of JSON holds more than so many lists and objects."""
    if sum(map(_opened, parts(body))) <= most:  # which takes a tenth of the time
        return False
    opened = 0
    for _, codes in outside_strings(body):
        opened += _opened(codes)
        yield
    return opened > most


def most_marks(body: bytes | memoryview) -> tuple[int, int]:
    """How many commas, and how many lists and objects, a body of JSON has at most."""
    commas = lists = 0
    for part in parts(body):
        commas += int(np.count_nonzero(part == ord(",")))
        lists += _opened(part)
    return commas, lists


def check_rows(count: int, size: int) -> None:
    """Check how many objects are made of a body of JSON or CSV that holds none for them.

    Args:
        count: how many.
        size: the body's, in bytes.

    Raises:
        DecodeError: it is a large body, and they are too many.
    """
    most = size // JSON_BYTES
    if size >= LARGE_BYTES and count > most:
        raise DecodeError(_refusal(size, most))


def _opened(codes: Codes) -> int:
    return int(np.count_nonzero(codes | 0x20 == ord("{")))  # [ and { differ in this bit


def check_msgpack(body: bytes | memoryview) -> None:
    """Check how many lists and objects a body of msgpack holds. It must be complete.

    Raises:
        DecodeError: it is a large body, and they are too many.
    """
    if len(body) >= LARGE_BYTES:
        lists = MsgpackLists(len(body))
        if at_once(lists.may_be_more(body)):
            lists.add(body)


class MsgpackLists:
    """Counts the lists and objects in a body of msgpack.

    Args:
        size: the body's, in bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = self._most = size // MSGPACK_BYTES

    def may_be_more(self, body: bytes | memoryview) -> Steps[bool]:
        """Whether they may be too many, which takes a tenth of the time."""
        headers = 0
        for part in parts(body):
            headers += int(np.count_nonzero(_HEADERS[part]))
            yield
        return headers > self._most

    def add(self, piece: bytes | memoryview, known: int = 0) -> None:
        """Count those in a complete piece, but for so many.

        Raises:
            DecodeError: they are too many.
        """
        # Each becomes one of so many times None, before the next one is made.
        nothing = repeat(None, self._left + known)
        count = partial(next, chain(nothing, self._refuse()))
        msgpack.unpackb(piece, list_hook=count, object_hook=count, raw=True, strict_map_key=False)
        self._left = operator.length_hint(nothing)

    def _refuse(self) -> Iterator[None]:
        raise DecodeError(_refusal(self._size, self._most))
        yield


def outside_strings(body: bytes | memoryview, start: int = 0) -> Iterator[tuple[int, Codes]]:
    """The bytes of JSON in chunks, with 0 for those of strings.

    Args:
        body: the JSON.
        start: where to start, outside of a string.

    Yields:
        Where a chunk starts, and its bytes.
    """
    within = False  # a string
    while start < len(body):
        chunk = _chunk(body, start)
        codes = np.frombuffer(chunk, np.uint8)
        if within or b'"' in chunk:
            plain = chunk.replace(rb"\\", b"__").replace(rb"\"", b"__")
            quotes = np.frombuffer(plain, np.uint8) == ord('"')
            inside = (np.cumsum(quotes, dtype=np.uint8) & 1).astype(bool) ^ within
            codes = np.where(inside, np.uint8(0), codes)
            within = bool(inside[-1])
        yield start, codes
        start += len(chunk)


def _chunk(body: bytes | memoryview, start: int) -> bytes:
    """The bytes from a place on. They end with no part of an escape."""
    end = start + CHUNK_BYTES
    chunk = bytes(body[start:end])
    if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2:
        chunk += bytes(body[end : end + 1])
    return chunk


def parts(body: bytes | memoryview) -> Iterator[Codes]:
    array = np.frombuffer(body, np.uint8)
    for start in range(0, len(array), CHUNK_BYTES):
        yield array[start : start + CHUNK_BYTES]


def _refusal(size: int, most: int) -> str:
    return (
        f"the body has more than {most} lists and objects in {size} bytes, hardly any with a value:"
        " send rows that hold values"
    )
