"""The messages in docs/guides/troubleshooting.md are in the code, so that the page cannot drift.

A message in the code is a text with fields. Each quoted message must hold all fixed parts of such
a text, in their order, and these must be a good part of it. What the fields hold, and what `...`
leaves out, is free.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guides" / "troubleshooting.md"
SOURCES = ("generator", "hooks", "template/src")
QUESTIONS = ROOT / "copier.yml"
DOCKERFILE = ROOT / "template" / "{{ framework }}-server.Dockerfile.jinja"
OTHERS = ("(Docker's own message)", "(uv's own message)")
LEAST = 10  # characters of a text's fixed parts: shorter ones are everywhere
SHARE = 0.3  # of the letters of a quoted message that must be of one text in the code


def quoted() -> Iterator[str]:
    """The messages in the first column of the page's tables."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cell = line.removeprefix("| ").partition(" | ")[0]
        found = re.fullmatch(r"(?:\d{3} )?`(.+)`", cell)
        if line.startswith("| ") and found and not cell.endswith(OTHERS):
            yield found[1]


def texts_of(tree: ast.AST) -> Iterator[list[str]]:
    """The fixed parts of each text in a module: what is between its fields."""
    nodes = list(ast.walk(tree))
    with_fields = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in with_fields for part in node.values}
    for node in with_fields:
        fixed = [str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values]
        yield "".join(fixed).split("\0")
    for node in nodes:
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            yield re.split(r"%[sdgr]|\{\w*\}", node.value)


def texts() -> list[list[str]]:
    """The fixed parts of each text in the code."""
    found: list[list[str]] = []
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py*")):
            if file.suffix == ".py" or file.name.startswith("{%"):
                found += texts_of(ast.parse(file.read_text(encoding="utf-8")))
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        found.append(re.split(r"\{\{.*?\}\}|\{%.*?%\}", line.strip()))
    shell = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", "")
    for text in re.findall(r'(?:echo|fail) ("[^"]*"(?:\s+"[^"]*")*)', shell):
        found.append(re.split(r"\$\{[^}]*\}|\$\([^)]*\)|\$\w+", re.sub(r'"\s+"|"', " ", text)))
    told = {tuple(part.replace("`", "").strip() for part in parts) for parts in found}
    fixed = [[part for part in parts if part.strip(" :,'\"(")] for parts in told]
    return [parts for parts in fixed if sum(map(len, parts)) >= LEAST]


def places(parts: list[str], message: str) -> set[int]:
    """Where the parts stand in a message, one after the other; nowhere if one is missing."""
    found: set[int] = set()
    at = 0
    for part in parts:
        start = message.find(part, at)
        if start < 0:
            return found.union(rest) if (rest := cut_off(part, message, at)) else set()
        at = start + len(part)
        found.update(range(start, at))
    return found


def cut_off(text: str, message: str, at: int) -> range:
    """Where a message has the beginning of a text, and then `...`."""
    start = message.find(text[:LEAST], at)
    end = message.find("...", start)
    if min(start, end) >= 0 and text.startswith(message[start:end].rstrip()):
        return range(start, end)
    return range(0)


def share(message: str, known: list[list[str]]) -> float:
    """Which part of a message's letters one text of the code has, the one that has most."""
    letters = {place for place, letter in enumerate(message) if letter.isalpha()}
    most = max(len(places(parts, message) & letters) for parts in known)
    return most / len(letters)


@pytest.fixture(scope="module")
def known() -> list[list[str]]:
    return texts()


def test_the_quoted_messages_are_the_codes(known: list[list[str]]) -> None:
    strange = [message for message in quoted() if share(message, known) < SHARE]
    assert not strange, f"{PAGE.name} quotes what the code does not say: {strange}"


def test_a_message_that_nothing_says_is_found(known: list[list[str]]) -> None:
    assert share("the teapot refuses to brew coffee on weekdays, pour water first", known) < SHARE


def test_the_page_has_messages_of_every_phase() -> None:
    assert len(list(quoted())) >= 80
