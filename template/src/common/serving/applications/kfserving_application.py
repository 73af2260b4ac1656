"""KFServing 0.6.1's own application, with a model that passes every request to the workers.

KFServing answers `/` and all under `/v1/models`, CloudEvents included. It has no V2 except a
draft's status route, no metrics and no documentation: `fallback_routes` adds those.
"""

import json
import logging
import re
import sys
import warnings
from contextvars import ContextVar
from datetime import datetime, timezone
from types import ModuleType
from typing import Any

from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_http, to_binary
from cloudevents.sdk.converters.util import has_binary_headers
from tornado.httputil import responses
from tornado.web import Application, HTTPError, RequestHandler

from ...config import Config
from ...errors import Unanswered
from ...link.frames import Kind, event_parts
from ..pool import Pool
from ..predict_routes import message_of
from . import error_answers, fallback_routes
from .model_routes import ready_answer
from .tornado_asgi import TornadoASGI

logger = logging.getLogger(__name__)

# KFServing imports old versions of these: Ray for `isinstance`, the other one to print.
STAND_INS = {
    "ray": ("serve",),
    "ray.serve": (),
    "ray.serve.api": ("Deployment", "RayServeHandle"),
    "ray.serve.utils": ("ServeRequest",),
    "table_logger": ("TableLogger",),
}


def _import_kfserving() -> None:
    """Import KFServing with stand-ins for what it does not need here. The log level stays."""
    level = logging.root.level
    for name, attributes in STAND_INS.items():
        module = sys.modules[name] = ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, type(attribute, (), {}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in its dependencies
        import kfserving  # noqa: F401
    logging.root.setLevel(level)  # KFServing changes it


_import_kfserving()

from kfserving import KFModel  # noqa: E402
from kfserving.handlers.http import HTTPHandler  # noqa: E402
from kfserving.kfmodel_repository import KFModelRepository  # noqa: E402
from kfserving.kfserver import HealthHandler, ListHandler, LivenessHandler  # noqa: E402

VERSION = "0.6.1"
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
# A model's name in a path.
NAME = r"/v1/models/([^/:]+)"
OWN = re.compile(r"/|/v1/models(/.*)?|/v2/models/[^/]+/status")


class Answer(HTTPError):
    """An answer other than 200, with a message for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status)
        self.message = message


class ForwardingModel(KFModel):
    """The model as KFServing sees it: it is ready when a worker is, and asks one to predict.

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
        """KFServing sets it after loading. Here the workers load the model."""

    async def ask(self, kind: Kind, body: bytes) -> bytes:
        """A worker's answer to a body.

        Raises:
            Answer: it is an error.
        """
        try:
            answer = await self._pool.submit(kind, body, REQUEST_ID.get())
        except Unanswered as error:
            raise Answer(error.status, str(error)) from None
        if answer.status >= 400:
            raise Answer(answer.status, message_of(answer))
        return answer.body


class Handler(RequestHandler):
    """Base of KFServing's own handlers, with errors in JSON and the request's id."""

    def set_default_headers(self) -> None:
        for name in ("Server", "Date"):  # uvicorn sends them
            self.clear_header(name)
        self.set_header("Content-Type", "application/json")  # KFServing leaves tornado's text/html

    def prepare(self) -> None:
        REQUEST_ID.set(self.request.headers["X-Request-Id"])

    def set_status(self, status_code: int, reason: str | None = None) -> None:
        """Drop the reason: it could hold what the client sent."""
        super().set_status(status_code)

    def write_error(self, status_code: int, **details: Any) -> None:
        error = details["exc_info"][1] if "exc_info" in details else None
        if isinstance(error, Answer):
            message = error.message
        elif isinstance(error, HTTPError):
            message = error.reason or responses[status_code]
        else:
            message = error_answers.unforeseen(REQUEST_ID.get())
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
    """Answers 404: there is no such route."""

    def prepare(self) -> None:
        raise Answer(404, "Not Found")


class Liveness(Handler, LivenessHandler):
    """Whether the server is alive, in a word."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Content-Type", "text/plain")


class List(Handler, ListHandler):
    """The names of the models."""


class Health(Handler, HealthHandler):
    """Whether the model is ready, and in which version."""

    def initialize(self, models: KFModelRepository, answer: dict[str, Any]) -> None:
        super().initialize(models)
        self._answer = answer

    def get(self, name: str) -> None:
        super().get(name)  # raises where it is not
        self.clear()
        self.write(json.dumps(self._answer))


class Predict(Handler, HTTPHandler):
    """CloudEvents. A worker decodes the body, and the response to a binary event is one too."""

    async def post(self, name: str) -> None:
        headers, model = self.request.headers, self.get_model(name)
        if not has_binary_headers(headers):
            answer = await model.ask(Kind.EVENT, self.request.body)
            self._finish(event_parts(answer)[1])
            return
        fields = {key: value for key, value in headers.items() if key.lower() != "ce-contenttype"}
        try:
            event = from_http(fields, b"", lambda data: data)
        except GenericException as error:
            raise Answer(400, f"the CloudEvent is not valid: {error}") from None
        answer = await model.ask(Kind.JSON, self.request.body)
        for key, value in to_binary(CloudEvent(event.get_attributes(), {}))[0].items():
            self.set_header(key, value)
        self.set_header("ce-time", datetime.now(timezone.utc).isoformat())
        self._finish(answer)

    def _finish(self, body: bytes) -> None:
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(body)


class Explain(Handler):
    async def post(self, name: str) -> None:
        raise Answer(501, error_answers.UNEXPLAINED)


class FallbackApplication:
    """KFServing's application, and our own for all other routes.

    Args:
        config: the scaffold's configuration.
        pool: the workers.
    """

    def __init__(self, config: Config, pool: Pool) -> None:
        models = KFModelRepository()
        models.update(ForwardingModel(config, pool))
        self._kfserving = TornadoASGI(_application(models, ready_answer(config)))
        self._others = fallback_routes.application(
            config,
            lambda: pool.ready,
            "kfserving",
            VERSION,
            own_routes=lambda: pool.own_routes,
        )

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application of both."""
        own = scope["type"] == "http" and OWN.fullmatch(scope["path"])
        await (self._kfserving if own else self._others)(scope, receive, send)


def _application(models: Any, ready: dict[str, Any]) -> Application:
    """The routes of KFServing that its own handlers answer."""
    known = {"models": models}
    health = {**known, "answer": ready}
    rules = [
        ("/", Liveness, {}),
        ("/v1/models", List, known),
        (NAME, Health, health),
        (NAME.replace("v1", "v2") + "/status", Health, health),
        (f"{NAME}:predict", Predict, known),
        (f"{NAME}:explain", Explain, {}),
    ]
    return Application(rules, default_handler_class=Missing, log_function=lambda _: None)
