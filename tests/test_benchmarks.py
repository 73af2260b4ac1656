"""The benchmark as a program: it runs, prints ratios and draws its chart. No figure is asserted."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.rendering.checkouts import ROOT

BENCHMARKS = ROOT / "benchmarks"
ENVIRON = os.environ | {"PYTHONPATH": str(ROOT)}


def requests(server: str, rate: float, connections: int = 32) -> dict[str, Any]:
    case = {"work": "logistic", "rows": 1, "wire": "json", "connections": connections, "workers": 1}
    figures = {"requests": rate, "median": 1000 / rate, "p99": 2000 / rate, "rows_per_second": rate}
    return {**case, "server": server, **figures}


def results(version: str) -> dict[str, Any]:
    """Results of a run. Ours has twice the rate of a peer, half that of the empty application."""
    return {
        "version": version,
        "commit": "0123abc",
        "date": "2026-01-01",
        "python": "3.11.7",
        "machine": "2 cores",
        "titles": {
            "ours": "ours",
            "empty": "empty ASGI app",
            "kserve_sdk": "KServe's SDK",
            "ray_server": "Ray Serve",
        },
        "cases": [
            *(requests(*one) for one in (("ours", 2000), ("empty", 4000), ("kserve_sdk", 1000))),
            {**requests("ray_server", 1), "failed": "7 errors at 32 connections"},
        ],
        "tails": [{**requests("ours", 1000), "p99": 3.5}],
        "starts": {name: {"seconds": 2.0, "memory": 1e8} for name in ("ours", "kserve_sdk")},
        "limits": {"imports": 1.0, "worker_imports": 1e8, "from_model": [1.0, 2.0]},
        "failures": [
            {"server": "ray_server", "work": "forest", "reason": "it ended during its start"}
        ],
    }


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a module of benchmarks/, as its scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.sweep
def test_smoke(tmp_path: Path) -> None:
    script, output = str(BENCHMARKS / "compare.py"), tmp_path / "run.json"
    command = [sys.executable, script, "--smoke", "--peers", "fastapi_server"]
    done = subprocess.run(
        [*command, "--output", str(output)],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (
        "logistic, 1 row, json, c=32: requests / the best peer (fastapi_server) >= 10"
        in done.stdout
    )
    measured = json.loads(output.read_text())
    assert {row["server"] for row in measured["cases"]} == {"ours", "empty", "fastapi_server"}
    assert [row["server"] for row in measured["tails"]] == ["ours"]
    assert all(row["requests"] > 0 for row in (*measured["cases"], *measured["tails"]))
    assert output.with_suffix(".txt").read_text() in done.stdout
    assert output.with_suffix(".svg").exists()


def test_unknown_peer_is_named() -> None:
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "--peers", "nobody"]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "nobody is unknown: choose from bentoml_server, fastapi_server," in done.stderr


def test_targets_are_judged(modules: Any) -> None:
    verdicts = {one["text"]: one for one in modules("targets").judge(results("1.0.0"))}
    assert verdicts["logistic, 1 row, json, c=32: requests / kserve_sdk >= 15"] == {
        "text": "logistic, 1 row, json, c=32: requests / kserve_sdk >= 15",
        "figure": 2.0,
        "bound": 15,
        "met": False,
    }
    assert verdicts["logistic, 1 row, json, c=32: p99 / median <= 3"]["met"]
    assert verdicts["logistic, 1 row, json, c=32, alone: p99 / median <= 3"] == {
        "text": "logistic, 1 row, json, c=32, alone: p99 / median <= 3",
        "figure": 3.5,
        "bound": 3,
        "met": False,
    }
    assert verdicts["forest: memory / (kserve_sdk + the worker's imports) <= 1"]["figure"] == 0.5
    assert not verdicts["from_model of the forest, the slowest of its runs, s <= 1.5"]["met"]


def test_table_names_what_failed(modules: Any) -> None:
    text = modules("report").table({**results("1.0.0"), "targets": []})
    assert "left out with forest: Ray Serve: it ended during its start" in text
    assert "Ray Serve: 7 errors at 32 connections" in text


def test_table_has_the_tails(modules: Any) -> None:
    lines = modules("report").table({**results("1.0.0"), "targets": []}).splitlines()
    row = lines[lines.index("ours, alone") + 2]
    assert " ".join(row.split()) == "logistic, 1 row, json, c=32 1000 1.00 3.50 3.50"


@pytest.mark.filterwarnings("ignore")  # from matplotlib's dependencies
def test_chart(modules: Any, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        (tmp_path / f"{version}.json").write_text(json.dumps(results(version)))
    chart = modules("chart")
    file = tmp_path / "1.10.0.json"
    assert [run["version"] for run in chart.releases(file)] == ["1.0.0", "1.9.0", "1.10.0"]
    chart.draw(file, chart.files(file))
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in file.with_suffix(".svg").read_text()
