"""Pipelines of transformers, whose models have random weights."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import generator
from generator import ModelError, ServingError, SettingError
from generator.hooks import find
from generator.running.runtime import Runtime
from support.models.later import Later
from support.models.tiny_texts import SIZE, TEXTS, bert, gpt2, tokenizer, vit
from support.servers.running import serving

pytestmark = [
    pytest.mark.sweep,
    # PyTorch's threads may change the last bits, and sharing then ends.
    pytest.mark.filterwarnings("ignore:requests will not share a call of predict"),
]
transformers = Later("transformers")
Make = Callable[..., generator.Scaffold]
LABELS = {0: "contradiction", 1: "neutral", 2: "entailment"}
IDS = {name: number for number, name in LABELS.items()}


MAKE = {"sample_input": TEXTS}


def piped(task: str, model: Any, **settings: Any) -> Any:
    return transformers.pipeline(task, model=model, tokenizer=tokenizer(), **settings)


def classifier(**settings: Any) -> Any:
    return piped("text-classification", bert("BertForSequenceClassification"), **settings)


def of_images(**settings: Any) -> Any:
    processor = transformers.ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    model = vit()
    return transformers.pipeline(
        "image-classification", model=model, image_processor=processor, **settings
    )


def writer(**settings: Any) -> Any:
    return piped("text-generation", gpt2(), max_new_tokens=5, **settings)


def settings_of(scaffold: generator.Scaffold) -> Any:
    return Runtime(scaffold.directory).config().model.settings


def test_a_text_is_classified_with_what_the_pipeline_was_made_with(make: Make) -> None:
    """Here, and in a clean process: with weights in safetensors alone."""
    model = classifier(top_k=None, truncation=True)
    scaffold = make(model, parameters=["top_k"])
    assert scaffold.predict(TEXTS)["predictions"] == [
        [{**each, "score": pytest.approx(each["score"], rel=1e-6)} for each in row]
        for row in model(TEXTS)
    ]
    [best] = scaffold.predict({"instances": TEXTS[:1], "parameters": {"top_k": 1}})["predictions"]
    assert len(best) == 1
    assert settings_of(scaffold) == {
        "task": "text-classification",
        "arguments": {"truncation": True, "top_k": None},
    }
    files = {path.suffix for path in (scaffold.directory / "src/model/model").iterdir()}
    assert files == {".json", ".safetensors"}


@pytest.mark.parametrize(
    ("model", "settings", "error", "message"),
    [
        (writer, {}, ModelError, "draws its texts at random.* do_sample=False, as in pipeline"),
        (
            lambda: writer(do_sample=False),
            {"parameters": {"do_sample": True}},
            SettingError,
            "do_sample must be false where a request does not set it",
        ),
        (
            lambda: writer(do_sample=False),
            {"parameters": ["temprature"]},
            SettingError,
            "a pipeline for 'text-generation' takes no 'temprature'; it takes",
        ),
        (classifier, {"method": "predict"}, SettingError, "a pipeline is called itself"),
        (
            lambda: piped("zero-shot-classification", bert("BertForSequenceClassification")),
            {},
            SettingError,
            "as in parameters={'candidate_labels': ",
        ),
    ],
)
def test_what_cannot_be_proved_is_refused(
    model: Any, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    made = model()
    with pytest.raises(error, match=message):
        definition = find(made)
        definition.check(made)
        definition.answering(made, **{"method": None, "parameters": None, **settings})


def by_bytes() -> Any:
    """A tokenizer whose tokens are bytes: most characters take several of them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    made = Tokenizer(models.BPE(vocabulary, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64)


def of_bytes() -> Any:
    import torch

    torch.manual_seed(0)
    sizes = {"n_embd": SIZE, "n_layer": 1, "n_head": 2, "n_positions": 128}
    config = transformers.GPT2Config(
        vocab_size=256, bos_token_id=0, eos_token_id=0, initializer_range=1.0, **sizes
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    return transformers.pipeline(
        "text-generation", model=model, tokenizer=by_bytes(), max_new_tokens=40, do_sample=False
    )


def joined(answer: dict[str, Any]) -> str:
    return "".join(chunk["predictions"][0] for chunk in answer["chunks"])


def test_pieces_of_a_text_are_the_answer(make: Make) -> None:
    names = ["return_full_text", "clean_up_tokenization_spaces", "do_sample"]
    scaffold = make(writer(do_sample=False), parameters=[*names, "num_return_sequences"])
    for parameters in ({}, {"return_full_text": False}, {"clean_up_tokenization_spaces": True}):
        for text in TEXTS:
            body = {"instances": [text], "parameters": parameters}
            streamed = scaffold.predict({**body, "stream": True})
            assert joined(streamed) == scaffold.predict(body)["predictions"][0]
    assert len(streamed["chunks"]) > 1
    body = {"instances": TEXTS[:1], "stream": True}
    assert joined(scaffold.predict({**body, "parameters": {"do_sample": True}})).startswith(
        TEXTS[0]
    )
    several = {**body, "parameters": {"do_sample": True, "num_return_sequences": 2}}
    for refused, message in (
        (several, "num_return_sequences must be 1"),
        ({**body, "instances": TEXTS}, "send one row, not 3"),
        ({**body, "stream": "yes"}, "must be true or false"),
        ({"instances": TEXTS[:1], "strem": True}, 'write "stream"'),
    ):
        with pytest.raises(ServingError, match=f"400.*{message}"):
            scaffold.predict(refused)


def test_pieces_hold_whole_characters(make: Make) -> None:
    texts = ["Öl für Zoë", "日本語", "a"]
    scaffold = make(of_bytes(), sample_input=texts)
    for text in texts:
        streamed = scaffold.predict({"instances": [text], "stream": True})
        assert joined(streamed) == scaffold.predict([text])["predictions"][0]
        assert len(streamed["chunks"]) > 5


def test_other_tasks_have_no_pieces(make: Make) -> None:
    with pytest.raises(ServingError, match="400.*text-classification answers as a whole"):
        make(classifier()).predict({"instances": TEXTS[:1], "stream": True})


def test_tokens_are_streamed_and_a_client_that_leaves_ends_them(make: Make) -> None:
    scaffold = make(writer(do_sample=False), parameters=["max_new_tokens"])
    with scaffold.serve(port=0) as server, generator.client(server.url) as client:
        body = {"instances": ["the cat"], "stream": True}
        whole = client.predict(["the cat"])["predictions"][0]
        assert "".join(chunk["predictions"][0] for chunk in client.stream(body)) == whole
        long = {**body, "parameters": {"max_new_tokens": 50}}
        for _ in range(3):
            next(iter(client.stream(long)))
        assert client.predict(["the cat"])["predictions"][0] == whole


def test_texts_for_a_bare_model_are_an_error_that_names_the_pipeline(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"pipeline\(TASK, model=model, tokenizer=tokenizer\)"):
        generator.from_model(
            bert("BertForSequenceClassification"), tmp_path / "made", sample_input=TEXTS
        )


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("task", "kind", "settings", "sample", "arguments"),
    [
        ("text-classification", "BertForSequenceClassification", {}, TEXTS, {}),
        (
            "text-classification",
            "BertForSequenceClassification",
            {"function_to_apply": "sigmoid"},
            [{"text": "a cat", "text_pair": "a dog"}],
            {"function_to_apply": "sigmoid"},
        ),
        ("ner", "BertForTokenClassification", {}, TEXTS, {}),
        (
            "token-classification",
            "BertForTokenClassification",
            {"aggregation_strategy": "simple", "stride": 4},
            TEXTS,
            {"aggregation_strategy": "simple", "stride": 4},
        ),
        ("fill-mask", "BertForMaskedLM", {"top_k": 2}, ["the [MASK] sat"], {"top_k": 2}),
        (
            "fill-mask",
            "BertForMaskedLM",
            {"targets": ["cat", "dog"]},
            ["the [MASK] sat", "[MASK] [MASK]"],
            {"targets": ["cat", "dog"]},
        ),
        ("feature-extraction", "BertModel", {}, TEXTS, {}),
    ],
)
def test_each_task_answers_what_its_pipeline_does(
    make: Make, task: str, kind: str, settings: Any, sample: Any, arguments: Any
) -> None:
    scaffold = make(piped(task, bert(kind), **settings), sample)
    found = settings_of(scaffold)["arguments"]
    assert {name: _sorted(value) for name, value in found.items()} == arguments
    assert len(scaffold.predict(sample)["predictions"]) == len(sample)


def _sorted(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


@pytest.mark.sweep
def test_a_generated_text_is_a_text_and_a_request_may_draw_it(make: Make) -> None:
    model = writer(do_sample=False, return_full_text=False)
    scaffold = make(model, parameters=["do_sample", "temperature", "num_return_sequences"])
    texts = [row[0]["generated_text"] for row in model(TEXTS)]
    assert scaffold.predict(TEXTS)["predictions"] == texts

    def asked(**parameters: Any) -> Any:
        request = {"instances": TEXTS[:1], "parameters": parameters}
        return scaffold.predict(request)["predictions"][0]

    drawn = asked(do_sample=True, temperature=5.0, num_return_sequences=8)
    assert len(drawn) == 8 and len(set(drawn)) > 1
    assert scaffold.predict(TEXTS)["predictions"] == texts
    with pytest.raises(ServingError, match='400: "temperature" must be a number'):
        asked(temperature="hot")
    with pytest.raises(ServingError, match="400: the model cannot take these instances"):
        asked(do_sample=True, temperature=-1.0)


@pytest.mark.sweep
def test_labels_come_with_the_request(make: Make) -> None:
    model = bert("BertForSequenceClassification", num_labels=3, id2label=LABELS, label2id=IDS)
    pipeline = piped("zero-shot-classification", model)
    scaffold = make(pipeline, parameters={"candidate_labels": ["good", "bad"]})
    request = {"instances": TEXTS, "parameters": {"candidate_labels": ["cat", "dog", "mat"]}}
    for row, text in zip(scaffold.predict(request)["predictions"], TEXTS, strict=True):
        assert row["labels"] == pipeline(text, candidate_labels=["cat", "dog", "mat"])["labels"]


@pytest.mark.sweep
def test_images_are_files_and_no_text_is_an_address_of_one(make: Make, tmp_path: Path) -> None:
    from PIL import Image

    images = [Image.new("RGB", (20, 30), "red"), Image.effect_noise((9, 7), 90)]
    model = of_images(top_k=2)
    scaffold = make(model, images)
    assert "pillow==" in (scaffold.directory / "requirements.txt").read_text()
    files = []
    for image in images:
        file = io.BytesIO()
        image.save(file, format="PNG")
        files.append(file.getvalue())
    found = scaffold.predict(files)["predictions"]
    assert [[each["label"] for each in row] for row in found] == [
        [each["label"] for each in row] for row in model(images)
    ]
    images[0].save(tmp_path / "here.png")
    for text in (str(tmp_path / "here.png"), "http://127.0.0.1:9/a.png", ""):
        with pytest.raises(ServingError, match=r"400: instances\[0\] is no image"):
            scaffold.predict([text])


@pytest.mark.sweep
def test_over_http_in_both_protocols_as_openapi_says(make: Make) -> None:
    model = classifier()
    scaffold = make(model)
    tensor = {"name": "instances", "datatype": "BYTES", "shape": [3], "data": TEXTS}
    with serving(scaffold.directory) as server, server.client() as client:
        described = client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]
        v1 = client.post("/v1/models/model:predict", json={"instances": TEXTS})
        v2 = client.post("/v2/models/model/infer", json={"inputs": [tensor]})
    assert set(described["properties"]) == {"label", "score"}
    wanted = model(TEXTS)
    assert [row["label"] for row in v1.json()["predictions"]] == [row["label"] for row in wanted]
    outputs = {each["name"]: each["data"] for each in v2.json()["outputs"]}
    assert outputs["label"] == [row["label"] for row in wanted]
    assert outputs["score"] == pytest.approx([row["score"] for row in wanted], rel=1e-6)


@pytest.mark.sweep
def test_without_a_sample_a_guess_is_tried(make: Make) -> None:
    assert make(classifier(), None).predict(TEXTS)["predictions"][0]["label"]


@pytest.mark.sweep
def test_a_directory_is_read_as_its_own_pipeline(tmp_path: Path) -> None:
    model = writer(do_sample=False)
    model.save_pretrained(tmp_path / "saved")
    definition = find(model)
    assert definition.reads(tmp_path / "saved") and not definition.reads(tmp_path)
    read = definition.read_safely(tmp_path / "saved")
    assert read.task == "text-generation"
    assert read(TEXTS, max_new_tokens=5) == model(TEXTS)


@pytest.mark.sweep
@pytest.mark.parametrize("model", [classifier, of_images])
def test_it_answers_in_an_environment_of_its_own(make: Make, model: Any) -> None:
    sample: Any = TEXTS
    if model is of_images:
        from PIL import Image

        sample = [Image.effect_noise((9, 7), 90)]
    assert make(model(), sample).verify(environment="isolated")
