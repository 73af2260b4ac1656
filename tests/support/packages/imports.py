"""Who imports whom in a package, read from its source: imports in functions count too."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

Graph = dict[str, set[str]]
Order = Sequence[tuple[str, ...]]
"""Rooms, from the lowest level to the highest; those of one level may not import each other."""


def modules(directory: Path, package: str) -> dict[str, Path]:
    """Each module of the package in a directory, by its full name. Links are not followed."""
    found = {}
    for path in sorted(directory.rglob("*.py")):
        parts = path.relative_to(directory).with_suffix("").parts
        found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def imports(files: Mapping[str, Path]) -> Graph:
    """Each module, and those of the others that it imports."""
    return {name: _known(name, path, files) for name, path in files.items()}


def _known(name: str, path: Path, files: Mapping[str, Path]) -> set[str]:
    """The known modules that a module imports, or imports a name from."""
    found = set()
    for full in imported_names(name, path):
        while full and full not in files:
            full = full.rpartition(".")[0]
        found.add(full)
    return found - {name, ""}


def imported_names(module: str, path: Path) -> Iterator[str]:
    """The full name of everything that a module imports, as in `package.module.name`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = ".".join(filter(None, [_above(package, node.level), node.module]))
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _above(package: str, level: int) -> str:
    """What the dots of a relative import stand for; "" where there are none."""
    if not level:
        return ""
    parts = package.split(".")
    return ".".join(parts[: len(parts) - level + 1])


def wrong(graph: Graph, order: Order) -> list[str]:
    """Every import that does not go downwards or is part of a cycle, with both modules' names.

    Args:
        graph: the modules of one package.
        order: the rooms: folders and modules at the package's top, `__init__` among them.
    """
    levels = {room: level for level, rooms in enumerate(order) for room in rooms}
    found = [f"{name} is in no room" for name in graph if _room(name) not in levels]
    for name, target in _edges(graph):
        room, other = _room(name), _room(target)
        if {room, other} <= levels.keys() and room != other and levels[room] <= levels[other]:
            found.append(f"{name} imports {target}: {room} is not above {other}")
    return found + _cycle(graph)


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _edges(graph: Graph) -> Iterator[tuple[str, str]]:
    for name, targets in graph.items():
        yield from ((name, target) for target in sorted(targets))


def _cycle(graph: Graph) -> list[str]:
    """The imports that are left when modules that import none of the rest are taken away."""
    left = {name: set(targets) for name, targets in graph.items()}
    while free := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in free}
    names = set().union(*left.values()) & left.keys()
    edges = [edge for edge in _edges(left) if set(edge) <= names]
    return [f"{name} imports {target}: in a cycle" for name, target in edges]
