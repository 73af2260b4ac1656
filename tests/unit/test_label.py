"""The model's version in the Dockerfile follows the model, unless its owner has written another."""

from pathlib import Path

import pytest

from generator.writing.label import label_version

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
