"""Keras: the scaffold of each kind of model gives the predictions of the model in memory."""

import base64
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

import generator
from common import Config, InvalidInput
from generator.errors import ModelError, RequirementError, SettingError
from generator.hooks import by_name
from generator.scaffold import Scaffold
from support.models import scripts
from support.packages.late import imported_late
from support.servers.unrendered import ask_v2

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
keras, tf, layers = map(imported_late, ("keras", "tensorflow", "keras.layers"))

# Keras 3.15 causes it with numpy 2.4.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
LAYERS = '''
import keras


class Doubled(keras.layers.Layer):
    """Not registered with Keras."""

    def call(self, inputs):
        return inputs * 2


@keras.saving.register_keras_serializable(package="layerware")
class Shifted(keras.layers.Layer):
    def __init__(self, by=1.0, **kwargs):
        super().__init__(**kwargs)
        self.by = by

    def call(self, inputs):
        return inputs + self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


def bent(inputs):
    return keras.ops.where(inputs > 0, inputs, inputs / 3)


class Net(keras.Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = keras.layers.Dense(units, activation=bent)
        self.doubled = Doubled()
        self.shifted = Shifted(by=0.5)
        self.last = keras.layers.Dense(2)

    def call(self, inputs):
        return self.last(self.shifted(self.doubled(self.hidden(inputs))))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Lengths(keras.Model):
    def call(self, texts):
        import tensorflow as tf

        return tf.strings.length(texts)
'''


OWN = """
import keras


class Halved(keras.layers.Layer):
    def call(self, inputs):
        return inputs / 2
"""
LARGE = """
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import numpy as np

import generator

COUNT, SIZE = 1 << 17, 1 << 12 | 1 << 6
# 2.2 GB. Random weights would take five times as much memory.
wide = keras.layers.Embedding(COUNT, SIZE, embeddings_initializer="zeros")
model = keras.Sequential([keras.Input((2,), dtype="int32"), wide])
rows = np.array([[3, COUNT - 1]])
numbers = np.random.default_rng(0).normal(size=(2, SIZE)).astype("float32")
wide.embeddings.value.scatter_nd_update(rows.T, numbers)
np.savez("predicted.npz", rows=rows, predictions=numbers[None])
generator.from_model(model, "made")
"""


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Import TensorFlow before a test reads standard error, to which it writes meanwhile."""
    assert keras.Model and tf.constant and layers.Layer


@pytest.fixture(scope="module")
def layerware(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An installed distribution with its own layers, importable here and in workers."""
    site = tmp_path_factory.mktemp("environment") / "site-packages"
    info = "layerware-1.2.dist-info"
    files = {
        "layerware.py": LAYERS,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: layerware\nVersion: 1.2\n\n",
        f"{info}/RECORD": f"layerware.py,,\n{info}/METADATA,,\n",
    }
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("PYTHONPATH", str(site))
        import layerware

        yield layerware
    del sys.modules["layerware"]


@pytest.fixture
def inference_model(make: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function from a model to its scaffold's InferenceModel, in this process, not yet loaded.

    This is faster than a worker.
    """

    def made(model: Any) -> Any:
        source = make(model).directory / "src"
        monkeypatch.chdir(source)
        spec = importlib.util.spec_from_file_location(
            "inference_model", source / "server" / "inference_model.py"
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.InferenceModel(Config.read(source.parent / "config.yaml", {}))

    return made


@pytest.fixture
def served(inference_model: Any) -> Any:
    """A function from a model and rows to the predictions of its scaffold, in this process."""

    def answer(model: Any, rows: Any) -> Any:
        loaded = inference_model(model)
        loaded.load()
        return answered(loaded, rows)

    return answer


def answered(loaded: Any, rows: Any) -> Any:
    return loaded.postprocess(loaded.predict(loaded.preprocess({"instances": rows})))["predictions"]


def numbers(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def facts(scaffold: Scaffold) -> dict[str, Any]:
    """`model` of a scaffold's config.yaml."""
    document = yaml.safe_load((scaffold.directory / "config.yaml").read_text())
    return dict(document["model_metadata"]["model"])


def pins(scaffold: Scaffold) -> list[str]:
    text = (scaffold.directory / "requirements.txt").read_text()
    return [line.partition("  #")[0].replace("_", "-") for line in text.splitlines()]


def sequential() -> Any:
    model = keras.Sequential(
        [layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")]
    )
    model(numbers(2, 5))
    return model


# ---- what is served ----


def test_sequential_over_http(make: Any, capfd: pytest.CaptureFixture[str]) -> None:
    model, x = sequential(), numbers(7, 5)
    scaffold = make(model)
    with scaffold.serve(port=0) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        answer = client.post("/v1/models/model:predict", json={"instances": x.tolist()})
        refused = client.post("/v1/models/model:predict", json={"instances": [[1, 2]]})
        metadata = client.get("/v2/models/model").json()
    served = np.array(answer.json()["predictions"])
    np.testing.assert_allclose(served, model.predict(x, verbose=0), rtol=1e-6)
    assert refused.status_code == 400
    assert refused.json() == {
        "error": "instances[0]: the model takes 5 values a row, this one has 2"
    }
    assert metadata["inputs"] == [{"name": "instances", "datatype": "FP32", "shape": [-1, 5]}]
    log = [
        line
        for line in capfd.readouterr().err.splitlines()
        if not line.startswith("making the server")
    ]
    assert all(line.startswith("{") and json.loads(line)["level"] == "INFO" for line in log), log


def test_config_and_pins(make: Any) -> None:
    scaffold = make(sequential())
    found = facts(scaffold)
    assert (found["file"], found["backend"], found["custom_objects"]) == (
        "model.keras",
        "tensorflow",
        None,
    )
    assert found["input"] == {"kind": "array", "shape": [5], "dtype": "float32"}
    assert found["output"] == {"kind": "array", "shape": [3], "dtype": "float32"}
    assert found["example"] == [[0.0] * 5]
    assert (scaffold.directory / "keras-server.Dockerfile").is_file()
    assert scaffold.docker_build_string.endswith(f"keras-server.Dockerfile {scaffold.directory}")
    (distribution,) = set(packages_distributions()["tensorflow"])
    named = distribution.replace("_", "-")
    expected = {
        f"{named}=={version(named)}",
        f"keras=={version('keras')}",
        f"numpy=={np.__version__}",
    }
    assert expected <= set(pins(scaffold))


@pytest.mark.sweep
def test_two_inputs_two_outputs(make: Any) -> None:
    left, right = keras.Input((2,), name="left"), keras.Input((3, 2), name="right", dtype="int32")
    joined = layers.Concatenate()([left, layers.Flatten()(layers.Rescaling(0.5)(right))])
    model = keras.Model(
        [left, right], [layers.Dense(1, name="price")(joined), layers.Dense(2, name="size")(joined)]
    )
    x = {"left": numbers(4, 2), "right": np.arange(24, dtype="int32").reshape(4, 3, 2)}
    scaffold = make(model)
    price, size = model([x["left"], x["right"]], training=False)
    served = scaffold.predict(x)["predictions"]
    assert [list(row) for row in served] == [["price", "size"]] * 4
    np.testing.assert_allclose([row["price"] for row in served], price, rtol=1e-6)
    np.testing.assert_allclose([row["size"] for row in served], size, rtol=1e-6)
    assert scaffold.verify(x)
    with pytest.raises(
        generator.ServingError,
        match=r"instances\[0\] lacks 'right'; the model takes 'left', 'right'",
    ):
        scaffold.predict([{"left": [1, 2]}])


@pytest.mark.sweep
def test_subclassed_with_code_of_an_installed_package(make: Any, layerware: Any) -> None:
    model, x = layerware.Net(units=5), numbers(6, 3)
    model.compile(loss=lambda wanted, came: came - wanted, metrics=[layerware.bent])
    model(x)
    scaffold = make(model, sample_input=x)
    assert "layerware==1.2" in pins(scaffold)
    assert facts(scaffold)["custom_objects"] == {"Net": "layerware:Net"}
    recorded = json.loads((scaffold.directory / "smoke-test.json").read_text())
    np.testing.assert_allclose(
        recorded["response"]["predictions"], model.predict(x, verbose=0), rtol=1e-6
    )


def test_v2_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first output is as long as the input."""
    words, age = keras.Input((None,), dtype="int32", name="words"), keras.Input((1,), name="age")
    read = layers.Embedding(9, 4)(words)
    price = layers.Dense(1, name="price")(
        layers.Concatenate()([layers.GlobalMaxPooling1D()(read), age])
    )
    model = keras.Model([words, age], [layers.Dense(2, name="tags")(read), price])
    sample = {"words": np.arange(6, dtype="int32").reshape(2, 3), "age": numbers(2, 1)}
    metadata, _ = ask_v2("keras", model, sample, tmp_path, monkeypatch)
    assert metadata == {
        "name": "model",
        "platform": "keras",
        "inputs": [
            {"name": "words", "datatype": "INT32", "shape": [-1, -1]},
            {"name": "age", "datatype": "FP32", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "tags", "datatype": "FP32", "shape": [-1, -1, 2]},
            {"name": "price", "datatype": "FP32", "shape": [-1, 1]},
        ],
    }


@pytest.mark.sweep
def test_functional_of_custom_parts(served: Any, layerware: Any) -> None:
    rows = keras.Input((3,))
    hidden = layers.Dense(4, activation=layerware.bent)(layerware.Doubled()(rows))
    model = keras.Model(rows, layers.Lambda(lambda x: x + 1)(layerware.Shifted(by=2.0)(hidden)))
    assert generator.hooks.by_name("keras").facts(model)["custom_objects"] == {
        "Doubled": "layerware:Doubled",
        "bent": "layerware:bent",
        "layerware>Shifted": "layerware:Shifted",
    }
    x = numbers(5, 3)
    np.testing.assert_allclose(served(model, x.tolist()), model(x, training=False), rtol=1e-6)


@pytest.mark.sweep
def test_a_dict_of_inputs_and_of_outputs(served: Any) -> None:
    first, second = keras.Input((2,), name="b"), keras.Input((2,), name="a")
    model = keras.Model({"b": first, "a": second}, {"minus": layers.Subtract()([first, second])})
    assert served(model, [{"a": [1, 2], "b": [5, 4]}])[0]["minus"].tolist() == [4, 2]


# Keras builds the model with numbers, which it does not take.
@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:Model 'lengths' had a build config:UserWarning")
def test_a_subclassed_model_of_texts(served: Any, layerware: Any) -> None:
    model = layerware.Lengths()
    expected = model(tf.constant(["four", "a"]), training=False).numpy().tolist()
    assert served(model, ["four", "a"]).tolist() == expected == [4, 1]


@pytest.mark.sweep
def test_a_class_in_the_owners_file(
    make: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path_factory.mktemp("project")
    (project / "own_layers.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(project))
    own = importlib.import_module("own_layers")
    scaffold = make(keras.Sequential([keras.Input((2,)), own.Halved()]))
    assert (scaffold.directory / "src" / "model" / "own_layers.py").read_text() == OWN
    assert facts(scaffold)["custom_objects"] == {"Halved": "own_layers:Halved"}
    monkeypatch.undo()
    del sys.modules["own_layers"]
    assert scaffold.predict([[2, 4]]) == {"predictions": [[1, 2]]}


@pytest.mark.sweep
def test_lstm_takes_rows_of_any_length(make: Any) -> None:
    model = keras.Sequential(
        [keras.Input((None, 2)), layers.Masking(), layers.LSTM(4), layers.Dense(1)]
    )
    scaffold = make(model)
    for length in (1, 7):
        x = numbers(3, length, 2)
        assert scaffold.verify(x), scaffold.verify(x).difference


@pytest.mark.sweep
def test_texts(make: Any) -> None:
    vectorize = layers.TextVectorization(output_sequence_length=4)
    vectorize.adapt(["a good day", "a bad night", "é"])
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"), vectorize, layers.Embedding(20, 3), layers.Flatten()]
    )
    texts = ["a good night", "", "é bad"]
    expected = model(tf.constant([[text] for text in texts]), training=False).numpy().tolist()
    scaffold = make(model)
    assert facts(scaffold)["input"] == {"kind": "array", "shape": [1], "dtype": "string"}
    np.testing.assert_allclose(scaffold.predict(texts)["predictions"], expected, rtol=1e-6)
    np.testing.assert_allclose(
        scaffold.predict([[text] for text in texts])["predictions"], expected, rtol=1e-6
    )
    assert scaffold.verify(texts) and scaffold.verify(np.array([[text] for text in texts]))
    with pytest.raises(
        generator.ServingError,
        match=r"instances\[1\]\[0\] must be a string, or bytes .*, it is the number 3",
    ):
        scaffold.predict([["a"], [3]])


READER = """
import keras


class Decoded(keras.layers.Layer):
    def call(self, files):
        import tensorflow as tf

        decode = lambda file: tf.io.decode_png(file, channels=1)
        return tf.map_fn(decode, files[:, 0], fn_output_signature=tf.uint8)

    def compute_output_shape(self, shape):
        return (shape[0], None, None, 1)
"""


@pytest.mark.sweep
def test_images_are_bytes(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_images.py").write_text(READER)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = __import__("own_images")
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"), own.Decoded(), layers.GlobalMaxPooling2D()]
    )
    pixels = np.arange(12, dtype="uint8").reshape(2, 6, 1)
    file = tf.io.encode_png(pixels).numpy()
    sample = np.array([[file]], dtype=object)
    scaffold = make(model, sample_input=sample)
    assert scaffold.verify()
    sent = {"b64": base64.b64encode(file).decode()}
    for rows in ([sent], [[sent]], sample):
        assert scaffold.predict(rows) == {"predictions": [[11]]}
    del sys.modules["own_images"]


class Layers(keras.Model):  # type: ignore[misc, name-defined]
    """Declares no inputs."""

    def __init__(self, *parts: Any) -> None:
        super().__init__()
        self.parts = parts

    def call(self, rows: Any) -> Any:
        for part in self.parts:
            rows = part(rows)
        return rows


@pytest.mark.parametrize(
    ("parts", "sample", "shape"),
    [
        (
            [layers.Embedding(9, 3), layers.GlobalAveragePooling1D()],
            np.ones((2, 4), "int32"),
            (None,),
        ),
        ([layers.Embedding(9, 3), layers.Flatten(), layers.Dense(1)], np.ones((2, 4), int), (4,)),
        ([layers.Dense(3)], np.ones((2, 4)), (4,)),
    ],
    ids=["tokens", "fixed", "features"],
)
def test_lengths_that_may_vary_are_found(parts: Any, sample: Any, shape: Any) -> None:
    model = Layers(*parts)
    model(sample)
    described: Any = by_name("keras").describe(model, sample).input
    assert described.shape == shape


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (0, r"instances\[0\]\[1\] must be from 0 to 3, it is 9$"),
        (1, r"cannot take these instances: indices\[0,1\] = 10 is not in \[0, 4\)$"),
    ],
    ids=["of the input", "of what is made of it"],
)
def test_a_value_out_of_range_is_invalid_input(served: Any, more: int, message: str) -> None:
    ids = keras.Input((2,), dtype="int32")
    looked_up = ids + more if more else ids
    model = keras.Model(ids, layers.Embedding(4, 3)(looked_up))
    with pytest.raises(InvalidInput, match=message):
        served(model, [[0, 9]])


@pytest.mark.sweep
def test_the_graph_is_traced_once_for_all_row_counts_and_dtypes(
    inference_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = keras.Sequential([keras.Input((None, 2)), layers.LSTM(4), layers.Dense(1)])
    loaded, calls = inference_model(model), []
    call = loaded._call  # noqa: SLF001  the function that TensorFlow traces
    monkeypatch.setattr(loaded, "_call", lambda inputs: calls.append(inputs) or call(inputs))
    loaded.load()
    traced = len(calls)
    for count in range(1, 21):
        x = numbers(count, 1 + count % 3, 2)
        for rows in (
            x,
            x.tolist(),
            x.astype("float16"),
            x.astype("float64"),
            x.astype("int8"),
            x.astype("int64"),
        ):
            assert np.shape(answered(loaded, rows)) == (count, 1)
    assert len(calls) == traced == 1


# ---- what is found in a model ----


def part(name: str) -> type[Any]:
    """A class of layers."""
    methods = {"build": lambda self, shape: None, "call": lambda self, rows: rows}
    return type(name, (layers.Layer,), {**methods, "__module__": __name__})


def holder(name: str, **held: Any) -> Any:
    """A layer with other layers in its attributes."""
    made = part(name)()
    for attribute, value in held.items():
        setattr(made, attribute, value)
    return made


def nested(layer: Any) -> Any:
    """A model with a layer in a model in a wrapper."""
    inner = keras.Sequential([keras.Input((2,)), layer, layers.Dense(1)])
    rows = keras.Input((3, 2))
    return keras.Model(rows, layers.Flatten()(layers.TimeDistributed(inner)(rows)))


def test_layers_inside_of_layers_are_found() -> None:
    kinds = [part(f"Part{number}") for number in range(6)]
    a, b, c, d, e, f = (kind() for kind in kinds)
    inner = holder("Inner", e=e, f=f)
    held = holder("Outer", one=a, listed=[b, "no layer"], keyed={"c": [{"d": (d, c)}]}, inner=inner)
    model = nested(held)
    found = [named.value for named in by_name("keras").definitions(model)]
    assert {*kinds, type(inner), type(held), type(model), keras.Sequential} <= set(found)
    assert {layers.TimeDistributed, layers.Dense, layers.Flatten} <= set(found)
    assert len(found) == len(set(found))


def test_a_stateful_layer_is_refused_wherever_it_is(tmp_path: Path) -> None:
    model = nested(holder("Holder", cells=[{"lstm": layers.LSTM(2, stateful=True, name="memory")}]))
    assert "has the stateful layer 'memory'" in refusal(model, tmp_path)


# ---- the sweep ----

PACKAGE = {
    "__init__.py": "from .model import Pooled\n",
    "parts/__init__.py": "",
    "parts/attention.py": """
import keras

from ..settings import HEADS


class Attended(keras.layers.Layer):
    def __init__(self, size=4, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.attention = keras.layers.MultiHeadAttention(HEADS, size)
        self.norm = keras.layers.LayerNormalization()

    def build(self, shape):
        self.attention.build(shape, shape)
        self.norm.build(shape)

    def call(self, inputs):
        return self.norm(inputs + self.attention(inputs, inputs))

    def get_config(self):
        return {**super().get_config(), "size": self.size}
""",
    "settings.py": "HEADS = 2\n",
    "model.py": """
import keras

from .parts.attention import Attended


class Pooled(keras.Model):
    def __init__(self, size=4, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.attended = Attended(size)
        self.pool = keras.layers.GlobalAveragePooling1D()
        self.dropout = keras.layers.Dropout(0.5)
        self.heads = {"mood": keras.layers.Dense(3, "softmax"), "length": keras.layers.Dense(1)}

    def call(self, inputs, training=False):
        pooled = self.dropout(self.pool(self.attended(inputs)), training=training)
        return {name: head(pooled) for name, head in self.heads.items()}

    def get_config(self):
        return {**super().get_config(), "size": self.size}
""",
}


def same(scaffold: Scaffold, *samples: Any) -> None:
    """Check that each sample's predictions are those of the model in memory."""
    for sample in samples:
        assert (verification := scaffold.verify(sample)), verification.difference


@pytest.mark.sweep
def test_a_network_for_images(make: Any) -> None:
    model = keras.applications.MobileNetV3Small(
        weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.abs(numbers(5, 64, 64, 3)) * 100
    model.fit(
        x, np.arange(5), verbose=0
    )  # moves the batch statistics away from their initial values
    same(make(model), x, x[:1], x[1:3])


@pytest.mark.sweep
def test_a_classifier_of_texts(make: Any) -> None:
    texts = np.array(
        ["a good day", "a bad night", "é, how good!", "", "bad bad bad", "night and day"]
    )
    vectorize = layers.TextVectorization(max_tokens=50, ngrams=2, output_sequence_length=6)
    vectorize.adapt(texts)
    recurrent = layers.Bidirectional(layers.LSTM(5))
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="string"),
            vectorize,
            layers.Embedding(50, 4, mask_zero=True),
            recurrent,
            layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(loss="binary_crossentropy")
    model.fit(tf.constant(texts[:, None]), np.array([1, 0, 1, 0, 0, 1]), epochs=2, verbose=0)
    same(
        make(model, sample_input=texts),
        texts,
        texts[:1],
        np.array(["words that nobody knows", "GOOD"]),
    )


@pytest.mark.sweep
def test_recurrent_layers(make: Any) -> None:
    steps = [
        layers.Conv1D(6, 3, padding="same", activation="relu"),
        layers.LSTM(8, return_sequences=True),
    ]
    model = keras.Sequential(
        [keras.Input((12, 3)), *steps, layers.GRU(6, dropout=0.3), layers.Dense(2)]
    )
    x = numbers(9, 12, 3)
    model.compile(loss="mse")
    model.fit(x, numbers(9, 2), verbose=0)
    same(make(model, sample_input=x), x, x[:1], x[3:8])


@pytest.mark.sweep
def test_an_image_and_a_text_as_inputs_and_two_outputs(make: Any) -> None:
    image, title = (
        keras.Input((16, 16, 1), name="image"),
        keras.Input((1,), dtype="string", name="title"),
    )
    lookup = layers.StringLookup(vocabulary=["cat", "dog"])
    seen = layers.Flatten()(layers.MaxPooling2D()(layers.Conv2D(3, 3, activation="relu")(image)))
    read = layers.Flatten()(layers.Embedding(3, 4)(lookup(title)))
    both = layers.Concatenate()([seen, read])
    model = keras.Model(
        [image, title],
        [layers.Dense(2, "softmax", name="kind")(both), layers.Dense(1, name="age")(both)],
    )
    x = {"image": numbers(4, 16, 16, 1), "title": np.array([["cat"], ["dog"], ["cow"], ["cat"]])}
    one = {name: part[:1] for name, part in x.items()}
    same(make(model, sample_input=x), x, one)


@pytest.mark.sweep
def test_a_subclassed_model_in_the_owners_package(
    make: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path_factory.mktemp("project")
    for name, text in PACKAGE.items():
        (project / "own_net" / name).parent.mkdir(parents=True, exist_ok=True)
        (project / "own_net" / name).write_text(text)
    monkeypatch.syspath_prepend(str(project))
    model, x = importlib.import_module("own_net").Pooled(size=6), numbers(5, 7, 6)
    model.compile(loss={"mood": "sparse_categorical_crossentropy", "length": "mse"})
    model.fit(x, {"mood": np.array([0, 1, 2, 0, 1]), "length": numbers(5, 1)}, verbose=0)
    scaffold = make(model, sample_input=x)
    copied = scaffold.directory / "src" / "model" / "own_net"
    assert {path.relative_to(copied).as_posix() for path in copied.rglob("*.py")} == set(PACKAGE)
    monkeypatch.undo()
    same(scaffold, x, x[:1])
    for name in [name for name in sys.modules if name.startswith("own_net")]:
        del sys.modules[name]


@pytest.mark.sweep
@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_a_script_that_defines_its_model(tmp_path: Path, backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    made = scripts.run(tmp_path, scripts.KERAS_SUBCLASSED, KERAS_BACKEND=backend)
    assert facts(made.scaffold)["custom_objects"] == {"Net": "session_code:Net"}
    assert facts(made.scaffold)["backend"] == backend
    pinned = {pin.partition("==")[0].partition("-")[0] for pin in pins(made.scaffold)}
    assert pinned & {"tensorflow", "torch", "jax"} == {backend}
    with contextlib.closing(made.scaffold) as scaffold:
        served = scaffold.predict(made.rows)["predictions"]
    assert (verification := made.compare(served)), verification.difference


@pytest.mark.sweep
@pytest.mark.usefixtures("much_memory")
def test_weights_over_two_gigabytes(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs without psutil, as in an image. Keras asks psutil for the free memory."""
    site = tmp_path_factory.mktemp("site")
    (site / "psutil.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    made = scripts.run(tmp_path, LARGE)
    with contextlib.closing(made.scaffold) as scaffold:
        served = scaffold.predict(made.rows)["predictions"]
    np.testing.assert_array_equal(np.array(served, dtype="float32"), made.predictions)


# ---- what is refused ----


def refusal(model: Any, tmp_path: Path, **settings: Any) -> str:
    with pytest.raises((ModelError, RequirementError, SettingError)) as raised:
        generator.from_model(model, tmp_path / "refused", **settings)
    assert not (tmp_path / "refused").exists() and "\n" not in str(raised.value)
    return str(raised.value)


def test_unbuilt_models(tmp_path: Path) -> None:
    class Subclassed(keras.Model):
        pass

    for model in (keras.Sequential([layers.Dense(1)]), keras.Sequential(), Subclassed()):
        assert "is not built: build it, or call it once on rows like real ones" in refusal(
            model, tmp_path
        )


def test_values_that_are_not_models(tmp_path: Path) -> None:
    assert "Sequential is a class, not a model" in refusal(keras.Sequential, tmp_path)
    assert "model is the string 'net.keras', not a model: load the model" in refusal(
        "net.keras", tmp_path
    )
    assert "model is the path 'net.keras', not a model: load the model" in refusal(
        Path("net.keras"), tmp_path
    )


def test_a_class_that_cannot_be_imported(tmp_path: Path) -> None:
    class Local(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    message = refusal(keras.Sequential([keras.Input((2,)), Local()]), tmp_path)
    assert (
        "<locals>.Local is a dynamically made class" in message
        and "at the top level of a module" in message
    )


def test_two_classes_of_one_name(tmp_path: Path, layerware: Any) -> None:
    other = type(
        "Doubled",
        (keras.layers.Layer,),
        {"call": lambda self, inputs: inputs, "__module__": __name__},
    )
    model = keras.Sequential([keras.Input((2,)), layerware.Doubled(), other()])
    assert (
        "two things in the model are named 'Doubled': layerware.Doubled and test_keras.Doubled"
        in refusal(model, tmp_path)
    )


def test_a_stateful_layer(tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((3, 2), batch_size=1), layers.LSTM(2, stateful=True, name="memory")]
    )
    assert "has the stateful layer 'memory'" in refusal(model, tmp_path)


def test_a_sample_that_does_not_fit(tmp_path: Path) -> None:
    assert "the model cannot predict from sample_input" in refusal(
        sequential(), tmp_path, sample_input=numbers(2, 4)
    )


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
def test_a_layer_that_reads_a_file_of_this_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    saved.export("saved", verbose=False)
    place = str(tmp_path / "saved") if absolute else "saved"
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.TFSMLayer(place, call_endpoint="serve", name="old")(inputs))
    with pytest.raises(ModelError, match=rf"layer 'old' \(TFSMLayer\) reads {place} of this"):
        generator.from_model(model, tmp_path / "made")


def test_the_limit_of_ids_is_that_of_the_embedding_that_looks_them_up() -> None:
    ids, other, rest = (keras.Input((3,), name=name) for name in ("ids", "other", "rest"))
    parts = [layers.Embedding(20, 4)(ids), layers.Embedding(30, 4)(other), rest[:, :, None]]
    joined = layers.Concatenate()([layers.Flatten()(part) for part in parts])
    model = keras.Model([ids, other, rest], layers.Dense(1)(joined))
    described: Any = by_name("keras").describe(model, None).input
    assert [part.below for part in described.inputs] == [20, 30, None]
    single = keras.Sequential([layers.Embedding(7, 4), layers.GlobalAveragePooling1D()])
    single(np.zeros((1, 3)))
    assert by_name("keras").describe(single, None).input.below == 7  # type: ignore[union-attr]
