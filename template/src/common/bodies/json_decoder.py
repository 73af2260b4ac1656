"""Decodes JSON in pieces. What comes out, and what is said of a mistake, is as if decoded at once.

A piece has some of the items of a list or of an object. An item that is larger than a window is
taken apart in the same way, on any level.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import orjson

from . import json_windows as windows
from .density import Codes, Steps, outside_strings, parts
from .json_codec import json_decode
from .places import Beside, Level, Path, Places, Role
from .values import DecodeError

MOST_DEPTH = 1024  # orjson's
NAN = b"NaN"
_SPACE = re.compile(rb"[ \t\n\r]*")
_NUMBER = re.compile(rb"[-+.0-9eE]+")
_BLANK = b" \t\n\r"
_NOWHERE = Places()

Check = Callable[[Path, Any, int, list[Any]], None]


class JsonDecoder:
    """Decodes a body.

    Args:
        body: the JSON.
        places: where its rows are.
        takes_nan: whether NaN, which JSON lacks, is null.
        check: raises an error if some rows are wrong. It gets the path of their list, what was
            decoded of the object around that, how many rows come before, and the rows.

    Attributes:
        batches: lists that hold the rows, too, so that they can be freed in pieces.
    """

    def __init__(
        self,
        body: bytes | memoryview,
        places: Places = _NOWHERE,
        takes_nan: bool = False,
        check: Check | None = None,
    ) -> None:
        self._body = memoryview(body)
        self._beside = Beside(places)
        self._loads = _loads_nan if takes_nan else orjson.loads
        self._check = check
        self._levels: list[Level] = []
        self.batches: list[list[Any]] = []
        self._rows: tuple[Path, int] | None = None

    def value(self) -> Steps[Any]:
        """What `json_decode` returns for the body.

        Raises:
            DecodeError: the body is not JSON, or holds too much beside its rows.
        """
        start = self._skip(0)
        if self._mark(start) not in (b"[", b"{"):
            return json_decode(self._body)
        root = Level([] if self._mark(start) == b"[" else {})
        yield from self._fill(root, start + 1)
        return root.value

    def find_rows(self) -> Steps[tuple[Path, int, Any]]:
        """The path of the first list of rows, or column, that is long; where its items start; and
        what was decoded of the object around it.

        Raises:
            ValueError: there is none.
            DecodeError: what comes before is not JSON, or too much.
        """
        for _ in self.value():
            if self._rows is not None:
                return *self._rows, self._levels[-2].value
            yield
        raise ValueError("there are no rows")

    def _fill(self, root: Level, at: int) -> Steps[None]:
        """Decode what a list or an object holds that opens before a place, to the body's end."""
        levels = self._levels = [root]
        size = windows.WINDOW_BYTES
        while levels:
            level = levels[-1]
            window = bytes(self._body[at : at + size])
            end, is_last, depth = windows.whole_items(window)
            if is_last:
                at = self._close(level, at, window[: end + 1])
            elif end:
                self._add(level, at, window[: end + 1])
                level.follows = True
                at += end + 1
            elif size < windows.MOST_BYTES and len(window) == size:
                size = windows.MOST_BYTES
                continue
            elif depth + len(levels) > MOST_DEPTH:
                self._refuse(at, window)
            else:
                at = yield from self._enter(level, self._skip(at))
            size = windows.MOST_BYTES
            yield

    def _close(self, level: Level, at: int, text: bytes) -> int:
        """End a list or an object, and return where what holds it goes on.

        Args:
            level: the list or the object.
            at: where its last items start.
            text: these, with the bracket behind them.
        """
        if level.follows or text[:-1].strip(_BLANK):
            self._add(level, at, text)
        elif text[-1:] != _brackets(level)[1]:
            self._refuse(at, text)
        self._levels.pop()
        end = self._skip(at + len(text))
        if not self._levels:
            if end < len(self._body):
                self._refuse(end, bytes(self._body[end : end + 1]), b"[]")
            return end
        outer = self._levels[-1]
        if outer.role != Role.DROPPED:
            self._put(outer, level.value)
        return self._go_on(outer, end)

    def _go_on(self, level: Level, at: int) -> int:
        """Where a list or an object goes on after an item."""
        mark = self._mark(at)
        level.follows = mark == b","
        if mark not in (b",", _brackets(level)[1]):
            self._refuse(at, mark, b'""' if isinstance(level.value, list) else b'"":""')
        return at + level.follows

    def _add(self, level: Level, at: int, text: bytes) -> None:
        """Add items to a list or an object.

        Args:
            level: the list or the object.
            at: where they start.
            text: the items, with the comma or the bracket behind them.
        """
        depth = len(self._levels) - 1  # as deep as in the body, whose depth has a limit
        opens, closes = _brackets(level)
        try:
            items = self._loads(b"".join([b"[" * depth, opens, text[:-1], closes, b"]" * depth]))
        except orjson.JSONDecodeError:
            self._refuse(at, text)
        for _ in range(depth):
            [items] = items
        if text[-1:] not in (b",", closes) or not items:
            self._refuse(at, text)
        self._keep(level, items)

    def _keep(self, level: Level, items: Any) -> None:
        """Count decoded items, and keep them."""
        self._beside.add(level, items)
        if level.role == Role.DROPPED:
            return
        if isinstance(items, dict):
            level.value.update(items)
            return
        if level.role == Role.ROWS:
            if self._check is not None and len(self._levels) > 1:
                self._check(level.path, self._levels[-2].value, len(level.value), items)
            self.batches.append(items)
        level.value += items

    def _put(self, level: Level, value: Any) -> None:
        if isinstance(level.value, dict):
            level.value[level.key] = value
        else:
            level.value.append(value)

    def _enter(self, level: Level, at: int) -> Steps[int]:
        """Open the list or the object that starts at a place, or decode another large value."""
        if isinstance(level.value, dict):
            at = yield from self._read_key(level, at)
        mark = self._mark(at)
        before = b'"":' if isinstance(level.value, dict) else b""
        if mark not in (b"[", b"{"):
            self._check_number(at)
            end = yield from self._end_of(at, b",]}", before)
            try:
                value = self._loads(self._body[at:end])
            except orjson.JSONDecodeError:
                self._refuse(at, bytes(self._body[at : end + 1]), before)
            self._keep(level, {level.key: value} if isinstance(level.value, dict) else [value])
            return self._go_on(level, end)
        if len(self._levels) == MOST_DEPTH:
            self._refuse(at, mark, before)
        below = self._beside.below(level, [] if mark == b"[" else {})
        self._levels.append(below)
        if below.role in (Role.ROWS, Role.COLUMN) and self._rows is None:
            self._rows = below.path, at + 1
        return at + 1

    def _check_number(self, at: int) -> None:
        """Refuse a number that takes long to read."""
        found = _NUMBER.match(self._body, at)
        if found and found.end() - at > windows.MOST_BYTES:
            raise DecodeError(f"the body has a number of {found.end() - at} characters")

    def _read_key(self, level: Level, at: int) -> Steps[int]:
        """Decode a key of an object, and return where its value starts."""
        if self._mark(at) != b'"':
            self._refuse(at, self._mark(at))
        end = yield from self._end_of(at, b'"')
        try:
            level.key = orjson.loads(self._body[at : end + 1])
        except orjson.JSONDecodeError:
            self._refuse(at, bytes(self._body[at : end + 1]))
        at = self._skip(end + 1)
        if self._mark(at) != b":":
            self._refuse(at, self._mark(at), b'""')
        return self._skip(at + 1)

    def _end_of(self, at: int, marks: bytes, before: bytes = b"") -> Steps[int]:
        """Where a value ends that is no list or object, by what follows it; or a string."""
        for start, codes in outside_strings(self._body, at):
            found = np.flatnonzero(_is_one_of(codes, marks))
            if found.size:
                return start + int(found[0])
            yield
        self._refuse(at, bytes(self._body[at:]), before)

    def _skip(self, at: int) -> int:
        """The place of what is no space, from another one on."""
        found = _SPACE.match(self._body, at)
        return found.end() if found else at

    def _mark(self, at: int) -> bytes:
        """The byte at a place; none at the end of the body."""
        return bytes(self._body[at : at + 1])

    def _refuse(self, at: int, text: bytes, before: bytes = b"") -> NoReturn:
        """Say what is wrong in a text, as orjson does of the whole body.

        Args:
            at: where the text starts.
            text: holds the mistake, or ends where the body ends too early.
            before: what stands for the part of the item that comes before it.
        """
        head = b"".join([*map(_outer, self._levels[:-1]), *map(_inner, self._levels[-1:]), before])
        try:
            self._loads(head + text)
        except orjson.JSONDecodeError as error:
            said = _place(self._body[:at], error, len(head))
            raise DecodeError(f"the body is not JSON: {error.msg}: {said}") from None
        raise DecodeError("the body is not JSON")


def _brackets(level: Level) -> tuple[bytes, bytes]:
    return (b"[", b"]") if isinstance(level.value, list) else (b"{", b"}")


def _outer(level: Level) -> bytes:
    """What stands for a list or an object up to the one in it."""
    return b"[" if isinstance(level.value, list) else b'{"":'


def _inner(level: Level) -> bytes:
    """What stands for the innermost list or object up to its next item."""
    if isinstance(level.value, list):
        return b'["",' if level.follows else b"["
    return b'{"":"",' if level.follows else b"{"


def _is_one_of(codes: Codes, marks: bytes) -> Any:
    return np.logical_or.reduce([codes == mark for mark in marks])


def _place(before: memoryview, error: orjson.JSONDecodeError, head: int) -> str:
    """Where a mistake is in a body, as orjson says it.

    Args:
        before: the body up to the text that has the mistake.
        error: what orjson says of the text, behind a head.
        head: the size of that.
    """
    chars = lines = column = 0
    for part in parts(before):
        chars += _chars(part)
        breaks = np.flatnonzero(part == ord("\n"))
        lines += breaks.size
        column = _chars(part[breaks[-1] + 1 :]) if breaks.size else column + _chars(part)
    if not error.pos:  # it is of no place, but of the whole
        return "line 1 column 1 (char 0)"
    if error.lineno > 1:
        column = error.colno
    else:
        column += error.colno - head
    return f"line {lines + error.lineno} column {column} (char {chars + error.pos - head})"


def _chars(text: Codes) -> int:
    """How many characters UTF-8 has."""
    return int(np.count_nonzero(text & 0xC0 != 0x80))


def _loads_nan(text: bytes | memoryview) -> Any:
    """Decode JSON in which NaN is null."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if NAN not in bytes(text):
            raise
    return orjson.loads(without_nan(text))


def without_nan(text: bytes | memoryview) -> bytes:
    """JSON with null for each NaN that is not in a string."""
    codes = np.concatenate([codes for _, codes in outside_strings(text)])
    found = (codes[:-2] == NAN[0]) & (codes[1:-1] == NAN[1]) & (codes[2:] == NAN[2])
    kept, start = [], 0
    for at in map(int, np.flatnonzero(found)):
        kept.append(bytes(text[start:at]))
        start = at + len(NAN)
    return b"null".join([*kept, bytes(text[start:])])
