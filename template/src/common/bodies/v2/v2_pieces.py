"""V2 bodies with long lists of data in their JSON, some items at a time.

What comes out is equal to the last bit to what `V2.decode` makes of all at once. So the arrays of
some items each are joined only where that cannot change a value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..density import Steps, check_large_json
from ..json_decoder import JsonDecoder
from ..places import TooMuch
from ..values import Array, Encoder
from .long_lists import PLACES, LongList, Unseen, shortened
from .v2_codec import (
    V2,
    cast,
    check_items,
    decode_json,
    json_form,
    objects_array,
    parted,
    reshape,
    to_array,
)
from .v2_tensors import ROWS_AT_ONCE

NUMBERS = (np.dtype(bool), np.dtype(np.int64), np.dtype(np.float64))
EXACT = 1 << 53  # up to it, float64 has each whole number


class V2Pieces:
    """Decodes a V2 body, some items of its data at a time.

    Args:
        codec: decodes such bodies at once.
        body: as `V2.decode` takes it.
        request_id: the id of the response if the body has none.

    Attributes:
        decoded: what `V2.decode` returns, once all pieces are decoded.
        error: why they cannot be.
        batches: the rows in parts, where they are a list, so that they can be freed in pieces, too.
    """

    def __init__(self, codec: V2, body: bytes | memoryview, request_id: str) -> None:
        self._codec = codec
        self._body = body
        self._request_id = request_id
        self.decoded: tuple[Any, Encoder] | None = None
        self.error: Exception | None = None
        self.batches: list[list[Any]] = []

    def __iter__(self) -> Steps[None]:
        """Decode, with a pause after each piece. A piece takes a few milliseconds."""
        try:
            yield from self._decode()
        except Exception as error:
            self.error = error

    def _decode(self) -> Steps[None]:
        text, raw = parted(self._body)
        yield from check_large_json(text)
        try:
            yield from self._decode_joined(text, raw)
        except TooMuch:
            raise
        except Exception:  # decoded as lists, it shows what is wrong
            decoder = JsonDecoder(text, PLACES)
            head = yield from decoder.value()
            self.batches = decoder.batches
            steps = self._codec.request_in_steps(head, raw, self._request_id)
            self.decoded = yield from steps

    def _decode_joined(self, text: memoryview, raw: memoryview) -> Steps[None]:
        """Decode with an array for each long list of data."""
        head = yield from shortened(text)
        for tensor in head["inputs"]:
            if isinstance(tensor.get("data"), LongList):
                tensor["data"] = yield from self._joined(tensor)
        steps = self._codec.request_in_steps(head, raw, self._request_id, _tensor)
        self.decoded = yield from steps
        yield
        rows = self.decoded[0]["instances"]
        if isinstance(rows, list):
            places = range(0, len(rows), ROWS_AT_ONCE)
            self.batches = [rows[at : at + ROWS_AT_ONCE] for at in places]
        yield

    def _joined(self, tensor: dict[str, Any]) -> Steps[Array]:
        """The data of a tensor as `to_array` makes it, but nested as it is; texts as objects."""
        data: LongList = tensor["data"]
        dtype, _ = json_form(tensor)
        joined = Joined(data.items or 0, (data.end - data.start) // 2 + 1)
        for batch in data.batches():
            joined.add(_texts(batch) if dtype is None else _numbers(batch, dtype))
            yield
        return joined.whole()


class Joined:
    """One array of the arrays of some items each.

    Args:
        items: how many items they have together.
        most: how many elements these can have.
    """

    def __init__(self, items: int, most: int) -> None:
        self._items = items
        self._most = most
        self._at = 0
        self._array: Array | None = None

    def add(self, part: Array) -> None:
        """Add the next items.

        Args:
            part: of shape [items, ...], of objects or one of NUMBERS.

        Raises:
            Unseen: they are not like those before, or too many.
        """
        if self._array is None:
            self._array = self._room(part)
        before = self._array
        start, self._at = self._at, self._at + len(part)
        if part.shape[1:] != before.shape[1:] or self._at > self._items:
            raise Unseen
        if part.dtype != before.dtype:
            part, done = _floats(part), _floats(before[:start])
            if before.dtype != done.dtype:
                self._array = self._room(part)
                self._array[:start] = done
        self._array[start : self._at] = part

    def whole(self) -> Array:
        """The array.

        Raises:
            Unseen: items are missing.
        """
        if self._array is None or self._at != self._items:
            raise Unseen
        return self._array

    def _room(self, part: Array) -> Array:
        """An array for all items, if they are like those of a part."""
        if self._items * math.prod(part.shape[1:]) > self._most:
            raise Unseen
        return np.empty((self._items, *part.shape[1:]), part.dtype)


def _floats(values: Array) -> Array:
    """Numbers as float64, where that is what each would become beside a float."""
    if values.dtype == np.float64:
        return values
    if values.dtype != np.int64 or values.max(initial=0) > EXACT or values.min(initial=0) < -EXACT:
        raise Unseen
    return values.astype(np.float64)


def _numbers(batch: list[Any], dtype: np.dtype[Any]) -> Array:
    """Some items of a tensor, nested as they are."""
    values = to_array(batch, dtype)
    if isinstance(batch[0], list) and values.ndim == 1:  # null is among them
        values = values.reshape(np.array(batch, dtype=object).shape)
    if values.dtype not in NUMBERS:
        raise Unseen
    return values


def _texts(batch: list[Any]) -> Array:
    if not {str, type(None)}.issuperset(map(type, batch)):
        raise Unseen
    return objects_array(batch)


def _tensor(described: dict[str, Any]) -> Array:
    """The tensor whose data is in the JSON, or was joined."""
    data = described.get("data")
    if not isinstance(data, np.ndarray):
        return decode_json(described)
    del described["data"]  # so that it is freed where a cast copies it
    dtype, shape = json_form(described)
    check_items(len(data), shape)
    return reshape(data if dtype is None else cast(data, dtype), shape)
