"""A client for `await`."""

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping
from typing import TYPE_CHECKING, Any

from .address import Address
from .answers import response
from .blocking import RETRIES, TIMEOUT_SECONDS, T
from .events import Events, is_events
from .talk import Attempt, Talk

if TYPE_CHECKING:
    import httpx


def async_client(
    url: str,
    *,
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = TIMEOUT_SECONDS,
    retries: int = RETRIES,
) -> "AsyncClient":
    """A client for `await`: `await generator.async_client(url).predict(rows)`. See `client`."""
    address = Address(url, headers, timeout)
    return AsyncClient(Talk(address, name, retries), address.httpx.AsyncClient(**address.settings))


class AsyncClient:
    """A client of a server, for `await`: see `async_client`."""

    def __init__(self, talk: Talk, http: "httpx.AsyncClient") -> None:
        self._talk = talk
        self._http = http

    def __repr__(self) -> str:
        return f"async_client({self._talk.address.shown!r})"

    async def predict(self, instances_or_request: Any) -> dict[str, Any]:
        """Predict: see `Client.predict`."""
        return dict(await self._done(self._talk.predict(instances_or_request)))

    async def stream(self, instances_or_request: Any) -> AsyncIterator[Any]:
        """Predict with a model that answers chunk by chunk: see `Client.stream`."""
        attempt = await self._done(self._talk.streamed(instances_or_request))
        wait, address = self._talk.waits(), self._talk.address
        while True:
            with address.failures():
                async with self._http.stream(*attempt.sent, **attempt.rest) as answer:
                    if is_events(answer):
                        events = Events(address)
                        async for data in answer.aiter_bytes():
                            for chunk in events.feed(data):
                                yield chunk
                        events.check()
                        return
                    await answer.aread()
            seconds = wait(answer)
            if seconds is None:
                yield response(answer, address)
                return
            await asyncio.sleep(seconds)

    async def _done(self, flow: Generator[Attempt, "httpx.Response", T]) -> T:
        """What is made of the answers, once all has been said."""
        try:
            attempt = next(flow)
            while True:
                await asyncio.sleep(attempt.wait)
                attempt = flow.send(await self._send(attempt))
        except StopIteration as end:
            made: T = end.value
            return made

    async def _send(self, attempt: Attempt) -> "httpx.Response":
        with self._talk.address.failures():
            return await self._http.request(*attempt.sent, **attempt.rest)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
