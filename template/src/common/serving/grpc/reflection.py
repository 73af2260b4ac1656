"""gRPC's server reflection: tools such as grpcurl find the services and their messages with it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as NAME
from grpc_reflection.v1alpha.reflection import aio

from ..predict_routes import Refused
from . import health, inference, messages
from .calls import Streams, refuse

FILES = (health_pb2, reflection_pb2)
SERVICES = (inference.NAME, health.NAME, NAME)
UNSERVED = {*inference.REFUSED, "List"}  # "List" is in newer descriptions of health


class ReflectionService:
    """Describes the services of this server, and nothing else that its process knows.

    Args:
        streams: limits the calls.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._servicer = aio.ReflectionServicer(SERVICES, _descriptors())
        self._stopping = asyncio.Event()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What answers the method, for a server."""
        method = grpc.stream_stream_rpc_method_handler(
            self._answer,
            request_deserializer=_request,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(NAME, {"ServerReflectionInfo": method})

    def stop(self) -> None:
        """End the calls, which clients may keep open."""
        self._stopping.set()

    async def _answer(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        until_stopped = self._until_stopped(requests)
        try:
            with self._streams.one():
                async for response in self._servicer.ServerReflectionInfo(until_stopped, context):
                    yield response
        except Refused as error:
            await refuse(context, error.status, str(error))

    async def _until_stopped(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                request = asyncio.ensure_future(anext(requests, None))
                await asyncio.wait((request, stopping), return_when=asyncio.FIRST_COMPLETED)
                if not request.done() or request.result() is None:
                    request.cancel()
                    return
                yield request.result()
        finally:
            stopping.cancel()


def _request(message: bytes) -> Any:
    """A request; an empty one, which is answered INVALID_ARGUMENT, for what is none."""
    try:
        return reflection_pb2.ServerReflectionRequest.FromString(message)
    except DecodeError:
        return reflection_pb2.ServerReflectionRequest()


def _descriptors() -> DescriptorPool:
    """The descriptions of the services, without the methods that are not served."""
    pool = DescriptorPool()
    for file in (messages.description(), *map(_description, FILES)):
        for service in file.service:
            served = [method for method in service.method if method.name not in UNSERVED]
            del service.method[:]
            service.method.extend(served)
        pool.Add(file)
    return pool


def _description(module: Any) -> FileDescriptorProto:
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file
