"""The benchmark as a program: it runs, prints ratios and draws its chart. No figure is asserted."""

import asyncio
import http.client
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
    return {**case, "server": server, **figures, "processor": 5e5 / rate}


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
            "empty": "limit: empty ASGI app",
            "mosec_server/batching": "mosec, batching",
            "mosec_server/no batching": "mosec, no batching",
            "kserve_sdk": "KServe's SDK",
            "ray_server": "Ray Serve",
        },
        "works": {"logistic": "logistic regression", "forest": "forest of 100 trees"},
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
    """Imports a module of benchmarks/ or of its peers, as its scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))
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
    measured_servers = {row["server"] for row in measured["cases"]}
    assert measured_servers - {"nginx", "epoll"} == {"ours", "empty", "fastapi_server"}
    assert measured_servers >= {"epoll"} or shutil.which("cc") is None
    assert all(row["processor"] > 0 for row in measured["cases"])
    assert "| logistic regression, 1 row, c=32 | FastAPI by hand (of 1) |" in done.stdout
    assert [row["server"] for row in measured["tails"]] == ["ours"]
    assert all(row["requests"] > 0 for row in (*measured["cases"], *measured["tails"]))
    assert output.with_suffix(".txt").read_text() in done.stdout
    assert output.with_suffix(".svg").exists()


def test_unknown_peer_is_named() -> None:
    command = [sys.executable, str(BENCHMARKS / "compare.py"), "--peers", "nobody"]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "nobody is unknown: choose from bentoml_server, fastapi_batching," in done.stderr


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


def with_variants() -> dict[str, Any]:
    """Results of a run with two variants of a peer. The second has 1500 requests a second."""
    run = results("1.0.0")
    rates = {"batching": 1200, "no batching": 1500}
    cases = [requests(f"mosec_server/{name}", rate) for name, rate in rates.items()]
    starts = {"mosec_server/no batching": {"seconds": 1.0, "memory": 5e7}}
    return {**run, "cases": run["cases"] + cases, "starts": run["starts"] | starts, "targets": []}


def test_the_best_variant_counts(modules: Any) -> None:
    run, targets = with_variants(), modules("targets")
    found = targets.figures(run, targets.one_row("logistic", 32))
    assert found.keys() == {"ours", "empty", "kserve_sdk", "mosec_server"}
    assert found["mosec_server"]["server"] == "mosec_server/no batching"
    assert targets.best(found, "requests") == ("mosec_server", 1500)
    text = modules("report").table(run)
    assert "mosec, no batching" in text and "mosec, batching" not in text


def test_a_peer_goes_on_with_its_best_variant(modules: Any) -> None:
    rates = {"ours": 1.0, "a/x": 2.0, "a/y": 3.0, "b": 1.0, "b/z": 0.5, "ab": 9.0}
    assert modules("load").beaten_variants(rates) == {"a/x", "b/z"}


def test_summary_is_against_the_best_peer(modules: Any) -> None:
    lines = list(modules("summary").lines(with_variants()))
    row = "| logistic regression, 1 row, c=32 | mosec, no batching (of 2) | 2,000 / 1,500 | 1.33 |"
    assert lines[2].startswith(row + " 0.50 / 0.67 | 1.00 / 1.33 | 250 / 333 | 0.5 / 0.5 |")
    assert "| mosec, no batching | 50 | 0.50 | 1.00 |" in lines
    assert (
        "The lead is small, or there is none: logistic regression, 1 row, c=32 (1.33 times)."
        in lines
    )


def test_summary_without_peers_is_empty(modules: Any) -> None:
    run = results("1.0.0")
    alone = [row for row in run["cases"] if row["server"] in ("ours", "empty")]
    assert list(modules("summary").lines({**run, "cases": alone})) == []


BUSY = """
import subprocess, sys, time
BURN = "import time\\nwhile time.process_time() < 0.1: pass"
subprocess.run([sys.executable, "-c", BURN])  # has ended
subprocess.Popen([sys.executable, "-c", BURN + "\\nprint('done', flush=True)\\ntime.sleep(60)"])
time.sleep(60)
"""


def test_processor_time_of_all_processes(modules: Any, tmp_path: Path) -> None:
    servers = modules("servers")
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY],
        env=ENVIRON | {servers.MARK: "busy"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    server = servers.Server(None, process, 0, "busy", tmp_path)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"done\n"
        ticks = 4 / os.sysconf("SC_CLK_TCK")  # each figure of each process is rounded down
        assert server.processor_seconds() >= 0.2 - ticks
    finally:
        server.stop()
        process.stdout.close()
    assert server.processor_seconds() == 0


ANSWERING = """
import os, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"predictions": [0]}')
    if sys.argv[2] == "quiet":
        def log_message(self, *parts): pass
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.parametrize("manner", ["quiet", "loud"])
def test_a_server_that_logs_its_requests_is_left_out(
    modules: Any, tmp_path: Path, manner: str
) -> None:
    servers, wires = modules("servers"), modules("wires")
    body = wires.Body(b"{}")
    recipe = servers.Recipe(
        manner,
        manner,
        lambda port: [sys.executable, "-c", ANSWERING, str(port), manner],
        {"json": wires.WIRES["json"]},
        {},
    )
    server = servers.Server.start(recipe, tmp_path, body)
    try:
        if manner == "quiet":
            modules("compare").check_log(server, body)
        else:
            with pytest.raises(servers.Failed, match="it logs its requests"):
                modules("compare").check_log(server, body)
    finally:
        server.stop()


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_server_in_c_keeps_connections(modules: Any, tmp_path: Path) -> None:
    servers, wires = modules("servers"), modules("wires")
    recipe = servers.epoll(tmp_path / "scaffold")
    server = servers.Server.start(recipe, tmp_path, wires.Body(b"{}"))
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        for body in (b"", b"[" + b"1," * 20000 + b"1]", b"{}"):
            connection.request("POST", "/", body)
            assert connection.getresponse().read() == b'{"predictions":[0]}'
        connection.close()
    finally:
        server.stop()


@pytest.mark.parametrize("thread", [False, True])
def test_batching_by_hand(modules: Any, thread: bool) -> None:
    calls = []

    def predict(rows: list[list[int]]) -> Any:
        calls.append(len(rows))
        return importlib.import_module("numpy").array([sum(row) for row in rows])

    async def ask() -> list[Any]:
        batcher = modules("batching").Batcher(predict, thread)
        requests = [[[1, 2]], [[3, 4], [5, 6]], [["a", "b"]]]
        good = await asyncio.gather(*map(batcher.predict, requests[:2]))
        mixed = await asyncio.gather(*map(batcher.predict, requests), return_exceptions=True)
        alone = await batcher.predict(requests[0])
        return [[one.tolist() for one in good], [type(one) for one in mixed], alone.tolist()]

    assert asyncio.run(ask()) == [[[3], [7, 11]], [TypeError] * 3, [3]]
    assert calls == [3, 4, 1]


def test_each_variant_has_a_title(modules: Any) -> None:
    servers = modules("servers")
    titles = servers.titles(servers.peers())
    assert titles["mlserver_server/no pool"] == "MLServer, no pool"
    assert titles["mlserver_server"] == "MLServer"
    assert {name.partition("/")[0] for name in titles} == servers.peers().keys()
