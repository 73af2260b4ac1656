"""The request that the worker's thread answers now: for code that is not handed it."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

request: ContextVar[Mapping[str, Any]] = ContextVar("request")
