"""`copier update` of a scaffold, prepared and reported: nothing in it changes before all that will change is known.

The update runs on a copy of what git tracks, without the model and the data, and comes back as changed files.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import TemplateError, UpdateError
from ..files import exchange
from .answers import ANSWERS_FILE, VERSION_KEY, Answers
from .render import Source, named_ref, named_template, render, update

LOCK = "server-requirements.txt"
OWNERS = ("src/model/", "src/data/")
CONFLICT = b"<<<<<<< before updating"
KINDS = ("changed", "added", "removed", "kept", "merged", "conflicts")
SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Update:
    """What an update changed, or would change. Files are named by their paths in the scaffold.

    Attributes:
        before: the template's version that the scaffold was at.
        after: the version that it is at now.
        changed: files that only the template has changed.
        added: files that the template has added.
        removed: files that the template has dropped.
        kept: files that the template has dropped and the owner had edited, which stay.
        merged: files that both have changed, with both's changes in them.
        conflicts: files that both have changed in the same place, which hold both sides between marks.
        server: packages of the server's environment whose version changed: name to version before and after; None
            where there is none.
        lock_was_edited: whether the owner's edits of the server's lock gave way to the template's.
    """

    before: str
    after: str
    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    merged: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    server: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    lock_was_edited: bool = False

    def __str__(self) -> str:
        """The report, as the command line prints it."""
        files = [f"  {kind:<9} {name}" for kind in KINDS for name in getattr(self, kind)]
        server = [
            f"  {'server':<9} {name} {before or '(none)'} -> {after or '(none)'}"
            for name, (before, after) in self.server.items()
        ]
        if self.lock_was_edited:
            server.append(
                f"  {'server':<9} your edits of {LOCK} gave way to the template's; git has them"
            )
        if not files:
            return f"from the template's {self.before} to {self.after}: no file changes"
        return "\n".join([f"from the template's {self.before} to {self.after}:", *files, *server])


def run(directory: Path, to: str | None, pretend: bool, template: str | None) -> Update:
    """Update the scaffold in a directory.

    Args:
        directory: the scaffold's.
        to: the template's version; None for the latest.
        pretend: whether to change nothing and only tell.
        template: the template's address, where it is no longer the recorded one.

    Raises:
        UpdateError: the directory is not in git, or not all is committed, or copier cannot update it.
        TemplateError: the template, or that version of it, cannot be had.
    """
    answers = Answers.read(directory)
    tracked = _tracked(directory)
    address = named_template(template) or answers.template
    with tempfile.TemporaryDirectory(prefix="scaffold-update.") as place:
        copy, old = Path(place) / "scaffold", Path(place) / "old"
        old.mkdir()
        _render_as_made(answers, address, old)
        windows = _copied(directory, copy, tracked)
        replace(answers, template=address).write(copy)
        edited = {name for name in tracked if _differs(copy / name, old / name)}
        if LOCK in edited:  # is replaced, not merged
            (copy / LOCK).write_bytes((old / LOCK).read_bytes())
        _commit(copy)
        update(copy, _version(named_ref(to)))
        result = Update(
            before=answers.version,
            after=Answers.read(copy).version,
            server=_differences(_pins(directory / LOCK), _pins(copy / LOCK)),
            lock_was_edited=LOCK in edited,
            **_sorted_out(copy, edited),
        )
        if not pretend:
            _bring_back(copy, directory, result, windows)
    return result


def _render_as_made(answers: Answers, address: str, directory: Path) -> None:
    """The scaffold as the template made it, before its owner's edits."""
    try:
        render(answers.values, directory, Source(address, answers.version))
    except TemplateError as error:
        made = f"the scaffold was made from its {answers.version} ({VERSION_KEY} in {ANSWERS_FILE})"
        raise TemplateError(f"{error}; {made}") from error


# ---- the owner's repository ----


def _tracked(directory: Path) -> list[str]:
    """The files of the scaffold that git tracks, all of them as they were committed.

    Raises:
        UpdateError: there are none, or something is not committed.
    """
    where = shlex.quote(str(directory))
    commands = f"git -C {where} add -A && git -C {where} commit -m 'before the update'"
    if _git(directory, "rev-parse", "--is-inside-work-tree").returncode:
        raise UpdateError(f"{directory} is not in git: run git -C {where} init && {commands}")
    names = [name for name in _git(directory, "ls-files", "-z").stdout.split("\0") if name]
    if ANSWERS_FILE not in names:
        raise UpdateError(
            f"{directory} is not committed to the git repository around it: run {commands}"
        )
    entries = _git(
        directory, "status", "--porcelain", "-z", "--untracked-files=all", "--", "."
    ).stdout.split("\0")
    if changed := [entry[3:] for entry in entries if entry[2:3] == " "]:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        shown = f"{', '.join(changed[:SHOWN])}{more}"
        raise UpdateError(f"{directory} has uncommitted changes ({shown}): run {commands}")
    return names


def _git(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    identity = (
        "-c",
        "user.name=scaffold",
        "-c",
        "user.email=scaffold@localhost",
        "-c",
        "commit.gpgsign=false",
    )
    options = ("-c", "core.autocrlf=false", "-c", f"core.hooksPath={os.devnull}")
    command = ["git", *identity, *options, *arguments]
    try:
        return subprocess.run(
            command, cwd=directory, capture_output=True, encoding="utf-8", errors="surrogateescape"
        )
    except FileNotFoundError:
        raise UpdateError("git is not installed, and an update needs it") from None


# ---- the copy ----


def _copied(directory: Path, copy: Path, names: Collection[str]) -> set[str]:
    """Copy what an update may touch; the names of files with the line endings of Windows, which get Unix's there."""
    windows = set()
    for name in names:
        source, target = directory / name, copy / name
        if name.startswith(OWNERS) or source.is_dir():  # a submodule is a directory
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
        if (
            not target.is_symlink()
            and b"\r\n" in (content := target.read_bytes())
            and b"\0" not in content
        ):
            target.write_bytes(content.replace(b"\r\n", b"\n"))
            windows.add(name)
    return windows


def _differs(file: Path, rendered: Path) -> bool:
    if not file.is_file() or not rendered.is_file():
        return file.is_file()
    return file.read_bytes() != rendered.read_bytes()


def _commit(copy: Path) -> None:
    _git(copy, "init", "--quiet")
    _git(copy, "config", "core.autocrlf", "false")
    _git(copy, "add", "--all", "--force")
    _git(copy, "commit", "--quiet", "--message", "before the update")


def _version(wanted: str | None) -> str | None:
    """Tags begin with a v, which may be left out."""
    return f"v{wanted}" if wanted and re.match(r"\d+\.", wanted) else wanted


def _sorted_out(copy: Path, edited: Collection[str]) -> dict[str, Any]:
    """What copier has changed in the copy, by what it means for the owner."""
    listed = _git(
        copy, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored"
    ).stdout
    states = {entry[3:]: entry[:2] for entry in listed.split("\0") if entry}
    kinds = {name: _kind(copy / name, state, name in edited) for name, state in states.items()}
    if LOCK in edited:
        kinds[LOCK] = "changed"
    names = sorted(name for name in kinds if name != ANSWERS_FILE and not name.startswith(OWNERS))
    return {kind: tuple(name for name in names if kinds[name] == kind) for kind in KINDS}


def _kind(file: Path, state: str, edited: bool) -> str:
    if not file.exists():
        return "kept" if edited else "removed"
    if CONFLICT in file.read_bytes():
        return "conflicts"
    if state in ("??", "!!"):
        return "added"
    return "merged" if edited else "changed"


def _bring_back(copy: Path, directory: Path, result: Update, windows: set[str]) -> None:
    names = [*result.changed, *result.added, *result.merged, *result.conflicts, ANSWERS_FILE]
    for name in windows.intersection(names):
        (copy / name).write_bytes((copy / name).read_bytes().replace(b"\n", b"\r\n"))
    files: dict[str, Path | None] = {name: copy / name for name in names}
    try:
        exchange(directory, {**files, **dict.fromkeys(result.removed)})
    except OSError as error:
        raise UpdateError(f"{directory} cannot be written, and is as it was: {error}") from error


# ---- the server's lock ----


def _pins(lock: Path) -> dict[str, str]:
    """Package to version, or to versions where Pythons differ."""
    versions: dict[str, list[str]] = {}
    text = lock.read_text(encoding="utf-8") if lock.exists() else ""
    for name, version in re.findall(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", text):
        versions.setdefault(name, []).append(version)
    return {name: ", ".join(dict.fromkeys(found)) for name, found in versions.items()}


def _differences(
    before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    names = sorted({*before, *after})
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    }
