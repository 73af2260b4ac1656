"""Finds long sentences in Markdown: `python docs/building/prose.py [FILE or FOLDER ...]`.

Code, tables, addresses, comments and Jinja are no prose. A heading and an item of a list end a
sentence, a colon does not.
"""

import functools
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKED = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs",
    "template/README.md.jinja",
    "template/model-card.md.jinja",
)
SUFFIXES = (".md", ".md.jinja")
MOST_WORDS = 30
SHORTENED = ("e.g.", "i.e.", "etc.", "vs.", "cf.")

FENCE = re.compile(r"^\s*(?:>\s*)?(`{3,}|~{3,})")
# Each is replaced by as many lines, so that line numbers stay.
NO_PROSE = [
    (re.compile(r"\A---\n.*?^---$", re.MULTILINE | re.DOTALL), ""),  # the head of a page
    (re.compile(r"<!--.*?-->|\{%.*?%\}|\{#.*?#\}", re.DOTALL), ""),
    (re.compile(r"\{\{.*?\}\}", re.DOTALL), "Word"),
    (re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL), "Word"),
    (re.compile(r"!\[[^\]]*\]\([^)]*\)"), ""),
    (re.compile(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])"), r"\1"),
    (re.compile(r"<?https?://[^\s>)]+>?"), "Word"),
    (re.compile(r"</?[A-Za-z][^>]*>"), " "),
]
BLOCK = re.compile(r"^\s*(?:[-*+]|\d+[.)]|#{1,6}|>|[!?]{3}\+?)\s+")  # begins another piece of text
END = re.compile(r"(?<=[.!?])[\"')*_\]]*\s+")


@dataclass(frozen=True)
class Sentence:
    """A sentence and the line that it begins on."""

    line: int
    text: str

    @property
    def words(self) -> int:
        return sum(any(map(str.isalnum, word)) for word in self.text.split())


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences of a page."""
    for begin, lines in _blocks(_prose(text).split("\n")):
        yield from _sentences(begin, "\n".join(lines))


def long_ones(text: str) -> list[Sentence]:
    """The sentences of more than `MOST_WORDS` words."""
    return [each for each in sentences(text) if each.words > MOST_WORDS]


def _prose(text: str) -> str:
    text = _without_code(text)
    for pattern, instead in NO_PROSE:
        text = pattern.sub(functools.partial(_replaced, instead=instead), text)
    return text


def _replaced(found: "re.Match[str]", instead: str) -> str:
    """What stands in place of what is no prose, on as many lines."""
    new = found.expand(instead)
    return new + "\n" * (found[0].count("\n") - new.count("\n"))


def _without_code(text: str) -> str:
    """The text with empty lines in place of code between fences."""
    lines, fence = [], ""
    for line in text.split("\n"):
        found = FENCE.match(line)
        if not fence and found:
            fence = found[1]
            line = ""
        elif fence:
            if found and found[1].startswith(fence) and line.strip(" >") == found[1]:
                fence = ""
            line = ""
        lines.append(line)
    return "\n".join(lines)


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Paragraphs, headings and items with the numbers of their first lines."""
    begin, block = 0, list[str]()
    for number, line in enumerate([*lines, ""], 1):
        is_table = line.lstrip().startswith("|")
        starts = BLOCK.match(line)
        if block and (starts or is_table or not line.strip()):
            yield begin, block
            block = []
        if not line.strip() or is_table:
            continue
        if not block:
            begin = number
        block.append(BLOCK.sub("", line) if starts else line)
        if starts and "#" in starts[0]:  # a heading is one line
            yield begin, block
            block = []


def _sentences(begin: int, block: str) -> Iterator[Sentence]:
    start = 0
    for found in [*END.finditer(block), None]:
        end = found.end() if found else len(block)
        text = block[start:end]
        if found and text.rstrip().endswith(SHORTENED):
            continue
        if text.strip():
            line = begin + block[:start].count("\n")
            yield Sentence(line, " ".join(text.split()))
        start = end


def _files(names: Sequence[str]) -> Iterator[Path]:
    for path in map(Path, names):
        if not path.exists():
            sys.exit(f"{path} is not there: name files or folders")
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in files if path == file or file.name.endswith(SUFFIXES))


def main(names: Sequence[str]) -> int:
    """Print the long sentences. Returns the exit status: 1 where there are any."""
    status = 0
    for file in _files(names or [str(ROOT / name) for name in CHECKED]):
        for each in long_ones(file.read_text(encoding="utf-8")):
            name = file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
            print(f"{name}:{each.line}: {each.words} words: {each.text}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
