"""A client for `await`."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .address import Address
from .blocking import RETRIES, TIMEOUT_SECONDS
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
        flow = self._talk.predict(instances_or_request)
        try:
            attempt = next(flow)
            while True:
                await asyncio.sleep(attempt.wait)
                attempt = flow.send(await self._send(attempt))
        except StopIteration as end:
            return dict(end.value)

    async def _send(self, attempt: Attempt) -> "httpx.Response":
        with self._talk.address.failures():
            return await self._http.request(
                attempt.method, attempt.path, content=attempt.content, headers=attempt.headers
            )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
