"""Columns of a table: each has one form in JSON, and is made in the dtype of training."""

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.bodies import json_encode
from common.bodies.v2 import v2_metadata, v2_tensors
from common.errors import ConfigError, InvalidInput
from common.rows.columns import times
from common.rows.columns.formats import json_schema
from common.schema import Column, TableInput
from common.signature import Signature

WHEN = Column("when", "string", "datetime64[ns]")
LARGE = 2**53 + 1  # no float equals it


def made(column: Column, *values: Any, library: str | None = None) -> Any:
    """The column that a request of these values has."""
    rows = [[value] for value in values]
    return Signature(TableInput((column,), library)).inputs(rows)[column.name]


def refusal(column: Column, *values: Any, library: str | None = None) -> str:
    with pytest.raises(InvalidInput) as raised:
        made(column, *values, library=library)
    return str(raised.value)


# --- times


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-05-01", "2024-05-01T00:00:00"),
        ("2024-05-01T12:30", "2024-05-01T12:30:00"),
        ("2024-05-01 12:30:00", "2024-05-01T12:30:00"),
        ("2024-05-01T00:00:00.000Z", "2024-05-01T00:00:00"),
        ("2024-05-01T12:30:00.000000001", "2024-05-01T12:30:00.000000001"),
        ("2024-05-01T00:30:00+02:00", "2024-04-30T22:30:00"),
        ("2024-05-01T12:30:00-0530", "2024-05-01T18:00:00"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5"),
        ("1700-02-28", "1700-02-28T00:00:00"),
    ],
)
def test_a_datetime_is_iso_8601_and_becomes_utc(text: str, utc: str) -> None:
    column = made(WHEN, text, None)
    assert column.dtype == "datetime64[ns]" and pd.isna(column[1])
    assert column[0] == pd.Timestamp(utc)


@pytest.mark.parametrize(
    "text",
    [
        "13/05/2024",
        "01/05/2024",
        "now",
        "today",
        "NaT",
        "",
        "2024",
        "2024-05",
        "2024-5-1",
        "20240501",
        "2024-05-01T",
        "2024-05-01T12",
        "2024-05-01T24:00:00",
        "2024-05-01T12:60:00",
        "2024-05-01T12:30:60",
        "2024-05-01T12:30:00.",
        "2024-05-01T12:30:00.0000000001",
        "2024-05-01T12:30:00 UTC",
        "2024-05-01T12:30:00+25:00",
        "2024-02-30",
        "٢٠٢٤-٠٥-٠١",
        " 2024-05-01",
        "2024-05-01\n",
        "May 1, 2024",
        1714521600,
        ["2024-05-01"],
    ],
)
def test_any_other_datetime_is_refused_with_an_example(text: Any) -> None:
    message = refusal(WHEN, "2024-05-01", text)
    wanted = "'when' must be a date and time as in \"2024-05-01T12:30:00Z\" or null, it is "
    assert message.startswith(f"instances[1]: {wanted}")


def test_a_datetime_that_its_unit_cannot_hold_is_refused() -> None:
    assert "finer than s" in refusal(
        Column("t", "string", "datetime64[s]"), "2024-01-01T00:00:00.5"
    )
    assert "out of the range" in refusal(WHEN, "2400-01-01")
    assert made(Column("t", "string", "datetime64[us]"), "2400-01-01")[0].year == 2400


@pytest.mark.parametrize("library", [None, "polars"])
def test_a_datetime_is_on_the_clock_of_its_column(library: str | None) -> None:
    name = "datetime64[ms, Europe/Vienna]" if library is None else "Datetime[ms, Europe/Vienna]"
    column = Column("t", "string", name)
    texts = "2024-07-01T10:00:00Z", "2024-07-01T12:00:00", "2024-07-01T05:00-05:00"
    values = list(made(column, *texts, library=library))
    assert len(set(values)) == 1 and values[0].hour == 12
    for text in ("2024-10-27T02:30:00", "2024-03-31T02:30:00"):
        message = refusal(column, text, library=library)
        assert "the clock of Europe/Vienna shows that time twice or never" in message
    made(column, "2024-10-27T02:30:00+01:00", library=library)


@pytest.mark.parametrize(
    "span",
    [
        dt.timedelta(0),
        dt.timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=5),
        dt.timedelta(microseconds=-1),
        pd.Timedelta(-1),
        pd.Timedelta(10**18 + 1),
        pd.Timedelta.max,
        np.timedelta64(-5, "ns"),
        np.timedelta64(3, "W"),
    ],
)
def test_a_timedelta_comes_back_as_it_left(span: Any) -> None:
    text = json_encode(span).decode().strip('"')
    assert made(Column("t", "string", "timedelta64[ns]"), text)[0] == pd.Timedelta(span)


def test_a_duration_is_iso_8601() -> None:
    column = Column("t", "string", "timedelta64[ns]")
    texts = "PT1H30M", "PT5400S", "PT0.000000001S", "-P1DT1S", "P-1DT2H", "P1W", "+P2D"
    seconds = [5400, 5400, 1e-9, -86401, -79200, 604800, 172800]
    assert made(column, *texts).dt.total_seconds().tolist() == seconds
    for odd in ("P", "PT", "P1Y", "P1M", "1 day", "PT1.5M", "5400", 5400):
        assert 'must be a duration as in "PT1H30M" or null' in refusal(column, odd)


@pytest.mark.parametrize("year", [-20000, -44, 0, 1, 1970, 9999, 10000, 200000])
def test_a_year_of_any_length(year: int) -> None:
    day = np.datetime64(f"{year:+06d}-03-01", "D")
    text = f"{year:+05d}-03-01" if not 0 <= year <= 9999 else f"{year:04d}-03-01"
    assert times.moment(text).clock == int(day.astype(int)) * 86_400 * 10**9


# --- numbers


def test_a_large_id_never_passes_through_a_float() -> None:
    ids = Column("id", "number", "int64")
    assert made(ids, LARGE, 5.0).tolist() == [LARGE, 5]
    assert made(ids, 2**53, None).tolist()[0] == 2**53
    for other, name in ((None, "null"), (5.5, "the number 5.5")):
        assert refusal(ids, other, LARGE) == (
            f"instances[1]: 'id' is {LARGE}, which no float equals, and beside {name} the column"
            " becomes one of floats: send that row by itself"
        )
    assert "which no float equals" in refusal(Column("id"), LARGE, None)
    for dtype in ("Int64", "int64[pyarrow]"):
        column = made(Column("id", "number", dtype), LARGE, None, 5.0)
        assert column[0] == LARGE and pd.isna(column[1]) and column.dtype == dtype
        assert "must be a whole number or null" in refusal(Column("id", "number", dtype), 5.5)


def test_a_number_out_of_the_range_of_a_dtype_with_na_is_refused() -> None:
    message = refusal(Column("n", "number", "Int8"), 1, 300)
    wanted = "'n' must be a whole number from -128 to 127 or null, it is the number 300"
    assert message == f"instances[1]: {wanted}"


# --- texts and objects


@pytest.mark.parametrize("missing", [None, "None", "NaN", "NA", "NaT"])
def test_null_is_what_was_missing_in_training(missing: str | None) -> None:
    column = made(Column("w", "string", "object", missing=missing), "x", None)
    expected = {"None": None, "NA": pd.NA, "NaT": pd.NaT}
    if missing in expected:
        assert column[1] is expected[missing]
    else:
        assert math.isnan(column[1])


@pytest.mark.parametrize("dtype", ["object", "str", "string", "utf8[pyarrow]"])
def test_texts_that_are_all_null_are_texts(dtype: str) -> None:
    column = Column("w", "string", dtype)
    assert made(column, None).dtype == made(column, "x").dtype


def test_objects_have_a_form_each() -> None:
    def of(format: str, *values: Any) -> list[Any]:
        return made(Column("o", "any", "object", format), *values).tolist()

    assert of("date", "2024-05-01") == [dt.date(2024, 5, 1)]
    assert of("time", "12:30:00.5", "01:00+01:00") == [
        dt.time(12, 30, 0, 500_000),
        dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    ]
    assert of("decimal", "1.10", "-2e-5") == [Decimal("1.10"), Decimal("-2e-5")]
    assert of("bytes", "é", {"b64": "AP8="}, b"\xff") == ["é".encode(), b"\x00\xff", b"\xff"]
    assert made(Column("tags", "list", "object"), ["a"], []).tolist() == [["a"], []]
    assert made(Column("o", "object", "object"), {"a": 1}).tolist() == [{"a": 1}]
    assert made(Column("o", "any", "object"), ["a"], 1, "x").tolist() == [["a"], 1, "x"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (Column("o", "string", "object", "date"), "2024-05-01T00:00:00", "a date as in"),
        (Column("o", "string", "object", "time"), "12", "a time as in"),
        (Column("o", "string", "object", "decimal"), 1.1, "a decimal number in quotes, as in"),
        (Column("o", "string", "object", "decimal"), "1_0", "a decimal number in quotes, as in"),
        (Column("o", "string", "object", "uuid"), "x", "a UUID as in"),
        (Column("o", "any", "object", "bytes"), {"b64": "*"}, "a string or bytes as in"),
        (Column("o", "any", "object", "bytes"), {"b65": ""}, "a string or bytes as in"),
        (Column("o", "list", "object"), "x", "a list or null, it is the string 'x'"),
        (Column("o", "object", "object"), [1], "an object or null, it is a list of 1"),
        (Column("o"), [1], "a string, a number or null, it is a list of 1"),
        (Column("o", "string", "period[M]"), "2024-05-01", "a period as in"),
        (Column("o", "string", "interval[int64, left]"), "(1, 2]", "an interval as in"),
    ],
)
def test_another_form_is_refused(column: Column, value: Any, message: str) -> None:
    assert refusal(column, value).startswith(f"instances[0]: 'o' must be {message}")


def test_what_msgpack_brings_is_taken() -> None:
    assert made(WHEN, dt.datetime(2024, 5, 1), np.datetime64("2024-05-01", "ns")).nunique() == 1
    lengths = made(
        Column("t", "string", "timedelta64[ns]"), dt.timedelta(1), np.timedelta64(1, "D")
    )
    assert lengths.nunique() == 1
    assert made(Column("d", "string", "object", "decimal"), Decimal("1.10"))[0] == Decimal("1.10")
    assert made(Column("d", "string", "object", "date"), dt.date(2024, 5, 1))[0].day == 1
    assert made(Column("n", "number", "int64"), np.int8(3)).dtype == np.int64
    missing = np.datetime64("NaT", "ns"), pd.NaT, pd.NA, None
    assert made(WHEN, *missing).isna().all()


# --- categories

SIZE = Column("size", "string", "category", categories=("lo", "mid", "hi"), ordered=True)


def test_an_ordered_category_stays_ordered() -> None:
    assert (made(SIZE, "lo", "mid", None) >= "mid").tolist() == [False, True, False]


def test_an_unknown_category_is_refused_with_the_known_ones() -> None:
    assert refusal(SIZE, "lo", "max") == (
        'instances[1]: \'size\' must be one of "lo", "mid", "hi" or null, it is the string \'max\''
    )
    many = Column("n", "number", "category", categories=tuple(range(1000)))
    assert refusal(many, 1000).endswith(
        "must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 990 more or null, it is the number 1000"
    )
    assert "must be one of 0, 1" in refusal(many, "0") and "it is true" in refusal(many, True)


@pytest.mark.parametrize("library", [None, "polars"])
def test_an_unknown_category_is_missing_where_the_column_says_so(library: str | None) -> None:
    column = Column("k", "string", "category", categories=("a", "b"), unknown="missing")
    assert pd.isna(list(made(column, "a", "c", library=library))).tolist() == [False, True]


def test_a_category_keeps_the_dtype_of_its_values() -> None:
    days = Column("d", "string", "category", "date", categories=("2024-01-01",))
    assert made(days, "2024-01-01", None)[0] == dt.date(2024, 1, 1)
    moments = Column(
        "t",
        "string",
        "category",
        categories=("2024-01-01T00:00:00",),
        categories_dtype="datetime64[s]",
    )
    column = made(moments, "2024-01-01T01:00:00+01:00", None)
    assert column.cat.categories.dtype == "datetime64[s]" and column.notna().tolist() == [
        True,
        False,
    ]
    floats = Column("f", "number", "category", categories=(1, 2), categories_dtype="float64")
    assert made(floats, 1, 2.0).cat.categories.dtype == "float64"


# --- the same in config.yaml, OpenAPI and V2


@pytest.mark.parametrize("dtype", ["flot64", "complex128", "datetime64[xs]"])
def test_a_dtype_that_cannot_be_made_is_named_at_the_start(dtype: str) -> None:
    said = r"config\.yaml: model\.input\.columns\[0\]: .*" + dtype[:4]
    with pytest.raises(ConfigError, match=said):
        Signature(TableInput((Column("a", "number", dtype),)))


def test_the_form_is_in_the_schema() -> None:
    assert json_schema(WHEN) == {
        "type": ["string", "null"],
        "format": "date-time",
        "examples": ["2024-05-01T12:30:00Z"],
        "description": "Without an offset, it is on the clock of UTC",
    }
    for dtype in ("datetime64[ns, Asia/Tokyo]", "timestamp[us, tz=Asia/Tokyo][pyarrow]"):
        assert json_schema(Column("t", "string", dtype))["description"].endswith(" Asia/Tokyo")
    assert json_schema(SIZE) == {"enum": ["lo", "mid", "hi", None]}
    assert json_schema(Column("tags", "list", "object")) == {"type": ["array", "null"]}
    assert json_schema(Column("a")) == {}
    assert {"type": "null"} in json_schema(Column("b", "any", "object", "bytes"))["anyOf"]


def test_v2_has_the_type_of_numbers_that_may_be_missing() -> None:
    dtypes = {
        "Int64": "INT64",
        "boolean": "BOOL",
        "Float32": "FP32",
        "double[pyarrow]": "FP64",
        "Sparse[int64, 0]": "INT64",
        "Sparse[float64, nan]": "FP64",
        "datetime64[ns]": "BYTES",
    }
    described = TableInput(tuple(Column(name, "any", name) for name in dtypes))
    found = {item["name"]: item["datatype"] for item in v2_metadata.inputs(described)}
    assert found == dtypes


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (np.array(["2024-05-01"], dtype="M8[ns]"), ["2024-05-01T00:00:00"]),
        ([pd.Timestamp("2024-05-01T12:30Z")], ["2024-05-01T12:30:00+00:00"]),
        (np.array([90], dtype="m8[m]"), ["PT1H30M"]),
        ([dt.date(2024, 5, 1), Decimal("1.10"), "x"], ["2024-05-01", "1.10", "x"]),
    ],
)
def test_v2_has_the_same_texts_as_json(values: Any, texts: list[str]) -> None:
    assert v2_tensors.tensor(values).tolist() == texts


def test_v2_bytes_reach_a_column_of_bytes() -> None:
    described = TableInput((Column("b", "any", "object", "bytes"), Column("w", "string", "object")))
    named = {name: np.array([b"a"], dtype=object) for name in described.names}
    named["b"][0] = b"\xff"
    rows = v2_tensors.request_of_tensors(named, described)["instances"]
    assert Signature(described).inputs(rows).loc[0].tolist() == [b"\xff", "a"]
