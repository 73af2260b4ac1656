"""Rows and answers of a pipeline of transformers."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InvalidInput
from .outputs import plain

# What these give for a list of one row is that row's answer, without the list around it.
UNWRAPPING = ("fill-mask", "question-answering")
# An answer that holds nothing but a text is that text.
TEXTS = ("generated_text", "summary_text", "translation_text")


def predictions(pipeline: Any, rows: Sequence[Any], **parameters: Any) -> list[Any]:
    """One prediction a row: what the pipeline gives for it, and for a generated text the text.

    Args:
        pipeline: of transformers.
        rows: texts, chats or objects, as the pipeline takes them, or the bytes of image files.
        parameters: further arguments of the call.

    Raises:
        InvalidInput: a row is no image.
    """
    outputs = pipeline([_row(row, index) for index, row in enumerate(rows)], **parameters)
    if len(rows) == 1 and pipeline.task in UNWRAPPING:
        outputs = [outputs]
    return [_text(plain(output, _leaf)) for output in outputs]


def _row(row: Any, index: int) -> Any:
    if not isinstance(row, bytes):
        return row
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(row))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"instances[{index}] is no image: {error}") from error
    return image


def _leaf(value: Any) -> Any:
    """A tensor as an array, an image as the bytes of a PNG; anything else as it is."""
    if hasattr(value, "detach"):
        return value.detach().float().numpy(force=True)
    if hasattr(value, "tobytes") and hasattr(value, "save"):
        file = io.BytesIO()
        value.save(file, format="PNG")
        return file.getvalue()
    return value


def _text(answer: Any) -> Any:
    """The text of an answer that holds nothing else, alone or in a list; any other answer."""
    if isinstance(answer, list) and answer and all(map(_is_text, answer)):
        texts = [_text(each) for each in answer]
        return texts[0] if len(texts) == 1 else texts
    if _is_text(answer):
        [text] = answer.values()
        return text
    return answer


def _is_text(answer: Any) -> bool:
    return isinstance(answer, Mapping) and len(answer) == 1 and next(iter(answer)) in TEXTS
