"""What a fitted estimator knows of its columns, where there is no sample."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from generator.common import Signature, schema
from generator.hooks.scikit.columns import learned
from generator.rows import tables
from generator.rows.body import body_rows

FRAME = pd.DataFrame(
    {
        "number": [1.5, 2, 3, 4],
        "none": pd.Series(["x", None, "y", "x"], dtype=object),
        "word": ["p", "q", "p", "q"],
        "when": pd.to_datetime(["2024-01-01", "2024-01-02"] * 2),
        "day": [dt.date(2024, 1, 1), dt.date(2024, 1, 2)] * 2,
        "count": [1, 2, 1, 2],
        "flag": [True, False] * 2,
    }
)
CLASSES = [0, 1, 0, 1]
NUMBER = ("number", "float64")
ANY = ("any", None)


def known(model: Any) -> dict[str, tuple[Any, ...]]:
    columns = learned(model, list(model.feature_names_in_))
    return {column.name: (column.type, column.dtype) for column in columns}


def test_encoders_know_the_dtypes_of_their_categories() -> None:
    encoded = [name for name in FRAME if name != "number"]
    columns = make_column_transformer((OneHotEncoder(), encoded), (StandardScaler(), ["number"]))
    model = make_pipeline(columns, LogisticRegression()).fit(FRAME, CLASSES)
    found = learned(model, list(FRAME))
    assert [(column.type, column.dtype, column.format, column.missing) for column in found] == [
        ("number", "float64", None, None),
        ("string", "object", None, "None"),
        ("string", "object", None, None),
        ("string", str(FRAME["when"].dtype), None, None),
        ("string", "object", "date", None),
        ("number", "int64", None, None),
        ("boolean", "bool", None, None),
    ]
    served = model.predict_proba(Signature(schema.TableInput(found)).inputs(body_rows(FRAME)))
    np.testing.assert_array_equal(served, model.predict_proba(FRAME))


NUMBERS = FRAME[["number", "count"]]


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(3),
        make_pipeline(StandardScaler(), SVC()),
        GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [1]}, cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_takes_numbers_alone_is_known(model: Any) -> None:
    assert known(model.fit(NUMBERS, CLASSES)) == {"number": NUMBER, "count": NUMBER}


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(FunctionTransformer(), LogisticRegression()),
        VotingClassifier([("a", LogisticRegression())]),
        make_pipeline(
            make_column_transformer(
                (StandardScaler(), ["number"]), (FunctionTransformer(), ["number", "count"])
            ),
            LogisticRegression(),
        ),
    ],
    ids=range(3),
)
def test_what_is_not_certain_stays_unknown(model: Any) -> None:
    assert known(model.fit(NUMBERS, CLASSES)) == {"number": ANY, "count": ANY}


def test_a_model_of_categories_that_keeps_none_is_not_one_of_numbers() -> None:
    frame = NUMBERS.assign(count=pd.Categorical(["a", "b"] * 2))
    model = HistGradientBoostingClassifier().fit(frame, CLASSES)
    assert known(model)["count"] == ANY


def test_columns_may_be_named_by_number_mask_slice_or_kind() -> None:
    frame = FRAME[["word", "number"]]
    texts = make_column_selector(dtype_exclude="number")
    for places in ([0], [True, False], slice(0, 1), texts):
        columns = make_column_transformer((OneHotEncoder(), places), remainder=StandardScaler())
        model = make_pipeline(columns, LogisticRegression()).fit(frame, CLASSES)
        assert known(model) == {"word": ("string", "object"), "number": NUMBER}


@pytest.mark.parametrize("package", ["lightgbm", "xgboost"])
def test_boosters_keep_their_categories(package: str) -> None:
    boosters = pytest.importorskip(package)
    frame = pd.DataFrame(
        {
            "number": np.arange(40.0),
            "text": pd.Categorical(list("xyzw") * 10),
            "code": pd.Categorical([3, 1] * 20),
        }
    )
    if package == "lightgbm":
        model = boosters.LGBMClassifier(n_estimators=3, min_child_samples=2, verbose=-1)
    else:
        model = boosters.XGBClassifier(n_estimators=3, enable_categorical=True)
    model.fit(frame, np.arange(40) % 4 == 2)
    found = learned(model, list(frame))
    assert [column.categories for column in found] == [None, ("w", "x", "y", "z"), (1, 3)]
    served = model.predict_proba(Signature(schema.TableInput(found)).inputs(tables.rows(frame)))
    np.testing.assert_array_equal(served, model.predict_proba(frame))
