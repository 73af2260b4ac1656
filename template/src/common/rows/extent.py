"""How much a row holds, where `model.input` says that."""

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..schema import BYTES, TEXT, ArrayInput, ModelInput, TableInput, TensorsInput, TextInput
from .columns.formats import form_name

CONTAINERS = ("list", "object", "any", "bytes")  # forms of values that may be lists or objects


@dataclass(frozen=True)
class Extent:
    """What each row of a model has as a body holds it.

    Attributes:
        lists: its lists and objects, itself included.
        values: the values in these.
        names: the most keys that it may have.
    """

    lists: int
    values: int
    names: int = 0

    def __add__(self, other: "Extent") -> "Extent":
        return Extent(
            self.lists + other.lists, self.values + other.values, self.names + other.names
        )


def most_values(described: ModelInput | None) -> int | None:
    """How many values each row has in tensors, at most; None where rows may differ in that."""
    match described:
        case ArrayInput(shape=shape, dtype=dtype):
            if shape is None or None in shape:
                return None
            pair = 2 if (dtype or "").startswith("complex") else 1  # [re, im]
            return math.prod(size for size in shape if size is not None) * pair
        case TensorsInput(inputs=tensors):
            sizes = [most_values(ArrayInput(part.shape, part.dtype)) for part in tensors]
            return None if None in sizes else max(size for size in sizes if size is not None)
        case TableInput(columns=columns):
            return len(columns)
        case TextInput():
            return 1
    return None


def extent(described: ModelInput | None) -> Extent | None:
    """What each row has; None where rows or values may differ in that."""
    match described:
        case ArrayInput():
            return _of_tensor(described, len(described.names or ()))
        case TensorsInput(inputs=tensors):
            parts = [_of_tensor(tensor) for tensor in tensors]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            return sum(known, Extent(1, 0, len(parts)))
        case TableInput(columns=columns):
            if any(form_name(column) in CONTAINERS for column in columns):
                return None
            return Extent(1, len(columns), len(columns))
    return None


def _of_tensor(tensor: Any, names: int = 0) -> Extent | None:
    shape: Sequence[int | None] | None = tensor.shape
    if shape is None or None in shape or tensor.dtype in (TEXT, BYTES, "object"):
        return None
    sizes = [size for size in shape if size is not None]
    if (tensor.dtype or "").startswith("complex"):
        sizes.append(2)  # [re, im]
    if not all(sizes):
        return None
    *outer, values = itertools.accumulate(sizes, operator.mul, initial=1)
    return Extent(sum(outer), values, names)
