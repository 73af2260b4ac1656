"""Decodes msgpack in pieces: what comes out is what `msgpack_decode` makes of it at once.

A piece has some of the items of an array or of a map. An item that is larger than a window is taken
apart in the same way, on any level.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any, NoReturn

import msgpack  # type: ignore[import-untyped]

from ..words import type_name
from .density import MsgpackLists, Steps
from .msgpack_codec import MISTAKES, OPTIONS, decode_map, msgpack_decode, refusal
from .places import Beside, Level, Places, Role

MOST_BYTES = 1 << 18  # of a piece
MOST_DEPTH = 1000  # msgpack's own is a little more

# The first bytes of values, and the number that follows: how many items they have, or bytes.
ARRAYS = {0xDC: ">H", 0xDD: ">I"}
MAPS = {0xDE: ">H", 0xDF: ">I"}
TEXTS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
EXTS = (0xC7, 0xC8, 0xC9)
_HEAD = struct.Struct(">BI")
_NOWHERE = Places()
_KEYS = {str, bytes}


class MsgpackDecoder:
    """Decodes a body.

    Args:
        body: the msgpack.
        places: where its rows are.

    Attributes:
        batches: lists that hold the rows, too, so that they can be freed in pieces.
        repeats: whether a map has a key twice.
    """

    def __init__(self, body: bytes | memoryview, places: Places = _NOWHERE) -> None:
        self._body = memoryview(body)
        self._beside = Beside(places)
        self._lists = MsgpackLists(len(body))
        self._counts = False  # whether lists and objects are only counted now
        self._levels: list[Level] = []
        self.batches: list[list[Any]] = []
        self.repeats = False
        self._rows: tuple[int, int] | None = None

    def value(self, is_checked: bool = False) -> Steps[Any]:
        """What `msgpack_decode` returns for the body.

        Args:
            is_checked: whether the body may hold any number of empty lists and objects.

        Raises:
            DecodeError: the body is no such msgpack, or holds too much beside its rows.
        """
        try:
            root, at = self._opened(0)
            if root is None:
                return msgpack_decode(self._body)
            if not is_checked and (yield from self._lists.may_be_more(self._body)):
                self._counts = True
                yield from self._fill(dataclasses.replace(root, role=Role.DROPPED), at)
                self._counts = False
            yield from self._fill(root, at)
        except MISTAKES as error:
            raise refusal(error) from None
        return root.value

    def find_rows(self) -> Steps[tuple[int, int]]:
        """Where the first row of the first long list of rows starts, and how many there are.

        Raises:
            ValueError: there is none.
            DecodeError: what comes before is no msgpack, or too much.
        """
        for _ in self.value(is_checked=True):
            if self._rows is not None:
                return self._rows
            yield
        raise ValueError("there are no rows")

    def _fill(self, root: Level, at: int) -> Steps[None]:
        """Decode what an array or a map holds whose items start at a place."""
        self._levels = levels = [root]
        while levels:
            level = levels[-1]
            if level.left:
                at = self._piece(level, at)
                yield
                continue
            levels.pop()
            if isinstance(level.value, dict) and level.role != Role.DROPPED:
                level.value = decode_map(level.value)
            if levels and levels[-1].role != Role.DROPPED:
                self._put(levels[-1], level.value)
        if at < len(self._body):
            msgpack.unpackb(b"\xc0\xc0")  # which says so

    def _piece(self, level: Level, at: int) -> int:
        """Decode some items that start at a place, and return where they end."""
        count = min(level.step, level.left)
        depth = len(self._levels) - 1  # as deep as in the body, whose depth has a limit
        items = count * (2 if isinstance(level.value, dict) else 1)
        head = b"\x91" * depth + _HEAD.pack(0xDD, items)
        piece = b"".join([head, self._body[at : at + MOST_BYTES]])
        end = _end(piece)
        if end is None and count > 1:
            level.step = count // 2
            return at
        level.left -= count
        if end is None:
            return self._enter(level, at)
        if 2 * end < len(piece):
            level.step = 2 * count
        if self._counts:
            self._lists.add(piece[:end], depth + 1)
        elif level.role != Role.DROPPED:
            self._keep(level, msgpack.unpackb(piece[:end], **OPTIONS), depth)
        return at + end - len(head)

    def _keep(self, level: Level, items: Any, depth: int = 0) -> None:
        """Count decoded items that are in so many lists, and keep them."""
        for _ in range(depth):
            [items] = items
        if isinstance(level.value, list):
            self._beside.add(level, items)
            level.value += items
            if level.role == Role.ROWS:
                self.batches.append(items)
            return
        keys = items[::2]
        if not _KEYS.issuperset(map(type, keys)):
            odd = next(key for key in keys if type(key) not in _KEYS)
            _refuse_key(odd)
        found = dict(zip(keys, items[1::2], strict=True))
        self._beside.add(level, found)
        before = len(level.value)
        level.value.update(found)
        self.repeats |= len(level.value) < before + len(keys)

    def _put(self, level: Level, value: Any) -> None:
        if isinstance(level.value, dict):
            self.repeats |= level.key in level.value
            level.value[level.key] = value
        else:
            level.value.append(value)

    def _enter(self, level: Level, at: int) -> int:
        """Open the array or the map that starts at a place, or decode another large value."""
        if isinstance(level.value, dict):
            level.key, at = self._large(at)
            if type(level.key) not in _KEYS:
                _refuse_key(level.key)
        below, start = self._opened(at, level)
        if below is None:
            value, end = self._large(at)
            if level.role != Role.DROPPED:
                self._keep(level, [level.key, value] if isinstance(level.value, dict) else [value])
            return end
        if len(self._levels) == MOST_DEPTH:
            raise msgpack.StackError
        self._levels.append(below)
        if below.role == Role.ROWS and self._rows is None:
            self._rows = start, below.left
        return start

    def _opened(self, at: int, level: Level | None = None) -> tuple[Level | None, int]:
        """The array or map at a place in another one, and where its items start."""
        first = self._body[at] if at < len(self._body) else 0
        value: Any = [] if first in ARRAYS or 0x90 <= first <= 0x9F else {}
        if first in ARRAYS or first in MAPS:
            count, start = self._number(at, ARRAYS.get(first) or MAPS[first])
        elif 0x80 <= first <= 0x9F:
            count, start = first & 0x0F, at + 1
        else:
            return None, at
        found = Level(value) if level is None else self._beside.below(level, value)
        found.left = count
        found.step = max(1, count * MOST_BYTES // (2 * max(len(self._body) - start, 1)))
        return found, start

    def _large(self, at: int) -> tuple[Any, int]:
        """The text or binary data at a place, or a value that is small; and where it ends."""
        first = self._body[at] if at < len(self._body) else 0
        if first in TEXTS:
            size, start = self._number(at, TEXTS[first])
        else:
            size, start = _end(bytes(self._body[at : at + MOST_BYTES])) or 0, at
        end = start + size
        if (end == at or end > len(self._body)) and first not in EXTS:
            raise msgpack.OutOfData
        return msgpack.unpackb(self._body[at : max(end, at + 1)], **OPTIONS), end

    def _number(self, at: int, form: str) -> tuple[int, int]:
        """The number behind the first byte of a value, and where it ends."""
        start = at + 1 + struct.calcsize(form)
        if start > len(self._body):
            raise msgpack.OutOfData
        return struct.unpack_from(form, self._body, at + 1)[0], start


def _end(piece: bytes) -> int | None:
    """Where the first value of a piece ends; None where that is beyond it."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(piece))
    unpacker.feed(piece)
    try:
        unpacker.skip()
    except (msgpack.FormatError, msgpack.StackError):
        raise
    except (msgpack.OutOfData, ValueError):  # it has more items than the piece has bytes
        return None
    return int(unpacker.tell())


def _refuse_key(key: Any) -> NoReturn:
    raise ValueError(f"{type_name(key)} is not allowed for map key when strict_map_key=True")
