"""The parts of a page: escaped text, tables and the card around them.

Nothing is loaded from elsewhere, and nothing runs. Text has the colour of the page that it stands
in, and lines are of a grey between, so that light and dark themes both can show it. Names and
values are their owners' and may hold anything: each is escaped, and cut where it is long.
"""

import html
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

MOST_CHARACTERS = 60
NEW_LINE = "\n"
TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CLASS = "scaffold-card"
STYLE = """
CARD {max-width: 62em; padding: .7em 1em; border: 1px solid #8886; border-radius: 6px;
  font: 13px/1.5 system-ui, sans-serif; color: inherit}
CARD header {font-size: 15px}
CARD h4 {margin: .9em 0 .2em; font-size: 13px; font-weight: 600; line-height: 1.5}
CARD table {margin: 0; border-collapse: collapse; border: 0; font-size: 12px; table-layout: auto}
CARD td, CARD th {padding: .15em 1.2em .15em 0; text-align: left; line-height: 1.5;
  vertical-align: top; max-width: 34em; overflow-wrap: anywhere; white-space: normal}
CARD td:first-child, CARD th:first-child {padding-left: .4em}
CARD th {font-weight: 600; opacity: .75}
CARD tbody tr, CARD tbody tr:nth-child(odd) {border-top: 1px solid #8883; background: none}
CARD .plain tbody tr {border: 0}
CARD .plain td {max-width: 56em}
CARD .plain td:first-child {opacity: .75; white-space: nowrap}
CARD .note {opacity: .75; font-size: 12px}
CARD pre, CARD code {color: inherit; font: 12px/1.5 ui-monospace, monospace}
CARD code {background: none; padding: 0}
CARD pre {margin: 0 0 .3em; padding: .25em .6em; white-space: pre-wrap; word-break: normal;
  overflow-wrap: anywhere; background: #8882; border-radius: 4px}
""".replace("CARD", f".{CLASS}" * 3)  # thrice, because notebooks have rules of their own for tables


@dataclass(frozen=True)
class Markup:
    """A piece of HTML. All other values are escaped where they are put into one."""

    text: str


def escaped(value: Any, most: int = MOST_CHARACTERS) -> str:
    """A value as HTML: text is escaped, and cut where it is long.

    Control characters, and those that turn the direction of what follows, are written out.
    """
    if isinstance(value, Markup):
        return value.text
    text = str(value)
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    return html.escape("".join(map(_seen, text)))


def _seen(character: str) -> str:
    if character in TURNING or unicodedata.category(character) in ("Cc", "Cs"):
        return ascii(character)[1:-1]
    return character


def code(value: Any, most: int = 300) -> Markup:
    return Markup(f"<code>{escaped(value, most)}</code>")


def joined(parts: Iterable[Any], separator: str = ", ") -> Markup:
    return Markup(html.escape(separator).join(escaped(part, 200) for part in parts))


def facts(pairs: Sequence[tuple[str, Any]]) -> str:
    """What is known of a thing: a name and a value a line. A value may be None: it is left out."""
    rows = [f"<tr>{_cells(pair)}</tr>" for pair in pairs if pair[1] is not None]
    return f'<table class="plain"><tbody>{"".join(rows)}</tbody></table>'


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], note: str | None = None) -> str:
    """Rows below their heads, without the columns in which no row has anything."""
    filled = [index for index in range(len(heads)) if any(row[index] != "" for row in rows)]
    head = "".join(f"<th>{escaped(heads[index])}</th>" for index in filled)
    body = "".join(f"<tr>{_cells([row[index] for index in filled])}</tr>" for row in rows)
    made = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return made + noted(note)


def noted(note: str | None) -> str:
    if note is None:
        return ""
    return f'<div class="note">{escaped(note, 300)}</div>'


def command(text: str) -> str:
    return f"<pre>{NEW_LINE.join(escaped(line, 4000) for line in text.split(NEW_LINE))}</pre>"


def section(title: str, body: str) -> str:
    """A part of a card; nothing where it would be empty."""
    if not body:
        return ""
    return f"<h4>{escaped(title)}</h4>{body}"


def card(title: Sequence[Any], *parts: str) -> str:
    """What is shown. The first word of the title is the thing's name."""
    name, *rest = title
    header = f"<header><b>{escaped(name)}</b> {joined(rest, ' · ').text}</header>"
    return f'<div class="{CLASS}"><style>{STYLE}</style>{header}{"".join(parts)}</div>'


def _cells(values: Sequence[Any]) -> str:
    return "".join(f"<td>{escaped(value, 200)}</td>" for value in values)
