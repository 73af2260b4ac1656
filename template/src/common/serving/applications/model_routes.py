"""The routes that tell which model is served, whether it is ready, and what V2 knows of it.

Source: KServe's V1 protocol, and the Open Inference Protocol (V2). `platforms.py` has the sources
of those that other platforms ask.
"""

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ...bodies.v2 import v2_metadata
from ...config import Config
from ...platforms import LIVE, READY
from ...words import no_version
from .json_routes import json_route


def ready_answer(config: Config) -> dict[str, Any]:
    """What is answered where the model is ready."""
    answer: dict[str, Any] = {"name": config.name, "ready": True}
    if config.model.version is not None:
        answer["version"] = config.model.version
    return answer


class ModelRoutes:
    """Answers the routes of the model, with or without its version in the path.

    Args:
        config: the scaffold's configuration.
        ready: whether the model would answer a request now.
    """

    def __init__(self, config: Config, ready: Callable[[], bool]) -> None:
        self._name, self._version = config.name, config.model.version
        self._is_ready = ready
        self._ready_answer = ready_answer(config)
        self._own = config.routes.health
        self._metadata = v2_metadata.of_model(config)

    def add_to(self, app: Starlette) -> None:
        """Add the routes to an application. Of two for one path, the first that it gets answers."""
        for path, answer in (
            ("/v1/models/{model_name}", self.ready),
            ("/v2/models/{model_name}", self.metadata),
            ("/v2/models/{model_name}/versions/{version}", self.metadata),
            ("/v2/models/{model_name}/ready", self.ready),
            ("/v2/models/{model_name}/versions/{version}/ready", self.ready),
            *((path, self.live) for path in LIVE),
            *((path, self.ready) for path in READY),
            *([(self._own, self.ready)] if self._own else []),
        ):
            app.router.routes.append(json_route("GET", path, answer))

    async def live(self, _: Request) -> dict[str, bool]:
        return {"live": True}

    async def ready(self, request: Request) -> dict[str, Any]:
        if request.path_params:
            self.check(**request.path_params)
        if not self._is_ready():
            raise HTTPException(503, f"the model {self._name!r} is not ready")
        return self._ready_answer

    async def metadata(self, request: Request) -> dict[str, Any]:
        self.check(**request.path_params)
        return self._metadata

    def check(self, model_name: str, version: str | None = None) -> None:
        """Refuse another model, and another version of this one.

        Raises:
            HTTPException: it is another one.
        """
        if model_name != self._name:
            raise HTTPException(
                404, f"there is no model {model_name!r} here, the model is {self._name!r}"
            )
        if version is not None and version != self._version:
            raise HTTPException(404, no_version(version, self._version))
