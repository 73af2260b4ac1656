"""Answers the routes of the owner's: methods with `@route`."""

from collections.abc import Mapping
from typing import Any

from .. import bodies
from ..context import Context
from ..errors import LoadError
from ..routes import routes_of
from .coroutines import is_async
from .hooks import takes_context

JSON_TYPES = ("", "application/json", "application/x-www-form-urlencoded", "text/plain")
MSGPACK_TYPES = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")
CONTENT_TYPE = "content-type"


class OwnRoutes:
    """The methods of an InferenceModel that have a route.

    Args:
        model: the owner's InferenceModel.

    Attributes:
        routes: their routes.
        is_async: whether one of the methods is `async def`.

    Raises:
        LoadError: two have the same one, or one takes other parameters than a route's method does.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        try:
            self._routes = routes_of(model)
        except ValueError as error:
            raise LoadError(f"src/server/inference_model.py: {error}") from None
        self.routes = tuple(dict.fromkeys(self._routes.values()))
        methods = [getattr(model, own.name) for own in self.routes]
        self.is_async = any(is_async(method) for method in methods)
        self._takes_context = {own.name: takes_context(model, own.name) for own in self.routes}

    def answer(self, method: str, path: str, body: bytes | memoryview, context: Context) -> Any:
        """What the method of a route returns."""
        own = self._routes[method, path]
        request = _decoded(body, context.request.headers)
        call = getattr(self._model, own.name)
        beside = {"context": context} if self._takes_context[own.name] else {}
        return call(request, **beside)

    def encoded(self, said: Any, context: Context) -> tuple[bytes, str | None]:
        """The body of an answer, and its media type where that is not JSON.

        Raises:
            Unsendable: what the method returned cannot be sent.
        """
        if isinstance(said, (bytes, bytearray, memoryview)):
            return bytes(said), context.checked_media_type()
        return bodies.json_encode(said), None


def _decoded(body: bytes | memoryview, headers: Mapping[str, str]) -> Any:
    """The body of a request, decoded where its media type says how."""
    if not body:
        return None
    media_type = headers.get(CONTENT_TYPE, "").split(";", 1)[0].strip().lower()
    if media_type in JSON_TYPES or media_type.endswith("+json"):
        return bodies.json_decode(body)
    if media_type in MSGPACK_TYPES:
        return bodies.msgpack_decode(body)
    return bytes(body)
