"""Converts the rows of a request to what the model takes, as `model.input` of `config.yaml` says.

The forms of `model.input` and their fields are in `schema.py`. Without one, rows of numbers or
lists become an array, and texts and objects stay a list.
"""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .errors import ConfigError, InvalidInput
from .rows import texts
from .rows.arrays import Array, fitting, numpy_dtype, sparse, tensor_array, to_array, within
from .rows.likeness import measure
from .rows.parsed import all_named, as_list
from .rows.tables import Table
from .schema import (
    BYTES,
    TEXT,
    ArrayInput,
    JsonInput,
    ModelInput,
    TableInput,
    TensorsInput,
    TextInput,
    read_input,
)
from .words import kind_of


class Signature:
    """What a model takes.

    Attributes:
        likeness: equal for two lists of rows, or arrays, that come out of `inputs` in the same
            dtypes and shapes, each by itself. None for rows that must share no call of `predict`.

    Args:
        described: `model.input` of a Config, or the same as `config.yaml` has it; None takes any
            rows.

    Raises:
        ConfigError: a value in what `config.yaml` has is not allowed.
    """

    def __init__(self, described: ModelInput | Mapping[str, Any] | None) -> None:
        if isinstance(described, Mapping):
            described = read_input(described or None)
        _check_dtypes(described)
        self._convert = _converter(described)
        self.likeness: Callable[[Any], Hashable] = measure(described, self._convert)

    def inputs(self, rows: Any) -> Any:
        """The rows as the model takes them.

        Args:
            rows: `instances` of a request: a list of rows, or an array whose first axis is rows.

        Raises:
            InvalidInput: a row does not fit. The message names it, what was expected and what came.
        """
        if not isinstance(rows, (list, np.ndarray)):
            raise InvalidInput(f"instances must be a list of rows, it is {kind_of(rows)}")
        if isinstance(rows, np.ndarray) and rows.ndim == 0:
            raise InvalidInput("instances must be a list of rows, it is a single value")
        if not len(rows):
            raise InvalidInput("instances is empty: send at least one row")
        return self._convert(rows)


def _check_dtypes(described: ModelInput | None) -> None:
    parts: Mapping[str, Any] = {}
    if isinstance(described, ArrayInput):
        parts = {"model.input": described}
    if isinstance(described, TensorsInput):
        parts = {f"model.input.inputs[{n}]": part for n, part in enumerate(described.inputs)}
    for place, part in parts.items():
        try:
            numpy_dtype(part.dtype)
        except TypeError:
            raise ConfigError.value(
                f"{place}.dtype", f"numpy's name of a dtype, {TEXT}, {BYTES} or null", part.dtype
            ) from None


# ---- one converter for each form of `model.input` ----


def _converter(described: Any) -> Callable[[Any], Any]:
    if isinstance(described, TableInput):
        return Table(described).frame
    if type(described) not in CONVERTERS:
        raise TypeError(f"a Signature needs config.model.input, it got {described!r:.80}")
    return partial(CONVERTERS[type(described)], described)


def _array(described: ArrayInput, rows: Any) -> Any:
    names = described.names
    if names and isinstance(rows, list):
        kinds = set(map(type, rows))
        if kinds == {dict} or (kinds != {list} and any(issubclass(kind, dict) for kind in kinds)):
            rows = all_named(rows, names)
    try:
        array = within(fitting(rows, described.shape, described.dtype), described.below)
    except InvalidInput:
        if isinstance(rows, list) and described.shape != ():
            _refuse_objects(rows)
        raise
    if described.sparse is not None:
        return sparse(described.sparse, array)
    return array


def _refuse_objects(rows: list[Any]) -> None:
    """Refuse a row that is an object, whose values have no order.

    Raises:
        InvalidInput: a row is an object.
    """
    for index, row in enumerate(rows):
        if isinstance(row, dict) and not texts.is_b64(row):
            raise InvalidInput(
                f"instances[{index}] must be a list, it is an object: this model was fitted without"
                " feature names, and takes the values of a row in their order"
            )


def _tensors(described: TensorsInput, rows: Any) -> dict[str, Array]:
    names = described.names
    listed = all_named(rows, names, "input")
    columns = zip(described.inputs, zip(*listed, strict=True), strict=True)
    return {tensor.name: tensor_array(tensor, list(values)) for tensor, values in columns}


def _texts(described: TextInput, rows: Any) -> list[Any]:
    convert: texts.Item = texts.text
    if described.dtype == BYTES:
        convert = texts.to_bytes
    return _each(as_list(rows), convert)


def _json(described: JsonInput, rows: Any) -> list[Any]:
    listed = as_list(rows)
    if not described.bytes:
        return listed
    return _each(listed, texts.with_bytes)


def _each(rows: list[Any], convert: texts.Item) -> list[Any]:
    converted = []
    for index, row in enumerate(rows):
        try:
            converted.append(convert(row))
        except InvalidInput as error:
            raise InvalidInput(f"instances[{index}] {error}") from None
    return converted


def _any_rows(described: None, rows: Any) -> Any:
    if isinstance(rows, np.ndarray) or isinstance(rows[0], (str, dict)):
        return rows
    return to_array(rows)


CONVERTERS: dict[type, Callable[[Any, Any], Any]] = {
    ArrayInput: _array,
    TensorsInput: _tensors,
    TextInput: _texts,
    JsonInput: _json,
    type(None): _any_rows,
}
