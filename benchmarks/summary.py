"""The central cases of a run beside the best peer of each, as Markdown tables.

python benchmarks/summary.py benchmarks/results/VERSION.json
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from targets import ALONE, LIMITS, ONNX, OURS, Case, best, figures, plural

Row = dict[str, Any]
SMALL_LEAD = 1.5
MORE_CORES = 0.1
MICRO = 1e6


@dataclass(frozen=True)
class Comparison:
    """Our figures in a case beside those of the best peer.

    Attributes:
        case: the load.
        ours: our figures.
        peer: the figures of the peer with the most requests a second. `server` is its variant.
        count: the number of peers that were measured.
    """

    case: Case
    ours: Row
    peer: Row
    count: int

    @property
    def ratio(self) -> float:
        """How many times the requests of the best peer ours answers."""
        return float(self.ours["requests"] / self.peer["requests"])


def comparisons(results: dict[str, Any]) -> list[Comparison]:
    """The cases in which a peer was measured too, in the order of the run."""
    found = []
    for case in dict.fromkeys(map(Case.of, results["cases"])):
        servers = figures(results, case)
        name, _ = best(servers, "requests")
        if name and OURS in servers:
            count = len(servers.keys() - {OURS, ONNX, *LIMITS})
            found.append(Comparison(case, servers[OURS], servers[name], count))
    return found


def cores(row: Row) -> float:
    """How many cores a server has kept busy."""
    return float(row["processor"] * row["requests"] / MICRO)


def lines(results: dict[str, Any]) -> Iterator[str]:
    """The tables, and the cases where the lead is small."""
    rows = comparisons(results)
    if not rows:
        return
    yield from _table(results, rows)
    yield from _costs(results, rows)
    if small := [row for row in rows if row.ratio < SMALL_LEAD]:
        cases = "; ".join(f"{_load(results, row.case)} ({row.ratio:.2f} times)" for row in small)
        yield ""
        yield f"The lead is small, or there is none: {cases}."
    if wider := [row for row in rows if cores(row.ours) > cores(row.peer) + MORE_CORES]:
        cases = "; ".join(_load(results, row.case) for row in wider)
        yield ""
        yield f"With a core free, because ours keeps more cores busy than the best peer: {cases}."


def _table(results: dict[str, Any], rows: list[Comparison]) -> Iterator[str]:
    heads = (
        "model and load",
        "the best peer",
        "requests a second",
        "times",
        "p50, ms",
        "p99, ms",
        "processor a request, µs",
        "busy cores",
    )
    yield _line(heads)
    yield _line(["---", "---", *["---:"] * (len(heads) - 2)])
    for row in rows:
        pair = (row.ours, row.peer)
        yield _line(
            (
                _load(results, row.case),
                f"{results['titles'][row.peer['server']]} (of {row.count})",
                _pair(f"{one['requests']:,.0f}" for one in pair),
                f"{row.ratio:.3g}",
                _pair(f"{one['median']:.2f}" for one in pair),
                _pair(f"{one['p99']:.2f}" for one in pair),
                _pair(f"{one['processor']:.0f}" for one in pair),
                _pair(f"{cores(one):.1f}" for one in pair),
            )
        )


def _costs(results: dict[str, Any], rows: list[Comparison]) -> Iterator[str]:
    """Memory and start of ours and of each peer that is the best in a case."""
    starts = results["starts"]
    leaders = {OURS, *(row.peer["server"] for row in rows)} & starts.keys()
    if OURS not in leaders:
        return
    yield ""
    yield _line(
        (f"{results['works'][ALONE]}, each server alone", "memory, MB", "it/ours", "ready, s")
    )
    yield _line(("---", "---:", "---:", "---:"))
    ours = starts[OURS]["memory"]
    for name in sorted(leaders, key=lambda name: starts[name]["memory"]):
        memory, seconds = starts[name]["memory"], starts[name]["seconds"]
        yield _line(
            (
                results["titles"][name],
                f"{memory / 1e6:.0f}",
                f"{memory / ours:.2f}",
                f"{seconds:.2f}",
            )
        )


def _load(results: dict[str, Any], case: Case) -> str:
    return f"{results['works'][case.work]}, {plural(case.rows, 'row')}, c={case.connections}"


def _pair(texts: Iterator[str]) -> str:
    return " / ".join(texts)


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n".join(lines(json.loads(Path(sys.argv[1]).read_text()))))
