"""The routes besides the predict routes, without KServe: health, metadata, metrics, `/docs`.

KServe's own application answers these in a server with KServe. The standalone server, KFServing and
Ray Serve use this.

Source: KServe's V1 protocol, and the Open Inference Protocol (V2),
https://github.com/kserve/open-inference-protocol. Of Triton's model repository extension, `load`
answers whether the model is there.
"""

from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ...bodies.v2 import v2_metadata
from ...config import Config
from ...routes import OwnersRoute
from . import openapi
from .error_answers import FIXED, HANDLERS, UNEXPLAINED
from .json_routes import Answer, json_route
from .model_routes import ModelRoutes

UNREAD = "this server takes no CloudEvents: send plain JSON"


async def unread(_: Request) -> Response:
    """A CloudEvent where the server takes none."""
    raise HTTPException(415, UNREAD)


def about(server: str, version: str) -> dict[str, Any]:
    """What V2 tells of a server with this name and this version."""
    return {"name": server, "version": version, "extensions": v2_metadata.EXTENSIONS}


def application(
    config: Config,
    ready: Callable[[], bool],
    server: str,
    version: str,
    event: Answer = unread,
    own_routes: Callable[[], Sequence[OwnersRoute]] = tuple,
) -> Starlette:
    """The application with the routes besides the predict routes.

    Args:
        config: the scaffold's configuration.
        ready: whether the model would answer a request now.
        server: the server's name, for V2's metadata.
        version: the server's version, for V2's metadata.
        event: answers CloudEvents. Plain bodies of predict routes never come here.
        own_routes: the owner's routes, once a worker has told them.
    """
    app = Starlette(exception_handlers=HANDLERS)
    of_model = ModelRoutes(config, ready)
    of_model.add_to(app)
    routes = _Routes(of_model, config, ready, about(server, version), event)
    for method, path, answer in routes.table():
        app.router.routes.append(json_route(method, path, answer))
    openapi.describe(app, config, own_routes)
    return app


class _Routes:
    """Answers the routes in the same format as KServe."""

    def __init__(
        self,
        of_model: ModelRoutes,
        config: Config,
        ready: Callable[[], bool],
        server: dict[str, Any],
        event: Answer,
    ) -> None:
        self._of_model = of_model
        self._name = config.name
        self._ready = ready
        self._server = server
        self._event = event

    def table(self) -> list[tuple[str, str, Answer]]:
        return [
            ("GET", "/", self.alive),
            ("GET", "/metrics", self.metrics),
            ("GET", "/v1/models", self.models),
            ("POST", "/v1/models/{model_name}:predict", self.event),
            ("POST", "/v1/models/{model_name}:explain", self.explain),
            ("GET", "/v2", self.metadata),
            ("GET", "/v2/health/live", self.live),
            ("GET", "/v2/health/ready", self.server_ready),
            ("GET", "/v2/models", self.models),
            ("POST", "/v2/repository/models/{model_name}/load", self.load),
            ("POST", "/v2/repository/models/{model_name}/unload", self.unload),
        ]

    async def alive(self, _: Request) -> dict[str, str]:
        return {"status": "alive"}

    async def metrics(self, _: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def models(self, _: Request) -> dict[str, list[str]]:
        return {"models": [self._name]}

    async def metadata(self, _: Request) -> dict[str, Any]:
        return self._server

    async def live(self, _: Request) -> dict[str, bool]:
        return {"live": True}

    async def server_ready(self, _: Request) -> dict[str, bool]:
        if not self._ready():
            raise HTTPException(503, "the server is not ready")
        return {"ready": True}

    async def load(self, request: Request) -> dict[str, Any]:
        await self._of_model.ready(request)
        return {"name": self._name, "load": True}

    async def unload(self, request: Request) -> None:
        self._of_model.check(**request.path_params)
        raise HTTPException(501, FIXED)

    async def explain(self, request: Request) -> None:
        self._of_model.check(**request.path_params)
        raise HTTPException(501, UNEXPLAINED)

    async def event(self, request: Request) -> Any:
        self._of_model.check(**request.path_params)
        return await self._event(request)
