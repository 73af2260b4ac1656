"""The end of a connection whose client still sends."""

import asyncio

from .write_buffer import WriteBuffer

LINGER_SECONDS = 2.0
LINGER_BYTES = 1 << 21


class Lingering(asyncio.Protocol):
    """Drops what a client still sends that has got its last answer.

    To close at once would reset the connection, and the client might lose the answer: RFC 9112,
    9.6.
    """

    def __init__(self, transport: WriteBuffer, protocol: asyncio.Protocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._left = LINGER_BYTES

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.hold_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)


def linger(
    transport: WriteBuffer, protocol: asyncio.Protocol, loop: asyncio.AbstractEventLoop
) -> None:
    """Close a connection when its client does, or a little later."""
    transport.set_protocol(Lingering(transport, protocol))
    transport.release_reading()
    transport.resume_reading()
    if transport.can_write_eof():
        transport.write_eof()
    loop.call_later(LINGER_SECONDS, transport.abort)
