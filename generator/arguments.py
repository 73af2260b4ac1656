"""What a message calls an argument: its name in Python, or the option of the command line."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

UNNAMED = object()
"""Stands for no value."""


class Placeholder(str):
    """Stands for a value that the reader chooses."""

    def __repr__(self) -> str:
        return str(self)


NAME = Placeholder("NAME")

Spelling = Callable[[str, Any], str]
"""Takes an argument's name in Python and its value, or UNNAMED; returns what its user writes."""


def in_python(name: str, value: Any) -> str:
    """The name, or as in `overwrite=True`."""
    return name if value is UNNAMED else f"{name}={value!r}"


_spelling: ContextVar[Spelling] = ContextVar("spelling", default=in_python)


def argument(name: str, value: Any = UNNAMED) -> str:
    """An argument of the API, for a message: as whoever called the generator writes it.

    Args:
        name: its name in Python.
        value: the value that it is to be given, if the message says that.
    """
    return _spelling.get()(name, value)


@contextlib.contextmanager
def spelled(spelling: Spelling) -> Iterator[None]:
    """Write the arguments in the messages of the block in another way."""
    before = _spelling.set(spelling)
    try:
        yield
    finally:
        _spelling.reset(before)
