"""Converts V2's tensors to a request of the flow, and its response to tensors.

Source: KServe's Open Inference Protocol (V2), "Tensor Data Types".
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..rows.arrays import STAND_INS
from ..rows.columns.formats import form_name
from ..schema import (
    BYTES,
    TEXT,
    Column,
    JsonInput,
    ModelInput,
    Shape,
    TableInput,
    TensorsInput,
    TextInput,
)
from ..words import shown
from .json_codec import json_decode, json_encode
from .values import array_to_list, time_to_iso

Array = np.ndarray[Any, np.dtype[Any]]
Read = Callable[[bytes], str | bytes]
"""Reads an element of a BYTES tensor."""

V2_BYTES = "BYTES"  # V2's name for texts and bytes
DATATYPES = {
    "bool": "BOOL",
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
}
COMPLEX = {"complex64": "float32", "complex128": "float64"}  # the dtypes of their parts
# What pandas, Arrow and polars call numpy's dtypes, in lower case.
ALIASES = {"boolean": "bool", "double": "float64", "float": "float32", "halffloat": "float16"}
SPARSE = re.compile(r"Sparse\[(\w+), .*\]")


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
            ...].
        described: what a row is, `model.input` of a Config.

    Raises:
        InvalidInput: the tensors hold no rows.
    """
    if not tensors:
        raise InvalidInput("inputs is empty: send one tensor of rows, or one for each feature")
    if any(not tensor.ndim for tensor in tensors.values()):
        raise InvalidInput("a tensor in inputs has shape []: its first axis must be rows")
    return {"instances": _instances(tensors, described)}


def _instances(tensors: Mapping[str, Array], described: ModelInput | None) -> Any:
    if isinstance(described, TensorsInput):
        dtypes = {item.name: item.dtype for item in described.inputs}
        return _objects(
            {name: list(_rows(part, _reader(dtypes.get(name)))) for name, part in tensors.items()}
        )
    read = _reader(_dtype(described))
    names = getattr(described, "names", None)
    if len(tensors) == 1 and (names is None or tensors.keys().isdisjoint(names)):
        [rows] = tensors.values()
        if isinstance(described, TextInput) and rows.ndim == 2 and rows.shape[1] == 1:
            rows = rows[:, 0]
        return _rows(rows, read)
    raw = _bytes_columns(described)
    return _objects(
        {
            name: _column(name, tensor, bytes if name in raw else read)
            for name, tensor in tensors.items()
        }
    )


def _dtype(described: ModelInput | None) -> str | None:
    """What rows hold, where it is one thing."""
    if isinstance(described, JsonInput) and described.bytes:
        return BYTES
    return getattr(described, "dtype", None)


def _bytes_columns(described: ModelInput | None) -> set[str]:
    """The columns of a table that hold bytes, which are no texts in UTF-8."""
    if not isinstance(described, TableInput):
        return set()
    return {column.name for column in described.columns if form_name(column) == "bytes"}


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
    """The outputs of rows that are lists of them, if they are too different to form one tensor."""
    try:
        np.asarray(value)
    except ValueError:
        return {
            f"{key}_{number}": list(output)
            for number, output in enumerate(zip(*value, strict=True))
        }
    return None


def tensor(value: Any) -> Array:
    """One entry of a response as a tensor; values that are not numbers become texts.

    None stays None, where a text is missing.
    """
    array = np.asarray(value)
    if datatype(array.dtype) is not None:
        return array
    if array.dtype.kind in "mM":
        value = array_to_list(array, time_to_iso)
    texts = [_in_text(item) for item in np.asarray(value, dtype=object).flat]
    return np.array(texts, dtype=object).reshape(array.shape)


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


def metadata(described: ModelInput | None) -> list[dict[str, Any]]:
    """The inputs in V2's model metadata."""
    match described:
        case None:
            return []
        case TableInput():
            return [_feature(column) for column in described.columns]
        case TensorsInput():
            return [_described(item.name, item.shape, item.dtype) for item in described.inputs]
        case TextInput() | JsonInput():
            return [{"name": "instances", "datatype": V2_BYTES, "shape": [-1]}]
    return [_described("instances", described.shape, described.dtype)]


def _feature(column: Column) -> dict[str, Any]:
    dtype = column.categories_dtype or column.dtype or ""
    if found := SPARSE.fullmatch(dtype):
        dtype = found[1]
    plain = dtype.removesuffix("[pyarrow]").lower()
    return {
        "name": column.name,
        "datatype": _datatype(ALIASES.get(plain, plain)),
        "shape": [-1],
    }


def _described(name: str, shape: Shape, dtype: str | None) -> dict[str, Any]:
    """One tensor of V2's metadata."""
    numpy_dtype = dtype or "float64"
    numpy_dtype = STAND_INS.get(numpy_dtype, numpy_dtype)
    sizes = [-1 if size is None else size for size in (None, *(shape or ()))]
    if numpy_dtype in COMPLEX:  # [re, im]
        numpy_dtype, sizes = COMPLEX[numpy_dtype], [*sizes, 2]
    return {"name": name, "datatype": _datatype(numpy_dtype), "shape": sizes}


def _datatype(dtype: str | None) -> str:
    return DATATYPES.get(dtype or "", V2_BYTES)


def _objects(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Rows as objects, from one list for each name."""
    if len({len(column) for column in columns.values()}) > 1:
        raise InvalidInput("the tensors in inputs must have the same number of rows")
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _rows(tensor: Array, read: Read) -> Any:
    if tensor.dtype == object:
        return _plain(tensor, read)
    return tensor


def _column(name: str, values: Array, read: Read) -> list[Any]:
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
        raise InvalidInput(
            f"the tensor {shown(name)} must have shape [rows] or [rows, 1],"
            f" it has {list(values.shape)}"
        )
    return list(_plain(values.reshape(-1), read))


def _plain(values: Array, read: Read) -> list[Any]:
    """Nested lists, in which the elements of BYTES are read."""
    items = [
        read(item) if isinstance(item, bytes) else item for item in values.reshape(-1).tolist()
    ]
    array = np.empty(len(items), dtype=object)
    array[:] = items
    plain: list[Any] = array.reshape(values.shape).tolist()
    return plain


# ---- the elements of a BYTES tensor ----


def _reader(dtype: str | None) -> Read:
    """What reads them, for the dtype of a model's input."""
    readers: dict[str | None, Read] = {TEXT: _text_or_bytes, BYTES: bytes}
    return readers.get(dtype, _text)


def _text(element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"a tensor of type BYTES must hold UTF-8: {error}") from None


def _text_or_bytes(element: bytes) -> str | bytes:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return element
