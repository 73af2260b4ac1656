"""The workers of a server: requests are handed to them, dead and stuck ones are replaced.

A worker is sent no more than it can put into two batches; the rest waits here, so that a worker that dies takes only
what it was working on with it.
"""

import asyncio
import contextlib
import logging
import socket
import subprocess
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Protocol, cast

from ..config import Config
from ..errors import LoadError, Unanswered
from ..link import launch
from ..link.frames import LARGE_BYTES, Kind, Response, Splitter, Stats, request_head
from . import metrics
from .busy_poll import BusyPoll

logger = logging.getLogger(__name__)

WATCH_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
CLOSE_SECONDS = 5.0
MOST_AT_WORKER = 2048  # requests, where a batch may have more rows
FLUSH_PIECES = 32  # with so many the worker begins while the rest of the round is still being read


class Answer(Protocol):
    """What takes a response, or the reason why there is none: a future, or the like of one."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, response: Response, /) -> None: ...
    def set_exception(self, error: Unanswered, /) -> None: ...


@dataclass(slots=True)
class Job:
    """A request that waits for its answer.

    Attributes:
        frame: the request, as it is sent, in parts.
        since: when it began to wait, on the clock of `time.monotonic`; first in the queue, then at a worker.
    """

    ident: int
    frame: list[bytes]
    answer: Answer
    since: float


@dataclass(eq=False)
class Worker(asyncio.Protocol):
    """One worker process as the server sees it.

    Attributes:
        jobs: what it was sent and has not answered, by ident.
        outgoing: frames of this round of the loop, in pieces: written together, they likelier share a call of predict.
        progress: when it last showed that it goes forward.
        ready: whether it has loaded the model.
    """

    pool: "Pool"
    process: "subprocess.Popen[bytes]"
    loaded: "asyncio.Future[None]"
    jobs: dict[int, Job] = field(default_factory=dict)
    outgoing: list[bytes] = field(default_factory=list)
    progress: float = 0.0
    stuck: bool = False
    ready: bool = False
    transport: asyncio.Transport | None = None
    splitter: Splitter = field(default_factory=Splitter)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        self.progress = time.monotonic()
        for frame in self.splitter.feed(data):
            response = Response.unpack(frame)
            if response.ident:
                self.pool.answered(self, response)
            else:
                self._told(response)
        if not self.jobs:
            self.pool.busy_poll.stop()

    def _told(self, response: Response) -> None:
        """What the worker says of itself."""
        if response.kind == Kind.STATS:
            # Its requests are answered first: they wake up in the order in which they were told to.
            self.loaded.get_loop().call_soon(
                lambda: self.pool.batches.observe(Stats.unpack(response.body))
            )
        elif response.kind == Kind.READY and not self.loaded.done():
            self.ready = True
            self.loaded.set_result(None)
        elif response.kind == Kind.FAILED and not self.loaded.done():
            self.loaded.set_exception(LoadError(response.body.decode()))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.loaded.done():
            self.loaded.set_exception(
                LoadError("the worker ended while it loaded the model; its last lines say why")
            )
        self.pool.lost(self)

    def send(self, job: Job) -> None:
        job.since = time.monotonic()
        if not self.jobs:
            self.progress = job.since
        if not self.outgoing:
            self.loaded.get_loop().call_soon(self._flush)
        self.jobs[job.ident] = job
        self.outgoing += job.frame
        if len(self.jobs) == 1:
            self.pool.busy_poll.start()
        else:
            self.pool.busy_poll.stop()
        if len(self.outgoing) >= FLUSH_PIECES:
            self._flush()

    def _flush(self) -> None:
        parts, self.outgoing = self.outgoing, []
        if self.transport is None or self.transport.is_closing():
            return
        if sum(map(len, parts)) < LARGE_BYTES:
            self.transport.write(b"".join(parts))
        else:
            self.transport.writelines(parts)

    def kill(self) -> None:
        """End the process at once; `connection_lost` follows."""
        if self.process.poll() is None:
            self.process.kill()
        if self.transport is not None:
            self.transport.abort()


class Pool:
    """The workers and what waits for them.

    Args:
        config: the scaffold's configuration.

    Attributes:
        busy_poll: what keeps the loop awake while a request is alone at a worker.
    """

    busy_poll: BusyPoll

    def __init__(self, config: Config) -> None:
        self._config = config
        self._serving = config.serving
        self._window = min(2 * config.serving.max_batch_size, MOST_AT_WORKER)
        self._workers: list[Worker] = []
        self._queue: deque[Job] = deque()
        self._ident = 0
        self.batches = metrics.Batches(config.name)
        self.draining = False
        self._closing = False
        self._loop: (
            asyncio.AbstractEventLoop
        )  # asked for once: Python 3.10 and 3.11 call the system for it
        self._replacing = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether the server wants requests: a worker is loaded and warmed up, and nobody said to stop."""
        return not self.draining and self._able

    @property
    def _able(self) -> bool:
        return any(worker.ready for worker in self._workers)

    @property
    def waiting(self) -> int:
        """How many requests wait or are being answered."""
        return len(self._queue) + sum(len(worker.jobs) for worker in self._workers)

    async def start(self, started: list[tuple["subprocess.Popen[bytes]", socket.socket]]) -> None:
        """Take over workers that were started; returns when each has loaded its model.

        Raises:
            LoadError: one could not.
        """
        self._loop = asyncio.get_running_loop()
        free = launch.cores() > self._serving.workers
        self.busy_poll = BusyPoll(self._serving.poll_seconds if free else 0)
        self._spawn(self._watch())
        for child, connection in started:
            await self._adopt(child, connection)
        await asyncio.gather(*(self._loaded(worker) for worker in self._workers))

    def submit(self, kind: Kind, body: bytes, request_id: str) -> "asyncio.Future[Response]":
        """Hand a request to a worker, or let it wait for one; raises what `ask` does."""
        answer: asyncio.Future[Response] = self._loop.create_future()
        self.ask(kind, [body], request_id, answer)
        return answer

    def ask(self, kind: Kind, parts: list[bytes], request_id: str, answer: Answer) -> None:
        """Hand a request, its body in parts, to a worker, or let it wait for one, and tell `answer` what came of it.

        Raises:
            Unanswered: the queue is full, or no worker is there to wait for.
        """
        if len(self._queue) >= self._serving.max_queue:
            raise Unanswered(
                503, f"{self._serving.max_queue} requests are waiting already; try again later"
            )
        if self._closing or not (self._workers or self._replacing):
            raise Unanswered(503, "the model is not ready; try again later")
        self._ident += 1
        size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        frame = [request_head(self._ident, kind, request_id, size), *parts]
        job = Job(self._ident, frame, answer, time.monotonic())
        worker = self._free()
        if worker is None:
            self._queue.append(job)
        else:
            worker.send(job)

    def answered(self, worker: Worker, response: Response) -> None:
        """A worker's answer: to whom it belongs, and the next request to the worker."""
        job = worker.jobs.pop(response.ident, None)
        if job is not None and not job.answer.done():
            job.answer.set_result(response)
        if self._queue:
            self._hand_out()

    def lost(self, worker: Worker) -> None:
        """A worker is gone: fail what it was working on, start another."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        self._bury(worker)
        now = time.monotonic()
        for job in worker.jobs.values():
            late = worker.stuck and now - job.since >= self._serving.predict_timeout_seconds
            self._fail(job, *self._reason(late))
        worker.jobs.clear()
        if worker.ready and not self._closing:
            reason = "stuck" if worker.stuck else "died"
            metrics.WORKER_RESTARTS.labels(reason).inc()
            logger.error("worker %d %s, another one takes its place", worker.process.pid, reason)
            self._replacing += 1
            self._spawn(self._replace())

    async def close(self) -> None:
        """Let the workers end. What still waits is failed."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        for job in self._queue:
            self._fail(job, 503, "the server is stopping")
        self._queue.clear()
        for worker in list(self._workers):
            if worker.transport is not None:
                worker.transport.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for worker in list(self._workers):
            while worker.process.poll() is None and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            worker.kill()

    def _reason(self, late: bool) -> tuple[int, str]:
        if late:
            limit = self._serving.predict_timeout_seconds
            return (
                504,
                f"predict took longer than {limit:g} seconds (predict_timeout_seconds); its worker was restarted",
            )
        return 503, "the worker that had this request ended; try again"

    def _fail(self, job: Job, status: int, message: str) -> None:
        if not job.answer.done():
            job.answer.set_exception(Unanswered(status, message))

    def _free(self) -> Worker | None:
        """The worker with the least to do, where one has room."""
        best = None
        for worker in self._workers:
            room = worker.ready and len(worker.jobs) < self._window
            if room and (best is None or len(worker.jobs) < len(best.jobs)):
                best = worker
        return best

    def _hand_out(self) -> None:
        while self._queue:
            worker = self._free()
            if worker is None:
                return
            job = self._queue.popleft()
            if not job.answer.done():
                worker.send(job)

    async def _adopt(self, child: "subprocess.Popen[bytes]", connection: socket.socket) -> Worker:
        loop = asyncio.get_running_loop()
        worker = Worker(self, child, loop.create_future())
        worker.loaded.add_done_callback(_seen)
        self._workers.append(worker)
        connection.setblocking(False)
        await loop.create_unix_connection(lambda: worker, sock=connection)
        return worker

    async def _replace(self) -> None:
        """Start a worker in place of one that is gone, again and again until it is ready, with pauses between."""
        pause = 1.0
        while not await self._restarted(pause):
            self._refuse_waiting()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._replacing += 1
        self._hand_out()

    async def _restarted(self, pause: float) -> bool:
        """Whether a worker could be started and has loaded the model."""
        worker = None
        try:
            worker = await self._adopt(*launch.start(self._config))
            await self._loaded(worker)
        except (LoadError, OSError) as error:
            logger.error(
                "a worker could not be restarted, the next try is in %g seconds: %s", pause, error
            )
            if worker is not None:
                self.lost(worker)
            return False
        finally:
            self._replacing -= 1
        return True

    async def _loaded(self, worker: Worker) -> None:
        """Returns when the worker is ready.

        Raises:
            LoadError: it cannot load the model, or took longer than `load_timeout_seconds`.
        """
        limit = self._serving.load_timeout_seconds
        try:
            await asyncio.wait_for(asyncio.shield(worker.loaded), limit)
        except asyncio.TimeoutError:
            worker.kill()
            raise LoadError(
                f"the model was not loaded within {limit:g} seconds; raise serving.load_timeout_seconds in config.yaml"
            ) from None

    def _refuse_waiting(self) -> None:
        if not self._workers:
            for job in self._queue:
                self._fail(job, 503, "the model is not ready; try again later")
            self._queue.clear()

    def _bury(self, worker: Worker) -> None:
        """End what is left of a worker's process and collect its exit status."""
        worker.kill()
        with contextlib.suppress(
            RuntimeError
        ):  # the loop is closing: the exit status has no reader any more
            asyncio.get_running_loop().run_in_executor(None, worker.process.wait)

    async def _watch(self) -> None:
        """Find workers that are dead or stuck, and requests that have waited too long for one."""
        limit = self._serving.predict_timeout_seconds
        while True:
            await asyncio.sleep(min(WATCH_SECONDS, limit / 4))
            now = time.monotonic()
            for worker in list(self._workers):
                worker.stuck = worker.ready and bool(worker.jobs) and now - worker.progress > limit
                if worker.stuck or worker.process.poll() is not None:
                    worker.kill()
            while self._queue and now - self._queue[0].since > limit and not self._able:
                self._fail(
                    self._queue.popleft(), 503, "no worker became ready in time; try again later"
                )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _seen(loaded: "asyncio.Future[None]") -> None:
    """Whoever waited may have gone before it failed: asyncio need not complain."""
    if not loaded.cancelled():
        loaded.exception()
