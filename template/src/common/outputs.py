"""Turns a model's outputs into `predictions`: one entry per row, with the model's output names."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .bodies import json_encode


def plain(output: Any, leaf: Callable[[Any], Any]) -> Any:
    """An output in dicts and lists.

    Args:
        output: what a model returned.
        leaf: converts what is not a container.

    Returns:
        A dict for a mapping, a named tuple or a dataclass, without the parts that no answer can
        hold; a list for a tuple or a list.
    """
    named = _named(output)
    if named is not None:
        parts = {str(name): plain(value, leaf) for name, value in named.items()}
        sent = {name: value for name, value in parts.items() if not _is_opaque(value)}
        return sent or parts  # an answer of nothing would be no answer
    if isinstance(output, (list, tuple)):
        return [plain(value, leaf) for value in output]
    return leaf(output)


def left_out(output: Any) -> list[str]:
    """The names of the parts that `plain` leaves out, such as a language model's cache."""
    named = _named(output)
    if named is not None:
        kept = plain(named, lambda value: value)
        inner = [left_out(value) for value in named.values()]
        return [str(name) for name in named if str(name) not in kept] + sum(inner, [])
    if isinstance(output, (list, tuple)):
        return sum(map(left_out, output), [])
    return []


def _is_opaque(value: Any) -> bool:
    """Whether it is an object of a class that has no form in an answer."""
    if isinstance(value, (dict, list, str, int, float, type(None))) or hasattr(value, "dtype"):
        return False
    try:
        json_encode(value)
    except TypeError:
        return True
    return False


def _named(output: Any) -> Mapping[Any, Any] | None:
    """The parts of an output by name; None if they have no names."""
    if isinstance(output, Mapping):
        return output
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    if isinstance(output, tuple):
        names = getattr(output, "_fields", None) or getattr(type(output), "__match_args__", None)
        if names:
            return dict(zip(names, output, strict=True))
    return None


class Predictor:
    """Makes one prediction per row, whatever the model returns for a batch of rows.

    If each output of the model has one entry per row, it is called once for all rows. Any other
    model is called once per row, so that no answer depends on the other rows of the batch: the
    first axis of an LSTM's states counts its layers, and a loss is one number.

    Args:
        call: the model. It takes a batch of rows: an array or tensor of shape [n, ...], or a dict
            of them by input name. It returns numpy arrays, None, numbers or texts, or dicts and
            lists of these.
    """

    def __init__(self, call: Callable[[Any], Any]) -> None:
        self._call = call
        self._by_row: bool | None = None

    def predictions(self, batch: Any, count: int) -> Any:
        """Predict for a batch.

        Args:
            batch: the rows, as the model takes them.
            count: how many there are.

        Returns:
            An array of shape [count, ...], or a list of `count` predictions.
        """
        if self._by_row is None:
            self._by_row = not self._follows_rows(_rows(batch, [0]), _rows(batch, [0, 0]))
        if self._by_row:
            return [_single(self._call(_rows(batch, [index]))) for index in range(count)]
        return _split(self._call(batch), count)

    def _follows_rows(self, one: Any, two: Any) -> bool:
        """Whether every output has one entry for one row, and two entries for two rows."""
        alone = _lengths(self._call(one))
        try:
            return alone == {1} and _lengths(self._call(two)) == {2}
        except Exception:  # the model cannot take two rows
            return False


def _rows(batch: Any, indices: list[int]) -> Any:
    if isinstance(batch, dict):
        return {name: part[indices] for name, part in batch.items()}
    return batch[indices]


def _parts(output: Any) -> list[Any]:
    if isinstance(output, dict):
        return list(output.values())
    parts: list[Any] = output
    return parts


def _lengths(output: Any) -> set[int | None]:
    """The lengths of an output's arrays along their first axes; None for what has no axis."""
    if isinstance(output, (dict, list)):
        return set().union(*map(_lengths, _parts(output)))
    if isinstance(output, np.ndarray) and output.ndim:
        return {len(output)}
    return {None}


def _split(output: Any, count: int) -> Any:
    """Split an output, whose arrays have `count` entries each, into rows."""
    if not isinstance(output, (dict, list)):
        return output
    rows = zip(*(_split(part, count) for part in _parts(output)), strict=True)
    if isinstance(output, dict):
        return [dict(zip(output, row, strict=True)) for row in rows]
    return [list(row) for row in rows]


def _single(output: Any) -> Any:
    """The output for a batch of one row, without the row axis if there is one."""
    if isinstance(output, dict):
        return {name: _single(part) for name, part in output.items()}
    if isinstance(output, list):
        return [_single(part) for part in output]
    if isinstance(output, np.ndarray) and output.ndim and len(output) == 1:
        return output[0]
    return output
