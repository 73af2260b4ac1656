"""Draws the chart of a run from its JSON, as SVG and PNG, with the ratios of earlier releases.

python benchmarks/chart.py benchmarks/results/VERSION.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from targets import KSERVE, LIMITS, ONNX, OURS, Case, best, figures, one_row, plural

matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

PANELS = [
    one_row("logistic", 32),
    one_row("forest", 32),
    one_row("forest", 256),
    Case("logistic", 256, "json", 32),
    one_row("pipeline", 1),
    one_row("pipeline", 32),
    one_row("keras", 32),
    one_row("pytorch", 32),
]
HISTORY = [one_row("logistic", 32), one_row("forest", 32), one_row("forest", 256)]
COLORS = {OURS: "#0b7a75", ONNX: "#5fb3ad"} | dict.fromkeys(LIMITS, "#c9ced6")
PEER_COLOR = "#7d8597"
COLUMNS = 2
INCHES = (13, 4)
METADATA = {".svg": {"Date": None}}  # the same run makes the same file


def files(results: Path) -> list[Path]:
    """The files of a run's chart."""
    return [results.with_suffix(".svg"), results.with_suffix(".png")]


def draw(results: Path, outputs: list[Path]) -> None:
    """Draw a run to each of the output files. Nothing is written if there is nothing to draw."""
    run = json.loads(results.read_text())
    past = releases(results)
    drawn = [panel for panel in PANELS if len(figures(run, panel)) > 1]
    panels = len(drawn) + bool(run["starts"]) * 2 + (len(past) > 1)
    if not panels:
        return
    rows = -(-panels // COLUMNS)
    figure, axes = pyplot.subplots(
        rows, COLUMNS, figsize=(INCHES[0], INCHES[1] * rows), squeeze=False
    )
    places = iter(axes.flat)
    for panel in drawn:
        requests(next(places), run, panel)
    if run["starts"]:
        starts(next(places), run, "seconds", 1, "seconds", "the forest alone, from start to ready")
        starts(
            next(places), run, "memory", 1e6, "MB", "the forest alone, memory of all its processes"
        )
    if len(past) > 1:
        history(next(places), past)
    for rest in places:
        rest.set_axis_off()
    figure.suptitle(
        f"{run['version']}: {run['machine']}, Python {run['python']}, one worker, one run"
    )
    figure.tight_layout()
    matplotlib.rcParams["svg.hashsalt"] = "scaffold"  # for the same ids in each drawing
    for output in outputs:
        figure.savefig(output, dpi=110, metadata=METADATA.get(output.suffix))
    pyplot.close(figure)


def releases(results: Path) -> list[dict[str, Any]]:
    """The full runs in the same directory, this one included, the oldest first."""
    runs = [
        json.loads(file.read_text())
        for file in results.parent.glob("*.json")
        if file.stem[0].isdigit()
    ]
    return sorted(
        runs, key=lambda run: [int(part) for part in run["version"].split(".") if part.isdecimal()]
    )


def requests(place: Any, run: dict[str, Any], case: Case) -> None:
    """Draw the requests a second of each server in a case, of a peer those of its best variant."""
    values = {row["server"]: row["requests"] for row in figures(run, case).values()}
    load = f"{plural(case.rows, 'row')}, {plural(case.connections, 'connection')}"
    title = f"{run['works'][case.work]}, {load}"
    bars(
        place,
        run,
        values,
        title,
        {name: values.get(OURS, 0) / value for name, value in values.items()},
    )
    place.set_xlabel("requests a second", fontsize=8)


def starts(
    place: Any, run: dict[str, Any], figure: str, unit: float, label: str, title: str
) -> None:
    """Draw the seconds or the memory of each server's start."""
    values = {name: row[figure] / unit for name, row in run["starts"].items()}
    bars(
        place,
        run,
        values,
        title,
        {name: value / values[OURS] for name, value in values.items()},
        descending=False,
    )
    place.set_xlabel(label, fontsize=8)


def bars(
    place: Any,
    run: dict[str, Any],
    values: dict[str, float],
    title: str,
    ratios: dict[str, float],
    descending: bool = True,
) -> None:
    """Draw a bar for each server, the best on top, with its figure and our ratio to it."""
    names = sorted(values, key=lambda name: values[name], reverse=not descending)
    colors = [COLORS.get(name, PEER_COLOR) for name in names]
    drawn = place.barh(
        [run["titles"][name] for name in names], [values[name] for name in names], color=colors
    )
    labels = [_label(values[name], ratios[name], name) for name in names]
    place.bar_label(drawn, labels, padding=3, fontsize=8)
    place.set_title(title, fontsize=10, loc="left")
    place.margins(x=0.25)
    place.tick_params(labelsize=8)
    place.spines[["top", "right"]].set_visible(False)


def _label(value: float, ratio: float, name: str) -> str:
    text = f"{value:.3g}"
    if value >= 100:
        text = f"{value:,.0f}"
    if name in (OURS, ONNX, *LIMITS):
        return text
    return f"{text}  (ours {ratio:.1f}x)"


def history(place: Any, runs: list[dict[str, Any]]) -> None:
    """Draw our ratio of requests to KServe's SDK and to the best peer, for each release."""
    versions = [run["version"] for run in runs]
    for case in HISTORY:
        for other, style in ((KSERVE, "-"), ("", "--")):
            ratios = [_times(figures(run, case), other) for run in runs]
            label = f"{case.work}, c={case.connections}, {other or 'best peer'}"
            place.plot(versions, ratios, style, marker="o", markersize=4, label=label)
    place.set_title("requests of ours / theirs, by release", fontsize=10, loc="left")
    place.set_yscale("log")
    place.legend(fontsize=7)
    place.tick_params(labelsize=8)


def _times(servers: dict[str, dict[str, Any]], other: str) -> float:
    name = other or best(servers, "requests")[0]
    if OURS not in servers or name not in servers:
        return float("nan")
    return float(servers[OURS]["requests"] / servers[name]["requests"])


if __name__ == "__main__":
    file = Path(sys.argv[1])
    draw(file, files(file))
