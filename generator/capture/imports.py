"""What source imports, read off the source: nothing is imported for it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_MISSING_IS_FINE = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


_NEVER_RUN = {
    "TYPE_CHECKING",
    "typing.TYPE_CHECKING",
    "__name__ == '__main__'",
}  # conditions, in a module's own code


@dataclass(frozen=True)
class Import:
    """A module that source imports.

    Attributes:
        module: its absolute name.
        required: whether it must be there. A name that `from package import name` takes may be no module at all, and
            what stands in `try` may be missing.
        written: the import as it stands in the source.
    """

    module: str
    required: bool
    written: str


def imports(tree: ast.AST, package: str) -> Iterator[Import]:
    """Everything that source imports when it is imported or run, wherever in it that stands.

    Args:
        tree: the parsed source.
        package: the package that relative imports start from, "" for a top-level module.
    """
    for node, optional in _statements(tree, False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, not optional, ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            module = absolute(node, package)
            yield Import(module, not optional, ast.unparse(node))
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", False, ast.unparse(node))


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that an import names, seen from its package."""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1] if node.level else []
    return ".".join([*base, *filter(None, [node.module])])


def _statements(node: ast.AST, optional: bool) -> Iterator[tuple[ast.AST, bool]]:
    """The nodes below, each with whether its failing to import is provided for."""
    children: list[tuple[ast.AST, bool]]
    if isinstance(node, ast.If) and ast.unparse(node.test) in _NEVER_RUN:
        children = [(child, optional) for child in node.orelse]
    elif isinstance(node, ast.Try) and any(map(_catches, node.handlers)):
        tried = [
            *node.body,
            *node.handlers,
        ]  # what the handler imports stands in for what was tried
        children = [(child, True) for child in tried] + [
            (child, optional) for child in (*node.orelse, *node.finalbody)
        ]
    else:
        children = [(child, optional) for child in ast.iter_child_nodes(node)]
    for child, provided in children:
        yield child, provided
        yield from _statements(child, provided)


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in _MISSING_IS_FINE for kind in kinds)
