"""Converts errors of copier, and of the git that it runs, into the generator's own.

copier has no classes for some of them. It raises a bare ValueError, or plumbum's error if git
fails. They can be distinguished only by their messages, and this module alone knows these. If a new
copier changes a message, the error is still a ScaffoldError on one line, with copier's text.
tests/rendering/test_copier_errors.py then fails and names the message.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..arguments import argument
from ..errors import ScaffoldError, TemplateError

NO_TEMPLATE = r"Local template must be a directory"
NO_VERSION = r"Unknown revision: '([^']+)'"
NO_VERSION_IN_GIT = r"(?:pathspec |invalid reference: )'?([^' ]+)"
ARGUMENTS = {"model_name": "name"}  # questions that the API names otherwise
REFUSED_ANSWER = r"(?:Validation error for question|Invalid choice for) '(\w+)': "


@contextmanager
def own_errors(address: str) -> Iterator[None]:
    """Raise the generator's errors if the template is not available or cannot be rendered.

    Other errors of copier pass through: UserMessageError, InvalidTypeError for a question of no
    known type, and ValueError for an answer.

    Args:
        address: the template's, for the message.

    Raises:
        TemplateError: the template, or that version of it, is not available.
        ScaffoldError: the template cannot be rendered.
    """
    from copier.errors import CopierError, CopierWarning, InvalidTypeError, UserMessageError
    from plumbum import ProcessExecutionError

    try:
        with warnings.catch_warnings():
            # A developer's checkout may have changes.
            warnings.simplefilter("ignore", CopierWarning)
            yield
    except ProcessExecutionError as error:
        raise _git_error(address, one_line(error.stderr or error)) from error
    except (UserMessageError, InvalidTypeError):
        raise
    except CopierError as error:
        message = f"the template at {address} cannot be rendered: {one_line(error)}"
        raise ScaffoldError(message) from error
    except ValueError as error:
        if (own := _template_error(address, str(error))) is not None:
            raise own from error
        raise


def _git_error(address: str, said: str) -> TemplateError:
    if missing := re.search(NO_VERSION_IN_GIT, said):
        return _no_version(address, missing[1])
    return TemplateError(f"the template at {address} cannot be read: git says {said[-400:]!r}")


def _template_error(address: str, said: str) -> TemplateError | None:
    """The error for a ValueError about the template; None if it is about an answer."""
    if missing := re.match(NO_VERSION, said):
        return _no_version(address, missing[1])
    if re.match(NO_TEMPLATE, said):
        fix = f"name it as {argument('template')}, or in SCAFFOLD_TEMPLATE"
        return TemplateError(f"there is no template at {address}: {fix}")
    return None


def _no_version(address: str, version: str) -> TemplateError:
    fix = "name a tag that it has; a version in development has none"
    return TemplateError(f"the template at {address} has no version {version!r}: {fix}")


def refusal(error: Exception) -> str:
    """Why copier refuses an answer, on one line that begins with the question."""
    return re.sub(f"^{REFUSED_ANSWER}", r"\1: ", one_line(error))


def refused_argument(error: Exception) -> str:
    """Why copier refuses an argument of the API, on one line that begins with it."""

    def named(found: "re.Match[str]") -> str:
        return f"{argument(ARGUMENTS.get(found[1], found[1]))}: "

    return re.sub(f"^{REFUSED_ANSWER}", named, one_line(error))


def one_line(error: object) -> str:
    return " ".join(str(error).split())
