"""What a row of a scikit-learn model is: sparse, of the dtype it was fitted on, or by name."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBRegressor

import generator
from generator.errors import SettingError
from generator.hooks import by_name
from support.rendering.checkouts import ROOT

X, Y = np.arange(8.0).reshape(4, 2), [1.0, 2, 3, 5]
SPARSE = scipy.sparse.csr_matrix(np.where(np.arange(8).reshape(4, 2) % 3 == 0, 0, X))
FRAME = pd.DataFrame({"size": [1, 2, 3, 4], "colour": ["red", "blue", "red", "blue"]})
SKLEARN = by_name("sklearn")


def described(model: Any, sample: Any = None) -> Any:
    return SKLEARN.describe(model, SKLEARN.sampled(model, sample)).input


def by_colour() -> Any:
    encode = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    return make_pipeline(encode, LinearRegression()).fit(FRAME, Y)


# ---- sparse rows ----


@pytest.mark.sweep
@pytest.mark.parametrize("model", [XGBRegressor(n_estimators=3), Ridge()])
def test_a_model_fitted_on_sparse_rows_gets_sparse_rows(model: Any, tmp_path: Path) -> None:
    """XGBoost reads what is absent as missing, and Ridge multiplies in another order."""
    model.fit(SPARSE, Y)
    made = generator.from_model(model, tmp_path / "made", sample_input=SPARSE)
    with contextlib.closing(made):
        rows = [[0, 1.5], [2.5, 0], [0, 0]]
        expected = model.predict(scipy.sparse.csr_matrix(rows))
        served = np.array(made.predict(rows)["predictions"], expected.dtype)
        np.testing.assert_array_equal(served, expected)


@pytest.mark.parametrize("kind", ["csr_array", "csc_matrix", "coo_array"])
def test_the_format_of_a_sample_is_recorded(kind: str) -> None:
    sample = getattr(scipy.sparse, kind)(SPARSE.astype("float32"))
    found = described(Ridge().fit(SPARSE, Y), sample)
    assert (found.sparse, found.dtype, found.shape) == (kind, "float32", (2,))


def test_it_is_said_where_a_model_may_have_been_fitted_on_sparse_rows() -> None:
    doubt = SKLEARN.describe(XGBRegressor(n_estimators=2).fit(SPARSE, Y), None).doubt
    assert doubt is not None and "whether it was fitted on such rows" in doubt
    assert SKLEARN.describe(Ridge().fit(SPARSE, Y), None).doubt is None


def test_other_formats_become_csr() -> None:
    assert described(Ridge().fit(SPARSE, Y), scipy.sparse.lil_matrix(SPARSE)).sparse == "csr_matrix"


# ---- dtypes without a sample ----


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "model",
    [
        KMeans(2, n_init=1),
        MiniBatchKMeans(2, n_init=1),
        BisectingKMeans(2),
        LogisticRegression(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_rows_have_the_dtype_that_the_model_was_fitted_on(model: Any, dtype: str) -> None:
    model.fit(X.astype(dtype), [0, 0, 1, 1])
    assert described(model).dtype == dtype


def test_a_dtype_is_tried_where_the_model_does_not_say_it() -> None:
    pipeline = make_pipeline(StandardScaler(), KMeans(2, n_init=1))
    assert described(pipeline.fit(X.astype("float32"))).dtype == "float32"
    assert described(pipeline.fit(X)).dtype is None


# ---- rows as a client would send them ----


def test_rows_that_are_objects_are_a_table() -> None:
    rows = [{"colour": "red", "size": 3}, {"size": 1, "colour": "blue"}]
    found = described(by_colour(), rows)
    assert [(column.name, column.type) for column in found.columns] == [
        ("size", "number"),
        ("colour", "string"),
    ]
    with pytest.raises(SettingError, match=r"sample_input has the columns \['size'\]"):
        described(by_colour(), [{"size": 3}])


def test_a_model_that_takes_objects_gets_them() -> None:
    rows = [{"a": 1.0}, {"b": "x"}]
    model = make_pipeline(DictVectorizer(), LinearRegression()).fit(rows, [1, 2])
    assert SKLEARN.sampled(model, rows) is rows and described(model, rows) is None


def test_a_model_without_names_takes_them_from_the_rows() -> None:
    found = described(LinearRegression().fit(X, Y), [{"b": 1, "a": 2.5}])
    assert found.names == ("b", "a")


def test_without_pandas_rows_of_names_are_arrays(tmp_path: Path) -> None:
    joblib.dump(LinearRegression().fit(pd.DataFrame(X, columns=["a", "b"]), Y), tmp_path / "m")
    code = """
import sys
sys.modules.update(dict.fromkeys(("pandas", "polars")))
import joblib, numpy
from generator.hooks import by_name
found = by_name("sklearn").describe(joblib.load("m"), numpy.ones((1, 2), "float32")).input
print(found.kind, found.shape, found.dtype, found.names)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "array (2,) float32 ('a', 'b')\n", done.stderr
