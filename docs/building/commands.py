"""`reference/command-line.md`: every command and option, from the parser."""

import argparse

from generator.cli import parser
from generator.options import Option, Parser

from .markup import blocks, code, heading, table

PROGRAM = "scaffold"
WIDTH = 88


def page() -> str:
    """The commands, in the order of `scaffold --help`."""
    return blocks(_command(name, command) for name, command in parser().commands.items())


def _command(name: str, command: Parser) -> str:
    options = [option for option in command.options if option.action.dest != "help"]
    listed = table(
        ("argument", "value", "meaning"),
        [(_names(option), _value(option), _help(option)) for option in options],
    )
    usage = f"```text\n{_usage(name, command)}\n```"
    return blocks([heading(f"{PROGRAM} {name}", name, 2), command.description or "", usage, listed])


def _usage(name: str, command: Parser) -> str:
    command.prog = f"{PROGRAM} {name}"
    command.formatter_class = _formatter
    return command.format_usage().strip()


def _formatter(prog: str) -> argparse.HelpFormatter:
    """A formatter that does not depend on a terminal."""
    return argparse.HelpFormatter(prog, width=WIDTH)


def _names(option: Option) -> str:
    if not option.action.option_strings:
        return code(option.action.metavar or option.action.dest)
    return ", ".join(f"{code(name)}{{ .whole }}" for name in option.action.option_strings)


def _value(option: Option) -> str:
    if not option.takes_value or not option.action.option_strings:
        return ""
    if option.values:
        return ", ".join(map(code, option.values))
    return code(option.action.metavar or option.action.dest.upper())


def _help(option: Option) -> str:
    return (option.action.help or "").replace("%%", "%")
