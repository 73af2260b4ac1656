"""Manifests, by checkov, kubernetes-validate and the schemas of Prometheus's operator.

    python manifest_checks.py

Runs in an environment with these, none of which asks anybody here. For each line with a file's name
on standard input it prints the faults as a JSON list.
"""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

logging.disable()

import kubernetes_validate  # noqa: E402
import yaml  # noqa: E402
from checkov.kubernetes.runner import Runner  # noqa: E402
from checkov.runner_filter import RunnerFilter  # noqa: E402
from cloudcoil.models.prometheus_operator.v1 import PodMonitor  # noqa: E402
from pydantic import ValidationError  # noqa: E402

OURS = {("monitoring.coreos.com/v1", "PodMonitor"): PodMonitor}


def schema_faults(document: dict[str, Any]) -> Iterator[str]:
    kind = document["kind"]
    model = OURS.get((document["apiVersion"], kind))
    try:
        if model is None:
            version = kubernetes_validate.latest_version()
            kubernetes_validate.validate(document, version, strict=True)
        else:
            read = model.model_validate(document)
            if read.model_dump(mode="json", by_alias=True, exclude_unset=True) != document:
                yield f"{kind} has keys that are unknown"
    except ValidationError as error:
        for each in error.errors():
            yield f"{kind} {'.'.join(map(str, each['loc']))}: {each['msg']}"
    except kubernetes_validate.ValidationError as error:
        yield f"{kind} {'.'.join(map(str, error.path))}: {error.message}"


def checkov_faults(manifest: Path) -> Iterator[str]:
    chosen = RunnerFilter(framework=["kubernetes"])
    report = Runner().run(root_folder=None, files=[str(manifest)], runner_filter=chosen)
    assert report.passed_checks, "checkov has checked nothing"
    for each in report.failed_checks:
        yield f"{each.check_id} {each.resource}: {each.check_name}"


if __name__ == "__main__":
    for line in sys.stdin:
        manifest = Path(line.rstrip("\n"))
        documents = yaml.safe_load_all(manifest.read_text())
        faults = [fault for each in documents for fault in schema_faults(each)]
        print(json.dumps([*faults, *checkov_faults(manifest)]), flush=True)
