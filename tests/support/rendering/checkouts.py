"""Repositories for tests: this one as it is being written, without what git does not know."""

import contextlib
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from generator.rendering.render import without_git

ROOT = Path(__file__).resolve().parents[3]
(VERSION,) = re.findall(r'(?m)^version = "(.*)"$', (ROOT / "pyproject.toml").read_text())


def snapshot(directory: Path) -> Path:
    """A repository whose one commit is the working tree as it is now, tagged with its version."""
    for name in filter(
        None, git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    ):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # deleted, and not yet committed as such
            shutil.copy2(ROOT / name, directory / name, follow_symlinks=False)
    git(directory, "init", "--quiet")
    commit(directory, f"v{VERSION}")
    return directory


def archived(version: str, directory: Path) -> Path:
    """The files of an earlier commit of this repository, written into a new directory.

    A clone without its history fails the test, with how to fetch it.
    """
    try:
        git(ROOT, "cat-file", "-e", f"{version}^{{commit}}")
    except subprocess.CalledProcessError:
        pytest.fail(
            f"commit {version} is not in the history of {ROOT}: run git fetch --unshallow",
            pytrace=False,
        )
    directory.mkdir(parents=True)
    archive = directory.with_name(f"{directory.name}.tar")
    git(ROOT, "archive", f"--output={archive}", version)
    with tarfile.open(archive) as files:
        files.extractall(directory, filter="tar")
    archive.unlink()
    return directory


def last_release() -> str | None:
    """The tag of the last release before what is checked out; None if there is none."""
    command = ["git", "describe", "--tags", "--abbrev=0", "--match", "v*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None


def rendered(template: Path, directory: Path, **answers: Any) -> Path:
    """Render a template that is not in git into a new directory."""
    from copier import run_copy

    with without_git():
        run_copy(str(template), directory, data=answers, defaults=True, quiet=True)
    return directory


def commit(repository: Path, tag: str | None = None) -> None:
    """Commit everything in the repository, under a tag where one is named.

    A tagged one is a template, which each update clones six times: packed, that is faster.
    """
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", tag or "a commit")
    if tag:
        git(repository, "tag", tag)
        git(repository, "gc", "--quiet")


def git(directory: Path, *arguments: str) -> str:
    """What git prints; its commits are nobody's in particular, whoever is configured."""
    identity = [
        "-c",
        "user.name=tests",
        "-c",
        "user.email=tests@localhost",
        "-c",
        "commit.gpgsign=false",
    ]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


def call(command: list[str], cwd: Path, **environ: str) -> str:
    """What the command prints, run without a trace of this checkout in its environment."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    done = subprocess.run(command, cwd=cwd, env=clean | environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
