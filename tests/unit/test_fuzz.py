"""Whatever the owner's session raises becomes one sentence, where the owner's code is called."""

import contextlib
import random
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest

from generator import ModelError, ScaffoldError
from generator.rows.as_json import as_json, holds_infinity
from generator.rows.body import request_of
from generator.running.comparison import compare
from generator.running.verification import check_expected, response
from generator.writing.prepare import prepare, recognised
from support.models import odd

SEED = 17
FRAMEWORKS = (None, None, "custom", "custom", "custom", "sklearn")
Outcome = str


def answered(body: bytes) -> tuple[int, bytes]:
    return 200, b'{"predictions": []}'


def made(choice: random.Random, place: Path) -> None:
    """All that making a scaffold does with the owner's objects, but for the worker."""
    model, sample = odd.model(choice), odd.sample(choice)
    definition, model = recognised(model, choice.choice(FRAMEWORKS))
    prepared = prepare(definition, model, sample)
    with prepared.named():
        prepared.serialized(place)
    if sample is not None:
        expected = definition.expected(model, sample)
        check_expected(expected)
        holds_infinity(expected)
        compare(expected, as_json(expected, "predictions"))
        with contextlib.suppress(ModelError):
            compare(expected, as_json(odd.value(choice), "another's"))


def asked(choice: random.Random, place: Path) -> None:
    response(answered, request_of(odd.value(choice)))


def outcome(step: Any, seed: int) -> Outcome:
    """What a step comes to: "made", or the class of the generator's error."""
    choice = random.Random(seed)
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            step(choice, Path(place))
        except ScaffoldError as error:
            with contextlib.suppress(UnicodeEncodeError):
                str(error).encode()
            assert "\n" not in str(error) and str(error), seed
            return type(error).__name__
        return "made"


def raw(count: int) -> list[tuple[int, str, str]]:
    """What escaped raw, of `count` models with samples and requests."""
    escaped = []
    for seed in range(SEED * 1_000_000, SEED * 1_000_000 + count):
        for step in (made, asked):
            try:
                outcome(step, seed)
            except BaseException as error:
                escaped.append((seed, step.__name__, f"{type(error).__name__}: {error!r:.200}"))
    return escaped


def test_nothing_of_the_owners_session_escapes_raw() -> None:
    assert raw(40) == []


@pytest.mark.sweep
def test_nothing_of_thousands_of_odd_sessions_escapes_raw() -> None:
    assert raw(1_000) == []
