"""Odd models and odd samples, for the test that nothing of the owner's session escapes raw."""

import datetime as dt
import decimal
import random
import sys
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

Make = Callable[[random.Random], Any]


class Speechless(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("nor this")


class Opaque:
    """An object of a class that nothing knows."""


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def _recursion(*_: Any) -> Any:
    return _recursion()


def _raising(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_: Any, **__: Any) -> Any:
        raise error

    return raise_it


ERRORS: tuple[Callable[[], BaseException], ...] = (
    ValueError,
    lambda: ValueError("two\nlines\n  of text"),
    lambda: KeyError("a"),
    lambda: AttributeError("'super' object has no attribute '__sklearn_tags__'"),
    lambda: TypeError("x" * 10_000),
    lambda: SystemExit(3),
    lambda: SystemExit("good bye"),
    StopIteration,
    MemoryError,
    RecursionError,
    AssertionError,
    NotImplementedError,
    lambda: OSError(28, "No space left on device"),
    lambda: FileNotFoundError(2, "No such file", "модель"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    lambda: DeprecationWarning("old"),
    lambda: UserWarning("look"),
    lambda: ImportError("no"),
    lambda: Exception(Opaque()),
    Speechless,
)

VALUES: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: 1.5,
    lambda: float("inf"),
    lambda: 10**5000,
    lambda: True,
    lambda: "text",
    lambda: "\ud800",
    lambda: b"\xff",
    lambda: [b"a", b"b"],
    lambda: [],
    lambda: [[]],
    lambda: [[], [1]],
    lambda: {},
    lambda: {"a": []},
    lambda: {"instances": 5},
    lambda: {"instances": [[1, 2]], "other": Opaque()},
    lambda: {"a": np.zeros(2), "b": np.zeros(3)},
    lambda: {1: np.zeros((2, 2)), None: np.zeros((2, 2))},
    lambda: [{"a": 1}, {"b": 2}],
    lambda: [{"a": Opaque()}],
    lambda: {"a": {1: 0, "1": 0}},
    lambda: [None, None],
    lambda: [[None, "x"], [1, 2.5]],
    lambda: [1, [2]],
    lambda: [[10**400]],
    lambda: [2**63, -1],
    lambda: {"b", "a", 1},
    lambda: range(3),
    lambda: iter([1, 2]),
    lambda: (part for part in "ab"),
    lambda: memoryview(b"ab"),
    lambda: object,
    lambda: Opaque(),
    lambda: print,
    lambda: _deep(50),
    lambda: _deep(2000),
    _endless,
    lambda: [dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc), dt.timedelta(1)],
    lambda: [decimal.Decimal("1.1"), uuid.UUID(int=1)],
    lambda: [complex(1, 2)],
    lambda: np.zeros((2, 2)),
    lambda: np.zeros(2, "f4"),
    lambda: np.array(5),
    lambda: np.zeros((0, 2)),
    lambda: np.zeros((2, 0)),
    lambda: np.zeros((1, 1, 1, 1)),
    lambda: np.array([Opaque()]),
    lambda: np.array([[1, "x"], [None, 2.5]], object),
    lambda: np.array([1 + 2j]),
    lambda: np.array(["NaT", "2024-05-01"], "M8[D]"),
    lambda: np.array([1, 2], "m8[Y]"),
    lambda: np.array([(1, b"x")], [("a", "i4"), ("b", "S1")]),
    lambda: np.array([b"a\0", b""]),
    lambda: np.array([1, 2], np.longdouble),
    lambda: np.ma.array([1, 2], mask=[1, 0]),
    lambda: scipy.sparse.eye(3).tocsr(),
    lambda: scipy.sparse.coo_matrix((0, 3)),
    lambda: pd.DataFrame(),
    lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    lambda: pd.DataFrame({"ä": pd.Categorical(["x", "y"]), "ß": pd.date_range("2024", periods=2)}),
    lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
    lambda: pd.DataFrame([[1, 2]], columns=[0, None]),
    lambda: pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
    lambda: pd.DataFrame({"a": [[1], {"b": Opaque()}]}),
    lambda: pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [pd.NaT, pd.Timedelta(1)]}),
    lambda: pd.DataFrame({"a": pd.interval_range(0, 2)}),
    lambda: pd.Series([1.5, np.nan]),
    lambda: pd.Index(["a"]),
    lambda: pd.Categorical(["a"]),
)

NAMES = ("Model", "Модель", "Modèle", "模型", "class", "a b", "", "x" * 300, "__main__", "<lambda>")
RAISED = (
    "__len__",
    "__eq__",
    "__bool__",
    "__iter__",
    "__repr__",
    "__reduce_ex__",
    "__getstate__",
    "__deepcopy__",
    "__hash__",
    "__sklearn_tags__",
    "__sklearn_is_fitted__",
    "get_params",
    "__getattr__",
)
PROPERTIES = (
    "classes_",
    "feature_names_in_",
    "n_features_in_",
    "feature_names_",
    "steps",
    "best_estimator_",
    "predict_proba",
    "shape",
    "columns",
    "dtypes",
    "__class__",
    "__module__",
    "__dict__",
)


def error(choice: random.Random) -> BaseException:
    return choice.choice(ERRORS)()


def value(choice: random.Random) -> Any:
    return choice.choice(VALUES)()


def model(choice: random.Random) -> Any:
    """An object with a predict and a few odd methods and attributes."""
    bases = choice.choice(((), (), (BaseEstimator,), (ClassifierMixin, BaseEstimator)))
    if choice.random() < 0.1:
        bases = (RegressorMixin, BaseEstimator)
    place = choice.choice((__name__, __name__, __name__, "__main__", "nowhere", "json"))
    body: dict[str, Any] = {"__module__": place}
    body |= {"fit": lambda self, X, y=None: self, "predict": _predict(choice)}
    for name in choice.sample(RAISED, choice.choice((0, 0, 0, 1, 2))):
        body[name] = _raising(error(choice))
    for name in choice.sample(PROPERTIES, choice.choice((0, 0, 0, 1, 2))):
        body[name] = _attribute(choice)
    made = type(choice.choice(NAMES), bases, body)
    setattr(sys.modules[__name__], made.__name__, made)
    instance = object.__new__(made)
    if "__dict__" not in body:
        vars(instance)["state_"] = 1
        vars(instance)[choice.choice(("state_", "other"))] = choice.choice((1, value(choice)))
    return instance


def sample(choice: random.Random) -> Any:
    """Rows: half of the time such as a model takes."""
    return choice.choice((np.ones((2, 2)), value(choice)))


def _attribute(choice: random.Random) -> Any:
    if choice.random() < 0.5:
        return property(_raising(error(choice)))
    return value(choice)


def _predict(choice: random.Random) -> Any:
    kind = choice.random()
    if kind < 0.3:
        return _raising(error(choice))
    if kind < 0.4:
        return _recursion
    if kind < 0.5:
        return value(choice)  # not even a method
    if kind < 0.75:
        given = value(choice)
        return lambda self, X: given
    return lambda self, X: np.asarray(X).sum(axis=-1)
