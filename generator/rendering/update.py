"""`copier update` of a scaffold, with a report of what it changes.

The update runs on a copy of the files that git tracks, without the model and the data. The changed
files are brought back at the end, all or none.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import layout
from ..errors import TemplateError, UpdateError
from ..files import exchange
from .answers import VERSION_KEY, Answers
from .render import Source, named_ref, named_template, render, update

LOCK = layout.SERVER_REQUIREMENTS
OWNERS = (f"{layout.MODEL}/", f"{layout.DATA}/", f"{layout.WHEELS}/")
# The marks of git, whatever names copier gives to the two sides.
CONFLICT = re.compile(rb"^<{7} .*?^={7}$.*?^>{7} ", re.MULTILINE | re.DOTALL)
KINDS = ("changed", "added", "removed", "kept", "merged", "conflicts")
SHOWN = 5  # names in a message
GIT_SETTINGS = (
    "user.name=scaffold",
    "user.email=scaffold@localhost",
    "commit.gpgsign=false",
    "core.autocrlf=false",
    f"core.hooksPath={os.devnull}",
)


@dataclass(frozen=True)
class Update:
    """What an update changed, or would change. Files are named by their paths in the scaffold.

    Attributes:
        before: the template's version before the update.
        after: the template's version after it.
        changed: files that only the template has changed.
        added: files that the template has added.
        removed: files that the template no longer has.
        kept: files that the template no longer has, but that the owner has edited: they stay.
        merged: files with the changes of both, the template and the owner.
        conflicts: files that both have changed in the same lines: both sides are between marks.
        server: packages of the server's environment whose version changed: name to the versions
            before and after; None if the package is not installed.
        lock_was_edited: whether the template's lock of the server replaced one that was edited.
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
        """The report that the command line prints."""
        title = f"from the template's {self.before} to {self.after}:"
        files = [f"  {kind:<9} {name}" for kind in KINDS for name in getattr(self, kind)]
        server = [
            f"  {'server':<9} {name} {before or '(none)'} -> {after or '(none)'}"
            for name, (before, after) in self.server.items()
        ]
        if self.lock_was_edited:
            server.append(
                f"  {'server':<9} your edits of {LOCK} were replaced"
                " by the template's; git has them"
            )
        if not files:
            return f"{title} no file changes"
        return "\n".join([title, *files, *server])


def run(directory: Path, to: str | None, pretend: bool, template: str | None) -> Update:
    """Update the scaffold in a directory.

    Args:
        directory: the scaffold's.
        to: the template's version; None for the latest.
        pretend: whether to change nothing, and only report.
        template: the template's address, where it is no longer the recorded one.

    Raises:
        UpdateError: not all of the directory is committed to git, or copier cannot update it.
        TemplateError: the template, or that version of it, is not available.
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
        if LOCK in edited:  # it is replaced, not merged
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
    """Render the scaffold as it was before its owner's edits."""
    try:
        render(answers.values, directory, Source(address, answers.version))
    except TemplateError as error:
        made = (
            f"the scaffold was made from its {answers.version} ({VERSION_KEY} in {layout.ANSWERS})"
        )
        raise TemplateError(f"{error}; {made}") from error


# ---- the owner's repository ----


def _tracked(directory: Path) -> list[str]:
    """The files of the scaffold that git tracks.

    Raises:
        UpdateError: there are none, or something is not committed.
    """
    where = shlex.quote(str(directory))
    commands = f"git -C {where} add -A && git -C {where} commit -m 'before the update'"
    if _git(directory, "rev-parse", "--is-inside-work-tree").returncode:
        raise UpdateError(f"{directory} is not in git: run git -C {where} init && {commands}")
    names = [name for name in _git(directory, "ls-files", "-z").stdout.split("\0") if name]
    if layout.ANSWERS not in names:
        raise UpdateError(
            f"{directory} is not committed to the git repository around it: run {commands}"
        )
    if changed := _uncommitted(directory):
        raise UpdateError(
            f"{directory} has uncommitted changes ({_shown(changed)}): run {commands}"
        )
    return names


def _uncommitted(directory: Path) -> list[str]:
    status = ("status", "--porcelain", "-z", "--untracked-files=all", "--", ".")
    entries = _git(directory, *status).stdout.split("\0")
    return [entry[3:] for entry in entries if entry[2:3] == " "]


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    if len(names) <= SHOWN:
        return shown
    return f"{shown} and {len(names) - SHOWN} more"


def _git(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run git without its user's hooks, signatures and line endings."""
    settings = [word for setting in GIT_SETTINGS for word in ("-c", setting)]
    command = ["git", *settings, *arguments]
    try:
        return subprocess.run(
            command, cwd=directory, capture_output=True, encoding="utf-8", errors="surrogateescape"
        )
    except FileNotFoundError:
        raise UpdateError("git is not installed, and an update needs it: install git") from None


# ---- the copy ----


def _copied(directory: Path, copy: Path, names: Collection[str]) -> set[str]:
    """Copy what an update may change, with Unix's line endings.

    Returns:
        The names of the files that have the line endings of Windows.
    """
    windows = set()
    for name in names:
        source, target = directory / name, copy / name
        if name.startswith(OWNERS) or source.is_dir():  # a submodule is a directory
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
        if _has_windows_endings(target):
            target.write_bytes(target.read_bytes().replace(b"\r\n", b"\n"))
            windows.add(name)
    return windows


def _has_windows_endings(file: Path) -> bool:
    if file.is_symlink():
        return False
    content = file.read_bytes()
    return b"\r\n" in content and b"\0" not in content


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
    """The template's tag, branch or commit. Tags begin with a v, which may be left out."""
    if wanted and re.match(r"\d+\.", wanted):
        return f"v{wanted}"
    return wanted


def _sorted_out(copy: Path, edited: Collection[str]) -> dict[str, Any]:
    """The names of the files that copier has changed in the copy, by the fields of `Update`."""
    status = ("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored")
    entries = _git(copy, *status).stdout.split("\0")
    states = {entry[3:]: entry[:2] for entry in entries if entry}
    kinds = {name: _kind(copy / name, state, name in edited) for name, state in states.items()}
    if LOCK in edited:
        kinds[LOCK] = "changed"
    names = sorted(name for name in kinds if name != layout.ANSWERS and not name.startswith(OWNERS))
    return {kind: tuple(name for name in names if kinds[name] == kind) for kind in KINDS}


def _kind(file: Path, state: str, edited: bool) -> str:
    """What happened to a file. `state` is git's two-letter status."""
    if not file.exists() and edited:
        return "kept"
    if not file.exists():
        return "removed"
    if CONFLICT.search(file.read_bytes()):
        return "conflicts"
    if state in ("??", "!!"):
        return "added"
    if edited:
        return "merged"
    return "changed"


def _bring_back(copy: Path, directory: Path, result: Update, windows: set[str]) -> None:
    names = [*result.changed, *result.added, *result.merged, *result.conflicts, layout.ANSWERS]
    for name in windows.intersection(names):
        (copy / name).write_bytes((copy / name).read_bytes().replace(b"\n", b"\r\n"))
    files: dict[str, Path | None] = {name: copy / name for name in names}
    try:
        exchange(directory, {**files, **dict.fromkeys(result.removed)})
    except OSError as error:
        raise UpdateError(f"{directory} cannot be written, and is unchanged: {error}") from error


# ---- the server's lock ----


def _pins(lock: Path) -> dict[str, str]:
    """Maps a package to its version, or to several if they depend on the version of Python."""
    if not lock.exists():
        return {}
    versions: dict[str, list[str]] = {}
    text = lock.read_text(encoding="utf-8")
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
