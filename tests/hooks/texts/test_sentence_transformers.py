"""Sentence Transformers, whose model has random weights."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generator
from generator import ModelError, ServingError, SettingError
from generator.hooks import find
from support.models.later import Later
from support.models.tiny_texts import SIZE, TEXTS, sentences
from support.servers.running import serving

pytestmark = pytest.mark.sweep
Later("sentence_transformers")
Make = Callable[..., generator.Scaffold]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sentences(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def make(model: Any, tmp_path: Path) -> Iterator[Make]:
    """generator.from_model, which proves the scaffold on a sample of one text."""
    with contextlib.ExitStack() as stack:

        def made(sample: Any = TEXTS[:1], **settings: Any) -> generator.Scaffold:
            scaffold = generator.from_model(
                model, tmp_path / "made", sample_input=sample, **settings
            )
            return stack.enter_context(contextlib.closing(scaffold))

        yield made


def close(found: Any, wanted: Any) -> bool:
    return bool(np.allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max()))


def test_texts_become_vectors_as_a_request_wants_them(make: Make, model: Any) -> None:
    scaffold = make(parameters=["normalize_embeddings", "prompt_name"])
    assert close(scaffold.predict(TEXTS)["predictions"], model.encode(TEXTS))
    asked = {"normalize_embeddings": True, "prompt_name": "question"}
    found = scaffold.predict({"instances": TEXTS, "parameters": asked})["predictions"]
    assert close(found, model.encode(TEXTS, **asked))
    with pytest.raises(ServingError, match="400: the model cannot take these instances: Prompt"):
        scaffold.predict({"instances": TEXTS, "parameters": {"prompt_name": "none"}})
    files = {path.suffix for path in (scaffold.directory / "src/model/model").rglob("*.*")}
    assert files == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "similarity"}, "method 'similarity' is none of 'encode', 'encode_query'"),
        ({"parameters": ["device"]}, "parameters: 'device' is none of"),
    ],
)
def test_only_what_makes_vectors_of_texts_answers(
    model: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        find(model).answering(model, **settings)


def test_a_module_that_only_its_owner_can_load_is_refused() -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import BoW

    parts = [BoW(vocab=["good", "bad"]), torch.nn.Identity()]
    mine = SentenceTransformer(modules=parts, device="cpu")
    with pytest.raises(ModelError, match="Identity is no module of .*framework=.function."):
        find(mine).check(mine)


@pytest.mark.sweep
@pytest.mark.filterwarnings("ignore:requests will not share a call")
def test_texts_of_several_lengths_are_padded_as_in_memory(make: Make, model: Any) -> None:
    """On some processors a row alone has other last bits than among longer ones."""
    scaffold = make(TEXTS)
    assert close(scaffold.predict(TEXTS)["predictions"], model.encode(TEXTS))


@pytest.mark.sweep
def test_queries_and_documents_answer_under_their_names(make: Make, model: Any) -> None:
    scaffold = make(method=["encode_query", "encode_document"])
    found = scaffold.predict(TEXTS)["predictions"]
    assert close([row["encode_query"] for row in found], model.encode_query(TEXTS))
    assert close([row["encode_document"] for row in found], model.encode_document(TEXTS))


@pytest.mark.sweep
def test_over_http_in_both_protocols_as_openapi_says(make: Make, model: Any) -> None:
    scaffold = make(None)
    tensor = {"name": "instances", "datatype": "BYTES", "shape": [3], "data": TEXTS}
    with serving(scaffold.directory) as server, server.client() as client:
        described = client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]
        v1 = client.post("/v1/models/model:predict", json={"instances": TEXTS})
        v2 = client.post("/v2/models/model/infer", json={"inputs": [tensor]})
    assert described["minItems"] == SIZE and described["items"]["format"] == "float"
    assert close(v1.json()["predictions"], model.encode(TEXTS))
    [output] = v2.json()["outputs"]
    assert output["datatype"] == "FP32" and output["shape"] == [3, SIZE]
    assert close(np.reshape(output["data"], output["shape"]), model.encode(TEXTS))


@pytest.mark.sweep
def test_a_directory_is_read(model: Any, tmp_path: Path) -> None:
    model.save(str(tmp_path), create_model_card=False)
    definition = find(model)
    assert definition.reads(tmp_path)
    assert close(definition.read_safely(tmp_path).encode(TEXTS), model.encode(TEXTS))


@pytest.mark.sweep
def test_it_answers_in_an_environment_of_its_own(make: Make) -> None:
    assert make().verify(environment="isolated")
