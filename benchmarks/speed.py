"""The server beside one written plainly with KServe's SDK, in one run, and the time that `from_model` takes.

    make benchmark
    python benchmarks/speed.py keras pytorch

Both serve the same file of a model with one worker process. `wrk` posts one row a request and keeps its connections;
rounds alternate between the servers, and each figure is the median of its rounds. The third server is an ASGI
application that does nothing: the limit of uvicorn on this machine. Figures of two runs, or of two machines, say
nothing beside each other: the ratios do. The exit status is 1 where a ratio misses its target.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from models import MODELS, Model

import generator
from generator.environments import server_python
from generator.hooks import by_name
from generator.samples import compare

HERE = Path(__file__).resolve().parent
ROUNDS = 3
SECONDS = 5
CONNECTIONS = (32, 1)
START_SECONDS = 120
ANSWER_SECONDS = 30
GENERATIONS = 5
ROW = [6.1, 2.8, 4.7, 1.2]
BODY = json.dumps({"instances": [ROW]})
# What must hold of (model, connections): the figure, the bound, and whether the ratio must be above it.
TARGETS = {
    ("logistic", 32): ("requests", 8.0, True),
    ("forest", 32): ("requests", 12.0, True),
    ("keras", 32): ("requests", 10.0, True),
    ("pytorch", 32): ("requests", 10.0, True),
    ("logistic", 1): ("median", 0.6, False),
}
GENERATION = "from_model"
GENERATION_SECONDS = 1.5

WRK_SCRIPT = f"""
wrk.method = "POST"
wrk.body = '{BODY}'
wrk.headers["Content-Type"] = "application/json"
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nRESULT {{"requests": %f, "median": %f, "p99": %f, "errors": %d}}\\n',
    summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""

# Runs in a process of its own. What it prints counts the import of the generator, and no import of scikit-learn.
GENERATE = """
import sys, time
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
model = RandomForestClassifier(random_state=0).fit(*load_iris(return_X_y=True))
start = time.perf_counter()
import generator
generator.from_model(model, sys.argv[1])
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Figures:
    """What `wrk` measured: requests a second, latencies in milliseconds."""

    requests: float
    median: float
    p99: float

    @classmethod
    def of(cls, rounds: "list[Figures]") -> "Figures":
        """The median of each figure."""
        columns = ([getattr(one, name) for one in rounds] for name in ("requests", "median", "p99"))
        return cls(*map(statistics.median, columns))


def main() -> int:
    wanted = arguments()
    if not wanted:
        return 1
    wrk = shutil.which("wrk")
    if wrk is None:
        print("wrk is missing: `apt-get install wrk` on Debian and Ubuntu, `brew install wrk` on macOS")
        return 1
    results: dict[tuple[str, int], dict[str, Figures]] = {}
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "post.lua"
        script.write_text(WRK_SCRIPT)
        for name in [name for name in MODELS if name in wanted]:
            model = MODELS[name]
            say(f"{model.title}: {ROUNDS} rounds of {SECONDS} s at {' and '.join(map(str, CONNECTIONS))} connections")
            with servers(model, Path(directory) / name) as urls:
                for connections in CONNECTIONS:
                    results[name, connections] = measure([wrk, f"-s{script}"], connections, urls)
        if GENERATION in wanted:
            say(f"from_model, {GENERATIONS} times in a process of its own")
            seconds = [generation(Path(directory) / f"generated_{number}") for number in range(GENERATIONS)]
    return report(results, seconds)


def arguments() -> list[str]:
    """What is to be measured, of what can be here."""
    known = [*MODELS, GENERATION]
    parser = argparse.ArgumentParser(description="The server beside one written plainly with KServe's SDK.")
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"what to measure: {', '.join(known)}; by default all")
    wanted = parser.parse_args().what
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"{unknown[0]} is none of {', '.join(known)}")
    missing = {name: model.missing for name, model in MODELS.items() if model.missing and name in (wanted or known)}
    for name, packages in missing.items():
        say(f"{MODELS[name].title} is left out: {' and '.join(packages)} not installed")
    return [name for name in wanted or known if name not in missing]


@contextlib.contextmanager
def servers(model: Model, directory: Path) -> Iterator[dict[str, str]]:
    """The three servers with one model, found to answer alike: name to the URL of its predict route."""
    made = model.make()
    scaffold = generator.from_model(made, directory)
    lock = directory / "server-requirements.txt"
    file = next((directory / "src" / "model").glob("model.*"))
    plain = [str(plain_python(lock, model.pins)), str(HERE / "kserve_sdk_server.py"), str(file)]
    empty = [str(server_python(lock)), str(HERE / "empty_server.py")]
    with contextlib.ExitStack() as stack:
        urls = {
            "ours": stack.enter_context(scaffold.serve(port=0)).predict_url,
            "KServe": stack.enter_context(running(plain)),
            "limit": stack.enter_context(running(empty)),
        }
        definition = by_name(model.framework)
        expected = definition.predict(made, [ROW])
        for name in ("ours", "KServe"):
            if difference := compare(expected, post(urls[name])["predictions"], definition.tolerance).difference:
                raise SystemExit(f"{name} does not answer as the model in memory: {difference}")
        yield urls


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[str]:
    """A server that takes its port as last argument, its output sent nowhere; the URL of its predict route."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/v1/models/model:predict"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"it did not start: {' '.join(command)} {port}")
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str) -> bool:
    try:
        post(url)
    except (OSError, http.client.HTTPException):
        return False
    return True


def post(url: str) -> Any:
    request = urllib.request.Request(url, BODY.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
        return json.load(response)


def measure(wrk: list[str], connections: int, urls: dict[str, str]) -> dict[str, Figures]:
    """Rounds that alternate between the servers, after one of a second to warm up."""
    for url in urls.values():
        load(wrk, connections, 1, url)
    rounds = [{name: load(wrk, connections, SECONDS, url) for name, url in urls.items()} for _ in range(ROUNDS)]
    return {name: Figures.of([one[name] for one in rounds]) for name in urls}


def load(wrk: list[str], connections: int, seconds: int, url: str) -> Figures:
    """The figures of one round. The next one begins when the server has worked off what this one leaves behind."""
    command = [*wrk, "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={ANSWER_SECONDS}s", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + ANSWER_SECONDS + 30)
    post(url)
    lines = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"{' '.join(command)} failed: {done.stdout}{done.stderr}")
    result = json.loads(lines[0])
    if result.pop("errors"):
        raise SystemExit(f"{' '.join(command)} met errors, its figures mean nothing: {done.stdout}")
    return Figures(**result)


def generation(directory: Path) -> float:
    """Seconds that `from_model` takes for the iris forest, without the proof."""
    command = [sys.executable, "-c", GENERATE, str(directory)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
    return float(done.stdout)


def plain_python(lock: Path, wanted: list[str]) -> Path:
    """The interpreter of an environment with the lock's packages and the framework, made once in the cache."""
    version = "{}.{}".format(*sys.version_info)
    key = hashlib.sha256(lock.read_bytes() + " ".join(wanted).encode()).hexdigest()[:16]
    directory = platformdirs.user_cache_path("scaffold-generator") / "benchmarks" / f"{key}-py{version}"
    if not directory.exists():
        say(f"making the environment of the plain server once in {directory}")
        unfinished = directory.with_name(f"{directory.name}.unfinished")
        python = unfinished / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--clear", unfinished], check=True)
        for what in (["--require-hashes", "-r", lock], wanted):
            subprocess.run([*installer(python), *what], check=True)
        unfinished.rename(directory)
    return directory / "bin" / "python"


def installer(python: Path) -> list[str | Path]:
    beside = Path(sys.executable).with_name("uv")
    uv = beside if beside.exists() else shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    return [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def report(results: dict[tuple[str, int], dict[str, Figures]], seconds: list[float]) -> int:
    """Print what was measured; the exit status."""
    missed = [*report_servers(results), *report_generation(seconds)]
    return 1 if missed else 0


def report_servers(results: dict[tuple[str, int], dict[str, Figures]]) -> list[str]:
    """Print the table; the targets that were missed."""
    if not results:
        return []
    form = "{:<20} {:>5}   {:>7} {:>7} {:>7} {:>6}   {:>7} {:>7} {:>6}   {:>7} {:>7}   {}"
    print()
    print(form.format("", "", "requests/s", "", "", "", "median, ms", "", "", "p99, ms", "", "").rstrip())
    print(form.format("model", "conns", "limit", "ours", "KServe", "ratio", "ours", "KServe", "ratio", "ours", "KServe",
                      "target"))  # fmt: skip
    missed = []
    for (name, connections), figures in results.items():
        ours, theirs = figures["ours"], figures["KServe"]
        ratios = {"requests": ours.requests / theirs.requests, "median": ours.median / theirs.median}
        verdict = ""
        if (name, connections) in TARGETS:
            figure, bound, above = TARGETS[name, connections]
            met = ratios[figure] >= bound if above else ratios[figure] <= bound
            missed += [] if met else [name]
            verdict = f"{figure} {'>=' if above else '<='} {bound:g}: {'met' if met else 'MISSED'}"
        cells = [f"{figures['limit'].requests:.0f}", f"{ours.requests:.0f}", f"{theirs.requests:.0f}"]
        cells += [f"{ratios['requests']:.1f}", f"{ours.median:.3f}", f"{theirs.median:.3f}", f"{ratios['median']:.2f}"]
        cells += [f"{ours.p99:.3f}", f"{theirs.p99:.3f}", verdict]
        print(form.format(MODELS[name].title, connections, *cells).rstrip())
    return missed


def report_generation(seconds: list[float]) -> list[str]:
    """Print how long `from_model` took; the target if it was missed."""
    if not seconds:
        return []
    met = max(seconds) < GENERATION_SECONDS
    shown = ", ".join(f"{value:.2f}" for value in seconds)
    verdict = "met" if met else "MISSED"
    print(f"\nfrom_model, with the generator's import, s: {shown}   each < {GENERATION_SECONDS}: {verdict}")
    return [] if met else [GENERATION]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
