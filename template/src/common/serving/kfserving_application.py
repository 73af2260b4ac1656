"""KFServing 0.6.1's own application, around a model that hands every request to the workers.

KFServing answers what its clients know it by: `/` and all under `/v1/models`, with CloudEvents. It has no V2 but a
draft's status route, no figures and no documentation: those are our own.
"""

import json
import logging
import re
import sys
import warnings
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from tornado.httputil import responses
from tornado.web import Application, HTTPError, RequestHandler

from .. import bodies
from ..config import Config
from ..errors import Unanswered
from ..link.frames import Kind
from . import fallback_routes
from .pool import Pool
from .tornado_asgi import TornadoASGI

logger = logging.getLogger(__name__)

# What KFServing imports, of versions that are no longer: from Ray for `isinstance` alone, from the other to print.
STAND_INS = {
    "ray": ("serve",),
    "ray.serve": (),
    "ray.serve.api": ("Deployment", "RayServeHandle"),
    "ray.serve.utils": ("ServeRequest",),
    "table_logger": ("TableLogger",),
}


def _import_kfserving() -> None:
    """Import KFServing with stand-ins for what it has no use for here, and leave the log as it was."""
    level = logging.root.level
    for name, attributes in STAND_INS.items():
        module = sys.modules[name] = ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, type(attribute, (), {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies' own, of a time to come
        import kfserving  # noqa: F401
    logging.root.setLevel(level)  # it sets one of its own


_import_kfserving()

from kfserving import KFModel  # noqa: E402
from kfserving.handlers.http import PredictHandler  # noqa: E402
from kfserving.kfmodel import ModelType  # noqa: E402
from kfserving.kfmodel_repository import KFModelRepository  # noqa: E402
from kfserving.kfserver import HealthHandler, ListHandler, LivenessHandler  # noqa: E402

VERSION = "0.6.1"
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
# A name as the routes here have it: any but the ends of it.
NAME = r"/v1/models/([^/:]+)"
OWN = re.compile(r"/|/v1/models(/.*)?|/v2/models/[^/]+/status")


class Answer(HTTPError):
    """An answer other than 200. The message is for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status)
        self.message = message


class ForwardingModel(KFModel):
    """The model as KFServing sees it: ready when a worker is, and predicting by asking one.

    Args:
        config: the scaffold's configuration.
        pool: the workers.
    """

    def __init__(self, config: Config, pool: Pool) -> None:
        self._pool = pool
        super().__init__(config.name)

    @property
    def ready(self) -> bool:
        """Whether a request would be answered now."""
        return self._pool.ready

    @ready.setter
    def ready(self, _: bool) -> None:
        """KFServing sets it when it is told to load the model, which the workers do."""

    async def __call__(self, body: Any, model_type: Any = ModelType.PREDICTOR) -> Any:
        """Answer a body that KFServing has decoded, or a CloudEvent."""
        request = await self.preprocess(body)
        content = request if isinstance(request, bytes) else bodies.json_encode(request)
        return await self.predict(content)

    async def predict(self, request: bytes) -> Any:
        try:
            answer = await self._pool.submit(Kind.JSON, request, REQUEST_ID.get())
        except Unanswered as error:
            raise Answer(error.status, str(error)) from None
        response = bodies.json_decode(answer.body)
        if answer.status != 200:
            raise Answer(answer.status, response["error"])
        return response


class Handler(RequestHandler):
    """What comes before KFServing's own handlers: errors in JSON, and the request's id."""

    def set_default_headers(self) -> None:
        for name in ("Server", "Date"):  # uvicorn sends them
            self.clear_header(name)

    def prepare(self) -> None:
        REQUEST_ID.set(self.request.headers["X-Request-Id"])

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        """A reason would be a line of its own, with whatever the client sent in it."""
        super().set_status(status_code)

    def write_error(self, status_code: int, **details: Any) -> None:
        error = details["exc_info"][1] if "exc_info" in details else None
        if isinstance(error, Answer):
            message = error.message
        elif isinstance(error, HTTPError):
            message = error.reason or responses[status_code]
        else:
            message = fallback_routes.unforeseen(REQUEST_ID.get())
        if status_code == 405:
            asked = [method for method in self.SUPPORTED_METHODS if self._takes(method)]
            self.set_header("Allow", ", ".join(asked))
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"error": message}))

    def _takes(self, method: str) -> bool:
        return getattr(type(self), method.lower()) is not getattr(RequestHandler, method.lower())

    def log_exception(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, HTTPError):
            details = {"request_id": REQUEST_ID.get()}
            logger.error("%s failed: %r", self.request.path, error, exc_info=error, extra=details)


class Missing(Handler):
    """Where there is no route."""

    def prepare(self) -> None:
        raise Answer(404, "Not Found")


class Liveness(Handler, LivenessHandler):
    """Whether the server is alive."""


class List(Handler, ListHandler):
    """The models there are."""


class Health(Handler, HealthHandler):
    """Whether the model is ready."""


class Predict(Handler, PredictHandler):
    """What a body holds that is not what our own route takes: a CloudEvent, or JSON under another media type."""

    async def post(self, name: str) -> None:
        try:
            await super().post(name)
        except (UnicodeDecodeError, RecursionError) as error:
            raise Answer(400, f"the body is not JSON: {error}") from None


class Explain(Handler):
    async def post(self, name: str) -> None:
        raise Answer(501, fallback_routes.UNEXPLAINED)


class Behind:
    """KFServing's application, and our own behind it.

    Args:
        config: the scaffold's configuration.
        pool: the workers.
    """

    def __init__(self, config: Config, pool: Pool) -> None:
        models = KFModelRepository()
        models.update(ForwardingModel(config, pool))
        self._kfserving = TornadoASGI(_application(models))
        self._others = fallback_routes.application(config, lambda: pool.ready, "kfserving", VERSION)

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application of both."""
        own = scope["type"] == "http" and OWN.fullmatch(scope["path"])
        await (self._kfserving if own else self._others)(scope, receive, send)

    async def serve_grpc(self) -> None:
        """KFServing has no gRPC: there is nothing to serve."""

    async def stop_grpc(self) -> None:
        """And nothing to stop."""


def _application(models: Any) -> Application:
    """KFServing's table of routes, as far as its own handlers answer them."""
    known = {"models": models}
    rules = [
        ("/", Liveness, {}),
        ("/v1/models", List, known),
        (NAME, Health, known),
        (NAME.replace("v1", "v2") + "/status", Health, known),
        (f"{NAME}:predict", Predict, known),
        (f"{NAME}:explain", Explain, {}),
    ]
    return Application(rules, default_handler_class=Missing, log_function=lambda _: None)
