"""Documents of spaCy as answers."""

from collections.abc import Callable, Sequence
from typing import Any

TOKENS = "tokens"
CUSTOM = "_."  # of an extension attribute, as in `_.language`


def answer(doc: Any, fields: Sequence[str]) -> dict[str, Any]:
    """An object of what a document holds. All places are in characters of the text.

    Args:
        doc: a document of spaCy.
        fields: any of the keys of PARTS; "tokens.NAME" for each of ATTRIBUTES that tokens tell,
            or "tokens" for their texts alone; "_.NAME" for an extension attribute of the document.
    """
    found: dict[str, Any] = {name: part(doc) for name, part in PARTS.items() if name in fields}
    if attributes := token_attributes(fields):
        found[TOKENS] = [_token(token, attributes) for token in doc]
    elif TOKENS in fields:
        found[TOKENS] = [_token(token, ()) for token in doc]
    for field in fields:
        if field.startswith(CUSTOM):
            name = field.removeprefix(CUSTOM)
            found.setdefault("_", {})[name] = getattr(doc._, name)
    return found


def token_attributes(fields: Sequence[str]) -> list[str]:
    """The names of what tokens tell."""
    start = f"{TOKENS}."
    return [field.removeprefix(start) for field in fields if field.startswith(start)]


def _span(span: Any) -> dict[str, Any]:
    found = {
        "text": span.text,
        "label": span.label_,
        "start": span.start_char,
        "end": span.end_char,
    }
    ids = {"id": span.id_, "kb_id": span.kb_id_}
    return found | {name: value for name, value in ids.items() if value}


def _sentences(doc: Any) -> list[dict[str, Any]]:
    """The sentences of a document; none where no component has set them."""
    if not doc.has_annotation("SENT_START"):
        return []
    return [_sentence(span) for span in doc.sents]


def _sentence(span: Any) -> dict[str, Any]:
    return {"text": span.text, "start": span.start_char, "end": span.end_char}


def _token(token: Any, attributes: Sequence[str]) -> dict[str, Any]:
    found = {"text": token.text, "start": token.idx, "end": token.idx + len(token)}
    return found | {name: ATTRIBUTES[name](token) for name in attributes}


PARTS: dict[str, Callable[[Any], Any]] = {
    "cats": lambda doc: dict(doc.cats),
    "ents": lambda doc: [_span(span) for span in doc.ents],
    "sents": lambda doc: _sentences(doc),
    "spans": lambda doc: {key: [_span(span) for span in group] for key, group in doc.spans.items()},
}
ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "tag": lambda token: token.tag_,
    "pos": lambda token: token.pos_,
    "morph": lambda token: str(token.morph),
    "lemma": lambda token: token.lemma_,
    "dep": lambda token: token.dep_,
    "head": lambda token: token.head.i,  # the position of a token in the list of them
}
