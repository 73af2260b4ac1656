"""`README.md` and `model-card.md` of a scaffold tell of its model, and stay their owner's."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generator
from generator import Scaffold
from generator.layout import MODEL_CARD, README
from generator.showing.kept_sample import KeptSample
from generator.showing.pages import Told, parts
from generator.writing.pages import PAGES, PART, digest
from support.models.objects import Doubles, Sums

ROW = np.array([[1.0, 2.0, 3.0, 4.0]])
WIDE = np.arange(1200.0).reshape(2, 600)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaffold]:
    """A scaffold whose rows are too long for a command line."""
    place = tmp_path_factory.mktemp("wide") / "wide"
    made = generator.from_model(Sums(), place, framework="custom", sample_input=WIDE)
    yield made
    made.close()


@pytest.fixture
def own(sums: Scaffold, tmp_path: Path) -> Iterator[Scaffold]:
    """A copy that the test may edit."""
    made = generator.load(shutil.copytree(sums.directory, tmp_path / "own"))
    yield made
    made.close()


def text(scaffold: Scaffold, name: str = README) -> str:
    return (scaffold.directory / name).read_bytes().decode()


def found(page: str) -> dict[str, str]:
    """The parts of a page by their names, without their marks."""
    return {each["name"]: each["text"] for each in PART.finditer(page)}


def told(model: dict[str, Any], sample: KeptSample | None = None) -> dict[str, str]:
    return parts(Told("model", None, {"class": "a.B", **model}, sample, 0.0))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", page)


# ---- what they say ----


def test_they_tell_of_the_model(sums: Scaffold) -> None:
    page, card = found(text(sums)), found(text(sums, MODEL_CARD))
    assert text(sums).startswith("# test_sums\n")
    assert "`support.models.objects.Sums`" in page["model"]
    assert "4 values, float64" in page["model"]
    assert "answered 2 rows as expected, exactly" in page["model"]
    assert 'The answer is `{"predictions": [6.0]}`' in page["call"]
    assert page["call"] == card["call"]
    assert "| `[3]` | float64 | number | 3 to 7, median 3 |" in card["rows"]
    assert "Python" in card["training"] and "`src/model/model.pickle`" in card["files"]
    assert "answered 2 rows as expected" in card["proof"]


@pytest.mark.parametrize("name", ["sums", pytest.param("wide", marks=pytest.mark.sweep)])
def test_what_the_readme_says_of_a_call_works_as_it_is_pasted(
    name: str, request: pytest.FixtureRequest
) -> None:
    scaffold: Scaffold = request.getfixturevalue(name)
    call = found(text(scaffold))["call"]
    ((curl,), (python,)) = blocks(call, "commandline"), blocks(call, "python")
    expected = scaffold.predict(WIDE[:1] if name == "wide" else [[0.0, 1.0, 2.0, 3.0]])
    with scaffold.serve(port=0) as server:
        answers = []
        for command in (["sh", "-c", curl], [sys.executable, "-c", python]):
            command[-1] = command[-1].replace("http://localhost:8080", server.url)
            done = subprocess.run(command, cwd=scaffold.directory, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            answers.append(json.loads(done.stdout.replace("'", '"')))
    assert answers == [expected, expected]
    assert (name == "wide") == ("smoke-test.json" in curl)


def test_a_long_example_without_a_sample_comes_from_the_configuration(tmp_path: Path) -> None:
    example = [[index / 7 for index in range(300)], [0.0]]
    document = {"model_metadata": {"model": {"example": example}}}
    (tmp_path / "config.yaml").write_text(json.dumps(document))  # is YAML too
    (curl,) = blocks(told({"example": example})["call"], "commandline")
    program = curl.split(" | \\\ncurl")[0].replace("python3", sys.executable)
    done = subprocess.run(["sh", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"instances": example[:1]}


def test_a_quote_in_a_row_ends_no_command() -> None:
    rows = ['it\'s `$HOME` "|" <!-- end of call -->\n```\n\ud83d']
    (curl,) = blocks(told({"example": rows})["call"], "commandline")
    sent = subprocess.run(
        ["sh", "-c", "printf %s " + curl.split(" -d ")[1]], capture_output=True, text=True
    )
    assert json.loads(sent.stdout) == {"instances": rows}


def test_names_of_an_owners_break_no_table() -> None:
    columns = [{"name": "a|b `c`\n<!-- end of rows -->", "dtype": "float64", "type": "number"}]
    table = told({"input": {"kind": "table", "columns": columns}})["rows"].splitlines()
    (row,) = [line for line in table if "end of rows" in line]
    assert row.startswith("| `` a\\|b `c` <!-- end of rows --> `` | float64 | number |")
    assert "_b" in told({"output": {"kind": "class", "classes": ["a_b", "<script>"]}})["model"]
    assert "<script>" not in told({"output": {"kind": "class", "classes": ["<script>"]}})["model"]


def test_no_answer_is_told_where_other_rows_may_change_it() -> None:
    two, one = KeptSample([1, 2], [3, 4]), KeptSample([1], [3])
    assert "The answer is" in told({"rows_independent": True}, two)["call"]
    assert "The answer is" not in told({"rows_independent": False}, two)["call"]
    assert "The answer is" in told({"rows_independent": False}, one)["call"]


def test_a_sample_that_is_too_large_to_be_read_is_a_proof_all_the_same() -> None:
    large = told({"example": [1]}, KeptSample(unread="it holds 20 MiB"))
    assert "answered all rows as expected, exactly; `smoke-test.json`" in large["proof"]
    assert '{"instances": [1]}' in large["call"] and "The answer is" not in large["call"]


def test_a_scaffold_without_a_model_has_the_same_parts(tmp_path: Path) -> None:
    """Their marks are right, so that `replace_model` fills them."""
    scaffold = generator.new(tmp_path / "made")
    made = scaffold.directory
    names = []
    for page in PAGES:
        marked = list(PART.finditer((made / page).read_text()))
        assert all(digest(each["text"]) == each["digest"] for each in marked)
        names += [each["name"] for each in marked]
    assert set(names) == told({}).keys() and len(names) == 8
    lines = (made / README).read_text().splitlines()
    assert len(lines) < 150 and lines[0] == "# made"
    scaffold.replace_model(Sums(), sample_input=ROW)
    assert "objects.Sums`" in (made / README).read_text()


# ---- they stay their owner's ----


def replaced(scaffold: Scaffold) -> list[str]:
    """Put another model there. Returns the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scaffold.replace_model(Doubles(), sample_input=ROW)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_another_model_renews_the_parts_and_nothing_else(own: Scaffold, ending: str) -> None:
    (own.directory / MODEL_CARD).unlink()
    before = text(own).replace("## Updating\n", "Ours.  \n\tYes.\n\n## Updating\n")
    (own.directory / README).write_bytes(before.replace("\n", ending).encode())
    assert replaced(own) == []
    after = text(own)
    assert "Doubles" in after and "objects.Sums" not in after and '{"predictions": [20.0]}' in after
    assert PART.sub("", after.replace("\r\n", "\n")) == PART.sub("", before)
    assert after.count("\r\n") == after.count("\n") * (ending == "\r\n")
    assert not (own.directory / MODEL_CARD).exists()


def test_an_edited_part_stays_and_is_told_of(own: Scaffold) -> None:
    before = text(own).replace("2 rows as expected", "2 rows, and mine")
    (own.directory / README).write_text(before)
    (warning,) = replaced(own)
    assert warning == (
        "README.md may tell of the model before, because you have edited its parts model: correct"
        " them there"
    )
    assert found(text(own))["model"] == found(before)["model"]
    assert "[20.0]" in found(text(own))["call"] and "Doubles" in text(own, MODEL_CARD)


def test_pages_without_marks_of_another_encoding_or_elsewhere_stay(
    own: Scaffold, tmp_path: Path
) -> None:
    (own.directory / MODEL_CARD).write_bytes("Größe\n".encode("latin-1"))
    (tmp_path / "ours.md").write_text(text(own))
    (own.directory / README).unlink()
    (own.directory / README).symlink_to(tmp_path / "ours.md")
    assert replaced(own) == []
    assert (own.directory / README).is_symlink() and "Doubles" not in text(own)
    assert (own.directory / MODEL_CARD).read_bytes() == "Größe\n".encode("latin-1")
