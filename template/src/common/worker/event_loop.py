"""The event loop of a worker, in a thread of its own: the main thread predicts meanwhile."""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0  # for what is cancelled to end


class EventLoop:
    """An event loop that runs until the process ends.

    Args:
        settings: called in its thread first.
    """

    def __init__(self, settings: Sequence[Callable[[], object]] = ()) -> None:
        self._loop = asyncio.new_event_loop()
        self._settings = settings
        threading.Thread(target=self._run, name="event-loop", daemon=True).start()

    def call(self, function: Callable[[], object]) -> None:
        """Call a function in the event loop, after what was asked before."""
        self._loop.call_soon_threadsafe(function)

    def task(
        self, work: Coroutine[Any, Any, None], context: contextvars.Context
    ) -> "asyncio.Task[None]":
        """Start work with a copy of a context; in the event loop alone."""
        return context.run(self._loop.create_task, work)

    def after(self, seconds: float, function: Callable[[], object]) -> asyncio.TimerHandle:
        """Call a function after a time; in the event loop alone."""
        return self._loop.call_later(seconds, function)

    def run(self, work: Awaitable[Any], seconds: float | None = None) -> Any:
        """What work returns, or raises. The calling thread waits.

        Raises:
            TimeoutError: it takes longer than `seconds`.
        """
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()

        async def guarded() -> None:
            try:
                done.set_result(await work)
            except BaseException as error:  # SystemExit would end the event loop
                done.set_exception(error)

        context = contextvars.copy_context()
        self.call(lambda: self.task(guarded(), context))
        return done.result(seconds)

    def cancel_all(self) -> None:
        """Cancel what runs, and wait a moment for it to end."""
        with contextlib.suppress(TimeoutError, concurrent.futures.TimeoutError):
            self.run(self._cancelled(), 2 * CLOSE_SECONDS)

    async def _cancelled(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=CLOSE_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for setting in self._settings:
            setting()
        while True:
            try:
                self._loop.run_forever()
            except BaseException as error:  # SystemExit in a task that a hook has started
                logger.error("a task raised %s", type(error).__name__, exc_info=error)
