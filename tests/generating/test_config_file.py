"""`config.yaml` is edited as YAML: facts change, and every other byte stays, in any style."""

import json
from collections.abc import Callable
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest
import yaml

from generator import ScaffoldError
from generator.rendering.render import render
from generator.writing.config_file import read_facts, write_facts, write_values

FACTS: dict[str, Any] = {
    "file": "model.joblib",
    "sha256": "0" * 64,
    "code": {"own.py": "1" * 64, "a/b.csv": "2" * 64},
    "class": "sklearn.linear_model.LinearRegression",
    "trained_with": {"python": "3.11.7", "scikit-learn": "1.9.1"},
    "input": {"kind": "table", "columns": [{"name": "a"}, {"name": "b", "missing": None}]},
    "output": {"kind": "class", "labels": [0, 1]},
    "example": [[1.5, 1e-05], [None, 1e22]],
}
RENDERED = [
    *((framework, "kserve") for framework in ("sklearn", "keras", "pytorch", "custom")),
    ("sklearn", "standalone"),
    ("sklearn", "kfserving"),
    ("custom", "kfserving"),
]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The template's own config.yaml, for a framework and a server."""
    texts: dict[tuple[str, str], str] = {}

    def text(framework: str = "sklearn", server: str = "kserve") -> str:
        if (framework, server) not in texts:
            directory = tmp_path_factory.mktemp(framework)
            render({"framework": framework, "server": server}, directory)
            texts[framework, server] = (directory / "config.yaml").read_text(encoding="utf-8")
        return texts[framework, server]

    return text


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def written(config: Path, text: str, facts: dict[str, Any]) -> str:
    """The file after facts are set. It must load as the old values with these facts."""
    config.write_bytes(text.encode())
    write_facts(config, facts)
    after = config.read_bytes().decode()
    expected = yaml.safe_load(text)
    metadata = expected["model_metadata"] = dict(expected.get("model_metadata") or {})
    metadata["model"] = {**(metadata.get("model") or {}), **facts}
    assert yaml.safe_load(after) == expected
    return after


def model_of(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text)["model_metadata"]["model"])


# ---- the template's file ----


@pytest.mark.parametrize(("framework", "server"), RENDERED)
def test_only_facts_change_in_the_templates_file(
    config: Path, rendered: Callable[..., str], framework: str, server: str
) -> None:
    text = rendered(framework, server)
    after = written(config, text, FACTS)
    before, lines = text.split("\n"), after.split("\n")
    keys = tuple(f"    {key}: " for key in FACTS)
    own = (*(key.rstrip() for key in keys), "      ")
    for kind, start, end, new_start, new_end in SequenceMatcher(None, before, lines).get_opcodes():
        if kind != "equal":
            assert all(line.startswith(keys) for line in before[start:end])
            assert all(line.startswith(own) for line in lines[new_start:new_end])
    assert written(config, after, FACTS) == after
    assert written(config, after, {key: model_of(text)[key] for key in FACTS}) == text


def test_how_facts_are_written(config: Path, rendered: Callable[..., str]) -> None:
    after = written(config, rendered(), FACTS)
    for entry in (
        "    file: model.joblib\n",
        f"    code: {{own.py: '{'1' * 64}', a/b.csv: '{'2' * 64}'}}\n",
        "    trained_with: {python: 3.11.7, scikit-learn: 1.9.1}\n",
        "    input:\n      kind: table\n      columns:\n      - {name: a}\n"
        "      - {name: b, missing: null}\n",
        "    output:\n      kind: class\n      labels: [0, 1]\n",
        "    example:\n      - [1.5, 1.0e-05]\n      - [null, 1.0e+22]\n",
    ):
        assert entry in after


# ---- the same file in another style ----


def without_folds(text: str) -> str:
    """The template's file up to Baseten's commands, which are longer than a line."""
    return text[: text.index("# ---- Baseten")]


# Styles that change how null is written. Null that is set back is plain.
REWRITTEN = ("quoted", "a literal block", "values on the next line")
STYLES: dict[str, Callable[[str], str]] = {
    "PyYAML": lambda text: yaml.safe_dump(yaml.safe_load(text)),
    "PyYAML, in order": lambda text: yaml.safe_dump(yaml.safe_load(text), sort_keys=False),
    "indented by 7": lambda text: yaml.safe_dump(yaml.safe_load(text), indent=7),
    "flow": lambda text: yaml.safe_dump(yaml.safe_load(text), default_flow_style=True),
    "quoted": lambda text: yaml.safe_dump(yaml.safe_load(text), default_style="'"),
    "JSON": lambda text: json.dumps(yaml.safe_load(text), indent=2),
    "JSON on one line": lambda text: json.dumps(yaml.safe_load(text), separators=(",", ":")),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "BOM": lambda text: f"\ufeff{text}",
    "no final newline": lambda text: text.rstrip("\n"),
    "directive and end": lambda text: f"%YAML 1.1\n---\n{text}...\n",
    "blank lines and comments": lambda text: without_folds(text).replace("\n", "  # c\n\n  # d\n"),
    "a literal block": lambda text: text.replace("null\n", "|-  # c\n      text\n\n        more\n"),
    "values on the next line": lambda text: text.replace(": null", ":  # c\n      null  # d"),
    "complex keys": lambda text: text.replace("    class: null", "    ? class\n    : null"),
}


@pytest.mark.parametrize("style", STYLES)
def test_another_style_stays(config: Path, rendered: Callable[..., str], style: str) -> None:
    """Setting facts, and then setting them back, gives the same bytes."""
    text = STYLES[style](rendered())
    after = written(config, text, FACTS)
    assert after != text and written(config, after, FACTS) == after
    back = written(config, after, {key: model_of(text).get(key) for key in FACTS})
    if style not in REWRITTEN:
        assert back == text
    if style == "CRLF":
        assert after.count("\r\n") == after.count("\n")


def test_json_stays_json(config: Path, rendered: Callable[..., str]) -> None:
    after = written(config, json.dumps(yaml.safe_load(rendered()), indent=1), FACTS)
    assert json.loads(after)["model_metadata"]["model"]["input"] == FACTS["input"]


# ---- unusual files: the text before and after ----

NEW = {"file": "new", "sha256": "x", "input": {"kind": "table", "columns": [{"name": "n"}]}}
BLOCK = "input:{}\n      kind: table\n      columns:\n      - {{name: n}}\n"
LINES = "    kind: table\n    columns:\n    - {name: n}"
FLOW = "{kind: table, columns: [{name: n}]}"
ODD: dict[str, tuple[str, str]] = {
    "comments": (
        "    file: a  # my file\n    sha256: 'old' # sum\n    input: null  # rows\n    # end\n",
        f"    file: new  # my file\n    sha256: x # sum\n    {BLOCK.format('  # rows')}    # end\n",
    ),
    "blocks": (
        "    file: >-\n      two\n      lines\n\n    sha256: |  # sum\n      a # b\n"
        "    input: # rows\n      kind: array\n      shape: [3]  # three\n    own: 1\n",
        f"    file: new\n\n    sha256: x  # sum\n    {BLOCK.format(' # rows')}    own: 1\n",
    ),
    "no values": (
        "    file:\n    sha256:  # sum\n    input: \n",
        f"    file: new\n    sha256: x  # sum\n    {BLOCK.format(' ')}",
    ),
    "missing keys": (
        "    own: 1  # mine\n\n# end\nx: 1",
        f"    own: 1  # mine\n    file: new\n    sha256: x\n    {BLOCK.format('')}\n# end\nx: 1",
    ),
    "an alias to a fact": (
        "    file: &f a\n    sha256: *f  # the same\nname: *f\n",
        f"    file: new\n    sha256: x  # the same\n    {BLOCK.format('')}name: a\n",
    ),
    "an alias to a parent of facts": (
        "    file: a\n    input: &i\n      kind: table\n      columns: &c [{name: o}]  # cc\n"
        "    sha256: x\nrows: [*i, *c]\n",
        "    file: new\n    input: &i\n      kind: table\n      columns: &c [{name: n}]  # cc\n"
        "    sha256: x\nrows: [{kind: table, columns: [{name: o}]}, [{name: o}]]\n",
    ),
    "an alias as a key": (
        "    own: &k file\n    *k : a  # mine\n    sha256: x\n    input: [1]\n",
        f"    own: &k file\n    *k : new  # mine\n    sha256: x\n    {BLOCK.format('')}",
    ),
    "merged keys": (
        "    <<: &d {file: a, sha256: x}\n    own: 1\ndefaults: *d\n",
        "    <<: &d {file: a, sha256: x}\n    own: 1\n    file: new\n"
        f"    {BLOCK.format('')}defaults: *d\n",
    ),
    "duplicate keys": (
        "    file: a\n    file: b  # counts\n    sha256: x\n    input: null\n",
        f"    file: a\n    file: new  # counts\n    sha256: x\n    {BLOCK.format('')}",
    ),
    "quoted and complex keys": (
        "    \"file\" : 'a'\n    ? sha256\n    : b\n    ? input\n    : - q\n      - z\n",
        f'    "file" : new\n    ? sha256\n    : x\n    ? input\n    : {FLOW}\n',
    ),
    "tags": (
        "    file: !!str 123\n    sha256: !!null ''\n    input: !!seq [1]  # rows\n",
        f"    file: new\n    sha256: x\n    {BLOCK.format('  # rows')}",
    ),
    "numbers and dates": (
        "    a: [0o17, 0x1F, 1e5, 1_000, .5, 2001-01-01, ~, Null, 1:30]\n    sha256: x\n"
        "    file: 1e5\n    input: yes\n",
        "    a: [0o17, 0x1F, 1e5, 1_000, .5, 2001-01-01, ~, Null, 1:30]\n    sha256: x\n"
        f"    file: new\n    {BLOCK.format('')}",
    ),
    "a change of one value": (
        "    file: new\n    sha256: x\n    input:\n      columns:\n      - name: o  # of mine\n"
        "      kind: 'table'\n",
        "    file: new\n    sha256: x\n    input:\n      columns:\n      - name: n  # of mine\n"
        "      kind: 'table'\n",
    ),
    "a list without indentation": (
        "    sha256: x\n    input:\n    - a\n    - b # b\n    file:\n      - c\n",
        f"    sha256: x\n    {BLOCK.format('')}    file: new\n",
    ),
    "lines of several lengths": (
        "    file: a\n      b\n      c   # cc\n    sha256:\n      later # s\n    input: [1,\n 2]\n",
        f"    file: new   # cc\n    sha256:\n      x # s\n    {BLOCK.format('')}",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_unusual_file_keeps_all_but_the_facts(config: Path, odd: str) -> None:
    head = "# head\nmodel_metadata:  # of the model\n  model:\n"
    before, after = (head + text for text in ODD[odd])
    assert written(config, before, NEW) == after
    windows = written(config, before.replace("\n", "\r\n"), NEW)
    assert windows == after.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x: 1  # one", f"x: 1  # one\nmodel_metadata:\n  model:\n{LINES}"),
        ("model_metadata:\nx: 1\n", f"model_metadata:\n  model:\n{LINES}\nx: 1\n"),
        (
            "model_metadata: {a: 1, model: {b: 2},  # c\n}\n",
            "model_metadata: {a: 1, model: {b: 2, kind: table, columns: [{name: n}]},  # c\n}\n",
        ),
        ("model_metadata: {model: {}}\n", f"model_metadata: {{model: {FLOW}}}\n"),
        (
            "m: &m\n  kind: array\nmodel_metadata:\n  model: *m  # shared\n",
            "m: &m\n  kind: array\nmodel_metadata:\n  model:  # shared\n    kind: table\n"
            "    columns:\n    - {name: n}\n",
        ),
    ],
)
def test_a_section_that_is_missing_or_shared(config: Path, before: str, after: str) -> None:
    assert written(config, before, NEW["input"]) == after


def test_other_values_can_be_written(config: Path) -> None:
    config.write_text("a: {b: 1}  # one\nc: [1]\n")
    write_values(config, {("a", "b"): 2, ("a", "d", "e"): 3, ("f",): "yes"})
    assert config.read_text() == "a: {b: 2, d: {e: 3}}  # one\nc: [1]\nf: 'yes'\n"


# ---- difficult values ----

NAMES = [
    *("a: b", "# no", "a #b", "'", '"', "''", "- x", "null", "yes", "1", "1e5", "", " ", "~"),
    *(" lead", "trail ", "a\nb", "a\n\n b\n", "\t", "é", "😀", "\U0010ffff", "x" * 5000, "[", "}"),
    *("a,b", "*a", "&a", "!t", "%d", "@x", "`", "|", ">", "?", "<<", "=", "---", "...", "\\"),
    *("\0", "\x07", "\x7f", "\x85", "\u2028", "\ufeff", "\ud800", "2001-01-01", "1:30", "0o17"),
]


@pytest.mark.parametrize("style", ["PyYAML", "flow", "JSON", "CRLF"])
def test_a_name_may_hold_any_character(
    config: Path, rendered: Callable[..., str], style: str
) -> None:
    text = STYLES[style](rendered())
    for value in (
        {"kind": "table", "columns": [{"name": name} for name in NAMES]},
        {name: name for name in NAMES},
        {name: {name: [name]} for name in NAMES},
        NAMES,
        [NAMES, [NAMES]],
    ):
        text = written(config, text, {"input": value})
    written(config, text, {f"own_{number}": name for number, name in enumerate(NAMES)})


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.0,
        True,
        -0.0,
        0.0,
        1e16,
        1e-7,
        float("inf"),
        float("nan"),
        10**30,
        b"\0",
        [[]],
        {},
        [{}],
    ],
    ids=repr,
)
def test_a_value_keeps_its_type(config: Path, rendered: Callable[..., str], value: Any) -> None:
    """1 can be replaced by 1.0 and by true, which are equal to it."""
    config.write_text(rendered())
    for before in (1, True, 0.0, [1], {"a": 1}):
        write_facts(config, {"file": before})
        write_facts(config, {"file": value})
        assert repr(read_facts(config)["file"]) == repr(value)


# ---- files that cannot be edited ----


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\n---\nb: 2\n", "is not YAML: line 2, column 1: expected a single document in the"),
        ("a: [1\nb: 2\n", r"is not YAML: line 2, column 2: while parsing a flow sequence, "),
        ("a: *b\n", "is not YAML: line 1, column 4: found undefined alias 'b'"),
        ("a: 1\n\tb: 2\n", "is not YAML: line 2, column 1: while scanning for the next token, "),
        ("a: \0\n", "is not YAML: unacceptable character #x0000"),
        ("a: 2001-99-99\n", "is not YAML: month must be in 1..12"),
        ("a: !own 1\n", "is not YAML: line 1, column 4: could not determine a constructor"),
        ("- a\n", r'must hold a mapping, not \["a"\]'),
        ("", "must hold a mapping, not null"),
        ("model_metadata: [1]\n", r": model_metadata must be a mapping, it is \[1\]"),
        ("model_metadata: {model: no}\n", ": model_metadata.model must be a mapping, it is false"),
        ("model_metadata: {model: {}}\nr: &r [*r]\n", "cannot hold the model's facts: maximum"),
        (f"a: {'[' * 2000}", "is not YAML: maximum recursion depth exceeded"),
        (b"a: \xff\n", "is not YAML: 'utf-8' codec can't decode byte 0xff"),
        ("\ufeffa: 1\n".encode("utf-16"), "is not YAML: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_refuses_what_is_not_a_config(config: Path, content: "str | bytes", message: str) -> None:
    if isinstance(content, str):
        content = content.encode()
    config.write_bytes(content)
    with pytest.raises(ScaffoldError, match=message) as raised:
        write_facts(config, FACTS)
    assert str(raised.value).startswith(str(config)) and "\n" not in str(raised.value)
    assert config.read_bytes() == content


def test_refuses_a_value_that_yaml_cannot_express(config: Path) -> None:
    config.write_text("a: 1\n")
    with pytest.raises(ScaffoldError, match="cannot hold the model's facts: .* <object object"):
        write_facts(config, {"file": object()})
    assert config.read_text() == "a: 1\n"
