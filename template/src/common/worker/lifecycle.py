"""What the owner's model does around its requests: warm up, tell its health, close.

Each is a method without parameters that the model may have. One that needs parameters is the
owner's own, whatever it is called.
"""

import inspect
import logging
from typing import Any

import numpy as np

from ..errors import LoadError, text_of
from .coroutines import finished

logger = logging.getLogger(__name__)

WARM_UP, HEALTH, CLOSE = "warmup", "health", "close"


class Lifecycle:
    """The methods of the owner's model around its requests.

    Args:
        model: the owner's InferenceModel.

    Attributes:
        tells_health: whether it has a `health`.
        closes: whether it has a `close`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.tells_health, self.closes = _has(model, HEALTH), _has(model, CLOSE)

    def warm_up(self) -> None:
        """Let the model warm up as its owner wrote it.

        Raises:
            LoadError: that failed.
        """
        if not _has(self._model, WARM_UP):
            return
        try:
            finished(self._model.warmup())
        except (Exception, SystemExit) as error:
            logger.error("warmup() failed", exc_info=error)
            raise LoadError(
                "warmup() in src/server/inference_model.py failed:"
                f" {type(error).__name__}: {' '.join(text_of(error).split())}"
            ) from error

    def ailment(self) -> str | None:
        """Why the model is not well; None if it is.

        It is not where `health` returns False or a text, the reason, or raises an exception.
        """
        try:
            said = finished(self._model.health())
        except BaseException as error:
            return f"health() failed: {type(error).__name__}: {' '.join(text_of(error).split())}"
        if isinstance(said, str):
            return said or "health() returned an empty text"
        if said is None or isinstance(said, (bool, np.bool_)):
            return "health() returned False" if said is not None and not said else None
        return f"health() must return True, False, None or a text, it returned {said!r:.200}"

    def close(self) -> None:
        """Let the model close what it holds. A failure is logged: nobody waits for more."""
        if not self.closes:
            return
        try:
            finished(self._model.close())
        except BaseException as error:
            logger.error("close() failed", exc_info=error)


def _has(model: Any, name: str) -> bool:
    method = getattr(model, name, None)
    if not callable(method):
        return False
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return False
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return all(
        each.default is not inspect.Parameter.empty or each.kind in variable for each in parameters
    )
