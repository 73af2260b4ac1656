"""`reference/http.md`: the routes, from the OpenAPI of a model of a table, and gRPC's methods."""

import functools
from collections.abc import Iterator
from typing import Any

from common.config import Config
from common.serving.applications import openapi
from common.serving.grpc import calls, inference, messages

from .markup import blocks, code, table

ALWAYS = ("200", *map(str, openapi.OF_ALL))
TAGS = {
    "V1": "V1: KServe's first protocol",
    "V2": "V2: the Open Inference Protocol",
    "Platforms": "Routes of platforms",
    "Server": "The server",
}
TABLE = {
    "model_name": "model",
    "model_metadata": {
        "framework": "sklearn",
        "server": "kserve",
        "model": {
            "input": {
                "kind": "table",
                "columns": [
                    {"name": "age", "type": "number", "dtype": "float64"},
                    {"name": "city", "type": "string", "dtype": "object"},
                ],
            },
            "output": {
                "kind": "class",
                "dtype": "int64",
                "probabilities": True,
                "classes": [0, 1],
            },
            "example": [{"age": 41.0, "city": "Bern"}],
            "version": "1.0",
        },
    },
}


@functools.cache
def document() -> dict[str, Any]:
    """`/openapi.json` of a scaffold of a table, as far as routes go."""
    return openapi.document(Config.from_document(TABLE))


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each route: its method, its path and what is said of it."""
    for path, methods in document()["paths"].items():
        for method, described in methods.items():
            yield method.upper(), path, described


def page() -> str:
    """The routes, by protocol."""
    return blocks(part for tag, title in TAGS.items() for part in _tagged(tag, title))


def _tagged(tag: str, title: str) -> Iterator[str]:
    found = [each for each in operations() if tag in each[2]["tags"]]
    yield f"### {title} {{#routes-{tag.lower()}}}"
    rows = [
        (code(f"{method} {path}"), _purpose(described), _bodies(described), _errors(described))
        for method, path, described in found
    ]
    yield table(("route", "what it does", "body", "more errors"), rows)


def _purpose(described: dict[str, Any]) -> str:
    """What a route is for, and what it answers where that is no JSON."""
    (media_type,) = described["responses"]["200"]["content"]
    answer = "" if media_type == openapi.JSON else f" The answer is {code(media_type)}."
    return f"{described['summary']}.{answer}"


def _bodies(described: dict[str, Any]) -> str:
    return ", ".join(map(code, described.get("requestBody", {}).get("content", {})))


def _errors(described: dict[str, Any]) -> str:
    return ", ".join(status for status in described["responses"] if status not in ALWAYS)


def statuses() -> str:
    """What each status of an error means."""
    return table(
        ("status", "when"), [(str(status), words) for status, words in openapi.ERRORS.items()]
    )


def grpc() -> str:
    """V2's methods, and which status stands for which of HTTP's."""
    name = f"{messages.PACKAGE}.{messages.SERVICE}"
    methods = [
        (code(f"{name}/{method}"), inference.REFUSED.get(method, "answered"))
        for method in (*messages.METHODS, messages.STREAM)
    ]
    known = [(str(status), code(each.name)) for status, each in calls.STATUSES.items()]
    return blocks([table(("method", ""), methods), table(("HTTP", "gRPC"), known)])
