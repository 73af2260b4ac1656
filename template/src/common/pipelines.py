"""Rows and answers of a pipeline of transformers."""

import contextvars
import io
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .errors import InvalidInput
from .outputs import plain
from .threads import Threads

# What these give for a list of one row is that row's answer, without the list around it.
UNWRAPPING = ("fill-mask", "question-answering")
# An answer that holds nothing but a text is that text.
TEXTS = ("generated_text", "summary_text", "translation_text")
# What tells how a pipeline makes an answer of tokens.
TAKING, POSTPROCESSING = "_sanitize_parameters", "_postprocess_params"
STREAMING = "text-generation"  # the task whose answer can come in pieces
INCOMPLETE = "\ufffd"  # ends a text whose last token is a part of a character


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


def pieces(
    pipeline: Any, rows: Sequence[Any], threads: Threads, /, **parameters: Any
) -> Iterator[str]:
    """The text for one row, piece by piece as it is generated. Of a chat, it is the reply.

    Together the pieces are what `predictions` gives.

    Args:
        pipeline: of transformers.
        rows: the row.
        threads: how many a call uses.
        parameters: further arguments of the call.

    Raises:
        InvalidInput: this pipeline, these rows or these parameters cannot be streamed.
    """
    if pipeline.task != STREAMING:
        raise InvalidInput(f'"stream": a pipeline for {pipeline.task} answers as a whole')
    if len(rows) != 1:
        raise InvalidInput(f'"stream": send one row, not {len(rows)}: each stream is of one text')

    def generate(send: Callable[[str], None]) -> None:
        threads.choose(1)
        text = Text(pipeline, rows[0], parameters, send)
        [answer] = predictions(pipeline, rows, **parameters, streamer=text)
        text.finish(answer)

    return in_turns(generate)


class Text:
    """A text that is generated, as transformers' `streamer` of one call.

    transformers' own has heuristics for spaces, by which its pieces may differ from the answer.
    Here each piece is what an answer has that ends with the last token, beyond the piece before.

    Args:
        pipeline: makes the answer of tokens.
        row: what the text follows.
        parameters: of the call.
        send: takes the pieces.
    """

    def __init__(
        self, pipeline: Any, row: Any, parameters: Mapping[str, Any], send: Callable[[str], None]
    ) -> None:
        from transformers.pipelines.text_generation import (  # type: ignore[import-not-found, unused-ignore]
            Chat,
        )

        _, _, made = getattr(pipeline, TAKING)(**parameters)
        self._parameters = {**getattr(pipeline, POSTPROCESSING), **made}
        self._pipeline = pipeline
        self._row = row if isinstance(row, str) else Chat(row)
        self._send = send
        self._sent = ""
        self._prompt: Any = None
        self._tokens: list[int] = []
        cleans = self._parameters.get("clean_up_tokenization_spaces")
        if cleans is None:
            cleans = getattr(pipeline.tokenizer, "clean_up_tokenization_spaces", False)
        self._cleans = bool(cleans)

    def put(self, tokens: Any) -> None:
        """Take the prompt, then the tokens of each step."""
        if self._prompt is None:
            self._prompt = tokens
        elif len(tokens) > 1:
            raise InvalidInput('"stream": num_return_sequences must be 1')
        else:
            self._tokens += tokens.reshape(-1).tolist()
            self._send_new(self._stable(self._text()))

    def end(self) -> None:
        """transformers calls this after the last step; `finish` does what is left."""

    def finish(self, answer: Any) -> None:
        """Send the rest of the answer."""
        text = _reply(answer)
        if not text.startswith(self._sent):
            raise RuntimeError("the text has changed while it was generated")
        self._send_new(text)

    def _send_new(self, text: str) -> None:
        if len(text) > len(self._sent) and text.startswith(self._sent):
            piece, self._sent = text[len(self._sent) :], text
            self._send(piece)

    def _text(self) -> str:
        """The answer, if the last token were the last."""
        sequence = self._prompt.new_tensor([[[*self._prompt.reshape(-1).tolist(), *self._tokens]]])
        parts = {
            "generated_sequence": sequence,
            "input_ids": self._prompt,
            "prompt_text": self._row,
        }
        return _reply(_text(plain(self._pipeline.postprocess(parts, **self._parameters), _leaf)))

    def _stable(self, text: str) -> str:
        """The part of a text that further tokens leave as it is."""
        if self._cleans:  # which takes out spaces before what follows them
            text = text[: max(text.rfind(" "), 0)]
        return text.rstrip(INCOMPLETE)


def _reply(answer: Any) -> str:
    """The text of an answer, of a chat the last message's.

    Raises:
        InvalidInput: the answer holds no text.
    """
    if isinstance(answer, list) and answer and isinstance(answer[-1], Mapping):
        answer = answer[-1].get("content") or ""
    if not isinstance(answer, str):
        raise InvalidInput('"stream": only one text can be streamed: leave out return_tensors')
    return answer


class Left(BaseException):
    """Nobody waits for what a function has still to send."""


def in_turns(work: Callable[[Callable[[str], None]], None]) -> Iterator[str]:
    """What a function sends, one by one.

    It runs in a thread of its own, and only while it is asked for the next one: nothing else of
    the worker runs meanwhile. Where nobody asks any more, its next `send` raises Left.
    """
    asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
    told: queue.SimpleQueue[tuple[str | None, BaseException | None]] = queue.SimpleQueue()

    def send(value: str) -> None:
        told.put((value, None))
        if not asked.get():
            raise Left

    def run() -> None:
        try:
            work(send)
            told.put((None, None))
        except BaseException as error:
            told.put((None, error))

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    thread.start()
    try:
        while True:
            value, error = told.get()
            if error is not None:
                raise error
            if value is None:
                return
            yield value
            asked.put(True)
    finally:
        asked.put(False)
        thread.join()


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
