"""Keeps a scaffold's worker in this environment running from one request to the next."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import layout
from .runtime import Runtime, Worker


class LocalWorker:
    """Answers requests with the scaffold's files as they are now.

    A worker starts at the first request, and again after a file has changed.

    Args:
        directory: the scaffold's.
        path: the only directories to import from, besides the scaffold and the standard library;
            by default what this interpreter finds.
        python: the interpreter to run in; by default this one.
        shown: whether its log goes to this process's standard error.
    """

    def __init__(
        self,
        directory: Path,
        path: Sequence[str] | None = None,
        python: str | None = None,
        shown: bool = True,
    ) -> None:
        self.directory = directory
        self._path = path
        self._python = python
        self._shown = shown
        self._worker: Worker | None = None
        self._stamp: float | None = None

    def ask(self, body: bytes, fields: Sequence[tuple[bytes, bytes]] = ()) -> tuple[int, bytes]:
        """Send a JSON body through the whole flow. Returns the status and the body of the answer.

        Args:
            body: the body.
            fields: the header fields that hooks may read, with names in lower case.

        Raises:
            ServingError: the model cannot be loaded, or the worker died.
            ScaffoldError: the scaffold is from an older template, or its `config.yaml` is broken.
        """
        beside = Runtime(self.directory).beside(fields) if fields else b""
        return self.started().ask(body, beside)

    def try_rows(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Try whether the rows of a request are independent: see `runtime.Worker.try_rows`."""
        return self.started().try_rows(request)

    def close(self) -> None:
        """End the worker; the next request starts another."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def started(self) -> Worker:
        """The process, which has loaded the model.

        Raises:
            ServingError: the model cannot be loaded.
            ScaffoldError: the scaffold is from an older template, or its `config.yaml` is broken.
        """
        stamp = self._last_change()
        if self._worker is not None and (self._worker.closed or stamp != self._stamp):
            self.close()
        if self._worker is None:
            runtime = Runtime(self.directory)
            self._worker = runtime.worker(
                runtime.config(), path=self._path, python=self._python, shown=self._shown
            )
            self._stamp = stamp
        return self._worker

    def _last_change(self) -> float:
        """When a file that a worker reads was last changed, in seconds since 1970."""
        source = [path for path in (self.directory / layout.SOURCE).rglob("*") if _is_read(path)]
        files = [self.directory / layout.CONFIG, *source]
        return max((path.stat().st_mtime for path in files if path.is_file()), default=0)


def _is_read(path: Path) -> bool:
    return path.suffix != ".pyc"
