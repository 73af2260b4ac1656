"""Ends a group of processes when the process that started it has ended, however that ended.

    python guardian.py FD             waits for that
    python guardian.py FD COMMAND...  starts one that waits, and becomes the command

FD is the reading end of a `Lifeline`. The process that started the group holds the other end, and
the kernel closes it when that process ends.

A thread of the group could not do this: it waits while C code keeps the interpreter's lock. And a
signal of the kernel (PR_SET_PDEATHSIG) would end one process of the group only. This file imports
little: each worker has a guardian.
"""

import os
import signal
import sys
import time

END_SECONDS = 1.0  # for the group to end by itself


def start(lifeline: int, *others: int) -> None:
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
            _become(lifeline, others)
    finally:
        os._exit(1)


def _become(lifeline: int, others: tuple[int, ...]) -> None:
    # What is meant for the group is not meant for its guardian.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Their other ends wait until nobody holds them.
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    for descriptor in others:
        os.close(descriptor)
    os.set_inheritable(lifeline, True)
    os.execv(sys.executable, [sys.executable, "-I", "-S", os.path.abspath(__file__), str(lifeline)])


def watch(lifeline: int) -> None:
    """Wait until the other end is closed, then end the group."""
    os.chdir("/")
    os.read(lifeline, 1)
    time.sleep(END_SECONDS)
    os.kill(0, signal.SIGKILL)  # the group, and so this process


if __name__ == "__main__":
    descriptor, command = int(sys.argv[1]), sys.argv[2:]
    if not command:
        watch(descriptor)
    start(descriptor)
    os.execvp(command[0], command)
