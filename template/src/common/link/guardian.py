"""Ends a group of processes when the process that started it has ended, however that ended.

    python guardian.py FD COMMAND...

runs a command like that. FD is the reading end of a `Lifeline`. The process that started the group
holds the other end, and the kernel closes it when that process ends.

A thread of the group could not do this: it waits while C code keeps the interpreter's lock. And a
signal of the kernel (PR_SET_PDEATHSIG) would end one process of the group only.
"""

import os
import signal
import sys
import time
from typing import Protocol
from weakref import WeakSet, finalize

END_SECONDS = 1.0  # for the group to end by itself


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


def guard(lifeline: int, *others: int) -> None:
    """Start the guardian of this process's group. Call it before anything else starts.

    The guardian is no child of this process: the owner's code may wait for all of its children.

    Args:
        lifeline: the reading end of the pipe.
        others: what else is open beside standard input, output and error.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(lifeline)
        return
    try:
        if not os.fork():
            _watch(lifeline, others)
    finally:
        os._exit(0)


def _watch(lifeline: int, others: tuple[int, ...]) -> None:
    # What is meant for the group is not meant for its guardian.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for descriptor in (0, 1, 2, *others):  # their other ends wait until nobody holds them
        os.close(descriptor)
    os.read(lifeline, 1)
    time.sleep(END_SECONDS)
    os.kill(0, signal.SIGKILL)  # the group, and so this process


if __name__ == "__main__":
    guard(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
