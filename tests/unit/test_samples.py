"""Samples: rows in memory, rows as a client would send them, and files of rows."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from generator.errors import SettingError
from generator.rows import samples
from generator.rows.body import request_of
from support.rendering.checkouts import ROOT

NUMBER = 0.1 + 0.2  # pandas' own reader is off by one bit for some


def test_a_csv_file_has_the_numbers_and_texts_that_are_in_it(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=200) * 1e-5
    written = pd.DataFrame(
        {"id": 2**53 + 1 + np.arange(200), "size": numbers, "land": "NA", "note": [None, "x"] * 100}
    )
    written.to_csv(tmp_path / "rows.csv", index=False)
    read = samples.read(tmp_path / "rows.csv")
    assert [str(dtype) for dtype in read.dtypes][:2] == ["int64", "float64"]
    assert read["id"].tolist() == written["id"].tolist()
    assert read["size"].tolist() == numbers.tolist()
    assert set(read["land"]) == {"NA"} and read["note"].isna().sum() == 100


def test_a_csv_file_of_numbers_alone_has_no_names(tmp_path: Path) -> None:
    (tmp_path / "rows.CSV").write_text("1,2.5\n3,\n")
    read = samples.read(str(tmp_path / "rows.CSV"))
    np.testing.assert_array_equal(read, [[1, 2.5], [3, np.nan]])


def test_a_csv_file_without_pandas(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text('\ufeffa,b\n1,"x, y"\n2,\n', encoding="utf-8")
    (tmp_path / "numbers.csv").write_text("1,2\n3,4.5\n")
    code = """
        import sys
        sys.modules.update(dict.fromkeys(("pandas", "polars")))
        from generator.rows import samples
        print(samples.read("names.csv"))
        print(samples.read("numbers.csv").tolist())
    """
    lines = script(tmp_path, code).splitlines()
    assert lines == [
        "[{'a': 1, 'b': 'x, y'}, {'a': 2, 'b': None}]",
        "[[1.0, 2.0], [3.0, 4.5]]",
    ]


def script(directory: Path, code: str) -> str:
    """What a script prints, or the last line of its error."""
    lines = [line.strip() for line in code.strip().splitlines()]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    return done.stdout or done.stderr.splitlines()[-1]


def test_a_json_file_holds_rows_or_a_request(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": None}]
    for content in (rows, {"instances": rows}):
        (tmp_path / "rows.json").write_text(json.dumps(content))
        assert samples.read(tmp_path / "rows.json") == rows


def test_an_npy_file_holds_an_array(tmp_path: Path) -> None:
    rows = np.arange(4, dtype="float32").reshape(2, 2)
    np.save(tmp_path / "rows.npy", rows)
    read = samples.read(tmp_path / "rows.npy")
    assert read.dtype == rows.dtype and read.tolist() == rows.tolist()
    np.save(tmp_path / "rows.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(SettingError, match="'.*rows.npy' cannot be read: Object arrays cannot be"):
        samples.read(tmp_path / "rows.npy")


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("rows", "sample_input is 'rows': pass rows, or the path of a file that ends in .csv, .p"),
        ("nowhere.csv", "sample_input 'nowhere.csv' cannot be read: .*No such file"),
        ("broken.json", "sample_input 'broken.json' cannot be read: Expecting value"),
    ],
)
def test_a_file_that_is_none(
    sample: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("x")
    with pytest.raises(SettingError, match=message):
        samples.read(sample)


def test_parquet_needs_a_reader(tmp_path: Path) -> None:
    code = """
        import sys
        sys.modules.update(dict.fromkeys(("pandas", "polars")))
        from generator.rows import samples
        samples.read("rows.parquet")
    """
    assert "is Parquet: install pandas and pyarrow, or polars" in script(tmp_path, code)


def test_rows_that_are_objects_are_a_table() -> None:
    frame = samples.frame([{"b": 2**60 + 1, "a": "x"}, {"a": "y", "b": None}])
    assert list(frame) == ["b", "a"] and frame["b"][0] == 2**60 + 1
    assert list(samples.frame([{"b": 1, "a": 2}], ["a", "b"])) == ["a", "b"]
    with pytest.raises(SettingError, match=r"sample_input\[1\] has \['a'\], sample_input\[0\] has"):
        samples.frame([{"a": 1, "b": 2}, {"a": 1}])


@pytest.mark.parametrize(
    ("sample", "sent"),
    [
        ([b"a"], [{"b64": "YQ=="}]),
        (
            [{"image": b"\xff", "size": [1, b"a"]}],
            [{"image": {"b64": "/w=="}, "size": [1, {"b64": "YQ=="}]}],
        ),
        (np.array([[b"a"]]), [[{"b64": "YQ=="}]]),
        (np.array([[1.5]]), [[1.5]]),
    ],
)
def test_bytes_are_sent_as_bytes(sample: Any, sent: Any) -> None:
    assert request_of(sample) == {"instances": sent}


def test_rows_without_an_end_are_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(SettingError, match="^the rows are nested too deeply"):
        request_of(endless)
