"""What a process holds so that a group of processes ends with it: guardian.py watches it."""

import os
from typing import Protocol
from weakref import WeakSet, finalize


class Closable(Protocol):
    """What can be closed."""

    def close(self) -> None: ...


_own: "WeakSet[Closable]" = WeakSet()


def keep_from_forks(thing: Closable) -> None:
    """Close a thing in every process that is forked from this one, whose own it is not."""
    _own.add(thing)


def _close_in_fork() -> None:
    for thing in list(_own):
        thing.close()


os.register_at_fork(after_in_child=_close_in_fork)


class Lifeline:
    """A pipe: what a guardian watches lives until `close`, or until this process ends.

    Attributes:
        reading: the end for the guardian. Close it here once the group is started.
    """

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self._close = finalize(self, os.close, writing)
        keep_from_forks(self)

    def close(self) -> None:
        """End the group if it has not ended."""
        self._close()
