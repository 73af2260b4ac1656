"""What a large body holds beside its rows has a limit.

Rows are refused where the model does not take them. What else a body holds, the owner's code may
read, and it might be anything. So a body that is decoded in pieces holds so many lists, objects and
values there, and no more. A second list of rows counts as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from .values import DecodeError

MOST_BESIDE = 1 << 19  # they take 150 MB at most, and a few tenths of a second
ANY = "*"  # any key, in a path of Places

Path = tuple[Any, ...]
"""Keys, and None for any item of a list."""


class Role(Enum):
    """What a list or an object is, and all that it holds."""

    OUTSIDE = auto()  # rows may be in it
    BESIDE = auto()
    ROWS = auto()
    COLUMN = auto()
    DROPPED = auto()


@dataclass(frozen=True)
class Places:
    """Paths in the values of a body.

    Attributes:
        called: what rows are under, for a message.
        rows: to lists of rows.
        columns: to lists of values, one for each row: lists and objects in them count.
        dropped: to what nobody reads. It is decoded, and not kept.
    """

    called: str = "its rows"
    rows: tuple[Path, ...] = ()
    columns: tuple[Path, ...] = ()
    dropped: tuple[Path, ...] = ()

    def role(self, path: Path, is_list: bool) -> Role:
        """What a list or an object at a path is, if all above it is OUTSIDE."""
        if is_list and _is_one_of(path, self.rows):
            return Role.ROWS
        if is_list and _is_one_of(path, self.columns):
            return Role.COLUMN
        if _is_one_of(path, self.dropped):
            return Role.DROPPED
        above = [known[: len(path)] for known in (*self.rows, *self.columns, *self.dropped)]
        return Role.OUTSIDE if _is_one_of(path, above) else Role.BESIDE


@dataclass(slots=True)
class Level:
    """A list or an object that is not at its end yet.

    Attributes:
        value: what was decoded of it.
        path: where it is.
        role: what it is.
        key: the key in it of what is not at its end yet.
        left: how many items are still to come, where that is known.
        step: how many of them to decode next.
        follows: whether an item must follow.
    """

    value: Any
    path: Path = ()
    role: Role = Role.OUTSIDE
    key: Any = None
    left: int = 0
    step: int = 1
    follows: bool = False


class Beside:
    """Counts what a body holds beside its rows.

    Args:
        places: where its rows are.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._count = 0
        self._key: Any = None  # the first key of the body that has rows

    def below(self, level: Level, value: Any) -> Level:
        """The Level of an empty list or object under the key of another one.

        Raises:
            TooMuch: there are too many.
        """
        path = (*level.path, level.key)
        role = level.role
        if role == Role.OUTSIDE:
            role = self._role(path, value, level.key is not None and level.key in level.value)
        if role in (Role.ROWS, Role.COLUMN):
            self._key = path[0]
        else:
            self._add(role != Role.DROPPED)
        return Level(value, path, role)

    def add(self, level: Level, items: Any) -> None:
        """Count decoded items of a list, or of an object.

        Raises:
            TooMuch: there are too many.
        """
        if level.role == Role.COLUMN:
            self._add(sum(_size(item) for item in items if type(item) in (list, dict)))
        elif level.role == Role.BESIDE:
            self._add(_size(items) - 1)
        elif level.role == Role.OUTSIDE:
            self._add(self._beside(level.path, items, level.value) - 1)

    def _role(self, path: Path, value: Any, is_again: bool) -> Role:
        if is_again or self._key not in (None, path[0]):
            return Role.BESIDE
        return self._places.role(path, isinstance(value, list))

    def _beside(self, path: Path, value: Any, before: Any = ()) -> int:
        """How much a decoded value holds beside rows."""
        count = 1
        for key, item in value.items() if isinstance(value, dict) else _keyless(value):
            if type(item) not in (list, dict):
                count += 1
                continue
            below = (*path, key)
            role = self._role(below, item, key is not None and key in before)
            if role == Role.OUTSIDE:
                count += self._beside(below, item)
            elif role == Role.BESIDE:
                count += _size(item)
        return count

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > MOST_BESIDE:
            raise TooMuch(
                f"the body has more than {MOST_BESIDE} lists, objects and values outside of"
                f" {self._places.called}: send fewer"
            )


class TooMuch(DecodeError):
    """A body holds too much beside its rows."""


def _keyless(items: list[Any]) -> Any:
    return ((None, item) for item in items)


def _size(value: Any) -> int:
    """How many lists, objects and values a value holds, itself included."""
    count = 1
    stack = [value]
    while stack:
        found = stack.pop()
        items = found.values() if type(found) is dict else found
        count += len(found)
        stack += [item for item in items if type(item) in (list, dict)]
    return count


def _is_one_of(path: Path, paths: Any) -> bool:
    return any(len(path) == len(known) and all(map(_is_part, path, known)) for known in paths)


def _is_part(part: Any, known: Any) -> bool:
    return known in (part, ANY)
