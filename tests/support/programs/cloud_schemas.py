"""Files for clouds, validated by what their makers publish on PyPI.

    python cloud_schemas.py

Runs in an environment with azure-ai-ml, cfn-lint and google-api-python-client, none of which asks a
cloud here. For each line with a file's name on standard input it prints the faults as a JSON list.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from azure.ai.ml import load_online_deployment, load_online_endpoint
from cfnlint.api import lint
from googleapiclient import discovery_cache

KINDS = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}
MOST = 1500  # characters of a message: some list all values that there are
REFUSED = ("Not supported by Cloud Run", "Output only")


class Discovery:
    """The description of an API of Google's, as its clients read it."""

    def __init__(self, name: str) -> None:
        documents = Path(discovery_cache.__file__).parent / "documents"
        self.document = json.loads((documents / name).read_text())
        self.schemas = self.document["schemas"]

    def request(self, method: str) -> dict[str, Any]:
        """The schema of a method's body, as in models.upload of projects.locations."""
        found = self.document
        *resources, verb = ("projects", "locations", *method.split("."))
        for resource in resources:
            found = found["resources"][resource]
        request: dict[str, Any] = found["methods"][verb]["request"]
        return request

    def faults(self, value: Any, schema: dict[str, Any], place: str) -> Iterator[str]:
        """Unknown fields, values of another type, and fields that nobody may set."""
        if schema.get("description", "").startswith(REFUSED):
            yield f"{place} is not for you to set: {schema['description'].partition('.')[0]}"
        schema = self.schemas.get(schema.get("$ref"), schema)
        kind = schema.get("type", "any")
        if kind in KINDS and (
            not isinstance(value, KINDS[kind]) or (kind == "integer" and value is True)
        ):
            yield f"{place} must be of type {kind}, it is {value!r}"
        elif "enum" in schema and value not in schema["enum"]:
            yield f"{place} is {value!r}, none of {schema['enum']}"
        elif kind == "array":
            for index, item in enumerate(value):
                yield from self.faults(item, schema["items"], f"{place}[{index}]")
        elif kind == "object":
            known, others = schema.get("properties", {}), schema.get("additionalProperties")
            for name, item in value.items():
                if name in known or others:
                    yield from self.faults(item, known.get(name, others), f"{place}.{name}")
                else:
                    yield f"{place}.{name} is unknown"

    def annotations(self, resource: str) -> set[str]:
        """The annotations that Cloud Run takes on a resource, which it says in words alone."""
        words = self.schemas["ObjectMeta"]["properties"]["annotations"]["description"]
        found = re.findall(r"`([\w./-]+)`: ([\w, ]+)", words)
        return {name for name, resources in found if resource in resources.split(", ")}


def cloud_run(file: Path) -> Iterator[str]:
    api, document = Discovery("run.v1.json"), yaml.safe_load(file.read_text())
    yield from api.faults(document, {"$ref": "Service"}, "Service")
    for resource, of in (("Service", document), ("Revision", document["spec"]["template"])):
        for name in of["metadata"].get("annotations", {}).keys() - api.annotations(resource):
            yield f"{name} is no annotation of a {resource}"


def vertex_ai(file: Path) -> Iterator[str]:
    api = Discovery("aiplatform.v1.json")
    for method, body in yaml.safe_load(file.read_text()).items():
        yield from api.faults(body, api.request(method), method)


def sagemaker(file: Path) -> Iterator[str]:
    for match in lint(file.read_text(), regions=["us-east-1"]):
        yield f"{'.'.join(map(str, match.path or ()))}: {match.message}"[:MOST]


def azure_ml(file: Path) -> Iterator[str]:
    load = load_online_endpoint if "endpoint" in file.name else load_online_deployment
    try:
        load(source=file)
    except Exception as error:  # of marshmallow, or of the entity that it makes
        yield " ".join(str(error).split())[:MOST]


CHECKS = {
    "azureml-deployment": azure_ml,
    "azureml-endpoint": azure_ml,
    "cloudrun": cloud_run,
    "sagemaker": sagemaker,
    "vertex": vertex_ai,
}

if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        named = Path(line.rstrip("\n"))
        print(json.dumps(list(CHECKS[named.stem](named))), flush=True)
