"""`.copier-answers.yml`: what a scaffold was made from and with, as copier keeps it.

Source of the format: https://copier.readthedocs.io/en/stable/configuring/#the-copier-answersyml-file
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import ScaffoldError

ANSWERS_FILE = ".copier-answers.yml"
TEMPLATE_KEY, VERSION_KEY = "_src_path", "_commit"


@dataclass
class Answers:
    """The answers of a scaffold.

    Attributes:
        template: the template's address, as `copier copy` takes it.
        version: the template's tag or commit that the scaffold is at.
        values: question name to answer.
        comment: the lines before them.
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
        path = directory / ANSWERS_FILE
        mend = f"bring it back with `git checkout -- {ANSWERS_FILE}`, or from another scaffold of the same template"
        try:
            text = path.read_text(encoding="utf-8")
            document = yaml.safe_load(text)
        except FileNotFoundError:
            raise ScaffoldError(
                f"{path} is missing, which says what the scaffold was made from: {mend}"
            ) from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ScaffoldError(
                f"{path} cannot be read: {' '.join(str(error).split())}; {mend}"
            ) from error
        if not isinstance(document, dict):
            raise ScaffoldError(f"{path} holds no answers: {mend}")
        for key in (TEMPLATE_KEY, VERSION_KEY):
            if not isinstance(document.get(key), str) or not document[key]:
                raise ScaffoldError(
                    f"{path}: {key} must be a text, it is {document.get(key)!r}; {mend}"
                )
        values = {
            str(key): value for key, value in document.items() if not str(key).startswith("_")
        }
        comment = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
        return cls(document[TEMPLATE_KEY], document[VERSION_KEY], values, comment)

    def text(self) -> str:
        """The file's content."""
        document = {VERSION_KEY: self.version, TEMPLATE_KEY: self.template, **self.values}
        return self.comment + yaml.safe_dump(document, allow_unicode=True, sort_keys=True)

    def write(self, directory: Path) -> None:
        (directory / ANSWERS_FILE).write_text(self.text(), encoding="utf-8")
