"""SavedModels of TensorFlow's: a scaffold answers what their signature gives."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import generator
from common.config import Config
from common.model_file import digest
from generator import ModelError, ScaffoldError, ServingError, SettingError
from generator.cli import main
from generator.hooks import by_name, find
from support.packages.late import imported_late
from support.servers import v2_client
from support.servers.flows import ask
from support.servers.unrendered import ask_v2, flow_of

NO_TENSORFLOW = "tensorflow is only installed on Python 3.11 and later"
tf = imported_late("tensorflow", NO_TENSORFLOW)

HOOK = by_name("tensorflow")
RNG = np.random.default_rng(0)
ROWS, WEIGHTS = (RNG.normal(size=size).astype(np.float32) for size in ((6, 4), (4, 3)))
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def module(function: Any, **parts: Any) -> Any:
    """A tf.Module that computes `function`."""
    made = tf.Module()
    for name, part in parts.items():
        setattr(made, name, part)
    made.f = tf.function(function)
    return made


def saved(place: Path, made: Any, *specs: Any) -> Path:
    """The directory of a SavedModel, whose signature takes tensors of these specs."""
    signature = made.f.get_concrete_function(*specs)
    tf.saved_model.save(made, str(place), signatures=signature)
    return place


def spec(shape: Any, dtype: str = "float32", name: str = "x") -> Any:
    return tf.TensorSpec(shape, dtype, name)


def product(place: Path) -> Path:
    """Rows of four times the weights, and how large the city is that a table knows."""
    weights = tf.Variable(WEIGHTS)
    cities = tf.lookup.KeyValueTensorInitializer(["Graz", "Linz"], [3.0, 2.0])
    table = tf.lookup.StaticHashTable(cities, 0.0)

    def function(x: Any, city: Any) -> Any:
        return {"y": x @ weights + table.lookup(city)[:, None], "city": city}

    made = module(function, weights=weights, table=table)
    return saved(place, made, spec([None, 4]), spec([None], "string", "city"))


def loaded(place: Path, function: Any, *specs: Any) -> Any:
    return tf.saved_model.load(str(saved(place, module(function), *specs)))


def asked(model: Any, rows: Any, directory: Path, monkeypatch: Any, sample: Any = None) -> Any:
    """The predictions for rows, without a scaffold; the message where they are refused."""
    HOOK.check(model)
    directory.mkdir()
    _, flow = flow_of("tensorflow", model, sample, directory, monkeypatch)
    [(_, answer)] = ask(None, {"instances": rows}, flow=flow)
    return answer.get("predictions", answer.get("error"))


def recorded(directory: Path) -> Any:
    """`model` of a scaffold's config.yaml."""
    return Config.read(directory / "config.yaml", {}).model


# ---- a scaffold ----


def test_a_directory_is_served_by_its_signature(tmp_path: Path) -> None:
    source = product(tmp_path / "saved")
    with pytest.raises(SettingError, match="runs the code in it: pass trust=True"):
        generator.from_file(source, tmp_path / "net")
    expected = tf.saved_model.load(str(source)).signatures["serving_default"](
        x=ROWS[:2], city=tf.constant(["Graz", "Wien"])
    )
    rows = [
        {"x": x.tolist(), "city": city} for x, city in zip(ROWS, ("Graz", "Wien"), strict=False)
    ]
    with closing(generator.from_file(source, tmp_path / "net", trust=True)) as scaffold:
        shutil.move(source, tmp_path / "moved")
        answer = scaffold.predict(rows)["predictions"]
        assert np.array_equal(np.float32([row["y"] for row in answer]), expected["y"].numpy())
        assert [row["city"] for row in answer] == ["Graz", "Wien"]
        with pytest.raises(ServingError, match="the model takes 4 values a row, this one has 2"):
            scaffold.predict([{"x": [1, 2], "city": "Graz"}])
    facts = recorded(scaffold.directory)
    assert (facts.file, facts.input.names) == ("model", ("city", "x"))
    place = scaffold.directory / "src" / "model" / "model"
    assert digest(place) == digest(tmp_path / "moved") == facts.sha256
    assert "\ntensorflow" in (tmp_path / "net" / "requirements.txt").read_text()


@pytest.mark.sweep
def test_in_memory_over_http_and_elsewhere(tmp_path: Path) -> None:
    model = tf.saved_model.load(str(product(tmp_path / "saved")))
    model.weights.assign(2 * WEIGHTS)  # as training would
    shutil.rmtree(tmp_path / "saved")
    sample = {"x": ROWS, "city": ["Graz", "Linz", "é", "", "Graz", "Graz"]}
    made = generator.from_model(model, tmp_path / "net", sample_input=sample)
    rows = [{"x": x.tolist(), "city": "é"} for x in ROWS[:2]]
    with closing(made) as scaffold, scaffold.serve(port=0) as server, httpx.Client() as client:
        assert scaffold.verify()
        answer = client.post(server.predict_url, json={"instances": rows}).json()["predictions"]
        np.testing.assert_allclose([row["y"] for row in answer], ROWS[:2] @ WEIGHTS * 2, rtol=1e-5)
        url = server.predict_url.replace("/v1/", "/v2/").replace(":predict", "")
        metadata = client.get(url).json()
        assert metadata["platform"] == "tensorflow_savedmodel"
        answer = client.post(f"{url}/infer", json=v2_client.request(metadata, rows)).json()
        v2_client.check(metadata, answer)
        assert scaffold.verify(environment="isolated")
        assert recorded(scaffold.directory).rows_independent


@pytest.mark.sweep
def test_from_the_command_line_and_replaced(tmp_path: Path) -> None:
    source, place = product(tmp_path / "saved"), tmp_path / "net"
    (source / "notes.txt").write_text("no part of the model")
    assert main(["new", str(source / "saved_model.pb"), str(place), "--trust-file"]) == 0
    assert not (place / "src" / "model" / "model" / "notes.txt").exists()
    made = module(lambda x, city: {"y": x, "city": city})
    other = saved(tmp_path / "other", made, spec([None, 4]), spec([None], "string", "city"))
    with closing(generator.load(place)) as scaffold:
        before = recorded(place).sha256
        scaffold.replace_model(tf.saved_model.load(str(other)))
        assert recorded(place).sha256 != before
        answer = scaffold.predict([{"x": [1, 2, 3, 4], "city": "Graz"}])
        assert answer["predictions"] == [{"city": "Graz", "y": [1, 2, 3, 4]}]


# ---- what is refused ----


@pytest.mark.sweep
def test_a_module_without_a_signature_is_told_how_to_get_one(tmp_path: Path) -> None:
    how = r"save it with tf\.saved_model\.save\(module, PATH, signatures=module\.f\.get_concrete"
    with pytest.raises(ModelError, match=f"model is a tf.Module without a signature: {how}"):
        find(tf.Module())
    place = tmp_path / "none"
    tf.saved_model.save(tf.Module(), str(place))
    with pytest.raises(ModelError, match=f"the SavedModel has no signature: {how}"):
        generator.from_file(place, tmp_path / "refused", trust=True)
    assert find(Predicts()).name == "custom"


class Predicts:
    def predict(self, rows: Any) -> Any:
        return rows


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("function", "specs", "reason"),
    [
        (abs, lambda: [spec([8, 3])], "input 'x' takes 8 rows, no more and no fewer: save the sig"),
        (lambda x, k: x * k, lambda: [spec([None]), spec([], name="k")], "input 'k' is a scalar"),
        (lambda x: 1.0, lambda: [spec([], "resource")], "input 'x' is a tensor of resource, which"),
        (lambda x: 1.0, lambda: [spec([None], "qint8")], "input 'x' is a tensor of qint8, which"),
        (lambda: 1.0, lambda: [], "the signature has no inputs"),
        (
            lambda x, r: x + tf.reduce_sum(r, 1),
            lambda: [spec([None]), tf.RaggedTensorSpec([None, None])],
            "input 'r' is a RaggedTensor, which has no form in a request",
        ),
        (
            lambda s: tf.sparse.reduce_sum(s, 1),
            lambda: [tf.SparseTensorSpec([None, 4])],
            "input 's' is a SparseTensor, which",
        ),
        (
            lambda x: {"r": tf.RaggedTensor.from_tensor(x)},
            lambda: [spec([None, 2])],
            "output 'r' is a RaggedTensor, which has no form in an answer",
        ),
        (
            lambda x: tf.py_function(abs, [x], tf.float32),
            lambda: [spec([None])],
            "the signature calls Python",
        ),
    ],
)
def test_what_cannot_be_rows_is_refused_by_name(
    function: Any, specs: Any, reason: str, tmp_path: Path
) -> None:
    source = saved(tmp_path / "saved", module(function), *specs())
    with pytest.raises(ModelError, match=f"^the signature.*{reason}|^{reason}"):
        generator.from_file(source, tmp_path / "refused", trust=True)
    assert not (tmp_path / "refused").exists()


@pytest.mark.sweep
def test_several_signatures(tmp_path: Path) -> None:
    made = module(abs)
    traced = made.f.get_concrete_function(spec([None, 2]))
    for signatures in (["one"], ["one", "serving_default"], ["one", "two"]):
        place = str(tmp_path / "-".join(signatures))
        tf.saved_model.save(made, place, signatures=dict.fromkeys(signatures, traced))
        model = tf.saved_model.load(place)
        if "two" not in signatures:
            HOOK.check(model)
            continue
        with pytest.raises(ModelError, match="the signatures 'one', 'two', and none of them is"):
            HOOK.check(model)


@pytest.mark.sweep
def test_what_is_no_model(tmp_path: Path) -> None:
    for name in ("weights", "graph"):
        product(tmp_path / name)
    shutil.rmtree(tmp_path / "weights" / "variables")
    (tmp_path / "graph" / "saved_model.pb").write_bytes(b"no")
    for name, reason in [("weights", "FileNotFoundError"), ("graph", "Cannot parse file")]:
        with pytest.raises(ScaffoldError, match=f"that tensorflow can load: .*{reason}"):
            generator.from_file(tmp_path / name, tmp_path / "refused", trust=True)


# ---- rows and outputs ----


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("bool", True),
        ("uint8", 255),
        ("int64", -(2**60)),
        ("uint64", 2**64 - 1),
        ("float16", 0.5),
        ("bfloat16", 0.5),
        ("float64", 0.1),
        ("complex64", [1.0, 2.0]),
        ("string", "é\0"),
    ],
)
def test_dtypes(dtype: str, value: Any, tmp_path: Path, monkeypatch: Any) -> None:
    model = loaded(tmp_path / "saved", tf.identity, spec([None], dtype))
    described = HOOK.describe(model, None)
    assert described.input.dtype == described.output.dtype == dtype and described.doubt is None
    assert asked(model, [value], tmp_path / "flow", monkeypatch) == [value]


@pytest.mark.sweep
def test_v2(tmp_path: Path, monkeypatch: Any) -> None:
    model = loaded(
        tmp_path / "saved",
        lambda a, text: {"twice": 2 * a, "text": text},
        spec([None, 2], name="a"),
        spec([None], "string", "text"),
    )
    rows = [{"a": [1, 2], "text": "é"}, {"a": [3, 4], "text": ""}]
    (tmp_path / "flow").mkdir()
    metadata, answer = ask_v2("tensorflow", model, None, tmp_path / "flow", monkeypatch, rows)
    assert [(each["name"], each["shape"]) for each in metadata["inputs"]] == [
        ("a", [-1, 2]),
        ("text", [-1]),
    ]
    found = {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}
    assert found == {"twice": [2, 4, 6, 8], "text": ["é", ""]}


@pytest.mark.sweep
def test_one_row_at_a_time_where_the_signature_takes_one(tmp_path: Path, monkeypatch: Any) -> None:
    """The graph itself would take two rows: TensorFlow does not check a signature's shapes."""

    def function(x: Any) -> Any:
        return {"sum": tf.reduce_sum(x), "pairs": tf.reshape(x, [-1, 2, 2])}

    model = loaded(tmp_path / "saved", function, spec([1, 4]))
    answer = asked(model, [[1, 2, 3, 4], [5, 6, 7, 8]], tmp_path / "flow", monkeypatch)
    assert answer == [
        {"sum": 10, "pairs": [[1, 2], [3, 4]]},
        {"sum": 26, "pairs": [[5, 6], [7, 8]]},
    ]


@pytest.mark.sweep
def test_what_the_graph_cannot_take_is_answered_400(tmp_path: Path, monkeypatch: Any) -> None:
    model = loaded(tmp_path / "ids", lambda x: tf.gather(WEIGHTS, x), spec([None], "int32"))
    answer = asked(model, [4], tmp_path / "four", monkeypatch)
    assert answer == "the model cannot take these instances: indices[0] = 4 is not in [0, 4)"
    for name, rows in [("large", [2**40]), ("half", [1.5])]:  # TensorFlow itself would cut them
        answer = asked(model, rows, tmp_path / name, monkeypatch)
        assert answer == "the model cannot take these instances: 'x' takes values of int32"
    switch = loaded(tmp_path / "switch", tf.identity, spec([None], "bool"))
    assert "takes values of bool" in asked(switch, [2], tmp_path / "two", monkeypatch)
    image = loaded(
        tmp_path / "image",
        lambda x: tf.map_fn(lambda file: tf.shape(tf.io.decode_png(file)), x, tf.int32),
        spec([None], "string"),
    )
    answer = asked(image, ["no image"], tmp_path / "flow", monkeypatch)
    assert "the model cannot take these instances: " in answer and "\n" not in answer


@pytest.mark.sweep
def test_an_unknown_number_of_axes(tmp_path: Path, monkeypatch: Any) -> None:
    model = loaded(tmp_path / "saved", tf.abs, spec(None, "int32"))
    assert asked(model, [[-1, 2], [3, -4]], tmp_path / "flow", monkeypatch) == [[1, 2], [3, 4]]


@pytest.mark.sweep
def test_a_sample_of_other_inputs_is_refused(tmp_path: Path) -> None:
    model = tf.saved_model.load(str(product(tmp_path / "saved")))
    with pytest.raises(SettingError, match="must have the inputs 'city', 'x'.*it is ndarray"):
        generator.from_model(model, tmp_path / "refused", sample_input=ROWS)
    with pytest.raises(SettingError, match="sample_input must hold texts for the input 'city'"):
        sample = {"x": ROWS, "city": [1] * len(ROWS)}
        generator.from_model(model, tmp_path / "refused", sample_input=sample)


# ---- where they come from ----


@pytest.mark.sweep
def test_a_file_in_assets(tmp_path: Path, monkeypatch: Any) -> None:
    words = tmp_path / "words.txt"
    words.write_text("good\nbad\n")
    index = tf.lookup.TextFileIndex
    initializer = tf.lookup.TextFileInitializer(
        str(words), tf.string, index.WHOLE_LINE, tf.int64, index.LINE_NUMBER
    )
    table = tf.lookup.StaticHashTable(initializer, -1)
    source = saved(
        tmp_path / "saved", module(lambda x: table.lookup(x), table=table), spec([None], "string")
    )
    words.unlink()
    for name, model in [("memory", tf.saved_model.load(str(source))), ("file", HOOK.read(source))]:
        answer = asked(model, ["bad", "ugly"], tmp_path / name, monkeypatch)
        assert answer == [1, -1]
        assert (tmp_path / name / "model" / "model" / "assets" / "words.txt").exists()


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore")
def test_tensorflow_1(tmp_path: Path, monkeypatch: Any) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], "x")
        weights = v1.get_variable("w", initializer=WEIGHTS)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "saved"), {"x": x}, {"y": x @ weights})
    for name, load in [("memory", tf.saved_model.load), ("file", HOOK.read)]:
        model = load(tmp_path / "saved")
        assert find(model) is HOOK
        answer = asked(model, ROWS[:2].tolist(), tmp_path / name, monkeypatch, ROWS)
        np.testing.assert_allclose(answer, ROWS[:2] @ WEIGHTS, rtol=1e-5)


@pytest.mark.sweep
def test_what_keras_exports(tmp_path: Path, monkeypatch: Any) -> None:
    keras = pytest.importorskip("keras")
    if keras.config.backend() != "tensorflow":
        pytest.skip("Keras exports a SavedModel of TensorFlow's")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.export(str(tmp_path / "saved"), verbose=False)
    found = HOOK.read(tmp_path / "saved")
    answer = asked(found, ROWS.tolist(), tmp_path / "flow", monkeypatch)
    np.testing.assert_allclose(answer, model.predict_on_batch(ROWS), rtol=1e-5, atol=1e-6)
