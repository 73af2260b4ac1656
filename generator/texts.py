"""A text file changed in place: it keeps the line endings that it has."""

from collections.abc import Callable
from pathlib import Path


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Give a file's text, with Unix's line endings, to a function and write what comes back."""
    content = path.read_bytes().decode("utf-8")
    windows = "\r\n" in content
    text = change(content.replace("\r\n", "\n"))
    path.write_bytes((text.replace("\n", "\r\n") if windows else text).encode("utf-8"))
