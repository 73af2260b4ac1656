"""TensorFlow without its noise: the import that greets in the log, and errors of many lines."""

import contextlib
import os
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

SAID = re.compile(r"([^\n{}]+?)\s*\[(?:\[\{\{(?:function_)?node|Op:)")
"""A line, and the name of the node or of the operator behind it."""


def imported() -> Any:
    """TensorFlow, with as many threads as the worker has."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", os.environ.get("OMP_NUM_THREADS", "0"))
    with _silence():
        return import_module("tensorflow")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing on standard error: some libraries write before they read TF_CPP_MIN_LOG_LEVEL."""
    standard_error = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def reason(error: Exception) -> str:
    """The line of an error that says what was wrong. TensorFlow puts others around it."""
    text = str(error).strip()
    said = SAID.search(text)
    return (said[1] if said else text.partition("\n")[0]).strip()
