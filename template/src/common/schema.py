"""`model.input` and `model.output` of `config.yaml`: what a row and what a prediction is, as types.

Each class below is one form, and each of its fields is one key of that form. `_key` gives the field
the rule for its value; `read_input`, `read_output` and `as_document` need no change when
a field is added.

This module is pure data: it needs neither numpy nor pandas, so the server's environment can read
it. `signature.py` makes arrays and tables of rows; `bodies/v2/v2_metadata.py` and
`serving/applications/openapi_schemas.py` describe the rows to clients.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar

from .errors import ConfigError

TYPES = ("number", "boolean", "string", "list", "object", "any")
PARAMETER_TYPES = ("boolean", "integer", "number", "string", "any")
FORMATS = (  # `rows/columns/formats.py` says what each looks like
    "date-time",
    "date",
    "time",
    "duration",
    "decimal",
    "uuid",
    "bytes",
    "period",
    "interval",
)
MISSING_VALUES = ("None", "NaN", "NA", "NaT")  # what null becomes: Python's, numpy's, pandas' two
STRUCTURES = ("object", "list")
PANDAS, POLARS = "pandas", "polars"
TEXT, BYTES = "string", "bytes"  # the dtypes of arrays and tensors that hold no numbers
SPARSE = tuple(
    f"{form}_{kind}" for kind in ("array", "matrix") for form in ("csr", "csc", "coo", "bsr")
)
# numpy's, PyTorch's and TensorFlow's names of dtypes.
DTYPES = (
    *("bool", "object", TEXT, BYTES, "str", "category", "bfloat16"),
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)),
    *(f"float{bits}" for bits in (16, 32, 64, 80, 96, 128)),
    *(f"complex{bits}" for bits in (32, 64, 128, 160, 192, 256)),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
    *("half", "single", "double", "longdouble", "float", "int", "uint", "long", "short", "byte"),
    *("qint8", "quint8", "qint32", "resource", "variant"),
)
# These; numpy's short ones, as `<f8`; with a size or unit; pandas' and polars' own.
DTYPE = re.compile(
    rf"{'|'.join(DTYPES)}|[<>|=]?[?a-zA-Z]\d*(\[.+\])?|(str|bytes|void)\d+|[a-z0-9]+\[.+\]"
    r"|\[.+\]|\{.+\}|[A-Z][A-Za-z0-9]*(\[.+\]|\(.+\))?",
    re.DOTALL,
)
NEAR = 0.75  # a key this similar to a known key counts as a misspelling of it

Shape = tuple[int | None, ...] | None
"""The size of one row along each axis. A size of None is any size, a shape of None any shape."""

T = TypeVar("T")
Check = Callable[[str, Any], Any]
"""Takes a key's place in `config.yaml` and its value; returns the field, or raises ConfigError."""


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()


# ---- what a value must be ----


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError.value(place, "a string (in quotes)", value)
    return value


def _text_or_null(place: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigError.value(place, "a string or null", value)
    return value


def _dtype_or_null(place: str, value: Any) -> str | None:
    """The name of an array's dtype. Whether numpy has it, the worker finds out."""
    name = _text_or_null(place, value)
    if name is None or DTYPE.fullmatch(name):
        return name
    meant = ""
    if near := nearest(name, DTYPES):
        meant = f" (did you mean {near}?)"
    raise ConfigError.value(
        place, f"the name of a dtype, as {TEXT} or float64{meant}, or null", name
    )


def _count_or_null(place: str, value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise ConfigError.value(place, "a whole number of 1 or more, or null", value)
    return value


def _flag_or_null(place: str, value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ConfigError.value(place, "true, false or null", value)
    return value


def _one_of(*choices: str) -> Check:
    def check(place: str, value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ConfigError.value(place, any_of(choices), value)
        return value

    return check


def _one_of_or_null(*choices: str) -> Check:
    def check(place: str, value: Any) -> str | None:
        if value is not None and (not isinstance(value, str) or value not in choices):
            raise ConfigError.value(place, any_of((*choices, "null")), value)
        return value

    return check


def _list(place: str, value: Any, allowed: str = "a list") -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError.value(place, allowed, value)
    return list(value)


def _shape(place: str, value: Any) -> Shape:
    if value is None:
        return None
    sizes = _list(place, value, "a list of sizes or null")
    for index, size in enumerate(sizes):
        if size is not None and (type(size) is not int or size < 0):
            raise ConfigError.value(
                f"{place}[{index}]", "a whole number of 0 or more, or null", size
            )
    return tuple(sizes)


def _names_or_null(place: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = _list(place, value, "a list of strings or null")
    return tuple(_text(f"{place}[{index}]", name) for index, name in enumerate(names))


def _values_or_null(place: str, value: Any) -> tuple[Any, ...] | None:
    if value is None:
        return None
    items = _list(place, value, "a list or null")
    for index, item in enumerate(items):
        if isinstance(item, (list, tuple, Mapping)):
            raise ConfigError.value(f"{place}[{index}]", "a single value", item)
    return tuple(items)


def _parts(read: Check) -> Check:
    """The check of a list whose items `read` takes."""

    def check(place: str, value: Any) -> tuple[Any, ...]:
        items = _list(place, value)
        return tuple(read(f"{place}[{index}]", item) for index, item in enumerate(items))

    return check


def _named_parts(read: Check) -> Check:
    """The check of a list whose items have distinct names."""

    def check(place: str, value: Any) -> tuple[Any, ...]:
        parts: tuple[Any, ...] = _parts(read)(place, value)
        seen: set[str] = set()
        for index, part in enumerate(parts):
            if part.name in seen:
                raise ConfigError(
                    f"config.yaml: {place}[{index}].name must differ from the names before it,"
                    f" it is {part.name!r}"
                )
            seen.add(part.name)
        return parts

    return check


def _key(check: Check, default: Any = MISSING, *, optional: bool = False) -> Any:
    """A field that is read from the key of the same name.

    Args:
        check: the rule for its value.
        default: its value if the key is missing; without a default, the key is required.
        optional: whether the key is left out of the document if the value is None.
    """
    metadata = {"check": check, "optional": optional}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


# ---- what a row is: `model.input` ----


@dataclass(frozen=True)
class ArrayInput:
    """A row is a number, or nested lists of numbers or texts: rows become one numpy array.

    Attributes:
        shape: the shape of one row.
        dtype: numpy's or PyTorch's name of the dtype; `string` for texts, which may be bytes where
            TensorFlow takes them; `bytes` for bytes alone; None for any. A complex number is
            [re, im]. Bytes are `{"b64": "..."}`, or a string, which stands for its UTF-8.
        names: the names of the values in a row of shape [n]: rows may be objects keyed by them,
            too.
        sparse: SciPy's class that the rows become, such as `csr_matrix`. Zeros are then absent.
        below: how many things the numbers may name, as token ids do: they go from 0 to one less.
    """

    kind: ClassVar[Literal["array"]] = "array"

    shape: Shape = _key(_shape)
    dtype: str | None = _key(_dtype_or_null, None)
    names: tuple[str, ...] | None = _key(_names_or_null, None, optional=True)
    sparse: str | None = _key(_one_of(*SPARSE), None, optional=True)
    below: int | None = _key(_count_or_null, None, optional=True)


@dataclass(frozen=True)
class Tensor:
    """One of several inputs or outputs. Shape, dtype and `below` are as in `ArrayInput`."""

    name: str = _key(_text)
    shape: Shape = _key(_shape)
    dtype: str | None = _key(_dtype_or_null, None)
    below: int | None = _key(_count_or_null, None, optional=True)


def _tensor(place: str, value: Any) -> Tensor:
    return _read(Tensor, place, value)


@dataclass(frozen=True, kw_only=True)
class TensorsInput:
    """A row is an object keyed by input name: rows become a dict of numpy arrays.

    Attributes:
        structure: how Keras is called with the arrays: `object`, a dict of them, or `list`.
        inputs: the inputs, in the model's order.
    """

    kind: ClassVar[Literal["tensors"]] = "tensors"

    structure: str | None = _key(_one_of(*STRUCTURES), None, optional=True)
    inputs: tuple[Tensor, ...] = _key(_named_parts(_tensor))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs, in the model's order."""
        return tuple(tensor.name for tensor in self.inputs)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: the feature's name.
        type: what JSON holds in it: `number`, `boolean`, `string`, `list`, `object`, or `any`.
        dtype: the library's name of the dtype that the model was fitted on, with unit and time
            zone; None for what the library makes of the values.
        format: the form of its values in JSON where the type does not say it; see
            `rows/columns/formats.py`.
        missing: what null becomes in a column of objects, as in training; None for NaN. The other
            dtypes have one missing value each.
        categories: the categories of a categorical column, in their order and in their JSON form.
        categories_dtype: the dtype of the categories; None for what pandas makes of them.
        ordered: whether the categories are ordered.
        unknown: `missing` if an unknown category becomes a missing value; by default it is refused.
    """

    name: str = _key(_text)
    type: str = _key(_one_of(*TYPES), "any")
    dtype: str | None = _key(_text_or_null, None)
    format: str | None = _key(_one_of_or_null(*FORMATS), None, optional=True)
    missing: str | None = _key(_one_of_or_null(*MISSING_VALUES), None, optional=True)
    categories: tuple[Any, ...] | None = _key(_values_or_null, None, optional=True)
    categories_dtype: str | None = _key(_text_or_null, None, optional=True)
    ordered: bool | None = _key(_flag_or_null, None, optional=True)
    unknown: str | None = _key(_one_of_or_null("missing"), None, optional=True)


def _column(place: str, value: Any) -> Column:
    return _read(Column, place, value)


@dataclass(frozen=True)
class TableInput:
    """A row is an object keyed by column name, or a list: rows become a DataFrame.

    Attributes:
        columns: the columns, in the model's order.
        library: the DataFrame's library: `polars`; None for pandas.
        labels: `integer` if the columns of the DataFrame are labelled 0, 1 and so on, which are the
            names `"0"`, `"1"` in JSON.
    """

    kind: ClassVar[Literal["table"]] = "table"

    columns: tuple[Column, ...] = _key(_named_parts(_column))
    library: str | None = _key(_one_of_or_null(PANDAS, POLARS), None, optional=True)
    labels: str | None = _key(_one_of_or_null("integer"), None, optional=True)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in the model's order."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True)
class TextInput:
    """A row is a text: the model takes a list of them.

    Attributes:
        dtype: `bytes` if the model takes bytes. They come as in `ArrayInput`.
    """

    kind: ClassVar[Literal["text"]] = "text"
    names: ClassVar[None] = None

    dtype: str | None = _key(_one_of(TEXT, BYTES), None, optional=True)


@dataclass(frozen=True)
class JsonInput:
    """A row is any JSON value: the model takes the list of rows as it came.

    Attributes:
        bytes: whether each object `{"b64": "..."}` in a row stands for bytes.
    """

    kind: ClassVar[Literal["json"]] = "json"
    names: ClassVar[None] = None

    bytes: bool | None = _key(_flag_or_null, None, optional=True)


ModelInput = ArrayInput | TableInput | TensorsInput | TextInput | JsonInput


# ---- what a prediction is: `model.output` ----


@dataclass(frozen=True)
class ArrayOutput:
    """A prediction is a number or nested lists of them, of the `shape` of one prediction."""

    kind: ClassVar[Literal["array"]] = "array"

    shape: Shape = _key(_shape, None)
    dtype: str | None = _key(_dtype_or_null, None)


@dataclass(frozen=True, kw_only=True)
class EstimatorOutput:
    """What a scikit-learn estimator predicts.

    Attributes:
        kind: `class`, `number`, `cluster` or `outlier`; None if the estimator does not say.
        dtype: numpy's name of the predictions' dtype; None where it is not known.
        shape: the shape of one prediction.
        probabilities: whether the model has them.
        classes: the classes, in the order of the probabilities; None where there are none, or very
            many.
    """

    kind: str | None = _key(_text_or_null, None)
    dtype: str | None = _key(_dtype_or_null, None, optional=True)
    shape: Shape = _key(_shape, None, optional=True)
    probabilities: bool | None = _key(_flag_or_null, None, optional=True)
    classes: tuple[Any, ...] | None = _key(_values_or_null, None, optional=True)


@dataclass(frozen=True)
class NamedOutput:
    """One of several outputs of a PyTorch model; `output` is None if it is not an array."""

    name: str
    output: "ModelOutput | None"

    def as_document(self) -> dict[str, Any]:
        return {"name": self.name, **(as_document(self.output) or {})}


def _output_part(place: str, value: Any) -> Tensor | NamedOutput:
    """Keras's outputs have a shape and a dtype, PyTorch's a `kind` besides."""
    mapping = _mapping(place, value)
    if "kind" not in mapping and "shape" in mapping:
        return _tensor(place, mapping)
    name = _text(f"{place}.name", mapping.get("name", MISSING))
    rest = {key: item for key, item in mapping.items() if key != "name"}
    return NamedOutput(name, _output(place, rest or None))


@dataclass(frozen=True)
class TensorsOutput:
    """A prediction is an object keyed by output name."""

    kind: ClassVar[Literal["tensors"]] = "tensors"

    outputs: tuple[Tensor | NamedOutput, ...] = _key(_named_parts(_output_part))


@dataclass(frozen=True)
class ListOutput:
    """A prediction is a list of outputs without names; None stands for one that is not an array."""

    kind: ClassVar[Literal["list"]] = "list"

    outputs: tuple["ModelOutput | None", ...] = _key(
        _parts(lambda place, value: _output(place, value))
    )


ModelOutput = ArrayOutput | EstimatorOutput | TensorsOutput | ListOutput


# ---- what a request may set: `model.parameters` ----


@dataclass(frozen=True)
class Parameter:
    """A parameter of the model's methods that a request may set.

    Attributes:
        name: the parameter's name.
        type: what its value is in JSON: `boolean`, `integer`, `number`, `string`, or `any`.
        default: its value where the request does not set it; None for the method's own.
        methods: the methods of `model.method` that take it; None for all of them.
        outputs: what each prediction holds where a flag is the other way round, if that is known
            to change it.
    """

    name: str = _key(_text)
    type: str = _key(_one_of(*PARAMETER_TYPES), "any")
    default: Any = _key(lambda place, value: value, None, optional=True)
    methods: tuple[str, ...] | None = _key(_names_or_null, None, optional=True)
    outputs: tuple[str, ...] | None = _key(_names_or_null, None, optional=True)


def _parameter(place: str, value: Any) -> Parameter:
    return _read(Parameter, place, value)


def read_parameters(document: Any) -> tuple[Parameter, ...] | None:
    """`model.parameters` of a parsed `config.yaml`.

    Raises:
        ConfigError: a value is not what its key may have; names the key as
            `model.parameters[0].type`.
    """
    if document is None:
        return None
    found: tuple[Parameter, ...] = _named_parts(_parameter)("model.parameters", document)
    return found


def read_method(document: Any) -> str | tuple[str, ...] | None:
    """`model.method` of a parsed `config.yaml`: a name, or several.

    Raises:
        ConfigError: it is none of these.
    """
    place, rule = "model.method", "the name of a method, a list of different names, or null"
    if document is None or _is_name(document):
        return document  # type: ignore[no-any-return]
    if not isinstance(document, (list, tuple)) or not all(map(_is_name, document)):
        raise ConfigError.value(place, rule, document)
    if not document or len(set(document)) < len(document):
        raise ConfigError.value(place, rule, document)
    return tuple(document)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier()


# ---- reading and writing ----

INPUTS: dict[str, type[Any]] = {
    form.kind: form for form in (ArrayInput, TableInput, TensorsInput, TextInput, JsonInput)
}
OUTPUTS: dict[str, type[Any]] = {
    form.kind: form for form in (ArrayOutput, TensorsOutput, ListOutput)
}
FORMS = (*INPUTS.values(), *OUTPUTS.values(), EstimatorOutput, Column, Tensor)
KEYS = {item.name for form in FORMS for item in dataclasses.fields(form)}


def read_input(document: Any) -> ModelInput | None:
    """`model.input` of a parsed `config.yaml`.

    Keys that no form has are their owner's and left alone, unless one looks like a misspelling.

    Raises:
        ConfigError: a value is not what its key may have; names the key as
            `model.input.columns[2].dtype`.
    """
    place = "model.input"
    if document is None:
        return None
    mapping = _mapping(place, document, "a mapping or null")
    kind = _one_of(*INPUTS)(f"{place}.kind", mapping.get("kind", MISSING))
    found: ModelInput = _read(INPUTS[kind], place, mapping)
    return found


def read_output(document: Any) -> ModelOutput | None:
    """`model.output` of a parsed `config.yaml`. A `kind` that is not known is kept as it is.

    Raises:
        ConfigError: a value is not what its key may have; names the key as
            `model.output.outputs[0].shape`.
    """
    try:
        return _output("model.output", document)
    except RecursionError:  # an alias in the YAML refers to a value that contains it
        raise ConfigError("config.yaml: model.output must not contain itself") from None


def _output(place: str, document: Any) -> ModelOutput | None:
    if document is None:
        return None
    mapping = _mapping(place, document, "a mapping or null")
    kind = _text_or_null(f"{place}.kind", mapping.get("kind"))
    if kind is None and "outputs" in mapping:  # written by hand
        kind = TensorsOutput.kind
    if kind not in OUTPUTS and (near := nearest(kind, OUTPUTS)):
        raise ConfigError.value(f"{place}.kind", f"spelled {near}", kind)
    found: ModelOutput = _read(OUTPUTS.get(kind or "", EstimatorOutput), place, mapping)
    return found


def _mapping(place: str, value: Any, allowed: str = "a mapping") -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError.value(place, allowed, value)
    return value


def _read(form: type[T], place: str, value: Any) -> T:
    """A form whose fields are read from a mapping."""
    mapping = _mapping(place, value)
    keys = {item.name: item for item in dataclasses.fields(form)}  # type: ignore[arg-type]
    check_spelling(place, mapping, ["kind", *keys])
    return form(**{name: _value(item, place, mapping) for name, item in keys.items()})


def _value(item: "dataclasses.Field[Any]", place: str, mapping: Mapping[str, Any]) -> Any:
    if item.name not in mapping and item.default is not dataclasses.MISSING:
        return item.default
    return item.metadata["check"](f"{place}.{item.name}", mapping.get(item.name, MISSING))


def check_spelling(place: str, mapping: Mapping[Any, Any], known: Sequence[str]) -> None:
    """Refuse a key that looks like a misspelling of a known key that is missing.

    A key of another form, and the singular or plural of a known key, is a word of its own: `name`
    beside an array's `names` is its owner's.
    """
    absent = [key for key in known if key not in mapping]
    for key in mapping:
        if key in known or key in KEYS:
            continue
        near = nearest(key, absent)
        if near and not _differ_in_number(str(key), near):
            where = f"{place}.{key}".lstrip(".")
            raise ConfigError(f"config.yaml: {where} is not known; did you mean {near}?")


def _differ_in_number(one: str, other: str) -> bool:
    """Whether one word is the plural of the other."""
    return one in _singulars(other) or other in _singulars(one)


def _singulars(word: str) -> set[str]:
    """What a word may be the plural of: `classes` of `class` or `classe`."""
    endings = (("s", ""), ("es", ""), ("ies", "y"))
    return {word.removesuffix(end) + new for end, new in endings if word.endswith(end)}


def nearest(word: Any, known: Iterable[str]) -> str | None:
    """The known word of which this one looks like a misspelling."""
    return next(iter(get_close_matches(str(word), list(known), n=1, cutoff=NEAR)), None)


def check_json(place: str, value: Any) -> None:
    """Check that a value holds no number that JSON lacks: not a number, or infinity.

    Raises:
        ConfigError: it does.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError.value(place, "a number that JSON has, or null", value)
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_json(f"{place}.{key}", item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            check_json(f"{place}[{index}]", item)


def as_document(form: Any) -> dict[str, Any] | None:
    """A ModelInput, a ModelOutput or a part of one as it is in `config.yaml`; None for None."""
    if form is None:
        return None
    if isinstance(form, NamedOutput):
        return form.as_document()
    document: dict[str, Any] = {}
    if hasattr(form, "kind"):
        document["kind"] = form.kind
    for item in dataclasses.fields(form):
        value = getattr(form, item.name)
        if value is not None or not item.metadata["optional"]:
            document[item.name] = _plain(value)
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return as_document(value)
    return value


def any_of(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = words
    return f"{', '.join(most)} or {last}"
