"""What all services need: messages read and answered, and errors with gRPC's statuses."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from ...errors import UnknownModel
from ..predict_routes import Refused
from .receiving import Receiver

logger = logging.getLogger(__name__)

CANCELLED = 499  # the client did not wait for the answer
STATUSES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ABORTED,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
MOST_DETAILS = 2000  # bytes of a message: clients take 8 KiB, in which a byte may need three
FAILED = "the server failed; its log has the reason"


class Streams:
    """Limits the calls that clients may keep open.

    Args:
        limit: how many there may be.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit

    @contextmanager
    def one(self) -> Iterator[None]:
        """A call that is open until the block ends.

        Raises:
            Refused: there are too many.
        """
        if not self._left:
            raise Refused(503, "too many streams are open; try again later")
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


def unary(
    receiver: Receiver, request: Any, response: Any, answer: Callable[[Any], Awaitable[Any]]
) -> grpc.RpcMethodHandler:
    """A method with one message in each direction.

    Args:
        receiver: receives the request.
        request: the class of the request.
        response: the class of the response.
        answer: makes the response, or raises Refused or UnknownModel.
    """

    async def handle(_: Any, context: Any) -> Any:
        try:
            return await answer(await parsed(receiver, request, context))
        except UnknownModel as error:
            await refuse(context, 404, str(error))
        except Refused as error:
            await refuse(context, error.status, str(error))
        except Exception:
            logger.exception("%s failed", request.DESCRIPTOR.full_name)
            await refuse(context, 500, FAILED)

    return grpc.stream_unary_rpc_method_handler(
        handle, response_serializer=response.SerializeToString
    )


async def parsed(receiver: Receiver, request: Any, context: Any) -> Any:
    """The request of a call.

    Raises:
        Refused: it did not come, or is none.
    """
    message = await receiver.receive(context)
    try:
        return request.FromString(message)
    except DecodeError:
        raise Refused(400, f"the message is not a {request.DESCRIPTOR.full_name}") from None


async def refuse(context: Any, status: int, message: str) -> None:
    """End a call with the gRPC status for an HTTP status. Does not return."""
    await context.abort(status_of(status), details(message))


def status_of(status: int) -> grpc.StatusCode:
    """gRPC's status for an HTTP status, which the owner's code may have chosen."""
    fallback = 400 if status < 500 else 500
    found: grpc.StatusCode = STATUSES.get(status, STATUSES[fallback])
    return found


def details(message: str) -> str:
    """The message of an error, no longer than clients take."""
    return message.encode("utf-8", "replace")[:MOST_DETAILS].decode("utf-8", "ignore")
