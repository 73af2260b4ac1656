"""The rows of a body of JSON, some at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from . import events
from .density import Steps, check_large_json, holds_more, outside_strings
from .json_codec import json_decode, json_encode
from .values import DecodeError, Encoder

WINDOW_BYTES = 1 << 14  # of the first rows
OTHER_CONTAINERS = 1000  # under other keys
MOST_BYTES = 1 << 18  # of further ones

_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1
_SPACE = re.compile(r"[ \t\n\r]*")
_decoder: Any = json.JSONDecoder()
# What the end of a window, and what is no JSON, leads to.
_ENDS = (ValueError, StopIteration, IndexError, RecursionError)


class Items:
    """Reads the items of a list in JSON, some at a time.

    Args:
        body: the JSON.
        start: the place behind the bracket that opens the list.

    Attributes:
        at: the place of the next item; None once the last one was read.
        close: the place of the bracket that closes the list, once the last item was read; else 0.
    """

    def __init__(self, body: memoryview, start: int) -> None:
        self._body = body
        self._start = start
        self.at: int | None = start
        self.close = 0

    def batches(self) -> Iterator[list[Any]]:
        """Items, in their order. Ends before one that is larger than MOST_BYTES.

        Raises:
            DecodeError: what should be items is no JSON.
        """
        size = WINDOW_BYTES
        while self.at is not None:
            window = bytes(self._body[self.at : self.at + size])
            end, is_last = end_of_rows(window)
            if is_last and self.at > self._start and not window[:end].strip():
                raise DecodeError("no item follows a comma")
            if is_last:
                self.close = self.at + end
            if end:
                # As deep as in the body, whose depth has a limit.
                yield json_decode(b"".join([b'{"":[', window[:end], b"]}"]))[""]
                self.at += end + 1  # behind the comma
            elif size == MOST_BYTES:
                return
            if is_last:
                self.at = None
            size = MOST_BYTES


class JsonRows:
    """Reads rows under `instances`, from the first one on.

    Args:
        body: the JSON.

    Raises:
        ValueError: no list under `instances` is in sight.
    """

    keys: ClassVar[tuple[str, ...]] = ("instances",)  # the rows are under the first of them
    within: ClassVar[tuple[str, ...]] = ()  # keys of objects that may hold the rows

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = memoryview(body)
        try:
            text = self._text(0, WINDOW_BYTES)
            self._key, self._start = _start_of_rows(text, self.keys, self.within)
        except _ENDS:
            raise ValueError("no rows are in sight") from None
        self._rows = Items(self._body, self._start)

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
        window = self._body[at : at + MOST_BYTES]
        codes = np.concatenate([codes for _, codes in outside_strings(window)])
        steps = _STEPS[codes]
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
        end = yield from self._end()
        found = self._request(json_decode(b"".join([self._body[: self._start], self._body[end:]])))
        if found[self._key] != []:
            raise ValueError("the body has two lists of instances")
        del found[self._key]
        return dict(found)

    def around(self, rows: list[Any]) -> Any:
        """The whole body, with what `batches` returned as its rows.

        Raises:
            ValueError: it is no JSON, has other rows too, or they have not all been read.
        """
        if not self._rows.close:
            raise ValueError("not all rows have been read")
        rest = bytes(self._body[self._rows.close :])
        mark = "x" * len(rest)  # too long for any other list of instances
        found = json_decode(
            b"".join([self._body[: self._start], b'"', mark.encode(), b'"', rest]),
        )
        request = self._request(found)
        if request[self._key] != [mark]:
            raise ValueError("the body has two lists of instances")
        request[self._key] = rows
        return found

    def _request(self, body: Any) -> Any:
        """The request in a body."""
        return body

    def _end(self) -> Steps[int]:
        """Where the list of rows is closed."""
        depth = 1
        for start, codes in outside_strings(self._body, self._start):
            depths = depth + np.cumsum(_STEPS[codes], dtype=np.int32)
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

    def _request(self, body: Any) -> Any:
        return events.request_in(body)


class ScoringRows(JsonRows):
    """Reads rows of MLflow's scoring protocol that are as `:predict` takes them."""

    keys = ("instances", "inputs", "dataframe_records")


class JsonPieces:
    """Decodes a body of JSON that has many rows, some of them at a time.

    Args:
        body: the JSON.

    Attributes:
        decoded: what `json_decode` returns for the body, and the encoder of the response, once all
            pieces are decoded. None where `json_decode` has to decode the body, or to say what is
            wrong with it.
        batches: the rows of each piece, so that they can be freed in pieces, too.
    """

    reader: ClassVar[type[JsonRows]] = JsonRows

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = body
        self.decoded: tuple[Any, Encoder] | None = None
        self.error: Exception | None = None  # decoding the whole body shows what is wrong
        self.batches: list[list[Any]] = []

    def __iter__(self) -> Steps[None]:
        """Decode, with a pause after each piece. A piece takes a few milliseconds."""
        decoded: list[Any] = []
        try:
            yield from check_large_json(self._body)
            rows = self.reader(self._body)
            for batch in rows.batches():
                decoded += batch
                self.batches.append(batch)
                yield
            self.decoded = self._opened(rows.around(decoded))
        except Exception:  # `json_decode` shows what is wrong
            return

    def _opened(self, body: Any) -> tuple[Any, Encoder]:
        """The request of a decoded body, and what encodes its response."""
        return body, json_encode


class EventPieces(JsonPieces):
    """Decodes a structured CloudEvent that has many rows, some of them at a time.

    As JsonPieces, but `decoded` is what `events.decode` returns.
    """

    reader = EventRows

    def _opened(self, body: Any) -> tuple[Any, Encoder]:
        return events.opened(body)


def _start_of_rows(text: str, keys: Sequence[str], within: Sequence[str]) -> tuple[str, int]:
    """The key of the rows, in the object itself or under keys of others, and where they start."""
    at = _after(text, 0, "{")
    while True:
        key, at = _value(text, at)
        at = _after(text, at, ":")
        if key in keys:
            return key, _after(text, at, "[")
        if key in within and text[_skip(text, at)] == "{":
            at = _after(text, at, "{")
            continue
        _, at = _value(text, at)
        at = _after(text, at, ",")


def end_of_rows(window: bytes) -> tuple[int, bool]:
    """Where the rows end that are whole, and whether no other rows follow."""
    codes = np.concatenate([codes for _, codes in outside_strings(window)])
    depths = np.cumsum(_STEPS[codes], dtype=np.int32)
    closed = np.flatnonzero(depths < 0)
    if closed.size:
        return int(closed[0]), True
    between = np.flatnonzero((codes == ord(",")) & (depths == 0))
    return int(between[-1]) if between.size else 0, False


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
