"""The gRPC server: its port, its limits, its services, and how it stops."""

import asyncio
import logging
import math
from typing import Any

import grpc

from ...config import Config, Serving
from ...errors import ConfigError
from ..pool import Pool
from ..predict_routes import PredictRoutes
from . import inference
from .calls import Streams
from .health import HealthService
from .receiving import Receiver
from .reflection import ReflectionService

logger = logging.getLogger(__name__)

MOST_MESSAGE_BYTES = 2**31 - 1  # gRPC's own limit
HOLD_SECONDS = 0.05
MOST_STREAMS = 1000  # calls of one connection at a time; the client keeps more of them back


class GRPCServer:
    """Serves gRPC at `serving.grpc_port`.

    Args:
        config: the scaffold's configuration.
        pool: the workers.
        routes: counts and logs the answers.
        server: what V2 tells of the server.
    """

    def __init__(
        self, config: Config, pool: Pool, routes: PredictRoutes, server: dict[str, Any]
    ) -> None:
        self._port = config.serving.grpc_port
        self._following: asyncio.Task[None]
        receiver = Receiver(
            pool.held, config.serving.max_body_bytes, max(1, config.serving.max_connections // 2)
        )
        streams = Streams(max(1, config.serving.max_connections // 4))
        self._inference = inference.InferenceService(config, pool, routes, server, receiver)
        self._health = HealthService((inference.NAME, config.name), pool, receiver, streams)
        self._reflection = ReflectionService(streams)
        services = (self._inference, self._health, self._reflection)
        self._server = grpc.aio.server(
            handlers=[service.handlers() for service in services],
            options=_options(config.serving),
            # A connection of HTTP has one call at a time. One more is answered RESOURCE_EXHAUSTED.
            maximum_concurrent_rpcs=config.serving.max_connections,
        )

    async def start(self) -> None:
        """Take the port and serve.

        Raises:
            ConfigError: the port is in use.
        """
        try:
            self._server.add_insecure_port(f"[::]:{self._port}")
        except RuntimeError as error:
            raise ConfigError(
                f"port {self._port} cannot be taken; set GRPC_PORT in the environment, or "
                "serving.grpc_port in config.yaml"
            ) from error
        await self._server.start()
        self._following = asyncio.create_task(self._health.follow())
        logger.info("gRPC is ready at port %d", self._port)

    async def stop(self, seconds: float) -> None:
        """Tell clients to go elsewhere, and wait for the calls that they have begun.

        gRPC cancels a call that has come and is not taken yet. So for a moment no answer leaves:
        clients that wait for one send no other call before they are told.

        Args:
            seconds: how long. Calls that take longer are cancelled.
        """
        self._following.cancel()
        self._health.stop()
        self._reflection.stop()
        self._inference.stop()
        if seconds:
            self._inference.hold()
            await asyncio.sleep(HOLD_SECONDS)
        stopping = asyncio.create_task(self._server.stop(seconds))
        await asyncio.sleep(HOLD_SECONDS)
        self._inference.release()
        await stopping


def _options(serving: Serving) -> list[tuple[str, int]]:
    """The settings of gRPC's core, by the names in grpc_types.h and channel_arg_names.h."""
    return [
        ("grpc.max_receive_message_length", min(serving.max_body_bytes, MOST_MESSAGE_BYTES)),
        ("grpc.max_concurrent_streams", MOST_STREAMS),
        ("grpc.max_connection_idle_ms", math.ceil(serving.keep_alive_seconds * 1000)),
        ("grpc.so_reuseport", 0),
    ]
