"""Tells failures of one request from those after which a worker's model never answers again."""

import math
import re
import sys
import time
from collections.abc import Callable
from enum import Enum

from ..bodies import DecodeError
from ..errors import InvalidInput, text_of

PAUSE_SECONDS = 1.0
PAUSE_SHARE = 10  # times as long as a try took: failures cost a tenth of the time at most

OUT_OF_MEMORY_CLASSES = {"OutOfMemoryError", "ResourceExhaustedError"}
OUT_OF_MEMORY = re.compile(
    r"(CUDA|HIP)\b.*out of memory|RESOURCE_EXHAUSTED|CUDA_ERROR_OUT_OF_MEMORY|_ALLOC_FAILED"
)
FINAL_CLASSES = {"AcceleratorError"}
FINAL = re.compile(
    r"\b(CUDA|HIP)[ _](driver )?(error|failure)|\bECC error|device-side assert", re.IGNORECASE
)
# Errors of one call, after which CUDA goes on: CUDA Runtime API, Error Handling.
PASSING = re.compile(
    r"invalid (configuration )?argument|no kernel image|not supported", re.IGNORECASE
)
# What Python itself raises for a value. Their messages quote it, and a client chose it.
OF_A_VALUE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, OSError)


class Broken(Exception):
    """The model cannot answer any more: this process must end. The message is the reason."""


class Stuck(Exception):
    """The event loop does not go on: this process must end. The message is the reason."""


class Failure(Enum):
    """What an error says about the requests after it."""

    INPUT = 1  # the client's mistake
    OUT_OF_MEMORY = 2  # of a GPU, by this request
    UNKNOWN = 3
    FINAL = 4  # all of them fail

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """What it is by its class's name, or by its message; no framework is imported for that."""
        refused = isinstance(error, (InvalidInput, DecodeError))
        cause = error.__cause__ if refused else error
        if cause is None:
            return cls.INPUT
        names, text = {kind.__name__ for kind in type(cause).__mro__}, text_of(cause)
        device = not isinstance(cause, OF_A_VALUE)
        if names & OUT_OF_MEMORY_CLASSES or (device and OUT_OF_MEMORY.search(text)):
            return cls.OUT_OF_MEMORY
        if names & FINAL_CLASSES or (device and FINAL.search(text)):
            return cls.UNKNOWN if PASSING.search(text) else cls.FINAL
        if refused:
            return cls.INPUT
        return cls.UNKNOWN


class Recovery:
    """Decides after failures whether the model can go on.

    Args:
        fails: tries the example, and says why it fails; None if there is no example that the model
            has answered before.

    Attributes:
        failed: whether there was a failure since the last check.
    """

    def __init__(self, fails: Callable[[], str | None] | None = None) -> None:
        self.failed = False
        self._fails = fails
        self._final: str | None = None
        self._unknown = self._out_of_memory = False
        self._next_try = 0.0

    def note(self, error: BaseException) -> Failure:
        """Take notice of an error; `check` says what follows."""
        failure = Failure.of(error)
        if failure == Failure.INPUT and not isinstance(error.__cause__, RuntimeError):
            return failure
        self.failed = True
        if failure == Failure.FINAL:
            self._final = f"{type(error).__name__}: {' '.join(text_of(error).split())}"
        # A framework's refusal, as PyTorch's of a shape, may be a failure that was taken for one.
        self._unknown = self._unknown or failure in (Failure.UNKNOWN, Failure.INPUT)
        self._out_of_memory = self._out_of_memory or failure == Failure.OUT_OF_MEMORY
        return failure

    def check(self) -> None:
        """Give back the memory that no call uses, and try the example, though not too often.

        Raises:
            Broken: the model cannot go on.
        """
        if not self.failed:
            return
        if self._final is not None:
            raise Broken(self._final)
        if self._out_of_memory:
            _empty_cache()
        unknown = self._unknown
        self.failed = self._unknown = self._out_of_memory = False
        start = time.monotonic()
        if not unknown or self._fails is None or start < self._next_try:
            return
        self._next_try = math.inf  # the try is checked like any call
        reason = self._fails()
        self.failed = self._unknown = self._out_of_memory = False
        end = time.monotonic()
        self._next_try = end + max(PAUSE_SECONDS, PAUSE_SHARE * (end - start))
        if reason is not None:
            raise Broken(
                f"model.example of config.yaml, which it has answered, fails now: {reason}"
            )


def _empty_cache() -> None:
    """Give back the GPU's memory that PyTorch keeps for later calls."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.empty_cache()
