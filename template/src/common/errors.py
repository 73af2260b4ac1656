"""Errors that cross the border between the server, its workers and the owner's code."""


class InvalidInput(ValueError):
    """The client's request cannot be answered. Raise it in `InferenceModel`: the client gets 400 and the message."""


class ConfigError(Exception):
    """`config.yaml` or an environment variable holds a value that its rule forbids."""


class LoadError(Exception):
    """The model cannot be loaded. The message is one line and says what to do."""


class Unanswered(Exception):
    """No worker answered the request.

    Attributes:
        status: the HTTP status that says why: 503 (not ready, queue full, worker died) or 504 (took too long).
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
