"""What the tests of hooks share: scaffolds that are closed at the end."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import generator
from generator.scaffold import Scaffold


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Scaffold]]:
    """`generator.from_model` into a directory of the test's, with MAKE of its module as defaults.

    The first scaffold is in `made`. A second argument is the sample.
    """
    defaults = getattr(request.module, "MAKE", {})
    with contextlib.ExitStack() as stack:
        count = 0

        def made(model: Any, *sample: Any, **settings: Any) -> Scaffold:
            nonlocal count
            count += 1
            directory = tmp_path / ("made" if count == 1 else f"made{count}")
            given = {**defaults, **dict(zip(["sample_input"], sample, strict=False)), **settings}
            scaffold = generator.from_model(model, directory, **given)
            return stack.enter_context(contextlib.closing(scaffold))

        yield made
