"""A worker's environment: its threads, its memory settings and its warnings."""

import contextlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

import generator
from common.config import Config, Model, Serving
from common.link import launch
from generator.scaffold import Scaffold
from support.servers.running import copied

TEMPLATE = Path(__file__).resolve().parents[3] / "template"
IN_BUILD = re.compile(r'python3? -c "(import common\.worker[^"]*)"')
# The end of loading fails: nobody has written an inference_model.py there.
STARTS = """
from common import Config, InvalidInput, Signature, model_path
from common.errors import LoadError
from common.worker.main import load
try:
    load(Config.from_document({"model_name": "m", "model_metadata": {
        "framework": "custom", "model": {}}}))
except LoadError as error:
    assert "server/inference_model.py" in str(error), error
"""
PREDICT = '"""Predict for every row of `request["instances"]`."""\n'
# Warns twice, and answers how many filters of warnings there are.
WARNS = """
        import warnings

        warnings.warn("of the owner's", UserWarning)
        warnings.warn("of a time to come", DeprecationWarning)
        return {"predictions": [len(warnings.filters)]}
"""


def imported(code: str) -> set[str]:
    """The modules of `common` that code imports."""
    code += "\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    source = TEMPLATE / "src"
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split() if name.startswith("common")}


@pytest.mark.parametrize("file", ["{{ framework }}-server.Dockerfile.jinja", "config.yaml.jinja"])
def test_an_image_has_bytecode_of_what_a_worker_imports(file: str) -> None:
    """An image imports it when it is built: at run time no bytecode is written."""
    [command] = IN_BUILD.findall((TEMPLATE / file).read_text())
    command = re.sub("{%.*?%}", "", command.replace("\\\n", ""))
    assert imported(STARTS) - imported(command) == set()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, math.inf),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, math.inf),
        ({"cpu.max": "what\n"}, math.inf),
        ({}, math.inf),
    ],
)
def test_the_control_groups_share_is_read(
    files: dict[str, str], expected: float, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert launch.cgroup_quota(tmp_path) == expected


@pytest.mark.parametrize(("share", "most"), [(0.2, 1), (1.5, 2), (math.inf, 10_000)])
def test_no_more_than_that_is_used(
    share: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "cgroup_quota", lambda: share)
    assert 1 <= launch.cores() <= most


def test_what_the_owner_set_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config("model", "sklearn", Serving(), Model())
    assert launch.environment(config, None).items() >= {**launch.MALLOC, **launch.BLAS}.items()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    given = launch.environment(config, None)
    assert given["MALLOC_TRIM_THRESHOLD_"] == "0" and given["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize(
    ("asked", "logged"), [("", ["owner's"]), ("default", ["owner's", "time to come"])]
)
def test_a_worker_keeps_few_filters_of_warnings_unless_it_is_told_which(
    asked: str,
    logged: list[str],
    scaffold: Scaffold,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", asked)
    code = (scaffold.directory / "src" / "server" / "inference_model.py").read_text()
    assert PREDICT in code
    edited = copied(scaffold, tmp_path / "own", code.replace(PREDICT, PREDICT + WARNS))
    with contextlib.closing(generator.load(edited)) as own:
        [filters] = own.predict([[0, 0, 0, 0]])["predictions"]
    lines = [json.loads(line)["message"] for line in capfd.readouterr().err.splitlines()]
    of_owner = " ".join(line for line in lines if "inference_model.py" in line)
    assert [text for text in ("owner's", "time to come") if text in of_owner] == logged
    assert (filters <= 4) == (not asked)  # three of ours, one of SciPy's


def test_a_safe_path_does_not_hide_common_from_a_worker(
    scaffold: Scaffold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    with contextlib.closing(generator.load(scaffold.directory)) as own:
        assert own.predict([[0, 0, 0, 0]])["predictions"] == [0]
