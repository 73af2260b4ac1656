"""Pages of other origins may call the server: `serving.cors_origins`.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response

from ..routes import OwnersRoute

EXPOSED = ("X-Request-Id", "X-Model-Version", "Retry-After", "Inference-Header-Content-Length")


def allowing(
    origins: Sequence[str], application: Any, own_routes: Sequence[OwnersRoute] = ()
) -> Any:
    """An application whose answers the pages of some origins may read.

    A page may send any header field: the server keeps no cookies and no sessions.

    Args:
        origins: those that may, or `*` alone for all.
        application: an ASGI application.
        own_routes: the owner's routes, whose methods a page may use, too.
    """
    own = [method for route in own_routes for method in route.methods]
    return CrossOrigin(
        application,
        allow_origins=origins,
        allow_methods=tuple(dict.fromkeys(("GET", "HEAD", "POST", *own))),
        allow_headers=("*",),
        expose_headers=EXPOSED,
    )


class CrossOrigin(CORSMiddleware):
    """Starlette's middleware, with errors in JSON."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        kept = {
            name: value
            for name, value in response.headers.items()
            if not name.startswith("content-")
        }
        reason = bytes(response.body).decode()
        hint = "serving.cors_origins in config.yaml"
        return JSONResponse({"error": f"{reason} ({hint})"}, response.status_code, kept)
