"""Files: those that an owner names, and those that are written or replaced, all of them or none.

An interrupt or a full disk leaves what was there.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .arguments import argument
from .errors import SettingError, TargetError

PREFIX = ".scaffold."


def named_paths(setting: str, given: Any) -> list[Path]:
    """The files and directories that an owner names.

    Args:
        setting: the argument's name, for the message.
        given: its value: one path, several, or None.

    Raises:
        SettingError: one of them does not exist.
    """
    if given is None:
        return []
    if isinstance(given, (str, os.PathLike)):
        given = [given]
    paths = [Path(item) for item in given]
    for path in paths:
        if not path.exists():
            raise SettingError(f"{argument(setting)} names {str(path)!r}, which does not exist")
    return paths


def plain_path(given: "str | os.PathLike[str]") -> Path:
    """A target's path, without `..` behind a directory that may not exist, or be a link.

    Raises:
        TargetError: no path can be so.
    """
    path = Path(given)
    if "\0" in str(path):
        raise TargetError(
            f"{argument('target_directory')} {str(path)!r} cannot be used: a null byte is in it;"
            " name another"
        )
    if ".." not in path.parts:
        return path
    place = path.resolve()
    return place if path.is_absolute() else Path(os.path.relpath(place))


def exchange(directory: Path, files: Mapping[str, Path | None]) -> None:
    """Put files into a directory, in place of those with the same names.

    Args:
        directory: where to put them.
        files: maps a path in the directory to the file that is copied there, or to the directory
            that is there afterwards with nothing else in it; None removes the path.

    Raises:
        OSError: a file cannot be written; the directory is unchanged.
    """
    workshop = Path(tempfile.mkdtemp(prefix=PREFIX, dir=directory))
    try:
        new = {
            name: _copied(source, workshop / f"new-{number}")
            for number, (name, source) in enumerate(files.items())
        }
        with contextlib.ExitStack() as undo:
            for number, (name, file) in enumerate(new.items()):
                _replace(directory / name, file, workshop / f"old-{number}", undo)
            undo.pop_all()
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _copied(source: Path | None, to: Path) -> Path | None:
    """A copy of the file beside its destination, so that it only has to be renamed."""
    if source is None:
        return None
    if _is_directory(source):
        return Path(shutil.copytree(source, to, symlinks=True))
    shutil.copy2(source, to, follow_symlinks=False)
    return to


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _replace(target: Path, file: Path | None, old: Path, undo: contextlib.ExitStack) -> None:
    if target.is_symlink() or target.exists():
        mode, kind = target.lstat().st_mode, _is_directory(target)
        undo.callback(_restore, old, target)
        os.replace(target, old)
        if file is not None and not file.is_symlink() and _is_directory(file) == kind:
            file.chmod(mode)
    if file is not None:
        _make_parents(target.parent, undo)
        undo.callback(_remove, target)
        os.replace(file, target)


def _remove(path: Path) -> None:
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _restore(old: Path, target: Path) -> None:
    if old.is_symlink() or old.exists():
        os.replace(old, target)


def _make_parents(directory: Path, undo: contextlib.ExitStack) -> None:
    if not directory.exists():
        _make_parents(directory.parent, undo)
        directory.mkdir()
        undo.callback(directory.rmdir)


def without_links(directory: Path) -> None:
    """Put what they lead to in place of all links in a directory.

    Raises:
        OSError: a link leads nowhere.
    """
    if not _is_directory(directory):
        return
    for entry in list(directory.iterdir()):
        if entry.is_symlink():
            source = entry.resolve(strict=True)
            entry.unlink()
            if source.is_dir():
                shutil.copytree(source, entry)
            else:
                shutil.copy2(source, entry)
        else:
            without_links(entry)


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Change a file's text. The function sees Unix's line endings, the file keeps its own."""
    content = path.read_bytes().decode("utf-8")
    text = change(content.replace("\r\n", "\n"))
    if "\r\n" in content:
        text = text.replace("\n", "\r\n")
    path.write_bytes(text.encode("utf-8"))


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A temporary directory that is renamed to the target at the end, and removed on an error.

    It has the target's name, which the template may ask for, and is alone in another.
    """
    place = target.resolve()
    missing = [parent for parent in place.parents if not parent.exists()]
    workshop = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place.parent))
        directory = workshop / place.name
        directory.mkdir()
        yield directory
        _take_place(directory, place)
    except OSError as error:
        raise TargetError(
            f"{argument('target_directory')} {str(target)!r} cannot be written: {error}; name"
            " another"
        ) from error
    finally:
        _clear(workshop, missing)


def _clear(directory: Path | None, parents: list[Path]) -> None:
    """Remove what is unfinished, and the empty parents that were made for it, innermost first."""
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)
    for parent in parents:
        with contextlib.suppress(OSError):
            parent.rmdir()


def _take_place(directory: Path, target: Path) -> None:
    """Rename the new directory to the target. If that fails, the old content is restored."""
    if not target.exists() or not any(target.iterdir()):
        os.replace(directory, target)
        return
    old = Path(tempfile.mkdtemp(prefix=PREFIX, dir=target.parent))
    os.replace(target, old)
    try:
        os.replace(directory, target)
    except BaseException:
        os.replace(old, target)
        raise
    shutil.rmtree(old)
