"""The words of messages: values as JSON has them, and lists of names."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MOST_CHARACTERS = 40
MOST_WRITTEN = 80  # characters
MOST_BITS = 128  # of a whole number that is written out


def kind_of(value: Any) -> str:
    """What a value is, in the words of JSON: `the number 5.1`, `the string 'a'`, `an object`."""
    value = _plain(value)
    if isinstance(value, str):
        return f"the string {shown(value)}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"the number {shown(value)}"
    return shown(value)


def shown(value: Any) -> str:
    """A value on one short line: `5.1`, `true`, `null`, `'a'`.

    A container is only named, because it may be nested deeply: `a list of 3`, `an object`.
    """
    value = _plain(value)
    if isinstance(value, (str, bytes)):
        return _cut(value)
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        return f"of {value.bit_length()} bits"
    if value is None or isinstance(value, (int, float)):  # a bool is an int
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {list(value.shape)}"
    return f"a value of type {type_name(value)}"


def written(value: Any) -> str:
    """A value of `config.yaml` with all that it holds, on one line, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    if value is None or isinstance(value, (bool, list, dict)):
        text = json.dumps(value, default=str, ensure_ascii=False)
    if len(text) <= MOST_WRITTEN:
        return text
    return text[: MOST_WRITTEN - 3] + "..."


def type_name(value: Any) -> str:
    """The name of a value's type, such as `fractions.Fraction`."""
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def no_version(asked: str, known: str | None) -> str:
    """Why the model is not served in the version that a client asks for."""
    if known is None:
        return f"the model has no version: leave out the version {shown(asked)}"
    return f"there is no version {shown(asked)} here, the version is {known!r}"


def listing(names: Sequence[str]) -> str:
    """Names in quotes, the first eight of them."""
    listed = ", ".join(repr(name) for name in names[:8])
    if len(names) > 8:
        return f"{listed} and {len(names) - 8} more"
    return listed


def _plain(value: Any) -> Any:
    """A scalar of numpy as Python's own; any other value as it is."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    return value


def _cut(text: str | bytes) -> str:
    if len(text) <= MOST_CHARACTERS:
        return repr(text)
    return f"{text[:MOST_CHARACTERS]!r}..."
