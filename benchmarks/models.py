"""The models that the benchmarks serve, and rows for them."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

PACKAGES = {
    "sklearn": ("sklearn", "joblib", "pandas"),
    "keras": ("keras", "tensorflow"),
    "pytorch": ("torch",),
}
IMAGE = (3, 96, 96)
NUMBERS = ["age", "fare", "distance", "weight", "bags", "delay"]
WORDS = {
    "cabin": ["first", "second", "third"],
    "gate": ["north", "east", "south", "west"],
    "ticket": ["paper", "phone"],
    "meal": ["none", "cold", "hot"],
}


@dataclass(frozen=True)
class Model:
    """A model that the benchmarks can make if its framework is installed.

    Attributes:
        title: the name in tables.
        framework: the framework's name in `config.yaml`.
        make: returns the model, ready to predict. It imports the framework.
        inputs: returns a number of rows as the model in memory takes them.
        sampled: whether its scaffold is made with a sample input.
        slow: whether a call takes so long that its servers need a longer warm-up. Ours checks the
            first calls that requests share.
    """

    title: str
    framework: str
    make: Callable[[], Any]
    inputs: Callable[[int], Any]
    sampled: bool = False
    slow: bool = False

    def sample(self) -> Any:
        """The sample input for its scaffold, or None."""
        if not self.sampled:
            return None
        return self.inputs(2)

    @property
    def missing(self) -> list[str]:
        """The packages that it needs but that are not installed."""
        return [name for name in PACKAGES[self.framework] if importlib.util.find_spec(name) is None]

    @property
    def pins(self) -> list[str]:
        """Requirements for the installed versions of its framework, without their build variant."""
        distributions = metadata.packages_distributions()
        names = [
            distributions[package][0].replace("_", "-") for package in PACKAGES[self.framework]
        ]
        return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names]


def logistic_regression() -> Any:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))


def digits() -> Any:
    """Logistic regression on 64 features."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=5000).fit(*load_digits(return_X_y=True))


def forest() -> Any:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, random_state=0).fit(*load_iris(return_X_y=True))


def boosting() -> Any:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(random_state=0).fit(*load_iris(return_X_y=True))


def pipeline() -> Any:
    """A forest behind a transformer for each kind of column. A call takes about 8 ms."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    people = passengers(500)
    columns = make_column_transformer((StandardScaler(), NUMBERS), (OneHotEncoder(), list(WORDS)))
    forest = RandomForestClassifier(n_estimators=100, random_state=0)
    return make_pipeline(columns, forest).fit(people, people["fare"] > people["age"])


def keras_mlp() -> Any:
    """Two layers, not trained: training would not change the time of a prediction."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(3, activation="softmax"),
    ]
    return keras.Sequential([keras.Input((4,)), *layers])


def pytorch_mlp() -> Any:
    """The network of `keras_mlp` in PyTorch."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3), torch.nn.Softmax(dim=1)
    ).eval()


def cnn() -> Any:
    """Three convolutions and a linear layer."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[Any] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()


def irises(count: int) -> Any:
    """Random rows of shape [count, 4] in the range of the iris data, with one decimal."""
    return (
        np.random.default_rng(0)
        .uniform((4.3, 2.0, 1.0, 0.1), (7.9, 4.4, 6.9, 2.5), (count, 4))
        .round(1)
    )


def pixels(count: int) -> Any:
    """Random rows of shape [count, 64] with integers from 0 to 16, like the digits data."""
    return np.random.default_rng(0).integers(0, 17, (count, 64)).astype("float64")


def passengers(count: int) -> Any:
    """A DataFrame of `count` random rows, with six columns of numbers and four of strings."""
    import pandas

    random = np.random.default_rng(0)
    numbers = {name: random.uniform(1, 80, count).round(1) for name in NUMBERS}
    words = {name: random.choice(choices, count) for name, choices in WORDS.items()}
    return pandas.DataFrame({**numbers, **words})


def images(count: int) -> Any:
    """Random images of shape [count, 3, 96, 96] with values from 0 to 1."""
    return np.random.default_rng(0).integers(0, 256, (count, *IMAGE)).astype("float32") / 255


MODELS = {
    "logistic": Model("logistic regression", "sklearn", logistic_regression, irises),
    "digits": Model("logistic regression on 64 features", "sklearn", digits, pixels),
    "forest": Model("forest of 100 trees", "sklearn", forest, irises),
    "boosting": Model("gradient boosting", "sklearn", boosting, irises),
    "pipeline": Model(
        "pipeline on 10 columns", "sklearn", pipeline, passengers, sampled=True, slow=True
    ),
    "keras": Model("Keras MLP", "keras", keras_mlp, irises),
    "pytorch": Model("PyTorch MLP", "pytorch", pytorch_mlp, irises),
    "images": Model("CNN on 96x96x3", "pytorch", cnn, images, sampled=True),
}
