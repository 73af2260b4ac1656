"""What a scaffold says of its rows stays where a model that is put into it suits it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from generator.hooks import by_name
from generator.writing.kept import kept

X = np.arange(12.0).reshape(4, 3)
Y = [1.0, 2, 3, 5]
ARRAY = {"kind": "array", "shape": [3], "dtype": "float32"}


def keep(directory: Path, facts: dict[str, Any], model: Any, rows: Any = None) -> Any:
    if rows is not None:
        smoke_test = {"request": {"instances": rows}, "response": {}}
        (directory / "smoke-test.json").write_text(json.dumps(smoke_test))
    return kept(directory, facts, by_name("sklearn"), model)


def test_a_dtype_stays(tmp_path: Path) -> None:
    model = LinearRegression().fit(X, Y)
    stays, reason = keep(tmp_path, {"input": ARRAY}, model, [[1, 2, 0.1]])
    assert reason is None and stays.is_tested and stays.input.dtype == "float32"
    assert stays.sample.dtype == np.float32 and stays.input_for(stays.input) == stays.input


def test_an_example_is_tried_where_there_is_no_smoke_test(tmp_path: Path) -> None:
    model = LinearRegression().fit(X, Y)
    stays, _ = keep(tmp_path, {"input": ARRAY, "example": [[0, 0, 0]]}, model)
    assert not stays.is_tested and stays.sample.tolist() == [[0, 0, 0]]
    stays, _ = keep(tmp_path, {"input": ARRAY}, model)
    assert stays.sample is None and stays.input.dtype == "float32"


def test_an_unknown_dtype_stays_unknown(tmp_path: Path) -> None:
    """One row of whole numbers does not tell that the model takes whole numbers."""
    unknown = {**ARRAY, "dtype": None}
    stays, _ = keep(tmp_path, {"input": unknown}, LinearRegression().fit(X, Y), [[1, 2, 3]])
    described = by_name("sklearn").describe(LinearRegression().fit(X, Y), stays.sample).input
    assert described.dtype == "int64" and stays.input_for(described).dtype is None


def test_the_types_of_columns_stay(tmp_path: Path) -> None:
    frame = pd.DataFrame({"size": [1, 2, 3, 4], "colour": ["red", "blue", "red", "blue"]})
    encode = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(encode, LinearRegression()).fit(frame, Y)
    columns = [
        {"name": "size", "type": "number", "dtype": "int64"},
        {"name": "colour", "type": "string", "dtype": "object"},
    ]
    rows = [{"size": 3, "colour": "red"}]
    stays, _ = keep(tmp_path, {"input": {"kind": "table", "columns": columns}}, model, rows)
    assert [column.dtype for column in stays.input.columns] == ["int64", "object"]
    assert stays.sample.dtypes.astype(str).tolist() == ["int64", "object"]


@pytest.mark.parametrize(
    "described",
    [
        {**ARRAY, "shape": [4]},
        {"kind": "table", "columns": [{"name": "a"}, {"name": "b"}, {"name": "c"}]},
        {"kind": "text"},
        None,
    ],
)
def test_other_rows_are_not_kept(tmp_path: Path, described: Any) -> None:
    model = LinearRegression().fit(X, Y)
    assert keep(tmp_path, {"input": described}, model, [[1, 2, 3]]) == (None, None)


def test_rows_that_the_model_does_not_take_are_a_reason(tmp_path: Path) -> None:
    rows = [[1, None, 3]]
    takes = HistGradientBoostingRegressor().fit(X, Y)
    assert keep(tmp_path, {"input": ARRAY}, takes, rows)[0].is_tested
    stays, reason = keep(tmp_path, {"input": ARRAY}, LinearRegression().fit(X, Y), rows)
    assert stays is None and "Input X contains NaN" in reason
    for broken in ("{", "[]", '{"request": {"instances": 3}}'):
        (tmp_path / "smoke-test.json").write_text(broken)
        assert keep(tmp_path, {"input": ARRAY}, takes)[0].sample is None
