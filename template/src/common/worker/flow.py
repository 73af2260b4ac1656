"""The flow of one or many requests through the model: decode, preprocess, predict, postprocess, encode.

Requests that have arrived together share one call of `predict` where that cannot change an answer.
"""

import logging
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import numpy as np

from .. import bodies
from ..bodies.v2_codec import V2, Encoder
from ..errors import InvalidInput
from ..link.frames import Kind, Request, Response, Stats

logger = logging.getLogger(__name__)

CODECS: dict[int, tuple[Callable[[bytes | memoryview], Any], Encoder]] = {
    Kind.JSON: (bodies.json_decode, bodies.json_encode),
    Kind.MSGPACK: (bodies.msgpack_decode, bodies.msgpack_encode),
}
SPLIT_KEYS = ("predictions", "probabilities")
SCALARS = (str, bool, int, float, type(None))
PIECE = 32  # responses: the server sends them while the next are being encoded


class InferenceModel(Protocol):
    """What `server/inference_model.py` defines: KFServing's four methods, called in their order."""

    def load(self) -> None: ...
    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def predict(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]: ...


class Unsplittable(Exception):
    """A response of several requests cannot be told apart by rows."""


@dataclass(slots=True)
class Call:
    """One request on its way: what came, what encodes its answer, and how many rows it holds."""

    frame: Request
    encode: Encoder
    request: dict[str, Any]
    rows: int
    prepared: float  # seconds spent on decode
    preprocessed: float  # seconds spent on preprocess


Predicted = tuple[
    list[tuple[Call, Any]], float
]  # each request with its response, and the seconds of the call
Answered = tuple[
    list[Response], Stats | None
]  # responses, and with the last of a call what it took


class Flow:
    """Answers requests with a model.

    Args:
        model: an object with KFServing's four methods, loaded.
        max_batch_size: how many rows may share a call of `predict`; 1 turns sharing off.
        v2: what reads and writes V2's bodies for the model.
    """

    def __init__(self, model: InferenceModel, max_batch_size: int, v2: V2 | None = None) -> None:
        self._model = model
        self._max_batch_size = max_batch_size
        self._v2 = v2 or V2()

    def open(self, frame: Request) -> Call | Response:
        """One request, decoded and preprocessed; the response where that failed."""
        start = time.perf_counter()
        try:
            body, encode = self._decode(frame)
            request = _checked(body)
            decoded = time.perf_counter()
            prepared = self._model.preprocess(request)
            if type(prepared) is dict:
                prepared = prepared.copy()  # the owner may use his own for the next request again
            done = time.perf_counter()
            return Call(frame, encode, prepared, _rows(prepared), decoded - start, done - decoded)
        except BaseException as error:
            return _failure(frame, error, "preprocess")

    def answer(self, opened: list[Call | Response]) -> Iterator[Answered]:
        """The responses to requests that have arrived together and were opened, in pieces, as soon as each is known."""
        if refused := [outcome for outcome in opened if isinstance(outcome, Response)]:
            yield refused, None
        for group in self._groups([outcome for outcome in opened if isinstance(outcome, Call)]):
            yield from self._answer_group(group)

    def _decode(self, frame: Request) -> tuple[Any, Encoder]:
        """What a body holds, and what encodes the answer to it."""
        codec = CODECS.get(frame.kind)
        if codec is None:
            return self._v2.decode(frame.body, frame.request_id)
        decode, encode = codec
        return decode(frame.body), encode

    def _groups(self, calls: list[Call]) -> list[list[Call]]:
        """Calls that may share a `predict`, in the order of arrival."""
        if self._max_batch_size == 1 or len(calls) == 1:
            return [[call] for call in calls]
        groups: list[list[Call]] = []
        open_groups: dict[Any, tuple[list[Call], int]] = {}
        for call in calls:
            key = _likeness(call)
            group, rows = open_groups.get(key, ([], self._max_batch_size))
            if key is None or rows + call.rows > self._max_batch_size:
                group, rows = [], 0
                groups.append(group)
            group.append(call)
            open_groups[key] = (group, rows + call.rows)
        return groups

    def _answer_group(self, group: list[Call]) -> Iterator[Answered]:
        together = self._try_together(group) if len(group) > 1 else None
        if together is not None:
            yield from self._close(*together)
            return
        for call in group:
            yield from self._answer_alone(call)

    def _try_together(self, group: list[Call]) -> Predicted | None:
        """What one call of `predict` gave; None where there is none to share, and each request runs alone."""
        try:
            return self._predict_together(group)
        except Unsplittable as error:
            self._max_batch_size = 1
            logger.warning("requests no longer share a call of predict: %s", error)
        except BaseException:  # the failure of one of them is not the others'
            logger.debug("a shared call of predict failed", exc_info=True)
        return None

    def _predict_together(self, group: list[Call]) -> Predicted:
        instances = [call.request["instances"] for call in group]
        merged = (
            np.concatenate(instances)
            if isinstance(instances[0], np.ndarray)
            else list(chain(*instances))
        )
        start = time.perf_counter()
        response = self._model.predict({**group[0].request, "instances": merged})
        took = time.perf_counter() - start
        parts = _split(response, [call.rows for call in group])
        return list(zip(group, parts, strict=True)), took

    def _answer_alone(self, call: Call) -> Iterator[Answered]:
        start = time.perf_counter()
        try:
            response = self._model.predict(call.request)
        except BaseException as error:
            yield [_failure(call.frame, error, "predict")], None
            return
        yield from self._close([(call, response)], time.perf_counter() - start)

    def _close(self, answered: list[tuple[Call, Any]], predicted: float) -> Iterator[Answered]:
        """Postprocess and encode the responses that one call of `predict` gave, one after the other."""
        responses: list[Response] = []
        postprocessed = encoded = 0.0
        start = time.perf_counter()
        for call, response in answered:
            if len(responses) == PIECE:
                yield responses, None
                responses, start = [], time.perf_counter()
            final = self._postprocess(call, response)
            middle = time.perf_counter()
            responses.append(final if isinstance(final, Response) else _encode(call, final))
            end = time.perf_counter()
            postprocessed += middle - start
            encoded += end - middle
            start = end
        calls = [call for call, _ in answered]
        decoded, preprocessed = (
            sum(call.prepared for call in calls),
            sum(call.preprocessed for call in calls),
        )
        seconds = decoded, preprocessed, predicted, postprocessed, encoded
        yield responses, Stats(len(calls), sum(call.rows for call in calls), seconds)

    def _postprocess(self, call: Call, response: Any) -> Any:
        """The response as it is to be encoded, or a Response that says why there is none."""
        try:
            return self._model.postprocess(response)
        except BaseException as error:
            return _failure(call.frame, error, "postprocess")


def _encode(call: Call, final: Any) -> Response:
    try:
        return Response(call.frame.ident, 200, call.frame.kind, call.encode(final))
    except BaseException as error:
        return _failure(call.frame, error, "encode")


def _checked(request: Any) -> dict[str, Any]:
    """The decoded body, found to be what every route takes: an object with a list under `instances`."""
    if not isinstance(request, dict):
        raise InvalidInput(
            f'the body must be an object with "instances", it is a {type(request).__name__}'
        )
    if "instances" not in request:
        raise InvalidInput('"instances" is missing: the body must be {"instances": [row, ...]}')
    instances = request["instances"]
    if not isinstance(instances, (list, np.ndarray)) or (
        isinstance(instances, np.ndarray) and not instances.ndim
    ):
        raise InvalidInput(
            f'"instances" must be a list of rows, it is a {type(instances).__name__}'
        )
    return request


def _rows(request: Any) -> int:
    """How many rows a preprocessed request holds; 1 where that cannot be told."""
    instances = request.get("instances") if isinstance(request, dict) else None
    return len(instances) if isinstance(instances, (list, np.ndarray)) else 1


def _likeness(call: Call) -> Any:
    """Equal for requests that may share a call, None for one that may not."""
    request = call.request
    instances = request.get("instances") if isinstance(request, dict) else None
    if not isinstance(instances, (list, np.ndarray)) or not len(instances):
        return None
    if isinstance(instances, np.ndarray):
        rows: tuple[Any, ...] = (instances.shape[1:], instances.dtype)
    else:
        rows = _row_likeness(instances[0])
    if len(request) == 1:
        return call.frame.kind, rows
    others = _sameness({key: value for key, value in request.items() if key != "instances"})
    return None if others is None else (call.frame.kind, rows, others)


def _row_likeness(row: Any) -> tuple[Any, ...]:
    if isinstance(row, dict):
        return dict, frozenset(
            (name, len(value)) for name, value in row.items() if isinstance(value, (list, tuple))
        )
    return type(row), len(row) if isinstance(row, (list, tuple)) else None


def _sameness(others: dict[str, Any]) -> bytes | None:
    """Bytes that are equal for equal values only; None for values that have none."""
    try:
        return pickle.dumps(others)
    except Exception:
        return None


def _split(response: Any, counts: list[int]) -> list[dict[str, Any]]:
    """One response of several requests, taken apart by their numbers of rows.

    Raises:
        Unsplittable: it holds something that is not one value a row.
    """
    if not isinstance(response, dict) or "predictions" not in response:
        raise Unsplittable("predict returned no object with predictions")
    total = sum(counts)
    parts: list[dict[str, Any]] = [{} for _ in counts]
    for key, value in response.items():
        if key not in SPLIT_KEYS and isinstance(value, SCALARS):
            pieces = [value] * len(counts)
        elif (
            key in SPLIT_KEYS
            and isinstance(value, (list, tuple, np.ndarray))
            and _length(value) == total
        ):
            pieces = list(_slices(value, counts))
        else:
            raise Unsplittable(
                f"{key!r} of its response cannot be told apart by rows; add it in postprocess instead"
            )
        for part, piece in zip(parts, pieces, strict=True):
            part[key] = piece
    return parts


def _length(value: Any) -> int | None:
    return None if isinstance(value, np.ndarray) and value.ndim == 0 else len(value)


def _slices(value: Any, counts: list[int]) -> Iterator[Any]:
    start = 0
    for count in counts:
        yield value[start : start + count]
        start += count


def _failure(frame: Request, error: BaseException, phase: str) -> Response:
    """The error table: what was the client's is 400 with its message, all else 500 without a word of the inside."""
    if isinstance(error, (InvalidInput, bodies.DecodeError)):
        status, message = 400, str(error)
    else:
        status = 500
        message = (
            f"the model failed; the server's log has the reason under request id {frame.request_id}"
        )
        logger.error(
            "%s failed: %r", phase, error, exc_info=error, extra={"request_id": frame.request_id}
        )
    text = message.encode("utf-8", "replace").decode()  # a lone surrogate is no JSON
    return Response(frame.ident, status, Kind.JSON, bodies.json_encode({"error": text}))
