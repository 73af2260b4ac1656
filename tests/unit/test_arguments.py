"""What messages call an argument: its name in Python, or the command line's option."""

import ast
import inspect
import re
from collections.abc import Iterator

import pytest

import generator
from generator.arguments import NAME, argument, spelled
from generator.cli import parser
from generator.scaffold import Scaffold
from support.packages.imports import modules
from support.rendering.checkouts import ROOT

API = (generator.from_model, generator.from_file, generator.new, Scaffold.verify, Scaffold.update)
PYTHON_ONLY = {"self", "model", "making", "expected"}
DOES_NOT_RAISE = {
    *("generator.cli", "generator.clients", "generator.arguments"),
    *(f"generator.showing.{name}" for name in ("known", "pages", "scaffold_card")),
}
# Written as an argument, and not as a word: `sample_input`, `wheels=True`, `pass version`.
UNDERSCORED = r"\b(sample_input|python_version|change_signature|target_directory)\b"
GIVEN = r"(?<![`.\w'])({names})=(True|False|NAME|\[|\"|\{{)"
PASSED = r"\b(pass|leave) ({names})( out|[;,]|\.?$)"
FIRST = r"^({names}):? \{{(?!, got)"


def names() -> set[str]:
    return {name for each in API for name in inspect.signature(each).parameters}


@pytest.mark.parametrize(
    ("name", "value", "python", "option"),
    [
        ("sample_input", None, "sample_input", "--sample"),
        ("overwrite", True, "overwrite=True", "--overwrite"),
        ("gpu", False, "gpu=False", "--no-gpu"),
        ("framework", "custom", "framework='custom'", "--framework custom"),
        ("method", NAME, "method=NAME", "--method NAME"),
        ("requirements", ["a b", "c"], "requirements=['a b', 'c']", None),
        ("target_directory", None, "target_directory", "DIRECTORY"),
        ("expected", None, "expected", "expected (in Python)"),
        ("parameters", {"k": 1}, "parameters={'k': 1}", "parameters={'k': 1} (in Python)"),
        ("to", None, "to", "--to"),
    ],
)
def test_spelling(name: str, value: object, python: str, option: str | None) -> None:
    given = () if value is None else (value,)
    assert argument(name, *given) == python
    with spelled(parser().spelling):
        assert argument(name, *given) == (option or "--requirement 'a b' --requirement c")
    assert argument(name, *given) == python


def test_each_argument_has_an_option() -> None:
    commands = parser().commands.values()
    known = {option.action.dest for command in commands for option in command.options}
    assert names() - PYTHON_ONLY - known == set()


def test_no_message_holds_the_name_of_an_argument() -> None:
    listed = "|".join(sorted(names() - {"source"}))
    patterns = [UNDERSCORED, *(form.format(names=listed) for form in (GIVEN, PASSED, FIRST))]
    read = {**modules(ROOT / "generator", "generator"), **modules(ROOT / "hooks", "hooks")}
    assert len(read) > 100
    found = [
        f"{module}: {text}"
        for module, file in read.items()
        if module not in DOES_NOT_RAISE
        for text in messages(file.read_text(encoding="utf-8"))
        for pattern in patterns
        if re.search(pattern, text)
    ]
    assert found == []


def messages(source: str) -> Iterator[str]:
    """The texts of more than one word in a module; `{` stands for what is put into one."""
    tree = ast.parse(source)
    parts: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts.add(node.value)  # a docstring
        elif isinstance(node, ast.JoinedStr):
            parts.update(node.values)
    for node in ast.walk(tree):
        text = ""
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(each.value) if isinstance(each, ast.Constant) else "{" for each in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in parts:
            text = node.value
        if " " in text and "--data" not in text and "| `framework=` |" not in text:
            yield text
