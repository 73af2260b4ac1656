"""`.copier-answers.yml`: the template of a scaffold, its version and the answers.

Source of the format: https://copier.readthedocs.io/en/stable/configuring/#the-copier-answersyml-file
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import ScaffoldError
from ..layout import ANSWERS

TEMPLATE_KEY, VERSION_KEY = "_src_path", "_commit"
FIX = (
    f"bring it back with `git checkout -- {ANSWERS}`, or from another scaffold of the same template"
)


@dataclass
class Answers:
    """The answers of a scaffold.

    Attributes:
        template: the template's address, as `copier copy` takes it.
        version: the template's tag or commit that the scaffold was made from or updated to; empty
            if the template is in no repository.
        values: maps a question's name to its answer.
        comment: the comment lines of the file, which are written first.
    """

    template: str
    version: str
    values: dict[str, Any] = field(default_factory=dict)
    comment: str = ""

    @classmethod
    def read(cls, directory: Path) -> "Answers":
        """The answers in a scaffold's directory.

        Raises:
            ScaffoldError: the file is missing or broken.
        """
        path = directory / ANSWERS
        document, comment = _content(path)
        for key in (TEMPLATE_KEY, VERSION_KEY):
            if not isinstance(document.get(key), str) or not document[key]:
                raise ScaffoldError(
                    f"{path}: {key} must be a string, it is {document.get(key)!r}; {FIX}"
                )
        return cls(document[TEMPLATE_KEY], document[VERSION_KEY], _values(document), comment)

    def text(self) -> str:
        """The file's content."""
        document = {TEMPLATE_KEY: self.template, **self.values}
        if self.version:
            document[VERSION_KEY] = self.version
        # The indent of copier's to_nice_yaml: what has not changed stays as copier wrote it.
        return self.comment + yaml.safe_dump(document, allow_unicode=True, indent=4)

    def write(self, directory: Path) -> None:
        """Write the file into a scaffold's directory."""
        (directory / ANSWERS).write_text(self.text(), encoding="utf-8")


def name_source(directory: Path, template: str, version: str) -> None:
    """Change where the template is, in the answers that copier has written."""
    document, comment = _content(directory / ANSWERS)
    Answers(template, version, _values(document), comment).write(directory)


def _content(path: Path) -> tuple[dict[Any, Any], str]:
    """The content of the file, and its comment."""
    text = _text(path)
    comment = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    return _document(path, text), comment


def _values(document: dict[Any, Any]) -> dict[str, Any]:
    """The answers in the content, without the keys of copier."""
    return {str(key): value for key, value in document.items() if not str(key).startswith("_")}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        message = f"{path} is missing, which records what the scaffold was made from: {FIX}"
        raise ScaffoldError(message) from None
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(path, error) from error


def _document(path: Path, text: str) -> dict[Any, Any]:
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _broken(path, error) from error
    if not isinstance(document, dict):
        raise ScaffoldError(f"{path} holds no answers: {FIX}")
    return document


def _broken(path: Path, error: Exception) -> ScaffoldError:
    return ScaffoldError(f"{path} cannot be read: {' '.join(str(error).split())}; {FIX}")
