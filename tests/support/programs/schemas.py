"""Manifests, validated with the schemas in the kubernetes and kserve packages.

    python schemas.py

Runs in the server's environment, which has both. For each line with a file's name on standard
input it prints the faults as a JSON list. In KFServing's environment, with the template's src/ on
the path, KFServing's schemas take the place of KServe's.
"""

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes.client
import yaml

if importlib.util.find_spec("kserve") is None:
    importlib.import_module(
        "common.serving.applications.kfserving_application"
    )  # which brings what KFServing imports
    models = importlib.import_module("kfserving")
else:
    models = importlib.import_module("kserve.models")

KINDS = {
    ("serving.kserve.io/v1beta1", "InferenceService"): "V1beta1InferenceService",
    ("serving.kubeflow.org/v1beta1", "InferenceService"): "V1beta1InferenceService",
    ("apps/v1", "Deployment"): "V1Deployment",
    ("v1", "Service"): "V1Service",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "V2HorizontalPodAutoscaler",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
}
PLAIN = {"str": str, "int": int, "float": (int, float), "bool": bool}


def faults(document: Any) -> Iterator[str]:
    """Unknown keys of a manifest, missing ones, and values of another type."""
    key = (document.get("apiVersion"), document.get("kind"))
    if key in KINDS:
        yield from _faults(document, KINDS[key], str(key[1]))
    else:
        yield f"{key} is no kind that is known"


def _faults(value: Any, kind: str, place: str) -> Iterator[str]:
    inner = re.fullmatch(r"[Ll]ist\[(.*)\]", kind)
    if inner:
        if not isinstance(value, list):
            yield f"{place} must be a list, it is {value!r}"
            return
        for index, item in enumerate(value):
            yield from _faults(item, inner[1], f"{place}[{index}]")
    elif pair := re.fullmatch(r"[Dd]ict[\[(]str, (.*)[\])]", kind):
        for name, item in value.items() if isinstance(value, dict) else [("", value)]:
            yield from _faults(item, pair[1], f"{place}.{name}")
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind != "bool" and isinstance(value, bool)):
            yield f"{place} must be of type {kind}, it is {value!r}"
    elif model := _model(kind):
        yield from _object_faults(value, model, place)


def _model(kind: str) -> Any:
    """The class of a schema; None for any value, such as a port's number or name."""
    return getattr(models, kind, None) or getattr(kubernetes.client, kind, None)


def _object_faults(value: Any, model: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place} must be an object, it is {value!r}"
        return
    if not hasattr(model, "attribute_map"):
        return
    attributes = {written: name for name, written in model.attribute_map.items()}
    for written, item in value.items():
        if written in attributes:
            yield from _faults(item, model.openapi_types[attributes[written]], f"{place}.{written}")
        else:
            yield f"{place}.{written} is unknown"
    try:
        model(
            **{
                attributes[written]: item
                for written, item in value.items()
                if written in attributes
            }
        )
    except ValueError as error:  # a required one is missing, or a value is none of those there are
        yield f"{place}: {' '.join(str(error).split())}"


if __name__ == "__main__":
    for line in sys.stdin:
        manifests = yaml.safe_load_all(Path(line.rstrip("\n")).read_text())
        print(json.dumps([fault for each in manifests for fault in faults(each)]), flush=True)
