"""The sample that a scaffold keeps in `smoke-test.json`: rows, and what was predicted for them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import layout

MOST_BYTES = 16 * 2**20  # of a file that is read only to be shown


@dataclass(frozen=True)
class KeptSample:
    """A scaffold's sample.

    Attributes:
        rows: as a client sends them.
        predictions: what the scaffold answered.
        unread: why the file was not read; None if it was.
    """

    rows: list[Any] = field(default_factory=list)
    predictions: list[Any] = field(default_factory=list)
    unread: str | None = None

    @classmethod
    def read(cls, directory: Path) -> "KeptSample | None":
        """The sample in a scaffold; None if none was kept."""
        path = directory / layout.SMOKE_TEST
        try:
            if (size := path.stat().st_size) > MOST_BYTES:
                return cls(unread=f"{path.name} holds {size / 2**20:.0f} MiB: not read here")
            recorded = json.loads(path.read_text(encoding="utf-8"))
            rows, predictions = recorded["request"], recorded["response"]["predictions"]
            if isinstance(rows, dict):
                rows = rows["instances"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return cls(unread=f"{path.name} is not a request and its response")
        if not isinstance(rows, list) or not isinstance(predictions, list):
            return cls(unread=f"{path.name} holds no list of rows with their predictions")
        return cls(rows, predictions)
