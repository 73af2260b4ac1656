"""A model that refers to a module of its owner's that is called as this package is."""

import re
from pathlib import Path

import pytest

import generator
from generator.sources.files import unpickled


@pytest.mark.parametrize(
    ("pickled", "name"),
    [
        (b"cgenerator\nDoubler\n.", "generator.Doubler"),
        (b"cgenerator.steps\nDoubler\n.", "the module 'generator.steps'"),
    ],
)
def test_a_module_called_generator(tmp_path: Path, pickled: bytes, name: str) -> None:
    file = tmp_path / "model.pickle"
    file.write_bytes(pickled)
    known = f"needs {name}, which this generator is not: rename your generator.py, or your package"
    with pytest.raises(generator.ScaffoldError, match=re.escape(known)):
        unpickled(file, lambda: None)
