"""The Python on all pages parses, and what it uses of this package exists."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Document
from sybil.parsers.markdown import CodeBlockParser

import generator
from generator.scaffold import Scaffold
from support.rendering.checkouts import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.md"))
# The names that the pages give them.
OWNERS = {"generator": generator, "scaffold": Scaffold}


def blocks(path: Path) -> Iterator[tuple[int, str]]:
    """The python blocks of a page, each with the number of its first line."""
    for example in Document.parse(str(path), CodeBlockParser("python", lambda _: None)):
        yield example.line + 1, textwrap.dedent(example.parsed)


def parsed(source: str) -> ast.Module:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    module: ast.Module = compile(source, "block", "exec", flags)
    return module


def unknown(tree: ast.Module) -> Iterator[str]:
    """The attributes and keywords in a block that do not exist."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _owner(node) is not None:
            if not hasattr(_owner(node), node.attr):
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = getattr(_owner(node.func), node.func.attr, None)
            if callable(called):
                known = _keywords(called)
                yield from (
                    f"{ast.unparse(node.func)}({each.arg}=)"
                    for each in node.keywords
                    if each.arg and each.arg not in known
                )


def _owner(node: ast.Attribute) -> Any:
    return OWNERS.get(node.value.id) if isinstance(node.value, ast.Name) else None


def _keywords(called: Callable[..., Any]) -> set[str]:
    names = set(inspect.signature(called).parameters)
    if called is generator.from_file:  # it passes all others on
        names |= set(inspect.signature(generator.from_model).parameters)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))
def test_the_python_of_a_page(page: Path) -> None:
    for line, source in blocks(page):
        wrong = list(unknown(parsed(source)))
        assert not wrong, f"{page.relative_to(ROOT)}, line {line}: there is no {', '.join(wrong)}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("generator.form_model(model)", ["generator.form_model"]),
        ("generator.from_model(m, 'a', sample=1)", ["generator.from_model(sample=)"]),
        ("generator.from_file('a', 'b', engine='onnx', trust=True)", []),
        ("await generator.async_client('u', header={})", ["generator.async_client(header=)"]),
        ("scaffold.serve(8080); scaffold.start", ["scaffold.start"]),
        ("scaffold.verify(rows, expects=1)", ["scaffold.verify(expects=)"]),
        ("model.anything(at=1)", []),
    ],
)
def test_what_does_not_exist_is_found(source: str, expected: list[str]) -> None:
    assert list(unknown(parsed(source))) == expected


def test_a_page_that_is_no_python(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\n>>> generator.new\n```\n")
    with pytest.raises(SyntaxError):
        test_the_python_of_a_page(page)
