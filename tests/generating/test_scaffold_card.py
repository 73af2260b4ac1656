"""A scaffold shows itself in a notebook."""

import shutil
from pathlib import Path

import pytest

import generator
from generator.scaffold import Scaffold


def test_a_scaffold_shows_itself(
    sums: Scaffold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_BUILDKIT", "1")
    shown = sums._repr_html_()
    assert f"<pre>{sums.docker_build_string}</pre>" in shown
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    typed = f"DOCKER_BUILDKIT=1 {sums.docker_build_string}"
    assert f"<pre>{typed}</pre>" in sums._repr_html_()
    assert f"$({typed} -q)" in sums._repr_html_()
    assert "on 2 rows, answered as expected" in shown and "float64" in shown
    assert repr(sums) == f"Scaffold({str(sums.directory)!r})"
    edited = generator.load(shutil.copytree(sums.directory, tmp_path / "edited"))
    (edited.directory / "config.yaml").write_text("model_metadata: '<b>'")
    assert "cannot be read" in edited._repr_html_() and "&lt;b&gt;" in edited._repr_html_()
