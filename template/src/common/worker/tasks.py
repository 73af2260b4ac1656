"""What runs in the event loop for requests, as the main thread sees it.

The main thread starts coroutines of the owner's, many at once, and goes on with other requests.
What they return comes back through a queue. A byte on a socket wakes the main thread for it.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import logging
import select
import socket
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from .. import current
from ..errors import TooLate
from ..link.frames import CREDIT, Kind, Response
from .coroutines import event_loop
from .event_loop import CLOSE_SECONDS
from .recovery import Stuck
from .streams import Stream, ended_by

logger = logging.getLogger(__name__)

MOST_BEAT_SECONDS = 1.0  # between two signs that the event loop goes on


@dataclass(slots=True)
class Came:
    """What a coroutine has come to.

    Attributes:
        value: what it returned, or yielded.
        error: what it raised.
        seconds: how long it ran.
        is_last: whether nothing more comes.
    """

    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    is_last: bool = True


class Slots:
    """So many may go on at once; the others wait in order. It belongs to the event loop."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came together with the end
                self.give()
            raise

    def give(self, count: int = 1) -> None:
        for _ in range(count):
            while self._waiting:
                turn = self._waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
                    break
            else:
                self._free += 1


@dataclass(eq=False, slots=True)
class Job:
    """A coroutine for a request, or an asynchronous generator.

    Attributes:
        then: goes on with what came, in the main thread.
        credit: how many chunks it may send.
        is_over: whether nobody waits for more of it.
        has_slot: whether it is one of those that go on at once.
        task: what runs it.
        timer: ends it when it takes too long.
    """

    then: Callable[[Came], Any]
    credit: Slots = field(default_factory=lambda: Slots(CREDIT))
    is_over: bool = False
    has_slot: bool = False
    task: "asyncio.Task[None] | None" = None
    timer: asyncio.TimerHandle | None = None


class Tasks:
    """Coroutines of the owner's that run for requests.

    Args:
        most: how many may go on at once.
        limit: how long one may take, in seconds.
    """

    def __init__(self, most: int, limit: float) -> None:
        self._loop = event_loop()
        self._slots = Slots(most)
        self._limit = limit
        self._beat_seconds = min(limit / 4, MOST_BEAT_SECONDS)
        self._reader, self._waker = socket.socketpair()
        self._reader.setblocking(False)
        self._waker.setblocking(False)
        self._came: deque[tuple[Job, Came]] = deque()
        self._is_woken = False
        self._jobs: set[Job] = set()
        self._streams: dict[int, Job] = {}
        self._asked, self._is_heard = 0.0, True

    # ---- in the main thread ----

    @property
    def pending(self) -> bool:
        """Whether more is to come."""
        return bool(self._jobs)

    def fileno(self) -> int:
        """What can be read when something has come."""
        return self._reader.fileno()

    def start(self, work: Awaitable[Any], request_id: str, then: Callable[[Came], Any]) -> None:
        """Run a coroutine, and then go on in the main thread.

        Args:
            work: the coroutine.
            request_id: of its request, for the log.
            then: makes of what came what `Flow.answer` takes.
        """
        job = Job(then)
        self._spawn(job, self._run(job, work), request_id)

    def stream(
        self, stream: Stream, through: Callable[[Any], Awaitable[Any]] | None = None
    ) -> None:
        """Send what an asynchronous generator yields, chunk by chunk.

        Args:
            stream: its `values` is the generator.
            through: what each value passes through in the event loop.
        """
        ident = stream.frame.ident
        job = Job(lambda came: self._chunk(stream, came))
        self._streams[ident] = job
        work = self._run_stream(job, stream.values, through)  # type: ignore[arg-type]
        self._spawn(job, work, stream.frame.request_id)

    def grant(self, ident: int, chunks: int) -> None:
        """Let a stream send so many chunks more."""
        job = self._streams.get(ident)
        if job is not None:
            self._loop.call(lambda: job.credit.give(chunks))

    def cancel(self, ident: int) -> Response | None:
        """End a stream, for which nobody waits any more; None where there is none."""
        job = self._streams.pop(ident, None)
        if job is None:
            return None
        self._end(job)
        return Response(ident, 200, Kind.END, b"")

    def came(self) -> list[Any]:
        """What has come, for `Flow.answer`."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(16)
        self._is_woken = False
        outcomes = []
        while self._came:
            job, came = self._came.popleft()
            if job not in self._jobs:
                continue
            if came.is_last:
                self._jobs.discard(job)
            outcome = job.then(came)
            if outcome is not None:
                outcomes.append(outcome)
        return outcomes

    def wait(self, *others: socket.socket) -> None:
        """Wait until something has come, or another socket can be read, for a moment at most."""
        poll = select.poll()
        for each in (self._reader, *others):
            poll.register(each, select.POLLIN)
        poll.poll(1000 * self._beat_seconds)

    def beat(self) -> Response | None:
        """Ask from time to time whether the event loop goes on, and tell the server that it does.

        Raises:
            Stuck: it has not answered for longer than the limit.
        """
        now = time.monotonic()
        if not self._jobs or now - self._asked < self._beat_seconds:
            return None
        if self._is_heard:
            self._is_heard, self._asked = False, now
            self._loop.call(self._hear)
            return Response(0, 200, Kind.ALIVE, b"")
        if now - self._asked > self._limit:
            raise Stuck("a hook blocks the event loop: await there, or write it without async")
        return None

    def close(self) -> None:
        """End all of them, and wait a moment for that."""
        ended = list(self._jobs)
        for job in ended:
            self._end(job)
        self._streams.clear()
        with contextlib.suppress(TimeoutError, concurrent.futures.TimeoutError):
            self._loop.run(self._ended(ended), 2 * CLOSE_SECONDS)
        self._reader.close()
        self._waker.close()

    def _spawn(self, job: Job, work: Coroutine[Any, Any, None], request_id: str) -> None:
        if not self._jobs:
            self._asked, self._is_heard = time.monotonic(), True
        self._jobs.add(job)
        context = contextvars.copy_context()
        context.run(current.request_id.set, request_id)

        def begin() -> None:
            job.task = self._loop.task(work, context)

        self._loop.call(begin)

    def _chunk(self, stream: Stream, came: Came) -> Response | None:
        """The next chunk of a stream, or its end."""
        ident = stream.frame.ident
        if came.error is not None:
            response = ended_by(stream, stream.failed(came.error))
        elif came.is_last:
            response = Response(ident, 200, Kind.END, b"")
        else:
            response = stream.made(came.value)
        if response.kind == Kind.CHUNK:
            stream.begun = True
        elif (job := self._streams.pop(ident, None)) is not None:
            self._end(job)
        return response

    def _end(self, job: Job) -> None:
        self._jobs.discard(job)
        job.is_over = True

        def cancel() -> None:
            if job.task is not None:
                job.task.cancel()

        self._loop.call(cancel)

    # ---- in the event loop ----

    async def _run(self, job: Job, work: Awaitable[Any]) -> None:
        try:
            await self._begin(job)
        except BaseException:
            if hasattr(work, "close"):
                work.close()  # else Python warns of a coroutine that never ran
            raise
        start = time.perf_counter()
        try:
            came = Came(await work)
        except BaseException as error:
            came = Came(error=error)
        finally:
            self._give_back(job)
        came.seconds = time.perf_counter() - start
        self._say(job, came)

    async def _run_stream(
        self,
        job: Job,
        values: AsyncGenerator[Any, None],
        through: Callable[[Any], Awaitable[Any]] | None,
    ) -> None:
        try:
            while not job.is_over:
                await job.credit.take()
                await self._begin(job)
                try:
                    came = await _next(values)
                    if through is not None and not came.is_last:
                        came.value = await through(came.value)
                finally:
                    self._give_back(job)
                self._say(job, came)
                if came.is_last:
                    return
        except BaseException as error:
            self._say(job, Came(error=error))
        finally:
            try:
                await values.aclose()
            except BaseException as error:  # of the owner's `finally`
                logger.error("the end of a stream failed", exc_info=error)

    async def _begin(self, job: Job) -> None:
        """Take a slot, and from now on no longer than the limit."""
        await self._slots.take()
        job.has_slot = True
        job.timer = self._loop.after(self._limit, lambda: self._end_late(job))

    def _end_late(self, job: Job) -> None:
        self._say(job, Came(error=TooLate(f"{self._limit:g} seconds (predict_timeout_seconds)")))
        self._give_back(job)  # it may take long to end
        if job.task is not None:
            job.task.cancel()

    def _give_back(self, job: Job) -> None:
        if job.timer is not None:
            job.timer.cancel()
        if job.has_slot:
            job.has_slot = False
            self._slots.give()

    def _say(self, job: Job, came: Came) -> None:
        """Tell the main thread what came, unless nobody waits for it."""
        if job.is_over:
            return
        job.is_over = came.is_last
        self._came.append((job, came))
        if not self._is_woken:
            self._is_woken = True
            # Later, so that what comes to its end together is answered together.
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def _hear(self) -> None:
        self._is_heard = True

    async def _ended(self, jobs: list[Job]) -> None:
        if tasks := [job.task for job in jobs if job.task is not None]:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)


async def _next(values: AsyncGenerator[Any, None]) -> Came:
    """What a generator yields next. `anext` with a default may crash Python 3.11."""
    try:
        return Came(await values.__anext__(), is_last=False)
    except StopAsyncIteration:
        return Came()
