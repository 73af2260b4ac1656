"""A client that knows a model by its V2 metadata alone."""

import base64
import json
from typing import Any


def request(metadata: dict[str, Any], rows: list[Any]) -> dict[str, Any]:
    """A V2 request of rows as a JSON body has them, made by what the metadata says.

    Args:
        metadata: of the model.
        rows: objects keyed by the tensors' names, lists of one value for each tensor, or what the
            only tensor holds.
    """
    described = metadata["inputs"]
    names = [tensor["name"] for tensor in described]
    inputs = []
    for at, tensor in enumerate(described):
        values = rows
        if len(described) > 1 or (isinstance(rows[0], dict) and set(rows[0]) == set(names)):
            values = [row[at if isinstance(row, list) else tensor["name"]] for row in rows]
        inputs.append(_tensor(tensor, values))
    return {"inputs": inputs}


def _tensor(described: dict[str, Any], values: list[Any]) -> dict[str, Any]:
    rank = len(described["shape"])
    shape, inner = [len(values)], values
    for _ in range(rank - 1):
        shape.append(len(inner[0]))
        inner = [item for part in inner for item in part]
    for size, known in zip(shape, described["shape"], strict=True):
        assert known in (-1, size), f"{described} does not fit rows of shape {shape}"
    data = [_element(described["datatype"], value) for value in inner]
    return {
        "name": described["name"],
        "datatype": described["datatype"],
        "shape": shape,
        "data": data,
    }


def _element(datatype: str, value: Any) -> Any:
    """A value as the data of a tensor has it."""
    if datatype != "BYTES" or value is None or isinstance(value, str):
        return value
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"]).decode()
    return json.dumps(value)


def check(metadata: dict[str, Any], answer: dict[str, Any]) -> None:
    """Compare an answer's tensors with what the metadata says of them."""
    described = {tensor["name"]: tensor for tensor in metadata["outputs"]}
    found = {tensor["name"]: tensor for tensor in answer["outputs"]}
    assert list(found) == list(described)
    for name, tensor in found.items():
        assert tensor["datatype"] == described[name]["datatype"], tensor
        sizes = described[name]["shape"]
        assert len(tensor["shape"]) == len(sizes), (tensor, sizes)
        pairs = zip(tensor["shape"], sizes, strict=True)
        assert all(known in (-1, size) for size, known in pairs), (tensor, sizes)
        assert sizes[0] == -1
