"""Clients that post at once to one worker get what each of their bodies gets alone, over HTTP."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.fast_path import fast_path
from common.schema import ArrayInput, as_document
from generator.running.comparison import compare
from generator.scaffold import Scaffold
from generator.writing.config_file import write_facts
from support.models.estimators import fitted, instances
from support.models.neighbours import CASES, Case, Served
from support.rendering.checkouts import ROOT
from support.servers.flows import ask
from support.servers.running import copied, serving
from support.servers.stress import stress
from support.session.cases import first

CODE = """
from support.models.neighbours import CASES, Served

class InferenceModel(Served):
    def __init__(self, config):
        super().__init__(None, config.model.input)

    def load(self):
        self.model = CASES[{name!r}].make()
"""
SHORT = first(1, ("3 z-scores", "random numbers"))
MANY = 100_000 // len(CASES) + 8  # for each case: more than 100,000 in all


def wrong(scaffold: Scaffold, place: Path, name: str, count: int) -> list[str]:
    """The answers of a case that differ from those of the same body alone."""
    case = CASES[name]
    directory = copied(scaffold, place / "case", CODE.format(name=name))
    described = as_document(case.described)
    write_facts(directory / "config.yaml", {"input": described, "output": None, "example": None})
    with serving(directory, PYTHONPATH=str(ROOT / "tests")) as running:
        found = stress(running.url, case.bodies(200), count)
        assert running.metric("scaffold_batch_requests_sum") >= count
        return found


@pytest.mark.parametrize("name", SHORT)
def test_clients_that_post_at_once_get_their_own_answers(
    scaffold: Scaffold, tmp_path: Path, name: str
) -> None:
    assert wrong(scaffold, tmp_path, name, 2000) == []


@pytest.mark.sweep
@pytest.mark.parametrize("name", CASES)
def test_a_hundred_thousand_answers_are_those_of_the_bodies_alone(
    scaffold: Scaffold, tmp_path: Path, name: str
) -> None:
    assert wrong(scaffold, tmp_path, name, MANY) == []


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_every_estimator_answers_as_alone() -> None:
    """Labels are equal to the last bit, and numbers to the noise that the trial measures."""
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.utils import all_estimators

    asked = 0
    for name, estimator in all_estimators():
        if hasattr(estimator, "predict"):
            model, rows = fitted(instances(estimator)[0])
            asked += _agree(name, model, rows)
    assert asked >= 100_000


def _agree(name: str, model: Any, rows: Any) -> int:
    """Hold answers to requests that came together against those alone; how many there were."""
    described = None
    if getattr(getattr(rows, "dtype", None), "kind", "O") in "fiu":
        described = ArrayInput(tuple(rows.shape[1:]), rows.dtype.name)
    listed = np.asarray(rows).tolist()
    served = Served(fast_path(model), described)
    found = served.flow().try_rows({"instances": listed[:8]})
    assert found is not None, name
    shared, alone = served.flow(found.reason is None), served.flow(limit=1)
    bodies = Case(lambda: model, described, listed).bodies(1200)
    expected = [ask(None, body, flow=alone)[0][1]["predictions"] for body in bodies]
    for start in range(0, len(bodies), 8):
        answers = ask(None, *bodies[start : start + 8], flow=shared)
        for wanted, (_, answer) in zip(expected[start:], answers, strict=False):
            assert compare(wanted, answer["predictions"], 1e-9), name
    return len(bodies)
