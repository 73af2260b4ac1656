"""`generator.client` answers as `scaffold.predict` does, whatever is sent, and however."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.linear_model import LinearRegression

import generator
from generator.clients.binary import LARGE_BYTES
from generator.rows import samples
from generator.rows.body import body_rows
from generator.scaffold import Scaffold
from support.models.objects import Cells, Sizes
from support.servers.asking import check_client
from support.servers.running import Running, copied, serving
from support.session.cases import first

Served = tuple[Scaffold, Running]
ROWS = np.arange(8.0).reshape(2, 4)
MANY = np.random.default_rng(0).normal(size=(LARGE_BYTES // 32, 4))
TABLE = pd.DataFrame(
    {
        "day": pd.to_datetime(["2024-05-01T00:00:00", None, "2024-05-02T03:04:05"]),
        "city": pd.Categorical(["Graz", "Linz", None]),
        "count": pd.array([1, None, 3], dtype="Int64"),
        "x": [1.5, np.nan, -0.0],
        "name": ["a", "ü", None],
        "flag": [True, False, True],
    }
)
OWN_CODE = """
import numpy as np

from common import Signature

TIME = np.datetime64("2024-05-01T00:00:00.123456789", "ns")
ODD = {"nanoseconds": TIME, "times": np.timedelta64(1, "ns"), "keys": {1: "a"}, "whole": 2**70}


class InferenceModel:
    def __init__(self, config):
        self._signature = Signature(None)

    def load(self):
        pass

    def preprocess(self, request):
        rows = request["instances"]
        if request.get("how") == "lists":
            rows = [row + [1.0] for row in rows]
        if request.get("how") == "null":
            rows = [[0.0 if value is None else value for value in row] for row in rows]
        return {**request, "instances": rows}

    def predict(self, request):
        rows = self._signature.inputs(request["instances"])
        how = request.get("how")
        answers = {
            "dtype": [str(rows.dtype)] * len(rows),
            "float32": rows.astype("float32")[:, 0],
            "complex": rows[:, 0] * 1j,
            **{name: [value] * len(rows) for name, value in ODD.items()},
            "late": [*[0.5] * (len(rows) - 1), TIME][-len(rows):] if len(rows) > 2 else [0.5, 0.5],
            "bytes": [b"\\xff"] * len(rows),
            "squares": (rows * rows).sum(axis=1),
        }
        return {"predictions": answers.get(how, rows.sum(axis=1))}

    def postprocess(self, response):
        return response
"""


def check(served: Served, given: Any) -> None:
    scaffold, running = served
    check_client(scaffold, running.url, given)


def sent_as_msgpack(running: Running) -> float:
    """How many requests the server has answered in msgpack."""
    return running.metric("scaffold_requests_total", route="predict_binary", code="200")


@contextlib.contextmanager
def made(directory: Path, model: Any, sample: Any, **settings: Any) -> Iterator[Served]:
    scaffold = generator.from_model(model, directory, sample_input=sample, **settings)
    with contextlib.closing(scaffold), serving(directory) as running:
        yield scaffold, running


@pytest.fixture(scope="module", params=first(1, ["kserve", "standalone", "kfserving"]))
def plain(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A model of rows without names."""
    directory = tmp_path_factory.mktemp("plain") / "made"
    model = LinearRegression().fit(MANY[:9], MANY[:9, 0])
    with made(directory, model, ROWS, server=request.param) as served:
        yield served


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model that says what it finds in each cell of a table."""
    directory = tmp_path_factory.mktemp("table") / "made"
    with made(directory, Cells(), TABLE, framework="custom") as served:
        yield served


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A model of bytes, such as images."""
    directory = tmp_path_factory.mktemp("sizes") / "made"
    with made(directory, Sizes(), [b"\x89PNG"], framework="custom") as served:
        yield served


@pytest.fixture(scope="module")
def owned(sums: Scaffold, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A scaffold whose owner has edited it."""
    directory = copied(sums, tmp_path_factory.mktemp("owned") / "made", OWN_CODE)
    with contextlib.closing(generator.load(directory)) as scaffold, serving(directory) as running:
        yield scaffold, running


def with_value(value: float, place: int = 5) -> Any:
    changed = MANY.copy()
    changed[place, 1] = value
    return changed


@pytest.mark.parametrize(
    "given",
    [
        ROWS,
        ROWS.tolist(),
        ROWS.astype("float32")[:1],
        pd.DataFrame(ROWS, columns=list("dcba")),
        pd.DataFrame(ROWS, columns=["instances", "a", "b", "c"]),
        pl.DataFrame(ROWS, schema=list("dcba")),
        {"instances": ROWS},
        {"instances": pd.DataFrame(ROWS)},
        scipy.sparse.csr_matrix(ROWS),
        pd.Series(ROWS.tolist()),
        ROWS[:, :3],
        {"instances": "no rows"},
        [],
        [["x", 1, 2, 3]],
    ],
    ids=[
        *("array", "list", "float32", "pandas", "column-instances", "polars", "request"),
        *("request-pandas", "sparse", "series", "narrow", "string", "empty", "letters"),
    ],
)
def test_rows_of_numbers(plain: Served, given: Any) -> None:
    check(plain, given)


@pytest.mark.parametrize(
    ("given", "as_msgpack"),
    [
        (MANY, 3),
        ({"instances": MANY[:, ::-1]}, 3),
        (MANY.astype(">f4").repeat(2, axis=0), 3),
        ((MANY * 9).astype("int64"), 3),
        (pd.DataFrame(MANY), 3),
        (MANY[:9], 0),
        (MANY.tolist(), 0),
        ((MANY * 9).astype("int8").repeat(8, axis=0), 0),
        (pd.DataFrame(MANY).assign(last=1), 0),
        (with_value(np.inf), 0),
        (with_value(np.nan), 0),
    ],
    ids=[
        *("array", "reversed", "float32", "int64", "pandas", "small", "list", "int8", "mixed"),
        *("infinity", "nan"),
    ],
)
def test_large_arrays_are_sent_as_msgpack(plain: Served, given: Any, as_msgpack: int) -> None:
    """Of three requests as msgpack, one has few rows: it shows that the server answers alike."""
    before = sent_as_msgpack(plain[1])
    check(plain, given)
    assert sent_as_msgpack(plain[1]) - before == as_msgpack


def test_many_at_once(plain: Served) -> None:
    scaffold, running = plain

    async def asked() -> Any:
        async with generator.async_client(f"{running.url}/") as client:
            return await asyncio.gather(*[client.predict(rows) for rows in (ROWS, MANY) * 5])

    assert asyncio.run(asked()) == [scaffold.predict(ROWS), scaffold.predict(MANY)] * 5


@pytest.mark.parametrize(
    "how",
    ["dtype", "float32", "complex", "nanoseconds", "times", "keys", "whole", "late", "bytes"],
)
def test_what_an_owner_answers(owned: Served, how: str) -> None:
    """What msgpack has no form for, or a shorter one, is asked for in JSON."""
    check(owned, {"instances": MANY, "how": how})


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "uint64", "bool", "float16"])
def test_the_model_gets_the_dtype_that_json_has(owned: Served, dtype: str) -> None:
    """Two rows may not tell: here they are small, and squares of others overflow."""
    rows = np.ones((len(MANY) * 8, 4), dtype)
    check(owned, {"instances": rows, "how": "dtype"})
    rows[5, 1] = np.finfo(dtype).max if rows.dtype.kind == "f" else 200
    check(owned, {"instances": rows, "how": "squares"})


def test_code_that_takes_lists_alone_gets_lists(owned: Served) -> None:
    scaffold, _ = owned
    check(owned, {"instances": MANY, "how": "lists"})
    given = {"instances": with_value(np.nan), "how": "null"}
    check(owned, given)
    assert all(scaffold.predict(given)["predictions"])


def test_tables(table: Served) -> None:
    for given in (
        TABLE,
        TABLE[TABLE.columns[::-1]],
        {"instances": TABLE.head(1)},
        body_rows(TABLE),
        pl.from_pandas(TABLE),
        TABLE.drop(columns="city"),
        TABLE.assign(city="Wien"),
    ):
        check(table, given)


def test_files(table: Served, plain: Served, owned: Served, tmp_path: Path) -> None:
    TABLE.drop(columns="count").assign(count=3).to_parquet(tmp_path / "rows.parquet")
    TABLE.assign(count=3, name="a", city="Graz", day="2024-05-01").to_csv(
        tmp_path / "rows.csv", index=False
    )
    (tmp_path / "rows.json").write_text(json.dumps(body_rows(TABLE)))
    with generator.client(table[1].url) as client:
        for path in tmp_path.iterdir():
            assert client.predict(path) == table[0].predict(samples.read(path)), path
            assert client.predict(str(path)) == client.predict(path)
    np.save(tmp_path / "rows.npy", MANY)
    with generator.client(plain[1].url) as client:
        assert client.predict(tmp_path / "rows.npy") == plain[0].predict(MANY)
    request = {"instances": ROWS.tolist(), "how": "dtype"}
    (tmp_path / "request.json").write_text(json.dumps(request))
    np.save(tmp_path / "objects.npy", np.array([object()]), allow_pickle=True)
    with generator.client(owned[1].url) as client:
        assert client.predict(tmp_path / "request.json") == owned[0].predict(request)
        with pytest.raises(generator.SettingError, match="^rows .* cannot be read: Object arrays"):
            client.predict(tmp_path / "objects.npy")


@pytest.mark.sweep
def test_bytes(sizes: Served) -> None:
    image = bytes(range(256)) * (LARGE_BYTES // 256)
    before = sent_as_msgpack(sizes[1])
    check(sizes, [b"\x89PNG", b""])
    check(sizes, np.array([b"\x89PNG", b"a"], dtype=object))
    assert sent_as_msgpack(sizes[1]) == before
    check(sizes, [b"a", "b", image, b""])
    assert sent_as_msgpack(sizes[1]) - before == 3
