"""What a scaffold says of its rows, for a model that is put into it without a sample."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ..common import Signature, schema
from ..errors import ScaffoldError
from ..hooks import WrittenModelScaffoldDefinition
from ..layout import SMOKE_TEST

Form = TypeVar("Form", schema.ArrayInput, schema.Tensor)
TEXTS = (schema.TEXT, schema.BYTES)


@dataclass(frozen=True)
class Kept:
    """What stays of the rows of the model before.

    Attributes:
        input: what a row is.
        sample: the rows of the smoke test, else the example, as the new model takes them; None if
            there are none.
        is_tested: whether they are the smoke test's.
    """

    input: schema.ModelInput
    sample: Any
    is_tested: bool

    def input_for(self, described: schema.ModelInput | None) -> schema.ModelInput:
        """What a row is, with the dtypes and the limits of the new model itself.

        Args:
            described: what the framework says of the sample.
        """
        match self.input, described:
            case schema.ArrayInput(), schema.ArrayInput():
                return _with_facts(self.input, described)
            case schema.TensorsInput(), schema.TensorsInput():
                found = {part.name: part for part in described.inputs}
                inputs = [
                    _with_facts(part, found.get(part.name, part)) for part in self.input.inputs
                ]
                return replace(self.input, inputs=tuple(inputs))
        return self.input


def kept(
    directory: Path,
    facts: Mapping[str, Any],
    definition: WrittenModelScaffoldDefinition,
    model: Any,
) -> tuple[Kept | None, str | None]:
    """What a scaffold says of its rows, where it suits the model.

    Returns:
        That, and why it does not suit the model: None if it does, or says nothing, or if the model
        takes other rows.

    Raises:
        ConfigError: `config.yaml` holds a value in `model.input` that is not allowed.
    """
    old = schema.read_input(facts.get("input"))
    if old is None:
        return None, None
    own = definition.describe(model, None).input
    described = _merged(old, own)
    if described is None:
        return None, None
    tested = _smoke_test_rows(directory)
    rows = tested or facts.get("example")
    if not rows:
        return Kept(described, None, False), None
    try:
        sample = Signature(described).inputs(rows)
        definition.expected(model, sample)
    except (ScaffoldError, ValueError) as error:
        return None, " ".join(str(error).split())
    return Kept(described, sample, tested is not None), None


def _smoke_test_rows(directory: Path) -> list[Any] | None:
    try:
        recorded = json.loads((directory / SMOKE_TEST).read_text(encoding="utf-8"))
        rows = recorded["request"]["instances"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if isinstance(rows, list) and rows:
        return rows
    return None


def _with_facts(before: Form, described: Any) -> Form:
    """An array or a tensor as it was described, with what the new model itself says of it."""
    return replace(before, dtype=_declared(before, described), below=described.below)


def _declared(before: Any, described: Any) -> str | None:
    """The dtype that the model declares where one was known before: one row tells none."""
    if before.dtype is None:
        return None
    dtype: str = described.dtype or before.dtype
    return dtype


# ---- two descriptions of the same rows ----


def _merged(old: schema.ModelInput, own: schema.ModelInput | None) -> schema.ModelInput | None:
    """What is known of the rows; None if the two descriptions are of different rows.

    Args:
        old: from a sample, or edited by the scaffold's owner.
        own: what the model itself says.
    """
    match old, own:
        case _, None:
            return old
        case schema.TableInput(), schema.TableInput() if old.names == own.names:
            pairs = zip(old.columns, own.columns, strict=True)
            return replace(own, columns=tuple(_column(*pair) for pair in pairs))
        case schema.TensorsInput(), schema.TensorsInput() if set(old.names) == set(own.names):
            known = {part.name: part for part in old.inputs}
            if all(_alike(known[part.name], part) for part in own.inputs):
                parts = [replace(known[part.name], below=part.below) for part in own.inputs]
                return replace(own, inputs=tuple(parts))
        case schema.ArrayInput(), schema.ArrayInput() if _alike(old, own):
            return replace(old, names=old.names or own.names, below=own.below)
        case (schema.TextInput(), schema.TextInput()) | (schema.JsonInput(), schema.JsonInput()):
            return old
    return None


def _column(old: schema.Column, own: schema.Column) -> schema.Column:
    """What is known of a column. A model that knows its categories knows the later ones too."""
    if own.categories is not None or old == schema.Column(old.name):
        return replace(own, unknown=old.unknown)
    return old


def _alike(old: Any, own: Any) -> bool:
    """Whether two arrays hold values of one kind, in the same shape where both are known."""
    known = None not in (old.dtype, own.dtype)
    if known and (old.dtype in TEXTS) != (own.dtype in TEXTS):
        return False
    return None in (old.shape, own.shape) or _fits(own.shape, old.shape)


def _fits(shape: tuple[int | None, ...], wider: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wider) and all(
        size in (None, found) for found, size in zip(shape, wider, strict=True)
    )
