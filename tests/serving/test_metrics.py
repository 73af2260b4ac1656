"""`/metrics` shows what prometheus_client's own metrics would show, line by line."""

import json
import os
import re
import subprocess

import pytest

from generator.environment.venvs import server_python
from support.servers.running import LOCKS, TEMPLATE
from support.session.cases import first

OURS = re.compile(r"(# (HELP|TYPE|UNIT) )?(scaffold_|request_(preprocess|predict|postprocess)_)")


def shown(server: str, **environ: str) -> list[list[list[str]]]:
    """The lines of both formats, each as they are and as they must be, without the times."""
    path = os.pathsep.join([str(TEMPLATE / "src"), str(TEMPLATE.parent / "tests")])
    done = subprocess.run(
        [str(server_python(LOCKS[server])), "-m", "support.programs.metrics_reference"],
        env={**os.environ, "PYTHONPATH": path, **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [[lines(text) for text in texts] for texts in json.loads(done.stdout)]


def lines(text: str) -> list[str]:
    """The lines of our metrics. Those that say when a series began lose the time."""
    found = [line for line in text.splitlines() if OURS.match(line)]
    return [re.sub(r"(_created\S*) .*", r"\1", line) for line in found]


@pytest.mark.parametrize("server", first(1, LOCKS))
def test_the_metrics_are_those_of_prometheus_client(server: str) -> None:
    for ours, expected in shown(server):
        assert ours == expected


@pytest.mark.sweep
@pytest.mark.parametrize(("setting", "created"), [("false", True), ("True", False)])
def test_created_series_can_be_disabled(setting: str, created: bool) -> None:
    for ours, expected in shown("kfserving", PROMETHEUS_DISABLE_CREATED_SERIES=setting):
        assert ours == expected
        assert any("_created" in line for line in ours) == created
