"""Models whose answers depend on the rows beside, and the rows that clients send them.

They are the cases 1 to 8 of "an answer depends on who else asks", and a model that draws random
numbers. `Served` answers with one as a scaffold of framework custom does.
"""

import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from common.schema import ArrayInput, Column, JsonInput, ModelInput, TableInput
from common.signature import Signature
from common.worker.flow import Flow
from common.worker.sharing import Sharing

X = np.arange(8.0).reshape(4, 2)
Y = [1.0, 2, 3, 5]
FRAME = pd.DataFrame({"x": [1.0, 2, 3, 4], "y": [0.0, 1, 0, 1]})


class Served:
    """An object with a `predict`, as the scaffold of framework custom serves it."""

    def __init__(self, model: Any, described: ModelInput | None = None) -> None:
        self.model = model
        self.described = described
        self.signature = Signature(described)
        self.sizes: list[int] = []

    def load(self) -> None: ...

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        self.sizes.append(len(request["instances"]))
        return {"predictions": self.model.predict(self.signature.inputs(request["instances"]))}

    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]:
        return response

    def flow(self, independent: bool | None = None, limit: int = 256, **knobs: Any) -> Flow:
        return Flow(self, Sharing(limit, self.signature.likeness, independent, **knobs))


# ---- the cases ----


class Two:
    def predict(self, X: Any) -> Any:
        return X.sum(1), X.std(1)


class First:
    def predict(self, X: Any) -> Any:
        return [str(row[0]) for row in X]


class Month:
    def predict(self, frame: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas says that it guesses
            return pd.to_datetime(frame["d"]).dt.month.to_numpy()


class Labels:
    def predict(self, rows: Any) -> Any:
        return sorted({label for label, _ in rows})[:2]


class Draws:
    """Random numbers, from a seed that is set anew in each call: alone, an answer is definite."""

    def predict(self, X: Any) -> Any:
        return np.random.default_rng(0).normal(size=len(X)) + X[:, 0]


def lagged(frame: Any) -> Any:
    return frame.assign(prev=frame["x"].shift(1).fillna(0))


def scored(X: Any) -> Any:
    return (X - X.mean(0)) / (X.std(0) + 1)


def text_zip(frame: Any) -> Any:
    return frame.astype(str)


def zip_model() -> Any:
    encoder = OneHotEncoder(handle_unknown="ignore")
    model = make_pipeline(FunctionTransformer(text_zip), encoder, LinearRegression())
    return model.fit(pd.DataFrame({"zip": [90210, 10001, 60601, 94105]}), Y)


def torch_module(make: Callable[[Any], Any]) -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = make(torch)

    class Tensors:
        def predict(self, X: Any) -> Any:
            with torch.inference_mode():
                return module(torch.as_tensor(X, dtype=torch.float32)).numpy()

    return Tensors()


def centred(torch: Any) -> Any:
    return lambda x: x - x.mean(0)


def encoder(torch: Any) -> Any:
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16)
    return torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).eval()


def numbers(width: int, whole: bool = False) -> list[Any]:
    chance = random.Random(0)
    return [[chance.randrange(90) + (0.25, 0)[whole] for _ in range(width)] for _ in range(40)]


@dataclass
class Case:
    """A model, what a row of it is, and rows that clients send."""

    make: Callable[[], Any]
    described: ModelInput | None
    rows: list[Any] = field(default_factory=lambda: numbers(2))
    most: int = 2  # rows in a request

    def served(self) -> Served:
        return Served(self.make(), self.described)

    def bodies(self, count: int) -> list[dict[str, Any]]:
        """Requests of a row or more, chosen at random."""
        chance = random.Random(1)
        sizes = [chance.randint(1, self.most) for _ in range(count)]
        return [{"instances": chance.choices(self.rows, k=size)} for size in sizes]


ZIPS = [{"zip": zip_} for zip_ in (90210, 10001, None, 60601, 94105, None, 7)]
DATES = [{"d": f"{day:02}/02/2024"} for day in (13, 1, 2, 14, 5, 1, 3)]
CASES = {
    "1 a tuple of outputs": Case(Two, ArrayInput((2,), "float64")),
    "2 lags": Case(
        lambda: make_pipeline(FunctionTransformer(lagged), LinearRegression()).fit(FRAME, Y),
        TableInput((Column("x", "number", "float64"), Column("y", "number", "float64"))),
    ),
    "3 z-scores": Case(
        lambda: make_pipeline(FunctionTransformer(scored), LinearRegression()).fit(X, Y),
        ArrayInput((2,), "float64"),
    ),
    "4 minus the mean": Case(lambda: torch_module(centred), ArrayInput((2,), "float32")),
    "4 batch_first=False": Case(
        lambda: torch_module(encoder), ArrayInput((8,), "float32"), numbers(8)
    ),
    "5 null beside integers": Case(
        zip_model, TableInput((Column("zip", "number", "int64"),)), ZIPS
    ),
    "6 floats beside integers": Case(
        First, ArrayInput((2,), "int64"), [*numbers(2)[:9], *numbers(2, whole=True)[:9]]
    ),
    "6 floats beside integers, as they came": Case(
        First, None, [*numbers(2)[:9], *numbers(2, whole=True)[:9]]
    ),
    "7 a guessed format": Case(Month, TableInput((Column("d", "string"),)), DATES, 1),
    "8 by chance as many": Case(Labels, JsonInput(), [[word, 0] for word in "abcabcdaa"]),
    "random numbers": Case(Draws, ArrayInput((2,), "float64")),
}
