"""Calls copier: renders the template into a directory, and updates a scaffold."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from ..arguments import argument
from ..errors import SettingError, UpdateError
from ..progress import step
from .answers import Answers, name_source
from .copier_errors import one_line, own_errors, refusal, refused_argument

DISTRIBUTION = "scaffold-generator"
HERE = Path(__file__).resolve().parents[1]
IS_CHECKOUT = not (HERE / "copier.yml").exists()
TEMPLATE = HERE.parent if IS_CHECKOUT else HERE  # the repository, or what a wheel carries
HEAD = "HEAD"
FILES = ("copier.yml", "template")  # of the repository, what copier reads
KNOWN = ("--cached", "--others", "--exclude-standard")  # what git tracks, or would


@dataclass(frozen=True)
class Source:
    """A version of a template.

    Attributes:
        address: where it is, as `copier copy` takes it.
        ref: its tag, branch or commit; None for the latest tag, or if it is not a repository.
    """

    address: str
    ref: str | None


# The working directory, which copier changes, and the PATH that it sees are shared by all threads.
_one_at_a_time = threading.Lock()


def chosen_source(template: str | None, ref: str | None) -> Source | None:
    """The template that is named by arguments, or by `SCAFFOLD_TEMPLATE` and `SCAFFOLD_REF`.

    None if neither names one: then the generator's own template is rendered.
    """
    template, ref = named_template(template), named_ref(ref)
    if template is None and ref is None:
        return None
    if IS_CHECKOUT:
        return Source(template or str(TEMPLATE), ref)
    return Source(template or public_address(), ref or own_tag())


def named_template(template: str | None) -> str | None:
    """The template's address in an argument, or in `SCAFFOLD_TEMPLATE` of the environment.

    A directory's is absolute.
    """
    address = template or os.environ.get("SCAFFOLD_TEMPLATE") or None
    if address is not None and os.path.isdir(address):  # a scaffold records it, wherever that goes
        return os.path.abspath(address)
    return address


def named_ref(ref: str | None) -> str | None:
    """The template's version in an argument, or in `SCAFFOLD_REF` of the environment."""
    return ref or os.environ.get("SCAFFOLD_REF") or None


def public_address() -> str:
    """Where the template is published, as the package's metadata says."""
    urls = dict(
        line.split(", ", 1) for line in metadata.metadata(DISTRIBUTION).get_all("Project-URL") or ()
    )
    return str(urls["Template"])


def own_version() -> str:
    """The version of this generator, and of the template that it carries."""
    return metadata.version(DISTRIBUTION)


def own_tag() -> str:
    """The tag of the template that this generator carries."""
    return f"v{own_version()}"


def render(answers: dict[str, Any], directory: Path, source: Source | None = None) -> None:
    """Render the template.

    Args:
        answers: maps a question's name to its answer; the others keep their defaults.
        directory: where the files are written; it exists and is empty.
        source: the template; by default the generator's own.

    Raises:
        SettingError: the template refuses an answer.
        TemplateError: the template is not available.
    """
    doing = step("Rendering the files")
    if source is not None:
        with doing, _one_at_a_time:
            _copy(answers, directory, source)
        return
    with doing, _own_files() as files, _one_at_a_time, without_git():
        _copy(answers, directory, Source(str(files), None))
    name_source(directory, *_own_address())


def _copy(answers: dict[str, Any], directory: Path, source: Source) -> None:
    from copier import run_copy
    from copier.errors import InvalidTypeError

    try:
        with own_errors(source.address):
            run_copy(
                source.address,
                directory,
                data=answers,
                vcs_ref=_committed(source.address, source.ref),
                defaults=True,
                overwrite=True,
                quiet=True,
            )
    except (ValueError, InvalidTypeError) as error:
        raise SettingError(refused_argument(error)) from error
    except TypeError as error:  # copier does not name the question whose answer must be a list
        raise SettingError(
            f"{argument('platforms')} {answers.get('platforms')!r}: write a list, as in"
            " [kubernetes, ray]"
        ) from error


@contextlib.contextmanager
def _own_files() -> Iterator[Path]:
    """The directory of the generator's own template, without what git ignores in a checkout."""
    if not IS_CHECKOUT or (known := _git("ls-files", "-z", *KNOWN, "--", *FILES)) is None:
        yield TEMPLATE
        return
    with tempfile.TemporaryDirectory(prefix="scaffold-template.") as place:
        for name in filter(None, known.split("\0")):
            to = Path(place) / name
            to.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # deleted, and not committed
                shutil.copy2(TEMPLATE / name, to)
        yield Path(place)


@contextlib.contextmanager
def without_git() -> Iterator[None]:
    """Let copier find no git, which it would call once for each file."""
    from plumbum import local

    with local.env(PATH=os.devnull):
        yield


def _committed(address: str, ref: str | None) -> str | None:
    """The version to take of a template: the commit, for a checkout without releases.

    There copier would commit what is not committed, in a copy: no update would find that again.
    """
    if ref not in (None, HEAD):
        return ref
    tags = (_git("tag", at=Path(address)) or "").split()
    if ref is None and any(map(_is_release, tags)):
        return None
    return (_git("rev-parse", HEAD, at=Path(address)) or "").strip() or ref


def _is_release(tag: str) -> bool:
    """Whether copier takes a tag for a version."""
    try:
        return not Version(tag).is_prerelease
    except InvalidVersion:
        return False


def update(directory: Path, ref: str | None) -> None:
    """Merge another version of the template into a scaffold in git.

    Where both sides changed the same lines, the file holds both between git's conflict markers.

    Args:
        directory: the scaffold's; everything in it is committed.
        ref: the template's tag, branch or commit; None for the latest tag.

    Raises:
        TemplateError: the template, or that version of it, is not available.
        UpdateError: copier cannot update the scaffold.
    """
    from copier import run_update
    from copier.errors import UserMessageError

    address = Answers.read(directory).template
    try:
        with own_errors(address), _one_at_a_time:
            run_update(
                directory,
                vcs_ref=_committed(address, ref),
                defaults=True,
                overwrite=True,
                quiet=True,
                conflict="inline",
            )
    except UserMessageError as error:
        raise UpdateError(one_line(error)) from error
    except ValueError as error:
        message = f"the answers in the scaffold do not fit the template: {refusal(error)}"
        raise UpdateError(message) from error


def _own_address() -> tuple[str, str]:
    """Where `copier update` finds the generator's own template, and its version.

    A wheel's own copy is not a repository: these are the public address and the version's tag. A
    checkout is at its path, and its version is the commit that is checked out.
    """
    if IS_CHECKOUT:
        return str(TEMPLATE), checked_out() or ""
    return public_address(), own_tag()


def checked_out() -> str | None:
    """The commit that is checked out, as copier writes it; None if there is no repository."""
    described = _git("describe", "--tags", "--always")
    if described is None:
        return None
    return described.strip()


def _git(*arguments: str, at: Path = TEMPLATE) -> str | None:
    """What git prints in a checkout; None if it is not a repository, or git is not installed."""
    if not (at / ".git").exists():
        return None
    command = ["git", "-C", str(at), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        return None
    if done.returncode:
        return None
    return done.stdout
