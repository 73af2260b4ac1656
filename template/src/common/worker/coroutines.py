"""What of the owner's is `async def`, and the event loop that runs it.

A worker without any starts no event loop, and does not import asyncio for one.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .event_loop import EventLoop

# Settings that a library keeps for each thread: called in that of the event loop when it starts.
OF_A_THREAD: list[Callable[[], object]] = []


def is_async(function: Any) -> bool:
    """Whether a function is an `async def`, or wraps one, and has no `yield`."""
    inner = inspect.unwrap(function)
    return any(
        inspect.iscoroutinefunction(each)
        for each in (function, inner, getattr(inner, "__call__", None))  # noqa: B004
    )


def is_later(value: Any) -> bool:
    """Whether a value is what an `async def` returns before it has run."""
    return inspect.isawaitable(value)


def finished(value: Any) -> Any:
    """A value, or what it becomes in the event loop, for which this waits."""
    return event_loop().run(value) if is_later(value) else value


def cancel_all() -> None:
    """Cancel what still runs in the event loop, if there is one."""
    if event_loop.cache_info().currsize:
        event_loop().cancel_all()


@cache
def event_loop() -> "EventLoop":
    """The event loop of this process."""
    from .event_loop import EventLoop

    return EventLoop(OF_A_THREAD)
