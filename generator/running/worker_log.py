"""The log of a worker that the generator has started: it is shown, and read."""

import os
import sys
import tempfile
from typing import IO

from .log_lines import show

CHUNK = 1 << 20  # bytes


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
            show(decoded, sys.stderr)
        return decoded.split("\n")

    def close(self) -> None:
        """Show the rest, and remove the file."""
        if not self.file.closed:
            self.news()
            self.file.close()
