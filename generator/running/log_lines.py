"""The lines of a scaffold's log: read for reasons, and written for a terminal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

MOST_CHARACTERS = 800  # of a reason


class OwnersTraceback(Exception):
    """The cause of an error: what was raised in the scaffold's worker, with its lines of code."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Failure:
    """Why a request failed.

    Attributes:
        reason: on one line.
        traceback: as Python writes it.
    """

    reason: str
    traceback: str


def failure(lines: Sequence[str]) -> Failure | None:
    """Why a request failed, by the last error in a log; None where the log does not say it."""
    records = (_record(line) for line in reversed(lines))
    failed = (record for record in records if "request_id" in record and "exception" in record)
    record = next(failed, None)
    if record is None:
        return None
    phase = str(record.get("message")).partition(":")[0]  # "predict failed: ValueError(...)"
    traceback = str(record["exception"])
    return Failure(f"{phase}: {_last_error(traceback)}", traceback)


def owners_traceback(answer: Mapping[str, Any]) -> OwnersTraceback | None:
    """The cause of an error that a worker answered with, if it says that."""
    traceback = answer.get("traceback")
    return None if traceback is None else OwnersTraceback(traceback)


def last_words(lines: Sequence[str]) -> str:
    """What a process wrote last, in words of its own, as `: ...`; nothing if there is no such line.

    Python writes like this if it cannot start, or dies.
    """
    own = [line.strip() for line in lines if line.strip() and not _record(line)]
    if not own:
        return ""
    return f": {own[-1][:MOST_CHARACTERS]}"


def show(text: str, output: TextIO) -> None:
    """Write lines of the log: as they are, or, to a terminal, as somebody reads them."""
    if _is_terminal(output):
        text = "\n".join(map(_readable, text.split("\n")))
    output.write(text)


def _is_terminal(output: TextIO) -> bool:
    """Whether somebody reads it there. What a notebook or a program puts in place may not say."""
    isatty = getattr(output, "isatty", None)
    return isatty is not None and bool(isatty())


def _readable(line: str) -> str:
    """A line of the log as text of several lines, with the traceback if it has one."""
    record = _record(line)
    if not {"level", "message"} <= record.keys():
        return line
    request = f", request id {record['request_id']}" if "request_id" in record else ""
    text = f"{record['level']}{request}: {record['message']}"
    if "exception" in record:
        text += f"\n{record['exception']}"
    return "".join(map(_harmless, text))


def _harmless(character: str) -> str:
    """A character of the text. A request may hold one that a terminal would obey."""
    if character in "\n\t" or character.isprintable():
        return character
    return ascii(character)[1:-1]


def _record(line: str) -> dict[str, Any]:
    """What the log has in a line; nothing if the line is not of the log."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    return record


def _last_error(traceback: str) -> str:
    """The error at the end of a traceback, on one line."""
    lines = traceback.splitlines()
    frames = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    rest = lines[max(frames, default=-1) + 1 :]
    said = [index for index, line in enumerate(rest) if line and not line.startswith(" ")]
    text = " ".join(" ".join(rest[min(said, default=0) :]).split())
    return text[:MOST_CHARACTERS]
