"""What one call of `from_model` makes of a model of each kind, as a table in Markdown.

    UV_FIND_LINKS=... python benchmarks/kinds.py            # all kinds: half an hour
    python benchmarks/kinds.py --only "XGBoost: Booster" --no-images

For each kind: the seconds of the call; whether the scaffold predicts what the model in memory
predicts; whether its server answers so in JSON and in V2; whether it predicts so in an environment
that is made from its `requirements.txt` alone; whether a container of its image does, and the bytes
that the image adds to its base. The kinds are those of `tests/support/models/kinds.py`, and
`tests/hooks/test_kinds.py` checks the same in CI, but for the environment and most images. The
kinds that are refused follow, with what is said of each. `DOCKER` in the environment names the
Docker client.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from images import base, built, image_size, progress, started

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "template" / "src")]

import generator  # noqa: E402
from common.bodies.v2 import v2_metadata  # noqa: E402
from common.bodies.v2.v2_tensors import tensors_of_response  # noqa: E402
from common.config import Config  # noqa: E402
from generator.running.comparison import compare  # noqa: E402
from support.models.kinds import KINDS, REFUSED, Made  # noqa: E402

TOLERANCE = 1e-6
YES = "yes"
CHECKS = ("memory", "JSON", "V2")
ISOLATED, IMAGE = "isolated", "its image"


@dataclass
class Row:
    """What was seen of a kind.

    Attributes:
        seconds: those of `from_model`.
        checks: "yes", or what was wrong, for each check.
        image: bytes that the image adds to its base; None if it was not built.
    """

    seconds: float
    checks: dict[str, str] = field(default_factory=dict)
    image: int | None = None


@contextmanager
def made_scaffold(made: Made, directory: Path) -> Iterator[tuple[generator.Scaffold, Row]]:
    start = time.perf_counter()
    scaffold = generator.from_model(
        made.model, directory, sample_input=made.sample, **made.settings
    )
    with closing(scaffold):
        yield scaffold, Row(time.perf_counter() - start)


def answered(scaffold: generator.Scaffold, url: str, made: Made) -> dict[str, str]:
    """Whether the scaffold and its server answer the example as the model in memory does."""
    config = Config.read(scaffold.directory / "config.yaml", {})
    rows, wanted = example(scaffold)
    with httpx.Client(base_url=url, timeout=60) as client:
        return {
            "memory": _said(bool(scaffold.verify(made.sample))),
            "JSON": _json(client, rows, wanted),
            "V2": _v2(client, config, wanted) if made.has_json_tensors else "binary alone",
        }


def example(scaffold: generator.Scaffold) -> tuple[Any, Any]:
    """The scaffold's example, and what it predicts for it."""
    rows = Config.read(scaffold.directory / "config.yaml", {}).model.example
    return rows, scaffold.predict(rows)["predictions"]


def in_container(scaffold: generator.Scaffold) -> tuple[str, int]:
    """Whether a container of its image answers as the scaffold does, and the bytes that it adds."""
    rows, wanted = example(scaffold)
    with (
        built(scaffold) as (image, _),
        started(image) as (_, url, _),
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        return _json(client, rows, wanted), image_size(image) - image_size(base())


def _said(equal: bool) -> str:
    return YES if equal else "different"


def _json(client: httpx.Client, rows: Any, wanted: Any) -> str:
    answer = client.post("/v1/models/model:predict", json={"instances": rows})
    if answer.status_code != 200:
        return answer.text
    return _said(bool(compare(wanted, answer.json()["predictions"], TOLERANCE)))


def _v2(client: httpx.Client, config: Config, wanted: Any) -> str:
    answer = client.post("/v2/models/model/infer", json=v2_metadata.example(config))
    if answer.status_code != 200:
        return answer.text
    found = {each["name"]: each["data"] for each in answer.json()["outputs"]}
    tensors = {
        name: tensor.ravel().tolist()
        for name, tensor in tensors_of_response({"predictions": wanted}).items()
    }
    if found.keys() != tensors.keys():
        return f"outputs {', '.join(found)} instead of {', '.join(tensors)}"
    return _said(all(compare(tensors[name], found[name], TOLERANCE) for name in tensors))


def measured(name: str, directory: Path, with_image: bool) -> Row:
    """All that the table says of a kind."""
    made = KINDS[name]()
    with made_scaffold(made, directory) as (scaffold, row):
        with scaffold.serve(port=0) as server:
            row.checks = answered(scaffold, server.url, made)
        row.checks[ISOLATED] = _said(bool(scaffold.verify(environment="isolated")))
        if with_image:
            row.checks[IMAGE], row.image = in_container(scaffold)
    return row


def table(rows: dict[str, Row]) -> str:
    """The table in Markdown."""
    checked = (*CHECKS, ISOLATED, IMAGE)
    titles = ("kind", "made, s", "equal in memory", *checked[1:], "image over its base, MB")
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for name, row in rows.items():
        checks = [row.checks.get(check, "-") for check in checked]
        image = f"{row.image / 1e6:.0f}" if row.image else "-"
        cells = [name, f"{row.seconds:.1f}", *checks, image]
        lines.append("| " + " | ".join(" ".join(cell.split()) for cell in cells) + " |")
    return "\n".join(lines)


def refusals() -> str:
    """What `from_model` says of the kinds that it refuses, in Markdown."""
    lines = ["| refused | reason |", "|---|---|"]
    for name, make in REFUSED.items():
        progress(name)
        made = make()
        with tempfile.TemporaryDirectory() as directory:
            try:
                generator.from_model(
                    made.model, Path(directory) / "made", sample_input=made.sample, **made.settings
                )
            except generator.ScaffoldError as error:
                said = " ".join(str(error).split()).replace("|", "\\|")
                lines.append(f"| {name} | {said} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Try from_model with a model of each kind.")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--no-images", action="store_true", help="build no images")
    arguments = parser.parse_args()
    rows: dict[str, Row] = {}
    for name in arguments.only:
        progress(name)
        with tempfile.TemporaryDirectory() as directory:
            try:
                rows[name] = measured(name, Path(directory) / "made", not arguments.no_images)
            except (generator.ScaffoldError, ImportError, httpx.HTTPError) as error:
                rows[name] = Row(float("nan"), {"memory": f"{type(error).__name__}: {error}"})
    print(table(rows))
    if arguments.only == list(KINDS):
        print(f"\n{refusals()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
