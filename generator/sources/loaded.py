"""What is loaded from a source: the model, and what the source says of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

Ask = Callable[[], None]
"""Asks whether the code in a source may run. It raises a ScaffoldError if it may not."""


@dataclass(frozen=True)
class Loaded:
    """A model from a source.

    Attributes:
        model: the model.
        sample: rows as the model takes them; None if the source has none.
        requirements: requirement lines that the source says, beside what is found here.
        code: files and directories of code beside the model.
        name: the model's name, as in `/v1/models/NAME:predict`; None if the source says none.
        framework: as `from_model` takes it; None where it is found by the model.
        format: the same.
    """

    model: Any
    sample: Any = None
    requirements: Sequence[str] = ()
    code: Sequence[Path] = ()
    name: str | None = None
    framework: str | None = None
    format: str | None = None

    def arguments(self, making: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of `from_model`: what the caller gives, and what the source says beside it.

        Args:
            making: what the caller gives; None stands for nothing.
        """
        given = {key: value for key, value in making.items() if value is not None}
        found = {**self._said(), **given}
        if self.requirements and "requirements" in given:
            own = {_package(line) for line in given["requirements"]}
            said = [line for line in self.requirements if _package(line) not in own]
            found["requirements"] = [*said, *given["requirements"]]
        return found

    def _said(self) -> dict[str, Any]:
        said = {
            "sample_input": self.sample,
            "requirements": list(self.requirements) or None,
            "code": list(self.code) or None,
            "name": self.name,
            "framework": self.framework,
            "format": self.format,
        }
        return {key: value for key, value in said.items() if value is not None}


def _package(line: str) -> str:
    """The package of a requirement line; the line itself if it is an option."""
    try:
        return canonicalize_name(Requirement(line.partition(" #")[0]).name)
    except InvalidRequirement:
        return line
