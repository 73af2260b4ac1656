"""The examples on the pages that a beginner follows, run from top to bottom.

`support/documentation/pages.py` says how. A page that takes longer than 15 seconds is in the sweep.
"""

from pathlib import Path

import pytest

from support.documentation.pages import has_docker, run_page
from support.rendering.checkouts import ROOT
from support.servers.containers import Engine

QUICK = [
    "README.md",
    "docs/install.md",
]
LONG = ["docs/index.md", "docs/requests.md"] + [
    f"docs/tutorials/{path.name}"
    for path in sorted((ROOT / "docs" / "tutorials").glob("*.md"))
    if f"docs/tutorials/{path.name}" not in QUICK
]
WITH_DOCKER = [page for page in [*QUICK, *LONG] if has_docker(ROOT / page)]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An empty directory."""
    made = tmp_path / "page"
    made.mkdir()
    return made


@pytest.mark.parametrize("page", QUICK)
def test_a_page(page: str, directory: Path) -> None:
    run_page(ROOT / page, directory)


@pytest.mark.sweep
@pytest.mark.parametrize("page", LONG)
def test_a_long_page(page: str, directory: Path) -> None:
    run_page(ROOT / page, directory)


@pytest.mark.sweep
@pytest.mark.docker
@pytest.mark.parametrize("page", WITH_DOCKER)
def test_a_page_with_docker(page: str, directory: Path, engine: Engine) -> None:
    run_page(ROOT / page, directory, engine.environ)
