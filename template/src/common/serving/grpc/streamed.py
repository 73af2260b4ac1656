"""The responses of ModelStreamInfer, each around a ModelInferResponse.

Sources: Triton's grpc_service.proto, and "Decoupled Backends and Models" of its documentation.
"""

from ...bodies.v2.names import FINAL_ASKED
from ...bodies.v2.protobuf_fields import BYTES, Budget, fields
from ...errors import DecodeError
from .calls import details
from .messages import CLASSES

PARAMETERS = 4  # the number of `parameters` in a ModelInferRequest
MOST_FIELDS = 256  # that are looked at
INFER_RESPONSE = 2  # and of `infer_response` in a ModelStreamInferResponse
# An entry of `parameters` that is true, as every writer of protobuf makes it.
ASKED = CLASSES["ModelInferRequest"](
    parameters={FINAL_ASKED: CLASSES["InferParameter"](bool_param=True)}
).SerializeToString()[2:]
# Fields that are appended to a message are part of it.
IS_LAST = CLASSES["ModelInferResponse"](
    parameters={"triton_final_response": CLASSES["InferParameter"](bool_param=True)}
).SerializeToString()


def asks_last(message: bytes) -> bool:
    """Whether a ModelInferRequest asks for a response that says that it is the last."""
    try:
        return any(
            number == PARAMETERS and wire == BYTES and value == ASKED
            for number, wire, value in fields(memoryview(message), Budget(MOST_FIELDS))
        )
    except DecodeError:  # too many fields, or the worker says what is wrong
        return False


def response(answer: bytes) -> bytes:
    """A ModelStreamInferResponse with a ModelInferResponse."""
    size, length = len(answer), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return b"".join((bytes([INFER_RESPONSE << 3 | BYTES]), length, answer))


def last_of(answer: bytes) -> bytes:
    """A ModelStreamInferResponse that says that it is the last one of a request."""
    return response(answer + IS_LAST)


def failed(message: str, last: bytes) -> bytes:
    """A ModelStreamInferResponse with an error.

    Args:
        message: what went wrong.
        last: the ModelInferResponse that names the request.
    """
    error = CLASSES["ModelStreamInferResponse"](error_message=details(message))
    return bytes(error.SerializeToString()) + response(last)
