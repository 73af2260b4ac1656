"""Whether a scaffold works elsewhere: a worker is started where nothing of the owner's own is importable."""

import contextlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import ModelError
from .runtime import load


def check(directory: Path, path: Sequence[str], example: Any) -> None:
    """Load the model of a scaffold in a clean process, and let it predict.

    Args:
        directory: the scaffold.
        path: the directories that the worker may import from, beside the scaffold and the standard library.
        example: rows to predict for; None where none are known.

    Raises:
        ModelError: it does not load or predict there; the message says what is missing.
    """
    source = directory / "src"
    config = load(source, "config").Config.read(directory / "config.yaml")
    with tempfile.TemporaryFile() as log:
        try:
            with contextlib.closing(
                load(source, "link.client").Client(config, path=path, log=log)
            ) as client:
                status = _predict(client, source, example)
        except load(source, "errors").LoadError as error:
            raise ModelError(f"the scaffold would not load elsewhere: {error}") from error
        if status != 200:
            raise ModelError(f"the scaffold would not predict elsewhere: {_last_error(log)}")


def _predict(client: Any, source: Path, example: Any) -> int:
    if example is None:
        return 200
    body = load(source, "bodies").json_encode({"instances": example})
    status, _ = client.request(load(source, "link.frames").Kind.JSON, body)
    return int(status)


def _last_error(log: IO[bytes]) -> str:
    """The last line of the worker's log that tells of an error."""
    log.seek(0)
    lines = [
        line
        for line in log.read().decode(errors="replace").splitlines()
        if '"level": "ERROR"' in line
    ]
    return str(json.loads(lines[-1])["message"]) if lines else "the worker's log does not say why"
