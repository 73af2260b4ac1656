"""A transport that joins small writes."""

import asyncio
from typing import Any

MAX_BUFFER_BYTES = 1 << 16


class WriteBuffer:
    """A transport that joins small writes.

    It writes when it is flushed, when it is full, or in the next iteration of the event loop.

    Args:
        transport: the transport that it writes to.
        loop: the transport's event loop.
    """

    is_held = False  # whether reading is held
    _is_paused = False  # whether it is paused besides

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        self._scheduled = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def hold_reading(self) -> None:
        """Read nothing, whoever resumes reading, until it is released."""
        self.is_held = True
        self._transport.pause_reading()

    def release_reading(self) -> None:
        self.is_held = False
        if not self._is_paused:
            self._transport.resume_reading()

    def give_way(self) -> None:
        """Read no more in this iteration of the event loop: libuv would read 32 times at once."""
        if not self._may_read():
            return
        self._transport.pause_reading()
        self._loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        if self._may_read():
            self._transport.resume_reading()

    def _may_read(self) -> bool:
        """Whether nothing but this buffer keeps the transport from reading."""
        return not (self.is_held or self._is_paused or self._transport.is_closing())

    def pause_reading(self) -> None:
        self._is_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._is_paused = False
        if not self.is_held:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_BUFFER_BYTES:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._scheduled_flush)

    def write_through(self, data: bytes) -> None:
        """Write at once, after what is in the buffer."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.write(data)

    def flush(self) -> None:
        """Write what is in the buffer."""
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def _scheduled_flush(self) -> None:
        self._scheduled = False
        self.flush()
