"""The rows of a body of JSON, some at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from . import events
from . import json_windows as windows
from .density import Steps, check_large_json, holds_more, outside_strings
from .json_codec import json_encode
from .json_decoder import JsonDecoder
from .json_windows import STEPS, Items
from .places import Path, Places
from .values import Encoder

OTHER_CONTAINERS = 1000  # under other keys

_SPACE = re.compile(r"[ \t\n\r]*")
_decoder: Any = json.JSONDecoder()
# What the end of a window, and what is no JSON, leads to.
_ENDS = (ValueError, StopIteration, IndexError, RecursionError)


class NoRows(Exception):
    """Under the key of the rows there is something else."""


class JsonRows:
    """Reads rows under `instances`, from the first one on. They must be found first.

    Args:
        body: the JSON.
    """

    keys: ClassVar[tuple[str, ...]] = ("instances",)  # the rows are under the first of them
    within: ClassVar[tuple[str, ...]] = ()  # keys of objects that may hold the rows
    places: ClassVar[Places] = Places('"instances"', rows=(("instances",),))

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = memoryview(body)
        self._key, self._start = "", 0
        self._rows = Items(self._body, 0)

    def find(self) -> Steps[None]:
        """Find the first row.

        Raises:
            ValueError: there is no list of rows, or no long one behind much else.
            DecodeError: too much else comes before, or what does is no JSON.
        """
        try:
            text = self._text(0, windows.WINDOW_BYTES)
            self._key, self._start = _start_of_rows(text, self.keys, self.within)
        except NoRows:
            raise ValueError("the rows are no list") from None
        except _ENDS:
            decoder = JsonDecoder(self._body, self.places)
            path, self._start, around = yield from decoder.find_rows()
            self._found(path, around)
        self._rows = Items(self._body, self._start)

    def _found(self, path: Path, around: Any) -> None:
        """Note where the rows are, and what was decoded of the object around them."""
        self._key = path[-1]

    def batches(self) -> Iterator[list[Any]]:
        """Rows, in their order. Ends before one that is larger than MOST_BYTES.

        Raises:
            DecodeError: what should be rows is no JSON.
        """
        return self._rows.batches()

    def next_row(self, most: int) -> tuple[int, int]:
        """How many lists and objects, and how many values, the row after the batches begins with.

        Args:
            most: so many of both are enough.
        """
        at = self._rows.at
        if at is None:
            return 0, 0
        window = self._body[at : at + windows.MOST_BYTES]
        codes = np.concatenate([codes for _, codes in outside_strings(window)])
        steps = STEPS[codes]
        if np.cumsum(steps, dtype=np.int32).min(initial=1) < 1:
            return 0, 0  # it ends in the window, so it is no JSON
        return int(np.count_nonzero(steps == 1)), int(np.count_nonzero(codes == ord(",")))

    def exceed(self, lists: int, values: int) -> Steps[bool]:
        """Whether the body is too short for its lists, if each row has so many, and values."""
        # Each takes two bytes at least: a list its brackets, a value one and a comma.
        most = len(self._body) * lists // (2 * (lists + values)) + OTHER_CONTAINERS
        return holds_more(self._body, most)

    def others(self) -> Steps[dict[str, Any]]:
        """The body without its rows.

        Raises:
            ValueError: it is no JSON, or has other rows too.
        """
        found = self._request((yield from self._without_rows()))
        if found[self._key] != []:
            raise ValueError("the body has two lists of instances")
        del found[self._key]
        return dict(found)

    def _without_rows(self) -> Steps[Any]:
        end = yield from self._end()
        rest = b"".join([self._body[: self._start], self._body[end:]])
        return (yield from JsonDecoder(rest).value())

    def _request(self, body: Any) -> Any:
        """The request in a body."""
        return body

    def _end(self) -> Steps[int]:
        """Where the list of rows is closed."""
        depth = 1
        for start, codes in outside_strings(self._body, self._start):
            depths = depth + np.cumsum(STEPS[codes], dtype=np.int32)
            closed = np.flatnonzero(depths == 0)
            if closed.size:
                return start + int(closed[0])
            depth = int(depths[-1])
            yield
        raise ValueError("the rows have no end")

    def _text(self, at: int, size: int) -> str:
        """Bytes as a text in which each has its own place."""
        return str(self._body[at : at + size], "latin-1")


class EventRows(JsonRows):
    """Reads rows under `instances` of the request in a structured CloudEvent."""

    within = ("data",)
    places = Places('"instances"', rows=(("instances",), ("data", "instances")))

    def _request(self, body: Any) -> Any:
        return events.request_in(body)


class JsonPieces:
    """Decodes a large body of JSON, some of its rows at a time.

    Args:
        body: the JSON.

    Attributes:
        decoded: what `json_decode` returns for the body, and the encoder of the response, once all
            pieces are decoded.
        error: why they cannot be.
        batches: the rows of each piece, so that they can be freed in pieces, too.
    """

    places: Places = JsonRows.places
    takes_nan: ClassVar[bool] = False

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = body
        self.decoded: tuple[Any, Encoder] | None = None
        self.error: Exception | None = None
        self.batches: list[list[Any]] = []

    def __iter__(self) -> Steps[None]:
        """Decode, with a pause after each piece. A piece takes a few milliseconds."""
        try:
            yield from check_large_json(self._body)
            decoder = JsonDecoder(self._body, self.places, self.takes_nan, self._check)
            self.batches = decoder.batches
            value = yield from decoder.value()
            self.decoded = yield from self._opened(value)
        except Exception as error:
            self.error = error

    def _check(self, path: Path, around: Any, before: int, rows: list[Any]) -> None:
        """Check some rows, as `JsonDecoder` says."""

    def _opened(self, body: Any) -> Steps[tuple[Any, Encoder]]:
        """The request of a decoded body, and what encodes its response."""
        yield
        return body, json_encode


class EventPieces(JsonPieces):
    """Decodes a structured CloudEvent that has many rows, some of them at a time.

    As JsonPieces, but `decoded` is what `events.decode` returns.
    """

    places = EventRows.places

    def _opened(self, body: Any) -> Steps[tuple[Any, Encoder]]:
        yield
        return events.opened(body)


def _start_of_rows(text: str, keys: Sequence[str], within: Sequence[str]) -> tuple[str, int]:
    """The key of the rows, in the object itself or under keys of others, and where they start."""
    at = _after(text, 0, "{")
    while True:
        key, at = _value(text, at)
        at = _after(text, at, ":")
        if key in keys:
            at = _skip(text, at)
            if text[at] != "[":
                raise NoRows
            return key, at + 1
        if key in within and text[_skip(text, at)] == "{":
            at = _after(text, at, "{")
            continue
        _, at = _value(text, at)
        at = _after(text, at, ",")


def _value(text: str, at: int) -> tuple[Any, int]:
    """The value at a place, and where it ends."""
    value, end = _decoder.scan_once(text, _skip(text, at))
    return value, end


def _after(text: str, at: int, mark: str) -> int:
    at = _skip(text, at)
    if text[at] != mark:
        raise ValueError(f"there is no {mark}")
    return at + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
