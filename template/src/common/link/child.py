"""A worker's process as the process that started it sees it: it ends with all that it started."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

from .lifeline import Lifeline, keep_from_forks


class Child:
    """A process that leads a group of processes, and is connected by a socket.

    Its guardian (guardian.py) ends the group where this process ends without doing so.

    Args:
        command: the command, which is given two descriptors more: of its end of a socket pair, and
            of the reading end of its lifeline.
        buffer_bytes: how much each end of the socket pair keeps.
        options: as `subprocess.Popen` takes them.

    Attributes:
        connection: this process's end of the socket pair.
        gpu: the GPU that it alone sees, where it was given one.

    Raises:
        OSError: the command cannot be run.
    """

    def __init__(self, command: Sequence[str], buffer_bytes: int, **options: Any) -> None:
        self.gpu: str | None = None
        self._parent = os.getpid()
        self._killed = False
        self.connection, theirs = socket.socketpair()
        keep_from_forks(self.connection)
        self._lifeline = Lifeline()
        try:
            for end in (self.connection, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
            descriptors = (theirs.fileno(), self._lifeline.reading)
            self._process = subprocess.Popen(
                [*command, *map(str, descriptors)],
                pass_fds=descriptors,
                start_new_session=True,  # Ctrl-C in a terminal interrupts the server only
                **options,
            )
        except OSError:
            self.connection.close()
            self._lifeline.close()
            raise
        finally:
            theirs.close()
            os.close(self._lifeline.reading)
        self.pid = self._process.pid
        _children.add(self)

    @property
    def is_waited_for(self) -> bool:
        """Whether nobody has read its exit status yet."""
        return self._process.returncode is None

    @property
    def stopped(self) -> bool:
        """Whether somebody has stopped it, as SIGSTOP does, and it does not go on yet."""
        if not hasattr(os, "waitid") or not self.is_waited_for:  # macOS, before Python 3.13
            return False
        asked = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.pid, asked) is not None
        return False

    @property
    def ended(self) -> bool:
        """Whether it has ended; what it started ends then."""
        if self._process.poll() is None:
            return False
        self.kill()
        return True

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it ends, and return its exit status. What it started ends then.

        Raises:
            subprocess.TimeoutExpired: it did not end in time.
        """
        status = self._process.wait(timeout)
        self.kill()
        return status

    def kill(self) -> None:
        """Kill it and what it started."""
        # Once: when all have ended, another group may get the number. And not in a process that
        # was forked from the one whose child it is.
        if self._killed or os.getpid() != self._parent:
            return
        self._killed = True
        # macOS does not permit it where only processes are left that have ended.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._lifeline.close()


_children: "WeakSet[Child]" = WeakSet()


def reap_orphans() -> None:
    """Collect what has ended and was left to this process, as to the first one of a container.

    This process's own children are in its session, or are a `Child`, and are waited for elsewhere.
    """
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            own = any(child.pid == found.si_pid and child.is_waited_for for child in _children)
            if own or os.getsid(found.si_pid) == os.getsid(0):
                return
            os.waitpid(found.si_pid, 0)
