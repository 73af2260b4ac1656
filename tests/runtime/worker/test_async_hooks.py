"""`async def` hooks in a worker's event loop, without a server."""

import asyncio
import functools
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from common import Context, InvalidInput
from common.bodies import json_encode
from common.errors import LoadError
from common.link.frames import CREDIT, Kind, Request, Response
from common.serving.beside import told
from common.signature import Signature
from common.worker import coroutines
from common.worker.flow import Flow
from common.worker.lifecycle import Lifecycle
from common.worker.recovery import Stuck
from common.worker.sharing import Sharing
from common.worker.streams import Streams
from support.servers.flows import proved

Body = dict[str, Any]


class Plain:
    """An owner's model without `async def`, which records how many rows each call had."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.now = self.most = 0

    def load(self) -> None: ...

    def preprocess(self, request: Body) -> Any:
        return request

    def predict(self, request: Body) -> Any:
        self.rows.append(len(request["instances"]))
        return {"predictions": [row[0] for row in request["instances"]]}

    def postprocess(self, response: Body) -> Any:
        return response

    async def paused(self, value: Any, seconds: float = 0.02) -> Any:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.now -= 1
        return value


class Before(Plain):
    """Its `preprocess` alone is `async def`."""

    async def preprocess(self, request: Body) -> Any:
        return await self.paused(request, request.get("pause", 0.02))


class All(Before):
    """All of its hooks are `async def`."""

    async def predict(self, request: Body) -> Any:
        return await self.paused(super().predict(request))

    async def postprocess(self, response: Body) -> Any:
        return await self.paused({**response, "seen": True})


def frame(ident: int, *firsts: Any, **others: Any) -> Request:
    body = json_encode({"instances": [[first] for first in firsts], **others})
    return Request(ident, Kind.JSON, f"id-{ident}", body, told([], b""))


FLOWS: list[Flow] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close the flows that a test has made."""
    yield
    while FLOWS:
        FLOWS.pop().close()


def made(owner: Any, sharing: Sharing | None = None, **settings: Any) -> Flow:
    flow = Flow(owner, sharing or proved(256), **settings)
    flow.streams = Streams()
    FLOWS.append(flow)
    return flow


def answered(flow: Flow, *frames: Request) -> list[tuple[int, Any]]:
    """The status and the body of each answer, in the order of the requests."""
    found = {
        response.ident: (response.status, json.loads(response.body))
        for responses, _ in flow.answer_all(frames)
        for response in responses
    }
    return [found[each.ident] for each in frames]


def ok(*firsts: Any, **others: Any) -> tuple[int, Body]:
    return 200, {"predictions": list(firsts), **others}


def test_what_has_come_together_shares_a_call() -> None:
    class Slow(Before):
        def predict(self, request: Body) -> Any:
            time.sleep(0.05)  # the others come meanwhile
            return super().predict(request)

    owner = Slow()
    answers = answered(made(owner), *(frame(n, n, 2 * n) for n in range(1, 9)))
    assert answers == [ok(n, 2 * n) for n in range(1, 9)]
    assert owner.most == 8 and max(owner.rows) > 2


def test_all_hooks_may_be_async() -> None:
    owner = All()
    answers = answered(made(owner), *(frame(n, n) for n in range(1, 9)))
    assert answers == [ok(n, seen=True) for n in range(1, 9)]
    assert owner.rows == [1] * 8 and owner.most == 8


def test_no_more_run_at_once_than_the_setting_says() -> None:
    owner = All()
    answers = answered(made(owner, max_concurrency=3), *(frame(n, n) for n in range(1, 20)))
    assert answers == [ok(n, seen=True) for n in range(1, 20)]
    assert owner.most == 3


def test_statistics_come_once_for_each_call() -> None:
    for owner, calls in ((Before(), None), (All(), 6)):
        flow = made(owner)
        found = [stats for _, stats in flow.answer_all([frame(n, n) for n in range(6)]) if stats]
        assert sum(stats.requests for stats in found) == 6
        assert calls is None or len(found) == calls
        assert all(stats.seconds[1] >= 0.02 for stats in found), "of preprocess"


def test_an_error_is_of_one_request_alone() -> None:
    class Failing(All):
        async def preprocess(self, request: Body) -> Any:
            if request.get("refused"):
                raise InvalidInput("no such row")
            return None if request.get("none") else request

        async def predict(self, request: Body) -> Any:
            if request.get("fails"):
                raise SystemExit(3)
            return None if request.get("nothing") else await super().predict(request)

        async def postprocess(self, response: Body) -> Any:
            if response["predictions"] == [7]:
                raise asyncio.CancelledError
            return await super().postprocess(response)

    answers = answered(
        made(Failing()),
        frame(1, 1, refused=True),
        frame(2, 1, none=True),
        frame(3, 1, fails=True),
        frame(4, 1, nothing=True),
        frame(5, 7),
        frame(6, 6),
    )
    assert [status for status, _ in answers] == [400, 500, 500, 500, 500, 200]
    assert answers[0][1] == {"error": "no such row"}


def test_one_that_takes_too_long_is_cancelled() -> None:
    owner = Before()
    flow = made(owner, limit=0.3)
    late, other = answered(flow, frame(1, 1, pause=60), frame(2, 2))
    assert late[0] == 504 and "preprocess took longer than 0.3 seconds" in late[1]["error"]
    assert other == ok(2)
    flow.close()
    assert owner.now == 0, "it was cancelled"


def test_late_ones_make_room_for_those_that_wait() -> None:
    frames = [frame(1, 1, pause=60), frame(2, 2, pause=60), frame(3, 3)]
    answers = answered(made(Before(), limit=0.3, max_concurrency=1), *frames)
    assert [status for status, _ in answers] == [504, 504, 200]


def test_a_hook_that_blocks_the_event_loop_is_found() -> None:
    class Blocking(Plain):
        async def preprocess(self, request: Body) -> Any:
            time.sleep(2)
            return request

    with pytest.raises(Stuck, match="blocks the event loop"):
        answered(made(Blocking(), limit=0.5), frame(1, 1))


def test_a_context_goes_from_one_hook_to_the_next() -> None:
    class Telling(Plain):
        shared_headers = ("x-tenant",)

        async def preprocess(self, request: Body, context: Context) -> Any:  # type: ignore[override]
            context.values["id"] = context.request.id
            return request

        async def predict(self, request: Body, context: Context) -> Any:  # type: ignore[override]
            assert "id" not in context.values, "it has what shared_headers names, and no more"
            if request.get("says"):
                context.status = 201
            return super().predict(request)

        async def postprocess(self, response: Body, context: Context) -> Any:  # type: ignore[override]
            context.status = 203
            return {**response, "id": context.values["id"]}

    answers = answered(made(Telling()), frame(1, 1), frame(2, 2, says=True))
    assert answers[0] == (203, {"predictions": [1], "id": "id-1"})
    assert answers[1][0] == 500


def test_what_only_returns_a_coroutine_is_awaited_too() -> None:
    """An undecorated function, and decorators that do not tell of what they wrap."""

    def plain(method: Callable[..., Any]) -> Callable[..., Any]:
        def called(self: Any, value: Any) -> Any:
            return method(self, value)

        return called

    class Wrapped(All):
        preprocess = plain(Before.preprocess)
        predict = plain(All.predict)
        postprocess = functools.wraps(All.postprocess)(plain(All.postprocess))

    flow = made(Wrapped())
    for _ in range(2):
        answers = answered(flow, *(frame(n, n) for n in range(1, 5)))
        assert answers == [ok(n, seen=True) for n in range(1, 5)]
    assert flow.max_batch_size == 1


def test_a_synchronous_wrapper_of_an_async_hook_stays_in_the_main_thread() -> None:
    class Wrapped(Plain):
        @functools.wraps(Before.preprocess)
        def preprocess(self, request: Body) -> Any:
            assert threading.current_thread() is threading.main_thread()
            return asyncio.run(Before.preprocess(self, request))  # type: ignore[arg-type]

    assert answered(made(Wrapped()), frame(1, 1)) == [ok(1)]


def test_coroutines_have_the_variables_of_their_own_request() -> None:
    owners: ContextVar[str] = ContextVar("owners", default="")

    class Setting(Plain):
        async def preprocess(self, request: Body) -> Any:
            assert owners.get() == ""
            owners.set(str(request["instances"]))
            await asyncio.sleep(0.01)
            return {**request, "seen": owners.get()}

        def predict(self, request: Body) -> Any:
            return {"predictions": [request["seen"]]}

    answers = answered(made(Setting(), proved(1)), *(frame(n, n) for n in range(20)))
    assert answers == [ok(f"[[{n}]]") for n in range(20)]


class Streaming(Plain):
    """Yields as many chunks as the first row says."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.closed: list[bool] = []
        self.tasks: set[Any] = set()

    async def predict(self, request: Body) -> Any:
        try:
            for number in range(request["instances"][0][0]):
                self.tasks.add(asyncio.current_task())
                await asyncio.sleep(0)
                self.made += 1
                yield {"number": number}
        finally:
            self.tasks.add(asyncio.current_task())
            await asyncio.sleep(0.01)
            self.closed.append(True)


def pumped(flow: Flow, seconds: float = 0.3) -> list[Response]:
    """What comes within a time."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end and flow.tasks is not None:
        flow.tasks.wait()
        found += [each for part, _ in flow.answer(flow.tasks.came()) for each in part]
        if found and found[-1].kind == Kind.END:
            break
    return found


def told_of(ident: int, kind: Kind, count: int = 0) -> Request:
    return Request(ident, kind, "", count.to_bytes(4, "big"))


def test_an_async_generator_sends_what_the_client_has_room_for() -> None:
    owner = Streaming()
    flow = made(owner, limit=0.8)
    assert list(flow.answer([flow.open(frame(1, 100))])) == []
    chunks = pumped(flow)
    assert [json.loads(each.body)["number"] for each in chunks] == list(range(CREDIT))
    assert owner.made == CREDIT
    flow.open(told_of(1, Kind.MORE, 90))
    rest = pumped(flow, 5)
    assert len(chunks + rest) == 101 and rest[-1].kind == Kind.END
    assert flow.tasks is not None and not flow.tasks.pending
    flow.close()
    assert owner.closed == [True] and len(owner.tasks) == 1, "one task, as anyio's scopes need"


def test_a_stream_that_nobody_reads_is_closed() -> None:
    owner = Streaming()
    flow = made(owner, limit=0.8)
    list(flow.answer([flow.open(frame(1, 100))]))
    pumped(flow)
    ended = flow.open(told_of(1, Kind.CANCEL))
    assert isinstance(ended, Response) and ended.kind == Kind.END
    assert flow.open(told_of(1, Kind.CANCEL)) is None
    assert pumped(flow, 0.1) == []
    flow.close()
    assert owner.closed == [True]


def test_an_example_with_async_hooks_is_tried() -> None:
    assert made(All()).refusal(json_encode({"instances": [[1]]}), "warm-up") is None
    refused = made(Before()).refusal(b'{"instances": [1]}', "warm-up")
    assert refused is not None and "request id" in refused
    owner = Streaming()
    assert made(owner).refusal(json_encode({"instances": [[100]]}), "warm-up") is None
    assert owner.closed == [True]


def test_rows_of_an_async_preprocess_are_tried_together() -> None:
    owner = Before()
    flow = made(owner, Sharing(256, Signature(None).likeness))
    finding = flow.try_rows({"instances": [[1], [2], [3]]})
    assert finding is not None and finding.reason is None and owner.most == 3


def test_a_stream_of_chunks_with_an_async_postprocess() -> None:
    class Both(Plain):
        def predict(self, request: Body) -> Any:
            yield from ({"number": number} for number in range(3))

        postprocess = All.postprocess

    flow = made(Both())
    assert list(flow.answer([flow.open(frame(1, 1))])) == []
    assert flow.streams is not None
    chunks = [flow.streams.step() for _ in range(3)]
    assert all(chunk and json.loads(chunk.body)["seen"] for chunk in chunks)


def test_bodies_that_have_no_streams_are_told_so() -> None:
    flow = made(Streaming())
    request = frame(1, 3)
    request.kind = Kind.EVENT
    request.body = json_encode({"specversion": "1.0", "data": {"instances": [[3]]}})
    [(responses, _)] = flow.answer_all([request])
    assert responses[0].status == 400


def test_the_methods_around_requests_may_be_async() -> None:
    class Around:
        async def warmup(self) -> None:
            self.loop = asyncio.get_running_loop()

        async def health(self) -> str:
            assert asyncio.get_running_loop() is self.loop
            return "not well"

        async def close(self) -> None:
            raise KeyError("logged")

    lifecycle = Lifecycle(Around())
    lifecycle.warm_up()
    assert lifecycle.ailment() == "not well"
    lifecycle.close()

    class Failing:
        async def warmup(self) -> None:
            raise SystemExit(3)

    with pytest.raises(LoadError, match="SystemExit"):
        Lifecycle(Failing()).warm_up()


def test_the_event_loop_outlives_what_ends_its_run() -> None:
    async def ends() -> None:
        raise SystemExit(3)

    async def starts() -> None:
        await asyncio.create_task(ends())

    async def value() -> int:
        return 3

    with pytest.raises(SystemExit):
        coroutines.finished(starts())
    assert coroutines.finished(value()) == 3 == coroutines.finished(3)


def test_a_model_without_async_starts_no_event_loop() -> None:
    flow = made(Plain())
    assert answered(flow, frame(1, 1)) == [ok(1)]
    assert flow.tasks is None and not flow.ready().is_async
    assert made(Before()).ready().is_async


def test_what_is_async() -> None:
    class Called:
        async def __call__(self, request: Body) -> Body:
            return request

    async def yields(request: Body) -> AsyncIterator[Body]:
        yield request

    assert coroutines.is_async(Called()) and coroutines.is_async(All().predict)
    assert coroutines.is_async(functools.partial(All.predict, All()))
    assert not coroutines.is_async(yields) and not coroutines.is_async(Plain().predict)
