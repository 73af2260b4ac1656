"""Errors of a FastAPI application as our own routes answer them: `{"error": MESSAGE}`."""

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as RoutingError

FIXED = "this server serves one model, which cannot be unloaded"
UNEXPLAINED = "this model has no explainer"


async def failed(request: Request, _: Exception) -> JSONResponse:
    """An unexpected error. The exception goes on to our own application, which logs it."""
    return JSONResponse({"error": unforeseen(request.headers.get("x-request-id", ""))}, 500)


def unforeseen(request_id: str) -> str:
    """The message for an unexpected error. It reveals nothing about the code to the client."""
    return f"the server failed; its log has the reason under request id {request_id}"


async def http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RoutingError)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return JSONResponse({"error": f"{place}: {first['msg']}"}, 400)


# FastAPI's own errors answer as our routes do, with a message under `error`.
HANDLERS: dict[Any, Any] = {
    Exception: failed,
    RoutingError: http_error,
    RequestValidationError: malformed,
}
