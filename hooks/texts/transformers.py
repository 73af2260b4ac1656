"""transformers: pipelines, each with its model and what makes tensors of texts and images."""

import copy
import enum
import inspect
import io
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from generator.arguments import argument
from generator.capture.pickle_references import Named
from generator.common import Signature, listing, pipeline_predictions, schema
from generator.errors import ModelError, SettingError
from generator.owners import guarded
from generator.rows.body import body_rows

from .. import outputs
from ..base import Description, cannot_predict
from ..methods import CALL, WithMethods
from ..networks import devices
from ..networks.pytorch import evaluating

MODEL_DIRECTORY = "model"
PACKAGE = "transformers"
TEXTS = (
    "text-classification",
    "token-classification",
    "fill-mask",
    "feature-extraction",
    "text-generation",
    "zero-shot-classification",
    # Those of transformers 4:
    "question-answering",
    "summarization",
    "text2text-generation",
)
IMAGES = (
    "image-classification",
    "image-feature-extraction",
    "image-segmentation",
    "object-detection",
    "depth-estimation",
    "zero-shot-image-classification",
)
ALIASES = {"sentiment-analysis": "text-classification", "ner": "token-classification"}
# The task of a directory, by what the name of the model's class ends in.
ENDINGS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForQuestionAnswering": "question-answering",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForDepthEstimation": "depth-estimation",
    "Model": "feature-extraction",
}
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
DO_SAMPLE = "do_sample"
GENERATION = "generation_config"
LABELS = "candidate_labels"
# What a call was made with, once the pipeline has taken it apart.
PARTS = ("_preprocess_params", "_forward_params", "_postprocess_params", "_generate_kwargs")
TAKING = "_sanitize_parameters"  # the method whose parameters a pipeline takes
OWN_PARTS = ("_legacy", "is_split_into_words", "prefix_length")  # of these, none is an argument
PARAMETER_TYPES = {
    "integer": ("max_new_tokens", "max_length", "min_new_tokens", "top_k", "num_beams", "stride")
    + ("num_return_sequences", "no_repeat_ngram_size"),
    "number": ("temperature", "top_p", "min_p", "typical_p", "repetition_penalty", "threshold"),
    "boolean": (DO_SAMPLE, "return_full_text", "multi_label", "truncation"),
    "string": ("aggregation_strategy", "function_to_apply", "hypothesis_template"),
}
TYPE_OF = {name: kind for kind, names in PARAMETER_TYPES.items() for name in names}


class Transformers(WithMethods):
    """`transformers.Pipeline` for texts, tokens and images."""

    name: ClassVar[str] = "transformers"
    label: ClassVar[str] = "transformers"
    models: ClassVar[str] = (
        "pipelines that classify texts, tokens or images, fill masks, generate texts or extract"
        " features"
    )
    files: ClassVar[tuple[str, ...]] = (MODEL_DIRECTORY,)
    defaults: ClassVar[tuple[str, ...]] = (CALL,)
    # Another number of threads changes the last bits.
    tolerance: ClassVar[float] = 1e-6

    def reads(self, path: Path) -> bool:
        if not (path / "config.json").is_file() or (path / "modules.json").exists():
            return False
        return any((path / name).is_file() for name in WEIGHTS)

    def read(self, path: Path) -> Any:
        return self.read_safely(path)

    def read_safely(self, path: Path) -> Any:
        """The pipeline for the model in a directory. A text is generated without sampling."""
        from transformers import AutoConfig, pipeline

        described = AutoConfig.from_pretrained(path, local_files_only=True)
        task = _task_of_class(described)
        given = {DO_SAMPLE: False} if task == "text-generation" else {}
        return pipeline(task, model=str(path), device="cpu", **given)

    def recognises(self, model: object) -> bool:
        kind = getattr(sys.modules.get("transformers.pipelines.base"), "Pipeline", None)
        return kind is not None and isinstance(model, kind)

    def check(self, model: Any) -> None:
        function = "pass a function of rows that calls it"
        if _task(model) not in TEXTS + IMAGES:
            raise ModelError(
                f"a pipeline for {model.task!r} is not known here, known are"
                f" {listing([*TEXTS, *IMAGES])}: {function}"
            )
        for part in (model, model.model):
            if type(part).__module__.partition(".")[0] != PACKAGE:
                raise ModelError(
                    f"{type(part).__name__} is no class of {PACKAGE}, which alone could load it:"
                    f" merge an adapter into its model, or {function}"
                )
        if _draws(model):
            raise ModelError(
                "this pipeline draws its texts at random, so that no answer can be proved: pass"
                f" {DO_SAMPLE}=False, as in pipeline({model.task!r}, ..., {DO_SAMPLE}=False); with"
                f" {argument('parameters', [DO_SAMPLE, 'temperature'])} a request may ask for it"
            )
        _arguments(model)

    def answering(self, model: Any, method: Any = None, parameters: Any = None) -> "Transformers":
        if method not in (None, CALL):
            raise SettingError(
                f"{argument('method')} {method!r}: a pipeline is called itself: leave it out"
            )
        made = super().answering(model, None, parameters)
        made.parameters = tuple(_typed(model, each) for each in made.parameters)
        defaults = {each.name for each in made.parameters if each.default is not None}
        if _task(model).startswith("zero-shot") and LABELS not in {*_arguments(model), *defaults}:
            labels = {LABELS: ["sports", "politics"]}
            raise SettingError(
                f"{argument('parameters')} must have the labels that rows are told apart by where a"
                f" request names none, as in {argument('parameters', labels)}"
            )
        return made

    def on_gpu(self, model: Any) -> bool:
        return devices.on_cuda(devices.of_module(model.model))

    def definitions(self, model: Any) -> list[Named]:
        return []

    def references(self, model: Any) -> dict[str, str]:
        return {PACKAGE: "pipeline", "torch": "nn"}

    def sampled(self, model: Any, sample: Any) -> Any:
        """The sample as a list, of an image task the files' bytes."""
        if sample is None:
            return None
        if isinstance(sample, (str, Mapping)) or hasattr(sample, "columns"):
            raise SettingError(
                f"{argument('sample_input')} is a {type(sample).__name__}: pass a list of rows, as"
                " the pipeline takes them"
            )
        listed = list(sample)
        if not listed:
            raise SettingError(f"{argument('sample_input')} holds no rows: pass one at least")
        if _task(model) in IMAGES:
            return [_file(row) for row in listed]
        return [row.item() if hasattr(row, "item") else row for row in listed]

    def describe(self, model: Any, sample: Any) -> Description:
        described = _input(model, sample)
        example: list[Any] | None = body_rows([_guess(model)] if sample is None else sample[:1])
        prediction = untried = None
        try:
            with guarded(cannot_predict(), SettingError):
                prediction = self.predict(model, Signature(described).inputs(example))
        except SettingError as error:
            if sample is not None:
                raise
            example, untried = None, f"it does not predict from a guess: {error}"
        output = outputs.described(prediction)
        return Description(described, output, example, _distributions(model), prediction, untried)

    def facts(self, model: Any) -> dict[str, Any]:
        settings = {"task": _task(model), "arguments": _arguments(model)}
        return {**super().facts(model), "settings": settings}

    def predict(self, model: Any, inputs: Any) -> Any:
        def call(method: str, rows: Any, **parameters: Any) -> Any:
            with evaluating(model.model), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return pipeline_predictions(model, rows, **parameters)

        return self.called(call, inputs)

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        place = directory / MODEL_DIRECTORY
        model.save_pretrained(place)
        return place


def _task(model: Any) -> str:
    """The task of a pipeline, which may have been made for another name of it."""
    return ALIASES.get(model.task, str(model.task))


def _task_of_class(described: Any) -> str:
    """The task of a model, from the name of its class in its configuration."""
    [name, *_] = described.architectures or ["none"]
    for ending, task in ENDINGS.items():
        if name.endswith(ending):
            is_of_images = task == "feature-extraction" and hasattr(described, "image_size")
            return "image-feature-extraction" if is_of_images else task
    raise ModelError(
        f"the task of {name} is not known: load it with transformers.pipeline(TASK, model=...) and"
        " pass that to from_model"
    )


def _distributions(model: Any) -> dict[str, str]:
    needed = {PACKAGE: "loads and runs the pipeline", "torch": "runs the model"}
    if _task(model) in IMAGES:
        needed["pillow"] = "reads images"
    return needed


# ---- rows ----


def _input(model: Any, sample: Any) -> schema.ModelInput:
    if _task(model) in IMAGES:
        return schema.TextInput(schema.BYTES)
    if sample is None or all(isinstance(row, str) for row in sample):
        return schema.TextInput()
    return schema.JsonInput()


def _guess(model: Any) -> Any:
    """A row of the kind that the task takes."""
    if _task(model) in IMAGES:
        from PIL import Image

        return _file(Image.new("RGB", (32, 32)))
    if model.task == "fill-mask":
        return f"an example {model.tokenizer.mask_token}"
    return "an example"


def _file(row: Any) -> bytes:
    """An image, or the path or address of one, as the bytes of a file."""
    if isinstance(row, (bytes, bytearray)):
        return bytes(row)
    from transformers.image_utils import load_image

    with guarded(
        f"{argument('sample_input')} must hold images, or the paths or bytes of their files"
    ):
        image = load_image(str(row) if isinstance(row, Path) else row)
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


# ---- what the pipeline was made with ----


def _arguments(model: Any) -> dict[str, Any]:
    """What `transformers.pipeline` takes beside the task and the model, so that calls are as here.

    Raises:
        ModelError: it takes something that `config.yaml` cannot hold.
    """
    given: dict[str, Any] = {}
    for part in PARTS:
        for name, value in getattr(model, part, {}).items():
            if name not in OWN_PARTS:
                given |= _argument(model, name, value)
    given |= _generation(model)
    if (size := getattr(model, "_batch_size", None)) is not None:
        given["batch_size"] = size
    wrong = [name for name, value in given.items() if not _is_plain(value)]
    if wrong or not _is_same(model, given):
        raise ModelError(
            f"what the pipeline was made with cannot be written to config.yaml"
            f" ({listing(wrong or list(given))}): make it without, and set"
            f" model.generation_config, or name defaults in {argument('parameters')}"
        )
    return given


def _generation(model: Any) -> dict[str, Any]:
    """What the pipeline was told of generating, where it keeps that in a configuration of its own.

    Those of transformers 4 do.
    """
    own = getattr(model, GENERATION, None)
    if own is None:
        return {}
    usual = model.model.generation_config.to_dict()
    told = {
        name: value
        for name, value in own.to_dict().items()
        if usual.get(name) != value and not name.startswith("_")
    }
    return {**told, DO_SAMPLE: bool(own.do_sample)}


def _argument(model: Any, name: str, value: Any) -> dict[str, Any]:
    """The argument that the pipeline has made this part of."""
    match name:
        case "return_type":
            return {"return_full_text": value.name == "FULL_TEXT"}
        case "target_ids":
            return {"targets": model.tokenizer.convert_ids_to_tokens(value.tolist())}
        case "tokenizer_params":
            return {"stride": value["stride"]}
        case "stop_strings":
            return {"stop_sequence": value}
        case "tokenizer":
            return {}
    if isinstance(value, enum.Enum):
        return {name: value.name.lower()}
    return {name: value}


def _is_plain(value: Any) -> bool:
    """Whether JSON has it, to the type."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, (bool, int, float, str))


def _is_same(model: Any, given: Mapping[str, Any]) -> bool:
    """Whether a pipeline that is made with these arguments calls the model as this one does."""
    names = ("tokenizer", "feature_extractor", "image_processor", "processor")
    parts = {name: getattr(model, name, None) for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = type(model)(
            model=model.model, task=model.task, device=model.device, **parts, **copy.deepcopy(given)
        )
    kept = (*PARTS, GENERATION)
    return all(_told(getattr(made, part, {})) == _told(getattr(model, part, {})) for part in kept)


def _told(part: Any) -> str:
    """What a pipeline keeps of its arguments, in an order that does not depend on hashes."""
    return repr(sorted(part.items()) if isinstance(part, Mapping) else part)


def _draws(model: Any) -> bool:
    """Whether the texts are drawn at random: of who says it, the pipeline's maker goes first."""
    if not getattr(model, "_pipeline_calls_generate", False):
        return False
    said: list[Mapping[str, Any]] = [getattr(model, part, {}) for part in PARTS]
    configured = [part[GENERATION] for part in said if GENERATION in part]
    said.append(_generation(model))
    configured.append(model.model.generation_config)
    said += [each.to_diff_dict() for each in configured]
    said.append(getattr(model, "_generation_defaults", {}))
    return bool(next((each[DO_SAMPLE] for each in said if DO_SAMPLE in each), False))


# ---- parameters ----


def _typed(model: Any, parameter: schema.Parameter) -> schema.Parameter:
    """The parameter, with the type that its name tells.

    Raises:
        SettingError: the pipeline takes none of that name, or its default draws texts at random.
    """
    known = list(inspect.signature(getattr(model, TAKING)).parameters.values())
    names = [each.name for each in known if each.kind is not each.VAR_KEYWORD]
    takes_any = len(names) < len(known)
    if getattr(model, "_pipeline_calls_generate", False):
        names += [name for name in vars(model.model.generation_config) if name[0] != "_"]
        takes_any = False
    if parameter.name not in names and not takes_any:
        raise SettingError(
            f"parameters: a pipeline for {model.task!r} takes no {parameter.name!r}; it takes"
            f" {listing(names)}"
        )
    if parameter.name == DO_SAMPLE and parameter.default:
        raise SettingError(
            f"{argument('parameters')}: {DO_SAMPLE} must be false where a request does not set it,"
            " so that answers can be proved: set model.parameters in config.yaml afterwards"
        )
    kind = parameter.type
    if kind == "any":
        kind = TYPE_OF.get(parameter.name, kind)
    return replace(parameter, type=kind)
