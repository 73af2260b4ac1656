"""The JSON of a V2 body without its long lists of data, which are not decoded."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import json_windows as windows
from ..density import Steps, at_once, outside_strings
from ..json_codec import json_decode
from ..json_decoder import JsonDecoder
from ..json_windows import WINDOW_BYTES, Items, whole_items
from ..places import Places, TooMuch
from ..values import Array

DEPTH = 4  # of data: it is in a tensor, in a list, in the body
OPEN, BETWEEN, CLOSE = b"{|}"  # and [ and ], which differ from these in one bit
MOST_REST = 1 << 20  # bytes beside the long lists
PLACES = Places('the data of "inputs"', rows=(("inputs", None, "data"),))


class Unseen(Exception):
    """What a body holds can only be told by decoding it."""


@dataclass(slots=True)
class LongList:
    """A list that is in a body from `start`, behind its bracket, to `end`, where that is known.

    Attributes:
        items: how many items it has; None where that is not known.
    """

    body: memoryview
    start: int
    end: int
    items: int | None = None

    def first(self, size: int) -> list[Any]:
        """The items that are whole within so many bytes."""
        window = bytes(self.body[self.start : min(self.start + size, self.end + 1)])
        end, *_ = whole_items(window)
        items: list[Any] = json_decode(b"".join([b'{"":[', window[:end], b"]}"]))[""]
        return items

    def windows(self) -> Iterator[list[Any]]:
        """The first items: few, then more."""
        yield self.first(WINDOW_BYTES)
        yield self.first(windows.MOST_BYTES)

    def batches(self) -> Iterator[list[Any]]:
        """All items, some at a time.

        Raises:
            Unseen: one of them is too large to be decoded with others.
            DecodeError: they are no JSON.
        """
        items = Items(self.body, self.start)
        yield from items.batches()
        if items.close != self.end:
            raise Unseen


def shortened(body: memoryview) -> Steps[dict[str, Any]]:
    """A body of V2 in JSON, with a LongList for the data of each tensor that is long.

    Raises:
        TooMuch: it holds too much beside its data.
        Unseen: something else is long, or wrong.
    """
    found: list[LongList] = []
    lists = _Lists()
    for start, codes in outside_strings(body):
        found += [LongList(body, *each) for each in lists.read(start, codes)]
        end = start + len(codes) if lists.start is None else lists.start
        if end - sum(each.end - each.start for each in found) > MOST_REST:
            raise Unseen
        yield
    mark = _Mark()
    head = yield from _with_marks(body, found, b"", mark)
    try:
        tensors = _tensors(head)
    except Unseen:  # `decode_inputs` says what is wrong with them
        return head
    marked = [item for item in tensors if isinstance(item.get("data"), str)]
    if [item["data"] for item in marked] != [mark.of(place) for place in range(len(found))]:
        raise Unseen
    for item, data in zip(marked, found, strict=True):
        item["data"] = data
    return head


def until_data(body: memoryview) -> dict[str, Any]:
    """A body of V2 in JSON up to the first items of its first tensor, whose data is long.

    Raises:
        Unseen: it does not begin so.
    """
    opened = _Lists()
    for start, codes in outside_strings(body[:WINDOW_BYTES]):
        list(opened.read(start, codes))
    if opened.start is None:
        raise Unseen
    data = LongList(body, opened.start, len(body))
    mark = _Mark()
    head = at_once(_with_marks(body[: data.start], [data], b"}]}", mark))
    tensors = _tensors(head)
    if len(tensors) != 1 or tensors[0].get("data") != mark.of(0):
        raise Unseen
    tensors[0]["data"] = data
    return head


class _Mark:
    """The strings that stand for long lists. No client knows them."""

    def __init__(self) -> None:
        self._secret = secrets.token_hex(16)

    def of(self, place: int) -> str:
        """The one for the list that so many others come before."""
        return f"{self._secret} {place}"


def _with_marks(
    body: memoryview, found: list[LongList], tail: bytes, mark: _Mark
) -> Steps[dict[str, Any]]:
    """The JSON with a string for each of its long lists, and a tail."""
    parts: list[bytes | memoryview] = []
    at = 0
    for place, each in enumerate(found):
        parts += [body[at : each.start - 1], f'"{mark.of(place)}"'.encode()]
        at = each.end + 1
    parts += [body[at:], tail]
    try:
        head = yield from JsonDecoder(b"".join(parts), PLACES).value()
    except TooMuch:
        raise
    except ValueError:
        raise Unseen from None
    if not isinstance(head, dict):
        raise Unseen
    return head


def _tensors(head: dict[str, Any]) -> list[dict[str, Any]]:
    tensors = head.get("inputs")
    if not isinstance(tensors, list) or not all(isinstance(item, dict) for item in tensors):
        raise Unseen
    return tensors


class _Lists:
    """Finds long lists in the objects of the lists of a body, in the codes of its JSON.

    Attributes:
        start: where the one starts that is not at its end yet.
    """

    def __init__(self) -> None:
        self.start: int | None = None
        self._depth = 0
        self._lists = self._commas = 0  # in that one, on its first level

    def read(self, start: int, codes: Array) -> Iterator[tuple[int, int, int]]:
        """Where the long lists that end in a chunk start and end, and how many items they have."""
        low = codes | 0x20
        brackets = (low == OPEN) | (low == CLOSE)
        steps = (BETWEEN - low[brackets]).view(np.int8)
        depths = np.cumsum(steps, dtype=np.int32)
        depths += self._depth
        if len(depths):
            self._depth = int(depths[-1])
        is_within = self.start is not None and depths.min(initial=DEPTH) == DEPTH
        if is_within and self._lists:  # then no comma counts
            self._lists += int(np.count_nonzero((depths == DEPTH) & (steps < 0)))
            return
        places, closing = np.flatnonzero(brackets), steps < 0
        opens = places[~closing & (depths == DEPTH) & (codes[places] == ord("["))]
        closes = places[closing & (depths == DEPTH - 1)]
        inner = places[closing & (depths == DEPTH)]
        at = 0
        while True:
            if self.start is None:
                found = _next_long(opens, closes, at, len(codes))
                if found is None:
                    return
                at = found
                self.start, self._lists, self._commas = start + at, 0, 0
            later = closes[np.searchsorted(closes, at) :]
            end = int(later[0]) if len(later) else len(codes)
            self._lists += int(np.searchsorted(inner, end) - np.searchsorted(inner, at))
            if not self._lists:
                self._commas += int(np.count_nonzero(codes[at:end] == ord(",")))
            if not len(later):
                return
            if start + end - self.start > WINDOW_BYTES // 2:
                yield self.start, start + end, self._lists or self._commas + 1
            self.start, at = None, end


def _next_long(opens: Array, closes: Array, at: int, size: int) -> int | None:
    """Where the items of the next list start that is long, or not at its end yet."""
    later = opens[np.searchsorted(opens, at) :]
    ends = np.append(closes, size + WINDOW_BYTES)[np.searchsorted(closes, later)]
    is_long = ends - later > WINDOW_BYTES // 2
    if not is_long.any():
        return None
    return int(later[is_long.argmax()]) + 1
