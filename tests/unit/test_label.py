"""The model's version in the Dockerfile follows the model, unless its owner has written another."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from generator.writing.label import image_tag, label_value, label_version

OLD, NEW = {"sha256": "a" * 64}, {"sha256": "b" * 64}


@pytest.mark.parametrize(
    ("line", "before", "after", "expected"),
    [
        ("", {}, OLD, "a" * 12),
        ("a" * 12, OLD, NEW, "b" * 12),
        ("a" * 12, OLD, {**NEW, "version": "1.10"}, "1.10"),
        ("1.10", {**OLD, "version": "1.10"}, {**NEW, "version": None}, "b" * 12),
        ("ours", OLD, NEW, "ours"),
        ("1x10", {**OLD, "version": "1.10"}, NEW, "1x10"),
    ],
)
def test_it(
    tmp_path: Path, line: str, before: dict[str, str], after: dict[str, str], expected: str
) -> None:
    file = tmp_path / "sklearn-server.Dockerfile"
    file.write_text(f'FROM base\nARG MODEL_VERSION="{line}"\nARG REVISION=""\n')
    label_version(tmp_path, before, after)
    assert file.read_text() == f'FROM base\nARG MODEL_VERSION="{expected}"\nARG REVISION=""\n'


KUSTOMIZATION = """images:
  - name: iris
    newTag: {}
labels:
  - pairs:
      app.kubernetes.io/version: {}
"""


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ('""', '"bbbbbbbbbbbb"'),
        ("", '"bbbbbbbbbbbb"'),
        (f'"{"a" * 12}"', '"bbbbbbbbbbbb"'),
        (f"{'a' * 12}  # of kustomize edit", '"bbbbbbbbbbbb"  # of kustomize edit'),
        ('"ours"', '"ours"'),
        (f'"{"a" * 12}-2"', f'"{"a" * 12}-2"'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_tag(tmp_path: Path, tag: str, expected: str, end: str) -> None:
    file = tmp_path / "deploy" / "kustomization.yaml"
    file.parent.mkdir()
    file.write_bytes(KUSTOMIZATION.format(tag, tag).replace("\n", end).encode())
    changed = label_version(tmp_path, OLD, NEW)
    text = KUSTOMIZATION.format(expected, expected).replace("\n", end)
    assert file.read_bytes() == text.encode()
    assert changed == (["deploy/kustomization.yaml"] if tag != expected else [])


def test_the_tag_in_an_image_is_replaced_where_it_is_the_version_before(tmp_path: Path) -> None:
    file = tmp_path / "deploy" / "cloudrun.yaml"
    file.parent.mkdir()
    lines = (
        '- image: "r:5000/iris:{0}"\nimageUri: iris:{0}\nimage: iris:1\nurl: iris:{1}\nimage: ""\n'
    )
    file.write_text(lines.format("a" * 12, "a" * 12))
    assert label_version(tmp_path, OLD, NEW) == ["deploy/cloudrun.yaml"]
    assert file.read_text() == lines.format("b" * 12, "a" * 12)
    assert label_version(tmp_path, {}, NEW) == []


VERSIONS = [
    "1.10",
    "1.0+cu121",
    "1.0-cu121",
    "1.0+cu-121",
    "1.",
    "1",
    "x" * 64,
    "x" * 63,
    "x" * 63 + "+",
    "2024-05-01",
]


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        (image_tag, r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
        (label_value, r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"),
    ],
)
def test_every_version_is_a_tag_and_a_label_of_its_own(
    form: Callable[[str], str], rule: str
) -> None:
    written = {version: form(version) for version in VERSIONS}
    assert len({*written.values()}) == len(VERSIONS)
    assert [text for text in written.values() if not re.fullmatch(rule, text)] == []
    assert written["1.10"] == "1.10" and form("") == ""
    assert form("1.0+cu121") == "1.0-cu121-" + hashlib.sha256(b"1.0+cu121").hexdigest()[:8]
