"""Files for `src/model/` that are not Python code, or that the owner names.

- A package that is copied brings the files in its directory, up to `MAX_BYTES` in all. Python's
  code, hidden files and caches stay behind.
- `code=` names files and directories. A package in which it names something brings only that.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path
from typing import Any

from ..arguments import argument
from ..errors import ModelError, SettingError
from ..files import named_paths

MAX_BYTES = 64 * 2**20
"""The most bytes of files that a package brings without being asked."""

CACHE = "__pycache__"
# A plain .so may be a library that the package opens itself.
_CODE = (*SOURCE_SUFFIXES, *BYTECODE_SUFFIXES, *(s for s in EXTENSION_SUFFIXES if s != ".so"))
_PYTHON = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix)}
_IN_SCAFFOLD = re.compile(r"/src/model/([^'\":,;)]+)")
_NO_FILE = re.compile(r"No such file or directory: '([^']*)'")
_NO_MODULE = re.compile(r"No module named '([\w.]+)'")


def named_code(code: Any) -> list[Path]:
    """The files and directories that `code=` names, as absolute paths.

    Raises:
        SettingError: one of them does not exist.
    """
    return [real(path) for path in named_paths("code", code)]


def named_files(paths: Iterable[Path], roots: Sequence[Path]) -> dict[str, Path]:
    """The files that `code=` names, by their paths in `src/model/`.

    A file has the path that it has from the directory that the model's modules are imported from:
    code that reads it beside itself finds it there. Any other file has its name.

    Args:
        paths: what `named_code` returns.
        roots: the directories that the model's own modules are imported from.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for root in _around(path, roots) or _around(path, import_path())[-1:] or [path.parent]:
            _add(found, _files(path), root)
    return found


def _add(found: dict[str, Path], files: Iterable[Path], root: Path) -> None:
    """Add files by their paths from a directory.

    Raises:
        SettingError: another file has that path.
    """
    for file in files:
        other = found.setdefault(_name(file, root), file)
        if other != file:
            raise SettingError(
                f"{other} and {file} would both be src/model/{_name(file, root)}: rename one of"
                " them"
            )


def _around(path: Path, directories: Iterable[Path]) -> list[Path]:
    """The directories that a path is or is in, the innermost last."""
    found = {place for place in directories if path.is_relative_to(place)}
    return sorted(found, key=lambda place: len(place.parts))


def import_path() -> list[Path]:
    """The directories of `sys.path` that are not Python's own."""
    places = {Path(os.path.realpath(place)) for place in sys.path if os.path.isdir(place or ".")}
    return [place for place in places if not _around(place, map(Path, _PYTHON))]


def package_files(modules: Mapping[str, str], named: Sequence[Path]) -> dict[str, Path]:
    """The files of the owner's packages that are not code, by their paths in `src/model/`.

    Args:
        modules: maps each copied module to its file.
        named: what `named_code` returns.

    Raises:
        ModelError: a package has more than `MAX_BYTES`, and `code=` names nothing in it.
    """
    found: dict[str, Path] = {}
    packages = {_package(name, file): import_root(name, file) for name, file in modules.items()}
    for package, root in packages.items():
        if package is None or any(path.is_relative_to(package) for path in named):
            continue
        files = [path for path in _files(package) if not path.name.endswith(_CODE)]
        _check_size(package, files)
        _add(found, files, root)
    return found


def import_root(module: str, file: str) -> Path:
    """The directory that a module is imported from."""
    path = real(Path(file))
    depth = module.count(".") + (path.stem == "__init__")
    return path.parents[depth]


def _package(module: str, file: str) -> Path | None:
    """The directory of the outermost package that a module is in; None if it is in none.

    Of a namespace package, which may be shared with others, it is the module's own directory.
    """
    place = import_root(module, file)
    for part in module.split("."):
        place /= part
        if (place / "__init__.py").is_file():
            return place
    own = real(Path(file)).parent
    if "." not in module or own.parts[-1].endswith("-packages"):
        return None
    return own


def _files(path: Path) -> Iterator[Path]:
    """A file, or the files in a directory that are neither hidden nor caches, through links."""
    if path.is_file():
        yield path
        return
    seen: set[str] = set()
    for place, directories, names in os.walk(path, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # a link to a directory around it
            directories.clear()
            continue
        seen.add(real)
        directories[:] = sorted(name for name in directories if _travels(name))
        files = (Path(place, name) for name in sorted(names) if _travels(name))
        yield from (file for file in files if file.is_file())


def _travels(name: str) -> bool:
    return (
        not name.startswith(".") and name != CACHE and not name.endswith(tuple(BYTECODE_SUFFIXES))
    )


def _name(file: Path, root: Path) -> str:
    """A file's path in `src/model/`."""
    name = file.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ModelError(
            f"{name!r} in {str(root)!r} is not a name in UTF-8: rename the file"
        ) from error
    return name


def _check_size(package: Path, files: Iterable[Path]) -> None:
    sizes = {file: file.stat().st_size for file in files}
    if (total := sum(sizes.values())) <= MAX_BYTES:
        return
    largest = max(sizes, key=lambda file: sizes[file])
    raise ModelError(
        f"the package {package} has {_mib(total)} of files that are not code, the largest is"
        f" {largest} ({_mib(sizes[largest])}); more than {_mib(MAX_BYTES)} travel only by name:"
        f" name those that the model reads, as in {argument('code', [str(largest)])}"
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def real(path: Path) -> Path:
    """An absolute path without links to directories. A link to a file keeps its own name."""
    path = Path(os.path.abspath(path))
    return Path(os.path.realpath(path.parent)) / path.name


# ---- what is missing ----


def missing(message: str, roots: Sequence[Path]) -> str:
    """How to fix an error about a file or a module that did not travel; "" if it is not one.

    Args:
        message: the error.
        roots: the directories that the model's own modules are imported from.
    """
    if found := _IN_SCAFFOLD.search(message):
        name = os.path.normpath(found[1])
        return _naming(f"src/model/{name} is missing", _originals(roots, [name]))
    if found := _NO_MODULE.search(message):
        path = found[1].replace(".", "/")
        originals = _originals(roots, [path, f"{path}.py"])
        if originals:
            return _naming(f"{found[1]} is code of yours that no import statement names", originals)
    if found := _NO_FILE.search(message):
        return _elsewhere(found[1], roots)
    return ""


def _elsewhere(path: str, roots: Sequence[Path]) -> str:
    """How to fix that a path is not found, which is not in `src/model/`."""
    if not os.path.isabs(path):
        return (
            f"; {path!r} is read from the working directory, which is src/ in a scaffold: read"
            " it beside the module, from Path(__file__).parent, or put it into src/data/ with"
            f" {argument('data')}"
        )
    if _around(Path(path), roots):
        return (
            "; the model holds this path, which is on this machine only: let its code find the file"
            " from Path(__file__).parent each time that it reads it"
        )
    return ""


def _originals(roots: Sequence[Path], names: Sequence[str]) -> list[str]:
    """The files with these names that exist in the directories, or elsewhere in `sys.path`."""
    places = dict.fromkeys([*roots, *import_path()])
    return [str(place / name) for place in places for name in names if (place / name).exists()]


def _naming(problem: str, originals: Sequence[str]) -> str:
    example = next(iter(originals), "PATH")
    return f"; {problem}: name it, as in {argument('code', [example])}"
