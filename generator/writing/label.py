"""The model's version in the Dockerfile, for the image's label, and in the image's tag."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common import MOST_DIGITS
from ..layout import DOCKERFILES, KUSTOMIZATION, MANIFESTS

ARGUMENT = "ARG MODEL_VERSION"
TAG_KEY, LABEL_KEY = "newTag", r"app\.kubernetes\.io/version"
IMAGE_KEYS = "image|Image|imageUri"


def label_version(
    directory: Path, before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[str]:
    """Write the version wherever it is still as it was generated: a value of the owner's stays.

    The tag of an image in a manifest is replaced too, where it is the version before.

    Args:
        directory: the scaffold's.
        before: what `config.yaml` recorded of the model before.
        after: what it records of the new one.

    Returns:
        The paths of the files that have changed.
    """
    old, new = _version(before), _version(after)
    line = _line(rf"{ARGUMENT}=", f'"(?:|{re.escape(old)})"')
    changed = _written(directory, DOCKERFILES, line, f'"{new}"')
    for key, form in ((TAG_KEY, image_tag), (LABEL_KEY, label_value)):
        value = rf" *(?P<quote>[\"']?)(?:|{re.escape(form(old))})(?P=quote)"
        line = _line(rf" *(?:- +)?{key}:", value)
        changed += _written(directory, KUSTOMIZATION, line, f' "{form(new)}"')
    if old:
        start = rf" *(?:- +)?(?:{IMAGE_KEYS}): *[\"']?[^\s\"'#]+:"
        line = _line(start, re.escape(image_tag(old)))
        changed += _written(directory, MANIFESTS, line, image_tag(new))
    return list(dict.fromkeys(changed))


def image_tag(version: str) -> str:
    """The version as an image's tag takes it; distinct for distinct versions."""
    tag = re.sub(r"[^A-Za-z0-9._-]", "-", version)
    return tag if tag == version else f"{tag}-{_digits(version)}"


def label_value(version: str) -> str:
    """The version as the value of a label in Kubernetes; distinct for distinct versions."""
    value = image_tag(version)
    if re.fullmatch(r"(.{0,62}[A-Za-z0-9])?", value):
        return value
    return f"{value[:54]}-{_digits(version)}"


def _digits(version: str) -> str:
    return hashlib.sha256(version.encode()).hexdigest()[:8]


def _version(facts: Mapping[str, Any]) -> str:
    """What config.py makes of the facts. Empty where there is no model."""
    return str(facts.get("version") or str(facts.get("sha256") or "")[:MOST_DIGITS])


def _line(start: str, value: str) -> re.Pattern[bytes]:
    """A line with a value; what stands before and behind it are the groups `before`, `behind`."""
    line = rf"(?m)^(?P<before>{start}){value}(?P<behind>[\"']?[ \r]*(?:#.*)?)$"
    return re.compile(line.encode())


def _written(directory: Path, pattern: str, line: re.Pattern[bytes], value: str) -> list[str]:
    """Put the value into such lines of the files that match a pattern. All else stays."""

    def changed_line(found: re.Match[bytes]) -> bytes:
        return found["before"] + value.encode() + found["behind"]

    changed = []
    for file in filter(Path.is_file, sorted(directory.glob(pattern))):
        old = file.read_bytes()
        if (new := line.sub(changed_line, old)) != old:
            file.write_bytes(new)
            changed.append(file.relative_to(directory).as_posix())
    return changed
