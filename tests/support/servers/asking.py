"""Asks a server as people do: with `generator.client`, and on its page in a browser."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import generator
from generator import ServingError
from generator.clients.binary import LARGE_BYTES
from generator.rows.body import body_rows
from generator.scaffold import Scaffold
from support.packages.environments import BROWSER, PROGRAMS, run

UsePage = Callable[..., list[Any]]
"""Does steps on the page of the server at a URL, and gives what they return."""


def page_user(python: Path) -> UsePage:
    """Uses pages with an interpreter of an environment that has Playwright."""

    def use(url: str, *steps: list[Any], **view: Any) -> list[Any]:
        given = json.dumps({"view": view, "steps": steps})
        printed = run(python, PROGRAMS / "model_page.py", BROWSER, f"{url}/", given=given)
        answers: list[Any] = json.loads(printed)
        return answers

    return use


def check_client(scaffold: Scaffold, url: str, given: Any) -> None:
    """Check that a client's response, or its error, is the scaffold's own."""
    with generator.client(url) as client:
        try:
            expected = scaffold.predict(given)
        except ServingError as error:
            with pytest.raises(ServingError, match="answered 400: ") as refused:
                client.predict(given)
            assert str(refused.value).partition(": ")[2] == str(error).partition(": ")[2]
            return
        for _ in range(2):  # the second time, the client knows the server
            assert json.dumps(client.predict(given)) == json.dumps(expected)


def forms(sample: Any) -> Iterator[Any]:
    """A sample in each form that somebody may send it in."""
    yield sample
    yield body_rows(sample)
    yield {"instances": body_rows(sample)}
    if isinstance(sample, np.ndarray):
        yield np.resize(sample, (1 + LARGE_BYTES // sample[:1].nbytes, *sample.shape[1:]))
    if isinstance(sample, np.ndarray) and sample.ndim == 2:
        yield pd.DataFrame(sample)
    if isinstance(sample, pd.DataFrame):
        yield {"instances": pl.from_pandas(sample)}
    if isinstance(sample, list) and isinstance(sample[0], bytes):
        yield sample * (1 + LARGE_BYTES // len(sample[0]))
