"""The server process: uvicorn with our application, KServe's or KFServing's behind it, and the workers."""

import asyncio
import contextlib
import ctypes
import gc
import importlib
import logging
import signal
import socket
import struct
from types import FrameType
from typing import Any, Protocol

import uvicorn

from ..config import Config
from ..errors import ConfigError
from .asgi import Application, ASGIApplication
from .connection import HTTPProtocol
from .metrics import QUEUE
from .pool import Pool

logger = logging.getLogger(__name__)

GRACE_SECONDS = 30
QUIET_SECONDS = 0.2  # for the connections that were taken last to send their requests
KEEP_ALIVE_SECONDS = 65
SO_ATTACH_FILTER = 26


class Behind(Protocol):
    """The application behind ours, of KServe or KFServing, and the gRPC server where it has one."""

    @property
    def application(self) -> ASGIApplication: ...
    async def serve_grpc(self) -> None: ...
    async def stop_grpc(self) -> None: ...


class Server(uvicorn.Server):
    """A uvicorn server that drains on SIGTERM.

    For `drain_seconds` it goes on taking requests, tells the clients to close their connections and the probes that
    it is not ready. Then it takes no more, answers what it has taken, and ends.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        application: Application,
        listener: socket.socket,
        drain_seconds: float,
    ) -> None:
        super().__init__(config)
        self._predictions = application.predictions
        self._listener = listener
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first SIGTERM; on another signal, or a second one, stop at once."""
        if self._predictions.draining or self.should_exit or sig != signal.SIGTERM:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True
            return
        self._predictions.drain()
        logger.info("draining for %g seconds", self._drain_seconds)
        asyncio.get_running_loop().call_later(self._drain_seconds, self._refuse)

    def _refuse(self) -> None:
        refuse_connections(self._listener)
        asyncio.get_running_loop().call_later(QUIET_SECONDS, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def refuse_connections(listener: socket.socket) -> None:
    """Let nobody connect any more, but keep the connections that the kernel holds for us to accept.

    Closing the socket resets those. A packet filter that drops all that is sent to the listening socket itself does
    not; only Linux has it.
    """
    drop_all = ctypes.create_string_buffer(
        struct.pack("HBBI", 6, 0, 0, 0)
    )  # BPF_RET | BPF_K: keep 0 bytes
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


async def serve(
    config: Config, listener: socket.socket, workers: list[tuple[Any, socket.socket]]
) -> None:
    """Serve until a signal says to stop.

    Args:
        config: the scaffold's configuration.
        listener: a socket bound to the port, not yet listening.
        workers: the workers that were started, as `process.start` gives them.

    Raises:
        LoadError: a worker cannot load the model.
    """
    pool = Pool(config)
    behind = _behind(config, pool)
    try:
        await pool.start(workers)
        QUEUE.set_function(lambda: pool.waiting)
        application = Application(config, pool, behind.application)
        gc.freeze()  # what is here now stays: it need not be looked through again and again
        grpc = asyncio.create_task(behind.serve_grpc())
        await _serve_http(config, application, listener)
        await behind.stop_grpc()
        await grpc
    finally:
        await pool.close()


def _behind(config: Config, pool: Pool) -> Behind:
    """What answers all but the predict routes."""
    name = f"{__package__}.{config.server}_application"
    try:
        made: Behind = importlib.import_module(name).Behind(config, pool)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        change = f"`copier update --data server={config.server}` brings it"
        raise ConfigError(
            f"config.yaml: server is {config.server}, which is not here; {change}"
        ) from None
    return made


async def _serve_http(config: Config, application: Application, listener: socket.socket) -> None:
    settings = uvicorn.Config(
        application,
        http=HTTPProtocol,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody here asks who the client is
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=2048,
    )
    server = Server(settings, application, listener, config.serving.drain_seconds)
    logger.info(
        "%s is ready at http://0.0.0.0:%d/v1/models/%s:predict",
        config.name,
        config.serving.http_port,
        config.name,
    )
    await server.serve(sockets=[listener])
