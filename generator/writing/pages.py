"""Writes what is known of the model into the marked parts of `README.md` and `model-card.md`.

A mark holds the first digits of its part's SHA-256. So a part that the owner has edited is known,
and stays. All that is outside of the marks stays in any case.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from ..files import edit
from ..hooks import by_name
from ..layout import CONFIG, MODEL_CARD, README
from ..owners import warn
from ..running.runtime import Runtime
from ..showing.kept_sample import KeptSample
from ..showing.pages import Told, parts
from .config_file import read_facts

PAGES = (README, MODEL_CARD)
DIGITS = 8
PART = re.compile(
    r"(?ms)^<!-- (?P<name>\w+) (?P<digest>[0-9a-f]{8})(?P<note>[^\n]*) -->\n"
    r"(?P<text>.*?)\n<!-- end of (?P=name) -->$"
)


def write_pages(directory: Path) -> list[str]:
    """Write the parts of both files, where they are there and nobody has edited them.

    Args:
        directory: the scaffold's, with its model and its smoke test.

    Returns:
        The files' paths.
    """
    files = [name for name in PAGES if _is_text(directory / name)]
    if files:
        new = parts(_told(directory))
        for name in files:
            _write(directory / name, new)
    return files


def _told(directory: Path) -> Told:
    config = Runtime(directory).config()
    return Told(
        name=config.name,
        version=getattr(config.model, "version", None),  # an older template's has none
        model=read_facts(directory / CONFIG),
        sample=KeptSample.read(directory),
        tolerance=by_name(config.framework).as_configured(config.model).tolerance_of(config.model),
    )


def _is_text(file: Path) -> bool:
    """Whether it is a file that can be edited. A link's target is elsewhere, and stays."""
    if file.is_symlink() or not file.is_file():
        return False
    try:
        file.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _write(file: Path, new: Mapping[str, str]) -> None:
    edited = []

    def replaced(found: re.Match[str]) -> str:
        name, text = found["name"], found["text"]
        if name not in new:
            return found[0]
        if digest(text) != found["digest"]:
            edited.append(name)
            return found[0]
        text = new[name]
        return f"<!-- {name} {digest(text)}{found['note']} -->\n{text}\n<!-- end of {name} -->"

    edit(file, lambda text: PART.sub(replaced, text))
    if edited:
        warn(
            f"{file.name} may tell of the model before, because you have edited its parts"
            f" {', '.join(edited)}: correct them there"
        )


def digest(text: str) -> str:
    """What the mark of a part says of its text."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
