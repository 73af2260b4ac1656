"""Scripts that let a shell complete the command line."""

import re
from collections.abc import Iterator

from .options import Option, Parser

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "scaffold"
HELP = ("-h", "--help")

# What follows a word: `words` and what they can be, `path`, or `any`; nothing after a flag. A path
# is left to the shell itself, by `-o default`: it knows how to quote one.
BASH = r"""# Completion of `scaffold` in bash. Write it to
# ~/.local/share/bash-completion/completions/scaffold, or source it.
_scaffold_follows() {
    follows=
    case "$1" in
@table
    esac
}

_scaffold() {
    local word="${COMP_WORDS[COMP_CWORD]}" command="${COMP_WORDS[1]}"
    local option= prefix= place=0 index=2 follows= next= IFS=$' \t\n'
    COMPREPLY=()
    if [ "$COMP_CWORD" -lt 2 ]; then
        COMPREPLY=($(compgen -W "@commands" -- "$word"))
        return
    fi
    while [ "$index" -lt "$COMP_CWORD" ]; do
        option=
        case "${COMP_WORDS[index]}" in
            '=' | -*=*) ;;
            -*) option="${COMP_WORDS[index]}"
                _scaffold_follows "$command $option"
                if [ -z "$follows" ]; then
                    option=
                elif [ "$((index + 1))" -lt "$COMP_CWORD" ]; then
                    index=$((index + 1)) next="${COMP_WORDS[index]}"
                    if [ "$next" != '=' ]; then
                        option=
                    elif [ "$((index + 1))" -lt "$COMP_CWORD" ]; then
                        index=$((index + 1)) option=
                    fi
                fi ;;
            *) place=$((place + 1)) ;;
        esac
        index=$((index + 1))
    done
    case "$word" in
        '=') word= ;;
        -*=*) option="${word%%=*}" prefix="${word%%=*}=" word="${word#*=}" ;;
    esac
    if [ -n "$option" ]; then
        _scaffold_follows "$command $option"
    else
        case "$word" in
            -*) _scaffold_follows "$command -" ;;
            *) _scaffold_follows "$command $((place + 1))" ;;
        esac
    fi
    case "$follows" in
        words*) COMPREPLY=($(compgen -P "$prefix" -W "${follows#words }" -- "$word")) ;;
    esac
}

complete -o default -F _scaffold scaffold
"""
ZSH = """# Completion of `scaffold` in zsh: source it in ~/.zshrc, as in
#   source <(scaffold completion zsh)
autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
"""
FISH = """# Completion of `scaffold` in fish. Write it to ~/.config/fish/completions/scaffold.fish.
complete -c scaffold -f
"""


def script(parser: Parser, shell: str) -> str:
    """The script of one of SHELLS that completes the parser's commands."""
    if shell == "fish":
        return FISH + "\n".join(_fish_lines(parser)) + "\n"
    bash = BASH.replace("@table", "\n".join(_cases(parser)))
    bash = bash.replace("@commands", " ".join([*parser.commands, *_names(parser)]))
    if shell == "zsh":
        return ZSH + bash[bash.index("_scaffold_follows") :]
    return bash


def _names(parser: Parser) -> list[str]:
    """All options of a command, in their long form."""
    return [
        name
        for option in parser.options
        for name in option.action.option_strings
        if name.startswith("--")
    ]


def _cases(parser: Parser) -> Iterator[str]:
    """The branches of bash's `case`: what follows each option, and what stands at each place."""
    for name, command in parser.commands.items():
        yield f"        '{name} -') follows='words {' '.join(_names(command))}' ;;"
        positional = [each for each in command.options if not each.action.option_strings]
        for place, option in enumerate(positional, start=1):
            yield f"        '{name} {place}') follows='{_follows(option)}' ;;"
        for option in command.options:
            if option.action.option_strings and option.takes_value:
                names = "|".join(f"'{name} {each}'" for each in option.action.option_strings)
                yield f"        {names}) follows='{_follows(option)}' ;;"


def _follows(option: Option) -> str:
    if option.values:
        return f"words {' '.join(option.values)}"
    return "path" if option.is_path else "any"


def _fish_lines(parser: Parser) -> Iterator[str]:
    begin = f"complete -c {PROGRAM} -n"
    for name in _names(parser):
        yield f"{begin} __fish_use_subcommand -l {name.removeprefix('--')}"
    for name, command in parser.commands.items():
        about = _fish_quoted(command.description or "")
        yield f"{begin} __fish_use_subcommand -a {name} -d {about}"
        within = f"'__fish_seen_subcommand_from {name}'"
        for option in command.options:
            yield from (f"{begin} {within} {rest}" for rest in _fish_option(option))


def _fish_option(option: Option) -> Iterator[str]:
    about = _fish_quoted(option.action.help or "")
    value = ""
    if option.values:
        value = f" -x -a '{' '.join(option.values)}'"
    elif option.takes_value:
        value = " -r -F" if option.is_path else " -x"
    for name in option.action.option_strings:
        if name.startswith("--"):
            yield f"-l {name.removeprefix('--')}{value} -d {about}"
    if not option.action.option_strings and (option.values or option.is_path):
        yield value.removeprefix(" -x").removeprefix(" -r").strip()


def _fish_quoted(text: str) -> str:
    """What an option is for, up to the first mark, in fish's quotes."""
    text = re.split(r"[.:;(]\s|\s\(", text)[0].removesuffix(".")
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
