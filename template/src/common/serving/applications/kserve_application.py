"""KServe's own application. Its model passes every request to the workers."""

from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from cloudevents.sdk.converters.util import has_binary_headers
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from kserve import Model, ModelRepository
from kserve.errors import InvalidInput as KServeInvalidInput
from kserve.errors import ModelNotFound, ModelNotReady, ServerNotReady, UnsupportedProtocol
from kserve.model import InferenceVerb
from kserve.model_server import app
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer
from kserve.utils.utils import create_response_cloudevent

from ...bodies.v2 import v2_metadata
from ...config import Config
from ...errors import Unanswered
from ...link.frames import Kind, event_parts
from ..pool import Pool
from ..predict_routes import message_of
from . import error_answers, openapi
from .model_routes import ModelRoutes

EVENT = "application/cloudevents+json"


class ModelFailed(Exception):
    """The owner's code failed in a worker, or answers with an error's status.

    The message has the request id, no details.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


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

    async def __call__(
        self, body: Any, headers: Any = None, verb: InferenceVerb = InferenceVerb.PREDICT
    ) -> Any:
        """Answer as `Model` does, without its metrics: the workers report their own."""
        if verb != InferenceVerb.PREDICT:
            raise NotImplementedError(error_answers.UNEXPLAINED)
        return await self.predict(body, headers), {}

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answer a V1 body, which is a CloudEvent or the data of one."""
        request_id = (headers or {}).get("x-request-id") or token_hex(8)
        if headers.get("content-type", "").startswith(EVENT) and not has_binary_headers(headers):
            return Answer(*event_parts(await self._ask(Kind.EVENT, payload, request_id)))
        return Answer(None, await self._ask(Kind.JSON, payload, request_id))

    async def _ask(self, kind: Kind, body: bytes, request_id: str) -> bytes:
        answer = await self._pool.submit(kind, body, request_id)
        if answer.status < 400:
            return answer.body
        message = message_of(answer)
        if answer.status == 400:
            raise KServeInvalidInput(message)
        raise ModelFailed(answer.status, message)


class ReadyDataPlane(DataPlane):
    """KServe's data plane, whose server is ready when the model is, and whose metadata is ours.

    Args:
        config: the scaffold's configuration.
        registry: has the model.
    """

    def __init__(self, config: Config, registry: ModelRepository) -> None:
        super().__init__(registry)
        self._model_metadata = v2_metadata.of_model(config)

    def metadata(self) -> dict[str, Any]:
        return {**super().metadata(), "extensions": v2_metadata.EXTENSIONS}

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        self.get_model_from_registry(model_name)
        return self._model_metadata

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
        if not has_binary_headers(headers):
            return body, {}
        fields = {name: value for name, value in headers.items() if name != "ce-contenttype"}
        return body, dict(self.get_binary_cloudevent(b"", fields).get_attributes())

    def encode(
        self, model_name: Any, response: Any, headers: Any, req_attributes: Any
    ) -> tuple[Any, dict[str, str]]:
        """The body and the headers of a response. The response to an event is one too."""
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
    """KServe's application.

    Args:
        config: the scaffold's configuration.
        pool: the workers.

    Attributes:
        about: what V2 tells of the server.
    """

    def __init__(self, config: Config, pool: Pool) -> None:
        self._of_model = ModelRoutes(config, lambda: pool.ready)
        registry = FixedRepository()
        registry.update(ForwardingModel(config, pool))
        self._dataplane = ReadyDataPlane(config, registry)
        self.about = self._dataplane.metadata()
        self._extension = ModelRepositoryExtension(registry)
        self.application = self._application(config, pool)

    def _application(self, config: Config, pool: Pool) -> FastAPI:
        server = RESTServer(
            "kserve.model_server:app", self._dataplane, self._extension, config.serving.http_port
        )
        # Before KServe's own, which know no versions.
        self._of_model.add_to(app)
        server.create_application()
        for error, handler in HANDLERS.items():
            app.add_exception_handler(error, handler)
        openapi.describe(app, config, lambda: pool.own_routes)
        application: FastAPI = app
        return application


def _handler(status: int) -> Any:
    """Answers an exception as our own routes do: its message under `error`, no traceback."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, getattr(error, "status", None) or status)

    return answer


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": f"{place}: {first['msg']}"}, 400)


HANDLERS: dict[Any, Any] = {
    **error_answers.HANDLERS,
    RequestValidationError: _malformed,
    KServeInvalidInput: _handler(400),
    ModelNotFound: _handler(404),
    ModelFailed: _handler(500),
    NotImplementedError: _handler(501),
    UnsupportedProtocol: _handler(501),
    ModelNotReady: _handler(503),
    ServerNotReady: _handler(503),
    Unanswered: _handler(503),
}
