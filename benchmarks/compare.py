"""Compares our server with other model servers and with the limits of the machine, in one run.

    make benchmark                  # all: 40 minutes once the environments are made
    make benchmark QUICK=1          # four minutes once the environments are made
    python benchmarks/compare.py --peers kserve_sdk ray_server --works forest

All servers serve the same fitted model with one worker. A server is measured only if it answers
what the model in memory predicts, and writes no log of its requests. `wrk` sends one request at a
time on each of its connections. Rounds alternate between the servers, and each figure is the median
of its rounds. A peer may have variants, such as with and without batching: after the first round
of a case only its best variant goes on, and the results name it. Compare ratios within one run:
the figures of two runs, or of two machines, cannot be compared.

A full run measures

- all peers in the central cases, most of which have targets: logistic regression and the forest
  with one row a request at 1, 32 and 256 connections; logistic regression with 256 rows at 32; a
  pipeline on the columns of a DataFrame with one row at 1 and 32; the Keras and the PyTorch MLP
  with one row at 32;
- our server alone in the other cases: each model with one row at 1, 8, 32 and 256 connections;
  JSON, msgpack, V2 JSON and V2 binary tensors with 1 and 256 rows, of 4 and of 64 features; images;
  two workers;
- our server with one row at 32 connections a second time, without peers. Paused peers hold memory,
  and a kernel that scans memory (Linux's DAMON) slows down the server that runs;
- the forest with `engine: onnx` too;
- each server of the forest alone on the machine: seconds from its start to the first prediction,
  and the peak memory of all its processes under 32 connections (Pss: shared pages count once);
- the limits: servers that do nothing but answer (an empty ASGI application, nginx, epoll in C), the
  model's own calls in a loop, the imports of a start;
- the seconds that `from_model` takes.

Each peer is a file in `peers/`. uv (or pip) makes its environment once, in the user's cache. A peer
that does not install or start is left out, and the results give the reason. The results are a
JSON file, a table that is printed too, and a chart. A missed target is not an error.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import loops
import report
import servers
from load import Load, measure, peak_memory, program
from models import MODELS, Model
from servers import Failed, Peer, Recipe, Server
from targets import (
    ALONE,
    BINARY,
    EMPTY,
    IMAGES,
    LIMITS,
    MANY,
    ONNX,
    OURS,
    TAIL_CONNECTIONS,
    Case,
    judge,
    one_row,
)
from wires import Body

import generator
from generator.hooks import by_name
from generator.running.comparison import compare

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
CENTRAL = [
    one_row("logistic", 1),
    one_row("logistic", 32),
    one_row("logistic", 256),
    Case("logistic", MANY, "json", 32),
    one_row("forest", 1),
    one_row("forest", 32),
    one_row("forest", 256),
    one_row("pipeline", 1),
    one_row("pipeline", 32),
    one_row("keras", 32),
    one_row("pytorch", 32),
]
WIRES = [
    Case("logistic", rows, wire, 32)
    for wire in ("msgpack", "v2", "v2 binary")
    for rows in (1, MANY)
]
WIDE = [Case("digits", MANY, wire, 32) for wire in ("json", *BINARY)]
PICTURES = [IMAGES, *(Case("images", 1, wire, 32) for wire in ("json", "v2 binary"))]
CONNECTIONS = [
    one_row(name, count)
    for name in MODELS
    if name not in ("images", "digits")
    for count in (1, 8, 32, 256)
]
WORKERS = [
    Case(name, 1, "json", count, 2) for name in ("logistic", "forest") for count in (32, 256)
]
OWN = [case for case in (*WIRES, *WIDE, *PICTURES, *CONNECTIONS, *WORKERS) if case not in CENTRAL]

QUICK_PEERS = ("fastapi_server", "fastapi_batching", "kserve_sdk")
QUICK_CASES = [
    *(one_row(name, count) for name in ("logistic", "pipeline") for count in (1, 32)),
    one_row("forest", 32),
]
QUICK_OWN = [case for case in WIRES if case.rows > 1 and case.wire != "v2"]
LOGGED_REQUESTS = 10
SLOW_WARM_UP = 4
SMOKE_CASES = [one_row("logistic", 32)]
FIXED_WORK = "logistic"  # beside whose cases with one row the servers of fixed answers stand
COMPILED = "ours, engine: onnx"
ALONE_SUFFIX = {"cases": "", "tails": ", alone"}


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long.

    Attributes:
        central: cases for all servers.
        own: cases for our server alone.
        peers: the peers to measure, by name.
        rounds: number of rounds of each server in a case.
        seconds: duration of a round.
        warm_up: seconds of load before the first round.
        starts: number of measured starts of each server alone. 0 leaves starts out.
        limits: whether to measure the limits and `from_model`.
        compiled: whether to serve the forest with `engine: onnx` too.
    """

    central: list[Case]
    own: list[Case]
    peers: dict[str, Peer]
    rounds: int
    seconds: int
    warm_up: int
    starts: int
    limits: bool
    compiled: bool = False

    @property
    def works(self) -> list[str]:
        """The names of the models in the cases."""
        wanted = {case.work for case in (*self.central, *self.own)}
        return [name for name in MODELS if name in wanted]

    def load(self, case: Case) -> Load:
        warm_up = self.warm_up * (SLOW_WARM_UP if MODELS[case.work].slow else 1)
        return Load(case.connections, self.rounds, self.seconds, warm_up)


def main() -> int:
    options = arguments()
    plan = make_plan(options)
    program()
    begin = time.monotonic()
    run = Run(plan)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for name in plan.works:
            run.measure_model(name, Path(directory))
        if plan.limits:
            progress("from_model, in new processes")
            run.results["limits"]["from_model"] = loops.generation(Path(directory))
    run.results["targets"] = judge(run.results)
    run.results["seconds"] = round(time.monotonic() - begin)
    save(run.results, options.output)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare our server with other model servers.")
    parser.add_argument(
        "--quick", action="store_true", help=f"the central cases with {', '.join(QUICK_PEERS)}"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="one case, to check that the program works"
    )
    parser.add_argument(
        "--peers", nargs="*", metavar="PEER", help=f"any of {', '.join(servers.peers())}"
    )
    parser.add_argument("--works", nargs="*", metavar="WORK", help=f"any of {', '.join(MODELS)}")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.json", help="the default is in benchmarks/results/"
    )
    options = parser.parse_args()
    for given, known in ((options.peers, servers.peers()), (options.works, MODELS)):
        if unknown := [name for name in given or () if name not in known]:
            parser.error(f"{unknown[0]} is unknown: choose from {', '.join(known)}")
    options.output = options.output or default_output(options)
    return options


def default_output(options: argparse.Namespace) -> Path:
    """The file of this version for a full run, else one that git ignores."""
    if options.quick or options.smoke or options.peers is not None or options.works:
        return RESULTS / "latest.json"
    return RESULTS / f"{version()}.json"


def make_plan(options: argparse.Namespace) -> Plan:
    """The plan for the options, without the models whose packages are not installed."""
    plan = whole_plan(options)
    wanted = options.works or plan.works
    missing = {
        name: MODELS[name].missing for name in plan.works if name in wanted and MODELS[name].missing
    }
    for name, packages in missing.items():
        progress(f"{MODELS[name].title} is left out: install {' and '.join(packages)}")
    possible = [name for name in wanted if name not in missing]
    return replace(
        plan,
        central=[case for case in plan.central if case.work in possible],
        own=[case for case in plan.own if case.work in possible],
    )


def whole_plan(options: argparse.Namespace) -> Plan:
    peers = chosen_peers(options)
    if options.smoke:
        return Plan(SMOKE_CASES, [], peers, rounds=1, seconds=1, warm_up=0, starts=0, limits=False)
    if options.quick:
        return Plan(
            QUICK_CASES, QUICK_OWN, peers, rounds=2, seconds=1, warm_up=1, starts=1, limits=True
        )
    return Plan(
        CENTRAL, OWN, peers, rounds=3, seconds=2, warm_up=1, starts=2, limits=True, compiled=True
    )


def chosen_peers(options: argparse.Namespace) -> dict[str, Peer]:
    known = servers.peers()
    names = options.peers
    if names is None and options.quick:
        names = QUICK_PEERS
    if names is None:
        return known
    return {name: known[name] for name in names}


class Run:
    """One run of the benchmark, and its results so far.

    Args:
        plan: what to measure.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.results: dict[str, Any] = {
            **environment(),
            "titles": {OURS: "ours", ONNX: COMPILED}
            | servers.FIXED_ANSWER_TITLES
            | {name: peer.title for name, peer in plan.peers.items()}
            | servers.titles(plan.peers),
            "works": {name: MODELS[name].title for name in plan.works},
            "requirements": {name: peer.requirements for name, peer in plan.peers.items()},
            "cases": [],
            "tails": [],
            "starts": {},
            "limits": {},
            "failures": [],
        }

    def measure_model(self, name: str, place: Path) -> None:
        """Measure everything with one model."""
        model = MODELS[name]
        made = model.make()
        directory = place / name
        generator.from_model(made, directory, sample_input=model.sample())
        file = next((directory / "src" / "model").glob("model.*"))
        if self._plan.limits:
            self._limits(name, directory, file)
        central = [case for case in self._plan.central if case.work == name]
        own = [case for case in self._plan.own if case.work == name]
        recipes = [servers.ours(directory)]
        if central:
            recipes += [*self._fixed_answers(name, directory), *self._peers(name, model, file)]
        reference = Reference(model, made)
        if name == ALONE and self._plan.compiled:
            compiled = place / f"{name}-onnx"
            generator.from_model(made, compiled, engine="onnx")
            recipes.append(servers.ours(compiled, name=ONNX, title=COMPILED))
        if name == ALONE and self._plan.starts:
            recipes = [one for one in recipes if self._measure_starts(one, name, reference, place)]
        with self._running(recipes, name, reference, place) as running:
            for case in central:
                self._case(case, running, reference, place)
        tails = [case for case in central if case == one_row(name, TAIL_CONNECTIONS)]
        for workers in sorted({case.workers for case in (*tails, *own)}):
            ours = [servers.ours(directory, workers)]
            with self._running(ours, name, reference, place) as running:
                for case in tails:
                    if case.workers == workers:
                        self._case(case, running, reference, place, "tails")
                for case in own:
                    if case.workers == workers:
                        self._case(case, running, reference, place)

    def _limits(self, name: str, directory: Path, file: Path) -> None:
        progress(f"{MODELS[name].title}: the model in a loop")
        found = self.results["limits"]
        rates = found.setdefault("loops", [])
        rates += loops.predictions(name, file)
        if name == IMAGES.work:
            rates += [loops.decoded(name, file, batch) for batch in loops.BATCHES[:2]]
        if name == ALONE and self._plan.starts:
            lock = directory / "server-requirements.txt"
            loops.imports(lock)
            found["imports"] = statistics.median(
                loops.imports(lock) for _ in range(self._plan.starts)
            )
            found["worker_imports"] = loops.worker_imports(directory)

    def _peers(self, name: str, model: Model, file: Path) -> Iterator[Recipe]:
        for peer_name, peer in self._plan.peers.items():
            if peer.serves(model):
                with self._failing(peer_name, name):
                    yield from servers.of_peer(peer_name, peer, model, file)

    def _fixed_answers(self, name: str, directory: Path) -> Iterator[Recipe]:
        if name == FIXED_WORK:
            for limit, recipe in servers.FIXED_ANSWERS.items():
                with self._failing(limit, name):
                    yield recipe(directory)

    def _measure_starts(
        self, recipe: Recipe, name: str, reference: "Reference", place: Path
    ) -> bool:
        """Start a server alone several times, once before the count. False if it fails."""
        body = reference.body(recipe, 1, "json")
        load = Load(TAIL_CONNECTIONS, 1, max(1, self._plan.seconds - 1), 0)
        seconds, memory = [], []
        with self._failing(recipe.name, name):
            progress(f"{recipe.title}: starts")
            for number in range(self._plan.starts + 1):
                server = Server.start(recipe, place, body)
                try:
                    if number:
                        seconds.append(server.seconds)
                        with peak_memory(server) as most:
                            measure(load, "json", {recipe.name: body}, [server], place)
                        memory.append(most[0])
                finally:
                    server.stop()
            self.results["starts"][recipe.name] = {
                "seconds": statistics.median(seconds),
                "memory": statistics.median(memory),
                "rounds": [seconds, memory],
            }
            return True
        return False

    @contextlib.contextmanager
    def _running(
        self, recipes: list[Recipe], name: str, reference: "Reference", place: Path
    ) -> Iterator[list[Server]]:
        """The servers that start and give the predictions of the model in memory."""
        with contextlib.ExitStack() as stack:
            running = []
            for recipe in recipes:
                with self._failing(recipe.name, name):
                    server = Server.start(recipe, place, reference.body(recipe, 1, "json"))
                    stack.callback(server.stop)
                    if recipe.name not in LIMITS:
                        reference.check(server)
                    running.append(server)
            yield running

    @contextlib.contextmanager
    def _failing(self, server: str, work: str) -> Iterator[None]:
        """Record the failure of a peer and continue. A failure of ours ends the run."""
        try:
            yield
        except (Failed, OSError) as failure:
            if server in (OURS, ONNX, EMPTY):
                raise SystemExit(f"{server}: {failure}") from failure
            progress(f"{server}: {failure}")
            self.results["failures"].append(
                {"server": server, "work": work, "reason": str(failure)}
            )

    def _case(
        self,
        case: Case,
        running: list[Server],
        reference: "Reference",
        place: Path,
        part: str = "cases",
    ) -> None:
        """Measure the running servers in a case, for the `cases` or the `tails` of the results."""
        progress(f"{case}{ALONE_SUFFIX[part]}")
        load = self._plan.load(case)
        if case.rows > 1:  # a fixed answer is as long as one prediction
            running = [server for server in running if server.recipe.name not in LIMITS]
        bodies = {
            server.recipe.name: reference.body(server.recipe, case.rows, case.wire)
            for server in running
        }
        for server, figures in measure(load, case.wire, bodies, running, place).items():
            if "failed" not in figures:
                figures["rows_per_second"] = figures["requests"] * case.rows
            self.results[part].append({**vars(case), "server": server, **figures})


class Reference:
    """Requests for a model, and the check of a server's answers against the model in memory.

    Args:
        model: the description of the model.
        made: the model in memory.
    """

    def __init__(self, model: Model, made: Any) -> None:
        self._model = model
        self._definition = by_name(model.framework)
        self._made = made

    def body(self, recipe: Recipe, rows: int, wire: str) -> Body:
        """A request with a number of rows, for a wire of a server."""
        return recipe.wires[wire].encode(self._model.inputs(rows))

    def check(self, server: Server) -> None:
        """Check a server's answers on each wire that carries the model's inputs, and its log.

        Raises:
            Failed: an answer is not what the model in memory predicts, or requests are logged.
        """
        is_array = hasattr(self._model.inputs(1), "dtype")
        for wire in server.recipe.wires:
            if is_array or wire == "json":
                for rows in (1, 7):
                    self._check(server, wire, rows)
        check_log(server, self.body(server.recipe, 1, "json"))

    def _check(self, server: Server, wire: str, rows: int) -> None:
        inputs = self._model.inputs(rows)
        expected = self._definition.predict(self._made, inputs)
        answer = server.post(wire, self.body(server.recipe, rows, wire))
        tolerance = self._definition.tolerance
        if tolerance:  # a peer may compute with other kernels
            tolerance = max(tolerance, 1e-5)
        if difference := compare(expected, answer, tolerance).difference:
            raise Failed(
                f"its answer is not what the model in memory predicts, {wire}: {difference}"
            )


def check_log(server: Server, body: Body) -> None:
    """Check that a server does not log its requests: ours does not, and it costs time.

    Raises:
        Failed: it does.
    """
    before = server.log_lines()
    for _ in range(LOGGED_REQUESTS):
        server.post("json", body)
    if server.log_lines() - before >= LOGGED_REQUESTS:
        raise Failed("it logs its requests: switch this off in its file in peers/")


def environment() -> dict[str, Any]:
    """The versions and the machine of this run, for the results."""
    cores = len(os.sched_getaffinity(0))
    return {
        "version": version(),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": f"{cores} cores, {platform.system()} {platform.machine()}",
    }


def version() -> str:
    return metadata.version("scaffold-generator")


def commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True).stdout.strip()


def save(results: dict[str, Any], output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=1) + "\n")
    text = report.table(results)
    output.with_suffix(".txt").write_text(text)
    print(text, flush=True)
    try:
        import chart
    except ImportError as error:
        progress(f"no chart is drawn: {error}")
    else:
        chart.draw(output, chart.files(output))
    progress(f"wrote {output}, its table and its chart")


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
