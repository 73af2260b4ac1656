"""Reads the import statements of source code, without importing or running anything."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

# An `except` for one of these handles a failed import.
_IMPORT_ERRORS = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}

# Under one of these conditions, nothing runs when a module is imported.
_NEVER_TRUE = {"TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'"}


@dataclass(frozen=True)
class Import:
    """A module that source code imports.

    Attributes:
        module: its absolute name.
        required: whether the code fails without it. An import inside a `try` may fail, and a name
            after `from package import` may be something other than a module.
        written: the statement as written in the source.
    """

    module: str
    required: bool
    written: str


def imports(tree: ast.AST, package: str) -> Iterator[Import]:
    """Every import in the source, at any depth.

    Args:
        tree: the parsed source.
        package: the package that relative imports start from, "" for a top-level module.
    """
    for node, optional in _nodes(tree, False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, not optional, ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            module = absolute_name(node, package)
            yield Import(module, not optional, ast.unparse(node))
            for alias in node.names:
                yield Import(f"{module}.{alias.name}", False, ast.unparse(node))


def absolute_name(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of the module in `from module import name`, in code of the package."""
    parts: list[str] = []
    if node.level:
        parents = package.split(".")
        parts = parents[: len(parents) - node.level + 1]
    if node.module:
        parts.append(node.module)
    return ".".join(parts)


def _nodes(node: ast.AST, optional: bool) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes below a node. The flag says whether the code handles a failed import there."""
    for child, handled in _children(node, optional):
        yield child, handled
        yield from _nodes(child, handled)


def _children(node: ast.AST, optional: bool) -> Iterator[tuple[ast.AST, bool]]:
    if isinstance(node, ast.If) and ast.unparse(node.test) in _NEVER_TRUE:
        yield from ((child, optional) for child in node.orelse)
    elif isinstance(node, ast.Try) and any(map(_catches_import_error, node.handlers)):
        # the handlers too: what they import is a fallback
        yield from ((child, True) for child in (*node.body, *node.handlers))
        yield from ((child, optional) for child in (*node.orelse, *node.finalbody))
    else:
        yield from ((child, optional) for child in ast.iter_child_nodes(node))


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    kinds = [handler.type]
    if isinstance(handler.type, ast.Tuple):
        kinds = [*handler.type.elts]
    return any(kind is None or ast.unparse(kind) in _IMPORT_ERRORS for kind in kinds)
