"""V2's GRPCInferenceService. A worker decodes ModelInfer's messages; the others are small.

Sources: KServe's Open Inference Protocol (V2), grpc_predict_v2.proto. ModelStreamInfer is Triton's.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import grpc

from ...bodies.v2 import v2_metadata
from ...bodies.v2.names import check_model
from ...bodies.v2.protobuf_fields import BYTES, Budget, fields
from ...config import Config
from ...errors import DecodeError, Unanswered
from ...link.frames import Kind, Response
from ..applications.error_answers import FIXED
from ..beside import HeaderList, fields_of
from ..pool import STOPPING, Pool
from ..predict_routes import Headers, PredictRoutes, Refused, error_answer, version_fields
from ..streams import Stream
from . import streamed
from .calls import CANCELLED, details, refuse, status_of, unary
from .messages import CLASSES, PACKAGE, SERVICE, STREAM
from .receiving import Receiver

NAME = f"{PACKAGE}.{SERVICE}"
ROUTE = "grpc_infer"  # in metrics and in the log
STREAM_ROUTE = "grpc_stream_infer"
REQUEST_ID = "x-request-id"
# Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Custom-Metadata. gRPC has
# the names that begin with grpc-, and those that end with -bin are binary.
KEY = re.compile(rb"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")
VALUE = re.compile(rb"[\x20-\x7e]*")
MESSAGE_ID = 3  # the number of `id` in a ModelInferRequest
MOST_ID_BYTES = 128
LOADED = "this server serves one model, which it has loaded when it starts"
REFUSED = {"RepositoryModelLoad": LOADED, "RepositoryModelUnload": FIXED}


class InferenceService:
    """Answers V2's methods.

    Args:
        config: the scaffold's configuration.
        pool: the workers.
        routes: counts and logs the answers of ModelInfer, and makes request ids.
        server: what V2 tells of the server.
        receiver: receives the requests.
    """

    def __init__(
        self,
        config: Config,
        pool: Pool,
        routes: PredictRoutes,
        server: dict[str, Any],
        receiver: Receiver,
    ) -> None:
        self._receiver = receiver
        self._name = config.name
        self._version = config.model.version
        self._told = version_fields(config)
        self._pool = pool
        self._routes = routes
        self._server = server
        self._model = v2_metadata.of_model(config)
        self._released = asyncio.Event()
        self._released.set()
        self._idle: set[asyncio.Task[Any]] = set()  # of streams that wait for a request
        self._stopping = False

    def hold(self) -> None:
        """Keep the answers of ModelInfer back until they are released."""
        self._released.clear()

    def release(self) -> None:
        """Send the answers, those that were kept back first."""
        self._released.set()

    def stop(self) -> None:
        """End the streams that wait for a request, and take no more on the others."""
        self._stopping = True
        for task in list(self._idle):
            task.cancel()

    def handlers(self) -> grpc.GenericRpcHandler:
        """What answers the methods, for a server."""
        answers: dict[str, Any] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._metadata,
            "ModelMetadata": self._model_metadata,
            **{name: partial(_refuse, message) for name, message in REFUSED.items()},
        }
        methods = {
            name: unary(
                self._receiver,
                CLASSES[f"{name}Request"],
                CLASSES[f"{name}Response"],
                answer,
            )
            for name, answer in answers.items()
        }
        methods["ModelInfer"] = grpc.stream_unary_rpc_method_handler(self._infer)
        methods[STREAM] = grpc.stream_stream_rpc_method_handler(self._stream_infer)
        return grpc.method_handlers_generic_handler(NAME, methods)

    async def _infer(self, _: Any, context: Any) -> bytes:
        """Answer a ModelInferRequest's bytes with those of a ModelInferResponse."""
        start, message = time.perf_counter(), b""
        try:
            message = await self._receiver.receive(context)
            start = time.perf_counter()
        except Refused as error:
            answer = error_answer(error.status, error)
            return self._end(answer, self._request_id(message, context), start, context)
        request_id = self._request_id(message, context)
        try:
            asked = self._ask(message, request_id, self._routes.said(_metadata(context)))
            del message  # the pool frees it once it is written
            answer = await asked
            if not self._released.is_set():
                await self._released.wait()
        except asyncio.CancelledError:
            self._routes.count(ROUTE, CANCELLED, request_id, time.perf_counter() - start)
            raise
        return self._end(answer, request_id, start, context)

    async def _stream_infer(self, _: Any, context: Any) -> None:
        """Answer a call's requests one after another, each with one response or several.

        The next one is read when the one before is answered: so a call holds one message.
        """
        try:
            while (message := await self._next(context)) is not None:
                await self._answer_streamed(message, context)
        except Refused as error:
            await refuse(context, error.status, str(error))

    async def _next(self, context: Any) -> bytes | None:
        """The next request of a stream; None after its last.

        Raises:
            Refused: the server stops, or has given its place to another one.
        """
        task = asyncio.current_task()
        assert task is not None
        if self._stopping:
            raise Refused(503, STOPPING)
        self._idle.add(task)
        try:
            return await self._receiver.next(context)
        except asyncio.CancelledError:
            if self._stopping and not context.cancelled():
                raise Refused(503, STOPPING) from None
            raise
        finally:
            self._idle.discard(task)

    async def _answer_streamed(self, message: bytes, context: Any) -> None:
        start, status = time.perf_counter(), CANCELLED
        request_id = self._request_id(message, context)
        last = self._last(message, request_id)
        asks_last = streamed.asks_last(message)
        answer: Response | Stream
        try:
            said = self._routes.said(_metadata(context))
            try:
                asked = self._pool.submit_stream(Kind.GRPC, message, request_id, said)
                del message  # the pool frees it once it is written
                answer = await asked
            except Unanswered as error:
                answer = error_answer(error.status, error)
            self._tell(answer, request_id, context)
            if isinstance(answer, Stream):
                await _send(answer, context)
                failure, whole = answer.error, b""
            elif answer.status < 400:
                failure, whole = None, answer.body
            else:
                failure, whole = answer.body, b""
            status = answer.status
            if failure is not None:
                await context.write(streamed.failed(json.loads(failure)["error"], last))
            elif asks_last:
                await context.write(streamed.last_of(whole or last))
            elif whole:
                await context.write(streamed.response(whole))
        finally:
            self._routes.count(STREAM_ROUTE, status, request_id, time.perf_counter() - start)

    def _last(self, message: bytes, request_id: str) -> bytes:
        """The response without outputs to a request."""
        answer_id = _message_id(message).decode("utf-8", "replace") or request_id
        version = self._version or ""
        made = CLASSES["ModelInferResponse"](
            model_name=self._name, model_version=version, id=answer_id
        )
        return bytes(made.SerializeToString())

    def _end(self, answer: Response, request_id: str, start: float, context: Any) -> bytes:
        """Count an answer, and make the response of it."""
        self._routes.count(ROUTE, answer.status, request_id, time.perf_counter() - start)
        self._tell(answer, request_id, context)
        if answer.status < 400:
            return answer.body
        # Not with `abort`: its exception would keep the message until the next collection.
        context.set_code(status_of(answer.status))
        context.set_details(details(json.loads(answer.body)["error"]))
        return b""

    def _tell(self, answer: Response | Stream, request_id: str, context: Any) -> None:
        """Say beside an answer what HTTP says in header fields."""
        context.set_trailing_metadata(((REQUEST_ID, request_id), *self._told, *_sendable(answer)))

    async def _ask(self, message: bytes, request_id: str, said: bytes) -> Response:
        try:
            answer = self._pool.submit(Kind.GRPC, message, request_id, said)
            del message
            return await answer
        except Unanswered as error:
            return error_answer(error.status, error)

    def _request_id(self, message: bytes, context: Any) -> str:
        """The id in the call's metadata, else the message's, else a new one."""
        for key, value in context.invocation_metadata():
            if key == REQUEST_ID:
                given = value.encode()
                break
        else:
            given = _message_id(message)
        return self._routes.request_id(Headers([(REQUEST_ID.encode(), given)]))

    # ---- the other methods ----

    async def _live(self, _: Any) -> Any:
        return CLASSES["ServerLiveResponse"](live=True)

    async def _ready(self, _: Any) -> Any:
        return CLASSES["ServerReadyResponse"](ready=self._pool.ready)

    async def _model_ready(self, request: Any) -> Any:
        check_model(self._name, self._version, request.name, request.version)
        return CLASSES["ModelReadyResponse"](ready=self._pool.ready)

    async def _metadata(self, _: Any) -> Any:
        return CLASSES["ServerMetadataResponse"](**self._server)

    async def _model_metadata(self, request: Any) -> Any:
        check_model(self._name, self._version, request.name, request.version)
        return CLASSES["ModelMetadataResponse"](**self._model)


async def _send(stream: Stream, context: Any) -> None:
    """Send the chunks of a stream, as fast as the client reads."""
    try:
        async for chunk in stream.chunks():
            await context.write(streamed.response(chunk))
    finally:
        stream.cancel()


async def _refuse(message: str, _: Any) -> None:
    raise Refused(501, message)


def _metadata(context: Any) -> HeaderList:
    """The metadata of a call as header fields, without what is binary."""
    pairs = context.invocation_metadata()
    return [(key.encode(), value.encode()) for key, value in pairs if isinstance(value, str)]


def _sendable(answer: Response | Stream) -> Iterator[tuple[str, str]]:
    """The header fields that a hook has set, without those that metadata cannot have."""
    for name, value in fields_of(answer):
        if KEY.fullmatch(name) and VALUE.fullmatch(value):
            yield name.decode(), value.decode()


def _message_id(message: bytes) -> bytes:
    """The id of a ModelInferRequest, if it is short and where writers put it."""
    parts = islice(fields(memoryview(message), Budget()), MESSAGE_ID)
    try:
        for number, wire, value in parts:
            if (number, wire) == (MESSAGE_ID, BYTES) and len(value) <= MOST_ID_BYTES:
                return bytes(value)
    except DecodeError:  # the worker says what is wrong
        pass
    return b""
