"""Scaffolds without a framework: any object with a `predict`, or code that the owner writes."""

import contextlib
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import scipy.sparse
import yaml

import generator
from generator import (
    ModelError,
    RequirementError,
    Scaffold,
    ServingError,
    SettingError,
    TargetError,
)
from generator.hooks import names
from support.models.objects import Columns, Lengths, Longest, Moduli, Sizes, Stored, Sums
from support.rendering.checkouts import ROOT
from support.session.cases import first

MAKE = {"framework": "custom"}


def facts(scaffold: Scaffold) -> dict[str, Any]:
    return dict(
        yaml.safe_load((scaffold.directory / "config.yaml").read_text())["model_metadata"]["model"]
    )


@pytest.mark.parametrize(
    ("model", "sample", "kind"),
    [
        (Sums(), [[1, 2], [3]], "json"),
        pytest.param(Sums(), np.ones((3, 2)), "array", marks=pytest.mark.sweep),
        (Columns(), pandas.DataFrame({"city": ["Graz", "Linz"], "size": [1.5, 2.5]}), "table"),
        pytest.param(
            Longest(),
            {"left": np.eye(3), "right": np.zeros((3, 3))},
            "tensors",
            marks=pytest.mark.sweep,
        ),
        pytest.param(Lengths(), ["one", "three"], "text", marks=pytest.mark.sweep),
    ],
    ids=["json", "array", "table", "tensors", "text"],
)
def test_an_object_gets_the_rows_that_it_takes_in_memory(
    make: Callable[..., Scaffold], model: Any, sample: Any, kind: str
) -> None:
    """from_model checks that what is served equals what the object predicts."""
    scaffold = make(model, sample_input=sample)
    assert facts(scaffold)["input"]["kind"] == kind and facts(scaffold)["file"] == "model.pickle"
    assert scaffold.verify()


PNG = b"\x89PNG\xff\x00"


@pytest.mark.parametrize(
    ("model", "sample", "described", "row"),
    first(
        2,
        [
            (Sizes(), [PNG, b"abc"], {"kind": "text", "dtype": "bytes"}, {"b64": "iVBORw=="}),
            (
                Sizes(),
                np.array([PNG, b"abc"], dtype=object),
                {"kind": "array", "shape": [], "dtype": "bytes"},
                "abcd",
            ),
            (
                Sizes("image"),
                [{"image": PNG, "name": "a"}, {"image": b"abc", "name": "b"}],
                {"kind": "json", "bytes": True},
                {"image": {"b64": "iVBORw=="}, "name": "c"},
            ),
            (
                Moduli(),
                np.array([[3 + 4j], [1j]]),
                {"kind": "array", "shape": [1], "dtype": "complex128"},
                [[0, 4]],
            ),
            (
                Stored(),
                scipy.sparse.csr_matrix([[0, 1, 2, 0], [1, 2, 3, 4]]),
                {"kind": "array", "shape": [4], "dtype": "int64", "sparse": "csr_matrix"},
                [1, 2, 3, 4],
            ),
        ],
    ),
    ids=["bytes", "array of bytes", "rows with bytes", "complex", "sparse"],
)
def test_what_json_lacks_has_one_form(
    make: Callable[..., Scaffold], model: Any, sample: Any, described: dict[str, Any], row: Any
) -> None:
    scaffold = make(model, sample_input=sample)
    assert facts(scaffold)["input"] == described
    assert scaffold.predict([row]) == {"predictions": [4]}
    assert scaffold.verify()


def test_without_a_sample_any_row_is_accepted(make: Callable[..., Scaffold]) -> None:
    with pytest.warns(UserWarning, match="does not say what a row is: pass sample_input"):
        scaffold = make(Sums())
    assert facts(scaffold)["input"] is None
    assert scaffold.predict([[1, 2], [3, 4]]) == {"predictions": [3, 7]}


def test_requests_of_any_rows_share_a_call(make: Callable[..., Scaffold]) -> None:
    import httpx

    scaffold = make(Sums(), sample_input=[[1, 2], [3]])
    with scaffold.serve(port=0) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        assert client.post(server.predict_url, json={"instances": [[1, 2, 3], [4]]}).json() == {
            "predictions": [6, 4]
        }
        assert client.get("/v2/models/model").json()["inputs"][0]["datatype"] == "BYTES"
        assert client.get("/openapi.json").status_code == 200


def test_an_object_whose_class_is_in_a_script(tmp_path: Path) -> None:
    script = """
        import generator

        FACTOR = 3

        class Triple:
            def predict(self, rows):
                return [row * FACTOR for row in rows]

        scaffold = generator.from_model(Triple(), "triple", framework="custom", sample_input=[1, 2])
        scaffold.close()
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with contextlib.closing(generator.load(tmp_path / "triple")) as scaffold:
        assert scaffold.predict([5]) == {"predictions": [15]}
    assert "FACTOR = 3" in (tmp_path / "triple" / "src" / "model" / "session_code.py").read_text()


@pytest.mark.parametrize(
    ("model", "settings", "error", "message"),
    [
        (
            object(),
            {},
            ModelError,
            "object has no predict: pass an object whose predict takes rows, or",
        ),
        (Sums, {}, ModelError, "Sums is a class, not a model"),
        (
            Sums(),
            {"sample_input": [[1], ["a"]]},
            SettingError,
            "cannot predict from sample_input: TypeError: unsupported operand",
        ),
        (
            Sums(),
            {"sample_input": 7},
            SettingError,
            "sample_input is a int: pass rows as an array, a DataFrame",
        ),
        (
            Sums(),
            {"framework": "keras"},
            ModelError,
            "Sums, which is not a model of keras: leave framework out",
        ),
        (
            Sums(),
            {"framework": "caffe"},
            SettingError,
            f"framework 'caffe' is none of {', '.join(names())}",
        ),
        (
            {"a": 1},
            {"framework": None},
            ModelError,
            "framework is not known: .* for another method of an object, pass method=NAME",
        ),
        (Sums(), {"format": "onnx"}, SettingError, "format 'onnx' is none of custom's"),
    ],
)
def test_from_model_refuses(
    tmp_path: Path, model: Any, settings: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        generator.from_model(model, tmp_path / "no", **{"framework": "custom", **settings})
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


# ---- without a model ----

WRITTEN = {
    "self._model = pickle.load(file)": "self._model = {'cat': 1}",
    'with model_path(self._config).open("rb") as file:': "if True:",
    "self._model.predict(inputs)": "[self._model[word] for word in inputs]",
}


def test_a_scaffold_without_a_model_serves_its_owners_code(tmp_path: Path) -> None:
    scaffold = generator.new(tmp_path / "empty", name="words", requirements=["rich==14.0.0"])
    assert scaffold.name == "words"
    assert scaffold.docker_build_string.split()[3].endswith("custom-server.Dockerfile")
    requirements = (tmp_path / "empty" / "requirements.txt").read_text()
    assert "rich==14.0.0  # given by you\n" in requirements
    assert f"numpy=={np.__version__}  #" in requirements
    message = (
        "there is no model yet: write load and predict in src/server/inference_model.py, or put a "
        "model into"
    )
    with pytest.raises(ServingError, match=message), scaffold.serve(port=0):
        pass
    with pytest.raises(ServingError, match=message):
        scaffold.predict(["cat"])
    file = tmp_path / "empty" / "src" / "server" / "inference_model.py"
    text = file.read_text()
    for old, new in WRITTEN.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    file.write_text(text)
    with contextlib.closing(scaffold):
        assert scaffold.predict(["cat", "cat"]) == {"predictions": [1, 1]}
        assert scaffold.verify(["cat"], expected=[1]) and scaffold.verify()
        assert "should be 2" in str(scaffold.verify(["cat"], expected=[2]).difference)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"name": "a b"}, SettingError, "'a b' is not a model name"),
        ({"python_version": "2.7"}, SettingError, "python_version '2.7' is not one of"),
        ({"requirements": ["=="]}, SettingError, "'==' is not a requirement"),
        ({"requirements": ["./here"]}, SettingError, "'./here' is not a requirement"),
        ({"data": "nowhere"}, SettingError, "data names 'nowhere', which does not exist"),
        ({"server": "flask"}, SettingError, "server"),
    ],
)
def test_new_refuses(tmp_path: Path, settings: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises((error, RequirementError), match=message):
        generator.new(tmp_path / "no", **settings)
    assert not list(tmp_path.iterdir())


def test_new_overwrites_only_if_told(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(
        TargetError, match="holds something already: name another, or pass overwrite=True"
    ):
        generator.new(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
