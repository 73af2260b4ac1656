"""gRPC's health service, which Kubernetes and load balancers ask.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from ..pool import Pool
from ..predict_routes import Refused
from .calls import Streams, parsed, refuse, unary
from .receiving import Receiver

NAME = "grpc.health.v1.Health"
LOOK_SECONDS = 0.1


class HealthService:
    """Says whether the server, its inference service and the model are ready: all are at once.

    Args:
        names: the names that it knows, besides "" for the server.
        pool: the workers.
        receiver: receives the requests.
        streams: limits those that watch.
    """

    def __init__(
        self, names: tuple[str, ...], pool: Pool, receiver: Receiver, streams: Streams
    ) -> None:
        self._streams = streams
        self._receiver = receiver
        self._names = ("", *names)
        self._pool = pool
        self._ready = pool.ready
        self._changed = asyncio.Event()  # each change makes another one
        self._stopped = False

    def handlers(self) -> grpc.GenericRpcHandler:
        """What answers the methods, for a server."""
        watch = grpc.stream_stream_rpc_method_handler(
            self._watch, response_serializer=HealthCheckResponse.SerializeToString
        )
        check = unary(self._receiver, HealthCheckRequest, HealthCheckResponse, self._check)
        return grpc.method_handlers_generic_handler(NAME, {"Check": check, "Watch": watch})

    async def follow(self) -> None:
        """Tell those that watch each change, for as long as the server runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._pool.ready != self._ready:
                self._tell()

    def stop(self) -> None:
        """Tell those that watch a last time, and end their calls."""
        self._stopped = True
        self._tell()

    def _tell(self) -> None:
        self._ready = self._pool.ready
        self._changed.set()
        self._changed = asyncio.Event()

    def _status(self, service: str) -> Any:
        if service not in self._names:
            return HealthCheckResponse.SERVICE_UNKNOWN
        if self._pool.ready and not self._stopped:
            return HealthCheckResponse.SERVING
        return HealthCheckResponse.NOT_SERVING

    async def _check(self, request: Any) -> Any:
        if request.service not in self._names:
            names = ", ".join(map(repr, self._names))
            raise Refused(404, f"there is no service of this name here, the services are {names}")
        return HealthCheckResponse(status=self._status(request.service))

    async def _watch(self, _: Any, context: Any) -> AsyncIterator[Any]:
        try:
            request = await parsed(self._receiver, HealthCheckRequest, context)
            with self._streams.one():
                async for status in self._statuses(request.service):
                    yield HealthCheckResponse(status=status)
        except Refused as error:
            await refuse(context, error.status, str(error))

    async def _statuses(self, service: str) -> AsyncIterator[Any]:
        """The status of a service now, and after each change."""
        known = None
        while True:
            changed, status = self._changed, self._status(service)
            if status != known:
                yield status
                known = status
            if self._stopped:
                return
            await changed.wait()
