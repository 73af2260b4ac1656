"""What a model gives becomes `predictions`: one entry a row, under the names that the model has for its outputs."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def plain(output: Any, leaf: Callable[[Any], Any]) -> Any:
    """Mappings, named tuples and dataclasses as dicts, tuples as lists, and `leaf(value)` for every other value."""
    named = _named(output)
    if named is not None:
        return {str(name): plain(value, leaf) for name, value in named.items()}
    if isinstance(output, (list, tuple)):
        return [plain(value, leaf) for value in output]
    return leaf(output)


def _named(output: Any) -> Mapping[Any, Any] | None:
    if isinstance(output, Mapping):
        return output
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    if isinstance(output, tuple):
        names = getattr(output, "_fields", None) or getattr(type(output), "__match_args__", None)
        return dict(zip(names, output, strict=True)) if names else None
    return None


class Predictor:
    """Gives one prediction a row, whatever the model gives for a batch of rows.

    A model of whose outputs each has an entry for each row is called once for all rows. Any other (an LSTM's states
    are counted by layers first, a loss is one number) is called once for each row: so no answer depends on what other
    rows share the batch.

    Args:
        call: the model: takes a batch of rows (an array or tensor of shape [n, ...], or a dict of them keyed by input
            name), and gives numpy arrays, None, numbers, texts, and dicts and lists of them.
    """

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self._call = call
        self._by_row: bool | None = None

    def predictions(self, batch: Any, count: int) -> Any:
        """The predictions for `count` rows: an array of shape [count, ...], or a list."""
        if self._by_row is None:
            self._by_row = not self._follows_rows(_rows(batch, [0]), _rows(batch, [0, 0]))
        if self._by_row:
            return [_alone(self._call(_rows(batch, [index]))) for index in range(count)]
        return _split(self._call(batch), count)

    def _follows_rows(self, one: Any, two: Any) -> bool:
        """Whether every output has one entry for one row, and two entries for two."""
        alone = _lengths(self._call(one))
        try:
            return alone == {1} and _lengths(self._call(two)) == {2}
        except Exception:  # a model that takes no two rows
            return False


def _rows(batch: Any, indices: list[int]) -> Any:
    return (
        {name: part[indices] for name, part in batch.items()}
        if isinstance(batch, dict)
        else batch[indices]
    )


def _parts(output: Any) -> list[Any]:
    return list(output.values()) if isinstance(output, dict) else output


def _lengths(output: Any) -> set[int | None]:
    """The lengths of all arrays in an output along their first axes; None stands for what has no axis."""
    if isinstance(output, (dict, list)):
        return set().union(*map(_lengths, _parts(output)))
    return {len(output)} if isinstance(output, np.ndarray) and output.ndim else {None}


def _split(output: Any, count: int) -> Any:
    """An output whose arrays have `count` entries each, row by row."""
    if not isinstance(output, (dict, list)):
        return output
    rows = zip(*(_split(part, count) for part in _parts(output)), strict=True)
    return [
        dict(zip(output, row, strict=True)) if isinstance(output, dict) else list(row)
        for row in rows
    ]


def _alone(output: Any) -> Any:
    """The output for a batch of one row, without the axis of rows where there is one."""
    if isinstance(output, dict):
        return {name: _alone(part) for name, part in output.items()}
    if isinstance(output, list):
        return [_alone(part) for part in output]
    return (
        output[0] if isinstance(output, np.ndarray) and output.ndim and len(output) == 1 else output
    )
