"""The facts about a model that the generator writes into a scaffold's `config.yaml`."""

import re
from pathlib import Path
from typing import Any

import yaml

from ..errors import ScaffoldError
from ..files import edit


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Set keys of `model:` in a `config.yaml`; everything else in it, comments too, stays as it is.

    Raises:
        ScaffoldError: the file has no such key.
    """
    edit(path, lambda text: _with_facts(path, text, facts))


def _with_facts(path: Path, text: str, facts: dict[str, Any]) -> str:
    for key, value in facts.items():
        place = re.search(rf"(?m)^    {key}:.*\n(?:      .*\n)*", text)
        if place is None:
            raise ScaffoldError(
                f"{path} has no model.{key}: its template is older or another: `update` may bring it"
            )
        text = text[: place.start()] + _entry(key, value) + text[place.end() :]
    return text


def _entry(key: str, value: Any) -> str:
    """`key: value` at the depth of `model:`. What holds only plain values stays on one line."""
    text = yaml.safe_dump(
        value, sort_keys=False, allow_unicode=True, width=4096, default_flow_style=None
    )
    lines = text.removesuffix("...\n").splitlines()
    if len(lines) == 1 and not lines[0].startswith("- "):
        return f"    {key}: {lines[0]}\n"
    return f"    {key}:\n" + "".join(f"      {line}\n" for line in lines)
