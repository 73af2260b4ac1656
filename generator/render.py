"""The one module that talks to copier: it renders the template into a directory."""

import re
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import ScaffoldError, SettingError

DISTRIBUTION = "scaffold-generator"
ADDRESS = "gh:org/scaffold"
HERE = Path(__file__).resolve().parent
IS_CHECKOUT = not (HERE / "copier.yml").exists()
TEMPLATE = HERE.parent if IS_CHECKOUT else HERE
ANSWERS_FILE = ".copier-answers.yml"


def render(answers: dict[str, Any], directory: Path) -> None:
    """Render the template.

    Args:
        answers: question name to answer; the others keep their defaults.
        directory: where to; it exists and is empty.

    Raises:
        SettingError: the template refuses an answer.
    """
    from copier import run_copy
    from copier.errors import CopierError, CopierWarning, InvalidTypeError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CopierWarning)  # a checkout with changes is what its developer wants
            run_copy(
                str(TEMPLATE),
                directory,
                data=answers,
                vcs_ref="HEAD" if IS_CHECKOUT else None,
                defaults=True,
                overwrite=True,
                quiet=True,
            )
    except (ValueError, InvalidTypeError) as error:
        raise SettingError(_refusal(error)) from error
    except CopierError as error:
        raise ScaffoldError(f"the template cannot be rendered: {error}") from error
    if not IS_CHECKOUT:
        _name_public_source(directory / ANSWERS_FILE)


def _refusal(error: Exception) -> str:
    """copier's validation error, on one line."""
    line = " ".join(str(error).split())
    return re.sub(r"^Validation error for question '(\w+)': ", r"\1: ", line)


def _name_public_source(answers: Path) -> None:
    """Where `copier update` finds the template: a wheel's own copy is no git repository."""
    lines = [line for line in answers.read_text().splitlines() if not re.match(r"_(src_path|commit):", line)]
    lines += [f"_commit: v{metadata.version(DISTRIBUTION)}", f"_src_path: {ADDRESS}"]
    answers.write_text("\n".join(lines) + "\n")
