"""A `def` or `class` statement of the session, with the names that it uses."""

import ast
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

# Statements that a top-level definition may be inside of
_NESTING = (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.ExceptHandler)


@dataclass(frozen=True)
class Definition:
    """A `def` or `class` at the top level.

    Attributes:
        name: what it defines.
        text: its source.
        place: the number of its file, and its line; definitions are sorted by them.
        uses: the global names in it.
        first: the global names that defining it uses: bases, decorators, defaults.
        chains: the attributes that it reads, as in `np.linalg.norm`.
    """

    name: str
    text: str
    place: tuple[int, int]
    uses: frozenset[str]
    first: frozenset[str]
    chains: frozenset[str]


def statements(tree: ast.AST, name: str) -> Iterator[ast.stmt]:
    """The statements at the top level of a module that define the name."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if child.name == name:
                yield child
        elif isinstance(child, _NESTING):
            yield from statements(child, name)


def line_numbers(node: Any) -> range:
    """The lines of a definition, from its first decorator on."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return range(first, node.end_lineno + 1)


def read(name: str, node: ast.stmt, lines: list[str], file_number: int) -> Definition:
    """The definition that a statement makes.

    Args:
        name: what it defines.
        node: the statement.
        lines: all lines of its file.
        file_number: the number of its file, in the order in which files ran.
    """
    numbers = line_numbers(node)
    text = "".join(lines[numbers.start - 1 : numbers.stop - 1]).rstrip()
    if node.col_offset:  # dedenting the text would change a string over several lines
        text = ast.unparse(node)
    table = symtable.symtable(text, name, "exec")
    return Definition(
        name=name,
        text=text,
        place=(file_number, numbers.start),
        uses=frozenset(_globals(table, through_functions=True)) - {name},
        first=frozenset(_globals(table, through_functions=False)) - {name},
        chains=frozenset(_chains(node)),
    )


def _globals(table: symtable.SymbolTable, through_functions: bool) -> Iterator[str]:
    """The names that a definition takes from its module."""
    is_module = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (is_module or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        if through_functions or child.get_type() != "function":
            yield from _globals(child, through_functions)


def _chains(node: ast.AST) -> Iterator[str]:
    """The chains of attributes in a definition, as in `np.linalg.norm`."""
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute):
            text = ast.unparse(part)
            if text.replace(".", "").isidentifier():
                yield text


def ordered(definitions: Iterable[Definition]) -> Iterator[Definition]:
    """The definitions in their own order, but each after those that defining it uses."""
    by_place = sorted(definitions, key=lambda definition: definition.place)
    waiting = {definition.name: definition for definition in by_place}
    while waiting:
        ready = (each for each in waiting.values() if not each.first & waiting.keys())
        chosen = next(ready, next(iter(waiting.values())))
        del waiting[chosen.name]
        yield chosen
