"""ONNX models: a scaffold answers what ONNX Runtime gives, whatever a graph takes and returns."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import generator
from common.config import Config
from generator import ModelError, ServingError, SettingError
from generator.hooks import by_name
from support.packages.late import imported_late, require
from support.servers import v2_client
from support.servers.unrendered import ask_v2

require("onnx", "onnx and onnxruntime are only installed on Python 3.11 and later")
onnx, onnxruntime = imported_late("onnx"), imported_late("onnxruntime")

HOOK = by_name("onnx")
RNG = np.random.default_rng(0)
ROWS, WEIGHTS = RNG.normal(size=(6, 5)), RNG.normal(size=(5, 7)).astype(np.float32)
OPSETS = (("", 20), ("ai.onnx.ml", 3))


def value(name: str, kind: str, shape: Any) -> Any:
    return onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape)


def graph(nodes: Any, inputs: Any, outputs: Any, domain: str = "", **constants: Any) -> Any:
    """A ModelProto of nodes: (operator, names of inputs, names of outputs, attributes)."""
    made = onnx.helper.make_graph(
        [
            onnx.helper.make_node(operator, taken, given, domain=domain, **attributes)
            for operator, taken, given, attributes in nodes
        ],
        "graph",
        [value(*each) for each in inputs],
        [each if hasattr(each, "type") else value(*each) for each in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [onnx.helper.make_opsetid(*each) for each in (*OPSETS, *[(domain, 1)] * bool(domain))]
    return onnx.helper.make_model(made, opset_imports=opsets, ir_version=10)


def product(**changes: Any) -> Any:
    """Rows of five times the weights."""
    return graph(
        [("MatMul", ["x", "w"], ["y"], {})],
        [("x", "FLOAT", ["n", 5])],
        [("y", "FLOAT", ["n", 7])],
        w=WEIGHTS,
    )


def relu(kind: str, shape: Any) -> Any:
    return graph([("Relu", ["x"], ["y"], {})], [("x", kind, shape)], [("y", kind, None)])


def expected(model: Any, **inputs: Any) -> list[Any]:
    """What a session gives that knows nothing of scaffolds."""
    found: list[Any] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)
    return found


def is_same(answer: Any, array: Any) -> bool:
    """Whether an answer has the numbers of an array, to the last bit."""
    return bool(np.array_equal(np.array(answer, dtype=array.dtype), array))


def recorded(directory: Path) -> Any:
    """`model` of a scaffold's config.yaml."""
    return Config.read(directory / "config.yaml", {}).model


def asked(model: Any, sample: Any, tmp_path: Path, monkeypatch: Any, rows: Any = None) -> Any:
    """The metadata and the answer of V2, without a scaffold."""
    session = HOOK.unwrapped(model)
    HOOK.check(session)
    return ask_v2("onnx", session, sample, tmp_path, monkeypatch, rows)


def data(answer: Any) -> dict[str, Any]:
    return {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}


# ---- a scaffold ----


def test_a_scaffold_answers_as_the_session_does(tmp_path: Path) -> None:
    model = product()
    with closing(generator.from_model(model, tmp_path / "net", sample_input=ROWS)) as scaffold:
        answer = scaffold.predict(ROWS)["predictions"]
        assert is_same(answer, expected(model, x=ROWS.astype(np.float32))[0])
        with pytest.raises(ServingError, match="the model takes 5 values a row, this one has 2"):
            scaffold.predict([[1, 2]])
    facts = recorded(scaffold.directory)
    assert (facts.file, facts.rows_independent, facts.settings) == ("model.onnx", True, None)
    assert (facts.input.shape, facts.input.dtype) == ((5,), "float32")
    assert (facts.output.shape, facts.output.dtype) == ((7,), "float32")
    assert "onnxruntime==" in (tmp_path / "net" / "requirements.txt").read_text()


def test_v2_of_several_inputs_and_outputs(tmp_path: Path, monkeypatch: Any) -> None:
    model = graph(
        [("Add", ["a", "b"], ["sum"], {}), ("Identity", ["text"], ["same"], {})],
        [("a", "FLOAT", ["n", 2]), ("b", "DOUBLE", ["n", 2]), ("text", "STRING", ["n"])],
        [("sum", "DOUBLE", ["n", 2]), ("same", "STRING", ["n"])],
    )
    model.graph.node[0].input[0] = "wide"
    model.graph.node.insert(
        0, onnx.helper.make_node("Cast", ["a"], ["wide"], to=onnx.TensorProto.DOUBLE)
    )
    rows = [{"a": [1, 2], "b": [0.5, 0.25], "text": "é"}, {"a": [3, 4], "b": [0, 0], "text": ""}]
    metadata, answer = asked(model, None, tmp_path, monkeypatch, rows)
    assert metadata["platform"] == "onnx_onnxv1"
    assert [(each["name"], each["shape"]) for each in metadata["inputs"]] == [
        ("a", [-1, 2]),
        ("b", [-1, 2]),
        ("text", [-1]),
    ]
    assert data(answer) == {"sum": [1.5, 2.25, 3, 4], "same": ["é", ""]}


@pytest.mark.parametrize(
    "inputs, reason",
    [
        ([("x", "FLOAT", [4, 3])], "'x' takes 4 rows, no more and no fewer: export the model"),
        ([("x", "FLOAT", ["n", 3]), ("s", "FLOAT", [])], "'s' is a scalar, the same for all rows"),
        ([("x", "BFLOAT16", ["n", 3])], "'x' is a tensor of BFLOAT16, which has no form"),
        ([], "the graph has no inputs"),
    ],
)
def test_what_cannot_be_rows_is_refused(inputs: Any, reason: str, tmp_path: Path) -> None:
    constants = {} if inputs else {"x": WEIGHTS}
    kind = inputs[0][1] if inputs else "FLOAT"
    nodes = [("Identity", ["x"], ["y"], {})]
    model = graph(nodes, inputs, [("y", kind, None)], **constants)
    with pytest.raises(ModelError, match=reason):
        generator.from_model(model, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_operators_of_other_libraries_are_refused_by_name(tmp_path: Path) -> None:
    nodes = [("Foo", ["x"], ["y"], {})]
    model = graph(nodes, [("x", "FLOAT", ["n"])], [("y", "FLOAT", ["n"])], domain="my.ops")
    with pytest.raises(ModelError, match=r"my\.ops:Foo.* no libraries of others"):
        generator.from_model(model, tmp_path / "refused")


def test_what_the_file_needs_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "net.onnx"
    onnx.save_model(product(), file, save_as_external_data=True, location="w", size_threshold=0)
    with pytest.raises(ModelError, match="files that were not loaded: load it with onnx.load"):
        generator.from_model(onnx.load(file, load_external_data=False), tmp_path / "refused")
    monkeypatch.chdir(tmp_path)  # ONNX Runtime finds the weights of bytes there
    session = onnxruntime.InferenceSession(file.read_bytes())
    with pytest.raises(ModelError, match="made of bytes, and the weights are in files"):
        generator.from_model(session, tmp_path / "refused")
    session = onnxruntime.InferenceSession(file)
    file.unlink()
    with pytest.raises(ModelError, match="which is not there any more"):
        generator.from_model(session, tmp_path / "refused")
    with pytest.raises(SettingError, match="format 'export' is none of onnx's"):
        generator.from_model(product(), tmp_path / "refused", format="export")


# ---- rows ----


@pytest.mark.sweep
def test_rows_that_are_taken_one_at_a_time(tmp_path: Path, monkeypatch: Any) -> None:
    _, answer = asked(
        relu("FLOAT", [1, 2]), None, tmp_path, monkeypatch, [[1, -2], [-3, 4], [5, 6]]
    )
    assert data(answer) == {"predictions": [1, 0, 0, 4, 5, 6]}


@pytest.mark.sweep
def test_an_output_that_is_not_one_entry_a_row(tmp_path: Path, monkeypatch: Any) -> None:
    model = graph(
        [("ReduceMean", ["x"], ["mean"], {"keepdims": 0}), ("Relu", ["x"], ["y"], {})],
        [("x", "FLOAT", ["n", 2])],
        [("mean", "FLOAT", []), ("y", "FLOAT", ["n", 2])],
    )
    _, answer = asked(model, None, tmp_path, monkeypatch, [[1, -2], [3, 5]])
    assert data(answer) == {"mean": [-0.5, 4], "y": [1, 0, 3, 5]}


@pytest.mark.sweep
@pytest.mark.parametrize("kind", ["INT8", "INT32", "INT64", "UINT8", "UINT64", "BOOL", "FLOAT16"])
def test_dtypes(kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    model = graph(
        [("Identity", ["x"], ["y"], {})], [("x", kind, ["n", 2])], [("y", kind, ["n", 2])]
    )
    session = HOOK.unwrapped(model)
    described = HOOK.describe(session, None)
    assert described.input.dtype == described.output.dtype == kind.lower()
    assert described.doubt is None and described.example is not None
    rows = np.array([[0, 1]]).astype(described.input.dtype)
    assert HOOK.predict(session, rows).dtype == rows.dtype


@pytest.mark.sweep
def test_whole_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = graph(
        [("Gather", ["w", "x"], ["y"], {})],
        [("x", "INT32", ["n", "length"])],
        [("y", "FLOAT", None)],
        w=WEIGHTS,
    )
    with closing(generator.from_model(model, tmp_path / "ids", sample_input=[[1, 2]])) as scaffold:
        answer = scaffold.predict([[4], [0]])["predictions"]
        assert is_same(answer, WEIGHTS[[[4], [0]]])
        for rows, reason in [
            ([[2**40]], "tensor.int64.*expected.*int32"),
            ([[1.5]], "tensor.double.*expected.*int32"),
            ([[5]], "idx=5 must be within the inclusive range"),
            ([[None]], "null, which int32 does not have"),
        ]:
            with pytest.raises(ServingError, match=f"400.*{reason}"):
                scaffold.predict(rows)
    with pytest.raises(SettingError, match="sample_input must hold values of int32"):
        generator.from_model(model, tmp_path / "refused", sample_input=[[1.5]])


@pytest.mark.sweep
def test_a_sample_of_other_inputs_is_refused(tmp_path: Path) -> None:
    model = graph(
        [("Add", ["a", "b"], ["y"], {})],
        [("a", "FLOAT", ["n", 2]), ("b", "FLOAT", ["n", 2])],
        [("y", "FLOAT", ["n", 2])],
    )
    with pytest.raises(SettingError, match="must have the inputs 'a', 'b'.*it is ndarray"):
        generator.from_model(model, tmp_path / "refused", sample_input=np.ones((3, 2)))
    with pytest.raises(SettingError, match="must have the inputs 'a', 'b'.*it is 'a'"):
        generator.from_model(model, tmp_path / "refused", sample_input={"a": np.ones((3, 2))})
    with pytest.raises(SettingError, match="same number of rows"):
        sample = {"a": np.ones((3, 2)), "b": np.ones((2, 2))}
        generator.from_model(model, tmp_path / "refused", sample_input=sample)


@pytest.mark.sweep
def test_sequences_and_inputs_with_a_default(tmp_path: Path, monkeypatch: Any) -> None:
    sequence = onnx.helper.make_tensor_sequence_value_info("s", onnx.TensorProto.FLOAT, None)
    nodes = [("Mul", ["x", "w"], ["z"], {}), ("SplitToSequence", ["z"], ["s"], {"axis": 0})]
    shapes = [("x", "FLOAT", ["n", 2]), ("w", "FLOAT", [2])]
    model = graph(nodes, shapes, [sequence], w=np.float32([1, 10]))
    session = HOOK.unwrapped(model)
    assert HOOK.describe(session, None).input.shape == (2,)
    made = HOOK.predict(session, [[1, 2], [3, 4]])
    assert [each.tolist() for each in made] == [[[1, 20]], [[3, 40]]]


# ---- models of skl2onnx ----


@pytest.fixture(scope="module")
def table() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(
        {"age": np.float32([1, 5, 3, 8, 2, 9]), "city": ["a", "b", "a", "b", "c", "c"]}
    )


@pytest.mark.sweep
@pytest.mark.parametrize("labels", [[0, 1, 0, 1, 2, 2], ["no", "yes", "no", "yes", "é", "é"]])
def test_a_table_and_a_map_of_probabilities(table: Any, labels: Any, tmp_path: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer((OneHotEncoder(), ["city"]), (StandardScaler(), ["age"]))
    pipeline = make_pipeline(columns, LogisticRegression()).fit(table, labels)
    model = skl2onnx.to_onnx(pipeline, table[:1])
    with closing(generator.from_model(model, tmp_path / "cities", sample_input=table)) as scaffold:
        assert scaffold.verify(table)
        found, maps = expected(
            model, age=table[["age"]].to_numpy(), city=table[["city"]].to_numpy(dtype=object)
        )
        answer = scaffold.predict([{"age": 5, "city": "b"}, {"age": [2], "city": ["c"]}])
        assert [row["output_label"] for row in answer["predictions"]] == [found[1], found[4]]
        said = answer["predictions"][0]["output_probability"]
        assert said == {str(key): pytest.approx(share, 1e-6) for key, share in maps[1].items()}
        with pytest.raises(ServingError, match="'city' of instances.* must be a string"):
            scaffold.predict([{"age": 5, "city": 3}])


@pytest.mark.sweep
def test_trees_run_on_one_thread(tmp_path: Path) -> None:
    """More threads add up the trees of one row in another order."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(100, random_state=0).fit(ROWS, ROWS[:, 0] ** 2)
    model = skl2onnx.to_onnx(forest, ROWS[:1].astype(np.float32))
    with closing(generator.from_model(model, tmp_path / "trees", sample_input=ROWS)) as scaffold:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        [made] = session.run(None, {"X": ROWS.astype(np.float32)})
        assert is_same(scaffold.predict(ROWS)["predictions"], made)
    assert recorded(scaffold.directory).settings == {"threads": 1}


# ---- files ----


@pytest.mark.sweep
def test_weights_in_files_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    onnx.save_model(product(), file, save_as_external_data=True, location="w", size_threshold=0)
    session = onnxruntime.InferenceSession(file)
    with closing(generator.from_model(session, tmp_path / "net", sample_input=ROWS)) as scaffold:
        assert recorded(scaffold.directory).file == "model"
        kept = scaffold.directory / "src" / "model" / "model"
        assert {path.name for path in kept.iterdir()} == {"model.onnx", "w"}
        scaffold.replace_model(product(), sample_input=ROWS)
        assert recorded(scaffold.directory).file == "model.onnx" and not kept.exists()
        assert scaffold.verify()


@pytest.mark.sweep
@pytest.mark.usefixtures("much_memory")
def test_weights_over_2_gb(tmp_path: Path) -> None:
    size, kind = 70_000_000, onnx.TensorProto
    tensor = kind(name="w", data_type=kind.FLOAT, dims=[8, size], data_location=kind.EXTERNAL)
    parts = {"location": "w", "offset": "0", "length": str(32 * size)}
    for key, part in parts.items():
        tensor.external_data.add(key=key, value=part)
    model = graph(
        [("MatMul", ["x", "w"], ["y"], {}), ("ReduceMax", ["y", "one"], ["most"], {})],
        [("x", "FLOAT", ["n", 8])],
        [("most", "FLOAT", ["n", 1])],
        one=np.array([1]),
    )
    model.graph.initializer.append(tensor)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    np.ones((8, size), np.float32).tofile(tmp_path / "w")
    loaded = onnx.load(tmp_path / "net.onnx")
    (tmp_path / "w").unlink()
    with closing(
        generator.from_model(loaded, tmp_path / "large", sample_input=np.ones((2, 8)))
    ) as scaffold:
        assert recorded(scaffold.directory).file == "model"
        assert scaffold.predict([range(8)]) == {"predictions": [[28]]}
    assert len(loaded.graph.initializer[1].raw_data) == 32 * size, "the owner's model has changed"


@pytest.mark.sweep
def test_a_file_from_the_command_line(tmp_path: Path, capsys: Any) -> None:
    from generator.cli import main

    onnx.save(product(), tmp_path / "net.onnx")
    (tmp_path / "rows.json").write_text(json.dumps(ROWS.tolist()))
    arguments = ["new", str(tmp_path / "net.onnx"), str(tmp_path / "made")]
    main([*arguments, "--sample", str(tmp_path / "rows.json")])
    assert recorded(tmp_path / "made").file == "model.onnx"


# ---- over HTTP, and elsewhere ----


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory = tmp_path_factory.mktemp("onnx") / "net"
    with closing(generator.from_model(product(), directory, sample_input=ROWS)) as scaffold:
        yield scaffold


@pytest.mark.sweep
def test_over_http(served: Any) -> None:
    rows = ROWS[:2].tolist()
    [made] = expected(product(), x=np.float32(rows))
    with served.serve(port=0) as server, httpx.Client(timeout=30) as client:
        answer = client.post(server.predict_url, json={"instances": rows}).json()
        assert is_same(answer["predictions"], made)
        url = server.predict_url.replace("/v1/", "/v2/").replace(":predict", "")
        metadata = client.get(url).json()
        assert metadata["platform"] == "onnx_onnxv1"
        answer = client.post(f"{url}/infer", json=v2_client.request(metadata, rows)).json()
        v2_client.check(metadata, answer)
        assert is_same(data(answer)["predictions"], made.ravel())


@pytest.mark.sweep
def test_in_an_isolated_environment(served: Any) -> None:
    assert served.verify(ROWS, environment="isolated")
