"""An owner's other files, which are copied into `src/data/`."""

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .arguments import argument
from .errors import SettingError
from .files import named_paths


def data_files(data: Any, target: Path) -> dict[str, Path]:
    """What to copy: files, directories with what is in them, or the content of one directory.

    Links stand for what they lead to.

    Args:
        data: as the owner names it.
        target: the directory of the scaffold, which must not be in them.

    Returns:
        The path in `src/data/` of each file, and of each directory before what is in it.

    Raises:
        SettingError: something cannot be copied, or two files would be one.
    """
    named = named_paths("data", data)
    if len(named) == 1 and named[0].is_dir():
        named = sorted(named[0].iterdir())
    place = target.resolve()
    chosen: dict[str, Path] = {}
    for path in named:
        _check_apart(path, place)
        name = path.name
        if name in ("", ".."):
            name = path.resolve().name
        if chosen.setdefault(name, path).resolve() != path.resolve():
            raise SettingError(
                f"{argument('data')} names two files {name!r}, {chosen[name]} and {path}: rename"
                " one of them, or name one directory in which both are"
            )
    return {
        below: file for name, path in chosen.items() for below, file in _walk(path, name, (), place)
    }


def copy_data(files: dict[str, Path], directory: Path) -> None:
    """Copy what `data_files` has found."""
    for name, path in files.items():
        if path.is_dir():
            (directory / name).mkdir(exist_ok=True)
        else:
            shutil.copy2(path, directory / name)


def _check_apart(path: Path, target: Path) -> None:
    if path.is_dir() and target.is_relative_to(path.resolve()):
        raise SettingError(
            f"{argument('data')} names {path}, which holds {argument('target_directory')}"
            f" {str(target)!r}: name what the model"
            f" reads in it, or another {argument('target_directory')}"
        )


def _walk(
    path: Path, name: str, above: tuple[Path, ...], target: Path
) -> Iterator[tuple[str, Path]]:
    """A file, or a directory and all that is in it."""
    if not path.exists():
        raise SettingError(
            f"{argument('data')} names {path}, a link to something that does not exist: remove it"
        )
    kind, place = path.stat().st_mode, path.resolve()
    if place in above:
        raise SettingError(
            f"{argument('data')} names {path}, a link to a directory that holds it, {place}: remove"
            " it"
        )
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise SettingError(
            f"{argument('data')} names {path}, which is neither a file nor a directory: remove it"
        )
    _check_apart(path, target)
    yield name, path
    if stat.S_ISDIR(kind):
        for item in sorted(path.iterdir()):
            yield from _walk(item, f"{name}/{item.name}", (*above, place), target)
