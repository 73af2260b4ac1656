"""spaCy: pipelines, with the components that their owner has written."""

import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from generator.arguments import argument
from generator.capture.pickle_references import Named
from generator.common import documents, schema
from generator.errors import ModelError, SettingError
from generator.owners import guarded
from generator.rows.body import body_rows

from .. import outputs
from ..base import Description, WrittenModelScaffoldDefinition, cannot_predict

MODEL_DIRECTORY = "model"
PACKAGE = "spacy"
BUILT_IN = (PACKAGE, "spacy_legacy", "spacy_loggers", "thinc")  # they register what they have
EXAMPLE = "This is an example."
# What a component says that it assigns, to the field of an answer.
ASSIGNED = {f"doc.{name}": name for name in documents.PARTS}
ASSIGNED |= {f"token.{name}": f"{documents.TOKENS}.{name}" for name in documents.ATTRIBUTES}
# What a document has, by spaCy's name of an annotation.
ANNOTATED = {"ENT_IOB": "ents", "SENT_START": "sents"}
ANNOTATED |= {name.upper(): f"{documents.TOKENS}.{name}" for name in documents.ATTRIBUTES}


class SpaCy(WrittenModelScaffoldDefinition):
    """`spacy.Language`: what it tells of a text depends on its components."""

    name: ClassVar[str] = "spacy"
    label: ClassVar[str] = "spaCy"
    models: ClassVar[str] = "pipelines (`Language`), with your own components"
    files: ClassVar[tuple[str, ...]] = (MODEL_DIRECTORY,)

    fields: tuple[str, ...] | None = None
    """What an answer holds, as `common/documents.py` names it; None before `sampled`."""

    def reads(self, path: Path) -> bool:
        return (path / "meta.json").is_file() and (path / "config.cfg").is_file()

    def read(self, path: Path) -> Any:
        return self.read_safely(path)

    def read_safely(self, path: Path) -> Any:
        import spacy

        return spacy.load(path)

    def recognises(self, model: object) -> bool:
        kind = getattr(sys.modules.get("spacy.language"), "Language", None)
        return kind is not None and isinstance(model, kind)

    def as_configured(self, config: Any) -> "SpaCy":
        settings = getattr(config, "settings", None) or {}
        return self._answering(settings.get("answer"))

    def check(self, model: Any) -> None:
        with guarded("the pipeline cannot be tried"):
            model(EXAMPLE)

    def tried(self, model: Any, sample: Any) -> "SpaCy":
        return self._answering(_fields(model, sample))

    def on_gpu(self, model: Any) -> bool:
        models = (getattr(part, "model", None) for _, part in model.components)
        names = (getattr(getattr(each, "ops", None), "name", None) for each in models)
        return "cupy" in names

    def definitions(self, model: Any) -> list[Named]:
        return [Named.of(each) for each in _functions(model)]

    def references(self, model: Any) -> dict[str, str]:
        named = {each.module: each.name for each in self.definitions(model)}
        return {PACKAGE: "load", **named}

    def sampled(self, model: Any, sample: Any) -> Any:
        if sample is None:
            return None
        texts = [] if isinstance(sample, (str, Mapping)) else list(sample)
        if not texts or any(not isinstance(text, str) for text in texts):
            raise SettingError(f"{argument('sample_input')} must be a list of texts")
        return [str(text) for text in texts]

    def describe(self, model: Any, sample: Any) -> Description:
        texts = [EXAMPLE] if sample is None else sample
        with guarded(cannot_predict(), SettingError):
            answers = self._answering(_fields(model, texts)).predict(model, texts[:1])
        needed = {PACKAGE: "loads and runs the pipeline"}
        output = outputs.described(answers)
        return Description(schema.TextInput(), output, body_rows(texts[:1]), needed, answers)

    def facts(self, model: Any) -> dict[str, Any]:
        modules = sorted({Named.of(each).module for each in _functions(model)})
        return {"settings": {"modules": modules, "answer": list(self._told(model))}}

    def predict(self, model: Any, inputs: Any) -> Any:
        fields = self._told(model)
        return [documents.answer(model(text), fields) for text in inputs]

    def serialize_model_to_directory(self, model: Any, directory: Path) -> Path:
        place = directory / MODEL_DIRECTORY
        model.to_disk(place)
        return place

    def _told(self, model: Any) -> Sequence[str]:
        return self.fields or _fields(model, [EXAMPLE])

    def _answering(self, fields: Sequence[str] | None) -> "SpaCy":
        made = copy.copy(self)
        made.fields = tuple(fields) if fields else None
        return made


def _fields(model: Any, texts: Sequence[str]) -> Sequence[str]:
    """What answers hold: what the components say, and what they make of these texts."""
    said = {each for name in model.pipe_names for each in model.get_pipe_meta(name).assigns}
    found = {ASSIGNED[each] for each in said if each in ASSIGNED}
    found |= {each.removeprefix("doc.") for each in said if each.startswith("doc._.")}
    for doc in map(model, texts):
        found |= {field for name, field in ANNOTATED.items() if len(doc) and _has(doc, name)}
        found |= {name for name in ("cats", "spans") if getattr(doc, name)}
    return sorted(found) or [documents.TOKENS]


def _has(doc: Any, annotation: str) -> bool:
    return bool(doc.has_annotation(annotation))


def _functions(model: Any) -> list[Any]:
    """What the pipeline is made with that spaCy itself does not have, each once."""
    from spacy import registry

    found = [type(model)]
    for name in model.component_names:
        factory = model.get_pipe_meta(name).factory
        for known in (model.get_factory_name(factory), factory):
            if known in registry.factories:
                made = registry.factories.get(known)
                if made.__module__ == "spacy.language":  # it returns the function that it was given
                    made = model.get_pipe(name)
                found.append(made)
                break
    for section in ("nlp", "components"):
        found += [registry.get(*pair) for pair in _registered(model.config.get(section, {}))]
    own = [each for each in found if _package(each) not in BUILT_IN]
    if unnamed := [each for each in own if not hasattr(each, "__qualname__")]:
        raise ModelError(
            f"a component is a {type(unnamed[0]).__name__}, which has no name to be loaded by:"
            " register a function, or a factory that makes it, with @Language.factory"
        )
    return list(dict.fromkeys(own))


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", type(value).__module__)).partition(".")[0]


def _registered(config: Any) -> Iterator[tuple[str, str]]:
    """The registry and the name of each function that a part of the configuration names."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key.startswith("@"):
                yield key[1:], value
            else:
                yield from _registered(value)
