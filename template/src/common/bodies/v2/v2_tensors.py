"""Converts V2's tensors to a request of the flow, and its response to tensors.

Source: KServe's Open Inference Protocol (V2), "Tensor Data Types".
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ...errors import InvalidInput
from ...rows.columns.formats import form_name
from ...schema import (
    BYTES,
    TEXT,
    ArrayInput,
    JsonInput,
    ModelInput,
    TableInput,
    TensorsInput,
    TextInput,
)
from ...words import shown
from ..density import Steps, at_once
from ..json_codec import json_decode, json_encode
from ..values import DecodeError, array_to_list, time_to_iso
from .names import DATATYPES

T = TypeVar("T")
Array = np.ndarray[Any, np.dtype[Any]]
Read = Callable[[bytes | str], Any]
"""Reads an element of a BYTES tensor, which is a string where its data is in JSON."""

ROWS_AT_ONCE = 1 << 13
# MLServer's content type of a column that holds other things than texts.
PANDAS_JSON = "pd_json"


@lru_cache(maxsize=64)
def datatype(dtype: np.dtype[Any]) -> str | None:
    """V2's name of a numpy dtype; None where V2 has none. Cached: `dtype.name` is slow."""
    return DATATYPES.get(dtype.name)


def request_of_tensors(
    tensors: Mapping[str, Array], described: ModelInput | None
) -> dict[str, Any]:
    """The request that named tensors form.

    Args:
        tensors: one tensor whose first axis is rows, or one for each feature, each of shape [rows]
            or [rows, 1], or one for each input of a model that has several, each of shape [rows,
            ...]. The features of a model that knows no names are taken in their order.
        described: what a row is, `model.input` of a Config.

    Raises:
        InvalidInput: the tensors hold no rows.
    """
    return at_once(request_in_steps(tensors, described))


def request_in_steps(
    tensors: Mapping[str, Array], described: ModelInput | None
) -> Steps[dict[str, Any]]:
    """As `request_of_tensors`, with pauses where it makes many rows."""
    check_shapes({name: tensor.shape for name, tensor in tensors.items()}, described)
    return {"instances": (yield from _instances(tensors, described))}


def check_shapes(shapes: Mapping[str, tuple[int, ...]], described: ModelInput | None) -> None:
    """Check that tensors of these shapes form rows.

    Raises:
        InvalidInput: they do not.
    """
    if not shapes:
        raise InvalidInput("inputs is empty: send one tensor of rows, or one for each feature")
    if any(not shape for shape in shapes.values()):
        raise InvalidInput("a tensor in inputs has shape []: its first axis must be rows")
    inputs = isinstance(described, TensorsInput)
    if not inputs and _is_one_of_rows(shapes, described):
        return
    for name, shape in shapes.items():
        if not inputs and shape[1:] not in ((), (1,)):
            raise InvalidInput(
                f"the tensor {shown(name)} must have shape [rows] or [rows, 1],"
                f" it has {list(shape)}"
            )
    if len({shape[0] for shape in shapes.values()}) > 1:
        raise InvalidInput("the tensors in inputs must have the same number of rows")


def _is_one_of_rows(names: Collection[str], described: ModelInput | None) -> bool:
    """Whether there is one tensor whose first axis is rows, and not one for each feature."""
    known = getattr(described, "names", None)
    return len(names) == 1 and (known is None or set(known).isdisjoint(names))


def parsed(tensor: Array, parameters: Mapping[str, Any]) -> Array:
    """A tensor, whose elements are values where its parameters say that they are texts of JSON."""
    if parameters.get("content_type") != PANDAS_JSON or tensor.dtype != object:
        return tensor
    values = objects([item if item is None else _json(item) for item in tensor.flat])
    shaped: Array = values.reshape(tensor.shape)
    return shaped


def _instances(tensors: Mapping[str, Array], described: ModelInput | None) -> Steps[Any]:
    columns: dict[str, list[Any]] = {}
    if isinstance(described, TensorsInput):
        dtypes = {item.name: item.dtype for item in described.inputs}
        for name, part in tensors.items():
            columns[name] = list(_rows(part, _reader(dtypes.get(name))))
            yield
        return (yield from _objects(columns))
    read = _reader(_dtype(described))
    if _is_one_of_rows(tensors, described):
        [rows] = tensors.values()
        if isinstance(described, ArrayInput) and described.shape == (1,) and rows.ndim == 1:
            rows = rows[:, None]
        if isinstance(described, TextInput | JsonInput) and rows.shape[1:] == (1,):
            rows = rows[:, 0]
        if isinstance(described, JsonInput) and not described.bytes:
            read = _json
        return _rows(rows, read)
    readers = _column_readers(described)
    for name, tensor in tensors.items():
        columns[name] = list(_plain(tensor.reshape(-1), readers.get(name, read)))
        yield
    if isinstance(described, ArrayInput) and described.names is None:
        return (yield from _made(columns, list))
    return (yield from _objects(columns))


def tensors_of_response(response: Mapping[str, Any]) -> dict[str, Array]:
    """The tensors of a response: one for each key, or for each output where rows hold several.

    Outputs are named as they are in rows that are objects, `KEY_0`, `KEY_1`, ... in rows that are
    lists of them.
    """
    named: dict[str, Array] = {}
    for key, value in response.items():
        outputs = _by_name(value) or _by_number(key, value) or {key: value}
        named |= {name: tensor(output) for name, output in outputs.items()}
    return named


def _by_name(value: Any) -> dict[str, list[Any]] | None:
    """The outputs of rows that are objects with the same keys."""
    if not isinstance(value, list) or not value or not all(isinstance(row, dict) for row in value):
        return None
    if any(row.keys() != value[0].keys() for row in value):
        return None
    return {name: [row[name] for row in value] for name in value[0]}


def _by_number(key: str, value: Any) -> dict[str, Any] | None:
    """The outputs of rows that are lists of them, if they are too different to form one tensor.

    None for rows of different lengths, which hold no outputs.
    """
    try:
        np.asarray(value)
    except ValueError:
        if len({_length(row) for row in value}) == 1:
            outputs = enumerate(zip(*value, strict=True))
            return {f"{key}_{number}": list(output) for number, output in outputs}
    return None


def _length(row: Any) -> int | None:
    if isinstance(row, (list, tuple, np.ndarray)):
        return len(row)
    return None


def tensor(value: Any) -> Array:
    """One entry of a response as a tensor; values that are not numbers become texts.

    None stays None, where a text is missing. Rows of different lengths become texts of JSON.
    """
    try:
        array = np.asarray(value)
    except ValueError:
        array = value = objects(value)
    if datatype(array.dtype) is not None:
        return array
    if array.dtype.kind in "mM":
        value = array_to_list(array, time_to_iso)
    texts = [_in_text(item) for item in np.asarray(value, dtype=object).flat]
    return np.array(texts, dtype=object).reshape(array.shape)


def objects(items: Sequence[Any]) -> Array:
    """An array of shape [n] with the items as they are."""
    array = np.empty(len(items), dtype=object)
    for at, item in enumerate(items):
        array[at] = item
    return array


def _in_text(item: Any) -> str | None:
    """A value as JSON has it, without the quotes of a string; None for null."""
    try:
        text = json_encode(item)
    except TypeError:
        return str(item)
    plain = json_decode(text)
    if plain is None or isinstance(plain, str):
        return plain
    return text.decode()


def without_null(texts: Array) -> Array:
    """The texts of a tensor for a form that lacks null: a missing one becomes "null"."""
    return np.array(["null" if text is None else text for text in texts.flat], dtype=object)


def _objects(columns: dict[str, list[Any]]) -> Steps[list[dict[str, Any]]]:
    """Rows as objects, from one list for each name."""
    return (yield from _made(columns, lambda row: dict(zip(columns, row, strict=True))))


def _made(columns: dict[str, list[Any]], make: Callable[[tuple[Any, ...]], T]) -> Steps[list[T]]:
    """What is made of each row, whose values are in the order of the columns."""
    values = zip(*columns.values(), strict=True)
    made: list[T] = []
    while some := [make(row) for row in islice(values, ROWS_AT_ONCE)]:
        made += some
        yield
    return made


def _rows(tensor: Array, read: Read) -> Any:
    if tensor.dtype == object:
        return _plain(tensor, read)
    return tensor


def _plain(values: Array, read: Read) -> list[Any]:
    """Nested lists, in which the elements of BYTES are read."""
    items: list[Any] = values.reshape(-1).tolist()
    # Raw elements are all bytes. Others are texts, which only `_json` changes.
    if values.dtype == object and (read is _json or isinstance(next(iter(items), None), bytes)):
        items = [read(item) if isinstance(item, (bytes, str)) else item for item in items]
    if values.ndim == 1:
        return items
    plain: list[Any] = objects(items).reshape(values.shape).tolist()
    return plain


# ---- the elements of a BYTES tensor ----


def _reader(dtype: str | None) -> Read:
    """What reads them, for the dtype of a model's input."""
    readers: dict[str | None, Read] = {TEXT: _text_or_bytes, BYTES: _as_it_is}
    return readers.get(dtype, _text)


def _dtype(described: ModelInput | None) -> str | None:
    """What rows hold, where it is one thing."""
    if isinstance(described, JsonInput) and described.bytes:
        return BYTES
    return getattr(described, "dtype", None)


def _column_readers(described: ModelInput | None) -> dict[str, Read]:
    """What reads them in the columns of a table that hold no texts."""
    if not isinstance(described, TableInput):
        return {}
    found = {column.name: COLUMNS.get(form_name(column)) for column in described.columns}
    return {name: read for name, read in found.items() if read is not None}


def _as_it_is(element: bytes | str) -> bytes | str:
    return element


def _text(element: bytes | str) -> str:
    if isinstance(element, str):
        return element
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"a tensor of type BYTES must hold UTF-8: {error}") from None


def _text_or_bytes(element: bytes | str) -> str | bytes:
    if isinstance(element, str):
        return element
    try:
        return element.decode()
    except UnicodeDecodeError:
        return element


def _json(element: bytes | str) -> Any:
    try:
        return json_decode(element.encode() if isinstance(element, str) else element)
    except DecodeError as error:
        raise InvalidInput(f"an element of type BYTES must be JSON here: {error}") from None


COLUMNS: dict[str, Read] = {"bytes": _as_it_is, "list": _json, "object": _json}
