"""The notebook of the examples, run by a kernel and seen in a browser."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.rendering.checkouts import ROOT

PROGRAM = ROOT / "tests" / "support" / "programs" / "notebook_picture.py"
BROWSER = Path("/usr/bin/chromium")
HOMES = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")
NEEDED = ("nbclient", "ipykernel", "nbconvert", "PIL")
BLUE, RED = (76, 139, 245), (229, 72, 77)


def is_near(colour: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return all(abs(one - other) < 60 for one, other in zip(colour, wanted, strict=True))


def colours(picture: Path) -> dict[tuple[int, ...], int]:
    """Each colour in a picture, with the count of its pixels."""
    from PIL import Image

    with Image.open(picture) as image:
        return {colour: count for count, colour in image.convert("RGB").getcolors(2**20)}


# Runs a cell in a kernel and prints its outputs.
RUN_CELL = """
import json, sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

place = sys.argv[1]
cell = nbformat.v4.new_code_cell((Path(place) / "notebook.py").read_text())
notebook = nbformat.v4.new_notebook(cells=[cell])
NotebookClient(
    notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": place}}
).execute()
print(json.dumps(notebook.cells[0].outputs))
"""
NEIGHBOURS = """
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier

import generator

rows, labels = load_iris(return_X_y=True)
model = KNeighborsClassifier().fit(rows, labels)
_ = generator.from_model(model, "made", sample_input=rows, engine="onnx")
"""


@pytest.mark.sweep
@pytest.mark.skipif(not all(map(importlib.util.find_spec, NEEDED)), reason="needs a kernel")
def test_a_notebook_shows_how_a_compiled_form_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neighbours at equal distances: ONNX Runtime chooses others."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    for name in HOMES:
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "notebook.py").write_text(NEIGHBOURS)
    program = [sys.executable, "-c", RUN_CELL, str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    outputs = json.loads(done.stdout)
    [shown] = [each["data"]["text/html"] for each in outputs if "text/html" in each.get("data", {})]
    assert "The rows that differ most" in shown and "predict_proba of the compiled form" in shown


@pytest.mark.sweep
@pytest.mark.skipif(
    not BROWSER.exists() or not all(map(importlib.util.find_spec, NEEDED)),
    reason="needs chromium, and a kernel",
)
def test_the_notebook_runs_and_shows_what_it_made(tmp_path: Path) -> None:
    environ = {**os.environ, **{name: str(tmp_path / name) for name in HOMES}}
    environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, PROGRAM, BROWSER, ROOT / "examples/notebook.ipynb", tmp_path]
    subprocess.run(command, check=True, env=environ)
    cells = json.loads((tmp_path / "notebook.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    told = [
        "".join(each["data"]["text/plain"]) for each in outputs if "text/html" not in each["data"]
    ]
    doing = [
        "Making the scaffold test_rfc",
        "Making the scaffold test_ridge",
        "Verifying test_ridge",
    ]
    assert [line.partition(":")[0] for line in told] == doing
    assert all(line.endswith((" s", ": done")) for line in told)
    shown = [each["data"]["text/html"] for each in outputs if "text/html" in each["data"]]
    card, comparison = map("".join, shown)
    assert "sepal length (cm)" in card and "4.3 to 7.9" in card and "on 150 rows" in card
    assert "Not as expected" in comparison and "442 of 442 rows differ" in comparison
    for theme in ("light", "dark"):
        found = colours(tmp_path / f"{theme}.png")
        assert any(is_near(colour, BLUE) for colour in found), theme
        assert any(is_near(colour, RED) for colour in found), theme
        background = max(found, key=lambda colour: found[colour])
        assert (sum(background) > 600) == (theme == "light")
    assert (ROOT / "docs/images/notebook.png").stat().st_size < 200_000
