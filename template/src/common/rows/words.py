"""The words of the messages about rows: values as JSON has them, and lists of names."""

from collections.abc import Sequence
from typing import Any


def kind_of(value: Any) -> str:
    """What a parsed value is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the string {value[:40]!r}"
    if isinstance(value, (int, float)):
        return f"the number {value!r}"[:60]
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    return f"a value of type {type(value).__name__}"


def listing(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    if len(names) > 8:
        return f"{shown} and {len(names) - 8} more"
    return shown
