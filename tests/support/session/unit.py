"""The rule of `make unit`: its tests start no server, render nothing and need no Docker."""

import sys
from typing import Any

import pytest

from generator.environment import venvs


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that renders, or that needs an environment for a server or a model."""

    def refuse(kind: str, *_: Any) -> None:
        pytest.fail(f"a unit test needs no {kind}'s environment: move it out of this folder")

    monkeypatch.setitem(sys.modules, "copier", None)
    monkeypatch.setattr(venvs, "cached", refuse)
