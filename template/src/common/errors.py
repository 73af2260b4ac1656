"""The errors that the server, its workers and the owner's code exchange."""

from typing import Any

from .words import written

MOST_CHARACTERS = 10_000  # of an error's text


class InvalidInput(ValueError):
    """The request is not valid. Raise it in `InferenceModel`: the client gets 400 and the text."""


class UnknownModel(InvalidInput):
    """The request is for another model, or for a version of this one. The client gets 404."""


def text_of(error: BaseException) -> str:
    """An error's text, whatever its own code does; cut where it is very long."""
    try:
        text = str(error)
    except BaseException:
        return f"{type(error).__name__}, whose text cannot be made"
    if len(text) > MOST_CHARACTERS:
        return f"{text[:MOST_CHARACTERS]}..."
    return text


class ConfigError(Exception):
    """`config.yaml` or an environment variable holds a value that is not allowed."""

    @classmethod
    def value(cls, key: str, allowed: str, value: Any) -> "ConfigError":
        """The error of one key: what its value must be, and what it is."""
        return cls(f"config.yaml: {key} must be {allowed}, it is {written(value)}")


class LoadError(Exception):
    """The model cannot be loaded. The message is one line and says how to fix it."""


class Unsendable(Exception):
    """What the owner's code returned cannot be sent. The message is for the log."""


class TooLarge(Unsendable):
    """The answer is larger than `max_answer_bytes`. The message is for the client too."""

    def __init__(self, size: str, limit: int) -> None:
        super().__init__(
            f"the answer has {size} bytes, more than the {limit} of serving.max_answer_bytes in"
            " config.yaml: send fewer rows in a request, or raise that"
        )


class DecodeError(ValueError):
    """A request body is not valid. The message is one line for the client."""


class TooLate(Exception):
    """A coroutine of the owner's took too long, and was cancelled. The message is the limit."""


class Unanswered(Exception):
    """No worker answered the request.

    Attributes:
        status: the HTTP status of the answer: 503 (not ready, queue full, worker died) or 504 (took
            too long).
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
