"""What the processes of a test run make once and share.

`pytest -n 3` starts three processes. Each has session fixtures of its own: what is slow to make is
shared through a directory of the run.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from filelock import FileLock

RUN = "SCAFFOLD_TEST_RUN"  # in the environment: the name of this run


def name_the_run() -> None:
    """Name this run, for the processes that pytest-xdist starts as well."""
    os.environ.setdefault(RUN, token_hex(8))


def run_name() -> str:
    return os.environ[RUN]


def is_worker() -> bool:
    """Whether pytest-xdist has started this process."""
    return "PYTEST_XDIST_WORKER" in os.environ


@dataclass(frozen=True)
class Shared:
    """Directories of a run.

    Attributes:
        root: the directory that holds them.
    """

    root: Path

    @classmethod
    def of_this_run(cls, factory: pytest.TempPathFactory) -> "Shared":
        """Source: https://pytest-xdist.readthedocs.io/en/stable/how-to.html, session fixtures."""
        base = factory.getbasetemp()
        return cls(base.parent if is_worker() else base)

    def directory(self, name: str, fill: Callable[[Path], Any]) -> Path:
        """A directory, filled by the process that asks for it first; the others wait."""
        path, finished = self.root / name, self.root / f"{name}.finished"
        with FileLock(self.root / f"{name}.lock"):
            if not finished.exists():
                shutil.rmtree(path, ignore_errors=True)  # another process has failed here
                path.mkdir()
                fill(path)
                finished.touch()
        return path
