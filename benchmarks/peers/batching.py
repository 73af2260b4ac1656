"""Micro-batching by hand, for the peers without it: requests that are there share a call.

Nothing waits for a timer, so that one connection alone waits for nothing.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from predictor import Predict, merged

MOST = 256


class Batcher:
    """Calls a model for all requests that have arrived.

    Args:
        predict: the model, as a function of rows.
        thread: call it in a thread, so that the event loop reads further requests meanwhile. A
            call in the event loop saves the switch between threads.
    """

    def __init__(self, predict: Predict, thread: bool) -> None:
        self._predict = predict
        self._executor = ThreadPoolExecutor(1) if thread else None
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._running = False

    async def predict(self, rows: Any) -> Any:
        """The predictions of these rows, from a call that other requests may share."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._waiting.append((rows, future))
        if not self._running:
            self._running = True
            loop.call_soon(self._start)  # behind the requests that the loop has read already
        return await future

    def _start(self) -> None:
        batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        if self._executor is None:
            self._finish(batch, self._call(batch))
            return
        call = asyncio.get_running_loop().run_in_executor(self._executor, self._call, batch)
        call.add_done_callback(lambda done: self._finish(batch, done.result()))

    def _call(self, batch: list[tuple[Any, Any]]) -> list[Any]:
        try:
            return merged([rows for rows, _ in batch], self._predict)
        except Exception as error:
            return [error] * len(batch)

    def _finish(self, batch: list[tuple[Any, "asyncio.Future[Any]"]], results: list[Any]) -> None:
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # its client has gone
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._running = bool(self._waiting)
        if self._running:
            asyncio.get_running_loop().call_soon(self._start)
