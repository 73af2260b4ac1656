"""One model of each kind that `from_model` takes, or refuses, with rows and its other arguments."""

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from support.models.objects import Encoder, Sums, scaled, waiting
from support.models.tiny_texts import SIZE, TEXTS, bert, gpt2, sentences, tokenizer, vit

rng = np.random.default_rng(0)
ROWS = rng.normal(size=(60, 4))
FLOATS = ROWS.astype("float32")
CLASSES = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 0)
NUMBERS = ROWS @ [1.0, -2.0, 0.5, 0.0] + 1
TABLE = pd.DataFrame({"size": ROWS[:, 0], "city": np.where(ROWS[:, 1] > 0, "Graz", "Linz")})
SAMPLE = 4  # rows


@dataclass(frozen=True)
class Made:
    """What `from_model` is called with.

    Attributes:
        model: the model.
        sample: its `sample_input`.
        settings: its other arguments.
        has_json_tensors: whether V2 has a form for its rows in JSON; it has none for bytes.
    """

    model: Any
    sample: Any
    settings: dict[str, Any] = field(default_factory=dict)
    has_json_tensors: bool = True


Kind = Callable[[], Made]
KINDS: dict[str, Kind] = {}
REFUSED: dict[str, Kind] = {}
SAID: dict[str, str] = {}  # of those that are refused, a part of the reason


def kind(name: str, among: dict[str, Kind] = KINDS) -> Callable[[Kind], Kind]:
    def add(make: Kind) -> Kind:
        among[name] = make
        return make

    return add


def refused(name: str, said: str) -> Callable[[Kind], Kind]:
    SAID[name] = said
    return kind(name, REFUSED)


def _fitted(model: Any, **settings: Any) -> Made:
    return Made(model.fit(ROWS, CLASSES), ROWS[:SAMPLE], settings)


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


@kind("scikit-learn: classifier")
def _classifier() -> Made:
    return _fitted(_logistic())


@kind("scikit-learn: forest")
def _forest() -> Made:
    from sklearn.ensemble import RandomForestRegressor

    return _fitted(RandomForestRegressor(20, random_state=0))


@kind("scikit-learn: texts")
def _texts() -> Made:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(), _logistic()).fit(TEXTS, range(len(TEXTS)))
    return Made(model, TEXTS)


@kind("scikit-learn: DataFrame")
def _table() -> Made:
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    return Made(make_pipeline(columns, _logistic()).fit(TABLE, CLASSES), TABLE.head())


@kind("scikit-learn: transformer")
def _transformer() -> Made:
    from sklearn.decomposition import PCA

    return _fitted(PCA(2))


@kind("scikit-learn: neighbours")
def _neighbours() -> Made:
    from sklearn.neighbors import NearestNeighbors

    return _fitted(NearestNeighbors(n_neighbors=3), parameters=["n_neighbors"])


@kind("scikit-learn: density")
def _density() -> Made:
    from sklearn.neighbors import KernelDensity

    return _fitted(KernelDensity())


@kind("scikit-learn: several methods")
def _methods() -> Made:
    return _fitted(_logistic(), method=["predict", "predict_proba"])


@kind("scikit-learn: ONNX Runtime")
def _compiled() -> Made:
    return _fitted(_logistic(), engine="onnx")


@kind("scikit-learn: skops")
def _skops() -> Made:
    return _fitted(_logistic(), format="skops")


@kind("XGBoost: classifier")
def _xgboost() -> Made:
    import xgboost

    return _fitted(xgboost.XGBClassifier(n_estimators=5))


@kind("XGBoost: Booster")
def _xgboost_booster() -> Made:
    import xgboost

    rows = xgboost.DMatrix(ROWS, NUMBERS)
    return Made(xgboost.train({}, rows, num_boost_round=5), ROWS[:SAMPLE])


@kind("LightGBM: classifier")
def _lightgbm() -> Made:
    import lightgbm

    return _fitted(lightgbm.LGBMClassifier(n_estimators=5, verbose=-1))


@kind("LightGBM: Booster")
def _lightgbm_booster() -> Made:
    import lightgbm

    data = lightgbm.Dataset(ROWS, NUMBERS)
    return Made(lightgbm.train({"verbose": -1}, data, num_boost_round=5), ROWS[:SAMPLE])


@kind("CatBoost: classifier")
def _catboost() -> Made:
    import catboost

    return _fitted(catboost.CatBoostClassifier(5, verbose=0, allow_writing_files=False))


@kind("CatBoost: regressor")
def _catboost_regressor() -> Made:
    import catboost

    model = catboost.CatBoostRegressor(iterations=5, verbose=0, allow_writing_files=False)
    return Made(model.fit(ROWS, NUMBERS), ROWS[:SAMPLE])


@kind("Keras: Sequential")
def _keras() -> Made:
    import keras

    keras.utils.set_random_seed(0)
    return Made(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]), FLOATS[:SAMPLE])


@kind("Keras: several inputs")
def _keras_inputs() -> Made:
    import keras

    keras.utils.set_random_seed(0)
    left, right = keras.Input((2,), name="left"), keras.Input((2,), name="right")
    joined = keras.layers.Concatenate()([left, right])
    model = keras.Model({"left": left, "right": right}, keras.layers.Dense(1)(joined))
    return Made(model, {"left": FLOATS[:SAMPLE, :2], "right": FLOATS[:SAMPLE, 2:]})


def _module() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))


@kind("PyTorch: module")
def _pytorch() -> Made:
    return Made(_module(), FLOATS[:SAMPLE])


@kind("PyTorch: TorchScript")
def _script() -> Made:
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        return Made(torch.jit.script(_module()), FLOATS[:SAMPLE])


@kind("PyTorch: exported program")
def _exported() -> Made:
    return Made(_module(), FLOATS[:SAMPLE], {"format": "export"})


@kind("PyTorch: safetensors")
def _safetensors() -> Made:
    import torch

    return Made(torch.nn.Linear(4, 3), FLOATS[:SAMPLE], {"format": "safetensors"})


def _piped(task: str, model: Any, **settings: Any) -> Any:
    import transformers

    return transformers.pipeline(task, model=model, tokenizer=tokenizer(), **settings)


@kind("transformers: texts")
def _text_classifier() -> Made:
    return Made(_piped("text-classification", bert("BertForSequenceClassification")), TEXTS)


@kind("transformers: tokens")
def _token_classifier() -> Made:
    return Made(_piped("token-classification", bert("BertForTokenClassification")), TEXTS)


@kind("transformers: generation")
def _writer() -> Made:
    model = _piped("text-generation", gpt2(), max_new_tokens=3, do_sample=False)
    return Made(model, TEXTS, {"parameters": ["max_new_tokens"]})


@kind("transformers: images")
def _images() -> Made:
    import io

    import transformers
    from PIL import Image

    processor = transformers.ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    model = transformers.pipeline("image-classification", model=vit(), image_processor=processor)
    file = io.BytesIO()
    Image.new("RGB", (SIZE, SIZE), "red").save(file, "PNG")
    return Made(model, [file.getvalue()], has_json_tensors=False)


@kind("Sentence Transformers")
def _sentences() -> Made:
    with tempfile.TemporaryDirectory() as directory:
        return Made(sentences(Path(directory)), TEXTS[:1])


@kind("spaCy")
def _spacy() -> Made:
    import spacy

    model = spacy.blank("en")
    model.add_pipe("entity_ruler").add_patterns([{"label": "ANIMAL", "pattern": "cat"}])
    return Made(model, ["a good cat", "none"])


@kind("ONNX")
def _onnx() -> Made:
    from skl2onnx import to_onnx

    return Made(to_onnx(_logistic().fit(FLOATS, CLASSES), FLOATS[:1]), FLOATS[:SAMPLE])


@kind("TensorFlow: SavedModel")
def _saved_model() -> Made:
    return Made(_loaded("x"), FLOATS[:SAMPLE])


@kind("TensorFlow: several inputs")
def _saved_model_inputs() -> Made:
    return Made(_loaded("a", "b"), {"a": FLOATS[:SAMPLE], "b": FLOATS[SAMPLE : 2 * SAMPLE]})


def _loaded(*inputs: str) -> Any:
    """A SavedModel, saved and loaded, that multiplies the sum of its inputs."""
    import tensorflow as tf

    module = tf.Module()
    module.weights = tf.Variable(tf.random.stateless_normal((4, 3), (0, 0)))
    module.f = tf.function(lambda **parts: {"y": tf.add_n(list(parts.values())) @ module.weights})
    specs = {name: tf.TensorSpec([None, 4], name=name) for name in inputs}
    with tempfile.TemporaryDirectory() as directory:
        signature = module.f.get_concrete_function(**specs)
        tf.saved_model.save(module, directory, signatures=signature)
        return tf.saved_model.load(directory)


@kind("JAX and Flax: function")
def _jax() -> Made:
    import jax
    import jax.numpy as jnp

    weights = jax.random.normal(jax.random.key(0), (4, 3))
    return Made(functools.partial(_times, {"weights": weights, "bias": jnp.ones(3)}), FLOATS)


def _times(parameters: Any, rows: Any) -> Any:
    return rows @ parameters["weights"] + parameters["bias"]


@kind("JAX and Flax: nnx")
def _nnx() -> Made:
    from flax import nnx

    return Made(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), FLOATS[:SAMPLE])


@kind("statsmodels: arrays")
def _least_squares() -> Made:
    import statsmodels.api as sm

    return Made(sm.OLS(NUMBERS, ROWS).fit(), ROWS[:SAMPLE])


@kind("statsmodels: formula")
def _formula() -> Made:
    import statsmodels.formula.api as smf

    return Made(smf.ols("y ~ size + city", TABLE.assign(y=NUMBERS)).fit(), TABLE.head())


@kind("a function")
def _function() -> Made:
    return Made(functools.partial(scaled, by=2.0), ROWS[:SAMPLE], {"parameters": ["by"]})


@kind("an object with a predict")
def _object() -> Made:
    return Made(Sums(), ROWS[:SAMPLE].tolist())


@kind("a method of an object")
def _method() -> Made:
    return Made(Encoder(), TEXTS, {"method": "encode"})


@refused("a class instead of its instance", "is a class, not a model")
def _class() -> Made:
    return Made(Sums, ROWS[:SAMPLE])


@refused("a path", "load the model and pass the object itself")
def _path() -> Made:
    return Made("model.joblib", ROWS[:SAMPLE])


@refused("an async function", "waiting is async and returns no predictions")
def _async() -> Made:
    return Made(waiting, ROWS[:SAMPLE])


@refused("an object that cannot be pickled", "model.source: cannot pickle 'generator' object")
def _open_file() -> Made:
    model = Sums()
    model.source = (number for number in ROWS)  # type: ignore[attr-defined]
    return Made(model, ROWS[:SAMPLE])


@refused("scikit-learn: not fitted", "is not fitted: call fit")
def _unfitted() -> Made:
    return Made(_logistic(), ROWS[:SAMPLE])


@refused("scikit-learn: clusters of its own rows alone", "name the method that answers")
def _clusters() -> Made:
    from sklearn.cluster import DBSCAN

    return _fitted(DBSCAN())


@refused("XGBoost: a DMatrix", "whose framework is not known")
def _matrix() -> Made:
    import xgboost

    return Made(xgboost.DMatrix(ROWS), ROWS[:SAMPLE])


@refused("PyTorch: a state_dict", "call its load_state_dict()")
def _state() -> Made:
    return Made(_module().state_dict(), FLOATS[:SAMPLE])


@refused("Keras: not built", "is not built")
def _unbuilt() -> Made:
    import keras

    return Made(keras.Sequential([keras.layers.Dense(3)]), FLOATS[:SAMPLE])


@refused("transformers: a pipeline for sounds", "'automatic-speech-recognition' is not known here")
def _sounds() -> Made:
    model = _piped("text-classification", bert("BertForSequenceClassification"))
    model.task = "automatic-speech-recognition"
    return Made(model, TEXTS)


@refused("transformers: texts drawn at random", "pass do_sample=False")
def _drawing() -> Made:
    return Made(_piped("text-generation", gpt2(), do_sample=True), TEXTS)


@refused("spaCy: a document", "whose framework is not known")
def _document() -> Made:
    import spacy

    return Made(spacy.blank("en")("a good cat"), ["a good cat"])


@refused("statsmodels: not fitted", "pass the results that its fit() returns")
def _unfitted_squares() -> Made:
    import statsmodels.api as sm

    return Made(sm.OLS(NUMBERS, ROWS), ROWS[:SAMPLE])


@refused("statsmodels: forecasts, which take no rows", "predicts no rows")
def _forecasts() -> Made:
    import statsmodels.api as sm

    return Made(sm.tsa.ARIMA(NUMBERS, order=(1, 0, 0)).fit(), ROWS[:SAMPLE])
