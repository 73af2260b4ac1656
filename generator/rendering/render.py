"""The one module that talks to copier: it renders the template into a directory, and updates what was rendered."""

import os
import re
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ..errors import ScaffoldError, SettingError, TemplateError, UpdateError
from .answers import ANSWERS_FILE, TEMPLATE_KEY, VERSION_KEY, Answers

DISTRIBUTION = "scaffold-generator"
HERE = Path(__file__).resolve().parents[1]
IS_CHECKOUT = not (HERE / "copier.yml").exists()
TEMPLATE = HERE.parent if IS_CHECKOUT else HERE


@dataclass(frozen=True)
class Source:
    """A template that is not this generator's own.

    Attributes:
        address: where it is, as `copier copy` takes it.
        ref: its tag, branch or commit; None for the latest tag.
    """

    address: str
    ref: str | None


def chosen_source(template: str | None, ref: str | None) -> Source | None:
    """The template that arguments name, else `SCAFFOLD_TEMPLATE` and `SCAFFOLD_REF` in the environment.

    None where nobody names one: the generator's own template is to be rendered.
    """
    template, ref = named_template(template), named_ref(ref)
    if template is None and ref is None:
        return None
    if template is None:
        template = str(TEMPLATE) if IS_CHECKOUT else public_address()
    return Source(template, ref or (None if IS_CHECKOUT else own_tag()))


def named_template(template: str | None) -> str | None:
    return template or os.environ.get("SCAFFOLD_TEMPLATE") or None


def named_ref(ref: str | None) -> str | None:
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
        answers: question name to answer; the others keep their defaults.
        directory: where to; it exists and is empty.
        source: the template; by default the generator's own.

    Raises:
        SettingError: the template refuses an answer.
        TemplateError: the template cannot be had.
    """
    from copier import run_copy
    from copier.errors import InvalidTypeError

    address, ref = (
        (source.address, source.ref) if source else (str(TEMPLATE), "HEAD" if IS_CHECKOUT else None)
    )
    try:
        with _copiers_errors(address):
            run_copy(
                address,
                directory,
                data=answers,
                vcs_ref=ref,
                defaults=True,
                overwrite=True,
                quiet=True,
            )
    except (ValueError, InvalidTypeError) as error:
        raise SettingError(_refusal(error)) from error
    except TypeError as error:  # copier does not name the question whose answer must be a list
        listed = f"platforms {answers.get('platforms')!r}: write a list, as in [kubernetes, ray]"
        raise SettingError(listed) from error
    if source is None:
        _name_source(directory)


def update(directory: Path, ref: str | None) -> None:
    """Merge another version of the template into a scaffold in git. What cannot be merged is marked in the files.

    Args:
        directory: the scaffold's; everything in it is committed.
        ref: the template's tag, branch or commit; None for the latest tag.

    Raises:
        TemplateError: the template, or that version of it, cannot be had.
        UpdateError: copier cannot update the scaffold.
    """
    from copier import run_update
    from copier.errors import UserMessageError

    address = Answers.read(directory).template
    try:
        with _copiers_errors(address):
            run_update(
                directory, vcs_ref=ref, defaults=True, overwrite=True, quiet=True, conflict="inline"
            )
    except UserMessageError as error:
        raise UpdateError(" ".join(str(error).split())) from error
    except ValueError as error:
        raise UpdateError(
            f"the answers in the scaffold do not fit the template: {_refusal(error)}"
        ) from error


@contextmanager
def _copiers_errors(address: str) -> Iterator[None]:
    """What copier and git raise where the template cannot be had, as the generator's errors."""
    from copier.errors import CopierError, CopierWarning, InvalidTypeError, UserMessageError
    from plumbum import ProcessExecutionError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", CopierWarning
            )  # a checkout with changes is what its developer wants
            yield
    except ProcessExecutionError as error:
        said = " ".join((error.stderr or str(error)).split())
        raise _template_error(address, said) from error
    except (UserMessageError, InvalidTypeError):
        raise
    except CopierError as error:
        raise ScaffoldError(f"the template at {address} cannot be rendered: {error}") from error
    except ValueError as error:
        if re.match("Local template|Unknown revision", str(error)):
            raise _template_error(address, str(error)) from error
        raise


def _template_error(address: str, said: str) -> TemplateError:
    """What git or copier says of a template that cannot be had, and what to do."""
    if missing := re.search(
        r"(?:Unknown revision: |pathspec |invalid reference: )'?([^' ]+)", said
    ):
        mend = "name a tag that it has; a version in development has none"
        return TemplateError(f"the template at {address} has no version {missing[1]!r}: {mend}")
    if said.startswith("Local template"):
        return TemplateError(
            f"there is no template at {address}: name it as template=, or in SCAFFOLD_TEMPLATE"
        )
    return TemplateError(f"the template at {address} cannot be had: git says {said[-400:]!r}")


def _refusal(error: Exception) -> str:
    """copier's validation error, on one line."""
    line = " ".join(str(error).split())
    return re.sub(r"^Validation error for question '(\w+)': ", r"\1: ", line)


def _name_source(directory: Path) -> None:
    """Where `copier update` finds the template that was rendered.

    A wheel's own copy is no repository: it is what lies under the version's tag at the public address. Of a checkout
    with changes copier records a commit that nobody else has: an update starts from the one that is checked out.
    """
    address, version = (
        (str(TEMPLATE), checked_out(TEMPLATE)) if IS_CHECKOUT else (public_address(), own_tag())
    )
    if version is None:
        return
    path = directory / ANSWERS_FILE
    text = re.sub(
        rf"(?m)^({VERSION_KEY}|{TEMPLATE_KEY}):.*\n", "", path.read_text(encoding="utf-8")
    )
    path.write_text(
        f"{text}{VERSION_KEY}: {version}\n{TEMPLATE_KEY}: {address}\n", encoding="utf-8"
    )


def checked_out(repository: Path) -> str | None:
    """The version that is checked out, as copier writes it; None where that is no repository."""
    command = ["git", "-C", str(repository), "describe", "--tags", "--always"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:  # no git
        return None
    return done.stdout.strip() if done.returncode == 0 else None
