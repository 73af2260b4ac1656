"""Header fields of a request without a server, for hooks that read them."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import generator
from generator import cli
from generator.scaffold import Scaffold

MODEL = """
from common import InvalidInput


class InferenceModel:
    def __init__(self, config): ...

    def load(self): ...

    def preprocess(self, request, context):
        if "x-tenant" not in context.request.headers:
            context.status = 401
            raise InvalidInput("send X-Tenant")
        context.values["tenant"] = context.request.headers["X-Tenant"]
        return request

    def predict(self, request):
        return {"predictions": [0 for row in request["instances"]]}

    def postprocess(self, response, context):
        return {**response, "tenant": context.values["tenant"]}
"""
ROWS = [[1.0, 2.0, 3.0, 4.0]]


@pytest.fixture(scope="module")
def reading(sums: Scaffold, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    """A scaffold that answers nobody without a header."""
    directory = shutil.copytree(sums.directory, tmp_path_factory.mktemp("headers") / "reading")
    (directory / "src/server/inference_model.py").write_text(MODEL)
    with_header = generator.load(directory)
    yield with_header
    with_header.close()


@pytest.mark.parametrize(
    ("headers", "tenant"),
    [
        ({"X-Tenant": "a"}, "a"),
        ({"x-tenant": " é ", "Accept": ""}, "é"),
        ({"X-TENANT": "a", "x-tenant": "b"}, "a, b"),
    ],
)
def test_a_hook_reads_them(reading: Scaffold, headers: dict[str, str], tenant: str) -> None:
    assert reading.predict(ROWS, headers=headers) == {"predictions": [0], "tenant": tenant}


@pytest.mark.parametrize("headers", [None, {}, {"X-Other": "a"}])
def test_without_them_the_hook_refuses(reading: Scaffold, headers: Any) -> None:
    with pytest.raises(generator.ServingError, match="answered 401: send X-Tenant"):
        reading.predict(ROWS, headers=headers)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"X Tenant": "a"}, "headers: 'X Tenant' is no name of a header field"),
        ({3: "a"}, "headers: 3 is no name"),
        ({"X-Tenant": 3}, "headers: X-Tenant must be a string of Latin-1 characters"),
        ({"X-Tenant": "a\r\nX-Other: b"}, "headers: X-Tenant must be a string"),
        ({"X-Tenant": "☃"}, "headers: X-Tenant must be a string"),
        ([("X-Tenant", "a")], "headers must be a dict of strings"),
    ],
)
def test_what_no_request_can_have_is_refused(reading: Scaffold, headers: Any, said: str) -> None:
    with pytest.raises(generator.SettingError, match=re.escape(said)):
        reading.predict(ROWS, headers=headers)


def test_an_older_scaffold_says_so(sums: Scaffold, tmp_path: Path) -> None:
    directory = shutil.copytree(sums.directory, tmp_path / "older")
    (directory / "src/common/serving/beside.py").unlink()
    client = directory / "src/common/link/client.py"
    client.write_text(
        client.read_text().replace(', beside: bytes = b"")', ")").replace("body, beside)", "body)")
    )
    older = generator.load(directory)
    try:
        assert older.predict(ROWS) == {"predictions": [10.0]}
        said = "is from an older template, whose code reads no header fields: run `python -m"
        with pytest.raises(generator.ScaffoldError, match=re.escape(said)):
            older.predict(ROWS, headers={"X-Tenant": "a"})
    finally:
        older.close()


def test_the_command_line_takes_them(reading: Scaffold, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["predict", str(reading.directory), "[[1, 2, 3, 4]]"]
    assert cli.main([*command, "--header", "X-Tenant: a:b", "--header", "X-Tenant:c"]) == 0
    assert capsys.readouterr().out == '{"predictions": [0], "tenant": "a:b, c"}\n'
    assert cli.main([*command, "--header", "X-Tenant"]) == 1
    said = capsys.readouterr().err
    assert said == "error: --header 'X-Tenant' must be like 'X-Tenant: a'\n"
