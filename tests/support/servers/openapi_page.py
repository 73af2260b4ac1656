"""What Swagger UI does with an OpenAPI document: it sends each operation's example."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from common.bodies import msgpack_encode


@dataclass(frozen=True)
class Operation:
    """An operation of a document."""

    method: str
    path: str
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        identity: str = self.facts["operationId"]
        return identity


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, facts in methods.items():
            yield Operation(method, path, facts)


def send(client: httpx.Client, document: dict[str, Any], operation: Operation) -> httpx.Response:
    """Send an operation's example; where the page has a button for a file, `:predict`'s."""
    assert not operation.facts.get("parameters"), "the page would have to be filled in"
    assert "{" not in operation.path
    if "requestBody" not in operation.facts:
        return client.request(operation.method, operation.path)
    media_type, content = next(iter(operation.facts["requestBody"]["content"].items()))
    if media_type == "application/json":
        return client.request(operation.method, operation.path, json=content["example"])
    assert content["schema"] == {"type": "string", "format": "binary"}
    example = example_of(document, "predict")
    headers = {"content-type": media_type}
    packed = msgpack_encode(example)
    return client.request(operation.method, operation.path, content=packed, headers=headers)


def example_of(document: dict[str, Any], identity: str) -> Any:
    """The example of an operation's JSON body."""
    [found] = [each for each in operations(document) if each.id == identity]
    return found.facts["requestBody"]["content"]["application/json"]["example"]


def check(document: dict[str, Any], operation: Operation, answer: httpx.Response) -> None:
    """Compare an answer with what the document says of it."""
    described = operation.facts["responses"][str(answer.status_code)]
    [(media_type, content)] = described["content"].items()
    assert answer.headers["content-type"].split(";")[0] == media_type, operation.path
    if media_type == "application/json":
        schema = {**content["schema"], "components": document["components"]}
        errors = Draft202012Validator(schema).iter_errors(answer.json())
        assert [error.message for error in errors] == [], operation.path


def check_page(client: httpx.Client) -> dict[str, Any]:
    """Send every operation of the page, and compare the answers; returns the document."""
    document: dict[str, Any] = client.get("/openapi.json").json()
    found = list(operations(document))
    assert len({operation.id for operation in found}) == len(found)
    for operation in found:
        answer = send(client, document, operation)
        assert answer.status_code == 200, (operation.path, answer.text)
        check(document, operation, answer)
        if "requestBody" in operation.facts:
            refused = client.post(operation.path, json={"no": "rows"})
            assert refused.status_code in (400, 415)
            check(document, operation, refused)
    return document
