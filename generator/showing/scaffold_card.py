"""A scaffold as a notebook shows it: what it is, what it takes, how it was proved, what is next."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import layout
from . import columns
from .columns import Part
from .kept_sample import KeptSample
from .known import body, methods, proof, sharing, trained_with
from .markup import card, code, command, escaped, facts, section, table
from .ranges import balance, summary

MOST_PARTS = 20
KEPT = "kept sample"
MOST_BODY = 300  # characters of a body in a command


@dataclass(frozen=True)
class Shown:
    """What a card is made of.

    Attributes:
        directory: the scaffold's.
        name: the model's name.
        framework: as `config.yaml` names it.
        server: as `config.yaml` names it.
        gpu: whether its workers may use GPUs.
        version: the model's version, if it has one.
        model: what `config.yaml` records of the model.
        build: the command that builds the image.
        run: the command that runs it.
    """

    directory: Path
    name: str
    framework: str
    server: str
    gpu: bool
    version: str | None
    model: Mapping[str, Any]
    build: str
    run: str


def scaffold_card(shown: Shown) -> str:
    """The HTML of a scaffold."""
    found, output = KeptSample.read(shown.directory), shown.model.get("output")
    sample = found or KeptSample()
    title = [shown.name, shown.framework]
    if shown.version is not None:
        title.append(f"version {shown.version}")
    return card(
        title,
        facts(_identity(shown, found)),
        section("A row", _parts(columns.inputs(shown.model.get("input")), sample.rows)),
        section("A prediction", _parts(columns.outputs(output), _numbers_only(output, sample))),
        section(f"Predicted for the {KEPT}", _balance(output, sample)),
        section("Next", "".join(map(command, _commands(shown)))),
    )


def broken_card(directory: Path, reason: Exception) -> str:
    """The HTML of a scaffold that cannot be read."""
    return card([directory.name, "cannot be read"], f"<div>{escaped(reason, 600)}</div>")


def _identity(shown: Shown, sample: KeptSample | None) -> list[tuple[str, Any]]:
    kind = shown.model.get("class")
    server = f"{shown.server}, on a GPU" if shown.gpu else shown.server
    return [
        ("Directory", code(shown.directory)),
        ("Model", kind and code(kind)),
        ("Answers with", methods(shown.model)),
        ("Trained with", trained_with(shown.model)),
        ("Server", server),
        ("Proved", proof(shown.model, sample)),
        ("Rows", sharing(shown.model)),
    ]


def _is_class(output: Any) -> bool:
    return isinstance(output, Mapping) and output.get("kind") == "class"


def _numbers_only(output: Any, sample: KeptSample) -> list[Any]:
    """The predictions, unless they are classes, which have a table of their own."""
    return [] if _is_class(output) else sample.predictions


def _balance(output: Any, sample: KeptSample) -> str:
    return balance(output.get("classes"), sample.predictions) if _is_class(output) else ""


def _parts(parts: Sequence[Part], rows: Sequence[Any]) -> str:
    """A table of the parts, with what the rows of the kept sample hold of each."""
    if not parts:
        return ""
    heads = ("name", "dtype", "JSON", "shape", "values", KEPT)
    cells = [
        [code(part.label, 60), part.dtype, part.json, part.shape, part.values, summary(part, rows)]
        for part in parts[:MOST_PARTS]
    ]
    return table(heads, cells, _more(len(parts)))


def _more(count: int) -> str | None:
    if count <= MOST_PARTS:
        return None
    return f"and {count - MOST_PARTS:,} more, in {layout.CONFIG}"


def _commands(shown: Shown) -> list[str]:
    serve = f"python -m generator serve {shlex.quote(str(shown.directory))}"
    url = f"http://localhost:8080/v1/models/{shown.name}:predict"
    body = shlex.quote(_body(shown.model.get("example")))
    post = f"curl -H 'Content-Type: application/json' -d {body} -X POST {url}"
    return [serve, shown.build, shown.run, post]


def _body(example: Any) -> str:
    """A request with one row; a word in its place where no short row is known."""
    if isinstance(example, list) and example and len(short := body(example[:1])) <= MOST_BODY:
        return short
    return '{"instances": [ROW]}'
