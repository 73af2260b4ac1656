"""V2 bodies in the worker: tensors in JSON and as raw data, and bodies that are refused."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.bodies.v2 import v2_tensors
from common.bodies.v2.v2_codec import V2
from common.bodies.values import DecodeError
from common.errors import InvalidInput
from common.link.frames import V2_HEAD, Kind, Request, Response
from common.schema import ArrayInput, Column, JsonInput, TableInput
from common.worker.flow import Flow
from support.servers.flows import proved

LIMITS = {
    f"{sign}INT{bits}": np.iinfo(f"{sign.lower()}int{bits}")
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}


class Echo:
    """A model whose predictions are the instances."""

    def load(self) -> None:
        pass

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"predictions": request["instances"]}

    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
        return response


def body(head: dict[str, Any], raw: bytes = b"") -> bytes:
    packed = json.dumps(head).encode()
    return V2_HEAD.pack(len(packed) if raw else 0) + packed + raw


def tensor(datatype: str, shape: list[int], data: Any, **others: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": shape, "data": data, **others}


def instances(head: dict[str, Any], raw: bytes = b"") -> Any:
    request, _ = V2().decode(body(head, raw), "an-id")
    return request["instances"]


def answers(*bodies: bytes) -> list[Response]:
    frames = [Request(ident, Kind.V2, "an-id", content) for ident, content in enumerate(bodies, 1)]
    flow = Flow(Echo(), proved(256))
    answered = flow.answer([flow.open(frame) for frame in frames])
    return [response for responses, _ in answered for response in responses]


def parts(response: Response) -> tuple[dict[str, Any], bytes]:
    """The JSON and the raw data of a response."""
    (size,) = V2_HEAD.unpack_from(response.body)
    end = V2_HEAD.size + (size or len(response.body))
    return json.loads(response.body[V2_HEAD.size : end]), response.body[end:]


@pytest.mark.parametrize("datatype", LIMITS)
def test_integers_are_taken_within_the_limits_of_their_type(datatype: str) -> None:
    low, high = int(LIMITS[datatype].min), int(LIMITS[datatype].max)
    taken = instances({"inputs": [tensor(datatype, [2, 2], [[low, high], [0, 1]])]})
    assert taken.dtype.name == datatype.lower() and taken.tolist() == [[low, high], [0, 1]]
    for value in (low - 1, high + 1, 0.5, None, "1"):
        with pytest.raises(DecodeError, match="tensor 'x'.*data"):
            instances({"inputs": [tensor(datatype, [1, 2], [1, value])]})


@pytest.mark.parametrize("parameter", ["shared_memory_region", "classification"])
def test_a_parameter_that_would_change_where_the_data_is_is_refused(parameter: str) -> None:
    given = {"parameters": {parameter: 1}}
    with pytest.raises(DecodeError, match=f"inputs: .*'x': the parameter {parameter} is not"):
        instances({"inputs": [tensor("FP32", [1], [1], **given)]})
    asked = {"outputs": [{"name": "predictions", **given}]}
    with pytest.raises(DecodeError, match=f"outputs: .*: the parameter {parameter} is not"):
        instances({"inputs": [tensor("FP32", [1, 1], [1])], **asked})


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_numbers_and_null_become_floats(datatype: str) -> None:
    taken = instances({"inputs": [tensor(datatype, [1, 3], [[1, 0.5, None]])]})
    assert taken.dtype.name == datatype.lower().replace("fp", "float") and np.isnan(taken[0, 2])
    assert np.isnan(instances({"inputs": [tensor(datatype, [1, 1], [None])]})).all()
    for value in ("1", {}, [1]):
        with pytest.raises(DecodeError, match="tensor 'x'.*data"):
            instances({"inputs": [tensor(datatype, [1, 2], [1, value])]})


def test_booleans_and_strings() -> None:
    assert instances({"inputs": [tensor("BOOL", [2], [True, False])]}).dtype == bool
    assert instances({"inputs": [tensor("BYTES", [2, 1], [["a"], ["é"]])]}) == [["a"], ["é"]]
    with pytest.raises(DecodeError, match="must hold true or false for BOOL"):
        instances({"inputs": [tensor("BOOL", [2], [1, 0])]})
    with pytest.raises(DecodeError, match="must hold strings or null for BYTES, it holds the num"):
        instances({"inputs": [tensor("BYTES", [2], ["a", 1])]})


def test_texts_of_json_become_values_where_the_model_takes_values() -> None:
    texts = ['{"a": 1}', "[2]", '"b"', "null"]
    values = [{"a": 1}, [2], "b", None]
    sent = body({"inputs": [tensor("BYTES", [4], texts)]})
    assert V2("m", JsonInput()).decode(sent, "a")[0]["instances"] == values
    table = TableInput((Column("x", "object"),))
    assert V2("m", table).decode(sent, "a")[0]["instances"] == [{"x": value} for value in values]


@pytest.mark.parametrize(
    "name", ["bool", "int8", "uint16", "int32", "uint64", "float16", "float32", "float64"]
)
def test_raw_data_is_returned_unchanged(name: str) -> None:
    array = np.arange(6).astype(name).reshape(3, 2)
    datatype = name.replace("float", "fp").upper()
    described = {
        "name": "x",
        "datatype": datatype,
        "shape": [3, 2],
        "parameters": {"binary_data_size": array.nbytes},
    }
    head = {"inputs": [described], "parameters": {"binary_data_output": True}}
    [answer] = answers(body(head, array.tobytes()))
    document, raw = parts(answer)
    assert (answer.status, answer.kind, document["id"]) == (200, Kind.V2, "an-id")
    [output] = document["outputs"]
    assert (output["datatype"], output["shape"], output["parameters"]) == (
        datatype,
        [3, 2],
        {"binary_data_size": array.nbytes},
    )
    assert raw == array.tobytes()


def test_raw_strings_are_returned_unchanged() -> None:
    raw = b"\x01\0\0\0a\x02\0\0\0\xc3\xa9\0\0\0\0"
    described = {
        "name": "x",
        "datatype": "BYTES",
        "shape": [3],
        "parameters": {"binary_data_size": len(raw)},
    }
    asked = [{"name": "predictions", "parameters": {"binary_data": True}}]
    [answer] = answers(body({"inputs": [described], "outputs": asked}, raw))
    assert parts(answer)[1] == raw


def test_requests_in_a_batch_keep_their_ids() -> None:
    heads = [
        {"id": name, "inputs": [tensor("FP64", [1, 1], [number])]}
        for number, name in enumerate("ab")
    ]
    documents = [parts(answer)[0] for answer in answers(*map(body, heads))]
    assert [(document["id"], document["outputs"][0]["data"]) for document in documents] == [
        ("a", [0.0]),
        ("b", [1.0]),
    ]


def test_parameters_become_keys_of_the_request() -> None:
    head = {
        "inputs": [tensor("FP64", [1], [1])],
        "parameters": {"probabilities": True, "binary_data_output": False},
    }
    request, _ = V2().decode(body(head), "")
    assert request.keys() == {"probabilities", "instances"}


def test_nan_is_encoded_as_null() -> None:
    [answer] = answers(body({"inputs": [tensor("FP32", [2], [1.5, None])]}))
    assert parts(answer)[0]["outputs"][0]["data"] == [1.5, None]


def test_a_missing_text_is_null_in_json() -> None:
    """It comes in as it leaves. Raw data has no form for it."""
    [answer] = answers(body({"inputs": [tensor("BYTES", [3], ["a", None, "None"])]}))
    assert parts(answer)[0]["outputs"][0]["data"] == ["a", None, "None"]
    asked = [{"name": "predictions", "parameters": {"binary_data": True}}]
    head = {"inputs": [tensor("BYTES", [2], ["a", None])], "outputs": asked}
    [answer] = answers(body(head))
    assert parts(answer)[1] == b"\x01\0\0\0a\x04\0\0\0null"


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (["a", None, float("nan"), pd.NA, pd.NaT], ["a", None, None, None, None]),
        ([True, "x"], ["true", "x"]),
        ([{"a": [1, None]}, 1.5], ['{"a":[1,null]}', "1.5"]),
    ],
)
def test_what_is_no_text_is_as_json_has_it(value: list[Any], texts: list[str | None]) -> None:
    array = np.empty(len(value), object)
    array[:] = value
    assert v2_tensors.tensor(array).tolist() == texts


def test_fp16_is_refused_in_json() -> None:
    described = {
        "name": "x",
        "datatype": "FP16",
        "shape": [1],
        "parameters": {"binary_data_size": 2},
    }
    [answer] = answers(body({"inputs": [described]}, b"\0\0"))
    assert answer.status == 400 and b"binary_data" in answer.body


@pytest.mark.parametrize(
    ("head", "raw", "message"),
    [
        ({"inputs": [tensor("FP64", [2**40, 0], [])]}, b"", "too large"),
        (
            {"inputs": [tensor("FP64", [-1], [1])]},
            b"",
            "shape: must hold integers that are not negative, it holds the number -1",
        ),
        ({"inputs": [tensor("FP64", [1] * 40, [1])]}, b"", "at most 32 dimensions, it has 40"),
        (
            {"inputs": [tensor("FP64", [1], [1])]},
            b"more",
            "4 bytes of raw data belong to no tensor",
        ),
        (
            {"inputs": [tensor("BYTES", [1], None, parameters={"binary_data_size": 4})]},
            b"\xff\0\0\0",
            "longer than",
        ),
        (
            {"inputs": [tensor("BYTES", [1], None, parameters={"binary_data_size": 3})]},
            b"\0\0\0",
            "longer than",
        ),
        (
            {"inputs": [tensor("BOOL", [1], None, parameters={"binary_data_size": 1})]},
            b"\2",
            "must be 0 or 1",
        ),
        (
            {"inputs": [tensor("FP64", [1], [1])], "id": 3},
            b"",
            "id: must be a string, it is the number 3",
        ),
        (
            {"inputs": [tensor("FP64", [1], [1])], "parameters": 3},
            b"",
            "parameters: must be an object, it is the number 3",
        ),
        (
            {"inputs": [{"datatype": "FP64", "shape": [1], "data": [1]}]},
            b"",
            "a name must be a string, it is null",
        ),
        (
            {"inputs": [tensor("FP64", [1], [1]), tensor("FP64", [1], [1])]},
            b"",
            "inputs: two objects have the name 'x': rename one",
        ),
        ({"inputs": [[1]]}, b"", "inputs: must hold objects only, it holds a list"),
        ({"inputs": {}}, b"", "inputs: must be a list of objects, it is an object"),
        ({"inputs": [tensor("INT8", [1], [128])]}, b"", "INT8 holds -128 to 127, 128 is outside"),
        ({"inputs": [tensor("INT8", [1], ["a"])]}, b"", "data: must hold integers for INT8"),
        ({"inputs": [tensor("FP64", [2], [1])]}, b"", "must have 2 elements for the shape .2., it"),
    ],
)
def test_a_body_that_is_refused_gets_the_reason(
    head: dict[str, Any], raw: bytes, message: str
) -> None:
    with pytest.raises(DecodeError, match=message):
        V2().decode(body(head, raw), "")


def test_an_unknown_output_is_named() -> None:
    _, encode = V2().decode(
        body({"inputs": [tensor("FP64", [1], [1])], "outputs": [{"name": "nope"}]}), ""
    )
    with pytest.raises(InvalidInput, match="'nope' is unknown, the outputs are 'predictions'"):
        encode({"predictions": [1]})


# As MLServer's PandasCodec sends a DataFrame: mlserver/codecs/pandas.py, `encode_request`.
COLUMNS = [
    {"name": "a", "shape": [2, 1], "datatype": "INT64", "data": [2**53 + 1, 2]},
    {
        "name": "b",
        "shape": [2, 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "str"},
        "data": ["x", "y"],
    },
    {
        "name": "c",
        "shape": [2, 1],
        "datatype": "BYTES",
        "parameters": {"content_type": "pd_json"},
        "data": ['"z"', "[1]"],
    },
    {
        "name": "d",
        "shape": [2],
        "datatype": "FP64",
        "parameters": {"content_type": "np"},
        "data": [0.5, None],
    },
]


def test_columns_of_a_model_without_names_are_taken_in_their_order() -> None:
    head = {"parameters": {"content_type": "pd"}, "inputs": COLUMNS}
    request, _ = V2("model", ArrayInput((4,), "object")).decode(body(head), "an-id")
    first, second = request["instances"]
    assert first == [2**53 + 1, "x", "z", 0.5] and second[:3] == [2, "y", [1]]
    swapped = {**head, "inputs": COLUMNS[::-1]}
    request, _ = V2("model", ArrayInput((4,), "object")).decode(body(swapped), "an-id")
    assert request["instances"][0] == first[::-1]


def test_one_column_of_a_model_without_names_may_be_flat() -> None:
    for shape in ([2], [2, 1]):
        head = {"inputs": [{"name": "a", "shape": shape, "datatype": "FP64", "data": [1, 2]}]}
        request, _ = V2("model", ArrayInput((1,), "float64")).decode(body(head), "an-id")
        assert request["instances"].tolist() == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([COLUMNS[0], {**COLUMNS[3], "shape": [1], "data": [1]}], "the same number of rows"),
        ([COLUMNS[0], {**COLUMNS[3], "shape": [1, 2]}], "must have shape"),
        ([COLUMNS[0], {**COLUMNS[2], "data": ["{", "1"]}], "must be JSON"),
    ],
)
def test_columns_that_form_no_rows(columns: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        V2("model", ArrayInput((2,), "float64")).decode(body({"inputs": columns}), "an-id")


HUGE = 2**40


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([HUGE], f"must have {HUGE} elements for the shape .{HUGE}., it has 1"),
        ([HUGE, HUGE], "must have"),
        ([2**63 - 1] * 32, "must have"),
        ([HUGE, 0], "must have 0 elements"),
        ([-1], "integers that are not negative, it holds the number -1"),
        ([-1, -1], "integers that are not negative"),
        ([2**64], "integers that are not negative, it holds the number 1.8"),
        ([1e300], "integers that are not negative"),
        ([True], "integers that are not negative, it holds true"),
        (["1"], "integers that are not negative, it holds the string '1'"),
        ([[1]], "integers that are not negative, it holds a list of 1"),
        ([1] * 33, "at most 32 dimensions, it has 33"),
        ([1] * 100_000, "at most 32 dimensions, it has 100000"),
        (None, "must be a list of integers, it is null"),
    ],
)
@pytest.mark.parametrize("datatype", ["FP64", "BYTES"])
def test_odd_shapes_are_refused(shape: Any, message: str, datatype: str) -> None:
    data = 1.5 if datatype == "FP64" else "a"
    for values in ([data], [[data]]):
        with pytest.raises(DecodeError, match=message):
            instances({"inputs": [tensor(datatype, shape, values)]})
    raw = b"\0" * 8
    described = tensor(datatype, shape, None, parameters={"binary_data_size": 8})
    with pytest.raises(DecodeError):
        instances({"inputs": [described]}, raw)


def test_more_elements_than_the_shape_has_are_refused() -> None:
    described = tensor("BYTES", [3], None, parameters={"binary_data_size": 16})
    assert instances({"inputs": [{**described, "shape": [4]}]}, b"\0" * 16) == [""] * 4
    with pytest.raises(DecodeError, match="must have 3 elements, as the shape says, it has more"):
        instances({"inputs": [described]}, b"\0" * 16)
    with pytest.raises(DecodeError, match="must have 3 elements for the shape .3., it has 4"):
        instances({"inputs": [tensor("FP64", [3], [1, 2, 3, 4])]})
    assert instances({"inputs": [tensor("FP64", [2, 0], [[], []])]}).shape == (2, 0)


def test_names_of_tensors_are_cut_in_messages() -> None:
    name = "x" * 10_000
    for inputs in (
        [{"name": name, "datatype": "FP64", "shape": [1], "data": [1]}] * 2,
        [{"name": name, "datatype": "FP64", "shape": [2], "data": [1]}],
    ):
        with pytest.raises(DecodeError) as refusal:
            instances({"inputs": inputs})
        assert "'xxx" in str(refusal.value) and len(str(refusal.value)) < 200
    head = {"inputs": [tensor("FP64", [1], [1])], "outputs": [{"name": name}]}
    [refused] = answers(body(head))
    assert refused.status == 400 and len(refused.body) < 200


def test_too_many_tensors_are_refused() -> None:
    with pytest.raises(DecodeError, match="inputs: must hold at most 65536 objects"):
        instances({"inputs": [{}] * 65_537})


@pytest.mark.parametrize("given", ["x" * 100_000, "é\u2028<script>", "a\nb\0"])
def test_any_id_comes_back(given: str) -> None:
    [answer] = answers(body({"id": given, "inputs": [tensor("FP64", [1], [1])]}))
    head, _ = parts(answer)
    assert answer.status == 200 and head["id"] == given


def test_a_lone_surrogate_in_an_id_is_refused() -> None:
    [answer] = answers(body({"id": "\ud800", "inputs": [tensor("FP64", [1], [1])]}))
    assert answer.status == 400 and b"the body is not JSON" in answer.body
