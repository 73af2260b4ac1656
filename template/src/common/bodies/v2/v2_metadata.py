"""V2's metadata: a model's tensors, as requests must have them and as answers have them.

The server makes it, whose environment has no numpy.

Source: KServe's Open Inference Protocol (V2), "Server Metadata" and "Model Metadata".
"""

import json
from collections.abc import Collection, Iterable, Iterator
from functools import reduce
from typing import Any

from ...config import Config
from ...rows import texts
from ...rows.columns.formats import STAND_INS, form_name, numpy_name
from ...schema import (
    ArrayInput,
    ArrayOutput,
    Column,
    EstimatorOutput,
    JsonInput,
    ListOutput,
    ModelInput,
    ModelOutput,
    Shape,
    TableInput,
    Tensor,
    TensorsInput,
    TensorsOutput,
    TextInput,
)
from .names import DATATYPES, V2_BYTES

EXTENSIONS = ["binary_tensor_data"]
# The protocol's names of platforms: PROJECT_FORMAT where it has one, else the project.
ONNX = "onnx_onnxv1"
PLATFORMS = {
    "custom": "python",
    "function": "python",
    "onnx": ONNX,
    "tensorflow": "tensorflow_savedmodel",
}

HALF = "FP16"  # which V2 forbids in JSON
COMPLEX = {"complex64": "float32", "complex128": "float64"}  # the dtypes of their parts
NUMBER, BOOLEAN = "FP64", "BOOL"  # of values whose dtype is not known
KINDS = ("bool", "uint", "int", "float")  # of DATATYPES, each before those that can hold it
FORMS = {"number": NUMBER, "boolean": BOOLEAN}  # of columns of objects

Output = tuple[str, Shape]
"""The dtype of an output, and its shape in one row."""
AS_JSON: Output = "object", ()  # a text of JSON in each row


def of_model(config: Config) -> dict[str, Any]:
    """The model's metadata. A model without a version says so by leaving `versions` out."""
    model = config.model
    platform = PLATFORMS.get(config.framework, config.framework)
    if model.engine == "onnx":
        platform = ONNX
    versions = {}
    if model.version is not None:
        versions = {"versions": [model.version]}
    return {
        "name": config.name,
        **versions,
        "platform": platform,
        "inputs": inputs(model.input, model.example),
        "outputs": outputs(model.output),
    }


# ---- what a request must have ----


def inputs(described: ModelInput | None, example: list[Any] | None = None) -> list[dict[str, Any]]:
    """The tensors of a request.

    Args:
        described: what a row is, `model.input` of a Config.
        example: rows that the model takes. They tell what `described` does not.
    """
    row = next(iter(example or []), None)
    match described:
        case None:
            return _of_example(row)
        case TableInput():
            known = _by_name(row, described.names)
            return [_feature(column, known.get(column.name)) for column in described.columns]
        case TensorsInput():
            known = _by_name(row, described.names)
            return [_input(tensor, known.get(tensor.name)) for tensor in described.inputs]
        case TextInput() | JsonInput():
            return [_tensor("instances", V2_BYTES, ())]
    if row is not None and _is_mixed(described, row):
        return [_tensor(f"x{at}", _datatype_of([value]), ()) for at, value in enumerate(row)]
    return [_input(Tensor("instances", described.shape, described.dtype), row)]


def _of_example(row: Any) -> list[dict[str, Any]]:
    """The tensors of a model that takes any rows, if those like the example fit into some."""
    if isinstance(row, dict):
        nested = any(isinstance(value, (dict, list)) for value in row.values())
        if nested or len(row) == 1:  # a single tensor is taken for the rows themselves
            return []
        return [_tensor(name, _datatype_of([value]), ()) for name, value in row.items()]
    if row is None:
        return []
    return [_tensor("instances", _datatype_of(_leaves(row)), (None,) * _depth(row))]


def _depth(value: Any) -> int:
    """How many lists there are around the first value."""
    depth = 0
    while isinstance(value, list) and value:
        value, depth = value[0], depth + 1
    return depth


def _by_name(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """The values of a row, which is an object or a list."""
    if isinstance(row, dict):
        return row
    if isinstance(row, list):
        return dict(zip(names, row, strict=False))
    return {}


def _is_mixed(described: ArrayInput, row: Any) -> bool:
    """Whether one tensor cannot hold a row: it has texts and numbers side by side."""
    if described.dtype not in (None, "object") or described.names or not isinstance(row, list):
        return False
    return len({_datatype_of([value]) for value in row if not isinstance(value, list)}) > 1


def _feature(column: Column, value: Any) -> dict[str, Any]:
    return _tensor(column.name, _column_datatype(column, value), ())


def _column_datatype(column: Column, value: Any) -> str:
    dtype = numpy_name(column)
    if column.categories and dtype in ("category", "object"):
        return _datatype_of(column.categories)
    if dtype in ("", "category"):
        return _datatype_of([value])
    if dtype == "object":
        return FORMS.get(form_name(column), V2_BYTES)
    return _datatype(dtype)


def _input(tensor: Tensor, value: Any) -> dict[str, Any]:
    dtype = STAND_INS.get(tensor.dtype or "", tensor.dtype)
    if dtype in (None, "object"):
        datatype = NUMBER if value is None else _datatype_of(_leaves(value))
        return _tensor(tensor.name, datatype, tensor.shape)
    if dtype in COMPLEX:  # [re, im]
        shape = (*(tensor.shape or ()), 2)
        return _tensor(tensor.name, _datatype(COMPLEX[dtype]), shape)
    return _tensor(tensor.name, _datatype(dtype), tensor.shape)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _datatype_of(values: Iterable[Any]) -> str:
    """The datatype of values of JSON whose dtype is not known."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {bool}:
        return BOOLEAN
    if kinds and kinds <= {int, float}:
        return NUMBER
    return V2_BYTES


# ---- what an answer has ----


def outputs(described: ModelOutput | None) -> list[dict[str, Any]]:
    """The tensors of an answer, those that are known: `tensors_of_response` makes them.

    Probabilities are none of them: they are sent where a request asks for them.
    """
    named: dict[str, ModelOutput | None] = {"predictions": described}
    if isinstance(described, TensorsOutput):
        named = {item.name: _of_part(item) for item in described.outputs}
    elif isinstance(described, ListOutput) and _together(described) == AS_JSON:
        named = {f"predictions_{at}": part for at, part in enumerate(described.outputs)}
    found = {name: _output(part) for name, part in named.items()}
    return [_answered(name, *output) for name, output in found.items() if output is not None]


def _of_part(part: Any) -> ModelOutput | None:
    if isinstance(part, Tensor):
        return ArrayOutput(part.shape, part.dtype)
    known: ModelOutput | None = part.output
    return known


def _output(described: ModelOutput | None) -> Output | None:
    """The dtype and the shape of one output; None where they are not known."""
    match described:
        case None:
            return None
        case ListOutput():
            return _together(described)
        case TensorsOutput():
            return AS_JSON
    dtype = described.dtype
    if dtype is None and isinstance(described, EstimatorOutput) and described.classes:
        return _dtype_of(described.classes), described.shape or ()
    if dtype is None:
        return None
    return STAND_INS.get(dtype, dtype), described.shape


def _together(described: ListOutput) -> Output | None:
    """Outputs without names, which form one tensor if they have one shape."""
    parts = [_output(part) for part in described.outputs]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or not parts:
        return None
    shape = known[0][1]
    if shape is None or any(part[1] != shape for part in known):
        return AS_JSON
    return reduce(promoted, (dtype for dtype, _ in known)), (len(parts), *shape)


def _dtype_of(classes: Collection[Any]) -> str:
    """The dtype of the array that numpy makes of classes."""
    kinds = set(map(type, classes))
    if not kinds <= {bool, int, float}:
        return "object"
    if float in kinds:
        return "float64"
    if kinds == {bool}:
        return "bool"
    return "int64" if max(classes) < 2**63 else "uint64"


def promoted(first: str, second: str) -> str:
    """The dtype that holds both, as numpy promotes them; object for other things than numbers.

    Source: https://numpy.org/doc/stable/reference/arrays.promotion.html
    """
    if first == second:
        return first
    if not {first, second} <= DATATYPES.keys():
        return "object"
    (rank, size), (least_rank, least_size) = sorted(map(_kind, (first, second)), reverse=True)
    kind = KINDS[rank]
    if rank == least_rank or KINDS[least_rank] == "bool":
        return f"{kind}{max(size, least_size)}"
    if kind == "int":  # and the other one is unsigned: a bit more
        size = max(size, 2 * least_size)
        return f"int{size}" if size <= 64 else "float64"
    return f"float{max(size, min(64, 2 * least_size))}"


def _kind(dtype: str) -> tuple[int, int]:
    """The place of a dtype's kind in KINDS, and its bits."""
    name = dtype.rstrip("0123456789")
    return KINDS.index(name), int(dtype[len(name) :] or 0)


# ---- tensors ----


def _answered(name: str, dtype: str, shape: Shape) -> dict[str, Any]:
    return _tensor(name, _datatype(dtype), shape)


def _tensor(name: str, datatype: str, shape: Shape) -> dict[str, Any]:
    """One tensor of the metadata. Its first axis is rows."""
    sizes = [-1 if size is None else size for size in (None, *(shape or ()))]
    return {"name": name, "datatype": datatype, "shape": sizes}


def _datatype(dtype: str | None) -> str:
    return DATATYPES.get(dtype or "", V2_BYTES)


# ---- an example ----


def example(config: Config) -> dict[str, Any] | None:
    """A request of the example's rows, with its data in JSON; None if there is no such request."""
    rows = config.model.example
    described = inputs(config.model.input, rows)
    if not rows or not described:
        return None
    try:
        columns = _columns(described, config.model.input, rows)
        filled = [_filled(*pair) for pair in zip(described, columns, strict=True)]
    except (IndexError, KeyError, TypeError, ValueError):  # its owner wrote another example
        return None
    request: dict[str, Any] = {"inputs": filled}
    if any(tensor["datatype"] == HALF for tensor in outputs(config.model.output)):
        request["parameters"] = {"binary_data_output": True}
    return request


def _columns(
    described: list[dict[str, Any]], model_input: ModelInput | None, rows: list[Any]
) -> list[list[Any]]:
    """The values of each tensor, one of each row."""
    names = tuple(tensor["name"] for tensor in described)
    if names != ("instances",):
        return [[_by_name(row, names)[name] for row in rows] for name in names]
    features = getattr(model_input, "names", None)
    if features and isinstance(rows[0], dict):
        return [[[row[name] for name in features] for row in rows]]
    return [rows]


def _filled(tensor: dict[str, Any], values: list[Any]) -> dict[str, Any]:
    """A tensor with its data. FP32 holds the values of FP16."""
    datatype = tensor["datatype"]
    if datatype == HALF:
        datatype = "FP32"
    shape, data = [len(values)], values
    for _ in tensor["shape"][1:]:
        shape.append(len(data[0]))
        data = [item for part in data for item in part]
    data = [_element(datatype, value) for value in data]
    return {"name": tensor["name"], "datatype": datatype, "shape": shape, "data": data}


def _element(datatype: str, value: Any) -> Any:
    if datatype != V2_BYTES or value is None or isinstance(value, str):
        return value
    if texts.is_b64(value):
        return texts.to_bytes(value).decode()
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
