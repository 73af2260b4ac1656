"""The server process: uvicorn, our application, KServe's or KFServing's, and the workers."""

import asyncio
import contextlib
import ctypes
import gc
import importlib
import logging
import math
import signal
import socket
import struct
from types import FrameType
from typing import Protocol

import uvicorn

from ..config import Config
from ..errors import ConfigError
from ..link.child import Child
from .asgi import Application, ASGIApplication
from .http.connection import HTTPProtocol
from .listener import BACKLOG, Port
from .metrics import QUEUE
from .pool import Pool

logger = logging.getLogger(__name__)

GRACE_SECONDS = 30
QUIET_SECONDS = 0.5  # for the last connections to send their requests
SO_ATTACH_FILTER = 26


class Fallback(Protocol):
    """KServe's or KFServing's application, and its gRPC server if it has one."""

    @property
    def application(self) -> ASGIApplication: ...
    async def serve_grpc(self) -> None: ...
    async def stop_grpc(self) -> None: ...


class Server(uvicorn.Server):
    """A uvicorn server that drains on SIGTERM.

    For `drain_seconds` it still takes requests, but it tells clients to close their connections
    and probes that it is not ready. Then it refuses connections, answers what it has, and stops.

    Args:
        config: uvicorn's configuration.
        application: our application.
        listener: the listening socket.
        drain_seconds: how long it takes requests after SIGTERM.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        application: Application,
        listener: socket.socket,
        drain_seconds: float,
    ) -> None:
        super().__init__(config)
        self._routes = application.routes
        self._listener = listener
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first SIGTERM. Stop at once on SIGINT, or on a second signal."""
        if self._routes.draining or self.should_exit or sig != signal.SIGTERM:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True
            return
        self._routes.drain()
        logger.info("draining for %g seconds", self._drain_seconds)
        asyncio.get_running_loop().call_later(self._drain_seconds, self._refuse)

    def _refuse(self) -> None:
        refuse_connections(self._listener)
        asyncio.get_running_loop().call_later(QUIET_SECONDS, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def refuse_connections(listener: socket.socket) -> None:
    """Refuse new connections, but keep those that the kernel has accepted for us.

    Closing the socket would reset those. A packet filter that drops everything sent to the
    listening socket does not; only Linux has it: socket(7), SO_ATTACH_FILTER.
    """
    # BPF_RET | BPF_K: keep 0 bytes.
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


async def serve(config: Config, http: Port, grpc: Port | None, workers: list[Child]) -> None:
    """Serve until a signal stops the server.

    Args:
        config: the scaffold's configuration.
        http: the port for HTTP.
        grpc: the port for gRPC, if there is one.
        workers: the workers, as `launch.start` returns them.

    Raises:
        LoadError: a worker cannot load the model.
        ConfigError: the port cannot be opened.
    """
    pool = Pool(config)
    fallback = _fallback(config, pool)
    try:
        await pool.start(workers)
        QUEUE.set_function(lambda: pool.waiting)
        application = Application(config, pool, fallback.application)
        gc.freeze()  # what exists now stays: the collector need not examine it again
        if grpc is not None:
            grpc.close()  # gRPC takes it itself
        serving_grpc = asyncio.create_task(fallback.serve_grpc())
        await _serve_http(config, application, http.listen())
        await fallback.stop_grpc()
        await serving_grpc
    finally:
        await pool.close()


def _fallback(config: Config, pool: Pool) -> Fallback:
    """The application that answers every route but the predict routes.

    Raises:
        ConfigError: the scaffold does not have the one that `server` in config.yaml names.
    """
    name = f"{__package__}.applications.{config.server}_application"
    try:
        made: Fallback = importlib.import_module(name).FallbackApplication(config, pool)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        change = f"`copier update --data server={config.server}` adds it"
        raise ConfigError(
            f"config.yaml: server is {config.server}, which this scaffold does not have; {change}"
        ) from None
    return made


async def _serve_http(config: Config, application: Application, listener: socket.socket) -> None:
    settings = uvicorn.Config(
        application,
        http=HTTPProtocol,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here uses the client's address
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=math.ceil(config.serving.keep_alive_seconds),
        backlog=BACKLOG,
    )
    server = Server(settings, application, listener, config.serving.drain_seconds)
    url = f"http://{_host(listener)}:{config.serving.http_port}/v1/models/{config.name}:predict"
    logger.info("%s is ready at %s", config.name, url)
    await server.serve(sockets=[listener])


def _host(listener: socket.socket) -> str:
    """The address that a socket listens on, as a URL has it; 0.0.0.0 for all, of IPv6 too."""
    host = str(listener.getsockname()[0])
    if host == "::":
        return "0.0.0.0"
    if listener.family == socket.AF_INET6:
        return f"[{host}]"
    return host
