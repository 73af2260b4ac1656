"""What truss does with a scaffold on its way to Baseten, by truss's own functions.

    python pushing.py read CONFIG...          a line of JSON for each: what truss reads, or why not
    python pushing.py send DIRECTORY TARGET   unpacks there what `truss push` would send
    python pushing.py build DIRECTORY TARGET  writes there the context that Baseten would build

Runs in an environment that has truss.
"""

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from truss.base.truss_config import TrussConfig
from truss.contexts.image_builder.serving_image_builder import ServingImageBuilderContext
from truss.remote.baseten.core import archive_dir


def read(path: Path) -> dict[str, Any]:
    """The configuration as truss understands it, checked as `truss push` checks it."""
    try:
        config = TrussConfig.from_yaml(path)
        config.validate_forbid_extra()
    except ValueError as error:
        return {"refused": str(error)}
    return config.to_dict()


def send(directory: Path, target: Path) -> None:
    with tarfile.open(fileobj=archive_dir(directory)) as archive:
        archive.extractall(target, filter="data")


def build(directory: Path, target: Path) -> None:
    ServingImageBuilderContext.run(directory).prepare_image_build_dir(target)


if __name__ == "__main__":
    action, *paths = sys.argv[1], *map(Path, sys.argv[2:])
    if action == "read":
        for path in paths:
            print(json.dumps(read(path)))
    else:
        {"send": send, "build": build}[action](*paths)
