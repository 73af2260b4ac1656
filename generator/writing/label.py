"""The model's version in the Dockerfile, for the image's label."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common import MOST_DIGITS
from ..files import edit
from ..layout import DOCKERFILES

ARGUMENT = "ARG MODEL_VERSION"


def label_version(directory: Path, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Write the version wherever it is still as it was generated: a value of the owner's stays.

    Args:
        directory: the scaffold's.
        before: what `config.yaml` recorded of the model before.
        after: what it records of the new one.
    """
    olds = "|".join(re.escape(old) for old in ("", _version(before)))
    line, new = rf'(?m)^{ARGUMENT}="(?:{olds})"$', f'{ARGUMENT}="{_version(after)}"'
    for file in directory.glob(DOCKERFILES):
        edit(file, lambda text: re.sub(line, new, text))


def _version(facts: Mapping[str, Any]) -> str:
    """What config.py makes of the facts. Empty where there is no model."""
    return str(facts.get("version") or str(facts.get("sha256") or "")[:MOST_DIGITS])
