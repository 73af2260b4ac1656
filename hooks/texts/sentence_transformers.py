"""Sentence Transformers: models that make vectors of texts."""

import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from generator.arguments import argument
from generator.capture.pickle_references import Named
from generator.common import listing, schema
from generator.errors import ModelError, SettingError
from generator.owners import guarded
from generator.rows.body import body_rows

from .. import outputs
from ..base import Description, cannot_predict
from ..methods import WithMethods
from ..networks import devices
from ..networks.pytorch import evaluating

MODEL_DIRECTORY = "model"
PACKAGE = "sentence_transformers"
ENCODE = "encode"
METHODS = (ENCODE, "encode_query", "encode_document")
ENCODER = "SentenceTransformer"
OTHERS = ("CrossEncoder", "SparseEncoder", "MultiVectorEncoder")
# What a request may set of `encode`, with its type. Others change where and in what it is computed.
TYPES = {
    "normalize_embeddings": "boolean",
    "prompt_name": "string",
    "prompt": "string",
    "precision": "string",
    "truncate_dim": "integer",
    "batch_size": "integer",
}
MEDIA = ("image", "audio", "video")
EXAMPLE = "an example"


class SentenceTransformers(WithMethods):
    """`sentence_transformers.SentenceTransformer` for texts."""

    name: ClassVar[str] = "sentence_transformers"
    label: ClassVar[str] = "Sentence Transformers"
    models: ClassVar[str] = "`SentenceTransformer` models of texts, with any of their modules"
    files: ClassVar[tuple[str, ...]] = (MODEL_DIRECTORY,)
    defaults: ClassVar[tuple[str, ...]] = (ENCODE,)
    # Another number of threads changes the last bits.
    tolerance: ClassVar[float] = 1e-6

    def reads(self, path: Path) -> bool:
        return (path / "modules.json").is_file()

    def read(self, path: Path) -> Any:
        return self.read_safely(path)

    def read_safely(self, path: Path) -> Any:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(path), device="cpu", local_files_only=True)

    def recognises(self, model: object) -> bool:
        kinds = type(model).__mro__
        return PACKAGE in sys.modules and any(
            _is_own(kind) and kind.__name__ in (ENCODER, *OTHERS) for kind in kinds
        )

    def check(self, model: Any) -> None:
        fix = f"pass {argument('framework', 'function')} and the method that answers"
        if type(model).__name__ != ENCODER or not _is_own(type(model)):
            raise ModelError(f"{type(model).__name__} is no {ENCODER} itself: {fix}")
        for module in model:
            if not _is_own(type(module)):
                raise ModelError(
                    f"{type(module).__name__} is no module of {PACKAGE}, which alone could load it:"
                    f" {fix}"
                )
        media = [each for each in getattr(model, "modalities", ["text"]) if each in MEDIA]
        if media:
            raise ModelError(
                f"this model takes {listing(media)} too, where a text may be the address of a file"
                f" that it would fetch: {fix}"
            )

    def answering(
        self, model: Any, method: Any = None, parameters: Any = None
    ) -> "SentenceTransformers":
        made = super().answering(model, method, parameters)
        if wrong := [name for name in made.methods if name not in METHODS]:
            raise SettingError(
                f"{argument('method')} {wrong[0]!r} is none of {listing(list(METHODS))}"
            )
        if unknown := [each.name for each in made.parameters if each.name not in TYPES]:
            raise SettingError(
                f"{argument('parameters')}: {unknown[0]!r} is none of {listing(list(TYPES))}, which"
                " a request may set"
            )
        made.parameters = tuple(replace(each, type=TYPES[each.name]) for each in made.parameters)
        return made

    def on_gpu(self, model: Any) -> bool:
        return devices.on_cuda(devices.of_module(model))

    def definitions(self, model: Any) -> list[Named]:
        return []

    def references(self, model: Any) -> dict[str, str]:
        return {PACKAGE: ENCODER, "torch": "nn"}

    def sampled(self, model: Any, sample: Any) -> Any:
        if sample is None:
            return None
        texts = [] if isinstance(sample, (str, Mapping)) else [str(row) for row in sample]
        if not texts or any(not isinstance(row, str) for row in sample):
            raise SettingError(f"{argument('sample_input')} must be a list of texts")
        return texts

    def describe(self, model: Any, sample: Any) -> Description:
        example = [EXAMPLE] if sample is None else sample[:1]
        with guarded(cannot_predict(), SettingError):
            prediction = self.predict(model, example)
        needed = {PACKAGE: "loads and runs the model", "torch": "runs the model"}
        output = outputs.described(prediction)
        return Description(schema.TextInput(), output, body_rows(example), needed, prediction)

    def predict(self, model: Any, inputs: Any) -> Any:
        def call(method: str, texts: Any, **parameters: Any) -> Any:
            with evaluating(model), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return getattr(model, method)(texts, show_progress_bar=False, **parameters)

        return self.called(call, inputs)

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        place = directory / MODEL_DIRECTORY
        model.save(str(place), create_model_card=False)
        return place


def _is_own(kind: type) -> bool:
    """Whether a class is of the package itself."""
    return kind.__module__.partition(".")[0] == PACKAGE
