"""Compares the seconds of an update for a small model and for a model of 500 MB.

    python benchmarks/updating.py

Both scaffolds and their models are in git. Rounds alternate between them. The template is a clone
of this repository with two tagged commits.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import generator

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
MEGABYTES = {"small": 0, "500 MB": 500}
IDENTITY = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")


def main() -> int:
    with tempfile.TemporaryDirectory() as place:
        template = released(Path(place) / "template")
        scaffolds = {
            name: scaffold(Path(place) / name, template, size) for name, size in MEGABYTES.items()
        }
        ways: dict[str, Callable[[Path], None]] = {
            "scaffold.update": update,
            "copier update": copier_update,
        }
        for way, run in ways.items():
            rounds = {name: [] for name in scaffolds}
            for _ in range(ROUNDS):
                for name, directory in scaffolds.items():
                    rounds[name].append(seconds(run, directory))
            medians = {name: statistics.median(values) for name, values in rounds.items()}
            shown = ", ".join(f"{name} {value:.2f} s" for name, value in medians.items())
            print(
                f"{way:<16} {shown}, ratio {medians['500 MB'] / medians['small']:.2f}", flush=True
            )
    return 0


def released(template: Path) -> Path:
    """A template at v99.0.0, which has one more file than v98.0.0."""
    git(ROOT, "clone", "--quiet", str(ROOT), str(template))
    git(template, "tag", "v98.0.0")
    (template / "template" / "src" / "common" / "newer.py").write_text('"""New."""\n')
    git(template, "add", "--all")
    git(template, "commit", "--quiet", "--message", "newer")
    git(template, "tag", "v99.0.0")
    return template


def scaffold(directory: Path, template: Path, megabytes: int) -> Path:
    """A committed scaffold at v98.0.0 with a model of a size."""
    print(f"making a scaffold with a model of {megabytes} MB", file=sys.stderr, flush=True)
    generator.new(directory, template=str(template), ref="v98.0.0")
    with (directory / "src" / "model" / "model.pickle").open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1 << 20))
    git(directory, "init", "--quiet")
    git(directory, "-c", "core.compression=0", "add", "--all")
    git(directory, "commit", "--quiet", "--message", "made")
    return directory


def update(directory: Path) -> None:
    generator.load(directory).update()


def copier_update(directory: Path) -> None:
    command = [str(Path(sys.executable).with_name("copier")), "update", "--defaults", "--quiet"]
    subprocess.run(command, cwd=directory, check=True)


def seconds(run: Callable[[Path], None], directory: Path) -> float:
    """Run an update of a scaffold, undo it, and return the seconds of the update."""
    start = time.perf_counter()
    run(directory)
    taken = time.perf_counter() - start
    git(directory, "checkout", "--quiet", "--", ".")
    git(directory, "clean", "--quiet", "--force", "-d")
    return taken


def git(directory: Path, *arguments: str) -> None:
    subprocess.run(["git", *IDENTITY, *arguments], cwd=directory, check=True)


if __name__ == "__main__":
    sys.exit(main())
