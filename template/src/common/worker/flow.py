"""How requests pass through the model: decode, preprocess, predict, postprocess, encode.

Requests that have arrived together share one call of `predict` if that cannot change an answer.
"""

import contextlib
import dataclasses
import gc
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from .. import bodies, current
from ..bodies import events
from ..bodies.csv_rows import Csv
from ..bodies.density import LARGE_BYTES, Steps
from ..bodies.json_rows import EventPieces, JsonPieces
from ..bodies.msgpack_rows import MsgpackPieces
from ..bodies.scoring import Scoring
from ..bodies.v2.v2_codec import V2, parted
from ..bodies.v2.v2_codec import line_of as v2_line
from ..bodies.v2.v2_pieces import V2Pieces
from ..bodies.values import Encoder
from ..context import Context
from ..errors import InvalidInput, TooLarge, TooLate, UnknownModel, Unsendable, text_of
from ..link.frames import PHASES, Kind, Ready, Request, Response, Stats
from ..schema import ModelInput
from ..words import kind_of, type_name
from .calls import Call, Finishing, merged
from .coroutines import cancel_all, finished, is_later
from .first_rows import Contexts, FirstRows
from .fixed_size import FixedSize
from .hooks import Hooks, check_shared
from .independence import Finding, Predict
from .lifecycle import Lifecycle
from .options import Options
from .own_routes import OwnRoutes
from .recovery import Failure, Recovery
from .responses import Uncut, cut, kept, shown
from .sharing import MOST_CHECKED, Group, Sharing
from .streams import IN_JSON, IN_TENSORS, Stream, Streams, close_unsent, is_stream, yields

if TYPE_CHECKING:
    from .tasks import Came, Tasks

T = TypeVar("T")
logger = logging.getLogger(__name__)

CODECS: dict[int, tuple[Callable[[bytes | memoryview], Any], Encoder]] = {
    Kind.JSON: (bodies.json_decode, bodies.json_encode),
    Kind.MSGPACK: (bodies.msgpack_decode, bodies.msgpack_encode),
}
# A body of this size and more waits while smaller ones are answered: decoding it takes longer than
# a call of `predict` that it could share.
ASIDE_BYTES = 1 << 22
# One that is hardly decoded waits from this size on: below it, sharing a call may pay.
RAW_ASIDE_BYTES = 1 << 24
# Kinds whose body cannot be an error's: the server makes one of the message.
ONLY_ERRORS = (Kind.GRPC, Kind.EVENT)
NO_RESPONSE = "predict returned None, it must return a dict with predictions"
NO_SECONDS = (0.0,) * len(PHASES)
NO_MEMORY = (
    "the request needs more of the GPU's memory than is free: try again later, or send fewer rows"
)
PIECE = 32  # responses; the server sends them while the next ones are encoded


class InferenceModel(Protocol):
    """What `server/inference_model.py` defines: KFServing's four methods, in calling order.

    All but `load` may take a second parameter, `context`. Each may be `async def`.
    """

    def load(self) -> None: ...
    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def predict(self, request: dict[str, Any]) -> dict[str, Any]: ...
    def postprocess(self, response: dict[str, Any]) -> dict[str, Any]: ...


class Pieces(Protocol):
    """A body that is decoded in pieces: to iterate decodes the next one.

    Attributes:
        decoded: the request and the encoder of its response, once all pieces are decoded.
        error: why they cannot be.
        batches: parts of the request, so that they can be freed in pieces, too.
    """

    decoded: tuple[Any, Encoder] | None
    error: Exception | None
    batches: list[list[Any]]

    def __iter__(self) -> Steps[None]: ...


class Codec(Protocol):
    """Decodes bodies for a model, and makes what encodes the response to each."""

    def decode(
        self, body: bytes | memoryview, request_id: str
    ) -> tuple[dict[str, Any], Encoder]: ...


# Each request with its response, and the seconds that the call of `predict` took.
Predicted = tuple[list[tuple[Call, Any]], float]
# Responses, and after the last ones of a call its statistics.
Answered = tuple[list[Response], Stats | None]
# A request that was opened, or has failed, or the answers that the event loop has led to. None is
# about a stream, or answered later.
Outcome = Call | Response | Iterator[Answered] | None


class Flow:
    """Answers requests with a model.

    Args:
        model: an object with KFServing's four methods, loaded.
        sharing: decides which requests share a call of `predict`.
        v2: decodes and encodes V2 bodies for the model.
        fixed_size: the number of rows of each call of `predict`, for as long as requests may share
            one; 0 for as many as came.
        options: checks the keys beside `instances` that the template's own code reads.
        grpc: decodes and encodes gRPC's messages for the model, if there is a port for them.
        first_rows: tries the first rows of large bodies.
        max_answer_bytes: the size of the largest answer.
        described: `model.input` of a Config, for bodies whose values stand in named columns.
        version: the model's version.
        max_concurrency: how many coroutines of the model's may run at once.
        limit: how long one may take, in seconds.

    Attributes:
        lifecycle: what the model does around its requests.
        streams: the answers that come chunk by chunk; None where nobody takes them.
        tasks: what runs in the event loop for requests; None until there is something.

    Raises:
        LoadError: a method of the model takes other parameters than a hook does.
    """

    def __init__(
        self,
        model: InferenceModel,
        sharing: Sharing,
        v2: V2 | None = None,
        fixed_size: int = 0,
        options: Options | None = None,
        grpc: Codec | None = None,
        first_rows: FirstRows | None = None,
        max_answer_bytes: int = 2**30,
        described: ModelInput | None = None,
        version: str | None = None,
        max_concurrency: int = 64,
        limit: float = 60.0,
    ) -> None:
        self._hooks = Hooks(model)
        self._own_routes = OwnRoutes(model)
        self.lifecycle = Lifecycle(model)
        self._sharing = sharing
        if self._hooks.is_apart or yields(model.predict):
            sharing.max_batch_size = 1
        self.streams: Streams | None = None
        self.tasks: Tasks | None = None
        self._at_once, self._limit = max_concurrency, limit
        self._padded: FixedSize | None = None
        if fixed_size:
            self._padded = FixedSize(fixed_size)
        self._version = version
        self._v2 = v2 or V2()
        scoring, table = Scoring(described), Csv(described)
        self._codecs: dict[int, Codec] = {
            Kind.V2: self._v2,
            Kind.SCORING: scoring,
            Kind.CSV: table,
        }
        if grpc is not None:
            self._codecs[Kind.GRPC] = grpc
        self._pieces: dict[int, Callable[[Request], Pieces]] = {
            Kind.JSON: lambda frame: JsonPieces(frame.body),
            Kind.MSGPACK: lambda frame: MsgpackPieces(frame.body),
            Kind.EVENT: lambda frame: EventPieces(frame.body),
            Kind.V2: lambda frame: V2Pieces(self._v2, frame.body, frame.request_id),
            Kind.SCORING: lambda frame: scoring.pieces(frame.body),
            Kind.CSV: lambda frame: table.pieces(frame.body),
        }
        self._options = options or Options()
        self._first_rows = first_rows
        self._max_answer_bytes = max_answer_bytes
        self._recovery = Recovery()

    def ready(self) -> Ready:
        """What the server is told of the owner's code."""
        lifecycle = self.lifecycle
        return Ready(
            self._hooks.reads_context,
            lifecycle.tells_health,
            lifecycle.closes,
            self._own_routes.routes,
            bool(self._hooks.later) or self._own_routes.is_async,
        )

    def close(self) -> None:
        """End what runs, and let the model close what it holds."""
        if self.streams is not None:
            self.streams.close()
        if self.tasks is not None:
            self.tasks.close()
        self.lifecycle.close()
        cancel_all()

    @property
    def max_batch_size(self) -> int:
        """How many rows may share a call of `predict` now."""
        return self._sharing.max_batch_size

    def is_large(self, frame: Request) -> bool:
        """Whether smaller requests are answered before a request."""
        if len(frame.body) < ASIDE_BYTES or frame.kind == Kind.TRIAL:
            return False
        return len(frame.body) >= RAW_ASIDE_BYTES or self._has_pieces(frame)

    def _has_pieces(self, frame: Request) -> bool:
        """Whether to decode a body in pieces. V2's raw data is not decoded, and does not count."""
        if frame.kind == Kind.V2:
            return len(parted(frame.body)[0]) >= ASIDE_BYTES
        return frame.kind in self._pieces

    def open_in_pieces(self, frame: Request) -> Iterator[Outcome]:
        """As `open`, for a large body. Yields None in between, when others can be answered."""
        if not self._has_pieces(frame):
            yield None
            yield self.open(frame)
            return
        thresholds = gc.get_threshold()
        pieces = self._pieces[frame.kind](frame)
        try:
            with _no_search():
                refusal, checked = yield from _timed(self._refusal_of_first(frame))
                if refusal is not None:
                    yield refusal
                    return
                _, decoded = yield from _timed(iter(pieces))
                _leave_out_of_count(thresholds)
            outcome = self.open(frame, pieces)
            if isinstance(outcome, Call):
                outcome.decoded += checked + decoded
            yield outcome
            del outcome
            pieces.decoded = pieces.error = None
            yield None
            while pieces.batches:  # freeing the rows takes a while, too
                pieces.batches.pop()
                yield None
        finally:
            gc.set_threshold(*thresholds)

    def open(self, frame: Request, pieces: Pieces | None = None) -> Outcome:
        """Decode and preprocess a request. The result is a Response if that failed.

        It is None for what is about a stream, or has become one, and where `preprocess` runs in
        the event loop.

        Args:
            frame: the request.
            pieces: its body, where that was checked and decoded before.
        """
        if frame.kind == Kind.TRIAL:
            return self._answer_trial(frame)
        if frame.kind == Kind.ROUTE:
            return self._answer_route(frame)
        if frame.kind in (Kind.MORE, Kind.CANCEL):
            return self._about_stream(frame)
        if frame.kind == Kind.HEALTH:
            ailment = self.lifecycle.ailment()
            return Response(0, 200, Kind.HEALTH, (ailment or "").encode("utf-8", "replace"))
        start = time.perf_counter()
        context: Context | None = None
        try:
            if len(frame.body) < LARGE_BYTES:
                body, encode = self._decode(frame)
            else:
                body, encode = self._decode_large(frame, pieces)
            request = _checked(body)
            if len(request) > 1:
                self._options.check(request)
            decoded = time.perf_counter()
            context = self._context(frame, request)
            prepared = self._hooks.preprocess(request, context)
            done = time.perf_counter()
            call = Call(frame, encode, prepared, 0, decoded - start, done - decoded, context)
            if type(prepared) is not dict and is_later(prepared):
                self._await(prepared, call, "preprocess", self._prepare_later)
                return None
            return self._prepare(call)
        except BaseException as error:
            return self._failure(frame, error, "preprocess", context)

    def _prepare(self, call: Call) -> Call:
        """Make a call ready with what `preprocess` has returned."""
        prepared: Any = call.request
        if type(prepared) is dict:
            # The owner may use the same dict for the next request.
            call.request = prepared = prepared.copy()
        elif prepared is None:
            raise Unsendable("preprocess returned None, it must return a dict with instances")
        call.rows = _rows(prepared)
        if call.context is not None:
            call.apart = self._hooks.apart(call.context)
        return call

    def _prepare_later(self, call: Call, prepared: Any, seconds: float) -> Call | Response:
        if isinstance(prepared, Response):
            return prepared
        call.request = prepared
        call.preprocessed += seconds
        try:
            return self._prepare(call)
        except BaseException as error:
            return self._failure(call.frame, error, "preprocess", call.context)

    def _context(self, frame: Request, body: dict[str, Any]) -> Context | None:
        """What the hooks get beside a request; None where none of them takes it."""
        if not self._hooks.reads_context:
            return None
        return Context.of(frame.request_id, frame.beside, body, self._version)

    def answer(self, opened: Sequence[Outcome]) -> Iterator[Answered]:
        """Answer opened requests that have arrived together.

        Yields:
            Responses as soon as they are known. Statistics follow with the last of each call.

        Raises:
            Broken: the model cannot go on. What was not answered must be asked elsewhere.
        """
        if refused := [outcome for outcome in opened if isinstance(outcome, Response)]:
            yield refused, None
            self._recovery.check()
        if self.tasks is not None:
            for outcome in opened:
                if isinstance(outcome, Iterator):
                    yield from outcome
        calls = [outcome for outcome in opened if isinstance(outcome, Call)]
        if len(calls) == 1 or self.max_batch_size == 1:
            yield from self._answer_each(calls)
        else:
            for group in self._sharing.groups(calls):
                yield from self._answer_group(group)
        if ended := self._sharing.take_ended():
            yield [], Stats(0, 0, NO_SECONDS, ended)

    def answer_all(self, requests: Sequence[Request]) -> Iterator[Answered]:
        """Answer requests, and wait for what runs in the event loop for them.

        Yields:
            What `answer` does, and from time to time nothing while the event loop goes on.

        Raises:
            Broken: as `answer` does.
            Stuck: the event loop does not go on.
        """
        opened = [self.open(request) for request in requests]
        while True:
            yield from self.answer(opened)
            if self.tasks is None or not self.tasks.pending:
                return
            self.tasks.wait()
            opened = self.tasks.came()
            if self.tasks.beat() is not None:
                yield [], None

    def try_after_failures(self, body: bytes) -> None:
        """After failures, try a JSON body that the model has answered: it tells if it can go on."""
        self._recovery = Recovery(lambda: self.refusal(body, "example"))

    def refusal(self, body: bytes, request_id: str) -> str | None:
        """Why a JSON body gets no predictions; None if it does."""
        request = Request(0, Kind.JSON, request_id, body)
        with self._beside_requests():
            first = self._first_response(request)
        if first.status < 400:
            return None
        return first.body.decode()

    def _first_response(self, request: Request) -> Response:
        """The answer to a request, or the first chunk of it."""
        answered: list[Response] = []
        for parts, _ in self.answer_all([request]):
            answered += parts
            if answered and answered[0].kind == Kind.CHUNK:
                break
        assert self.streams is not None
        if self.streams.can_go_on and (first := self.streams.step()) is not None:
            answered.append(first)
        return answered[0]

    @contextlib.contextmanager
    def _beside_requests(self) -> Iterator[None]:
        """Keep what streams and runs for requests apart from what begins meanwhile."""
        before = self.streams, self.tasks
        self.streams, self.tasks = Streams(), None
        try:
            yield
        finally:
            self.streams.close()
            if self.tasks is not None:
                self.tasks.close()
            self.streams, self.tasks = before

    def try_example(self, rows: list[Any], others: list[dict[str, Any]]) -> None:
        """Try whether rows are independent, with each of some other keys. If not, none share."""
        for other in others:
            finding = self.try_rows({**other, "instances": rows})
            if finding is not None and finding.reason is not None:
                self._sharing.end(finding)

    def try_rows(self, request: dict[str, Any]) -> Finding | None:
        """Try whether the rows of a request are independent; None if that cannot be tried."""
        frames: dict[bytes, Request] = {}  # equal rows prove nothing
        for row in request["instances"]:
            body = bodies.json_encode({**request, "instances": [row]})
            frames.setdefault(body, Request(0, Kind.JSON, f"row {shown(row)}", body))
        with self._beside_requests():
            opened = self._opened(list(frames.values()))
        calls = [outcome for outcome in opened if isinstance(outcome, Call)]
        try:
            return self._sharing.try_rows(calls, self._predicting(calls))
        except BaseException:
            logger.debug("the rows of a trial get no prediction", exc_info=True)
            return None

    def _opened(self, frames: list[Request]) -> list[Outcome]:
        """Open requests, and wait for those that are opened in the event loop."""
        opened = [self.open(frame) for frame in frames]
        while self.tasks is not None and self.tasks.pending:
            self.tasks.wait()
            opened += self.tasks.came()
            self.tasks.beat()
        return opened

    def _await(
        self,
        work: Any,
        call: Call,
        phase: str,
        then: Callable[[Call, Any, float], Outcome],
    ) -> None:
        """Let the event loop run a coroutine of the owner's, and go on with the request then.

        Args:
            work: the coroutine.
            call: the request.
            phase: what it is of, for the log.
            then: gets the call, what the coroutine returned or the Response of its error, and how
                many seconds it took.
        """

        def go_on(came: "Came") -> Outcome:
            value = came.value
            if came.error is not None:
                is_models = phase == "predict"
                value = self._failure(call.frame, came.error, phase, call.context, is_models)
            return then(call, value, came.seconds)

        self._started_tasks().start(work, call.frame.request_id, go_on)

    def _started_tasks(self) -> "Tasks":
        if self.tasks is None:
            from .tasks import Tasks

            self.tasks = Tasks(self._at_once, self._limit)
        return self.tasks

    def _about_stream(self, frame: Request) -> Response | None:
        if self.streams is None:
            return None
        if frame.kind == Kind.CANCEL:
            ended = None
            if self.tasks is not None:
                ended = self.tasks.cancel(frame.ident)
            return ended or self.streams.cancel(frame.ident)
        chunks = int.from_bytes(frame.body, "big")
        self.streams.grant(frame.ident, chunks)
        if self.tasks is not None:
            self.tasks.grant(frame.ident, chunks)
        return None

    def _stream(self, call: Call, values: Any, took: float) -> Response | None:
        """Answer a request chunk by chunk from now on; a Response where that cannot be."""
        refusal = self._refusal_of_stream(call.frame)
        if refusal is not None:
            close_unsent(values)
            return refusal

        def chunk(value: Any) -> Response:
            final = value
            if through is None:
                final = self._postprocess_now(call, value)
            if isinstance(final, Response):
                return final
            return self._chunk(call.frame, call.context, final, _chunk_encoder(call))

        def failed(error: BaseException) -> Response:
            return self._failure(call.frame, error, "predict", call.context)

        through = None
        if inspect.isasyncgen(values) and "postprocess" in self._hooks.later:
            through = partial(self._postprocess_value, call)
        self._begin(Stream(call.frame, values, chunk, failed), through)
        return None

    def _stream_route(self, frame: Request, values: Any, context: Context) -> Response | None:
        """As `_stream`, for a route of the owner's."""
        refusal = self._refusal_of_stream(frame)
        if refusal is not None:
            close_unsent(values)
            return refusal

        def failed(error: BaseException) -> Response:
            return self._failure(frame, error, "the route", context)

        self._begin(Stream(frame, values, lambda value: self._chunk(frame, context, value), failed))
        return None

    def _begin(
        self, stream: Stream, through: Callable[[Any], Awaitable[Any]] | None = None
    ) -> None:
        """Let a stream send its chunks, which pass through a coroutine function if there is one."""
        assert self.streams is not None
        if inspect.isasyncgen(stream.values):
            self._started_tasks().stream(stream, through)
        else:
            self.streams.add(stream)

    def _refusal_of_stream(self, frame: Request) -> Response | None:
        if self.streams is None:
            return _error(frame, 501, "this server sends no streams")
        if frame.kind not in IN_JSON + IN_TENSORS:
            return _error(frame, 400, "this model answers with a stream: send JSON to :predict")
        return None

    def _chunk(
        self,
        frame: Request,
        context: Context | None,
        value: Any,
        encode: Encoder = bodies.json_encode,
    ) -> Response:
        """The Response of one value of a stream."""
        try:
            status, beside = 200, b""
            if context is not None:
                status, beside = context.checked_status(), context.beside()
            body = encode(value)
            if len(body) > self._max_answer_bytes:
                raise TooLarge(str(len(body)), self._max_answer_bytes)
            return Response(frame.ident, status, Kind.CHUNK, body, beside)
        except BaseException as error:
            return self._failure(frame, error, "encode", context)

    def _answer_route(self, frame: Request) -> Response | None:
        """Answer a request to a route of the owner's."""
        said = json.loads(frame.beside)
        context = Context.of(frame.request_id, frame.beside, {}, self._version)
        method, path = said["method"], said["path"]
        try:
            said = self._own_routes.answer(method, path, frame.body, context)
        except BaseException as error:
            return self._failure(frame, error, path, context)
        if not is_later(said):
            return self._answer_said(frame, said, path, context)
        call = Call(frame, bodies.json_encode, {}, 0, 0.0, 0.0, context)
        self._await(
            said, call, path, lambda _, value, __: self._answer_said(frame, value, path, context)
        )
        return None

    def _answer_said(
        self, frame: Request, said: Any, path: str, context: Context
    ) -> Response | None:
        """Answer with what the method of a route has returned, or the Response of its error."""
        if isinstance(said, Response):
            return said
        try:
            if is_stream(said):
                return self._stream_route(frame, said, context)
            body, media_type = self._own_routes.encoded(said, context)
            if len(body) > self._max_answer_bytes:
                raise TooLarge(str(len(body)), self._max_answer_bytes)
            status, beside = context.checked_status(), context.beside(media_type)
            return Response(frame.ident, status, Kind.JSON, body, beside)
        except BaseException as error:
            return self._failure(frame, error, path, context)

    def _answer_trial(self, frame: Request) -> Response:
        finding = self.try_rows(bodies.json_decode(frame.body))
        body = bodies.json_encode(finding and dataclasses.asdict(finding))
        return Response(frame.ident, 200, Kind.JSON, body)

    def _decode(self, frame: Request) -> tuple[Any, Encoder]:
        """The decoded body, and what encodes its response."""
        codec = CODECS.get(frame.kind)
        if frame.kind == Kind.EVENT:
            return events.decode(frame.body)
        if codec is None:
            return self._codecs[frame.kind].decode(frame.body, frame.request_id)
        decode, encode = codec
        return decode(frame.body), encode

    def _decode_large(self, frame: Request, pieces: Pieces | None) -> tuple[Any, Encoder]:
        if pieces is not None:
            if pieces.decoded is None:
                raise pieces.error or RuntimeError("the body was not decoded")
            return pieces.decoded
        with _no_search():
            self._check_first_rows(frame)
            return self._decode(frame)

    def _refusal_of_first(self, frame: Request) -> Steps[Response | None]:
        """The Response where the model does not take the first rows."""
        if self._first_rows is None:
            return None
        steps = self._first_rows.steps(frame.kind, frame.body, self._contexts(frame))
        while True:
            try:
                next(steps)
            except StopIteration:
                return None
            except BaseException as error:
                return self._failure(frame, error, "preprocess")
            yield

    def _check_first_rows(self, frame: Request) -> None:
        if self._first_rows is not None:
            self._first_rows.check(frame.kind, frame.body, self._contexts(frame))

    def _contexts(self, frame: Request) -> Contexts:
        return lambda body: self._context(frame, body)

    def _answer_group(self, group: Group) -> Iterator[Answered]:
        if len(group.calls) < 2 or self.max_batch_size == 1:
            yield from self._answer_each(group.calls)
        elif self._sharing.is_due(group):
            first, rest = group.parted(MOST_CHECKED)
            yield from self._check(first)
            yield from self._answer_group(rest)
        elif (together := self._try_together(group)) is not None:
            yield from self._finish(*together)
        else:
            self._recovery.check()
            yield from self._answer_each(group.calls)

    def _try_together(self, group: Group) -> Predicted | None:
        """The result of a shared call of `predict`; None if each request must run alone."""
        start = time.perf_counter()
        try:
            response = self._predicting(group.calls)(merged(group.calls))
            took = time.perf_counter() - start
            if is_stream(response):  # which is of one request alone
                close_unsent(response)
                return None
            if is_later(response):
                response.close()
                raise Uncut("predict returned a coroutine, which is of one request alone")
            parts = cut(response, [call.rows for call in group.calls])
        except Uncut as error:
            self._sharing.end(Finding(reason=str(error)))
            return None
        except BaseException as error:  # one request must not fail the others
            self._recovery.note(error)
            logger.debug("a shared call of predict failed", exc_info=True)
            return None
        if not self._sharing.is_known(group, response):
            return None
        return list(zip(group.calls, parts, strict=True)), took

    def _check(self, group: Group) -> Iterator[Answered]:
        """Answer each request alone, and compare that with a shared call."""
        answered: list[tuple[Call, Any]] = []
        for call in group.calls:
            response, took = self._predict_alone(call)
            if type(response) is not dict:
                response = self._now(call, response, took)
                if response is None:
                    continue
            if isinstance(response, Response):
                yield from self._failed(response)
                continue
            answered.append((call, kept(response)))
            yield from self._finish([(call, response)], took)
        if len(answered) > 1:
            calls = [call for call, _ in answered]
            alone = [response for _, response in answered]
            self._sharing.check(group, calls, alone, self._predicting(calls))

    def _predicting(self, calls: Sequence[Call]) -> Predict:
        """What predicts for requests that share a call, with what is equal beside them."""
        context = calls[0].context if calls else None
        return lambda request: self._predict(request, context)

    def _predict(self, request: dict[str, Any], context: Context | None) -> Any:
        """What the model predicts, in calls of the fixed size where there is one."""
        if self._options.has_parameters:
            current.request.set(request)
        if context is not None:
            return self._predict_beside(request, context)
        return self._predict_rows(request, None)

    def _predict_beside(self, request: dict[str, Any], context: Context) -> Any:
        """What the model predicts where a hook takes a context."""
        shared = self._hooks.of_predict(context)
        response = self._predict_rows(request, shared)
        if shared is context:
            return response
        if type(response) is not dict and is_later(response):
            return _checked_later(response, shared)
        check_shared(shared)
        return response

    def _predict_rows(self, request: dict[str, Any], context: Context | None) -> Any:
        predict = self._hooks.predict
        if self._padded is None or self.max_batch_size == 1:
            return predict(request, context)
        try:
            return self._padded(lambda part: predict(part, context), request)
        except Uncut as error:
            self._sharing.end(Finding(reason=str(error)))
            return predict(request, context)

    def _answer_each(self, calls: list[Call]) -> Iterator[Answered]:
        for call in calls:
            response, took = self._predict_alone(call)
            if type(response) is not dict:
                response = self._now(call, response, took)
                if response is None:
                    continue
            if isinstance(response, Response):
                yield from self._failed(response)
            else:
                yield from self._finish([(call, response)], took)

    def _now(self, call: Call, response: Any, took: float) -> Any:
        """What `predict` has returned; None where the answer comes later."""
        if is_stream(response):
            return self._stream(call, response, took)
        if not is_later(response):
            return response

        def then(_: Call, value: Any, seconds: float) -> Outcome:
            if value is None:
                value = _unsendable(call.frame, Unsendable(NO_RESPONSE))
            return self._answer_late(call, value, took + seconds)

        self._await(response, call, "predict", then)
        return None

    def _answer_late(self, call: Call, response: Any, took: float) -> Iterator[Answered]:
        """Answer with what `predict` has returned in the event loop."""
        if is_stream(response):
            response = self._stream(call, response, took)
            if response is None:
                return
        if isinstance(response, Response):
            yield from self._failed(response)
        else:
            yield from self._finish([(call, response)], took)

    def _failed(self, response: Response) -> Iterator[Answered]:
        """Answer a failed request, and then go on with the others if the model can."""
        yield [response], None
        self._recovery.check()

    def _predict_alone(self, call: Call) -> tuple[Any, float]:
        """What `predict` returns, or the Response of an error; and the seconds it took."""
        start = time.perf_counter()
        try:
            response: Any = self._predict(call.request, call.context)
            if response is None:
                raise Unsendable(NO_RESPONSE)
        except BaseException as error:
            response = self._failure(call.frame, error, "predict", call.context)
        return response, time.perf_counter() - start

    def _finish(self, answered: list[tuple[Call, Any]], predicted: float) -> Iterator[Answered]:
        """Postprocess and encode the responses of one call of `predict`, one by one."""
        responses: list[Response] = []
        later: list[tuple[Call, Any]] = []
        postprocessed = encoded = 0.0
        start = time.perf_counter()
        for call, response in answered:
            if len(responses) == PIECE:
                yield responses, None
                responses, start = [], time.perf_counter()
            final = self._postprocess(call, response)
            middle = time.perf_counter()
            if type(final) is not dict and is_later(final):
                later.append((call, final))
                continue
            if not isinstance(final, Response):
                final = self._encode(call, final)
            responses.append(final)
            if len(final.body) > LARGE_BYTES:
                yield responses, None
                responses = []
            end = time.perf_counter()
            postprocessed += middle - start
            encoded += end - middle
            start = end
        calls = [call for call, _ in answered]
        decoded = sum(call.decoded for call in calls)
        preprocessed = sum(call.preprocessed for call in calls)
        seconds = decoded, preprocessed, predicted, postprocessed, encoded
        stats = Stats(len(calls), sum(call.rows for call in calls), seconds)
        if later:
            yield responses, None
            self._finish_later(later, stats)
        else:
            yield responses, stats
        if self._recovery.failed:
            self._recovery.check()

    def _finish_later(self, later: list[tuple[Call, Any]], stats: Stats) -> None:
        """Encode what `postprocess` returns in the event loop. Statistics follow with the last."""
        finishing = Finishing(stats, len(later))

        def then(call: Call, final: Any, seconds: float) -> Iterator[Answered]:
            start = time.perf_counter()
            if not isinstance(final, Response):
                final = self._encode(call, final)
            yield [final], finishing.one_more(seconds, time.perf_counter() - start)
            self._recovery.check()

        for call, final in later:
            self._await(final, call, "postprocess", then)

    def _postprocess(self, call: Call, response: Any) -> Any:
        """The postprocessed response, or the Response of an error."""
        try:
            return self._hooks.postprocess(response, call.context)
        except BaseException as error:
            return self._failure(call.frame, error, "postprocess", call.context)

    def _postprocess_now(self, call: Call, value: Any) -> Any:
        """As `_postprocess`, for one chunk of a stream: it waits where that is a coroutine."""
        final = self._postprocess(call, value)
        try:
            return finished(final)
        except BaseException as error:
            return self._failure(call.frame, error, "postprocess", call.context)

    async def _postprocess_value(self, call: Call, value: Any) -> Any:
        """As `_postprocess`, in the event loop."""
        final = self._hooks.postprocess(value, call.context)
        return await final if is_later(final) else final

    def _encode(self, call: Call, final: Any) -> Response:
        """The Response of what `postprocess` returned."""
        limit = self._max_answer_bytes
        try:
            if type(final) is not dict and not isinstance(final, Mapping):
                came = "None" if final is None else f"a {type_name(final)}"
                raise Unsendable(
                    f"postprocess returned {came}, it must return a dict with predictions"
                )
            predictions = final.get("predictions")
            if getattr(predictions, "nbytes", 0) > limit and _least_bytes(predictions) > limit:
                raise TooLarge(f"{_least_bytes(predictions)} or more", limit)
            status, beside = 200, b""
            if call.context is not None:
                status, beside = call.context.checked_status(), call.context.beside()
            if status >= 400 and call.frame.kind in ONLY_ERRORS:
                return _error(call.frame, status, _said(final, status), beside)
            body = call.encode(final)
            if len(body) > limit:
                raise TooLarge(str(len(body)), limit)
            return Response(call.frame.ident, status, call.frame.kind, body, beside)
        except BaseException as error:
            return self._failure(call.frame, error, "encode")

    def _failure(
        self,
        frame: Request,
        error: BaseException,
        phase: str,
        context: Context | None = None,
        is_models: bool = True,
    ) -> Response:
        """The Response of an error.

        The client's mistake is a 400 with its message, or has the status that a hook has set. All
        else reveals nothing about the model; its traceback is in the log.

        Args:
            frame: the request.
            error: the error.
            phase: where it was raised, for the log.
            context: what the hooks get beside the request.
            is_models: whether the model may have failed. A coroutine beside it waits for others'
                services, which may be away.
        """
        if isinstance(error, UnknownModel):
            return _error(frame, 404, text_of(error))
        if isinstance(error, Unsendable):
            return _unsendable(frame, error)
        if isinstance(error, TooLate):
            return _late(frame, f"{phase} took longer than {error}")
        failure = Failure.of(error)
        if is_models or failure in (Failure.OUT_OF_MEMORY, Failure.FINAL):
            failure = self._recovery.note(error)
        if failure == Failure.INPUT:
            return _refused(frame, text_of(error), context)
        text = f"{phase} failed: {type(error).__name__}: {text_of(error)}"
        logger.error("%s", text, exc_info=error, extra={"request_id": frame.request_id})
        if failure == Failure.OUT_OF_MEMORY:
            return _error(frame, 503, NO_MEMORY)
        return _error(frame, 500, _logged(frame, "the model failed"))


def _chunk_encoder(call: Call) -> Encoder:
    """What encodes the chunks of a request's answer."""
    if call.frame.kind not in IN_TENSORS:
        return bodies.json_encode

    def encode(value: Any) -> bytes:
        if not isinstance(value, Mapping):
            raise Unsendable(
                f"predict yielded a {type_name(value)}: for tensors it must be a dict with"
                " predictions"
            )
        body = call.encode(value)
        return body if call.frame.kind == Kind.GRPC else v2_line(body)

    return encode


def _timed(steps: Steps[T]) -> Steps[tuple[T, float]]:
    """What work with pauses returns, and how many seconds it took without them."""
    seconds = 0.0
    while True:
        start = time.perf_counter()
        try:
            next(steps)
        except StopIteration as ended:
            return ended.value, seconds + time.perf_counter() - start
        seconds += time.perf_counter() - start
        yield


@contextlib.contextmanager
def _no_search() -> Iterator[None]:
    """Decode without Python's search for cycles: a body has none, and millions of values."""
    searches = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searches:
            gc.enable()


def _leave_out_of_count(thresholds: tuple[int, int, int]) -> None:
    """Let the next search wait for as many objects as it would without those that are there.

    It would look at all rows of a large body, up to three times while `predict` runs.
    """
    if thresholds[0]:  # else there is no search
        gc.set_threshold(thresholds[0] + gc.get_count()[0], *thresholds[1:])


def _unsendable(frame: Request, error: Unsendable) -> Response:
    """The Response where what the owner's methods returned cannot be sent."""
    logger.error("%s", error, extra={"request_id": frame.request_id})
    said = "the model failed"
    if isinstance(error, TooLarge):
        said = str(error)
    return _error(frame, 500, _logged(frame, said))


def _late(frame: Request, said: str) -> Response:
    logger.error("%s, and was cancelled", said, extra={"request_id": frame.request_id})
    return _error(frame, 504, said)


async def _checked_later(response: Awaitable[Any], shared: Context | None) -> Any:
    value = await response
    check_shared(shared)
    return value


def _logged(frame: Request, said: str) -> str:
    return f"{said}; the server's log has the reason under request id {frame.request_id}"


def _least_bytes(predictions: Any) -> int:
    """How many bytes an array takes at least, in any form of body: a number in JSON has a comma."""
    if not isinstance(predictions, np.ndarray):
        return 0
    return predictions.size * min(predictions.itemsize, 2)


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


def _said(final: Mapping[str, Any], status: int) -> str:
    """The message of an answer that is an error."""
    return str(final.get("error", f"the model answers with status {status}"))


def _refused(frame: Request, message: str, context: Context | None) -> Response:
    """The Response for a request that is the client's mistake."""
    if context is None:
        return _error(frame, 400, message)
    try:
        status, beside = context.checked_status(), context.beside()
    except Unsendable as error:
        return _unsendable(frame, error)
    return _error(frame, max(status, 400), message, beside)


def _error(frame: Request, status: int, message: str, beside: bytes = b"") -> Response:
    text = message.encode("utf-8", "replace").decode()  # a lone surrogate cannot be JSON
    body = bodies.json_encode({"error": text})
    return Response(frame.ident, status, Kind.JSON, body, beside)
