"""Compares predictions of a scaffold with the expected ones, both as a client reads them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arguments import argument
from ..common import json_encode, kind_of, listing, shown
from ..rows.as_json import as_json
from ..showing.answers_card import answers_card

Array = np.ndarray[Any, np.dtype[Any]]
Path = tuple[Any, ...]


@dataclass(frozen=True)
class Verification:
    """Whether a scaffold's predictions are the expected ones.

    Attributes:
        expected: the expected predictions, as JSON has them.
        served: the scaffold's predictions, as JSON has them.
        difference: what differs, in words; None if nothing does.
        tolerance: how far a number might be off, relative to the largest expected one; 0 requires
            equality to the last bit.
    """

    expected: Any = field(repr=False)
    served: Any = field(repr=False)
    difference: str | None
    tolerance: float = 0.0

    def __bool__(self) -> bool:
        return self.difference is None

    def __str__(self) -> str:
        if self.difference is not None:
            return self.difference
        count = 1
        if isinstance(self.expected, list):
            count = len(self.expected)
        equal = f"{count} predictions, equal"
        if self.tolerance:
            return f"{equal} to {self.tolerance:g} of the largest"
        return f"{equal} to the last bit"

    def _repr_html_(self) -> str:
        """What a notebook shows in place of `repr`."""
        return answers_card(self.expected, self.served, str(self), bool(self))


def compare(expected: Any, served: Any, tolerance: float = 0.0) -> Verification:
    """Compare the predictions in an answer with the expected ones.

    Args:
        expected: predictions as the model gives them, or as they were recorded. They are encoded
            as the scaffold encodes its own; floats in numpy's arrays and scalars are held to the
            digits of their dtype.
        served: `predictions` of an answer in JSON.
        tolerance: how far a float may be off, relative to the largest expected one of the same
            output.

    Raises:
        ModelError: the expected predictions have no form in JSON.
    """
    wanted = as_json(expected, "predictions")
    difference = None
    if json_encode(wanted) != json_encode(served):
        allowed: dict[Path, float] = {}
        if tolerance:
            allowed = {path: tolerance * size for path, size in _sizes(wanted, expected)}
        difference = _difference(Part(wanted, expected), served, allowed)
    return Verification(wanted, served, difference, tolerance)


@dataclass(frozen=True)
class Part:
    """A part of the expected predictions.

    Attributes:
        json: as JSON has it.
        raw: as the model gave it; None where that is not known.
        place: where it is, as in `predictions[0]['a']`.
        output: which of the model's outputs it belongs to: the keys above it, and the positions in
            a row of several outputs.
    """

    json: Any
    raw: Any
    place: str = "predictions"
    output: Path = ()

    def item(self, index: int) -> "Part":
        """An entry of a list."""
        raw, output = None, self.output
        if isinstance(self.raw, (list, tuple, np.ndarray)) and len(self.raw) == len(self.json):
            raw = self.raw[index]
        if self.place != "predictions" and _holds_outputs(self.raw):
            output = (*output, index)
        return Part(self.json[index], raw, f"{self.place}[{index}]", output)

    def value(self, key: str) -> "Part":
        """A value of an object."""
        raw = None
        if isinstance(self.raw, Mapping):
            raw = self.raw.get(key)
        return Part(self.json[key], raw, f"{self.place}[{key!r}]", (*self.output, key))

    def parts(self) -> "Iterator[Part]":
        if isinstance(self.json, dict):
            yield from map(self.value, self.json)
        elif isinstance(self.json, list):
            yield from map(self.item, range(len(self.json)))


def _holds_outputs(row: Any) -> bool:
    """Whether it is a row of several outputs, and not an array in Python's own lists."""
    return isinstance(row, (list, tuple)) and any(hasattr(part, "dtype") for part in row)


def _sizes(wanted: Any, expected: Any) -> list[tuple[Path, float]]:
    """Each output with the size of its largest number."""
    sizes: dict[Path, float] = {}
    waiting = [Part(wanted, expected)]
    while waiting:
        part = waiting.pop()
        if _is_number(part.json):
            sizes[part.output] = max(sizes.get(part.output, 0.0), abs(part.json))
        waiting += part.parts()
    return list(sizes.items())


def _difference(part: Part, served: Any, allowed: Mapping[Path, float]) -> str | None:
    """The first difference, in words."""
    if isinstance(part.json, dict) and isinstance(served, dict):
        if part.json.keys() != served.keys():
            return (
                f"{part.place} should have {_keys(part.json)}, it has {_keys(served)}: if that is"
                f" an edit of yours, pass {argument('expected')}"
            )
        pairs = [(part.value(key), served[key]) for key in part.json]
    elif isinstance(part.json, list) and isinstance(served, list):
        if len(part.json) != len(served):
            return f"{part.place} should have {len(part.json)} entries, it has {len(served)}"
        if _floats_agree(part, served, allowed):
            return None
        pairs = [(part.item(index), given) for index, given in enumerate(served)]
    else:
        return _leaf_difference(part, served, allowed)
    found = (_difference(inner, given, allowed) for inner, given in pairs)
    return next((difference for difference in found if difference is not None), None)


def _keys(mapping: Mapping[str, Any]) -> str:
    return f"the keys {listing(list(mapping))}"


def _floats_agree(part: Part, served: list[Any], allowed: Mapping[Path, float]) -> bool:
    """Whether an array of floats is served as it should be: a quick answer for large ones."""
    if not isinstance(part.raw, np.ndarray) or part.raw.dtype.kind != "f":
        return False
    try:
        given = np.asarray(served)
    except (ValueError, OverflowError):  # its parts have different shapes
        return False
    if given.dtype.kind not in "if" or given.shape != part.raw.shape:
        return False
    apart = np.abs(np.asarray(part.json, dtype=float) - given)
    return bool((apart <= allowed.get(part.output, 0.0)).all())


def _leaf_difference(part: Part, served: Any, allowed: Mapping[Path, float]) -> str | None:
    wanted = part.json
    if _is_number(wanted) and _is_number(served):
        if _same_number(part, served, allowed.get(part.output, 0.0)):
            return None
    elif type(wanted) is type(served) and not isinstance(wanted, (dict, list)) and wanted == served:
        return None
    difference = f"{part.place} should be {_words(wanted)}, it is {_words(served)}"
    if isinstance(served, (dict, list)):
        return f"{difference}: if that is an edit of yours, pass {argument('expected')}"
    return difference


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _same_number(part: Part, served: int | float, allowed: float) -> bool:
    """Equal in the digits of the expected dtype, or a float that is near enough."""
    if part.json == served:
        return True
    if isinstance(part.raw, np.floating):
        with np.errstate(over="ignore"):
            if type(part.raw)(served) == part.raw:
                return True
    return isinstance(part.json, float) and math.fabs(part.json - served) <= allowed


def _words(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return kind_of(value)
    return shown(value)
