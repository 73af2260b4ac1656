"""Prints the results of a run as a table.

python report.py RESULTS.json
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import summary
from targets import LIMITS, OURS, Case, figures, plural

FORM = "  {:<38} {:>10} {:>11} {:>9} {:>9} {:>8} {:>9}"
TAILS = "  {:<38} {:>10} {:>9} {:>9} {:>10}"
STARTS = "  {:<38} {:>8} {:>10} {:>10} {:>10}"
VERDICTS = {True: "met", False: "MISSED"}


def table(results: dict[str, Any]) -> str:
    """The results as text, one part after the other."""
    parts = (_head, _cases, _tails, _starts, _limits, _targets, _summary)
    return "".join(f"{line}\n" for part in parts for line in part(results))


def _head(results: dict[str, Any]) -> Iterator[str]:
    yield ", ".join(
        [f"{results['version']} ({results['commit']})", results["date"], results["machine"]]
    )
    for failure in results["failures"]:
        server = results["titles"][failure["server"]]
        yield f"left out with {failure['work']}: {server}: {failure['reason']}"


def _cases(results: dict[str, Any]) -> Iterator[str]:
    for case in dict.fromkeys(map(Case.of, results["cases"])):
        found = figures(results, case)
        ours = found.get(OURS, {}).get("requests", math.nan)
        yield f"\n{case}"
        yield FORM.format(
            "", "requests/s", "rows/s", "p50, ms", "p99, ms", "CPU, µs", "ours/it"
        ).rstrip()
        for name, row in sorted(found.items(), key=lambda item: -item[1]["requests"]):
            rate = row["requests"]
            rates = [f"{rate:.0f}", f"{row['rows_per_second']:.0f}"]
            if name in LIMITS:
                rates[1] = ""
            latencies = [f"{row['median']:.2f}", f"{row['p99']:.2f}"]
            rest = [f"{row['processor']:.0f}", _ratio(ours / rate)]
            title = results["titles"][row["server"]]
            yield FORM.format(title, *rates, *latencies, *rest).rstrip()
        yield from _failed(results, case)


def _tails(results: dict[str, Any]) -> Iterator[str]:
    if results["tails"]:
        yield "\nours, alone"
        yield TAILS.format("", "requests/s", "p50, ms", "p99, ms", "p99/p50")
    for row in results["tails"]:
        if "failed" not in row:
            latencies = [
                f"{row['median']:.2f}",
                f"{row['p99']:.2f}",
                f"{row['p99'] / row['median']:.2f}",
            ]
            yield TAILS.format(str(Case.of(row)), f"{row['requests']:.0f}", *latencies)


def _failed(results: dict[str, Any], case: Case) -> Iterator[str]:
    for row in results["cases"]:
        if "failed" in row and Case.of(row) == case:
            yield f"  {results['titles'][row['server']]}: {row['failed']}"


def _ratio(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.2f}"


def _starts(results: dict[str, Any]) -> Iterator[str]:
    starts = results["starts"]
    if not starts:
        return
    yield "\nthe forest, each server alone"
    yield STARTS.format("", "ready, s", "it/ours", "memory, MB", "it/ours")
    ours = starts[OURS]
    for name, row in sorted(starts.items(), key=lambda item: item[1]["seconds"]):
        memory = [f"{row['memory'] / 1e6:.0f}", f"{row['memory'] / ours['memory']:.2f}"]
        ready = [f"{row['seconds']:.2f}", f"{row['seconds'] / ours['seconds']:.2f}"]
        yield STARTS.format(results["titles"][name], *ready, *memory)


def _limits(results: dict[str, Any]) -> Iterator[str]:
    limits = results["limits"]
    if limits:
        yield "\nlimits"
    for loop in limits.get("loops", []):
        what = "predict"
        if loop.get("decoded"):
            what = "decode msgpack and predict"
        rate = f"{loop['rows_per_second']:.0f} rows/s"
        rows = plural(loop["batch"], "row")
        yield f"  {loop['work']}, {what} {rows} a call in a loop: {rate}"
    if "imports" in limits:
        yield f"  `import sklearn` and `import kserve` together: {limits['imports']:.2f} s"
        yield f"  imports of the forest's worker: {limits['worker_imports'] / 1e6:.0f} MB"
    if "from_model" in limits:
        seconds = ", ".join(f"{one:.2f}" for one in limits["from_model"])
        yield f"  from_model, with the generator's import: {seconds} s"


def _targets(results: dict[str, Any]) -> Iterator[str]:
    if results["targets"]:
        yield "\ntargets"
    for target in results["targets"]:
        verdict = VERDICTS[target["met"]]
        yield f"  {verdict:<6} {target['figure']:>8.3g}   {target['text']}"


def _summary(results: dict[str, Any]) -> Iterator[str]:
    found = list(summary.lines(results))
    if found:
        yield "\nours / the best peer of each case (the best of its variants)\n"
    yield from found


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())), end="")
