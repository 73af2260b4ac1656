"""The documentation's site: it builds, fetches nothing from elsewhere, and says what is true."""

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import generator
from building import commands, messages, questions, routes
from building.parts import PARTS
from building.settings_file import keys
from common import config_file, context
from common import routes as owners_routes
from common.bodies import (
    csv_rows,
    events,
    json_decoder,
    msgpack_decode,
    msgpack_decoder,
    msgpack_encode,
    ndarray_codec,
    places,
)
from common.bodies.v2 import v2_codec
from common.config import Config, Model, Serving
from common.serving import compression, pool
from common.serving.http import connection, connections
from generator.cli import parser
from support.rendering.checkouts import ROOT

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
FETCHING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
SLOT = re.compile(r"\\\{.+?\\\}")
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "s": 1}


class Fetched(HTMLParser):
    """The addresses that a browser fetches for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name == FETCHING.get(tag)]


def text(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    built = build(ROOT / "mkdocs.yml", place)
    warned = [line for line in built.stderr.splitlines() if not line.startswith("INFO")]
    assert (built.returncode, warned) == (0, [])
    return place


def build(settings: Path, place: Path) -> "subprocess.CompletedProcess[str]":
    """Not with --quiet: MkDocs counts no warnings then, and --strict lets them pass."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(settings)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        [*command, "-d", str(place)], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("wrong", ["[x](#nowhere)", "[x](nowhere.md)", "::: pages.nowhere"])
def test_strict_is_strict(tmp_path: Path, wrong: str) -> None:
    made = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    made.update(docs_dir="pages", nav=["index.md"], hooks=[], extra_css=[])
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(made))
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages/index.md").write_text(f"# A page\n\n{wrong}\n")
    built = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert built.returncode == 1 and "nowhere" in built.stderr


@pytest.mark.sweep
def test_site_is_whole(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    reader = Fetched()
    for page in pages:
        html = page.read_text(encoding="utf-8")
        assert "<!-- generated" not in html, page
        reader.feed(html)
    assert len(reader.found) > 100
    assert [each for each in reader.found if re.match(r"(https?:)?//", each)] == []
    styles = "".join(each.read_text(encoding="utf-8") for each in site.rglob("*.css"))
    assert len(styles) > 10_000 and not re.search(r"url\(['\"]?(https?:)?//", styles)
    assert not list(site.rglob("*.py"))


def test_every_part_is_on_one_page() -> None:
    pages = [page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")]
    marked = re.findall(r"<!-- generated: (\S+) -->", "".join(pages))
    assert sorted(marked) == sorted(PARTS)


def test_every_key_of_config_yaml_is_described() -> None:
    written = PARTS["serving"]() + PARTS["model"]() + text("configuration.md")
    names = [f"serving.{name}" for name in vars(Serving())] + [
        f"model.{name}" for name in vars(Model())
    ]
    assert [name for name in names if f"{{#{name}}}" not in written] == []
    assert [key for key, known in keys().items() if not known.defaults] == []
    assert "`4096` (xgboost, lightgbm, catboost, sklearn), `256` (all others)" in written


def test_every_variable_of_the_environment_is_described() -> None:
    written = PARTS["environment"]() + text("configuration.md")
    read = re.compile(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"")
    files = [*(ROOT / "template/src").rglob("*.py"), *(ROOT / "generator").rglob("*.py")]
    found = {name for file in files for name in read.findall(file.read_text(encoding="utf-8"))}
    assert len(found) > 8
    assert [name for name in found - {"TMPDIR"} if f"`{name}`" not in written] == []


def test_every_question_is_described() -> None:
    document = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    written = questions.page()
    asked = [name for name, each in document.items() if name[0] != "_" and "help" in each]
    assert len(asked) > 9
    assert [name for name in asked if f"{{#{name}}}" not in written] == []
    assert "{%" not in written and "{{" not in written


def test_every_option_is_described() -> None:
    written = commands.page()
    options = {
        name
        for command in parser().commands.values()
        for option in command.options
        for name in option.action.option_strings
    } - {"-h", "--help"}
    assert len(options) > 25
    assert [name for name in options if f"`{name}`" not in written] == []


def test_every_metric_is_described() -> None:
    source = (ROOT / "template/src/common/serving/metrics.py").read_text(encoding="utf-8")
    source += (ROOT / "template/src/common/serving/gpu_memory.py").read_text(encoding="utf-8")
    names = set(re.findall(r"\"(scaffold_[a-z_]+)\"", source))
    written = PARTS["metrics"]()
    assert len(names) > 9
    assert [name for name in names if not re.search(rf"`{name}(_total)?`", written)] == []
    assert "| `scaffold_worker_restarts_total` | counter | `reason` |" in written


def test_every_route_and_status_is_described() -> None:
    written = routes.page()
    assert [path for _, path, _ in routes.operations() if f" {path}`" not in written] == []
    tags = {tag for _, _, described in routes.operations() for tag in described["tags"]}
    assert tags == set(routes.TAGS)
    statuses = {
        status for *_, described in routes.operations() for status in described["responses"]
    }
    assert [each for each in statuses - {"200"} if f"| {each} |" not in routes.statuses()] == []


def refused(document: dict[str, Any]) -> Callable[[], object]:
    base = {"model_name": "m", "model_metadata": {"framework": "sklearn", "model": {}}}
    return lambda: Config.from_document({**base, **document})


@pytest.mark.parametrize(
    "say",
    [
        lambda: generator.load("no/such/place"),
        lambda: generator.client("nonsense"),
        lambda: generator.client("http://localhost", retries=-1),
        lambda: generator.from_model(object(), framework="nonsense"),
        lambda: msgpack_decode(b"\xc1"),
        lambda: msgpack_decode(msgpack_encode({b"nd": True})),
        refused({"model_name": "no name"}),
        refused({"model_metadata": {"framework": "f", "model": {}, "serving": {"workers": 0}}}),
        refused({"model_metadata": {"framework": "f", "model": {}, "serving": {"wrokers": 1}}}),
        refused({"model_metadata": {"framework": "f", "model": {"input": {"kind": "tabel"}}}}),
    ],
)
def test_what_is_said_is_among_the_messages(say: Callable[[], object]) -> None:
    with pytest.raises(Exception) as raised:
        say()
    said = " ".join(str(raised.value).split())
    patterns = (SLOT.sub(".+", re.escape(each.text)) for each in messages.messages())
    specific = [each for each in patterns if len(re.sub(r"\W", "", each)) > 15]
    assert any(re.fullmatch(pattern, said) for pattern in specific), said


def test_messages_have_what_is_put_in_by_name() -> None:
    found = messages.messages()
    assert len(found) > 600
    assert {each.module.split(".")[0] for each in found} == {"generator", "hooks", "common"}
    texts = {(each.text, each.how) for each in found}
    assert ("retries {retries}: write 0 or more", "SettingError") in texts
    assert ("this model has no explainer", "501") in texts
    value = "config.yaml: {place} must be true, false or null, it is {value}"
    assert (value, "ConfigError") in texts
    lacking = "requirements.lock is made by uv, which is not found: run `pip install uv`"
    assert lacking in {text for text, _ in texts}


def test_forms_of_a_text() -> None:
    tree = ast.parse(
        "ONE = 'one thing'\n"
        "def f(name, some):\n"
        "    what = f'{ONE} of {name.first}'\n"
        "    raise ValueError(f'{what}: {some[0]!r} is ' + ('no' if name else 'a') + ' value')\n"
    )
    reader = messages.Reader(tree, messages.Known({"m": tree}))
    local = {name: [value] for name, value in messages.assigned(tree.body[1].body)}  # type: ignore[attr-defined]
    raised = tree.body[1].body[1]  # type: ignore[attr-defined]
    assert [text for _, text in reader.said(raised, local)] == [
        "one thing of {first}: {some} is no value",
        "one thing of {first}: {some} is a value",
    ]


# ---- what is written by hand ----

CONSTANTS = {
    "the attributes of a CloudEvent": events.MOST_BYTES,
    "an item of a msgpack array": vars(ndarray_codec)["_MAX_ITEM_BYTES"],
    "the memory that a zstd body may ask for": 2 ** next(iter(compression.ZSTD_OPTIONS.values())),
    "open connections, by the limit of open files": connections.RESERVE,
    "further connections, which may ask whether the server is ready": connections.SURPLUS,
    "requests that wait behind another one on their connection": connection.MAX_PIPELINED,
    "lists, objects and values beside the rows, in a body of 4 MiB or more": places.MOST_BESIDE,
    "levels of nested JSON": json_decoder.MOST_DEPTH,
    "levels of nested msgpack": msgpack_decoder.MOST_DEPTH,
    "axes of a msgpack array": vars(ndarray_codec)["_MAX_DIMENSIONS"],
    "tensors in a V2 body": v2_codec.MOST_TENSORS,
    "columns of a CSV": csv_rows.MOST_COLUMNS,
    "digits of a number in a CSV": csv_rows.MOST_DIGITS,
    "members of a gzip body, or frames of a zstd body": compression.MOST_MEMBERS,
    "the header fields that a hook sets on an answer": context.MOST_BYTES,
    "a `close` of yours, at the very end": pool.OWNERS_CLOSE_SECONDS,
    "characters of a path in `@route": owners_routes.MOST_CHARACTERS,
    "bytes of `config.yaml": config_file.MOST_BYTES,
    "nested levels in it": config_file.MOST_LEVELS,
}
OTHERWISE = {
    "the last answers after that": Serving().grace_seconds,
    "the same for scikit-learn, XGBoost, LightGBM and CatBoost": 4096,
}
UNLIMITED = "rows in a request"


def limits() -> list[list[str]]:
    """The rows of the tables of limits.md."""
    lines = [line for line in text("limits.md").splitlines() if line.startswith("| ")]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] != "what"]


def amount(cell: str) -> int:
    number, *unit = cell.split()[:2]
    return int(number.replace(",", "")) * UNITS.get("".join(unit), 1)


def test_limits_are_those_of_the_code() -> None:
    told, settings = set(), set()
    for what, setting, default, _ in limits():
        if what == UNLIMITED:
            continue
        told.add(what)
        settings.add(setting)
        known = OTHERWISE.get(what) or CONSTANTS.get(what) or getattr(Serving(), setting)
        assert amount(default) == known, what
    assert CONSTANTS.keys() | OTHERWISE.keys() <= told
    limiting = {name for name in vars(Serving()) if re.match("max_|.*_seconds", name)}
    assert limiting - settings == {"poll_seconds"}


def test_defaults_of_the_template_are_those_of_the_server() -> None:
    """limits.md names what a new scaffold has, and this compares that with `Serving`."""
    for name in vars(Serving()):
        given = set(map(str, keys()[f"model_metadata.serving.{name}"].defaults.values()))
        if name not in ("max_batch_size", "cors_origins", "gpu"):
            assert {float(each) for each in given if each not in ("True", "False")} <= {
                float(getattr(Serving(), name))
            }


def test_vectors_of_msgpack() -> None:
    page = text("formats.md")
    for value, written in ((np.arange(2, dtype="<f4"), "arange"), (Decimal("1.10"), "Decimal")):
        assert written in page and f"`{msgpack_encode(value).hex()}`" in page


def test_all_that_is_offered_has_a_docstring_and_a_place() -> None:
    page = text("python.md")
    assert [name for name in generator.__all__ if f"::: generator.{name}\n" not in page] == []
    for name in generator.__all__:
        offered = getattr(generator, name)
        assert inspect.getdoc(offered), name
        for member, value in vars(offered).items() if inspect.isclass(offered) else ():
            if member[0] != "_" and (callable(value) or isinstance(value, property)):
                assert inspect.getdoc(value), f"{name}.{member}"
