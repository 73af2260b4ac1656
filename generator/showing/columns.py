"""The inputs and outputs of a model as rows of a table, from `model` in `config.yaml`.

A scaffold may be of any version of the template, so this reads the documents as they are written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common import written

MOST_CATEGORIES = 8


@dataclass(frozen=True)
class Part:
    """One column, input or output.

    Attributes:
        name: its name; None for the whole row, or the whole prediction.
        index: where it is in a row that is a list; None if the whole row is meant.
        dtype: what the model takes.
        json: what a client sends, or gets.
        shape: the shape of one value.
        values: which values it may have, in words.
    """

    name: str | None
    index: int | None = None
    dtype: str = ""
    json: str = ""
    shape: str = ""
    values: str = ""
    is_category: bool = False

    @property
    def label(self) -> str:
        if self.name is not None:
            return self.name
        if self.index is not None:
            return f"[{self.index}]"
        return "each row"


def inputs(document: Any) -> list[Part]:
    """The parts of a row, from `model.input`."""
    if not isinstance(document, Mapping):
        return []
    match document.get("kind"):
        case "table":
            return [_column(each, index) for index, each in _numbered(document.get("columns"))]
        case "tensors":
            return [_tensor(each) for _, each in _numbered(document.get("inputs"))]
        case "array":
            return _values(document)
        case "text":
            return [Part(None, dtype=_text(document, "dtype"), json="string")]
    return [Part(None, json="any")]


def outputs(document: Any) -> list[Part]:
    """The parts of a prediction, from `model.output`."""
    if not isinstance(document, Mapping):
        return []
    several = [_output(each) for _, each in _numbered(document.get("outputs"))]
    return several or [_output(document)]


def _output(document: Mapping[str, Any]) -> Part:
    values = []
    classes = document.get("classes")
    if classes:
        values.append(_listed(classes))
    if document.get("probabilities"):
        values.append("probabilities on request")
    return Part(
        document.get("name") or document.get("kind") or "prediction",
        dtype=_text(document, "dtype"),
        shape=_shape(document),
        values="; ".join(values),
        is_category=document.get("kind") == "class",
    )


def _values(document: Mapping[str, Any]) -> list[Part]:
    """The values of a row of shape [n]; the whole of any other row."""
    shape, names = document.get("shape"), document.get("names")
    whole = _tensor(document)
    if not isinstance(shape, Sequence) or len(shape) != 1 or not isinstance(shape[0], int):
        return [whole]
    if not names or len(names) != shape[0]:
        names = [None] * min(shape[0], 10_000)
    return [
        Part(name, index, dtype=whole.dtype, json=whole.json, values=whole.values)
        for index, name in enumerate(names)
    ]


def _tensor(document: Mapping[str, Any]) -> Part:
    dtype, below = _text(document, "dtype"), document.get("below")
    return Part(
        document.get("name"),
        dtype=dtype,
        json="string" if dtype in ("string", "bytes") else "number",
        shape=_shape(document),
        values=f"0 to {below - 1}" if isinstance(below, int) else "",
    )


def _column(document: Mapping[str, Any], index: int) -> Part:
    values, categories = [], document.get("categories")
    if categories:
        values.append(_listed(categories, " < " if document.get("ordered") else ", "))
    if document.get("unknown"):
        values.append("any other is missing")
    if document.get("missing"):
        values.append(f"null becomes {document['missing']}")
    return Part(
        _text(document, "name"),
        index,
        dtype=_text(document, "dtype"),
        json=_text(document, "format") or _text(document, "type"),
        values="; ".join(values),
        is_category=bool(categories),
    )


def _listed(values: Sequence[Any], separator: str = ", ") -> str:
    first = separator.join(
        value if isinstance(value, str) else written(value) for value in values[:MOST_CATEGORIES]
    )
    if len(values) > MOST_CATEGORIES:
        return f"{first} and {len(values) - MOST_CATEGORIES} more"
    return first


def _shape(document: Mapping[str, Any]) -> str:
    shape = document.get("shape")
    if not shape:
        return ""
    return " × ".join("any" if size is None else str(size) for size in shape)


def _text(document: Mapping[str, Any], key: str) -> str:
    return str(document.get(key) or "")


def _numbered(parts: Any) -> list[tuple[int, Mapping[str, Any]]]:
    if not isinstance(parts, list):
        return []
    return [(index, part) for index, part in enumerate(parts) if isinstance(part, Mapping)]
