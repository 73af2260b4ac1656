"""Edits of files as a page shows them: diffs without line numbers."""

import re
from pathlib import Path

from support.documentation.commands import Failure

HEAD = re.compile(r"--- (.+)\n\+\+\+ \1\n@@.*\n")


def apply(diff: str, directory: Path) -> None:
    """Apply a diff of one file of the directory.

    Its first lines are `--- FILE`, `+++ FILE` and `@@`. Further lines `@@` begin further places.

    Raises:
        Failure: the file does not hold the old lines of a place exactly once.
    """
    head = HEAD.match(diff)
    if head is None:
        raise Failure("a diff begins with the lines '--- FILE', '+++ FILE' and '@@'")
    path = directory / head[1]
    text = path.read_text()
    for place in re.split(r"(?m)^@@.*\n", diff[head.end() :]):
        old, new = (_side(place, sign) for sign in "-+")
        if text.count(old) != 1:
            raise Failure(f"{head[1]} holds these lines {text.count(old)} times, not once:\n{old}")
        text = text.replace(old, new)
    path.write_text(text)


def _side(place: str, sign: str) -> str:
    lines = place.splitlines(keepends=True)
    return "".join(line[1:] or line for line in lines if line[0] in f" \n{sign}")
