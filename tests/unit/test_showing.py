"""What a notebook shows: well-formed HTML, in which names and values are text, and not too much."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from generator.running.comparison import compare
from generator.showing.answers_card import answers_card
from generator.showing.columns import Part
from generator.showing.markup import escaped
from generator.showing.ranges import summary
from generator.showing.scaffold_card import Shown, scaffold_card
from generator.showing.scatter import EQUAL, OFF

HOSTILE = "</td><script>alert(1)</script><img src=x onerror='alert(2)'>"
KNOWN = {"div", "style", "header", "b", "h4", "table", "thead", "tbody", "tr", "th", "td", "code"}
KNOWN |= {"pre", "svg", "g", "line", "circle", "text", "rect", "title", "span"}


class Page(HTMLParser):
    """The tags, attributes and text of a page. Each tag must be closed where it was opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.cells: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == [] and self.tags <= KNOWN, self.tags
        assert not {name for name in self.attributes if name.startswith("on")}
        assert not self.attributes & {"src", "href", "srcdoc", "action"}
        assert "url(" not in html and "@import" not in html

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if "td" in self.open:
            self.cells[-1] += data


def shown(directory: Path, **model: Any) -> Shown:
    return Shown(
        directory=directory,
        name="model",
        framework="sklearn",
        server="kserve",
        gpu=False,
        version="1.10",
        model={"file": "model.joblib", **model},
        build="docker build HERE",
        run="docker run HERE",
    )


def table(*columns: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "table", "columns": list(columns)}


def keep(directory: Path, rows: Any, predictions: Any) -> None:
    pair = {"request": {"instances": rows}, "response": {"predictions": predictions}}
    (directory / "smoke-test.json").write_text(json.dumps(pair))


def test_a_card_says_what_a_scaffold_is(tmp_path: Path) -> None:
    keep(tmp_path, [[1.5, "red"], [2, "blue"], [3.5, "red"]], [0, 0, 0])
    colour = {
        "name": "colour",
        "type": "string",
        "dtype": "category",
        "categories": ["red", "blue"],
    }
    colour |= {"ordered": True, "unknown": "missing"}
    described = shown(
        tmp_path,
        **{"class": "sklearn.tree.Tree", "trained_with": {"python": "3.11.7", "numpy": "2.4"}},
        input=table({"name": "size", "type": "number", "dtype": "float64"}, colour),
        output={"kind": "class", "dtype": "int64", "classes": [0, 1], "probabilities": True},
        example=[[1.5, "it's red"], [2, "blue"]],
        rows_independent=True,
    )
    page = Page(scaffold_card(described))
    for text in ("model sklearn · version 1.10", "sklearn.tree.Tree", "Python 3.11.7, numpy 2.4"):
        assert text in page.text
    assert {"size", "float64", "number", "red < blue; any other is missing"} <= set(page.cells)
    assert {"1.5 to 3.5, median 2", "red 2, blue 1"} <= set(page.cells)
    assert "on 3 rows, answered as expected and kept in smoke-test.json" in page.cells
    assert "0, 1; probabilities on request" in page.cells
    serve = f"python -m generator serve {tmp_path}"
    post = (
        """-d '{"instances": [[1.5, "it'"'"'s red"]]}' -X POST http://localhost:8080/v1/models/"""
    )
    for command in (serve, "docker build HERE", "docker run HERE", post + "model:predict"):
        assert command in page.text


def test_names_and_values_are_text(tmp_path: Path) -> None:
    column = {"name": HOSTILE, "type": "string", "categories": [HOSTILE, "b"], "dtype": HOSTILE}
    keep(tmp_path, [{HOSTILE: HOSTILE}], [HOSTILE])
    described = shown(
        tmp_path / HOSTILE.replace("/", ""),
        **{"class": HOSTILE, "trained_with": {HOSTILE: HOSTILE}, "method": [HOSTILE]},
        input=table(column),
        output={"kind": HOSTILE, "classes": [HOSTILE]},
        example=[[HOSTILE]],
    )
    page = Page(scaffold_card(replace(described, version=HOSTILE, build=HOSTILE, run=HOSTILE)))
    assert page.text.count("<script>alert(1)</script>") >= 8


def test_a_card_is_bounded(tmp_path: Path) -> None:
    columns = [{"name": f"{index:04d}{'x' * 5000}", "type": "number"} for index in range(500)]
    columns[0]["categories"] = [f"{index}{'y' * 5000}" for index in range(5000)]
    long = {"trained_with": {f"p{index}": "1" for index in range(5000)}, "class": "c" * 10**6}
    html = scaffold_card(shown(tmp_path, input=table(*columns), example=[["z" * 10**6]], **long))
    page = Page(html)
    assert "0019xxx" in html and "0020xxx" not in html and "and 480 more, in config.yaml" in html
    assert "[ROW]" in page.text and len(html) < 20_000


@pytest.mark.parametrize(
    ("described", "labels"),
    [
        ({"kind": "array", "shape": [3], "dtype": "float32"}, ["[0]", "[1]", "[2]"]),
        ({"kind": "array", "shape": [2], "names": ["a", "b"], "dtype": None}, ["a", "b"]),
        ({"kind": "array", "shape": [28, None], "dtype": "float32"}, ["each row"]),
        ({"kind": "array", "shape": None, "dtype": "int64", "below": 10}, ["each row"]),
        ({"kind": "tensors", "inputs": [{"name": "ids", "shape": [], "dtype": "int64"}]}, ["ids"]),
        ({"kind": "text"}, ["each row"]),
        ({"kind": "json"}, ["each row"]),
    ],
)
def test_every_kind_of_row_is_shown(tmp_path: Path, described: Any, labels: list[str]) -> None:
    page = Page(scaffold_card(shown(tmp_path, input=described, output={"kind": "list"})))
    assert set(labels) <= set(page.cells)


def test_a_scaffold_without_a_model_says_what_to_write(tmp_path: Path) -> None:
    page = Page(scaffold_card(shown(tmp_path, file=None, input=None, output=None)))
    assert "not yet: write load and predict in src/server/inference_model.py" in page.cells
    assert "A row" not in page.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no sample is kept"),
        ("{", "is not a request and its response"),
        ("[" * 100_000, "is not a request and its response"),
        ('{"request": 1, "response": {"predictions": 2}}', "no list of rows"),
        ('{"request": {"instances": []}, "response": {}}', "is not a request and its response"),
        (" " * (17 * 2**20), "holds 17 MiB: not read here"),
    ],
)
def test_a_sample_that_cannot_be_read_is_no_obstacle(
    tmp_path: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "smoke-test.json").write_text(content)
    assert said in Page(scaffold_card(shown(tmp_path))).text


def test_what_turns_text_is_written_out() -> None:
    assert escaped("a\u202eb\x00\ud800\n") == "a\\u202eb\\x00\\ud800\\n"
    assert escaped("été 👩\u200d🔬 <&>'\"") == "été 👩\u200d🔬 &lt;&amp;&gt;&#x27;&quot;"


# ---- a comparison ----


def compared(expected: Any, served: Any, tolerance: float = 0.0) -> tuple[Page, str]:
    html = compare(expected, served, tolerance)._repr_html_()
    return Page(html), html


def test_equal_answers_are_a_plot_without_a_table() -> None:
    page, html = compared([1.5, 2.5, 3.5], [1.5, 2.5, 3.5])
    assert "As expected 3 predictions, equal to the last bit" in page.text
    assert page.cells == [] and html.count("<circle") == 3 and OFF not in html


def test_the_rows_that_differ_most_come_first() -> None:
    expected = [[float(row), 0.5] for row in range(40)]
    served = [[value + (0.25 if row == 7 else 0), 0.5] for row, (value, _) in enumerate(expected)]
    served[3][1] = 2.5
    page, html = compared(expected, served)
    assert page.cells == ["3", "[1]", "0.5", "2.5", "2", "7", "[0]", "7.0", "7.25", "0.25"]
    assert "2 of 40 rows differ" in page.text and "Not as expected predictions[3][1]" in page.text
    assert html.count("<circle") == 80 and html.count(OFF) == 2
    assert html.rindex(EQUAL) < html.index(OFF)


def test_labels_are_a_table_without_a_plot() -> None:
    page, html = compared(["a", "b", HOSTILE], ["a", "c", "b"])
    assert page.cells == ["1", '"b"', '"c"', "2", f'"{HOSTILE}"', '"b"'] and "<svg" not in html


def test_tolerated_differences_are_shown() -> None:
    page, html = compared([1.0, 1000.0], [1.0, 1000.001], tolerance=1e-5)
    assert page.text.startswith("As expected") and page.cells[:1] == ["1"] and OFF not in html
    assert "1 of 2 rows differ, as far as they may" in page.text


def test_a_large_comparison_is_bounded() -> None:
    count = 110_000
    expected = [float(index) for index in range(count)]
    served = [0.0, *expected[1:-1], 0.5]
    served[77] = 1e9
    html = answers_card(expected, served, "", False)
    page = Page(html)
    assert page.cells[0] == "77" and html.count("<circle") <= 500 and len(html) < 100_000
    assert "the first 100,000 values" in page.text


@pytest.mark.parametrize(
    ("expected", "served"),
    [
        ([1, 2, 3], [1, 2]),
        ([[1, 2], [3]], [[1, 2, 3], {"a": 3}]),
        ([{"a": 1.5, "b": "x"}], [{"a": 2, "c": None}]),
        ({"a": [1, 2]}, {"a": [1, 3]}),
        ([], []),
        (5, "5"),
        ([True, None], [1, 0]),
        ([10**400, 1.0, 2.0], [10**5000, 1.0, 2.0]),
        ([1e308, -1e308], [1e308, -1e308]),
        ([5.0, 5.0], [5.0, 5.0]),
        ([float("nan"), 1.0], [float("inf"), 1.0]),
        ([{HOSTILE: 1}], [{HOSTILE: 2}]),
    ],
)
def test_any_answers_are_shown(expected: Any, served: Any) -> None:
    html = answers_card(expected, served, HOSTILE, False)
    assert "nan" not in html and Page(html).text.startswith("Not as expected")


# ---- the kept sample ----


@pytest.mark.parametrize(
    ("part", "rows", "said"),
    [
        (Part("a", 0), [{"a": 3}, {"a": 1}, {"a": 2}, {"a": None}], "1 to 3, median 2; 1 missing"),
        (Part("a", 1), [[0, 0.25], [0, 10**400]], "0.25 to of 1329 bits, median 0.25"),
        (Part("a", 1), [[0, 2.5], [0]], "always 2.5; 1 missing"),
        (Part("a", 0, is_category=True), [[1], [2], [1]], "1 2, 2 1"),
        (Part("a", 0), [[True], [False], [True]], "true 2, false 1"),
        (Part("a", 0), [[f"text {row}"] for row in range(50)], "50 different values"),
        (Part("a", 0), [[str(row % 8)] for row in range(8)], "0 1, 1 1, 2 1, 3 1, 4 1, 5 1 and 2"),
        (Part(None), [[[1, 2], [3, 4]], [[5, 6], [7, None]]], "1 to 7, median 4; 1 missing"),
        (Part(None), [3.5, float("nan"), float("inf"), 1], "1 to 3.5, median 1"),
        (Part("ids"), [{"ids": [1, 2]}, {"other": 1}], "1 to 2, median 1; 1 missing"),
        (Part("a", 0), [[{"b64": "AA=="}]], ""),
        (Part("a", 0), [[None]], ""),
        (Part("a", 0), [], ""),
        (Part(None), [[[0] * 1000] * 1000], "always 0"),
    ],
)
def test_the_values_of_a_sample_are_told_in_words(part: Part, rows: Any, said: str) -> None:
    assert summary(part, rows) == said or (said and summary(part, rows).startswith(said))


def test_the_predicted_classes_are_counted(tmp_path: Path) -> None:
    keep(tmp_path, [[0]] * 5, ["b", HOSTILE, "b", "b", HOSTILE])
    output = {"kind": "class", "classes": ["a", "b", HOSTILE]}
    html = scaffold_card(shown(tmp_path, output=output))
    cells = Page(html).cells
    start = cells.index("b")
    assert cells[start : start + 8] == ["b", "3", "", HOSTILE[:40], "2", "", "a", "0"]
    assert "width:160px" in html and "width:107px" in html and "width:0px" in html


@pytest.mark.parametrize(
    ("kind", "predictions", "said"),
    [
        ("class", [[0, 1], [1, 0]], None),
        ("class", [], None),
        ("class", [{"predict": 1, "predict_proba": [0.5, 0.5]}], "1"),
        ("class", list(range(1000)), "and 980 classes more"),
        ("number", [1.5, 2.5], "1.5 to 2.5, median 1.5"),
    ],
)
def test_predictions_of_every_form_are_shown(
    tmp_path: Path, kind: str, predictions: Any, said: str | None
) -> None:
    keep(tmp_path, [[0]] * len(predictions), predictions)
    page = Page(scaffold_card(shown(tmp_path, output={"kind": kind})))
    is_counted = "Predicted for the kept sample" in page.text
    assert is_counted == (kind == "class" and said is not None)
    assert said is None or said in page.text
