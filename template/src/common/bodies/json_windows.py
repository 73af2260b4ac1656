"""JSON in windows: a few of the items of a list at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .density import outside_strings
from .json_codec import json_decode
from .values import Array, DecodeError

WINDOW_BYTES = 1 << 14  # of the first items
MOST_BYTES = 1 << 18  # of further ones

STEPS = np.zeros(256, np.int8)  # in depth
STEPS[list(b"[{")] = 1
STEPS[list(b"]}")] = -1
_NOTHING = np.zeros(0, np.uint8)


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
            end, is_last, _ = whole_items(window)
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


def whole_items(window: bytes) -> tuple[int, bool, int]:
    """Where the items end that are whole, whether no other item follows, and how deep it is."""
    text = window
    if b'"' in window:
        text = b"".join([codes.tobytes() for _, codes in outside_strings(window)])
    codes = np.frombuffer(text, np.uint8)
    low = codes | 0x20  # [ and ] differ in this bit from { and }
    places = np.flatnonzero((low == ord("{")) | (low == ord("}")))
    depths = np.cumsum(STEPS[codes[places]], dtype=np.int32)
    closed = np.flatnonzero(depths < 0)
    if closed.size:
        return int(places[closed[0]]), True, 0
    return _last_comma(text, places, depths), False, int(depths.max(initial=0))


def _last_comma(text: bytes, places: Array, depths: Array) -> int:
    """Where the last comma between items is; 0 if there is none.

    Args:
        text: the items, without what is in strings.
        places: of the brackets in them.
        depths: how deep it is behind each.
    """
    outside = np.flatnonzero(depths == 0)
    end = len(text)
    for index in outside[::-1].tolist():
        start = int(places[index])
        if index + 1 < len(places):
            end = int(places[index + 1])
        if (found := text.rfind(b",", start, end)) >= 0:
            return found
    first = int(places[0]) if len(places) else len(text)
    return max(text.rfind(b",", 0, first), 0)
