"""Checks that a scaffold works elsewhere: its worker runs without the owner's own modules."""

import contextlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import ModelError, ServingError
from .runtime import Runtime, json_encode


def check(directory: Path, path: Sequence[str], example: Any) -> None:
    """Load the model of a scaffold in a clean process, and predict with it there.

    Args:
        directory: the scaffold.
        path: the directories that the worker may import from, besides the scaffold and the standard
            library.
        example: rows to predict for; None where none are known.

    Raises:
        ModelError: it does not load or predict there; the message says what is missing.
    """
    with tempfile.TemporaryFile() as log:
        try:
            status = _predict(Runtime(directory), path, log, example)
        except ServingError as error:
            raise ModelError(f"the scaffold would not load elsewhere: {error}") from error
        if status != 200:
            raise ModelError(f"the scaffold would not predict elsewhere: {_last_error(log)}")


def _predict(runtime: Runtime, path: Sequence[str], log: IO[bytes], example: Any) -> int:
    """The status of the answer; 200 if there is no example to predict for."""
    with contextlib.closing(runtime.worker(runtime.config(), path=path, log=log)) as worker:
        if example is None:
            return 200
        return worker.ask(json_encode({"instances": example}))[0]


def _last_error(log: IO[bytes]) -> str:
    """The last error in the worker's log."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    errors = [line for line in lines if '"level": "ERROR"' in line]
    if not errors:
        return "the worker's log does not say why"
    error = json.loads(errors[-1])
    return _exception(error.get("exception", "")) or str(error["message"])


def _exception(traceback: str) -> str:
    """The exception below the frames of a traceback, on one line: its repr may lack a file."""
    lines = traceback.splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith("  ")]
    return " ".join(lines[max(frames, default=-1) + 1 :])
