"""KServe's own application and gRPC server. Its model passes every request to the workers."""

import struct
from collections.abc import Coroutine
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from cloudevents.sdk.converters.util import has_binary_headers
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from grpc import StatusCode
from grpc_interceptor.exceptions import GrpcException
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelRepository
from kserve.errors import InvalidInput as KServeInvalidInput
from kserve.errors import ModelNotFound, ModelNotReady, ServerNotReady, UnsupportedProtocol
from kserve.model import InferenceVerb
from kserve.model_server import app
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.infer_type import to_http_parameters
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from kserve.utils.numpy_codec import from_np_dtype
from kserve.utils.utils import create_response_cloudevent

from ... import bodies
from ...bodies import events, v2_tensors
from ...config import Config
from ...errors import InvalidInput, Unanswered
from ...link.frames import Kind
from ...schema import ModelInput
from ..pool import Pool
from . import error_answers, openapi

EVENT = "application/cloudevents+json"
MAX_GRPC_MESSAGE_BYTES = 2**31 - 1
GRPC_THREADS = 4
GRPC_STATUSES = {503: StatusCode.UNAVAILABLE, 504: StatusCode.DEADLINE_EXCEEDED}


class ModelFailed(Exception):
    """The owner's code failed in a worker. The message has the request id, no details."""


@dataclass(frozen=True)
class Answer:
    """The response to a V1 body.

    Attributes:
        attributes: of the event that the body was; None if it was none.
        body: the response as JSON.
    """

    attributes: dict[str, Any] | None
    body: bytes


class ForwardingModel(Model):
    """The model as KServe sees it: it is ready when a worker is, and asks one to predict.

    Args:
        config: the scaffold's configuration.
        pool: the workers.
    """

    def __init__(self, config: Config, pool: Pool) -> None:
        super().__init__(config.name)
        self.ready = True
        self._described = config.model.input
        self._pool = pool

    async def healthy(self) -> bool:
        """Whether a request would be answered now."""
        return self._pool.ready

    def load(self) -> bool:
        """The workers load the model: there is nothing to do here."""
        return self._pool.ready

    def get_input_types(self) -> list[dict[str, Any]]:
        return v2_tensors.metadata(self._described)

    async def __call__(
        self, body: Any, headers: Any = None, verb: InferenceVerb = InferenceVerb.PREDICT
    ) -> Any:
        """Answer as `Model` does, without its metrics: the workers report their own."""
        if verb != InferenceVerb.PREDICT:
            raise NotImplementedError(error_answers.UNEXPLAINED)
        return await self.predict(body, headers), {}

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answer a V1 body, which is a CloudEvent or the data of one, or a V2 request."""
        request_id = (headers or {}).get("x-request-id") or token_hex(8)
        if isinstance(payload, InferRequest):
            answer = self._infer(payload, payload.id or request_id)
            return await (_grpc_errors(answer) if payload.from_grpc else answer)
        if headers.get("content-type", "").startswith(EVENT) and not has_binary_headers(headers):
            return Answer(*events.parted(await self._ask(Kind.EVENT, payload, request_id)))
        return Answer(None, await self._ask(Kind.JSON, payload, request_id))

    async def _infer(self, payload: InferRequest, request_id: str) -> InferResponse:
        request = _request(payload, self._described)
        answer = await self._ask(Kind.MSGPACK, bodies.msgpack_encode(request), request_id)
        response = bodies.msgpack_decode(answer)
        return InferResponse(
            request_id,
            self.name,
            [
                _output(name, tensor)
                for name, tensor in v2_tensors.tensors_of_response(response).items()
            ],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )

    async def _ask(self, kind: Kind, body: bytes, request_id: str) -> bytes:
        answer = await self._pool.submit(kind, body, request_id)
        if answer.status == 200:
            return answer.body
        message = bodies.json_decode(answer.body)["error"]
        if answer.status == 400:
            raise KServeInvalidInput(message)
        raise ModelFailed(message)


class ReadyDataPlane(DataPlane):
    """KServe's data plane, whose server is ready when the model is."""

    async def ready(self) -> bool:
        return all([await model.healthy() for model in self.model_registry.get_models().values()])

    async def model_ready(
        self, model_name: str, disable_predictor_health_check: bool = False
    ) -> bool:
        """Whether the model is ready. For a request: whether it exists, the pool does the rest."""
        if disable_predictor_health_check:
            self.get_model_from_registry(model_name)
            return True
        return bool(await super().model_ready(model_name))

    def decode(self, body: Any, headers: Any, *arguments: Any, **keywords: Any) -> Any:
        """The body as it is: a worker decodes it. A binary CloudEvent's attributes are checked."""
        if not isinstance(body, bytes):
            return super().decode(body, headers, *arguments, **keywords)
        if not has_binary_headers(headers):
            return body, {}
        fields = {name: value for name, value in headers.items() if name != "ce-contenttype"}
        return body, dict(self.get_binary_cloudevent(b"", fields).get_attributes())

    def encode(
        self, model_name: Any, response: Any, headers: Any, req_attributes: Any
    ) -> tuple[Any, dict[str, str]]:
        """The body and the headers of a response. The response to an event is one too."""
        if not isinstance(response, Answer):
            body, fields = super().encode(model_name, response, headers, req_attributes)
            return body, fields
        if response.attributes is None:
            fields = {}
            if has_binary_headers(headers):
                fields, _ = create_response_cloudevent(model_name, None, req_attributes, True)
            return response.body, {**fields, "content-type": "application/json"}
        fields, event = create_response_cloudevent(model_name, None, response.attributes, False)
        return event.removesuffix(b"}") + b', "data": ' + response.body + b"}", fields


class FixedRepository(ModelRepository):
    """A repository with one model, which a client can neither load nor unload."""

    def unload(self, name: str) -> None:
        raise NotImplementedError(error_answers.FIXED)


class FallbackApplication:
    """KServe's application, and its gRPC server if a port is set.

    Args:
        config: the scaffold's configuration.
        pool: the workers.
    """

    def __init__(self, config: Config, pool: Pool) -> None:
        registry = FixedRepository()
        registry.update(ForwardingModel(config, pool))
        self._dataplane = ReadyDataPlane(registry)
        self._extension = ModelRepositoryExtension(registry)
        self._grpc_port = config.serving.grpc_port
        self._grace_seconds = config.serving.grace_seconds
        self._grpc: GRPCServer | None = None
        self.application = self._application(config)

    def _application(self, config: Config) -> FastAPI:
        server = RESTServer(
            "kserve.model_server:app", self._dataplane, self._extension, config.serving.http_port
        )
        server.create_application()
        for error, handler in HANDLERS.items():
            app.add_exception_handler(error, handler)
        openapi.describe(app, config)
        application: FastAPI = app
        return application

    async def serve_grpc(self) -> None:
        """Serve gRPC until it is stopped. Returns at once if the port is 0."""
        if not self._grpc_port:
            return
        sizes = {
            f"grpc_max_{way}_message_length": MAX_GRPC_MESSAGE_BYTES for way in ("send", "receive")
        }
        self._grpc = GRPCServer(
            self._grpc_port,
            self._dataplane,
            self._extension,
            kwargs=sizes,
            grace_period=self._grace_seconds,
        )
        await self._grpc.start(GRPC_THREADS)

    async def stop_grpc(self) -> None:
        """Refuse calls, and wait for those that were taken."""
        if self._grpc is not None:
            await self._grpc.stop()


def _request(payload: InferRequest, described: ModelInput | None) -> dict[str, Any]:
    """A V2 request in the form that the flow takes. Its parameters are keys beside `instances`.

    Raises:
        KServeInvalidInput: a tensor's data does not fit its shape, or the tensors are not rows.
    """
    try:
        named = {item.name: item.as_numpy() for item in payload.inputs}
        request = v2_tensors.request_of_tensors(named, described)
    except KServeInvalidInput:
        raise
    except InvalidInput as error:
        raise KServeInvalidInput(str(error)) from None
    except (ValueError, TypeError, OverflowError, struct.error) as error:
        raise KServeInvalidInput(
            f"inputs holds a tensor whose data does not fit its shape or datatype: {error}"
        ) from None
    parameters = to_http_parameters(payload.parameters) if payload.from_grpc else payload.parameters
    return {**(parameters or {}), **request}


async def _grpc_errors(answer: Coroutine[Any, Any, InferResponse]) -> InferResponse:
    """The answer, or the error with its gRPC status."""
    try:
        return await answer
    except KServeInvalidInput as error:
        raise GrpcException(str(error), StatusCode.INVALID_ARGUMENT) from None
    except ModelFailed as error:
        raise GrpcException(str(error), StatusCode.INTERNAL) from None
    except Unanswered as error:
        raise GrpcException(str(error), GRPC_STATUSES[error.status]) from None


def _output(name: str, array: v2_tensors.Array) -> InferOutput:
    output = InferOutput(name, list(array.shape), from_np_dtype(array.dtype))
    if array.dtype == object:
        array = v2_tensors.without_null(array).reshape(array.shape)
    output.set_data_from_numpy(array, binary_data=False)
    return output


def _handler(status: int) -> Any:
    """Answers an exception as our own routes do: its message under `error`, no traceback."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, getattr(error, "status", None) or status)

    return answer


HANDLERS: dict[Any, Any] = {
    **error_answers.HANDLERS,
    KServeInvalidInput: _handler(400),
    ModelNotFound: _handler(404),
    ModelFailed: _handler(500),
    NotImplementedError: _handler(501),
    UnsupportedProtocol: _handler(501),
    ModelNotReady: _handler(503),
    ServerNotReady: _handler(503),
    Unanswered: _handler(503),
}
