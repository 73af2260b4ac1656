"""spaCy's pipelines, trained for a few steps or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import generator
from generator import ModelError, ServingError
from generator.hooks import find
from support.models.later import Later
from support.servers.running import serving

pytestmark = pytest.mark.sweep
spacy = Later("spacy")
Make = Callable[..., generator.Scaffold]
TEXTS = ["a good cat. bad film", "", "good film"]


MAKE = {"sample_input": TEXTS}


def rules() -> Any:
    """A pipeline without weights."""
    made = spacy.blank("en")
    ruler = made.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "ANIMAL", "pattern": "cat", "id": "felix"}])
    made.add_pipe("sentencizer")
    return made


def trained() -> Any:
    """A pipeline with categories, entities and tags."""
    from spacy.training import Example

    made = spacy.blank("en")
    spacy.util.fix_random_seed(0)
    for name, labels in {"textcat": ["good", "bad"], "ner": ["FILM"], "tagger": ["A", "N"]}.items():
        component = made.add_pipe(name)
        for label in labels:
            component.add_label(label)
    good = {"cats": {"good": 1.0, "bad": 0.0}, "entities": [(5, 9, "FILM")], "tags": ["A", "N"]}
    bad = {"cats": {"good": 0.0, "bad": 1.0}, "entities": [(4, 8, "FILM")], "tags": ["A", "N"]}
    pairs = {"good film": good, "bad film": bad}
    examples = [Example.from_dict(made.make_doc(text), told) for text, told in pairs.items()]
    made.initialize(lambda: examples)
    for _ in range(5):
        made.update(examples)
    return made


def test_an_answer_holds_what_the_components_make(make: Make) -> None:
    scaffold = make(rules())
    first, empty, _ = scaffold.predict(TEXTS)["predictions"]
    cat = {"text": "cat", "label": "ANIMAL", "start": 7, "end": 10, "id": "felix"}
    assert first == {
        "ents": [cat],
        "sents": [
            {"text": "a good cat.", "start": 0, "end": 11},
            {"text": "bad film", "start": 12, "end": 20},
        ],
    }
    assert empty == {"ents": [], "sents": []}
    with pytest.raises(ServingError, match="400: the model cannot take these instances"):
        scaffold.predict(["a" * 1_000_001])


def test_a_component_that_fails_is_refused() -> None:
    made = spacy.blank("en")
    made.add_pipe("textcat")
    with pytest.raises(ModelError, match="the pipeline cannot be tried"):
        find(made).check(made)


@pytest.mark.sweep
def test_scores_are_those_of_the_pipeline_to_the_last_bit(make: Make) -> None:
    model = trained()
    scaffold = make(model)
    for text, row in zip(TEXTS, scaffold.predict(TEXTS)["predictions"], strict=True):
        doc = model(text)
        assert row["cats"] == doc.cats
        assert [each["text"] for each in row["ents"]] == [each.text for each in doc.ents]
        assert [each["tag"] for each in row["tokens"]] == [each.tag_ for each in doc]


@pytest.mark.sweep
def test_the_owners_components_travel(make: Make, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "own_components.py").write_text(
        "from spacy.language import Language\n"
        "from spacy.tokens import Doc\n"
        "Doc.set_extension('shouts', default=None)\n"
        "@Language.component('shout', assigns=['doc._.shouts'])\n"
        "def shout(doc):\n"
        "    doc._.shouts = doc.text.isupper()\n"
        "    return doc\n"
        "class Finder:\n"
        "    def __init__(self, word):\n"
        "        self.word = word\n"
        "    def __call__(self, doc):\n"
        "        found = [token.i for token in doc if token.text == self.word]\n"
        "        doc.spans['found'] = [doc[i : i + 1] for i in found]\n"
        "        return doc\n"
        "@Language.factory('finder')\n"
        "def finder(nlp, name, word):\n"
        "    return Finder(word)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    __import__("own_components")
    model = rules()
    model.add_pipe("shout")
    model.add_pipe("finder", config={"word": "film"})
    first, *_ = make(model).predict(TEXTS)["predictions"]
    assert first["_"] == {"shouts": False}
    assert [each["text"] for each in first["spans"]["found"]] == ["film"]


@pytest.mark.sweep
def test_over_http_in_both_protocols_as_openapi_says(make: Make) -> None:
    model = trained()
    scaffold = make(model, TEXTS[:1])
    tensor = {"name": "instances", "datatype": "BYTES", "shape": [1], "data": TEXTS[:1]}
    body = {"instances": TEXTS[:1]}
    with serving(scaffold.directory) as server, server.client() as client:
        described = client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]
        v1 = client.post("/v1/models/model:predict", json=body)
        v2 = client.post("/v2/models/model/infer", json={"inputs": [tensor]})
    assert set(described["properties"]) == {"cats", "ents", "tokens"}
    assert v1.json()["predictions"][0]["cats"] == model(TEXTS[0]).cats
    assert v2.status_code == 200, v2.text


@pytest.mark.sweep
def test_a_directory_is_read(tmp_path: Path) -> None:
    model = rules()
    model.to_disk(tmp_path)
    definition = find(model)
    assert definition.reads(tmp_path)
    assert definition.read_safely(tmp_path).pipe_names == model.pipe_names


@pytest.mark.sweep
def test_it_answers_in_an_environment_of_its_own(make: Make) -> None:
    assert make(trained()).verify(environment="isolated")
