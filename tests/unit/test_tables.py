"""A DataFrame's columns: described, sent as JSON, and made again as they were."""

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from generator.common import Signature, json_encode, schema
from generator.errors import SettingError
from generator.rows import tables

ID = 2**60 + 1  # no float equals it


def objects(*values: Any) -> pd.Series:
    return pd.Series(list(values), dtype=object)


def moments(*texts: str | None) -> pd.Series:
    return pd.Series(pd.to_datetime(list(texts), format="ISO8601"))


def arrow(kind: pa.DataType, *values: Any) -> Any:
    return pd.arrays.ArrowExtensionArray(pa.array(list(values), type=kind))


PANDAS: dict[str, Any] = {
    "float64": pd.Series([1.5, None, 2]),
    "float32": pd.Series([0.1, None, 3], dtype="float32"),
    "int64": pd.Series([ID, -5]),
    "uint8": pd.Series([1, 255], dtype="uint8"),
    "uint64": pd.Series([2**64 - 1, 0], dtype="uint64"),
    "bool": pd.Series([True, False]),
    "texts and None": objects("x", None, "y"),
    "texts and NaN": objects("x", np.nan, "y"),
    "texts and NA": objects("x", pd.NA, "y"),
    "None alone": objects(None, None),
    "whole numbers as objects": objects(1, None, ID),
    "booleans as objects": objects(True, None, False),
    "mixed": objects(1, "a", True, None),
    "dates": objects(dt.date(2024, 5, 1), None, dt.date(1, 1, 1)),
    "Python's datetimes": objects(
        dt.datetime(2024, 5, 1, 12, 30, 0, 5), None, dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc)
    ),
    "times": objects(dt.time(1, 2, 3, 4), None, dt.time(0)),
    "Python's timedeltas": objects(dt.timedelta(1, 2, 3), None, dt.timedelta(-1)),
    "decimals": objects(Decimal("1.10"), None, Decimal("1e-30")),
    "UUIDs": objects(uuid.UUID(int=5), None),
    "bytes": objects(b"\xff\x00", None, b"abc"),
    "lists": objects(["a", "b"], None, []),
    "objects": objects({"a": [1]}, None, {}),
    "datetimes": moments("2024-02-29", None, "2024-01-01T00:00:01.5"),
    "nanoseconds": moments("2024-02-29T00:00:00.000000001", None, "1700-01-01"),
    "seconds": pd.Series(np.array(["2024-02-29", "NaT", "0001-01-01"], dtype="M8[s]")),
    "zone": moments("2024-07-29T00:00:00.000000001", None).dt.tz_localize("Europe/Vienna"),
    "offset with seconds": moments("1900-01-01T00:30Z").dt.tz_convert("Europe/Amsterdam"),
    "in the hour that comes twice": moments("2024-10-27T00:30Z", "2024-10-27T01:30Z").dt.tz_convert(
        "Europe/Vienna"
    ),
    "the first and the last datetime": pd.Series([pd.Timestamp.min, pd.Timestamp.max]),
    "the first and the last timedelta": pd.Series([pd.Timedelta.min, pd.Timedelta.max]),
    "the largest whole numbers": pd.Series([-(2**63), 2**63 - 1]),
    "the smallest and the largest float": pd.Series([5e-324, 1.7976931348623157e308, -0.0]),
    "offset": moments("2024-07-29").dt.tz_localize(dt.timezone(dt.timedelta(hours=1))),
    "timedeltas": pd.Series(pd.to_timedelta([10**18 + 1, None, -5], unit="ns")),
    "timedeltas in seconds": pd.Series(np.array([5, "NaT", -7], dtype="m8[s]")),
    "Int64": pd.array([ID, None, 3], dtype="Int64"),
    "Int8": pd.array([1, None], dtype="Int8"),
    "Float64": pd.array([1.5, None, 3], dtype="Float64"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["a", None], dtype="string[python]"),
    "string of Arrow": pd.array(["a", None], dtype="string[pyarrow]"),
    "months": pd.Series(pd.PeriodIndex(["2024-05", "NaT"], freq="M")),
    "quarters": pd.Series(pd.PeriodIndex(["2024Q2", "NaT"], freq="Q")),
    "weeks": pd.Series(pd.PeriodIndex(["2024-05-01", "NaT"], freq="W")),
    "intervals": pd.arrays.IntervalArray.from_tuples([(0, 1.5), None, (0.1, 0.1 + 0.2)]),
    "sparse": pd.arrays.SparseArray([0, 0, 1]),
    "sparse floats": pd.arrays.SparseArray([np.nan, 0, 1]),
    "category": pd.Categorical(["b", None], categories=["b", "a", "zz"]),
    "category in order": pd.Categorical(["lo", None], ["lo", "mid", "hi"], ordered=True),
    "category of objects": pd.Categorical(["x"], pd.Index(["x", "y"], dtype=object)),
    "category of integers": pd.Categorical([1, None, 2]),
    "category of large integers": pd.Categorical(pd.array([ID, None, ID + 1], dtype="Int64")),
    "category of floats": pd.Categorical([1.5, None, 2]),
    "category of booleans": pd.Categorical([True, None, False]),
    "category of 1 and 'a'": pd.Categorical([1, None], pd.Index([1, "a"], dtype=object)),
    "category of dates": pd.Categorical([dt.date(2024, 1, 1), None, dt.date(2024, 1, 2)]),
    "category of datetimes": pd.Categorical(moments("2024-01-01", None)),
    "category in a zone": pd.Categorical(moments("2024-01-01", None).dt.tz_localize("UTC")),
    "category of timedeltas": pd.Categorical(pd.to_timedelta([1, None, 2], unit="h")),
    "category of intervals": pd.cut(pd.Series([1.0, None, 3.0]), [0, 2, 4]),
    "category of nothing": pd.Categorical([None, None]),
    "int64 of Arrow": arrow(pa.int64(), ID, None),
    "double of Arrow": arrow(pa.float64(), 1.5, None),
    "texts of Arrow": arrow(pa.string(), "a", None),
    "large texts of Arrow": arrow(pa.large_string(), "a", None),
    "booleans of Arrow": arrow(pa.bool_(), True, None),
    "nanoseconds of Arrow": arrow(pa.timestamp("ns"), 1, None),
    "zone of Arrow": arrow(pa.timestamp("us", "Europe/Vienna"), 1, None),
    "dates of Arrow": arrow(pa.date32(), dt.date(2024, 1, 1), None),
    "times of Arrow": arrow(pa.time64("us"), dt.time(1, 2, 3, 4), None),
    "durations of Arrow": arrow(pa.duration("ns"), 10**18 + 1, None),
    "decimals of Arrow": arrow(pa.decimal128(7, 3), Decimal("2.125"), None),
    "bytes of Arrow": arrow(pa.binary(), b"\xff", None),
}
if int(pd.__version__.split(".")[0]) >= 3:  # texts have a dtype of their own
    PANDAS |= {"str": pd.Series(["a", None]), "str of nulls": pd.Series([None], dtype="str")}


def made_again(frame: Any) -> Any:
    """A DataFrame that was described in config.yaml and sent as JSON."""
    document = json.loads(json.dumps(schema.as_document(tables.described(frame))))
    body = json.loads(json_encode(tables.rows(frame)))
    return Signature(schema.read_input(document)).inputs(body)


@pytest.mark.parametrize("name", PANDAS)
def test_a_column_of_pandas_comes_back_as_it_was(name: str) -> None:
    frame = pd.DataFrame({name: PANDAS[name]})
    again = made_again(frame)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    values, expected = again[name].tolist(), frame[name].tolist()
    assert list(map(type, values)) == list(map(type, expected))


def test_every_row_comes_back_alone_as_it_does_among_others() -> None:
    for name, column in PANDAS.items():
        if len(column) == 3:
            frame = pd.DataFrame({name: column})
            described, body = tables.described(frame), json.loads(json_encode(tables.rows(frame)))
            alone = Signature(described).inputs(body[1:2])
            missing = frame.iloc[1:2].reset_index(drop=True)
            pd.testing.assert_frame_equal(alone, missing, check_exact=True)


def test_columns_that_are_numbered_stay_numbered() -> None:
    for frame in (pd.DataFrame([[1, "a"], [2, None]]), pd.DataFrame({7: [1.5], 3: [True]})):
        pd.testing.assert_frame_equal(made_again(frame), frame)


POLARS: dict[str, Any] = {
    "Int64": pl.Series([ID, None]),
    "UInt8": pl.Series([1, None, 255], dtype=pl.UInt8),
    "Float64": pl.Series([1.5, None]),
    "NaN": pl.Series([1.5, float("nan")]),
    "Float32": pl.Series([0.1, None], dtype=pl.Float32),
    "Boolean": pl.Series([True, None]),
    "String": pl.Series(["a", None]),
    "String of nulls": pl.Series([None, None], dtype=pl.String),
    "Categorical": pl.Series(["a", None], dtype=pl.Categorical),
    "Enum": pl.Series(["a", None], dtype=pl.Enum(["b", "a"])),
    "Datetime": pl.Series([dt.datetime(2024, 5, 1, 12), None, dt.datetime(1, 1, 1)]),
    "nanoseconds": pl.Series([1, None, -1], dtype=pl.Datetime("ns")),
    "zone": pl.Series([dt.datetime(2024, 5, 1)]).dt.replace_time_zone("Europe/Vienna"),
    "zone, nanoseconds": pl.Series([1, None], dtype=pl.Datetime("ns", "Europe/Vienna")),
    "Date": pl.Series([dt.date(2024, 5, 1), None]),
    "Time": pl.Series([dt.time(1, 2, 3, 4), None]),
    "Duration": pl.Series([dt.timedelta(1, 2, 3), None, dt.timedelta(-1)]),
    "Duration, nanoseconds": pl.Series([10**18 + 1, None, -5], dtype=pl.Duration("ns")),
    "Decimal": pl.Series([Decimal("1.10"), None]),
    "Binary": pl.Series([b"\xff", None]),
    "List": pl.Series([["a"], None, []]),
    "List of List": pl.Series([[[ID]], None, []]),
    "Array": pl.Series([[1.5, 2], None], dtype=pl.Array(pl.Float64, 2)),
    "Null": pl.Series([None, None]),
}


@pytest.mark.parametrize("name", POLARS)
def test_a_column_of_polars_comes_back_as_it_was(name: str) -> None:
    frame = pl.DataFrame({name: POLARS[name]})
    assert_frame_equal(made_again(frame), frame, check_exact=True)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"z": [1j]}), r"the column 'z' of sample_input \(complex128\) has no form"),
        (pd.DataFrame({"z": objects(object())}), r"'z' .* it holds a value of type object"),
        (pd.DataFrame({"z": objects(("a",))}), "it holds a value of type tuple"),
        (pd.DataFrame({"z": objects([np.nan])}), "it holds a value of type list"),
        (pd.DataFrame({"z": objects(pd.Timestamp("2024"))}), r"pandas\.\S*Timestamp"),
        (pd.DataFrame({"z": objects(dt.date(2024, 1, 1), "a")}), "date and string"),
        (pd.DataFrame([[1, 2]], columns=["z", "z"]), "more than one column 'z'"),
        (pd.DataFrame({"z": []}), "sample_input has no rows"),
        (pl.DataFrame({"z": [{"a": 1}]}), r"the column 'z' .*Struct"),
        (pl.DataFrame({"z": [[dt.date(2024, 1, 1)]]}), r"the column 'z' .*List\(Date\)"),
    ],
    ids=range(10),
)
def test_a_column_without_a_form_is_refused_by_name(frame: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        tables.described(frame)


def test_what_makes_the_frame_is_pinned() -> None:
    plain = pd.DataFrame({"a": [1]})
    assert set(tables.distributions(tables.described(plain), plain)) == {"pandas"}
    texts = pd.DataFrame({"a": arrow(pa.int64(), 1)})
    assert set(tables.distributions(tables.described(texts), texts)) == {"pandas", "pyarrow"}
    frame = pl.DataFrame({"a": [1]})
    assert set(tables.distributions(tables.described(frame), frame)) == {"polars"}
