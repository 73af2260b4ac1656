"""The first row of a V2 request, before all of its tensors are decoded.

Tensors are regular: where the first row, the shapes and the datatypes are right, only single values
can be wrong.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...rows.extent import most_values
from ...schema import ModelInput
from .. import density
from ..density import LARGE_BYTES
from ..json_codec import json_decode, json_encode
from ..json_windows import MOST_BYTES, WINDOW_BYTES
from ..ndarray_codec import parse_shape
from ..values import Array, DecodeError
from . import long_lists
from .long_lists import LongList, Unseen
from .v2_codec import (
    BF16,
    BINARY_OUTPUT,
    ELEMENT_SIZE,
    check_count,
    check_items,
    decode_inputs,
    decode_json,
    decode_raw,
    dtype_of,
    elements,
    json_form,
    object_of,
    objects_array,
    parted,
)
from .v2_tensors import check_shapes, request_of_tensors

MOST_NUMBERS = 1 << 20  # of a row that is made of raw data
MOST_ELEMENTS = 1 << 16  # of any other
FEW_ELEMENTS, FEW_ROWS = 1 << 12, 16  # larger rows are tried only where there are more of them
# What a comma and a bracket in JSON become, at most, in bytes; and what is no harm.
COMMA_BYTES, LIST_BYTES, HARMLESS = 64, 200, 3


FirstValues = Callable[[int], Array]


@dataclasses.dataclass(slots=True)
class First:
    """A request with one row.

    Attributes:
        request: the request.
        too_large: whether the row stands for one that is too large to be decoded here.
    """

    request: dict[str, Any]
    too_large: bool = False


def of_v2(body: bytes | memoryview, described: ModelInput | None) -> Iterator[First | None]:
    """The request of a V2 body's first row. One that is certain may follow one that is not.

    None is a pause, in which a worker answers smaller requests.

    Args:
        body: as `V2.decode` takes it.
        described: what a row is, `model.input` of a Config.

    Raises:
        DecodeError: the body is not as V2 specifies it.
        InvalidInput: its tensors do not form rows.
        Unseen: only decoding can tell.
    """
    text, raw = parted(body)
    if len(text) < LARGE_BYTES:
        head = json_decode(text)
        if not isinstance(head, dict):
            raise Unseen
        yield _of_head(head, raw, described)
        return
    if (guess := _guess(text, described)) is not None:
        yield guess
    head = yield from long_lists.shortened(text)
    yield _of_head(head, raw, described)


def _of_head(head: dict[str, Any], raw: memoryview, described: ModelInput | None) -> First:
    cut = Cut(described)
    tensors = decode_inputs(head, raw, cut.json, cut.raw)
    parameters = object_of(head, "parameters")
    parameters.pop(BINARY_OUTPUT, None)
    return cut.first(parameters, tensors)


def _guess(text: memoryview, described: ModelInput | None) -> First | None:
    """The request of the first row if nothing follows the one tensor that the JSON begins with.

    None where the JSON holds more or less than that tensor. Then this must be looked at.
    """
    try:
        head = long_lists.until_data(text)
        first = _of_head(head, text[len(text) :], described)
    except (Unseen, ValueError):
        return None
    commas, lists = density.most_marks(text)
    if COMMA_BYTES * commas + LIST_BYTES * lists <= HARMLESS * len(text):
        return first
    [tensor] = head["inputs"]
    count = math.prod(tensor["shape"])
    if not count - 1 <= commas <= count + WINDOW_BYTES:
        return None
    # As many lists as its first elements have would be right for all of them.
    first_lists, elements_in = _first_part(tensor)
    if lists * elements_in > count * first_lists + WINDOW_BYTES * elements_in:
        return None
    return first


def _first_part(tensor: dict[str, Any]) -> tuple[int, int]:
    """How many lists, and how many elements, the data of a tensor begins with."""
    part = tensor["data"].first(WINDOW_BYTES)
    _, lists = density.most_marks(json_encode(part))
    return lists, elements(part, dtype_of(tensor)).size


class Cut:
    """Decodes the first row of tensors.

    Args:
        described: what a row is, `model.input` of a Config.
    """

    def __init__(self, described: ModelInput | None) -> None:
        self._described = described
        self._most = most_values(described)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._too_large = False

    def first(self, parameters: dict[str, Any], tensors: dict[str, Array]) -> First:
        """The request of the tensors that were decoded."""
        check_shapes(self._shapes, self._described)
        rows = request_of_tensors(tensors, self._described)
        return First({**parameters, **rows}, self._too_large)

    def json(self, tensor: dict[str, Any]) -> Array:
        """The first row of a tensor whose data is in the JSON."""
        data = tensor.get("data")
        if not isinstance(data, LongList):
            return self.first_of(tensor, decode_json(tensor))
        dtype, shape = json_form(tensor)
        if data.items is not None:
            check_items(data.items, shape)
        found = _elements(data, WINDOW_BYTES, dtype, shape)
        row = self._row(tensor, shape, MOST_ELEMENTS)
        if found.size < math.prod(row):
            found = _elements(data, MOST_BYTES, dtype, shape)
        return _shaped(found, row)

    def raw(self, tensor: dict[str, Any], data: memoryview) -> Array:
        """The first row of a tensor whose data is raw."""
        shape = parse_shape(tensor.get("shape"), "shape")
        if not math.prod(shape):
            return self.first_of(tensor, decode_raw(tensor, data))
        if tensor.get("datatype") != BF16 and dtype_of(tensor) is None:
            row = self._row(tensor, shape, MOST_ELEMENTS)
            return objects_array(_first_elements(data, math.prod(row))).reshape(row)
        size, rest = divmod(len(data), math.prod(shape))
        if rest or not size:
            return decode_raw(tensor, data)  # which says what is wrong
        row = self._row(tensor, shape, MOST_NUMBERS)
        return decode_raw({**tensor, "shape": list(row)}, data[: math.prod(row) * size])

    def values(self, tensor: dict[str, Any], shape: tuple[int, ...], first: FirstValues) -> Array:
        """The first row of a tensor of which `first` returns so many values."""
        row = self._row(tensor, shape, MOST_ELEMENTS)
        return _shaped(first(math.prod(row)), row)

    def first_of(self, tensor: dict[str, Any], array: Array) -> Array:
        """The first row of a tensor that has been decoded."""
        self._shapes[tensor["name"]] = array.shape
        return array[:1] if array.ndim else array

    def _row(self, tensor: dict[str, Any], shape: tuple[int, ...], most: int) -> tuple[int, ...]:
        """The shape of a tensor's first row; of one that is too large as well if that is huge.

        Raises:
            Unseen: the row may be right, and its body is not much more.
        """
        self._shapes[tensor["name"]] = shape
        if not math.prod(shape):
            return shape
        row = (1, *shape[1:])
        size = math.prod(row)
        is_too_large = self._most is not None and size > self._most
        if size > FEW_ELEMENTS and shape[0] < FEW_ROWS and not is_too_large:
            raise Unseen
        if size <= most:
            return row
        if not is_too_large:
            raise Unseen
        self._too_large = True
        return (1, int(self._most or 0) + 1)


def _elements(
    data: LongList, size: int, dtype: np.dtype[Any] | None, shape: tuple[int, ...]
) -> Array:
    """The elements within the first bytes of a list, checked for how many there are in all."""
    part = data.first(size)
    try:
        found = elements(part, dtype)
    except DecodeError:
        if dtype is not None and _are_bools(part):  # of which a number later on makes numbers
            raise Unseen from None
        raise
    is_regular = dtype is not None or (part and not isinstance(part[0], list))
    if part and is_regular and data.items is not None:
        check_count(data.items * found.size // len(part), shape)
    return found


def _are_bools(part: list[Any]) -> bool:
    try:
        return np.array(part).dtype.kind == "b"
    except ValueError:
        return False


def _shaped(values: Array, row: tuple[int, ...]) -> Array:
    if values.size < math.prod(row):
        raise Unseen
    return values[: math.prod(row)].reshape(row)


def _first_elements(data: memoryview, count: int) -> list[bytes]:
    """The first elements of raw BYTES data."""
    found: list[bytes] = []
    at = 0
    while len(found) < count:
        if len(data) - at < ELEMENT_SIZE.size:
            raise Unseen
        start = at + ELEMENT_SIZE.size
        at = start + ELEMENT_SIZE.unpack_from(data, at)[0]
        if at > len(data):
            raise Unseen
        found.append(bytes(data[start:at]))
    return found
