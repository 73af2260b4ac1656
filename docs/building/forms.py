"""`reference/configuration.md`: the forms of rows, of predictions and of parameters."""

import dataclasses
import inspect
import re

from common import schema

from .markup import blocks, code, heading, table

ROWS = (
    *(schema.ArrayInput, schema.TableInput, schema.Column, schema.TensorsInput, schema.Tensor),
    *(schema.TextInput, schema.JsonInput),
)
PREDICTIONS = (
    *(schema.ArrayOutput, schema.EstimatorOutput, schema.TensorsOutput, schema.ListOutput),
)
TITLES = {
    schema.Column: "A column of a table",
    schema.Tensor: "A tensor",
    schema.EstimatorOutput: "kind: class, number, cluster or outlier",
    schema.Parameter: "A parameter",
}
FIELD = re.compile(r"^ {4}(?P<name>\w+): (?P<words>.*(?:\n {8}.*)*)", re.MULTILINE)
# What a docstring leaves to the name.
WORDS = {
    "shape": "The shape of one row. A size of `null` is any size.",
    "dtype": "The name of the dtype.",
    "name": "The name.",
    "below": "How many things the numbers may name: they go from 0 to one less.",
    "outputs": "The outputs, in the model's order.",
}


def page(level: int = 3) -> str:
    """The forms, one section each."""
    return blocks(
        [
            f"{'#' * level} Rows {{#rows}}",
            *(_form(form, "input", level + 1) for form in ROWS),
            f"{'#' * level} Predictions {{#predictions}}",
            *(_form(form, "output", level + 1) for form in PREDICTIONS),
            f"{'#' * level} Parameters {{#parameters}}",
            _form(schema.Parameter, "parameter", level + 1),
        ]
    )


def _form(form: type, room: str, level: int) -> str:
    kind = getattr(form, "kind", None)
    title = TITLES.get(form) or f"kind: {kind}"
    text = inspect.getdoc(form) or ""
    summary = " ".join(text.split("\n\n")[0].split())
    words = {found["name"]: found["words"] for found in FIELD.finditer(text)}
    rows = [
        (code(item.name), words.get(item.name) or WORDS[item.name], _default(item))
        for item in dataclasses.fields(form)
    ]
    anchor = f"{room}.{form.__name__.lower()}"
    listed = table(("key", "meaning", "without it"), rows) if rows else ""
    return blocks([heading(title, anchor, level), summary, listed])


def _default(item: "dataclasses.Field[object]") -> str:
    if item.default is dataclasses.MISSING:
        return "required"
    return code("null" if item.default is None else item.default)
