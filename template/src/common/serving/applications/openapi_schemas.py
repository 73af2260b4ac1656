"""The JSON schemas of a model's rows and predictions, and of what else the routes answer.

Source: https://spec.openapis.org/oas/v3.1.0, https://spec.openapis.org/registry/format/
"""

from collections.abc import Sequence
from typing import Any

from ...bodies.v2.names import DATATYPES, V2_BYTES
from ...config import Config
from ...rows.columns.formats import B64, FORMS, json_schema, numpy_name, words
from ...schema import (
    BYTES,
    TEXT,
    ArrayInput,
    ArrayOutput,
    Column,
    EstimatorOutput,
    JsonInput,
    ListOutput,
    ModelInput,
    ModelOutput,
    NamedOutput,
    Parameter,
    Shape,
    TableInput,
    Tensor,
    TensorsInput,
    TensorsOutput,
    TextInput,
)

Schema = dict[str, Any]

MOST_CLASSES = 100  # that an enumeration names
NUMBER: Schema = {"type": ["number", "null"]}  # null is NaN
STRING: Schema = {"type": "string"}
STRING_OR_BYTES: Schema = {"anyOf": [STRING, B64]}
# What a value is, by the dtype of its array.
VALUES: dict[str | None, Schema] = {
    TEXT: STRING_OR_BYTES,
    BYTES: STRING_OR_BYTES,
    "bool": {"type": "boolean"},
    "object": {},
    None: {},
}
TIMES = {"datetime64": "date-time", "timedelta64": "duration"}
WHOLE, FLOATS = ("int", "uint"), ("float", "bfloat")
FORMATS = {"float32": "float", "float64": "double"}
FLAG = {"type": "boolean", "const": True}
NAMES = {"type": "array", "items": STRING}
ONE_OF_FORMS = (
    "Exactly one of `instances`, `dataframe_split`, `dataframe_records`, `inputs` and `input_data`"
)


def components(config: Config) -> dict[str, Schema]:
    """The schemas that have a name."""
    output = config.model.output
    request = {"instances": _array(ref("Row"))}
    response = {"predictions": _array(ref("Prediction"))}
    if isinstance(output, EstimatorOutput) and output.probabilities:
        asked = "Answer `probabilities` as well"
        request["probabilities"] = {"type": "boolean", "description": asked}
        response["probabilities"] = _array(_probabilities(output))
    if config.model.parameters:
        request["parameters"] = _parameters(config.model.parameters)
    scoring = {**_scoring(), **request}
    if "parameters" in request:
        scoring["params"] = request["parameters"]
    return {
        "PredictRequest": _object(request, ["instances"]),
        "ScoringRequest": {**_object(scoring, []), "description": ONE_OF_FORMS},
        "PredictResponse": _object(response, ["predictions"]),
        "Row": _row(config.model.input),
        "Prediction": _prediction(output),
        "Error": _object({"error": {**STRING, "description": "What is wrong, in one line"}}),
        **V2,
        **HEALTH,
    }


def _scoring() -> dict[str, Schema]:
    """The forms of rows in MLflow's protocol, beside `instances`."""
    columns = {"type": "array", "items": {"type": ["string", "integer"]}}
    table = _object({"columns": columns, "index": _array({}), "data": _array(_array({}))}, ["data"])
    by_name = {"type": "object", "additionalProperties": _array({})}
    return {
        "dataframe_split": table,
        "dataframe_records": _array(ref("Row")),
        "inputs": {"anyOf": [_array(ref("Row")), by_name]},
        "input_data": {"description": "Azure ML's name for any of the forms before"},
    }


def _parameters(described: Sequence[Parameter]) -> Schema:
    """What a request may set under `parameters`."""
    properties = {each.name: _parameter(each) for each in described}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _parameter(described: Parameter) -> Schema:
    schema: Schema = {}
    if described.type != "any":
        schema["type"] = described.type
    if described.default is not None:
        schema["default"] = described.default
    if described.outputs is not None:
        named = ", ".join(described.outputs)
        schema["description"] = (
            f"Where it is not the default, a prediction is an object with {named}"
        )
    return schema


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _object(properties: dict[str, Schema], required: list[str] | None = None) -> Schema:
    """An object, all of whose properties are required unless told otherwise."""
    if required is None:
        required = list(properties)
    return {"type": "object", "required": required, "properties": properties}


# ---- rows ----


def _row(described: ModelInput | None) -> Schema:
    match described:
        case None | JsonInput():
            return {}
        case TextInput():
            return {None: STRING, TEXT: STRING, BYTES: STRING_OR_BYTES}[described.dtype]
        case TableInput():
            return _object({column.name: _cell(column) for column in described.columns})
        case TensorsInput():
            return _object({item.name: _taken(item) for item in described.inputs})
    return _taken(described)


def _cell(column: Column) -> Schema:
    schema = json_schema(column)
    if column.categories and "enum" in schema and not _is_enumerable(column.categories):
        return {**_kind(column.categories), "description": words(column)}
    if schema.get("type") == NUMBER["type"]:
        schema |= _format(numpy_name(column))
    return schema


def _kind(values: tuple[Any, ...]) -> Schema:
    """What each of some numbers or booleans is, or null; anything for others."""
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return {"type": ["boolean", "null"]}
    if kinds <= {int, float}:
        return NUMBER
    return {}


def _taken(described: ArrayInput | Tensor) -> Schema:
    value = _value(described.dtype)
    if described.below is not None:
        value = {**value, "minimum": 0, "maximum": described.below - 1}
    return _lists(described.shape, value)


def _lists(shape: Shape, value: Schema) -> Schema:
    """Nested lists of a shape; anything where that is not known."""
    if shape is None:
        return {}
    schema = value
    for size in reversed(shape):
        schema = _array(schema)
        if size is not None:
            schema |= _sized(size)
    return schema


def _sized(size: int) -> Schema:
    return {"minItems": size, "maxItems": size}


def _value(dtype: str | None) -> Schema:
    """One value of a dtype in a request. A whole number may be written as a float."""
    if dtype is None or dtype in VALUES:
        return VALUES[dtype]
    for start, form in TIMES.items():
        if dtype.startswith(start):
            return {**FORMS[form].schema, "type": ["string", "null"]}
    if dtype.startswith("complex"):
        return {**_array(NUMBER), **_sized(2)}
    if dtype.startswith(WHOLE):
        return {"type": "number", **_format(dtype)}
    if dtype.startswith(FLOATS):
        return {**NUMBER, **_format(dtype)}
    return {}


def _format(dtype: str) -> Schema:
    """The format of numbers of a dtype, where there is one."""
    found = FORMATS.get(dtype)
    if dtype.startswith(WHOLE) and dtype in DATATYPES:
        found = dtype
    if found is None:
        return {}
    return {"format": found}


# ---- predictions ----


def _prediction(output: ModelOutput | None) -> Schema:
    match output:
        case None:
            return {}
        case TensorsOutput():
            return _object({item.name: _part(item) for item in output.outputs})
        case ListOutput():
            parts = [_prediction(part) for part in output.outputs]
            return {"type": "array", **_in_places(parts), **_sized(len(parts))}
        case EstimatorOutput(classes=classes) if output.shape == ():
            return _classes(classes) or _answered((), output.dtype)
    return _answered(output.shape, output.dtype)


def _in_places(parts: list[Schema]) -> Schema:
    if not parts:  # JSON Schema wants one at least
        return {}
    return {"prefixItems": parts}


def _part(item: Tensor | NamedOutput) -> Schema:
    if isinstance(item, Tensor):
        return _prediction(ArrayOutput(item.shape, item.dtype))
    return _prediction(item.output)


def _answered(shape: Shape, dtype: str | None) -> Schema:
    """Nested lists of values of a dtype in an answer."""
    value = _value(dtype)
    if dtype is not None and dtype.startswith(WHOLE):
        value = {**value, "type": "integer"}
    elif dtype == TEXT or (dtype or "").startswith("<U"):
        value = STRING
    return _lists(shape, value)


def _classes(classes: tuple[Any, ...] | None) -> Schema | None:
    """The classes of a classifier, if they are few texts or few whole numbers."""
    if not classes or len(classes) > MOST_CLASSES or not _is_enumerable(classes):
        return None
    kind = "string" if isinstance(classes[0], str) else "integer"
    return {"type": kind, "enum": list(classes)}


def _is_enumerable(values: tuple[Any, ...]) -> bool:
    """Whether clients in typed languages have an enumeration for them."""
    return {type(value) for value in values} in ({str}, {int})


def _probabilities(output: EstimatorOutput) -> Schema:
    """The probability of each class; anything where a model has several outputs."""
    value = {**NUMBER, "format": "double"}
    if output.shape != ():
        return {"type": "array", "items": {}}
    if output.classes is None:
        return _array(value)
    return {**_array(value), **_sized(len(output.classes))}


# ---- the Open Inference Protocol, and health ----

PARAMETERS = {"type": "object", "additionalProperties": True}
DATATYPE = {**STRING, "enum": [*DATATYPES.values(), V2_BYTES]}
SIZES = _array({"type": "integer"})
SHAPE = {**SIZES, "description": "The first size is the number of rows"}
TENSOR = {"name": STRING, "datatype": DATATYPE, "shape": SHAPE}
DATA = {**_array({}), "description": "The values, flat or nested like the tensor"}
SENT = ["name", "datatype", "shape", "data"]
WANTED = "The names of the outputs to answer; all of them by default"

V2: dict[str, Schema] = {
    "InferRequest": _object(
        {
            "id": STRING,
            "parameters": PARAMETERS,
            "inputs": _array(ref("InferInput")),
            "outputs": {**_array(ref("InferRequestedOutput")), "description": WANTED},
        },
        ["inputs"],
    ),
    "InferInput": _object({**TENSOR, "parameters": PARAMETERS, "data": DATA}, SENT),
    "InferRequestedOutput": _object({"name": STRING, "parameters": PARAMETERS}, ["name"]),
    "InferResponse": _object(
        {
            "id": STRING,
            "model_name": STRING,
            "model_version": STRING,
            "outputs": _array(ref("InferOutput")),
        },
        ["id", "model_name", "outputs"],
    ),
    "InferOutput": _object({**TENSOR, "data": DATA}),
    "MetadataTensor": _object(
        {**TENSOR, "shape": {**SIZES, "description": "-1 is any size, the number of rows at first"}}
    ),
    "ModelMetadata": _object(
        {
            "name": STRING,
            "versions": NAMES,
            "platform": STRING,
            "inputs": _array(ref("MetadataTensor")),
            "outputs": _array(ref("MetadataTensor")),
        },
        ["name", "platform", "inputs", "outputs"],
    ),
    "ServerMetadata": _object({"name": STRING, "version": STRING, "extensions": NAMES}),
}
HEALTH: dict[str, Schema] = {
    "Alive": _object({"status": {**STRING, "const": "alive"}}),
    "Live": _object({"live": FLAG}),
    "Ready": _object({"ready": FLAG}),
    "Models": _object({"models": NAMES}),
    "ModelReady": _object({"name": STRING, "ready": FLAG, "version": STRING}, ["name", "ready"]),
}
