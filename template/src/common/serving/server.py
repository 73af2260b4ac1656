"""The server process: uvicorn, the application of each route, and the workers."""

import asyncio
import gc
import importlib
import logging
import math
import signal
import socket
from types import FrameType
from typing import Any, Protocol

import uvicorn

from ..config import Config
from ..errors import ConfigError
from ..link.child import Child
from . import gpu_memory, reloading
from .asgi import Application, ASGIApplication
from .http.connection import HTTPProtocol
from .listener import BACKLOG, Port
from .metrics import QUEUE
from .pool import Pool
from .predict_routes import version_fields

logger = logging.getLogger(__name__)

QUIET_SECONDS = 0.5  # for the last connections to send their requests


class Fallback(Protocol):
    """What answers every route but the predict routes.

    Attributes:
        about: what V2 tells of the server, where it has gRPC.
    """

    @property
    def application(self) -> ASGIApplication: ...
    @property
    def about(self) -> dict[str, Any]: ...


class GRPC(Protocol):
    """The gRPC server."""

    async def start(self) -> None: ...
    async def stop(self, seconds: float) -> None: ...


class Server(uvicorn.Server):
    """A uvicorn server that drains on SIGTERM.

    For `drain_seconds` it still takes requests, but it tells clients to close their connections
    and probes that it is not ready. Then it refuses connections, answers what it has, and stops. It
    waits for an answer as long as a call of `predict` may take.

    Args:
        application: our application.
        http: the port, open.
        config: the scaffold's configuration.
        grpc: the gRPC server, which stops at the same time; None if there is none.
    """

    def __init__(
        self,
        application: Application,
        http: Port,
        config: Config,
        grpc: GRPC | None,
    ) -> None:
        serving = config.serving
        settings = uvicorn.Config(
            application,
            http=HTTPProtocol,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # nothing here uses the client's address
            headers=version_fields(config),
            lifespan="off",
            timeout_graceful_shutdown=serving.grace_seconds,
            timeout_keep_alive=math.ceil(serving.keep_alive_seconds),
            backlog=BACKLOG,
        )
        super().__init__(settings)
        self._routes = application.routes
        self._http = http
        self._serving = serving
        self._grpc = grpc

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what was taken, by HTTP and by gRPC, and stop."""
        if self._grpc is None:
            return await super().shutdown(sockets)
        stopping = asyncio.create_task(self._grpc.stop(self._serving.grace_seconds))
        await super().shutdown(sockets)
        if self.force_exit:
            await self._grpc.stop(0)
        await stopping
        return None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first SIGTERM. Stop at once on SIGINT, or on a second signal."""
        if self._routes.draining or self.should_exit or sig != signal.SIGTERM:
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True
            return
        self._routes.drain()
        logger.info("draining for %g seconds", self._serving.drain_seconds)
        asyncio.get_running_loop().call_later(self._serving.drain_seconds, self._refuse)

    def _refuse(self) -> None:
        if not self._http.refuse():
            for server in self.servers:
                server.close()
        asyncio.get_running_loop().call_later(QUIET_SECONDS, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


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
        gpu_memory.start(config)
        await pool.start(workers)
        if reloading.is_wanted():
            watching = asyncio.create_task(reloading.watch(pool))
            watching.add_done_callback(_tell)
        QUEUE.set_function(lambda: pool.waiting)
        application = Application(config, pool, fallback.application)
        gc.freeze()  # what exists now stays: the collector need not examine it again
        if grpc is not None:
            grpc.close()  # gRPC takes it itself
        grpc_server = await _start_grpc(config, pool, application, fallback)
        await _serve_http(config, application, http, grpc_server)
    finally:
        await pool.close()


def _tell(watching: "asyncio.Task[None]") -> None:
    """Log why files are no longer watched."""
    if not watching.cancelled() and (error := watching.exception()) is not None:
        logger.error("src/ is no longer watched: %r", error, exc_info=error)


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


async def _start_grpc(
    config: Config, pool: Pool, application: Application, fallback: Fallback
) -> GRPC | None:
    """Start the gRPC server; None if its port is 0.

    Raises:
        ConfigError: the port is in use.
    """
    if not config.serving.grpc_port:
        return None
    module = importlib.import_module("common.serving.grpc.server")
    server: GRPC = module.GRPCServer(config, pool, application.routes, fallback.about)
    await server.start()
    return server


async def _serve_http(
    config: Config, application: Application, http: Port, grpc: GRPC | None
) -> None:
    listener = http.listen()
    url = f"http://{_host(listener)}:{config.serving.http_port}/v1/models/{config.name}:predict"
    logger.info("%s is ready at %s", config.name, url)
    server = Server(application, http, config, grpc)
    await server.serve(sockets=[listener])


def _host(listener: socket.socket) -> str:
    """The address that a socket listens on, as a URL has it; 0.0.0.0 for all, of IPv6 too."""
    host = str(listener.getsockname()[0])
    if host == "::":
        return "0.0.0.0"
    if listener.family == socket.AF_INET6:
        return f"[{host}]"
    return host
