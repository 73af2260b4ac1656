"""uvicorn's HTTP protocol, with the head and the body of a response sent in one piece."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES = 1 << 16


class HTTPProtocol(HttpToolsProtocol):
    """uvicorn's own, but for what it writes through.

    It writes a response's head, then its body: two calls of the system, and the client wakes for a head alone.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, Gathering(transport, self.loop)))

    def on_response_complete(self) -> None:
        cast(Gathering, self.transport).flush()
        super().on_response_complete()


class Gathering:
    """A transport that keeps what is written to it: until it is flushed, or full, or the loop comes round.

    Args:
        transport: where it goes then.
        loop: the loop that the transport belongs to.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        self._awaits_turn = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST_BYTES:
            self.flush()
        elif not self._awaits_turn:
            self._awaits_turn = True
            self._loop.call_soon(self._turn)

    def flush(self) -> None:
        """Write what was kept."""
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def _turn(self) -> None:
        self._awaits_turn = False
        self.flush()
