"""The facts about a model that the generator writes into a scaffold's `config.yaml`."""

import re
from pathlib import Path
from typing import Any

import yaml

from .errors import ScaffoldError


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Set keys of `model:` in a `config.yaml`; everything else in it, comments too, stays as it is.

    Raises:
        ScaffoldError: the file has no such key.
    """
    text = path.read_text(encoding="utf-8")
    for key, value in facts.items():
        pattern = rf"(?m)^    {key}:.*\n(?:(?:      .*|    - .*)\n)*"
        text, count = re.subn(pattern, lambda _, key=key, value=value: _entry(key, value), text, count=1)  # type: ignore[misc]
        if not count:
            raise ScaffoldError(f"{path} has no model.{key}: it is no config.yaml of this template")
    path.write_text(text, encoding="utf-8")


def _entry(key: str, value: Any) -> str:
    """`key: value` at the depth of `model:`. Lists of plain values stay on one line."""
    text = yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True, width=4096, default_flow_style=None)
    return "".join(f"    {line}\n" for line in text.splitlines())
