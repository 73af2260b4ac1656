"""Batches as a network takes them: an array or a tensor, or a dict of them keyed by input name."""

from collections.abc import Callable
from typing import Any


def parts(batch: Any) -> list[Any]:
    """The arrays or tensors of a batch."""
    if isinstance(batch, dict):
        return list(batch.values())
    return [batch]


def mapped(batch: Any, change: Callable[[Any], Any]) -> Any:
    """A batch of changed arrays or tensors."""
    if isinstance(batch, dict):
        return {name: change(part) for name, part in batch.items()}
    return change(batch)
