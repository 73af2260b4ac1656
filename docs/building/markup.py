"""Markdown, as the generated parts need it."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a line break in a cell becomes a space."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: object) -> str:
    """Text as code, whatever marks are in it."""
    written = " ".join(str(text).split())
    if "`" in written:
        return f"`` {written} ``"
    return f"`{written}`"


def heading(text: str, anchor: str, level: int = 3) -> str:
    """A heading of code with an anchor of its own."""
    return f"{'#' * level} {code(text)} {{#{anchor}}}"


def blocks(parts: Iterable[str]) -> str:
    """Paragraphs, tables and headings, one after another."""
    return "\n\n".join(filter(None, parts))
