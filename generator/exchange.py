"""Files of a directory replaced all at once: an interrupt or a full disk half way leaves it as it was."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

PREFIX = ".scaffold."


def exchange(directory: Path, files: Mapping[str, Path | None]) -> None:
    """Put files into a directory, in place of those that bear their names.

    Args:
        directory: where to.
        files: path in it to the file that is to lie there, which is copied; None removes what lies there.

    Raises:
        OSError: a file cannot be written; the directory is as it was.
    """
    workshop = Path(tempfile.mkdtemp(prefix=PREFIX, dir=directory))
    try:
        new = {name: _copied(source, workshop / f"new-{number}") for number, (name, source) in enumerate(files.items())}
        with contextlib.ExitStack() as undo:
            for number, (name, file) in enumerate(new.items()):
                _replace(directory / name, file, workshop / f"old-{number}", undo)
            undo.pop_all()
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _copied(source: Path | None, to: Path) -> Path | None:
    """The file beside its place: what follows only renames."""
    if source is None:
        return None
    shutil.copy2(source, to, follow_symlinks=False)
    return to


def _replace(target: Path, file: Path | None, old: Path, undo: contextlib.ExitStack) -> None:
    if target.is_symlink() or target.exists():
        mode = target.lstat().st_mode
        undo.callback(_restore, old, target)
        os.replace(target, old)
        if file is not None and not file.is_symlink():
            file.chmod(mode)
    if file is not None:
        _make_parents(target.parent, undo)
        undo.callback(target.unlink, missing_ok=True)
        os.replace(file, target)


def _restore(old: Path, target: Path) -> None:
    if old.is_symlink() or old.exists():
        os.replace(old, target)


def _make_parents(directory: Path, undo: contextlib.ExitStack) -> None:
    if not directory.exists():
        _make_parents(directory.parent, undo)
        directory.mkdir()
        undo.callback(directory.rmdir)
