"""One model of each kind: made in one call, equal in memory, and over HTTP in JSON and in V2."""

import contextlib
from pathlib import Path
from typing import Any

import pytest

import generator
from common.bodies.v2 import v2_metadata
from common.bodies.v2.v2_tensors import tensors_of_response
from common.config import Config
from generator.hooks import DEFINITIONS
from generator.running.comparison import compare
from support.models.kinds import KINDS
from support.servers.running import Running, serving

# Their models are in tests of their own.
ELSEWHERE = {"mlflow"}
# Their rows are bytes, which V2 has no form for in JSON.
NO_JSON_TENSORS = {"transformers: images"}


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:requests will not share a call of predict")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_made_proved_and_served(name: str, tmp_path: Path) -> None:
    """from_model compares with the model in memory, and keeps the pair as the smoke test."""
    made = KINDS[name]()
    scaffold = generator.from_model(
        made.model, tmp_path / "made", sample_input=made.sample, **made.settings
    )
    with contextlib.closing(scaffold), serving(scaffold.directory) as server:
        tolerance = 1e-6
        rows = Config.read(scaffold.directory / "config.yaml").model.example
        wanted = scaffold.predict(rows)["predictions"]
        assert scaffold.verify()
        assert compare(wanted, _json(server, rows), tolerance)
        tensors = {
            key: value.ravel().tolist()
            for key, value in tensors_of_response({"predictions": wanted}).items()
        }
        if name in NO_JSON_TENSORS:
            return
        found = _v2(server, scaffold)
        assert found.keys() == tensors.keys()
        for key, values in tensors.items():
            assert compare(values, found[key], tolerance), key


def _json(server: Running, rows: Any) -> Any:
    with server.client() as client:
        answer = client.post("/v1/models/model:predict", json={"instances": rows})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def _v2(server: Running, scaffold: generator.Scaffold) -> dict[str, Any]:
    """The data of each output for the example."""
    request = v2_metadata.example(Config.read(scaffold.directory / "config.yaml"))
    with server.client() as client:
        answer = client.post("/v2/models/model/infer", json=request)
    assert answer.status_code == 200, answer.text
    return {each["name"]: each["data"] for each in answer.json()["outputs"]}


def test_no_framework_is_missing_among_the_kinds() -> None:
    labels = {name.partition(":")[0] for name in KINDS}
    others = {"a function", "a method of an object", "an object with a predict"}
    named = {each.label for each in DEFINITIONS if each.name not in ELSEWHERE}
    assert labels - others == named - {"a function, or a method of an object", "another, or none"}
