"""A worker without a server, as `generator.load(directory).predict(...)` uses it."""

import contextlib
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

from ..config import Config
from ..errors import LoadError
from . import launch
from .frames import Frame, Kind, Request, Response, Splitter, receive


class Client:
    """A worker of this scaffold that answers one request at a time. Close it after use.

    Args:
        config: the scaffold's configuration.
        path: the only directories that the worker imports from, besides `src/` and the standard
            library. By default it imports from its interpreter's path.
        log: the file for the worker's log. By default it goes to this process's standard error.
        python: the interpreter of another environment, isolated from `PYTHONPATH`.

    Raises:
        LoadError: the model cannot be loaded.
    """

    def __init__(
        self,
        config: Config,
        path: Sequence[str] | None = None,
        log: IO[bytes] | None = None,
        python: str | None = None,
    ) -> None:
        self._child = launch.start(config, path, log, python)
        self._connection = self._child.connection
        self._splitter = Splitter()
        self._frames: list[Frame] = []
        self._lock = threading.Lock()
        self._ident = 0
        self._connection.settimeout(config.serving.load_timeout_seconds)
        try:
            ready = self._next()
        except (LoadError, OSError) as error:
            self.close()
            raise LoadError(f"the worker ended while it loaded the model: {error}") from error
        if ready.kind == Kind.FAILED:
            self.close()
            raise LoadError(ready.body.decode())
        self._connection.settimeout(config.serving.predict_timeout_seconds)

    def request(self, kind: int, body: bytes, beside: bytes = b"") -> tuple[int, bytes]:
        """Answer a body as the server does.

        Args:
            kind: what the body is.
            body: the body.
            beside: what the hooks are told beside it, as `told` of `serving/beside.py` writes it.

        Returns:
            The status and the body of the answer; of a stream, an object with its `chunks`.

        Raises:
            LoadError: the worker died, or took longer than `predict_timeout_seconds`.
        """
        with self._lock:
            self._ident += 1
            request = Request(self._ident, kind, f"local-{self._ident}", body, beside)
            try:
                self._connection.sendall(request.pack())
                chunks: list[bytes] = []
                while (answer := self._next()).ident != self._ident or answer.kind == Kind.CHUNK:
                    if answer.kind in (Kind.BROKEN, Kind.STUCK):
                        raise LoadError(answer.body.decode())
                    if answer.ident == self._ident:
                        chunks.append(answer.body)
                        more = Request(self._ident, Kind.MORE, "", (1).to_bytes(4, "big"))
                        self._connection.sendall(more.pack())
            except (LoadError, OSError) as error:
                self.close()
                raise LoadError(f"the worker ended before it answered: {error}") from error
            if answer.kind == Kind.END and answer.status < 400:
                return answer.status, b'{"chunks": [%b]}' % b",".join(chunks)
            return answer.status, answer.body

    @property
    def closed(self) -> bool:
        """Whether the worker was closed, or has ended."""
        return self._connection.fileno() == -1 or self._child.ended

    def close(self) -> None:
        """Stop the worker."""
        self._connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=1)
        self._child.kill()
        self._child.wait()

    def _next(self) -> Response:
        if not self._frames:
            try:
                self._frames = receive(self._connection, self._splitter)
            except EOFError:
                code = self._child.wait()
                raise LoadError(f"exit status {code}") from None
        return Response.unpack(self._frames.pop(0))
