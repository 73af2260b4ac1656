"""A browser, for the tests of pages."""

from pathlib import Path

import pytest

from support.packages.environments import BROWSER, environment


@pytest.fixture(scope="module")
def playwright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of an environment with Playwright, where there is a browser for it."""
    if not BROWSER.exists():
        pytest.skip(f"{BROWSER} is not installed: apt install chromium")
    return environment(tmp_path_factory.mktemp("browser") / "env", "playwright", "requests")
