"""The models that the benchmarks serve, and rows for them."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

PACKAGES = {
    "sklearn": ("sklearn", "joblib"),
    "keras": ("keras", "tensorflow"),
    "pytorch": ("torch",),
}
IMAGE = (3, 96, 96)


@dataclass(frozen=True)
class Model:
    """A model that can be made where its framework is installed.

    Attributes:
        title: what tables call it.
        framework: as `config.yaml` names it.
        make: gives the model, ready to predict; imports the framework.
        inputs: so many rows as the model in memory takes them.
        sampled: whether its scaffold is made with a sample, without which it would not know a row's shape.
        needs: packages that it needs besides its framework's.
    """

    title: str
    framework: str
    make: Callable[[], Any]
    inputs: Callable[[int], Any]
    sampled: bool = False
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [
            name
            for name in (*PACKAGES[self.framework], *self.needs)
            if importlib.util.find_spec(name) is None
        ]

    @property
    def pins(self) -> list[str]:
        """Its framework as pip takes it, in the versions that are installed; whatever build of them can be had."""
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
    """The same over 64 features."""
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
    """A transformer for each kind of column, fitted on a DataFrame."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    people = passengers(500)
    columns = make_column_transformer(
        (StandardScaler(), ["age", "fare"]), (OneHotEncoder(), ["cabin"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(people, people["fare"] > people["age"])


def keras_mlp() -> Any:
    """Two layers, their weights as they were drawn: to predict takes no longer once they are trained."""
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
    """The same in PyTorch."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3), torch.nn.Softmax(dim=1)
    ).eval()


def cnn() -> Any:
    """Three layers over an image, and one over what they find."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[Any] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()


def irises(count: int) -> Any:
    """Flowers between the smallest and the largest of the data set, to one decimal as that is."""
    return (
        np.random.default_rng(0)
        .uniform((4.3, 2.0, 1.0, 0.1), (7.9, 4.4, 6.9, 2.5), (count, 4))
        .round(1)
    )


def pixels(count: int) -> Any:
    """Between 0 and 16, as the data set's."""
    return np.random.default_rng(0).integers(0, 17, (count, 64)).astype("float64")


def passengers(count: int) -> Any:
    import pandas

    random = np.random.default_rng(0)
    ages, fares = random.uniform(1, 80, count).round(), random.uniform(5, 120, count).round(2)
    return pandas.DataFrame(
        {"age": ages, "fare": fares, "cabin": random.choice(["first", "second", "third"], count)}
    )


def images(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, *IMAGE)).astype("float32") / 255


MODELS = {
    "logistic": Model("logistic regression", "sklearn", logistic_regression, irises),
    "digits": Model("logistic regression on 64 features", "sklearn", digits, pixels),
    "forest": Model("forest of 100 trees", "sklearn", forest, irises),
    "boosting": Model("gradient boosting", "sklearn", boosting, irises),
    "pipeline": Model("pipeline on columns", "sklearn", pipeline, passengers, needs=("pandas",)),
    "keras": Model("Keras MLP", "keras", keras_mlp, irises),
    "pytorch": Model("PyTorch MLP", "pytorch", pytorch_mlp, irises),
    "images": Model("CNN on 96x96x3", "pytorch", cnn, images, sampled=True),
}
