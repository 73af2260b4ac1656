"""Converts V2's tensors to a request of the flow, and its response to tensors.

Source: KServe's Open Inference Protocol (V2), "Tensor Data Types".
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InvalidInput
from ..rows.arrays import STAND_INS
from ..schema import Column, JsonInput, ModelInput, Shape, TableInput, TensorsInput, TextInput

Array = np.ndarray[Any, np.dtype[Any]]

TEXT = "BYTES"  # V2's name for texts
DATATYPES = {
    "bool": "BOOL",
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
}


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
        return _objects({name: list(_rows(tensor)) for name, tensor in tensors.items()})
    names = getattr(described, "names", None)
    if len(tensors) == 1 and (names is None or tensors.keys().isdisjoint(names)):
        [rows] = tensors.values()
        if isinstance(described, TextInput) and rows.ndim == 2 and rows.shape[1] == 1:
            rows = rows[:, 0]
        return _rows(rows)
    return _objects({name: _column(name, tensor) for name, tensor in tensors.items()})


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
    """One entry of a response as a tensor; values that are not numbers become texts."""
    array = np.asarray(value)
    if datatype(array.dtype) is not None:
        return array
    texts = [
        item if isinstance(item, str) else str(item)
        for item in np.asarray(value, dtype=object).flat
    ]
    return np.array(texts, dtype=object).reshape(array.shape)


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
            return [{"name": "instances", "datatype": TEXT, "shape": [-1]}]
    return [_described("instances", described.shape, described.dtype)]


def _feature(column: Column) -> dict[str, Any]:
    return {"name": column.name, "datatype": _datatype(column.dtype), "shape": [-1]}


def _described(name: str, shape: Shape, dtype: str | None) -> dict[str, Any]:
    """One tensor of V2's metadata."""
    numpy_dtype = dtype or "float64"
    known = _datatype(STAND_INS.get(numpy_dtype, numpy_dtype))
    sizes = [-1 if size is None else size for size in (None, *(shape or ()))]
    return {"name": name, "datatype": known, "shape": sizes}


def _datatype(dtype: str | None) -> str:
    return DATATYPES.get(dtype or "", TEXT)


def _objects(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Rows as objects, from one list for each name."""
    if len({len(column) for column in columns.values()}) > 1:
        raise InvalidInput("the tensors in inputs must have the same number of rows")
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _rows(tensor: Array) -> Any:
    if tensor.dtype == object:
        return _plain(tensor)
    return tensor


def _column(name: str, values: Array) -> list[Any]:
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
        raise InvalidInput(
            f"the tensor {name!r} must have shape [rows] or [rows, 1], it has {list(values.shape)}"
        )
    return list(_plain(values.reshape(-1)))


def _plain(values: Array) -> list[Any]:
    """Nested lists; bytes are read as UTF-8."""
    try:
        texts = [
            item.decode() if isinstance(item, bytes) else item
            for item in values.reshape(-1).tolist()
        ]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"a tensor of type BYTES must hold UTF-8: {error}") from None
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    plain: list[Any] = array.reshape(values.shape).tolist()
    return plain
