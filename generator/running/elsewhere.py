"""A program: a module, without the files of this machine that will not be on another.

    python elsewhere.py SETTINGS -m MODULE ARGUMENT...

SETTINGS is JSON: `hidden` are the directories whose files cannot be read, `shown` those whose files
can. The inner one of two counts. Reading a hidden file raises FileNotFoundError, as on another
machine. A file that a library written in C opens is not noticed.

It runs without site-packages: it needs only the standard library.
"""

import errno
import json
import os
import runpy
import sys
from collections.abc import Sequence
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def hide(hidden: Sequence[str], shown: Sequence[str]) -> None:
    """Make the files in the hidden directories unreadable from now on in this process."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not isinstance(arguments[0], (str, bytes)):
            return
        path, flags = os.path.abspath(os.fsdecode(arguments[0])), arguments[2] or 0
        if not flags & WRITING and _is_hidden(path, hidden, shown):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    sys.addaudithook(audit)


def _is_hidden(path: str, hidden: Sequence[str], shown: Sequence[str]) -> bool:
    """Whether a file is in a hidden directory, and not in a cache there."""
    place = _innermost(path, hidden)
    if len(place) <= len(_innermost(path, shown)):
        return False
    inside = path.removeprefix(place)
    return f"{os.sep}." not in inside and "__pycache__" not in inside


def _innermost(path: str, places: Sequence[str]) -> str:
    """The innermost of the directories that a path is in; "" if it is in none."""
    around = (place for place in places if path.startswith(f"{place}{os.sep}"))
    return max(around, key=len, default="")


def main() -> None:
    _, settings, _, module, *arguments = sys.argv
    hide(**json.loads(settings))
    sys.path[0] = os.getcwd()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
