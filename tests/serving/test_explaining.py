"""The page about explanations: what it says is done to a scaffold, over real HTTP."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.testing import assert_allclose

import generator
from generator.running.server import Server
from support.rendering.checkouts import ROOT

PAGE = ROOT / "docs/guides/explaining.md"
FLOWER = [5.1, 3.5, 1.4, 0.2]

pytestmark = pytest.mark.sweep


@pytest.fixture(scope="module")
def explaining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of a forest whose owner has followed the page."""
    pytest.importorskip("shap")
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    rows, classes = load_iris(return_X_y=True)
    forest = RandomForestClassifier(n_estimators=10, random_state=0).fit(rows, classes)
    directory = tmp_path_factory.mktemp("explaining") / "forest"
    scaffold = generator.from_model(
        forest, directory, sample_input=rows[:5], server="standalone", requirements=["shap"]
    )
    follow(directory / "src/server/inference_model.py")
    with scaffold.serve(port=0) as server:
        yield server
    scaffold.close()


def follow(file: Path) -> None:
    """Edit a scaffold's code as the page says: the edited methods replace those of the class."""
    imports, methods = re.findall(r"^```python\n(.+?)^```$", PAGE.read_text(), re.M | re.S)[:2]
    edited = methods.replace("class InferenceModel:", "class InferenceModel(Template):")
    assert edited != methods
    file.write_text(f"{imports}\n{file.read_text()}\n\nTemplate = InferenceModel\n\n\n{edited}")


def test_a_prediction_is_explained(explaining: Server) -> None:
    body = {"instances": [FLOWER, [6.7, 3.0, 5.2, 2.3]], "probabilities": True}
    asked = httpx.post(explaining.predict_url, json=body, timeout=60).json()
    answer = httpx.post(f"{explaining.url}/explain", json=body, timeout=60).json()
    explained, base = np.array(answer["explanations"]), np.array(answer["base_values"])
    assert explained.shape == (2, 4, 3) and base.shape == (2, 3)
    assert_allclose(base + explained.sum(axis=1), asked["probabilities"], atol=1e-9)


def test_what_is_wrong_is_told(explaining: Server) -> None:
    for body, said in [
        (FLOWER, 'the body must be {"instances": [row, ...]}'),
        ({"instances": [[1, 2]]}, "instances[0]: the model takes 4 values a row, this one has 2"),
    ]:
        answer = httpx.post(f"{explaining.url}/explain", json=body, timeout=60)
        assert (answer.status_code, answer.json()) == (400, {"error": said})


def test_it_is_described(explaining: Server) -> None:
    described = httpx.get(f"{explaining.url}/openapi.json", timeout=60).json()["paths"]["/explain"]
    assert described["post"]["summary"] == "How much each value of a row adds to each class."
