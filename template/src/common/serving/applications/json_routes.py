"""Routes of Starlette that answer JSON."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Answer = Callable[[Request], Awaitable[Any]]


def json_route(method: str, path: str, answer: Answer) -> Route:
    """A route for one method. What `answer` returns is sent as JSON, if it is no response."""

    async def endpoint(request: Request) -> Response:
        answered = await answer(request)
        if isinstance(answered, Response):
            return answered
        return JSONResponse(answered)

    route = Route(path, endpoint, methods=[method])
    route.methods = {method}  # HEAD comes as GET: see `asgi.py`
    return route
