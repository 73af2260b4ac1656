"""The command line's parser, which knows its options by the names of the API's arguments."""

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .arguments import UNNAMED, in_python


@dataclass(frozen=True)
class Option:
    """An option or a positional argument, which is called as in the API: its `dest`.

    Attributes:
        action: argparse's own.
        values: what its value can be; empty if that is open.
        is_path: whether its value is a path.
    """

    action: argparse.Action
    values: tuple[str, ...] = ()
    is_path: bool = False

    @property
    def takes_value(self) -> bool:
        """Whether a word follows the option."""
        return self.action.nargs != 0

    def spelled(self, value: Any) -> str:
        """Its name, or as in `--name VALUE`."""
        if not self.action.option_strings:
            return str(self.action.metavar or self.action.dest)
        option = self.action.option_strings[value is False]  # --gpu, --no-gpu
        if value is UNNAMED or isinstance(value, bool):
            return option
        values = value if isinstance(value, list) else [value]
        return " ".join(f"{option} {shlex.quote(str(each))}" for each in values)


class Parser(argparse.ArgumentParser):
    """A parser with a list of its options, and of its commands."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.options: list[Option] = []
        self.commands: dict[str, Parser] = {}
        super().__init__(*arguments, **settings)

    def add_argument(
        self,
        *names: Any,
        values: Sequence[str] = (),
        is_path: bool = False,
        **settings: Any,
    ) -> argparse.Action:
        """As argparse's.

        Args:
            values: what the value can be, where another than the parser checks that: the template.
            is_path: whether the value is a path.
        """
        if values:
            settings.setdefault("metavar", f"{{{','.join(values)}}}")
        action = super().add_argument(*names, **settings)
        known = tuple(map(str, values or action.choices or ()))
        self.options.append(Option(action, known, is_path))
        return action

    def spelling(self, name: str, value: Any) -> str:
        """An argument of the API as an option: see `arguments.Spelling`."""
        every = [option for command in self.commands.values() for option in command.options]
        found = next((option for option in every if option.action.dest == name), None)
        if found is None or isinstance(value, dict):  # no option takes that
            return f"{in_python(name, value)} (in Python)"
        return found.spelled(value)
