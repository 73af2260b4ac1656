"""Models that were fitted on DataFrames: what is served is what they predict in memory."""

import contextlib
import datetime as dt
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import yaml
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

import generator
from generator import Scaffold, ScaffoldWarning, ServingError
from support.models.objects import Cells, total_seconds
from support.rendering.checkouts import ROOT


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Scaffold]]:
    """generator.from_model. It closes the scaffolds at the end."""
    with contextlib.ExitStack() as stack:

        def made(model: Any, sample: Any = None, **settings: Any) -> Scaffold:
            scaffold = generator.from_model(
                model, tmp_path / "made", sample_input=sample, overwrite=True, **settings
            )
            return stack.enter_context(contextlib.closing(scaffold))

        yield made


def facts(scaffold: Scaffold) -> dict[str, Any]:
    text = (scaffold.directory / "config.yaml").read_text()
    return dict(yaml.safe_load(text)["model_metadata"]["model"])


FRAME = pd.DataFrame(
    {
        "id": [2**53 + 1, 5],
        "none": pd.Series(["a", None], dtype=object),
        "nan": pd.Series(["a", np.nan], dtype=object),
        "when": pd.to_datetime(["2024-05-01T12:30:00.5", None]),
        "zone": pd.to_datetime(["2024-05-01", "2024-12-01"]).tz_localize("Europe/Vienna"),
        "took": pd.to_timedelta([1, None], unit="ns"),
        "size": pd.Categorical(["mid", "lo"], ["lo", "mid", "hi"], ordered=True),
        "day": pd.Categorical([dt.date(2024, 5, 1), None]),
        "price": pd.Series([Decimal("1.10"), None], dtype=object),
        "tags": pd.Series([["a", "b"], []], dtype=object),
        "image": pd.Series([b"\xff\x00", b"a"], dtype=object),
        "maybe": pd.array([2**60 + 1, None], dtype="Int64"),
    }
)


def test_each_cell_is_what_it_is_in_memory(make: Callable[..., Scaffold]) -> None:
    """from_model compares what the object finds in the worker with what it finds here."""
    scaffold = make(Cells(), FRAME, framework="custom")
    rows = scaffold.directory / "smoke-test.json"
    assert '"took": "PT0.000000001S"' in rows.read_text()
    assert scaffold.verify()
    row = FRAME.iloc[:1].assign(when=pd.to_datetime(["2024-05-01T12:30:00.5"]))
    assert scaffold.predict(row)["predictions"] == Cells().predict(FRAME[:1])
    with pytest.raises(
        ServingError, match=r"instances\[0\]: 'size' must be one of \"lo\", \"mid\""
    ):
        scaffold.predict(FRAME[:1].assign(size="max"))


def test_a_model_of_polars_frames_gets_polars_frames(make: Callable[..., Scaffold]) -> None:
    frame = pl.DataFrame(
        {
            "id": [2**60 + 1, None],
            "word": ["a", None],
            "when": [dt.datetime(2024, 5, 1), None],
            "size": pl.Series(["a", None], dtype=pl.Enum(["b", "a"])),
            "tags": [["x"], None],
        }
    )
    scaffold = make(Cells(), frame, framework="custom")
    assert facts(scaffold)["input"]["library"] == "polars"
    assert scaffold.verify() and scaffold.verify(frame)
    assert scaffold.predict(frame)["predictions"] == Cells().predict(frame)
    pins = (scaffold.directory / "requirements.txt").read_text()
    assert f"polars=={pl.__version__}" in pins and "pandas" not in pins


@pytest.mark.sweep
def test_an_estimator_fitted_on_polars(make: Callable[..., Scaffold]) -> None:
    frame = pl.DataFrame({"a": [1.0, 2, 3, 4], "b": [1, 0, 1, 1]})
    model = make_pipeline(StandardScaler(), LinearRegression()).fit(frame, [1.0, 2, 3, 5])
    scaffold = make(model, frame)
    assert scaffold.predict(frame)["predictions"] == model.predict(frame).tolist()
    assert "polars==" in (scaffold.directory / "requirements.txt").read_text()


WITHOUT_PANDAS = """
import sys
from importlib.machinery import PathFinder

class WithoutPandas(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] != "pandas":
            return PathFinder.find_spec(name, path, target)

sys.meta_path = [WithoutPandas if part is PathFinder else part for part in sys.meta_path]
import numpy as np, polars as pl
from sklearn.linear_model import LinearRegression
import generator

rows = np.array([[1.0, 2], [3, 4], [5, 7]])
frame = pl.DataFrame(rows, schema=["a", "b"])
model = LinearRegression().fit(frame, [1.0, 2, 4])
for name, sample in (("none", None), ("array", rows), ("frame", frame)):
    scaffold = generator.from_model(model, name, sample_input=sample)
    assert "polars==" in open(f"{name}/requirements.txt").read()
    assert "pandas" not in open(f"{name}/requirements.txt").read()
    print(scaffold.predict(frame)["predictions"] == model.predict(frame).tolist())
    scaffold.close()
"""


@pytest.mark.sweep
def test_pandas_need_not_be_installed(tmp_path: Path) -> None:
    """The worker finds pandas here, but is told to make frames of polars."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_PANDAS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.stdout.split() == ["True"] * 3, run.stderr


# ---- scikit-learn ----

WORDS = pd.DataFrame({"w": pd.Series(["x", None, "y", "x"], dtype=object), "n": [1.0, 2, 3, 4]})


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("encode", "sampled"),
    [
        (OneHotEncoder(), True),
        (
            make_pipeline(
                SimpleImputer(missing_values=None, strategy="most_frequent"), OneHotEncoder()
            ),
            False,
        ),
    ],
    ids=["encoded, with a sample", "imputed, without"],
)
def test_none_is_none_again(make: Callable[..., Scaffold], encode: Any, sampled: bool) -> None:
    columns = make_column_transformer((encode, ["w"]), (StandardScaler(), ["n"]))
    model = make_pipeline(columns, LinearRegression()).fit(WORDS, [0.0, 2, 5, 0])
    scaffold = make(model, WORDS if sampled else None)
    assert scaffold.predict(WORDS)["predictions"] == model.predict(WORDS).tolist()
    null = WORDS[1:2]  # a column of nulls alone
    assert scaffold.predict(null)["predictions"] == model.predict(null).tolist()
    for odd in ({"w": 1, "n": 1}, {"w": "x", "n": "60"}):
        with pytest.raises(ServingError, match="400"):
            scaffold.predict([odd])


@pytest.mark.sweep
def test_a_timedelta_has_its_length(make: Callable[..., Scaffold]) -> None:
    spans = pd.DataFrame({"took": pd.to_timedelta([1, 2, 3000, 4000], unit="s")})
    seconds = FunctionTransformer(total_seconds)
    model = make_pipeline(seconds, DecisionTreeClassifier()).fit(spans, [0, 0, 1, 1])
    scaffold = make(model, spans[:2])  # of one class: the proof alone would not tell
    assert scaffold.predict(spans)["predictions"] == [0, 0, 1, 1]
    assert scaffold.predict([["PT50M"], ["PT1S"]])["predictions"] == [1, 0]


@pytest.mark.sweep
def test_datetimes_are_categories_without_a_sample(make: Callable[..., Scaffold]) -> None:
    days = pd.DataFrame({"d": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"] * 2)})
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["d"]))
    model = make_pipeline(columns, DecisionTreeClassifier()).fit(days, [0, 1, 2] * 2)
    scaffold = make(model)
    assert scaffold.predict(days)["predictions"] == [0, 1, 2] * 2
    assert scaffold.predict([["2024-01-02T01:00:00+01:00"]])["predictions"] == [1]


@pytest.mark.sweep
def test_boosters_keep_their_categories_without_a_sample(make: Callable[..., Scaffold]) -> None:
    from lightgbm import LGBMClassifier

    kinds = pd.DataFrame({"a": np.arange(40.0), "k": pd.Categorical(list("xyzw") * 10)})
    model = LGBMClassifier(n_estimators=3, min_child_samples=2, verbose=-1)
    model.fit(kinds, np.arange(40) % 4 == 2)
    with pytest.warns(ScaffoldWarning, match="dtypes of the columns 'a' are not known"):
        scaffold = make(model)
    assert scaffold.predict(kinds)["predictions"] == model.predict(kinds).tolist()
    with pytest.raises(ServingError, match='must be one of "w", "x", "y", "z" or null'):
        scaffold.predict([[1, "q"]])


@pytest.mark.sweep
def test_the_configuration_of_scikit_learn_is_set_again(make: Callable[..., Scaffold]) -> None:
    rows = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [5.0, 1, 2, 3]})
    with sklearn.config_context(transform_output="pandas", assume_finite=True):
        columns = make_column_transformer((StandardScaler(), ["a"]))
        model = make_pipeline(StandardScaler(), columns, LinearRegression())
        model.fit(rows, [1.0, 2, 3, 5])
        scaffold = make(model, rows)
        expected = model.predict(rows).tolist()
    assert facts(scaffold)["sklearn_config"] == {
        "assume_finite": True,
        "transform_output": "pandas",
    }
    assert scaffold.predict(rows)["predictions"] == expected
    scaffold.replace_model(LinearRegression().fit(rows, [1.0, 2, 3, 5]), sample_input=rows)
    assert facts(scaffold)["sklearn_config"] is None
