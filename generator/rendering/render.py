"""Calls copier: renders the template into a directory, and updates a scaffold."""

import os
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import layout
from ..errors import SettingError, UpdateError
from ..yaml_edit import Document
from .answers import TEMPLATE_KEY, VERSION_KEY, Answers
from .copier_errors import one_line, own_errors, refusal

DISTRIBUTION = "scaffold-generator"
HERE = Path(__file__).resolve().parents[1]
IS_CHECKOUT = not (HERE / "copier.yml").exists()
TEMPLATE = HERE.parent if IS_CHECKOUT else HERE  # the repository, or what a wheel carries


@dataclass(frozen=True)
class Source:
    """A version of a template.

    Attributes:
        address: where it is, as `copier copy` takes it.
        ref: its tag, branch or commit; None for the latest tag, or if it is not a repository.
    """

    address: str
    ref: str | None


OWN = Source(str(TEMPLATE), "HEAD" if IS_CHECKOUT else None)


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
    """The template's address in an argument, or in `SCAFFOLD_TEMPLATE` of the environment."""
    return template or os.environ.get("SCAFFOLD_TEMPLATE") or None


def named_ref(ref: str | None) -> str | None:
    """The template's version in an argument, or in `SCAFFOLD_REF` of the environment."""
    return ref or os.environ.get("SCAFFOLD_REF") or None


def public_address() -> str:
    """Where the template is published, as the package's metadata says."""
    urls = dict(
        line.split(", ", 1) for line in metadata.metadata(DISTRIBUTION).get_all("Project-URL") or ()
    )
    return str(urls["Template"])


def own_tag() -> str:
    """The tag of the template that this generator carries."""
    return f"v{metadata.version(DISTRIBUTION)}"


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
    from copier import run_copy
    from copier.errors import InvalidTypeError

    origin = source or OWN
    try:
        with own_errors(origin.address):
            run_copy(
                origin.address,
                directory,
                data=answers,
                vcs_ref=origin.ref,
                defaults=True,
                overwrite=True,
                quiet=True,
            )
    except (ValueError, InvalidTypeError) as error:
        raise SettingError(refusal(error)) from error
    except TypeError as error:  # copier does not name the question whose answer must be a list
        listed = f"platforms {answers.get('platforms')!r}: write a list, as in [kubernetes, ray]"
        raise SettingError(listed) from error
    if source is None:
        _name_source(directory / layout.ANSWERS)


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
        with own_errors(address):
            run_update(
                directory, vcs_ref=ref, defaults=True, overwrite=True, quiet=True, conflict="inline"
            )
    except UserMessageError as error:
        raise UpdateError(one_line(error)) from error
    except ValueError as error:
        message = f"the answers in the scaffold do not fit the template: {refusal(error)}"
        raise UpdateError(message) from error


def _name_source(file: Path) -> None:
    """Write into the answers where `copier update` finds the template that was rendered.

    A wheel's own copy is not a repository, so the answers name the public address and the version's
    tag. For a checkout with changes, copier records a commit that nobody else has, so the answers
    name the commit that is checked out.
    """
    address, version = public_address(), own_tag()
    if IS_CHECKOUT:
        address, found = str(TEMPLATE), checked_out(TEMPLATE)
        if found is None:
            return
        version = found
    answers = Document(file.read_text(encoding="utf-8"))
    named = {**answers.value, VERSION_KEY: version, TEMPLATE_KEY: address}
    file.write_text(answers.changed(named), encoding="utf-8")


def checked_out(repository: Path) -> str | None:
    """The version that is checked out, as copier writes it; None if it is not a repository."""
    command = ["git", "-C", str(repository), "describe", "--tags", "--always"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:  # no git
        return None
    if done.returncode:
        return None
    return done.stdout.strip()
