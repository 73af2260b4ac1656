"""The server beside the others that people use, and beside what the machine allows, in one run.

    make benchmark                                  # all of it, half an hour once they are made
    make benchmark QUICK=1                          # three minutes once the environments are made
    python benchmarks/compare.py --peers kserve_sdk ray_server --works forest

Every server has the same fitted model and one worker, and must answer what the model in memory predicts before anything
is timed. `wrk` posts one request a connection at a time and keeps its connections; rounds alternate between the
servers, and each figure is the median of its rounds. Figures of two runs, or of two machines, say nothing beside each
other: the ratios do.

A full run measures

- all peers in the central cases, which the targets are about: logistic regression with one row a request at 1 and 32
  connections, and 256 rows at 32; the forest with one row at 32 and 256; the Keras and the PyTorch MLP with one row
  at 32;
- ours alone in the rest: each model with one row at 1, 8, 32 and 256 connections; JSON, msgpack, V2's JSON and its
  binary tensors with 1 and 256 rows, of 4 and of 64 features; images; two workers;
- ours with one row at 32 connections once more where peers were beside it: they hold memory while they are paused, and
  a kernel that looks through it (Linux's DAMON) holds up whoever runs;
- the forest by `engine: onnx` too;
- for every server of the forest, alone on the machine: seconds from start to the first prediction, and the most memory
  that all its processes take while 32 connections load it, a page that several share counted once (Pss);
- the limits: an empty ASGI application, the model's own calls in a loop, the imports that a start needs;
- seconds that `from_model` takes.

Each peer is a file in `peers/`; its environment is made by uv (or pip) once, in the user's cache. One that does not
install or start is named with its reason. The results are a JSON file, which `chart.py` draws, and the table that is
printed; missing a target is no error.
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

import limits
import report
import servers
from load import Load, measure, peak_memory, program
from models import MODELS, Model
from servers import Failed, Peer, Recipe, Server
from targets import BINARY, EMPTY, IMAGES, MANY, ONNX, OURS, TAIL_CONNECTIONS, Case, judge, one_row
from wires import Body

import generator
from generator.hooks import by_name
from generator.running.verification import compare

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
CENTRAL = [
    one_row("logistic", 1),
    one_row("logistic", 32),
    Case("logistic", MANY, "json", 32),
    one_row("forest", 32),
    one_row("forest", 256),
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

QUICK_PEERS = ("fastapi_server", "kserve_sdk", "litserve_server")
QUICK_CASES = [case for case in CENTRAL if case.work in ("logistic", "forest")]
QUICK_OWN = [case for case in WIRES if case.rows > 1 and case.wire != "v2"]
SMOKE_CASES = [one_row("logistic", 32)]
ALONE = "forest"
COMPILED = "ours, engine: onnx"


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long.

    Attributes:
        central: cases of all servers.
        own: cases of ours alone.
        peers: the peers that take part.
        rounds: how often each server is measured in a case.
        seconds: how long that takes each time.
        warm_up: and before the first time.
        starts: how often a server is started alone; 0 leaves that out.
        limits: whether the limits are measured, and how long `from_model` takes.
        compiled: whether the forest is served by `engine: onnx` too.
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
        wanted = {case.work for case in (*self.central, *self.own)}
        return [name for name in MODELS if name in wanted]

    def load(self, connections: int) -> Load:
        return Load(connections, self.rounds, self.seconds, self.warm_up)


def main() -> int:
    options = arguments()
    plan = planned(options)
    program()
    begin = time.monotonic()
    run = Run(plan)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for name in plan.works:
            run.work(name, Path(directory))
        if plan.limits:
            say("from_model, in processes of its own")
            run.results["limits"]["from_model"] = limits.generation(Path(directory))
    run.results["targets"] = judge(run.results)
    run.results["seconds"] = round(time.monotonic() - begin)
    save(run.results, options.output)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The server beside the others that people use.")
    parser.add_argument(
        "--quick", action="store_true", help=f"the central cases with {', '.join(QUICK_PEERS)}"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="one case, to see that the program works"
    )
    parser.add_argument(
        "--peers", nargs="*", metavar="PEER", help=f"of {', '.join(servers.peers())}"
    )
    parser.add_argument("--works", nargs="*", metavar="WORK", help=f"of {', '.join(MODELS)}")
    parser.add_argument(
        "--output", type=Path, metavar="FILE.json", help="by default in benchmarks/results/"
    )
    options = parser.parse_args()
    for given, known in ((options.peers, servers.peers()), (options.works, MODELS)):
        if unknown := [name for name in given or () if name not in known]:
            parser.error(f"{unknown[0]} is none of {', '.join(known)}")
    if options.output is None:
        whole = not (options.quick or options.smoke or options.peers is not None or options.works)
        options.output = RESULTS / f"{version() if whole else 'latest'}.json"
    return options


def planned(options: argparse.Namespace) -> Plan:
    everyone = servers.peers()
    chosen = (
        options.peers
        if options.peers is not None
        else list(QUICK_PEERS if options.quick else everyone)
    )
    named = {name: everyone[name] for name in chosen}
    if options.smoke:
        plan = Plan(SMOKE_CASES, [], named, rounds=1, seconds=1, warm_up=0, starts=0, limits=False)
    elif options.quick:
        plan = Plan(
            QUICK_CASES, QUICK_OWN, named, rounds=2, seconds=1, warm_up=1, starts=1, limits=True
        )
    else:
        plan = Plan(
            CENTRAL,
            OWN,
            named,
            rounds=5,
            seconds=2,
            warm_up=1,
            starts=3,
            limits=True,
            compiled=True,
        )
    wanted = options.works or plan.works
    missing = {
        name: MODELS[name].missing for name in plan.works if name in wanted and MODELS[name].missing
    }
    for name, packages in missing.items():
        say(f"{MODELS[name].title} is left out: {' and '.join(packages)} not installed")
    possible = [name for name in wanted if name not in missing]
    return replace(
        plan,
        central=[case for case in plan.central if case.work in possible],
        own=[case for case in plan.own if case.work in possible],
    )


class Run:
    """A run in its course, and what has come of it so far.

    Args:
        plan: what is measured.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.results: dict[str, Any] = {
            **surroundings(),
            "titles": {OURS: "ours", ONNX: COMPILED, EMPTY: "empty ASGI app"}
            | {name: p.title for name, p in plan.peers.items()},
            "requirements": {name: peer.requirements for name, peer in plan.peers.items()},
            "cases": [],
            "tails": [],
            "starts": {},
            "limits": {},
            "failures": [],
        }

    def work(self, name: str, place: Path) -> None:
        """Measure everything with one model."""
        model = MODELS[name]
        made = model.make()
        directory = place / name
        sample = model.inputs(2) if model.sampled else None
        generator.from_model(made, directory, sample_input=sample)
        file = next((directory / "src" / "model").glob("model.*"))
        if self._plan.limits:
            self._limits(name, directory, file)
        central = [case for case in self._plan.central if case.work == name]
        own = [case for case in self._plan.own if case.work == name]
        recipes = [servers.ours(directory)]
        if central:
            recipes += [servers.empty(directory), *self._peers(name, model, file)]
        alike = Alike(model, made)
        if name == ALONE and self._plan.compiled:
            compiled = place / f"{name}-onnx"
            generator.from_model(made, compiled, engine="onnx")
            recipes.append(servers.ours(compiled, name=ONNX, title=COMPILED))
        if name == ALONE and self._plan.starts:
            recipes = [recipe for recipe in recipes if self._alone(recipe, name, alike, place)]
        with self._running(recipes, name, alike, place) as running:
            for case in central:
                self._case(case, running, alike, place)
        tails = [case for case in central if case == one_row(name, TAIL_CONNECTIONS)]
        for workers in sorted({case.workers for case in (*tails, *own)}):
            with self._running([servers.ours(directory, workers)], name, alike, place) as running:
                for case in tails if workers == 1 else ():
                    self._case(case, running, alike, place, "tails")
                for case in own:
                    if case.workers == workers:
                        self._case(case, running, alike, place)

    def _limits(self, name: str, directory: Path, file: Path) -> None:
        say(f"{MODELS[name].title}: the model in a loop")
        found = self.results["limits"]
        loops = found.setdefault("loops", [])
        loops += limits.predictions(name, file)
        if name == IMAGES.work:
            loops += [limits.decoded(name, file, batch) for batch in limits.BATCHES[:2]]
        if name == ALONE and self._plan.starts:
            lock = directory / "server-requirements.txt"
            limits.imports(lock)
            found["imports"] = statistics.median(
                limits.imports(lock) for _ in range(self._plan.starts)
            )
            found["worker_imports"] = limits.worker_imports(directory)

    def _peers(self, name: str, model: Model, file: Path) -> Iterator[Recipe]:
        for peer_name, peer in self._plan.peers.items():
            if peer.serves(model):
                with self._failing(peer_name, name):
                    yield servers.of_peer(peer_name, peer, model, file)

    def _alone(self, recipe: Recipe, name: str, alike: "Alike", place: Path) -> bool:
        """Start it some times with nothing else beside it, the first time uncounted; whether it did."""
        body = alike.body(recipe, 1, "json")
        load = Load(TAIL_CONNECTIONS, 1, max(1, self._plan.seconds - 1), 0)
        seconds, memory = [], []
        with self._failing(recipe.name, name):
            say(f"{recipe.title}: starts")
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
        self, recipes: list[Recipe], name: str, alike: "Alike", place: Path
    ) -> Iterator[list[Server]]:
        """Those of the servers that start and answer as the model in memory does."""
        with contextlib.ExitStack() as stack:
            running = []
            for recipe in recipes:
                with self._failing(recipe.name, name):
                    server = Server.start(recipe, place, alike.body(recipe, 1, "json"))
                    stack.callback(server.stop)
                    if recipe.name != EMPTY:
                        alike.check(server)
                    running.append(server)
            yield running

    @contextlib.contextmanager
    def _failing(self, server: str, work: str) -> Iterator[None]:
        """Note a peer that fails and go on; without ours there is nothing to measure."""
        try:
            yield
        except (Failed, OSError) as failure:
            if server in (OURS, ONNX, EMPTY):
                raise SystemExit(f"{server}: {failure}") from failure
            say(f"{server}: {failure}")
            self.results["failures"].append(
                {"server": server, "work": work, "reason": str(failure)}
            )

    def _case(
        self, case: Case, running: list[Server], alike: "Alike", place: Path, part: str = "cases"
    ) -> None:
        """Measure the servers that run, for a part of the results."""
        say(str(case) if part == "cases" else f"{case}, nothing beside")
        load = self._plan.load(case.connections)
        bodies = {
            server.recipe.name: alike.body(server.recipe, case.rows, case.wire)
            for server in running
        }
        for server, figures in measure(load, case.wire, bodies, running, place).items():
            if "failed" not in figures:
                figures["rows_per_second"] = figures["requests"] * case.rows
            self.results[part].append({**vars(case), "server": server, **figures})


class Alike:
    """One model's requests, and what must be answered.

    Args:
        model: the model.
        made: the model in memory.
    """

    def __init__(self, model: Model, made: Any) -> None:
        self._model = model
        self._definition = by_name(model.framework)
        self._made = made

    def body(self, recipe: Recipe, rows: int, wire: str) -> Body:
        return recipe.wires[wire].encode(self._model.inputs(rows))

    def check(self, server: Server) -> None:
        """
        Raises:
            Failed: it does not answer what the model in memory predicts.
        """
        tolerance = max(self._definition.tolerance, 1e-5 if self._definition.tolerance else 0)
        tensors = hasattr(self._model.inputs(1), "dtype")
        for wire in server.recipe.wires:
            for rows in (1, 7) if tensors or wire == "json" else ():
                inputs = self._model.inputs(rows)
                expected = self._definition.predict(self._made, inputs)
                answer = server.post(wire, self.body(server.recipe, rows, wire))
                if difference := compare(expected, answer, tolerance).difference:
                    raise Failed(
                        f"it does not answer as the model in memory does, {wire}: {difference}"
                    )


def surroundings() -> dict[str, Any]:
    return {
        "version": version(),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}",
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
        say(f"no chart is drawn: {error}")
    else:
        chart.draw(output, chart.files(output))
    say(f"wrote {output} and what is made from it")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
