"""Programs that find faults in manifests, each in an environment that has the schemas."""

import json
import os
import subprocess
from pathlib import Path

from support.rendering.checkouts import ROOT


class Schemas:
    """A program of `support/programs/` that stays: its imports take seconds.

    Args:
        python: the interpreter of its environment.
        program: its name. It prints the faults of each file that is named to it, as a JSON list.
        environ: variables for it.
    """

    def __init__(self, python: Path, program: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [str(python), "-W", "ignore", str(ROOT / "tests" / "support" / "programs" / program)],
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def faults(self, manifest: Path) -> list[str]:
        """What the schemas find in a manifest."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{manifest}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the schemas' process ended with {self.process.wait()}"
        return list(json.loads(answer))

    def end(self) -> None:
        self.process.communicate()
