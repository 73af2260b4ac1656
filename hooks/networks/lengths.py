"""Which axes of rows and outputs may have another length: the model in memory is tried with one."""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from generator.common import schema

Axis = tuple[str, int]
"""The name of an input, and an axis of it; axis 0 is its rows."""


def free_axes(
    inputs: Mapping[str, Any],
    is_whole: Callable[[Any], bool],
    takes: Callable[[Mapping[str, Any]], Any],
) -> set[Axis]:
    """The axes along which the model takes another length than the sample's.

    Inputs of whole numbers, which may be token ids, are tried, and others whose rows have two axes
    or more: sequences of vectors, and images. A row of floats with one axis is not: a model that
    takes another number of features takes it by chance, as one with a mean over them does. Axes of
    the same length are first tried together: a mask is as long as the tokens.

    Args:
        inputs: arrays or tensors of shape [n, ...] by name.
        is_whole: whether an input holds whole numbers.
        takes: calls the model; raises an error for inputs that it does not take.
    """
    sizes = {
        (name, axis): part.shape[axis] for name, part in inputs.items() for axis in _axes(part)
    }
    tried = [axis for axis in sizes if is_whole(inputs[axis[0]]) or inputs[axis[0]].ndim > 2]
    free: set[Axis] = set()
    for size in {sizes[axis] for axis in tried} - {0}:
        alike = [axis for axis, found in sizes.items() if found == size]
        alone = [[axis] for axis in tried if sizes[axis] == size]
        for axes in [alike, *alone]:
            if free.isdisjoint(axes) and _works(takes, _resized(inputs, axes, size)):
                free.update(axes)
    return free


def sizes(name: str, part: Any, free: set[Axis]) -> tuple[int | None, ...]:
    """The shape of one row of an input, with None for each axis that may have another length."""
    return tuple(None if (name, axis) in free else int(part.shape[axis]) for axis in _axes(part))


def _axes(part: Any) -> range:
    return range(1, part.ndim)


def _resized(inputs: Mapping[str, Any], axes: Iterable[Axis], size: int) -> dict[str, Any]:
    """The inputs, shorter by one along these axes; longer by one where they are very short."""
    positions = list(range(size - 1))
    if size <= 2:
        positions = [*range(size), size - 1]
    resized = dict(inputs)
    for name, axis in axes:
        place: list[Any] = [slice(None)] * axis
        place.append(positions)
        resized[name] = resized[name][tuple(place)]
    return resized


def _works(takes: Callable[[Mapping[str, Any]], Any], inputs: Mapping[str, Any]) -> bool:
    try:
        takes(inputs)
    except Exception:
        return False
    return True


# ---- outputs ----


def varied(
    output: schema.ModelOutput | None,
    inputs: Mapping[str, Any],
    free: set[Axis],
    described: Callable[[Mapping[str, Any]], schema.ModelOutput | None],
) -> schema.ModelOutput | None:
    """What a prediction is, with None for each size that follows the length of an input.

    Args:
        output: what the prediction for the inputs is.
        inputs: as for `free_axes`.
        free: the axes that may have another length.
        described: what the prediction for other inputs is.
    """
    for size in {inputs[name].shape[axis] for name, axis in free}:
        axes = [(name, axis) for name, axis in free if inputs[name].shape[axis] == size]
        with contextlib.suppress(Exception):
            output = _both(output, described(_resized(inputs, axes, size)))
    return output


def _both(one: Any, other: Any) -> Any:
    """The form of two outputs, with None for the sizes in which they differ."""
    if isinstance(one, (schema.ArrayOutput, schema.Tensor)) and isinstance(other, type(one)):
        return replace(one, shape=_sizes(one.shape, other.shape))
    if isinstance(one, schema.NamedOutput):
        return replace(one, output=_both(one.output, other.output))
    if isinstance(one, (schema.TensorsOutput, schema.ListOutput)):
        pairs = zip(one.outputs, other.outputs, strict=True)
        outputs: Any = tuple(_both(*pair) for pair in pairs)
        return replace(one, outputs=outputs)
    return one


def _sizes(one: schema.Shape, other: schema.Shape) -> schema.Shape:
    if one is None or other is None or len(one) != len(other):
        return None
    pairs = zip(one, other, strict=True)
    return tuple(size if size == found else None for size, found in pairs)
