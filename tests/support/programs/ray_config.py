"""Serve's configs, validated with Ray's own schema.

    python ray_config.py FILE ...

Runs in an environment that has Ray, and prints a line for each file: a JSON list of its faults.
The schema accepts unknown keys, so that an older Ray takes a newer config: here they are faults.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import ServeDeploySchema


def faults(document: Any) -> Iterator[str]:
    """Unknown keys of a config, missing ones, and values of another type."""
    try:
        known = ServeDeploySchema.model_validate(document)
        scalings = [
            (
                deployment.pop("autoscaling_config"),
                f"{application['name']}.{deployment['name']}.autoscaling_config",
            )
            for application in document["applications"]
            for deployment in application.get("deployments", [])
            if "autoscaling_config" in deployment
        ]
        yield from unknown(document, known.model_dump(exclude_unset=True), "config")
        for scaling, place in scalings:  # in the schema it is a dict of anything
            yield from unknown(
                scaling,
                AutoscalingConfig.model_validate(scaling).model_dump(exclude_unset=True),
                place,
            )
    except ValidationError as error:
        for each in error.errors():
            yield f"{'.'.join(map(str, each['loc']))}: {each['msg']}"


def unknown(written: Any, known: Any, place: str) -> Iterator[str]:
    if isinstance(written, list):
        for index, (item, known_item) in enumerate(zip(written, known, strict=True)):
            yield from unknown(item, known_item, f"{place}[{index}]")
    elif isinstance(written, dict):
        for key, value in written.items():
            if key in known:
                yield from unknown(value, known[key], f"{place}.{key}")
            else:
                yield f"{place}.{key} is unknown"


if __name__ == "__main__":
    for file in sys.argv[1:]:
        print(json.dumps(list(faults(yaml.safe_load(Path(file).read_text())))))
