"""Models that only MLflow loads: a Python model with its files, and a function."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import generator
from generator import ModelError, ServingError
from support.packages.late import imported_late

pandas = imported_late("pandas")
pyfunc = imported_late("mlflow.pyfunc")
# MLflow's advice about type hints, which depends on how the model was logged.
pytestmark = [pytest.mark.sweep, pytest.mark.filterwarnings("ignore")]
FRAME = {"size": [1.5, 2.0], "rooms": [3, 4]}


def scaled() -> Any:
    """A model that reads a file of its own when it is loaded, and again when it predicts."""

    class Scaled(pyfunc.PythonModel):  # type: ignore[misc, unused-ignore]
        def load_context(self, context: Any) -> None:
            self.factor = float(Path(context.artifacts["factor"]).read_text())

        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            again = float(Path(context.artifacts["factor"]).read_text())
            return model_input * (self.factor + again)

    return Scaled()


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[Path]:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    (tmp_path / "factor.txt").write_text("2.0")
    pyfunc.save_model(
        tmp_path / "saved",
        python_model=scaled(),
        artifacts={"factor": str(tmp_path / "factor.txt")},
        input_example=pandas.DataFrame(FRAME),
        pip_requirements=["mlflow", "pandas", "tqdm==4.1.0"],
    )
    (tmp_path / "factor.txt").unlink()
    yield tmp_path / "saved"


def test_a_python_model_is_served_with_its_files(saved: Path, tmp_path: Path) -> None:
    scaffold = generator.from_file(saved, tmp_path / "served", trust=True)
    shutil.rmtree(saved)
    assert scaffold.framework == "mlflow"
    proof = json.loads((scaffold.directory / "smoke-test.json").read_text())
    expected = [{"size": 6.0, "rooms": 12.0}, {"size": 8.0, "rooms": 16.0}]
    assert proof["response"]["predictions"] == expected
    assert scaffold.predict([{"size": 1.5, "rooms": 3}])["predictions"] == expected[:1]
    lines = (scaffold.directory / "requirements.txt").read_text()
    assert "\nmlflow-skinny==" in lines and "\nmlflow  #" not in lines
    assert "\ntqdm==4.1.0  # given by you: requirements.txt of the MLflow model" in lines
    with pytest.raises(ServingError, match="400: .*rooms"):
        scaffold.predict([{"size": 1.5, "rooms": "many"}])
    scaffold.close()


def test_a_function_is_served(tmp_path: Path) -> None:
    def shout(model_input: list[str]) -> list[str]:
        return [text.upper() for text in model_input]

    pyfunc.save_model(tmp_path / "saved", python_model=shout, input_example=["a", "b"])
    scaffold = generator.from_file(tmp_path / "saved", tmp_path / "served", trust=True, name="loud")
    assert scaffold.name == "loud"
    assert scaffold.predict(["word"])["predictions"] == ["WORD"]
    scaffold.close()


def test_a_model_in_memory_is_asked_for_its_place(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not say where its files are: pass its directory"):
        generator.from_model(pyfunc.load_model(str(saved)), tmp_path / "no")


def test_a_function_in_an_environment_of_its_own(tmp_path: Path) -> None:
    def shout(model_input: list[str]) -> list[str]:
        return [text.upper() for text in model_input]

    pyfunc.save_model(tmp_path / "saved", python_model=shout, input_example=["a", "b"])
    scaffold = generator.from_file(tmp_path / "saved", tmp_path / "served", trust=True)
    assert scaffold.verify(environment="isolated")
    scaffold.close()
