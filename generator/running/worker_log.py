"""The log of a worker that the generator has started: it is shown, and read for reasons."""

import json
import os
import sys
import tempfile
from typing import IO, Any

CHUNK = 1 << 20  # bytes
MOST_CHARACTERS = 800  # of a reason


class WorkerLog:
    """A file that a worker writes its log to. Close it after the worker's end.

    Args:
        shown: whether what comes is also written to this process's standard error.
    """

    def __init__(self, shown: bool = True) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._shown = shown
        self._read = 0

    def news(self) -> list[str]:
        """The lines that have come since the last call."""
        # The worker has the same position in the file: reading must not move it.
        text = b""
        while chunk := os.pread(self.file.fileno(), CHUNK, self._read):
            self._read += len(chunk)
            text += chunk
        decoded = text.decode(errors="replace")
        if self._shown and decoded:
            sys.stderr.write(decoded)
        return decoded.splitlines()

    def close(self) -> None:
        """Show the rest, and remove the file."""
        if not self.file.closed:
            self.news()
            self.file.close()


def reason(lines: list[str]) -> str | None:
    """Why a request failed, by the last error in a log; None where the log does not say it."""
    records = (_record(line) for line in reversed(lines))
    failed = (record for record in records if "request_id" in record and "exception" in record)
    record = next(failed, None)
    if record is None:
        return None
    phase = str(record.get("message")).partition(":")[0]  # "predict failed: ValueError(...)"
    return f"{phase}: {_last_error(str(record['exception']))}"


def last_words(lines: list[str]) -> str:
    """What a process wrote last, in words of its own, as `: ...`; nothing if there is no such line.

    Python writes like this if it cannot start, or dies.
    """
    own = [line.strip() for line in lines if line.strip() and not _record(line)]
    if not own:
        return ""
    return f": {own[-1][:MOST_CHARACTERS]}"


def _record(line: str) -> dict[str, Any]:
    """What the log has in a line; nothing if the line is not of the log."""
    try:
        record = json.loads(line)
    except ValueError:
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
