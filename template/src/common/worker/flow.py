"""How requests pass through the model: decode, preprocess, predict, postprocess, encode.

Requests that have arrived together share one call of `predict` if that cannot change an answer.
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
from ..words import kind_of

logger = logging.getLogger(__name__)

CODECS: dict[int, tuple[Callable[[bytes | memoryview], Any], Encoder]] = {
    Kind.JSON: (bodies.json_decode, bodies.json_encode),
    Kind.MSGPACK: (bodies.msgpack_decode, bodies.msgpack_encode),
}
SPLIT_KEYS = ("predictions", "probabilities")
SCALARS = (str, bool, int, float, type(None))
PIECE = 32  # responses; the server sends them while the next ones are encoded


class InferenceModel(Protocol):
    """What `server/inference_model.py` defines: KFServing's four methods, in calling order."""

    def load(self) -> None: ...
    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def predict(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]: ...


class Unsplittable(Exception):
    """The response to several requests cannot be split by rows."""


@dataclass(slots=True)
class Call:
    """A request that is ready for `predict`.

    Attributes:
        frame: the frame that it came in.
        encode: encodes its response.
        request: what `preprocess` returned.
        rows: how many rows it has.
        decoded: how long decode took, in seconds.
        preprocessed: how long preprocess took, in seconds.
    """

    frame: Request
    encode: Encoder
    request: dict[str, Any]
    rows: int
    decoded: float
    preprocessed: float


# Each request with its response, and the seconds that the call of `predict` took.
Predicted = tuple[list[tuple[Call, Any]], float]
# Responses, and after the last ones of a call its statistics.
Answered = tuple[list[Response], Stats | None]


class Flow:
    """Answers requests with a model.

    Args:
        model: an object with KFServing's four methods, loaded.
        max_batch_size: how many rows may share a call of `predict`; 1 turns sharing off.
        v2: decodes and encodes V2 bodies for the model.
    """

    def __init__(self, model: InferenceModel, max_batch_size: int, v2: V2 | None = None) -> None:
        self._model = model
        self._max_batch_size = max_batch_size
        self._v2 = v2 or V2()

    def open(self, frame: Request) -> Call | Response:
        """Decode and preprocess a request. The result is a Response if that failed."""
        start = time.perf_counter()
        try:
            body, encode = self._decode(frame)
            request = _checked(body)
            decoded = time.perf_counter()
            prepared = self._model.preprocess(request)
            if type(prepared) is dict:
                prepared = prepared.copy()  # the owner may use the same dict for the next request
            done = time.perf_counter()
            return Call(frame, encode, prepared, _rows(prepared), decoded - start, done - decoded)
        except BaseException as error:
            return _failure(frame, error, "preprocess")

    def answer(self, opened: list[Call | Response]) -> Iterator[Answered]:
        """Answer opened requests that have arrived together.

        Yields:
            Responses as soon as they are known. Statistics follow with the last of each call.
        """
        if refused := [outcome for outcome in opened if isinstance(outcome, Response)]:
            yield refused, None
        for group in self._groups([outcome for outcome in opened if isinstance(outcome, Call)]):
            yield from self._answer_group(group)

    def _decode(self, frame: Request) -> tuple[Any, Encoder]:
        """The decoded body, and what encodes its response."""
        codec = CODECS.get(frame.kind)
        if codec is None:
            return self._v2.decode(frame.body, frame.request_id)
        decode, encode = codec
        return decode(frame.body), encode

    def _groups(self, calls: list[Call]) -> list[list[Call]]:
        """Groups of requests that may share a call of `predict`, in order of arrival."""
        if self._max_batch_size == 1 or len(calls) == 1:
            return [[call] for call in calls]
        groups: list[list[Call]] = []
        open_groups: dict[Any, tuple[list[Call], int]] = {}
        for call in calls:
            key = _batch_key(call)
            group, rows = open_groups.get(key, ([], self._max_batch_size))
            if key is None or rows + call.rows > self._max_batch_size:
                group, rows = [], 0
                groups.append(group)
            group.append(call)
            open_groups[key] = (group, rows + call.rows)
        return groups

    def _answer_group(self, group: list[Call]) -> Iterator[Answered]:
        if len(group) > 1:
            together = self._try_together(group)
            if together is not None:
                yield from self._finish(*together)
                return
        for call in group:
            yield from self._answer_alone(call)

    def _try_together(self, group: list[Call]) -> Predicted | None:
        """The result of a shared call of `predict`; None if each request must run alone."""
        try:
            return self._predict_together(group)
        except Unsplittable as error:
            self._max_batch_size = 1
            logger.warning("requests no longer share a call of predict: %s", error)
        except BaseException:  # one request must not fail the others
            logger.debug("a shared call of predict failed", exc_info=True)
        return None

    def _predict_together(self, group: list[Call]) -> Predicted:
        merged = _merge([call.request["instances"] for call in group])
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
        yield from self._finish([(call, response)], time.perf_counter() - start)

    def _finish(self, answered: list[tuple[Call, Any]], predicted: float) -> Iterator[Answered]:
        """Postprocess and encode the responses of one call of `predict`, one by one."""
        responses: list[Response] = []
        postprocessed = encoded = 0.0
        start = time.perf_counter()
        for call, response in answered:
            if len(responses) == PIECE:
                yield responses, None
                responses, start = [], time.perf_counter()
            final = self._postprocess(call, response)
            middle = time.perf_counter()
            if not isinstance(final, Response):
                final = _encode(call, final)
            responses.append(final)
            end = time.perf_counter()
            postprocessed += middle - start
            encoded += end - middle
            start = end
        calls = [call for call, _ in answered]
        decoded = sum(call.decoded for call in calls)
        preprocessed = sum(call.preprocessed for call in calls)
        seconds = decoded, preprocessed, predicted, postprocessed, encoded
        yield responses, Stats(len(calls), sum(call.rows for call in calls), seconds)

    def _postprocess(self, call: Call, response: Any) -> Any:
        """The postprocessed response, or the Response of an error."""
        try:
            return self._model.postprocess(response)
        except BaseException as error:
            return _failure(call.frame, error, "postprocess")


def _encode(call: Call, final: Any) -> Response:
    try:
        return Response(call.frame.ident, 200, call.frame.kind, call.encode(final))
    except BaseException as error:
        return _failure(call.frame, error, "encode")


def _merge(instances: list[Any]) -> Any:
    """The rows of several requests in one array or list."""
    if isinstance(instances[0], np.ndarray):
        return np.concatenate(instances)
    return list(chain(*instances))


def _checked(request: Any) -> dict[str, Any]:
    """The decoded body, checked for what every route needs: a dict with a list of `instances`.

    Raises:
        InvalidInput: it is anything else.
    """
    if not isinstance(request, dict):
        came = kind_of(request)
        raise InvalidInput(f'the body must be an object with "instances", it is {came}')
    if "instances" not in request:
        raise InvalidInput('"instances" is missing: the body must be {"instances": [row, ...]}')
    instances = request["instances"]
    scalar = isinstance(instances, np.ndarray) and not instances.ndim
    if scalar or not isinstance(instances, (list, np.ndarray)):
        came = kind_of(instances)
        raise InvalidInput(f'"instances" must be a list of rows, it is {came}')
    return request


def _instances(request: Any) -> Any:
    """A preprocessed request's rows, if it is a dict."""
    if isinstance(request, dict):
        return request.get("instances")
    return None


def _rows(request: Any) -> int:
    """How many rows a preprocessed request has; 1 if that is unknown."""
    instances = _instances(request)
    if isinstance(instances, (list, np.ndarray)):
        return len(instances)
    return 1


def _batch_key(call: Call) -> Any:
    """Equal for requests that may share a call of `predict`; None for one that may not."""
    request = call.request
    instances = _instances(request)
    if not isinstance(instances, (list, np.ndarray)) or not len(instances):
        return None
    if isinstance(instances, np.ndarray):
        rows: tuple[Any, ...] = (instances.shape[1:], instances.dtype)
    else:
        rows = _row_key(instances[0])
    if len(request) == 1:
        return call.frame.kind, rows
    others = _pickled({key: value for key, value in request.items() if key != "instances"})
    if others is None:
        return None
    return call.frame.kind, rows, others


def _row_key(row: Any) -> tuple[Any, ...]:
    """A row's type, and the lengths of the lists in it."""
    if isinstance(row, dict):
        lists = {name: value for name, value in row.items() if isinstance(value, (list, tuple))}
        return dict, frozenset((name, len(value)) for name, value in lists.items())
    if isinstance(row, (list, tuple)):
        return type(row), len(row)
    return type(row), None


def _pickled(others: dict[str, Any]) -> bytes | None:
    """Bytes that are equal only for equal values; None for values that cannot be pickled."""
    try:
        return pickle.dumps(others)
    except Exception:
        return None


def _split(response: Any, counts: list[int]) -> list[dict[str, Any]]:
    """Split the response to several requests.

    Args:
        response: what one call of `predict` returned for all of them.
        counts: how many rows each request has.

    Raises:
        Unsplittable: it holds something that is not one value per row.
    """
    if not isinstance(response, dict) or "predictions" not in response:
        raise Unsplittable("predict returned no object with predictions")
    parts: list[dict[str, Any]] = [{} for _ in counts]
    for key, value in response.items():
        for part, piece in zip(parts, _pieces(key, value, counts), strict=True):
            part[key] = piece
    return parts


def _pieces(key: str, value: Any, counts: list[int]) -> list[Any]:
    """One piece of a response's value for each request: its rows, or the same scalar for all."""
    if key not in SPLIT_KEYS and isinstance(value, SCALARS):
        return [value] * len(counts)
    if key in SPLIT_KEYS and _length(value) == sum(counts):
        return list(_slices(value, counts))
    raise Unsplittable(
        f"{key!r} of its response cannot be split by rows; add it in postprocess instead"
    )


def _length(value: Any) -> int | None:
    """The number of rows; None if the value has no rows."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return None
    if isinstance(value, (list, tuple, np.ndarray)):
        return len(value)
    return None


def _slices(value: Any, counts: list[int]) -> Iterator[Any]:
    start = 0
    for count in counts:
        yield value[start : start + count]
        start += count


def _failure(frame: Request, error: BaseException, phase: str) -> Response:
    """The Response of an error.

    The client's mistake is a 400 with its message. All else is a 500 that reveals nothing
    about the model; its traceback is in the log.
    """
    if isinstance(error, (InvalidInput, bodies.DecodeError)):
        return _error(frame, 400, str(error))
    name = frame.request_id
    logger.error("%s failed: %r", phase, error, exc_info=error, extra={"request_id": name})
    reason = f"the server's log has the reason under request id {name}"
    return _error(frame, 500, f"the model failed; {reason}")


def _error(frame: Request, status: int, message: str) -> Response:
    text = message.encode("utf-8", "replace").decode()  # a lone surrogate cannot be JSON
    return Response(frame.ident, status, Kind.JSON, bodies.json_encode({"error": text}))
