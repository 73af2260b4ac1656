"""What the tests of rendering share."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def plain(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same files without git, which renders faster: for what does not look at versions."""
    ignored = shutil.ignore_patterns(".git")
    return shutil.copytree(
        repository, tmp_path_factory.mktemp("plain") / "scaffold", ignore=ignored, symlinks=True
    )
