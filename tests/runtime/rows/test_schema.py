"""`model.input` and `model.output`: reading, writing, and errors of one line."""

import json
from typing import Any

import numpy as np
import pytest
import yaml

from common.config import Config
from common.errors import ConfigError
from common.schema import (
    ArrayInput,
    ArrayOutput,
    Column,
    EstimatorOutput,
    JsonInput,
    ListOutput,
    NamedOutput,
    TableInput,
    Tensor,
    TensorsInput,
    TensorsOutput,
    TextInput,
    as_document,
    read_input,
    read_output,
)
from common.signature import Signature

# What hooks write, and the form that it is read as.
INPUTS: list[tuple[str, Any]] = [
    ("{kind: array, shape: [4], dtype: float64}", ArrayInput((4,), "float64")),
    ("{kind: array, shape: [null, 3], dtype: null}", ArrayInput((None, 3))),
    ("{kind: array, shape: null, dtype: bfloat16}", ArrayInput(None, "bfloat16")),
    (
        "{kind: array, shape: [2], dtype: float32, names: ['1', yes please]}",
        ArrayInput((2,), "float32", ("1", "yes please")),
    ),
    (
        "{kind: tensors, inputs: [{name: ids, shape: [5], dtype: int64},"
        " {name: mask, shape: null, dtype: float32}]}",
        TensorsInput(inputs=(Tensor("ids", (5,), "int64"), Tensor("mask", None, "float32"))),
    ),
    (
        "{kind: tensors, structure: list, inputs: [{name: a, shape: [], dtype: string}]}",
        TensorsInput(structure="list", inputs=(Tensor("a", (), "string"),)),
    ),
    (
        "{kind: table, columns: [{name: size, type: number, dtype: float64},"
        " {name: grade, type: string, dtype: category, categories: [c, 1, true, null]},"
        " {name: free, type: any, dtype: null}]}",
        TableInput(
            (
                Column("size", "number", "float64"),
                Column("grade", "string", "category", categories=("c", 1, True, None)),
                Column("free"),
            )
        ),
    ),
    (
        "{kind: table, columns: [{name: none, type: string, dtype: category, categories: []}]}",
        TableInput((Column("none", "string", "category", categories=()),)),
    ),
    (
        "{kind: array, shape: [9], dtype: float32, sparse: csr_matrix}",
        ArrayInput((9,), "float32", sparse="csr_matrix"),
    ),
    (
        "{kind: array, shape: [null], dtype: int64, below: 50}",
        ArrayInput((None,), "int64", below=50),
    ),
    ("{kind: text}", TextInput()),
    ("{kind: text, dtype: bytes}", TextInput("bytes")),
    ("{kind: json}", JsonInput()),
    ("{kind: json, bytes: true}", JsonInput(bytes=True)),
    ("null", None),
]
OUTPUTS: list[tuple[str, Any]] = [
    ("{kind: array, shape: [3], dtype: float32}", ArrayOutput((3,), "float32")),
    (
        "{kind: class, dtype: int64, shape: [], probabilities: true, classes: [0, 1]}",
        EstimatorOutput(kind="class", dtype="int64", shape=(), probabilities=True, classes=(0, 1)),
    ),
    (
        "{kind: null, dtype: float64, shape: [2], probabilities: false}",
        EstimatorOutput(dtype="float64", shape=(2,), probabilities=False),
    ),
    (
        "{kind: number, probabilities: false}",
        EstimatorOutput(kind="number", probabilities=False),
    ),
    (
        "{kind: tensors, outputs: [{name: a, shape: [2], dtype: float32}]}",
        TensorsOutput((Tensor("a", (2,), "float32"),)),
    ),
    (
        "{kind: tensors, outputs: [{name: a, kind: array, shape: [2], dtype: float32},"
        " {name: b}, {name: c, kind: list, outputs: [null, {kind: array, shape: [], dtype: int8}]},"
        " {name: d, kind: tensors, outputs: [{name: e}]}]}",
        TensorsOutput(
            (
                NamedOutput("a", ArrayOutput((2,), "float32")),
                NamedOutput("b", None),
                NamedOutput("c", ListOutput((None, ArrayOutput((), "int8")))),
                NamedOutput("d", TensorsOutput((NamedOutput("e", None),))),
            )
        ),
    ),
    ("{kind: list, outputs: []}", ListOutput(())),
    ("null", None),
]


def order(document: Any) -> str:
    """A document as JSON, in which the order of keys counts."""
    return json.dumps(document)


@pytest.mark.parametrize(("text", "form"), INPUTS, ids=[text for text, _ in INPUTS])
def test_an_input_is_read_and_written_unchanged(text: str, form: Any) -> None:
    document = yaml.safe_load(text)
    assert read_input(document) == form
    assert order(as_document(form)) == order(document)
    assert read_input(as_document(form)) == form
    hash(form)


@pytest.mark.parametrize(("text", "form"), OUTPUTS, ids=[text for text, _ in OUTPUTS])
def test_an_output_is_read_and_written_unchanged(text: str, form: Any) -> None:
    document = yaml.safe_load(text)
    assert read_output(document) == form
    assert order(as_document(form)) == order(document)
    hash(form)


def config(**model: Any) -> Config:
    metadata = {"framework": "sklearn", "model": model}
    return Config.from_document({"model_name": "m", "model_metadata": metadata})


@pytest.mark.parametrize(("text", "form"), INPUTS, ids=[text for text, _ in INPUTS])
def test_an_input_reaches_the_worker(text: str, form: Any) -> None:
    sent = json.loads(json.dumps(config(input=yaml.safe_load(text)).as_document()))
    assert Config.from_document(sent).model.input == form


@pytest.mark.parametrize(("text", "form"), OUTPUTS, ids=[text for text, _ in OUTPUTS])
def test_an_output_reaches_the_worker(text: str, form: Any) -> None:
    sent = json.loads(json.dumps(config(output=yaml.safe_load(text)).as_document()))
    assert Config.from_document(sent).model.output == form


def test_missing_keys_have_defaults() -> None:
    assert read_input({"kind": "array", "shape": [4]}) == ArrayInput((4,))
    columns = [{"name": "a"}, {"name": "b", "categories": None}]
    assert read_input({"kind": "table", "columns": columns}) == TableInput(
        (Column("a", "any"), Column("b"))
    )
    assert read_output({}) == EstimatorOutput()
    named = [{"name": "a"}, {"name": "b"}]
    assert read_output({"kind": "tensors", "outputs": named}) == TensorsOutput(
        (NamedOutput("a", None), NamedOutput("b", None))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[4]", "model.input must be a mapping or null, it is [4]"),
        ("{}", "model.input.kind must be array, table, tensors, text or json, it is missing"),
        (
            "{kind: tabel}",
            "model.input.kind must be array, table, tensors, text or json, it is 'tabel'",
        ),
        (
            "{kind: [array]}",
            'model.input.kind must be array, table, tensors, text or json, it is ["array"]',
        ),
        ("{kind: array}", "model.input.shape must be a list of sizes or null, it is missing"),
        ("{kind: array, shape: 4}", "model.input.shape must be a list of sizes or null, it is 4"),
        (
            "{kind: array, shape: [4, -1]}",
            "model.input.shape[1] must be a whole number of 0 or more, or null, it is -1",
        ),
        (
            "{kind: array, shape: [true]}",
            "model.input.shape[0] must be a whole number of 0 or more, or null, it is true",
        ),
        (
            "{kind: array, shape: [4.0]}",
            "model.input.shape[0] must be a whole number of 0 or more, or null, it is 4.0",
        ),
        (
            "{kind: array, shape: [4], dtype: 64}",
            "model.input.dtype must be a string or null, it is 64",
        ),
        (
            "{kind: array, shape: [2], names: [a, 2]}",
            "model.input.names[1] must be a string (in quotes), it is 2",
        ),
        (
            "{kind: array, shape: [2], names: a}",
            "model.input.names must be a list of strings or null, it is 'a'",
        ),
        (
            "{kind: array, shape: [2], sparse: true}",
            "model.input.sparse must be csr_array, csc_array, coo_array, bsr_array, csr_matrix,"
            " csc_matrix, coo_matrix or bsr_matrix, it is true",
        ),
        ("{kind: table}", "model.input.columns must be a list, it is missing"),
        ("{kind: table, columns: null}", "model.input.columns must be a list, it is null"),
        ("{kind: table, columns: [a]}", "model.input.columns[0] must be a mapping, it is 'a'"),
        (
            "{kind: table, columns: [{name: a}, {type: number}]}",
            "model.input.columns[1].name must be a string (in quotes), it is missing",
        ),
        (
            "{kind: table, columns: [{name: no}]}",
            "model.input.columns[0].name must be a string (in quotes), it is false",
        ),
        (
            "{kind: table, columns: [{name: a}, {name: b}, {name: c, dtype: [int64]}]}",
            'model.input.columns[2].dtype must be a string or null, it is ["int64"]',
        ),
        (
            "{kind: table, columns: [{name: a, type: integer}]}",
            "model.input.columns[0].type must be number, boolean, string, list, object or any,"
            " it is 'integer'",
        ),
        (
            "{kind: table, columns: [{name: a, categories: red}]}",
            "model.input.columns[0].categories must be a list or null, it is 'red'",
        ),
        (
            "{kind: table, columns: [{name: a, categories: [red, [blue]]}]}",
            'model.input.columns[0].categories[1] must be a single value, it is ["blue"]',
        ),
        (
            "{kind: table, columns: [{name: a}, {name: a}]}",
            "model.input.columns[1].name must differ from the names before it, it is 'a'",
        ),
        ("{kind: tensors, inputs: {a: 1}}", 'model.input.inputs must be a list, it is {"a": 1}'),
        (
            "{kind: tensors, inputs: [{name: a}]}",
            "model.input.inputs[0].shape must be a list of sizes or null, it is missing",
        ),
        (
            "{kind: tensors, structure: dict, inputs: []}",
            "model.input.structure must be object or list, it is 'dict'",
        ),
    ],
)
def test_an_invalid_input_is_one_line_that_says_how_to_fix_it(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(input=yaml.safe_load(text))
    assert str(raised.value) == f"config.yaml: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "model.output must be a mapping or null, it is 3"),
        ("{kind: 3}", "model.output.kind must be a string or null, it is 3"),
        (
            "{kind: tensor, outputs: []}",
            "model.output.kind must be spelled tensors, it is 'tensor'",
        ),
        (
            "{kind: class, probabilities: 'yes'}",
            "model.output.probabilities must be true, false or null, it is 'yes'",
        ),
        ("{kind: class, classes: 3}", "model.output.classes must be a list or null, it is 3"),
        ("{kind: list}", "model.output.outputs must be a list, it is missing"),
        (
            "{kind: list, outputs: [null, {kind: array, shape: x}]}",
            "model.output.outputs[1].shape must be a list of sizes or null, it is 'x'",
        ),
        (
            "{kind: tensors, outputs: [{kind: array}]}",
            "model.output.outputs[0].name must be a string (in quotes), it is missing",
        ),
        ("&o {kind: list, outputs: [*o]}", "model.output must not contain itself"),
    ],
)
def test_an_invalid_output_is_one_line_that_says_how_to_fix_it(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(output=yaml.safe_load(text))
    assert str(raised.value) == f"config.yaml: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{kind: array, shpae: [4]}", "model.input.shpae is not known; did you mean shape?"),
        (
            "{kind: array, shape: [4], Dtype: a}",
            "model.input.Dtype is not known; did you mean dtype?",
        ),
        (
            "{kind: table, columns: [{name: a, categorys: [b]}]}",
            "model.input.columns[0].categorys is not known; did you mean categories?",
        ),
    ],
)
def test_a_misspelled_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(input=yaml.safe_load(text))
    assert str(raised.value) == f"config.yaml: {message}"


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "array", "shape": [4], "description": "a flower", 7: "x"},
        {"kind": "array", "shape": [4], "dtype": None, "dtypes": "a note beside dtype"},
        # A later version of the template may have these keys.
        {
            "kind": "array",
            "shape": [4],
            "unit": "ns",
            "zone": "UTC",
            "missing": "nan",
        },
        # Each is near `names`, `dtype` or `kind`, and a word of its own.
        {"kind": "array", "shape": [4], "name": "iris", "type": "float", "kinds": 3},
    ],
)
def test_a_key_of_the_owner_is_ignored(document: dict[Any, Any]) -> None:
    assert config(input=document).model.input == ArrayInput((4,))


def test_an_unknown_kind_of_output_stays() -> None:
    described = config(output={"kind": "embedding", "shape": [3]}).model.output
    assert described == EstimatorOutput(kind="embedding", shape=(3,))


def test_a_signature_accepts_a_form_or_a_document() -> None:
    form, rows = ArrayInput((2,), "float32", ("a", "b")), [{"b": 2, "a": 1}]
    for described in (form, as_document(form)):
        inputs = Signature(described).inputs(rows)
        assert inputs.dtype == np.float32 and inputs.tolist() == [[1, 2]]
    with pytest.raises(ConfigError, match="model.input.kind must be .*, it is missing"):
        Signature({"shape": [2]})
    assert Signature({}).inputs([[1, 2]]).tolist() == [[1, 2]]
    with pytest.raises(TypeError, match="needs config.model.input, it got 3"):
        Signature(3)  # type: ignore[arg-type]


def test_outputs_written_by_hand_need_no_kind() -> None:
    output = read_output({"outputs": [{"name": "a", "shape": [1]}, {"name": "b", "shape": [2]}]})
    assert isinstance(output, TensorsOutput)
    assert [part.name for part in output.outputs] == ["a", "b"]
