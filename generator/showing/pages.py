"""What `README.md` and `model-card.md` of a scaffold say of its model, in Markdown."""

import json
import platform
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import layout
from . import columns
from .columns import Part
from .kept_sample import KeptSample
from .known import body, counted, is_there, methods, proof, sharing, trained_with
from .ranges import summary

MOST_NAMED = 12  # columns in a sentence
MOST_LISTED = 100  # columns in a table
MOST_PASTED = 1000  # characters of a body on a command line
MOST_ANSWER = 500
MOST_CHARACTERS = 200  # of a name or a value
SPECIAL = re.compile(r"([\\`*_|<>\[\]&])")
STRINGS = re.compile(r"[<>=|]?U\d*")  # a dtype of numpy's, of texts up to some length
TITLES = ("name", "dtype", "JSON", "shape", "values", "in the kept sample")
FROM_SAMPLE = f'json.load(open("{layout.SMOKE_TEST}"))["request"]["instances"][:1]'
FROM_CONFIG = f'yaml.safe_load(open("{layout.CONFIG}"))["model_metadata"]["model"]["example"][:1]'


@dataclass(frozen=True)
class Told:
    """What the pages are made of.

    Attributes:
        name: the model's name.
        version: the model's version, if it has one.
        model: what `config.yaml` records of the model.
        sample: the kept sample; None if there is none.
        tolerance: how far a number may be off, relative to the largest expected one.
    """

    name: str
    version: str | None
    model: Mapping[str, Any]
    sample: KeptSample | None
    tolerance: float

    @property
    def inputs(self) -> list[Part]:
        return columns.inputs(self.model.get("input"))

    @property
    def outputs(self) -> list[Part]:
        return columns.outputs(self.model.get("output"))

    @property
    def rows(self) -> list[Any]:
        """The rows of the kept sample."""
        return self.sample.rows if self.sample else []

    @property
    def is_proved(self) -> bool:
        """Whether a sample is kept, which only one that passed is."""
        return is_there(self.model) and self.sample is not None


def parts(told: Told) -> dict[str, str]:
    """Each part of the pages, by its name."""
    made_with, answers_with = _text(trained_with(told.model)), _text(methods(told.model))
    kind, version = _code(told.model.get("class")), _code(told.version)
    row, prediction = _in_short(told.inputs), _in_short(told.outputs)
    return {
        "model": _list(
            ("Model", kind),
            ("Version", version),
            ("Trained with", made_with),
            ("Answers with", answers_with),
            ("A row", row),
            ("A prediction", prediction),
            ("Proved", _proved(told)),
        ),
        "call": _call(told),
        "details": _list(
            ("Class", kind),
            ("Version", version),
            ("Answers with", answers_with),
            ("A prediction", prediction),
        ),
        "training": _list(("Trained with", made_with)),
        "proof": _proof(told),
        "rows": _rows(told),
        "files": _files(told.model),
    }


def _proof(told: Told) -> str:
    where = f"Python {platform.python_version()}, {platform.system()} on {platform.machine()}"
    return _list(
        ("Proved", _proved(told)),
        ("Where", _text(where) if told.is_proved else None),
        ("Rows", _text(sharing(told.model))),
    )


def _proved(told: Told) -> str:
    if not told.is_proved:
        return _text(proof(told.model, told.sample))
    rows = counted(len(told.rows), "row") if told.rows else "all rows"
    within = "exactly"
    if told.tolerance:
        within = f"to {told.tolerance:g} of the largest number"
    return f"the scaffold answered {rows} as expected, {within}; `{layout.SMOKE_TEST}` has them"


def _files(model: Mapping[str, Any]) -> str:
    file = model.get("file")
    return _list(
        ("File", file and _code(f"{layout.MODEL}/{file}")),
        ("SHA-256", _code(model.get("sha256"))),
        ("Engine", _text(model.get("engine"))),
        ("Packages", f"`{layout.REQUIREMENTS}`, and `{layout.SERVER_REQUIREMENTS}` for the server"),
    )


# ---- rows and predictions ----


def _rows(told: Told) -> str:
    tables = [
        f"{title}:\n\n{_table(found, rows)}"
        for title, found, rows in (
            ("A row", told.inputs, told.rows),
            ("A prediction", told.outputs, []),
        )
        if found
    ]
    return "\n\n".join(tables) or f"Describe a row in `{layout.CONFIG}` under `model.input`."


def _table(found: Sequence[Part], rows: Sequence[Any]) -> str:
    """The parts of a row as a table, without the columns that would be empty."""
    listed = [
        [
            _code(part.label),
            _dtype(part),
            *map(_text, (part.json, part.shape, part.values, summary(part, rows))),
        ]
        for part in found[:MOST_LISTED]
    ]
    filled = [index for index in range(len(TITLES)) if any(cells[index] for cells in listed)]
    lines = [TITLES, ["---"] * len(TITLES), *listed]
    kept = [[_cell(cells[index]) for index in filled] for cells in lines]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in kept)
    if len(found) > MOST_LISTED:
        text += f"\n\n{len(found) - MOST_LISTED:,} more are in `{layout.CONFIG}`."
    return text


def _in_short(found: Sequence[Part]) -> str:
    """The parts of a row, or of a prediction, in one line."""
    if found and all(part.name is None and part.index is not None for part in found):
        return f"{counted(len(found), 'value')}, {_dtype(found[0]) or 'of any dtype'}"
    named = [_named(part) for part in found[:MOST_NAMED]]
    if len(found) > MOST_NAMED:
        named.append(f"{len(found) - MOST_NAMED:,} more in `{layout.CONFIG}`")
    return ", ".join(named)


def _named(part: Part) -> str:
    words = [_code(part.label), _dtype(part), _text(part.shape)]
    if part.values:
        words.append(f"({_text(part.values)})")
    return " ".join(filter(None, words))


def _dtype(part: Part) -> str:
    return "string" if STRINGS.fullmatch(part.dtype) else _text(part.dtype)


# ---- how to call it ----


def _call(told: Told) -> str:
    """Commands that work as they are pasted in the scaffold's directory, and the answer."""
    url = f"http://localhost:8080/v1/models/{told.name}:predict"
    curl = f"curl {url} \\\n  -H 'Content-Type: application/json' -d "
    rows, source = _example(told)
    if rows is None:
        unknown = _fenced("commandline", f"{curl}'{{\"instances\": [ROW, ...]}}'")
        return f"{unknown}\n\nWrite a row of yours in place of `ROW, ...`."
    modules, sent = ["httpx"], body(rows)
    if len(sent) <= MOST_PASTED:
        command, expression = f"{curl}{shlex.quote(sent)}", repr(rows)
    else:
        expression, module = source, source.split(".")[0]
        modules.append(module)
        imported = "json" if module == "json" else f"json, {module}"
        program = f'import {imported}; print(json.dumps({{"instances": {expression}}}))'
        command = f"python3 -c {shlex.quote(program)} | \\\n{curl}@-"
    python = [
        *(f"import {module}" for module in sorted(modules)),
        "",
        f"rows = {expression}",
        f'print(httpx.post("{url}", json={{"instances": rows}}).json())',
    ]
    texts = [
        _fenced("commandline", command),
        _answer(told, rows),
        "In Python, with httpx:",
        _fenced("python", "\n".join(python)),
    ]
    return "\n\n".join(filter(None, texts))


def _example(told: Told) -> tuple[list[Any] | None, str]:
    """One row as JSON has it, and the expression that reads it in the scaffold."""
    example = told.model.get("example")
    if told.rows:
        return told.rows[:1], FROM_SAMPLE
    if isinstance(example, list) and example:
        return json.loads(body(example[:1]))["instances"], FROM_CONFIG
    return None, ""


def _answer(told: Told, rows: list[Any]) -> str:
    """What the server answers for the first row, where others would not change that."""
    sample = told.sample
    if sample is None or not sample.rows or len(sample.predictions) != len(sample.rows):
        return ""
    if len(sample.rows) > 1 and told.model.get("rows_independent") is not True:
        return ""
    text = json.dumps({"predictions": sample.predictions[:1]}, ensure_ascii=False)
    if len(text) > MOST_ANSWER:
        return ""
    return f"The answer is {_code(text, MOST_ANSWER)}."


# ---- Markdown ----


def _list(*pairs: tuple[str, str | None]) -> str:
    return "\n".join(f"- **{title}:** {text}" for title, text in pairs if text)


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _cell(text: str) -> str:
    """A cell of a table, which a bar would end, in code too."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def _code(value: Any, most: int = MOST_CHARACTERS) -> str:
    """A name in code, which may hold anything."""
    text = _one_line(value, most)
    if not text:
        return ""
    marks = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if "`" in text else ""
    return f"{marks}{space}{text}{space}{marks}"


def _text(value: Any) -> str:
    return SPECIAL.sub(r"\\\1", _one_line(value))


def _one_line(value: Any, most: int = MOST_CHARACTERS) -> str:
    if value is None:
        return ""
    printed = "".join(each if each.isprintable() else " " for each in str(value))
    text = " ".join(printed.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
