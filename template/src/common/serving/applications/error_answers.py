"""Errors of an application of Starlette as our own routes answer them: `{"error": MESSAGE}`."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

FIXED = "this server serves one model, which cannot be unloaded"
UNEXPLAINED = "this model has no explainer"


async def failed(request: Request, _: Exception) -> JSONResponse:
    """An unexpected error. The exception goes on to our own application, which logs it."""
    return JSONResponse({"error": unforeseen(request.headers.get("x-request-id", ""))}, 500)


def unforeseen(request_id: str) -> str:
    """The message for an unexpected error. It reveals nothing about the code to the client."""
    return f"the server failed; its log has the reason under request id {request_id}"


async def http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


# Starlette's own errors answer as our routes do, with a message under `error`.
HANDLERS: dict[Any, Any] = {Exception: failed, HTTPException: http_error}
