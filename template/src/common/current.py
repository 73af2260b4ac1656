"""The request that is answered now: for code that is not handed it."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

request: ContextVar[Mapping[str, Any]] = ContextVar("request")
request_id: ContextVar[str] = ContextVar("request_id", default="")  # in the event loop
