"""The targets for the figures of a run, and whether they are met."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

OURS, ONNX, KSERVE, EMPTY, BEST = "ours", "onnx", "kserve_sdk", "empty", "the best peer"
LIMITS = (EMPTY, "nginx", "epoll")
ALONE = "forest"  # whose servers are measured alone on the machine too
MANY = 256


@dataclass(frozen=True)
class Case:
    """The load on a server.

    Attributes:
        work: the model's name in `models.MODELS`.
        rows: the number of rows in a request.
        wire: the format of the body, by its name in `wires.WIRES`.
        connections: the number of connections that send requests at the same time.
        workers: the number of worker processes of our server.
    """

    work: str
    rows: int
    wire: str
    connections: int
    workers: int = 1

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Case":
        """The case of a row of results."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})

    def __str__(self) -> str:
        text = f"{self.work}, {plural(self.rows, 'row')}, {self.wire}, c={self.connections}"
        if self.workers == 1:
            return text
        return f"{text}, {self.workers} workers"


def plural(count: int, noun: str) -> str:
    """A number with its noun: "1 row", "2 rows"."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}s"


@dataclass(frozen=True)
class Target:
    """A bound on the ratio of one of our figures to another figure.

    Attributes:
        case: the case of our figure.
        figure: `requests`, `median` or `rows`.
        of: the other server, or another wire of our server.
        bound: the least ratio, or for a median the largest.
        ours: the name of our server.
    """

    case: Case
    figure: str
    of: str
    bound: float
    ours: str = OURS

    @property
    def at_least(self) -> bool:
        return self.figure != "median"


def one_row(work: str, connections: int) -> Case:
    return Case(work, 1, "json", connections)


BODIES = ("logistic", "digits")
BINARY = ("msgpack", "v2 binary")
TARGETS = [
    Target(one_row("forest", 32), "requests", KSERVE, 18),
    Target(one_row("forest", 32), "requests", BEST, 3),
    Target(one_row("forest", 256), "requests", KSERVE, 60),
    Target(one_row("forest", 256), "requests", BEST, 8),
    Target(one_row("forest", 32), "requests", KSERVE, 80, ours=ONNX),
    Target(one_row("logistic", 32), "requests", KSERVE, 15),
    Target(one_row("logistic", 32), "requests", BEST, 10),
    Target(one_row("logistic", 32), "requests", EMPTY, 0.65),
    Target(one_row("logistic", 1), "median", KSERVE, 0.45),
    Target(one_row("logistic", 1), "median", BEST, 1),
    Target(Case("logistic", MANY, "json", 32), "requests", BEST, 1.5),
    *(
        Target(Case(work, MANY, wire, 32), "requests", "json", 4)
        for work in BODIES
        for wire in BINARY
    ),
    Target(one_row("keras", 32), "requests", KSERVE, 10),
    Target(one_row("keras", 32), "requests", BEST, 3),
    Target(one_row("pytorch", 32), "requests", KSERVE, 10),
    Target(one_row("pytorch", 32), "requests", BEST, 3),
]
IMAGES = Case("images", 1, "msgpack", 32)
IMAGES_BOUND = 0.9
ENGINES = {OURS: "", ONNX: ", engine: onnx"}
TAIL_BOUND = 3
TAIL_CONNECTIONS = 32
MEMORY_BOUND = 1
START_BOUND = 1.5
GENERATION_BOUND = 1.5


def judge(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The verdict on each target whose figures were measured: its text, the figure, and `met`."""
    return [
        *_ratios(results),
        *_images(results),
        *_tails(results),
        *_forest(results),
        *_generation(results),
    ]


def _verdict(text: str, figure: float, bound: float, at_least: bool) -> dict[str, Any]:
    sign, met = "<=", figure <= bound
    if at_least:
        sign, met = ">=", figure >= bound
    return {"text": f"{text} {sign} {bound:g}", "figure": figure, "bound": bound, "met": met}


def figures(results: dict[str, Any], case: Case) -> dict[str, dict[str, Any]]:
    """The figures of each server in a case, without those that failed.

    Of a peer's variants it has the best only, under the peer's name. `server` names the variant.
    """
    found = [row for row in results["cases"] if Case.of(row) == case and "failed" not in row]
    return {peer_of(row["server"]): row for row in sorted(found, key=lambda row: row["requests"])}


def peer_of(server: str) -> str:
    """The name of the peer that a server is a variant of."""
    return server.partition("/")[0]


def best(servers: dict[str, dict[str, Any]], figure: str) -> tuple[str, float]:
    """The name of the peer with the best figure, and the figure. NaN if there is no peer."""
    values = {
        name: row[figure] for name, row in servers.items() if name not in (OURS, ONNX, *LIMITS)
    }
    if not values:
        return "", math.nan
    ranked = sorted(values, key=lambda one: values[one], reverse=figure != "median")
    return ranked[0], values[ranked[0]]


def _ratios(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for target in TARGETS:
        servers = figures(results, target.case)
        name, other = _other(results, target, servers)
        if target.ours in servers and not math.isnan(other):
            text = f"{target.case}{ENGINES[target.ours]}: {target.figure} / {name}"
            ratio = servers[target.ours][target.figure] / other
            yield _verdict(text, ratio, target.bound, target.at_least)


def _other(
    results: dict[str, Any], target: Target, servers: dict[str, dict[str, Any]]
) -> tuple[str, float]:
    """The name of the other figure of a target, and the figure."""
    if target.of == BEST:
        name, value = best(servers, target.figure)
        return f"the best peer ({name})", value
    if target.of in (KSERVE, EMPTY):
        return target.of, servers.get(target.of, {}).get(target.figure, math.nan)
    case = Case(**{**vars(target.case), "wire": target.of})
    return f"our own {target.of}", figures(results, case).get(OURS, {}).get(target.figure, math.nan)


def _images(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    loops = [
        loop
        for loop in results["limits"].get("loops", [])
        if loop.get("decoded") and loop["work"] == IMAGES.work
    ]
    row = figures(results, IMAGES).get(OURS)
    if row and loops:
        ratio = row["rows_per_second"] / max(loop["rows_per_second"] for loop in loops)
        yield _verdict(f"{IMAGES}: rows / decode and predict in a loop", ratio, IMAGES_BOUND, True)


def _tails(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part, condition in (("cases", ""), ("tails", ", alone")):
        for row in results[part]:
            case = Case.of(row)
            if (
                row["server"] == OURS
                and "failed" not in row
                and case == one_row(case.work, TAIL_CONNECTIONS)
            ):
                ratio = row["p99"] / row["median"]
                yield _verdict(f"{case}{condition}: p99 / median", ratio, TAIL_BOUND, False)


def _forest(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    starts, limits = results["starts"], results["limits"]
    if OURS in starts and KSERVE in starts and "worker_imports" in limits:
        limit = starts[KSERVE]["memory"] + limits["worker_imports"]
        text = "forest: memory / (kserve_sdk + the worker's imports)"
        yield _verdict(text, starts[OURS]["memory"] / limit, MEMORY_BOUND, False)
    if OURS in starts and "imports" in limits:
        ratio = starts[OURS]["seconds"] / limits["imports"]
        yield _verdict(
            "forest: start to ready / `import sklearn` and `import kserve` together",
            ratio,
            START_BOUND,
            False,
        )


def _generation(results: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if seconds := results["limits"].get("from_model"):
        yield _verdict(
            "from_model of the forest, the slowest of its runs, s",
            max(seconds),
            GENERATION_BOUND,
            False,
        )
