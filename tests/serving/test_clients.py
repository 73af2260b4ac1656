"""Clients that are made of `/openapi.json`, and the page `/docs` in a browser."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import generator
from common.bodies import msgpack_encode
from generator.running.server import Server
from generator.scaffold import Scaffold
from support.packages.environments import BROWSER, PROGRAMS, environment, run
from support.servers import openapi_page
from support.servers.running import PREDICT, copied, serving

pytestmark = pytest.mark.sweep

PYTHON = """
import sys

from model_client import Client
from model_client.api.v1 import predict
from model_client.models import Error, PredictRequest, PredictResponse, Prediction{names}

client = Client(base_url=sys.argv[1])
answer = predict.sync(client=client, body=PredictRequest(instances=[{good}]))
assert isinstance(answer, PredictResponse), answer
predictions: list[Prediction] = answer.predictions
print(predictions[0].value)
answer = predict.sync(client=client, body=PredictRequest(instances=[{bad}]))
assert isinstance(answer, Error), answer
message: str = answer.error
print(message)
"""
TYPESCRIPT = """
import type {{ components, paths }} from "./schema";

type Request = components["schemas"]["PredictRequest"];
type Answers = paths["/v1/models/model:predict"]["post"]["responses"];
type Answer = Answers[200]["content"]["application/json"];
type Failure = Answers[400]["content"]["application/json"];

export const request: Request = {{ instances: [{good}] }};
export function first(answer: Answer): {prediction} {{
  return answer.predictions[0];
}}
export function message(failure: Failure): string {{
  return failure.error;
}}
export function wrong(answer: Answer, failure: Failure): [null, null] {{
  // @ts-expect-error: a prediction is none
  const one: null = answer.predictions[0];
  // @ts-expect-error: a message is none
  const other: null = failure.error;
  return [one, other];
}}
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a model that was fitted on a DataFrame."""
    frame = pd.DataFrame(
        {
            "size (cm)": [1.0, 2.0, 3.0, 4.0],
            "count": [1, 2, 3, 4],
            "new": [True, False, True, False],
            "colour": pd.Categorical(["red", "blue", "red", "green"]),
        }
    )
    encoder = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(frame, ["no", "no", "yes", "yes"])
    directory = tmp_path_factory.mktemp("tables") / "table"
    made = generator.from_model(model, directory, sample_input=frame)
    with made.serve(port=0) as running:
        yield running
    made.close()


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of an environment that generates clients, and has what they import."""
    return environment(tmp_path_factory.mktemp("env") / "env", "openapi-python-client")


def schema(url: str, directory: Path) -> Path:
    file = directory / "openapi.json"
    file.write_text(httpx.get(f"{url}/openapi.json", timeout=60, trust_env=False).text)
    return file


def python_client(url: str, python: Path, directory: Path, **parts: str) -> list[str]:
    """What the program above prints, whose types mypy has checked."""
    generate = [python.with_name("openapi-python-client"), "generate"]
    run(*generate, "--path", schema(url, directory), "--output-path", directory / "made")
    program = directory / "made" / "program.py"
    program.write_text(PYTHON.format(**parts))
    mypy = [sys.executable, "-m", "mypy", "--python-executable", python, "--follow-imports=silent"]
    run(*mypy, "--config-file=", program.name, cwd=program.parent)
    return run(python, program.name, url, cwd=program.parent).splitlines()


def test_a_python_client_of_a_classifier(
    server: Server, python: Path, forest: Any, tmp_path: Path
) -> None:
    printed = python_client(
        server.url, python, tmp_path, names="", good="[5.1, 3.5, 1.4, 0.2]", bad="[1.0]"
    )
    assert printed[0] == str(forest.predict([[5.1, 3.5, 1.4, 0.2]])[0])
    assert "4 values a row" in printed[1]


def test_a_python_client_of_a_table(tables: Server, python: Path, tmp_path: Path) -> None:
    row = "Row(size_cm={}, count=1, new=True, colour=RowColourType1.RED)"
    printed = python_client(
        tables.url,
        python,
        tmp_path,
        names=", Row, RowColourType1",
        good=row.format("1.0"),
        bad=row.format("'x'  # type: ignore[arg-type]\n"),
    )
    assert printed[0] in ("no", "yes") and "'size (cm)' must be a number" in printed[1]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with openapi-typescript and TypeScript."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: apt install npm")
    directory = tmp_path_factory.mktemp("node")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(directory)]
    wanted = ["openapi-typescript@7", "typescript@5"]
    done = subprocess.run([*install, *wanted], capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"npm installs nothing here: {done.stderr[-300:]}")
    return directory


@pytest.mark.parametrize(
    ("which", "good", "prediction"),
    [
        ("server", "[5.1, 3.5, 1.4, 0.2]", "0 | 1 | 2"),
        (
            "tables",
            '{ "size (cm)": 1.5, count: 2, new: false, colour: "red" }',
            '"no" | "yes"',
        ),
    ],
)
def test_typescript(
    packages: Path, request: pytest.FixtureRequest, which: str, good: str, prediction: str
) -> None:
    url = request.getfixturevalue(which).url
    tools = packages / "node_modules" / ".bin"
    run(tools / "openapi-typescript", schema(url, packages), "-o", packages / "schema.ts")
    (packages / "read.ts").write_text(TYPESCRIPT.format(good=good, prediction=prediction))
    run(tools / "tsc", "--noEmit", "--strict", "--target", "es2022", packages / "read.ts")


@pytest.mark.parametrize("which", ["server", "tables"])
def test_the_page_in_a_browser(
    playwright: Path, request: pytest.FixtureRequest, tmp_path: Path, which: str
) -> None:
    url = request.getfixturevalue(which).url
    document = json.loads(schema(url, tmp_path).read_text())
    body = tmp_path / "body.msgpack"
    body.write_bytes(msgpack_encode(openapi_page.example_of(document, "predict")))
    printed = run(playwright, PROGRAMS / "docs_page.py", BROWSER, url, body)
    found = openapi_page.operations(document)
    assert json.loads(printed) == {f"{each.method} {each.path}": "200" for each in found}


MLSERVER = """
import json

import pandas
from mlserver.codecs import PandasCodec

columns = json.loads(input())
frame = pandas.DataFrame({name: pandas.Series(values) for name, values in columns.items()})
texts = frame.select_dtypes("str").columns
frame = frame.astype({name: object for name in texts})  # PandasCodec knows no other texts
print(PandasCodec.encode_request(frame).model_dump_json(exclude_none=True))
"""


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter of an environment with MLServer."""
    return environment(tmp_path_factory.mktemp("mlserver") / "env", "mlserver", "pandas>=3")


@pytest.mark.parametrize("which", ["server", "tables"])
def test_frames_of_mlserver(
    mlserver: Path, request: pytest.FixtureRequest, forest: Any, iris: Any, which: str
) -> None:
    """Its PandasCodec sends a tensor for each column."""
    url = request.getfixturevalue(which).url
    columns = {"size (cm)": [1.0, 4.0], "count": [1, 4], "new": [True, False]}
    columns |= {"colour": ["red", "green"]}
    expected: list[Any] = ["no", "yes"]
    if which == "server":  # whose model knows no names
        columns = {name: iris[0][:, place].tolist() for place, name in enumerate("dcba")}
        expected = forest.predict(iris[0]).tolist()
    command = [mlserver, "-W", "ignore", "-c", MLSERVER]
    encoded = subprocess.run(command, input=json.dumps(columns), capture_output=True, text=True)
    assert encoded.returncode == 0, encoded.stderr[-3000:]
    body = json.loads(encoded.stdout.splitlines()[-1])
    assert body["parameters"] == {"content_type": "pd"}
    answer = httpx.post(f"{url}/v2/models/model/infer", json=body, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == expected


@pytest.fixture
def page_port(tmp_path: Path) -> Iterator[int]:
    """The port of a server of an empty page."""
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<!doctype html><title>a page</title>")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "page"))

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as pages:
        thread = threading.Thread(target=pages.serve_forever)
        thread.start()
        yield pages.server_port
        pages.shutdown()
        thread.join()


def test_pages_of_other_origins_in_a_browser(
    playwright: Path, page_port: int, sums: Scaffold, tmp_path: Path
) -> None:
    """A page of a listed origin reads answers and errors; the browser refuses them to another."""
    origin, other = (f"http://{host}:{page_port}" for host in ("127.0.0.1", "localhost"))
    bodies = [json.dumps({"instances": rows}) for rows in ([[1, 2, 3, 4]], [["x"]])]
    with serving(copied(sums, tmp_path / "sums", cors_origins=[origin])) as running:
        command = [playwright, PROGRAMS / "cross_origin_page.py", BROWSER]
        target = running.url + PREDICT
        good, bad = map(json.loads, run(*command, origin, target, *bodies).splitlines())
        assert good == {"status": 200, "id": "mine", "body": {"predictions": [10.0]}}
        assert (bad["status"], bad["id"]) == (400, "mine") and "must be" in bad["body"]["error"]
        for line in run(*command, other, target, *bodies).splitlines():
            assert "Failed to fetch" in json.loads(line)["refused"]
