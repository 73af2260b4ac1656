"""The page at `/`, used in a browser, for each kind of input: filled in, sent, read."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import generator
from generator.running.server import Server
from generator.scaffold import Scaffold
from support.models.objects import Files, Mirror, Outlines, Pixels, Words
from support.servers.asking import UsePage
from support.servers.running import copied, serving

pytestmark = pytest.mark.sweep

PREDICT = ["predict"]
ANSWER, CELLS, BARS = "#answer .one", "#answer td", "#answer .bars tbody tr"
DAYS = pd.to_datetime(
    ["2024-05-01T00:00", "2024-05-02T10:30", "2024-06-01T00:00", "2024-07-01T00:00"]
)
FRAME = pd.DataFrame(
    {
        "size (cm)": [1.0, 2.0, 3.0, 4.0],
        "count": [1, 2, 3, 4],
        "new": [True, False, True, False],
        "colour": pd.Categorical(["red", "blue", "red", "green"]),
        "seen": DAYS,
        "note": ["a", "b", "", "it's <b>"],
    }
)


def served(made: Scaffold) -> Iterator[Server]:
    with made.serve(port=0) as running:
        yield running
    made.close()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A classifier on a table with numbers, a flag, categories, dates and texts."""
    encoder = make_column_transformer(
        (OneHotEncoder(), ["colour"]), ("passthrough", ["size (cm)", "count", "new"])
    )
    model = make_pipeline(encoder, LogisticRegression()).fit(FRAME, ["no", "no", "yes", "yes"])
    directory = tmp_path_factory.mktemp("page") / "table"
    yield from served(generator.from_model(model, directory, sample_input=FRAME))


def custom(factory: pytest.TempPathFactory, model: Any, **settings: Any) -> Iterator[Server]:
    directory = factory.mktemp("page") / "custom"
    yield from served(generator.from_model(model, directory, **settings))


@pytest.fixture(scope="module")
def greys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model of images of 12 x 10 bytes, which answers their sums."""
    sample = np.arange(240, dtype="uint8").reshape(2, 10, 12)
    yield from custom(tmp_path_factory, Pixels(), sample_input=sample)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model that answers with the colour image that it gets."""
    sample = np.linspace(0, 1, 2 * 9 * 8 * 3, dtype="float32").reshape(2, 9, 8, 3)
    yield from custom(tmp_path_factory, Mirror(), sample_input=sample)


@pytest.fixture(scope="module")
def outlines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model of bytes, which answers several outputs for each."""
    yield from custom(tmp_path_factory, Outlines(), sample_input=[b"ab", b"cde"])


def test_a_table(use_page: UsePage, table: Server, tmp_path: Path) -> None:
    steps = [
        ["fill", "size (cm)", "3.50"],
        ["fill", "count", "+7"],
        ["choose", "new", "true"],
        ["choose", "colour", "green"],
        ["fill", "seen", "2024-05-02T10:30"],
        ["fill", "note", "it's <b>"],
        PREDICT,
        ["read", ANSWER],
        ["read", BARS],
        ["read", "#curl pre"],
        ["read", "#python pre"],
    ]
    *_, (status, problem), [label], bars, [curl], [python] = use_page(table.url, *steps)
    row = {"size (cm)": 3.5, "count": 7, "new": True, "colour": "green"}
    row |= {"seen": "2024-05-02T10:30", "note": "it's <b>"}
    expected = table_answer(table, [row])
    assert status.startswith("Answered in ") and problem == ""
    assert label == expected["predictions"][0]
    shares = [float(bar.split()[-1]) for bar in bars]
    assert shares == pytest.approx(expected["probabilities"][0], rel=1e-5)
    assert [bar.split()[0] for bar in bars] == ["no", "yes"]
    done = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == expected
    (tmp_path / "program.py").write_text(python)
    printed = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert printed.stdout.strip() == str(expected), printed.stderr


def table_answer(table: Server, rows: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"instances": rows, "probabilities": True}
    answer = httpx.post(f"{table.url}/v1/models/model:predict", json=body, trust_env=False)
    found: dict[str, Any] = answer.json()
    return found


def test_missing_values(use_page: UsePage, table: Server) -> None:
    steps = [
        ["fill", "note", "null"],
        ["check", "missing (null)"],
        PREDICT,
        ["read", "#curl pre"],
        ["fill", "note", '""'],
        PREDICT,
        ["read", "#curl pre"],
    ]
    _, _, (status, _), [first], _, _, [second] = use_page(table.url, *steps)
    assert status.startswith("Answered")
    assert '"seen": null, "note": null' in first and '"note": ""' in second


def test_what_is_wrong_is_said_beside_the_field_and_kept(use_page: UsePage, table: Server) -> None:
    steps = [
        ["fill", "size (cm)", "1,5"],
        ["fill", "note", ""],
        PREDICT,
        ["errors"],
        ["value", "size (cm)"],
        ["evaluate", "document.activeElement.getAttribute('aria-invalid')"],
        ["click", "Clear"],
        PREDICT,
        ["errors"],
        ["click", "Fill in the example"],
        PREDICT,
        ["errors"],
    ]
    _, _, told, errors, kept, marked, _, empty, wanted, _, answered, none = use_page(
        table.url, *steps
    )
    assert told[0] == "Not sent." and "correct the marked fields" in told[1]
    assert errors[0].startswith("“1,5” is not a number") and "Enter a text" in errors[1]
    assert kept == "1,5" and marked == "true"
    assert empty[0] == "Not sent." and len(wanted) == 6
    assert answered[0].startswith("Answered") and none == []


def test_the_servers_message_is_beside_the_field_that_it_names(
    use_page: UsePage, table: Server
) -> None:
    """The browser's field for dates cannot hold this year; as a text the server refuses it."""
    steps = [
        ["evaluate", "document.querySelector('[type=datetime-local]').type = 'text'"],
        ["fill", "seen", "soon"],
        PREDICT,
        ["errors"],
        ["value", "seen"],
    ]
    *_, (status, problem), [error], kept = use_page(table.url, *steps)
    assert status == "Not answered (400)." and "marked" in problem
    assert "'seen' must be a date" in error and kept == "soon"


def test_a_csv_is_dropped(use_page: UsePage, table: Server) -> None:
    good = FRAME.to_csv(index=False)
    bad = good.replace("count", "amount", 1)
    steps = [
        ["check", "many rows, as CSV or JSON"],
        ["drop", ".drop", "rows.csv", good],
        PREDICT,
        ["read", "#answer tbody td"],
        ["read", "#curl pre"],
        ["drop", ".drop", "rows.csv", bad],
        PREDICT,
        ["errors"],
        ["drop", ".drop", "rows.csv", good.replace("3.0", "x")],
        PREDICT,
        ["errors"],
    ]
    _, _, _, labels, [curl], _, refused, [error], _, sent, [said] = use_page(table.url, *steps)
    rows = json.loads(FRAME.to_json(orient="records", date_format="iso"))
    assert labels == table_answer(table, rows)["predictions"]
    assert "/invocations" in curl and "--data-binary @rows.csv" in curl
    assert refused[0] == "Not sent."
    assert "it lacks “count”; the model has no “amount”" in error
    assert sent[0] == "Not answered (400)." and "size (cm)" in said


def test_ten_thousand_rows_are_pasted(use_page: UsePage, table: Server) -> None:
    rows = json.loads(FRAME.to_json(orient="records", date_format="iso")) * 2500
    text = json.dumps(json.dumps(rows))
    steps = [
        ["check", "many rows, as CSV or JSON"],
        ["evaluate", f"document.querySelector('#rows textarea').value = {text}"],
        PREDICT,
        ["evaluate", "document.querySelectorAll('#answer tbody tr').length"],
        ["read", "#answer .soft"],
    ]
    *_, (status, _), shown, [said] = use_page(table.url, *steps)
    assert status.startswith("Answered") and shown == 100
    assert said == "The first 100 of 10000 rows."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Enter rows, or drop a file."),
        ("[1,", "This is not JSON"),
        ('{"rows": []}', "Enter a JSON list of rows"),
        ("size (cm)\n1", "it lacks “count”"),
        ('[{"size (cm)": 1}]', "lacks 'count'"),
    ],
)
def test_rows_that_are_none(use_page: UsePage, table: Server, text: str, said: str) -> None:
    steps = [
        ["check", "many rows, as CSV or JSON"],
        ["fill", "Rows", text],
        PREDICT,
        ["errors"],
        ["value", "Rows"],
    ]
    *_, [error], kept = use_page(table.url, *steps)
    assert said in error and kept == text


def test_an_array_by_keyboard_on_a_telephone(use_page: UsePage, tmp_path_factory: Any) -> None:
    rows = np.arange(12.0).reshape(4, 3)
    model = LinearRegression().fit(rows, rows.sum(axis=1))
    made = generator.from_model(model, tmp_path_factory.mktemp("page") / "array", sample_input=rows)
    steps = [
        ["fill", "[0]", "1"],
        ["press", "Tab", "ControlOrMeta+a", "2", "Tab", "ControlOrMeta+a", "3", "Enter"],
        ["said"],
        ["read", ANSWER],
        ["evaluate", "document.documentElement.scrollWidth"],
        ["fill", "[1]", "9007199254740993"],
        ["evaluate", "document.querySelector('#status').textContent = ''"],
        PREDICT,
        ["read", "#curl pre"],
    ]
    for server in served(made):
        phone = {"width": 390, "height": 844}
        got = use_page(server.url, *steps, viewport=phone)
        assert float(got[3][0]) == pytest.approx(6)
        assert got[4] == 390
        assert "[1, 9007199254740993, 3]" in got[-1][0]  # no digit is lost on the way


def test_a_text_model(use_page: UsePage, tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["a good film", "a bad film", "so good", "so bad"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [True, False] * 2)
    made = generator.from_model(model, tmp_path / "texts", sample_input=texts)
    for server in served(made):
        steps = [
            ["fill", "Text", 'how\n"good" it\'s'],
            PREDICT,
            ["read", ANSWER],
            ["read", "#curl pre"],
            ["fill", "Text", ""],
            PREDICT,
            ["errors"],
        ]
        _, _, [label], [curl], _, _, errors = use_page(server.url, *steps)
        assert label == "true" and errors == ["Enter a text."]
        done = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)["predictions"] == [True]


def png(pixels: np.ndarray, path: Path) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_a_grey_image(use_page: UsePage, greys: Server, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12), dtype="uint8")
    right = png(pixels, tmp_path / "right.png")
    large = png(np.full((20, 24), 7, dtype="uint8"), tmp_path / "large.png")
    (tmp_path / "none.png").write_text("no image")
    steps = [
        ["choose_file", "Image", str(right)],
        PREDICT,
        ["read", ANSWER],
        ["choose_file", "Image", str(large)],
        PREDICT,
        ["errors"],
        ["click", "Resize it to 12 × 10"],
        PREDICT,
        ["read", ANSWER],
        ["choose_file", "Image", str(tmp_path / "none.png")],
        PREDICT,
        ["errors"],
    ]
    got = use_page(greys.url, *steps)
    assert got[2] == [str(pixels.sum())]
    assert got[5] == ["The image is 24 × 20 pixels, the model takes 12 × 10."]
    assert got[8] == [str(7 * 120)]
    assert got[10][0] == "Not sent." and got[11] == [
        "none.png is not an image that this browser reads."
    ]


def test_a_colour_image_is_answered_as_an_image(
    use_page: UsePage, mirror: Server, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype="uint8")
    drawn = (
        "[...document.querySelector('#answer canvas').getContext('2d')"
        ".getImageData(0, 0, 8, 9).data]"
    )
    steps = [
        ["choose_file", "Image", str(png(pixels, tmp_path / "image.png"))],
        ["choose", "Image: range of the pixels", "pixels 0 to 1"],
        PREDICT,
        ["evaluate", drawn],
        ["read", "#answer canvas"],
    ]
    *_, data, _ = use_page(mirror.url, *steps)
    answered = np.array(data).reshape(9, 8, 4)
    assert np.abs(answered[..., :3].astype(int) - pixels).max() <= 1


def test_bytes_and_several_outputs(use_page: UsePage, outlines: Server, tmp_path: Path) -> None:
    file = tmp_path / "any.bin"
    file.write_bytes(bytes(range(256)))
    steps = [
        ["choose_file", "File", str(file)],
        PREDICT,
        ["read", "#answer th"],
        ["read", CELLS],
        ["click", "Clear"],
        PREDICT,
        ["errors"],
    ]
    _, (status, _), names, cells, _, _, errors = use_page(outlines.url, *steps)
    assert status.startswith("Answered")
    assert names == ["length", "first", "picture"] and cells[:2] == ["256", "0"]
    assert errors == ["Choose a file, or enter a text."]


def test_bytes_in_a_column_and_a_file_that_is_no_text(use_page: UsePage, tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["a", "b"], "data": [b"\x00", b"\xff\x01"]})
    made = generator.from_model(Files(), tmp_path / "files", sample_input=frame)
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(5_000_000))
    steps = [
        ["choose_file", "data", str(large)],
        PREDICT,  # at once: the page waits for the file
        ["read", ANSWER],
        ["check", "many rows, as CSV or JSON"],
        ["fill", "Rows", '[{"name": "a", "data": "b"}]'],
        ["drop", ".drop:has(> input[type=file][accept*=csv])", "rows.csv", "name,data\u0000"],
        PREDICT,
        ["errors"],
        ["value", "Rows"],
    ]
    for server in served(made):
        got = use_page(server.url, *steps)
        assert got[2] == ["5000000"]
        assert got[6][0] == "Not sent." and got[7] == ["rows.csv is not a text."]
        assert got[8] == '[{"name": "a", "data": "b"}]'


def test_a_server_that_has_gone(use_page: UsePage, sums: Scaffold, tmp_path: Path) -> None:
    with serving(copied(sums, tmp_path / "sums")) as running:
        steps = [["fill", "[0]", "5"], ["end", running.process.pid], PREDICT, ["value", "[0]"]]
        *_, (status, problem), kept = use_page(running.url, *steps)
    assert status == "No answer." and problem.startswith("The server does not answer.")
    assert kept == "5"


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing(
    use_page: UsePage, axe: Path, table: Server, greys: Server, mirror: Server, colours: str
) -> None:
    for server in (table, greys, mirror):
        steps = [
            ["violations", str(axe)],
            PREDICT,
            ["violations", str(axe)],
            ["click", "Clear"],
            PREDICT,
            ["violations", str(axe)],
            ["check", "many rows, as CSV or JSON"],
            ["violations", str(axe)],
        ]
        got = use_page(server.url, *steps, color_scheme=colours)
        assert [got[at] for at, (name, *_) in enumerate(steps) if name == "violations"] == [[]] * 4


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script of axe, which finds what is not accessible."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: apt install npm")
    directory = tmp_path_factory.mktemp("node")
    install = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(directory)]
    done = subprocess.run([*install, "axe-core@4"], capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"npm installs nothing here: {done.stderr[-300:]}")
    return directory / "node_modules" / "axe-core" / "axe.min.js"


HOSTILE = [
    "<img src=x onerror=document.title='hurt'>",
    "__proto__",
    "constructor",
    "a\"b'c",
    "Rows",
]


def test_names_and_answers_that_look_like_code(use_page: UsePage, tmp_path: Path) -> None:
    frame = pd.DataFrame([range(5), range(5, 10)], columns=HOSTILE)
    model = LogisticRegression().fit(frame, ["<b>no</b>", "</script>"])
    made = generator.from_model(model, tmp_path / "hostile", sample_input=frame)
    steps = [
        ["fill", HOSTILE[1], "7"],
        ["fill", HOSTILE[3], "8.50"],
        PREDICT,
        ["read", ANSWER],
        ["read", "#curl pre"],
        ["fill", HOSTILE[2], "x"],
        PREDICT,
        ["errors"],
        ["evaluate", "[document.title, document.querySelectorAll('img, b').length]"],
    ]
    for server in served(made):
        _, _, (status, _), [label], [curl], _, _, [error], ends = use_page(server.url, *steps)
        assert status.startswith("Answered") and label in ("<b>no</b>", "</script>")
        done = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)["predictions"] == [label]
        assert '"__proto__": 7' in curl and "8.50" in curl and "not a number" in error
        assert ends == ["model", 0]


def test_five_hundred_columns(use_page: UsePage, tmp_path: Path) -> None:
    frame = pd.DataFrame(np.eye(2, 500), columns=[f"column {at}" for at in range(500)])
    model = LinearRegression().fit(frame, [0, 1])
    made = generator.from_model(model, tmp_path / "wide", sample_input=frame)
    steps = [["fill", "column 499", "0.5"], PREDICT, ["click", "Clear"], PREDICT, ["errors"]]
    for server in served(made):
        _, (status, _), _, _, errors = use_page(server.url, *steps)
        assert status.startswith("Answered") and len(errors) == 500


def test_rows_of_any_json_keep_their_digits(use_page: UsePage, tmp_path: Path) -> None:
    made = generator.from_model(Words(), tmp_path / "words", sample_input=[{"x": 1.0}, {"x": 2}])
    request = '{"instances": [1.0, 1, 1e2, 12345678901234567890]}'
    steps = [
        PREDICT,
        ["read", ANSWER],
        ["check", "many rows, as CSV or JSON"],
        ["fill", "Rows", request],
        PREDICT,
        ["read", "#answer td"],
    ]
    for server in served(made):
        _, [one], _, _, _, many = use_page(server.url, *steps)
        assert one == "{'x': 1.0}" and many == ["1.0", "1", "100.0", "12345678901234567890"]


def test_behind_a_prefix(use_page: UsePage, sums: Scaffold, tmp_path: Path) -> None:
    """A proxy that strips a prefix: what the page asks for is relative to where it is."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            fields = {
                name: self.headers[name]
                for name in ("accept", "content-type")
                if self.headers[name]
            }
            url = running.url + self.path.removeprefix("/teams/one")
            answer = httpx.request(
                self.command, url, content=self.rfile.read(length), headers=fields, trust_env=False
            )
            self.send_response(answer.status_code)
            for name in ("content-type", "content-security-policy"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with (
        serving(copied(sums, tmp_path / "sums")) as running,
        ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy,
    ):
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{proxy.server_port}/teams/one"
        (status, _), [curl] = use_page(url, PREDICT, ["read", "#curl pre"])
        proxy.shutdown()
    assert status.startswith("Answered") and f"{url}/v1/models/model:predict" in curl
