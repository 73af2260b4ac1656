"""The models that the benchmarks serve: each takes the four numbers of an iris."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

PACKAGES = {
    "sklearn": ("sklearn", "joblib"),
    "keras": ("keras", "tensorflow"),
    "pytorch": ("torch",),
}


@dataclass(frozen=True)
class Model:
    """A model that can be made where its framework is installed.

    Attributes:
        title: what tables call it.
        framework: as `config.yaml` names it.
        make: gives the model, ready to predict; imports the framework.
    """

    title: str
    framework: str
    make: Callable[[], Any]

    @property
    def missing(self) -> list[str]:
        """The packages that it needs and that are not installed."""
        return [name for name in PACKAGES[self.framework] if importlib.util.find_spec(name) is None]

    @property
    def pins(self) -> list[str]:
        """Its framework as pip takes it, in the versions that are installed; whatever build of them can be had."""
        distributions = metadata.packages_distributions()
        names = [distributions[package][0].replace("_", "-") for package in PACKAGES[self.framework]]
        return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in names]


def logistic_regression() -> Any:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True))


def forest() -> Any:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, random_state=0).fit(*load_iris(return_X_y=True))


def keras_mlp() -> Any:
    """Two layers, their weights as they were drawn: to predict takes no longer once they are trained."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(64, activation="relu"), keras.layers.Dense(3, activation="softmax")]
    return keras.Sequential([keras.Input((4,)), *layers])


def pytorch_mlp() -> Any:
    """The same in PyTorch."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3), torch.nn.Softmax(dim=1)
    ).eval()


MODELS = {
    "logistic": Model("logistic regression", "sklearn", logistic_regression),
    "forest": Model("forest of 100 trees", "sklearn", forest),
    "keras": Model("Keras MLP", "keras", keras_mlp),
    "pytorch": Model("PyTorch MLP", "pytorch", pytorch_mlp),
}
