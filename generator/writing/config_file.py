"""Reads and changes the facts in a scaffold's `config.yaml`. What its owner wrote stays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..common import written
from ..errors import ScaffoldError
from ..yaml_edit import Document

FACTS = ("model_metadata", "model")
FIX = "correct it there, or restore the file from git"


def read_config(path: Path) -> dict[str, Any]:
    """What a `config.yaml` holds.

    Raises:
        ScaffoldError: the file cannot be read, or is not one YAML document that is a mapping.
    """
    values: dict[str, Any] = _document(path).value
    return values


def read_facts(path: Path) -> dict[str, Any]:
    """What a `config.yaml` records of the model: the keys of `model_metadata.model`.

    Raises:
        ScaffoldError: as `read_config`.
    """
    found = value_at(read_config(path), FACTS)
    return dict(_mapping(path, FACTS, found))


def value_at(document: Any, keys: Sequence[str]) -> Any:
    """The value that keys lead to; None if there is none."""
    for key in keys:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Set keys of `model_metadata.model` in a `config.yaml`. All else in it stays, byte for byte.

    Raises:
        ScaffoldError: as `read_config`, or YAML cannot hold a value.
    """
    write_values(path, {(*FACTS, key): value for key, value in facts.items()})


def write_values(path: Path, values: Mapping[Sequence[str], Any]) -> None:
    """Set values in a `config.yaml`. All else in it stays, byte for byte.

    Args:
        path: the file.
        values: the keys that lead to a value, to the value. Missing keys are added.

    Raises:
        ScaffoldError: as `read_config`, or YAML cannot hold a value.
    """
    document = _document(path)
    new = document.value
    for keys, value in values.items():
        new = _with_value(path, new, keys, value)
    try:
        path.write_bytes(document.changed(new).encode("utf-8"))
    except (yaml.YAMLError, RecursionError) as error:
        raise ScaffoldError(f"{path} cannot hold the model's facts: {_reason(error)}") from error


def _with_value(
    path: Path, document: Mapping[str, Any], keys: Sequence[str], value: Any, depth: int = 0
) -> dict[str, Any]:
    """A copy of the document with a value. Aliases share mappings, so the original stays."""
    key = keys[depth]
    if depth + 1 < len(keys):
        inner = _mapping(path, keys[: depth + 1], document.get(key))
        value = _with_value(path, inner, keys, value, depth + 1)
    return {**document, key: value}


def _mapping(path: Path, keys: Sequence[str], value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ScaffoldError(f"{path}: {'.'.join(keys)} must be a mapping, it is {written(value)}")
    return value


def _document(path: Path) -> Document:
    try:
        document = Document(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise ScaffoldError(f"{path} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ScaffoldError(f"{path} is not YAML: {_reason(error)}; {FIX}") from error
    if not isinstance(document.value, dict):
        raise ScaffoldError(f"{path} must hold a mapping, not {written(document.value)}; {FIX}")
    return document


def _reason(error: Exception) -> str:
    """PyYAML's message, on one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    message = ", ".join(part for part in (error.context, error.problem) if part)
    return f"line {mark.line + 1}, column {mark.column + 1}: {' '.join(message.split())}"
