"""The pool of worker processes: it distributes requests and replaces workers that die or hang.

A worker is sent at most two batches of requests, and the rest waits in the pool's queue. So a
worker that dies loses only what it was working on.
"""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Protocol, cast

from ..config import Config
from ..errors import LoadError, Unanswered
from ..link import launch
from ..link.child import Child, reap_orphans
from ..link.frames import LARGE_BYTES, Kind, Ready, Response, Splitter, Stats, request_head
from ..routes import OwnersRoute
from . import beside, metrics
from .busy_poll import BusyPoll
from .streams import Stream, refused

logger = logging.getLogger(__name__)

CHUNK, END = Kind.CHUNK, Kind.END  # a lookup in the enum takes longer than the comparison
WATCH_SECONDS = 0.1
MAX_RETRY_SECONDS = 30.0
CLOSE_SECONDS = 2.0  # for workers to end by themselves
OWNERS_CLOSE_SECONDS = 10.0  # and where the owner's code has something to close
HEALTH_SECONDS = 5.0  # between two questions to a worker for its health
MAX_IN_FLIGHT = 2048  # requests at a worker, where a batch may have more rows
STOPPING = "the server is stopping"
FIRST_PROCESS = 1  # of a container: what has lost its parent is left to it
FLUSH_PARTS = 32  # the worker starts on so many while the server still reads other requests


class Answer(Protocol):
    """Receives a response, or the reason why there is none: a future, or similar to one."""

    def done(self) -> bool:
        """Whether nobody waits for the answer any more."""

    def set_result(self, response: Response | Stream, /) -> None: ...
    def set_exception(self, error: Unanswered, /) -> None: ...


@dataclass(slots=True)
class Job:
    """A request that waits for its answer.

    Attributes:
        ident: its number, which the worker's response repeats.
        frame: the frame that is to be sent to the worker, in parts.
        answer: receives the response.
        since: when it was queued, then when it was sent, by `time.monotonic`.
        size: of its body, in bytes.
        takes_stream: whether the answer may come chunk by chunk.
        stream: the answer, once it has begun to come chunk by chunk.
    """

    ident: int
    frame: list[bytes]
    answer: Answer
    since: float
    size: int
    takes_stream: bool = False
    stream: Stream | None = None

    @property
    def is_held_up(self) -> bool:
        """Whether the worker waits for a client that reads slowly."""
        return self.stream is not None and self.stream.is_held_up


@dataclass(slots=True)
class Held:
    """The bytes of the bodies that the server holds, whole or half sent."""

    limit: int
    size: int = 0

    @property
    def is_full(self) -> bool:
        return self.size > self.limit


@dataclass(eq=False)
class Worker(asyncio.Protocol):
    """The connection to one worker process.

    Attributes:
        pool: the pool that it belongs to.
        process: the process.
        loaded: done when the model is loaded, or failed with a LoadError.
        jobs: what it was sent and has not answered, by ident.
        outgoing: parts of frames to write in this iteration of the event loop. Requests that are
            written together are likely to share a call of `predict`.
        progress: when it last sent something, by `time.monotonic`.
        stuck: whether it made no progress for `predict_timeout_seconds`.
        broken: why its model can answer nothing more; None while it can.
        ready: whether it has loaded the model, and nobody has stopped it.
        said: what it has said of the owner's code.
        ailment: why the model says that it is not well; empty where it does not.
        health_due: whether it was asked for its health, and has not answered.
        health_asked: when it was asked last, by `time.monotonic`.
        is_spare: whether it waits until others like it are ready, too.
        is_retired: whether another one has taken its place.
        streaming: how many of its jobs are streams that have begun.
    """

    pool: "Pool"
    process: Child
    loaded: "asyncio.Future[None]"
    jobs: dict[int, Job] = field(default_factory=dict)
    outgoing: list[bytes] = field(default_factory=list)
    progress: float = 0.0
    stuck: bool = False
    broken: str | None = None
    ready: bool = False
    said: Ready = Ready()
    ailment: str = ""
    health_due: bool = False
    health_asked: float = 0.0
    is_spare: bool = False
    is_retired: bool = False
    streaming: int = 0
    transport: asyncio.Transport | None = None
    splitter: Splitter = field(default_factory=Splitter)

    @property
    def has_loaded(self) -> bool:
        """Whether it has ever been ready."""
        return self.loaded.done() and not self.loaded.cancelled() and not self.loaded.exception()

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for it, who has read all that it has sent."""
        return self.health_due or any(not job.is_held_up for job in self.jobs.values())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        self.progress = time.monotonic()
        for frame in self.splitter.feed(data):
            response = Response.unpack(frame)
            if response.ident:
                self.pool.answered(self, response)
            else:
                self._handle_notice(response)
        if not self.jobs:
            self.pool.busy_poll.stop()
            if self.is_retired and self.transport is not None:
                self.transport.close()

    def _handle_notice(self, response: Response) -> None:
        """Handle a response that answers no request: the worker's state, or its statistics."""
        if response.kind == Kind.STATS:
            # Later, so that the requests of the batch are answered first.
            self.loaded.get_loop().call_soon(
                lambda: self.pool.batches.observe(Stats.unpack(response.body))
            )
        elif response.kind == Kind.READY and not self.loaded.done():
            self.ready = not (self.is_spare or self.is_retired)
            self.said = Ready.unpack(response.body)
            if not self.is_spare:
                self.pool.take(self.said)
            if self.said.tells_health:
                self.ask_health()
            self.loaded.set_result(None)
        elif response.kind == Kind.FAILED and not self.loaded.done():
            self.loaded.set_exception(LoadError(response.body.decode()))
        elif response.kind == Kind.HEALTH:
            self._take_health(response.body.decode())
        elif response.kind == Kind.STUCK:
            self.stuck = True
            self.kill()
        elif response.kind == Kind.BROKEN:
            self.broken = response.body.decode()
            self.kill()

    def tell(self, kind: Kind, ident: int, body: bytes = b"") -> None:
        """Say something about a request that it has."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(request_head(ident, kind, "", len(body)) + body)

    def ask_health(self) -> None:
        """Ask for the model's health, unless an answer is due."""
        if self.transport is None or self.health_due:
            return
        self.health_due, self.health_asked = True, time.monotonic()
        if not self.jobs:
            self.progress = self.health_asked
        self.transport.write(request_head(0, Kind.HEALTH, "health", 0))

    def _take_health(self, ailment: str) -> None:
        self.health_due = False
        if ailment and ailment != self.ailment:
            logger.warning("worker %d is not well: %s", self.process.pid, ailment)
        elif self.ailment and not ailment:
            logger.warning("worker %d is well again", self.process.pid)
        self.ailment = ailment

    def connection_lost(self, error: Exception | None) -> None:
        if not self.loaded.done():
            reason = "the worker ended while it loaded the model; its last lines say why"
            self.loaded.set_exception(LoadError(reason))
        self.pool.lost(self)

    def send(self, job: Job) -> None:
        """Write a request at the end of this iteration of the event loop, or sooner."""
        job.since = time.monotonic()
        if not self.jobs:
            self.progress = job.since
        if not self.outgoing:
            self.loaded.get_loop().call_soon(self._flush)
        self.jobs[job.ident] = job
        self.outgoing += job.frame
        job.frame = []  # so that it is freed once it is written
        if len(self.jobs) == 1:
            self.pool.busy_poll.start()
        else:
            self.pool.busy_poll.stop()
        if len(self.outgoing) >= FLUSH_PARTS:
            self._flush()

    def _flush(self) -> None:
        parts, self.outgoing = self.outgoing, []
        if self.transport is None or self.transport.is_closing():
            return
        if sum(map(len, parts)) < LARGE_BYTES:
            self.transport.write(b"".join(parts))
        else:
            self.transport.writelines(parts)

    def retire(self) -> None:
        """Take no more requests, and end once those that it has are answered."""
        self.is_retired, self.ready = True, False
        if not self.jobs and self.transport is not None:
            self.transport.close()

    def kill(self) -> None:
        """Kill the process and what it started. `connection_lost` follows."""
        self.ready = False
        self.process.kill()
        if self.transport is not None:
            self.transport.abort()


class Pool:
    """The workers, and the queue of requests that wait for one.

    Args:
        config: the scaffold's configuration.

    Attributes:
        batches: counts the workers' calls of `predict`.
        held: the bytes of the bodies that the server holds.
        busy_poll: keeps the event loop awake while a worker has a single request.
        draining: whether the server is about to stop.
        reads_context: whether a hook reads what is said of a request beside its body.
        own_routes: the owner's routes.
    """

    busy_poll: BusyPoll

    def __init__(self, config: Config) -> None:
        self._config = config
        self._serving = config.serving
        self._max_in_flight = min(2 * config.serving.max_batch_size, MAX_IN_FLIGHT)
        self._workers: list[Worker] = []
        self._queue: deque[Job] = deque()
        self._ident = 0
        self.batches = metrics.Batches(config.name)
        self.held = Held(max(config.serving.max_queue_bytes, config.serving.max_body_bytes))
        self.draining = self.reads_context = False
        self.own_routes: tuple[OwnersRoute, ...] = ()
        self._closing = False
        self._gpus: list[str | None] = []  # of each worker that there should be
        self._leaving: set[Worker] = set()  # they close what their models hold
        # Looked up once: in Python 3.10 and 3.11 each look-up is a system call.
        self._loop: asyncio.AbstractEventLoop
        self._replacing = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether clients should ask: a worker is ready and well, and the server does not drain."""
        return not self.draining and any(
            worker.ready and not worker.ailment for worker in self._workers
        )

    @property
    def _any_ready(self) -> bool:
        return any(worker.ready for worker in self._workers)

    @property
    def waiting(self) -> int:
        """The number of requests that wait or are being answered."""
        return len(self._queue) + sum(len(worker.jobs) for worker in self._workers)

    async def start(self, started: list[Child]) -> None:
        """Connect to workers that were started, and wait until each has loaded the model.

        Args:
            started: the workers, as `launch.start` returns them.

        Raises:
            LoadError: a worker cannot load the model.
        """
        self._loop = asyncio.get_running_loop()
        poll_seconds = self._serving.poll_seconds
        if launch.cores() <= self._serving.workers:
            poll_seconds = 0
        self.busy_poll = BusyPoll(poll_seconds)
        self._gpus = [child.gpu for child in started]
        self._spawn(self._watch())
        for child in started:
            await self._connect(child)
        await asyncio.gather(*(self._loaded(worker) for worker in self._workers))

    def submit(
        self, kind: Kind, body: bytes, request_id: str, said: bytes = b""
    ) -> "asyncio.Future[Response]":
        """Send a request to a worker, or queue it. Raises what `ask` does."""
        answer: asyncio.Future[Response] = self._loop.create_future()
        if self.reads_context and (current := beside.CURRENT.get()) is not None:
            said = current.sent
            answer.add_done_callback(lambda done: _take(current, done))
        self.ask(kind, [body], request_id, cast(Answer, answer), said)
        return answer

    def submit_stream(
        self, kind: Kind, body: bytes, request_id: str, said: bytes = b""
    ) -> "asyncio.Future[Response | Stream]":
        """As `submit`, where the answer may come chunk by chunk."""
        answer: asyncio.Future[Response | Stream] = self._loop.create_future()
        self.ask(kind, [body], request_id, answer, said, takes_stream=True)
        return answer

    def ask(
        self,
        kind: Kind,
        parts: list[bytes],
        request_id: str,
        answer: Answer,
        said: bytes = b"",
        takes_stream: bool = False,
    ) -> None:
        """Send a request to a worker, or queue it.

        Args:
            kind: what the body is.
            parts: the body, in parts.
            request_id: its request id, for the log.
            answer: receives the response.
            said: what the hooks are told beside it.
            takes_stream: whether the answer may come chunk by chunk.

        Raises:
            Unanswered: the queue is full, or there is no worker to wait for.
        """
        limit = self._serving.max_queue
        if len(self._queue) >= limit:
            raise Unanswered(503, f"{limit} requests are waiting already; try again later")
        if self._closing or not (self._workers or self._replacing):
            raise Unanswered(503, "the model is not ready; try again later")
        self._ident += 1
        size = sum(map(len, parts))
        held = self.held
        held.size += size
        if held.size > held.limit and held.size > size and not self._has_room():
            held.size -= size
            raise Unanswered(503, full(self.held.limit))
        frame = [request_head(self._ident, kind, request_id, size, said), *parts]
        job = Job(self._ident, frame, answer, time.monotonic(), size, takes_stream)
        worker = self._least_busy()
        if worker is None:
            self._queue.append(job)
        else:
            worker.send(job)

    def take(self, said: Ready) -> None:
        """Take what a worker says of the owner's code."""
        self.reads_context, self.own_routes = said.reads_context, said.routes
        serving = self._serving
        at_once = max(serving.max_batch_size, said.is_async and serving.max_concurrency)
        self._max_in_flight = min(2 * at_once, MAX_IN_FLIGHT)

    def answered(self, worker: Worker, response: Response) -> None:
        """Deliver a worker's response, and send the worker what waits."""
        if response.kind == CHUNK:
            self._stream(worker, response)
            return
        job = worker.jobs.pop(response.ident, None)
        if job is not None:
            self.held.size -= job.size
            if response.kind == END:
                stream = job.stream or self._begin_stream(worker, job, response)
                stream.end(response.body or None)
                worker.streaming -= 1
            elif not job.answer.done():
                job.answer.set_result(response)
        if self._queue:
            self._dispatch()

    def _stream(self, worker: Worker, response: Response) -> None:
        """Deliver a chunk."""
        job = worker.jobs.get(response.ident)
        if job is None:
            return
        stream = job.stream or self._begin_stream(worker, job, response)
        stream.feed(response.body)
        if self._queue:
            self._dispatch()  # a stream takes no place of a request

    def _begin_stream(self, worker: Worker, job: Job, first: Response) -> Stream:
        ident = job.ident
        worker.streaming += 1
        stream = job.stream = Stream(
            first,
            lambda count: worker.tell(Kind.MORE, ident, count.to_bytes(4, "big")),
            lambda: worker.tell(Kind.CANCEL, ident),
        )
        if job.answer.done():
            stream.cancel()
        elif job.takes_stream:
            job.answer.set_result(stream)
        else:
            job.answer.set_exception(refused(stream))
        return stream

    def lost(self, worker: Worker) -> None:
        """Fail the requests of a worker that ended, and start another one."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        if not self._closing:  # else `close` gives it the time to end by itself
            self._end(worker)
        now = time.monotonic()
        for job in worker.jobs.values():
            late = worker.stuck and now - job.since >= self._serving.predict_timeout_seconds
            self._fail(job, *self._loss(late))
        worker.jobs.clear()
        replaced = worker.is_spare or worker.is_retired
        if worker.has_loaded and not self._closing and not replaced:
            self._log_loss(worker)
            self._replacing += 1
            self._spawn(self._replace(worker.process.gpu))

    async def reload(self) -> None:
        """Replace the workers by new ones that read the files as they are now.

        Where the new ones cannot load the model, the others go on.
        """
        new: list[Worker] = []
        try:
            for gpu in self._gpus:
                child = launch.start(self._config, gpu=gpu)
                new.append(await self._connect(child, is_spare=True))
            for worker in new:
                await self._loaded(worker)
            if any(worker not in self._workers for worker in new):
                raise LoadError("a new worker ended while others loaded the model")
        except (LoadError, OSError) as error:
            logger.error("not loaded: %s; the model goes on as it was before the change", error)
            for worker in new:
                worker.retire()
            return
        for worker in new:
            worker.is_spare, worker.ready = False, True
            self.take(worker.said)
        for worker in self._workers:
            if worker not in new:  # one that loads now may have read the files before
                worker.retire()
        logger.warning("the model was loaded again")
        self._dispatch()

    async def close(self) -> None:
        """Stop the workers. Requests that still wait fail with 503."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        for job in self._queue:
            self._fail(job, 503, STOPPING)
        self._queue.clear()
        workers = [*self._workers, *self._leaving]
        for worker in workers:
            if worker.transport is not None:
                worker.transport.close()
        start = time.monotonic()
        for worker in workers:
            await _until_ended(worker, start)
            worker.kill()

    def _log_loss(self, worker: Worker) -> None:
        reason = what = "died"
        if worker.stuck:
            reason, what = "stuck", "stuck in health()" if worker.health_due else "stuck"
        if worker.broken is not None:
            reason, what = "broken", f"broken ({worker.broken})"
        metrics.WORKER_RESTARTS.labels(reason).inc()
        logger.error("worker %d %s; starting another one", worker.process.pid, what)

    def _loss(self, late: bool) -> tuple[int, str]:
        """The status and the message for a request whose worker ended."""
        if self._closing:
            return 503, STOPPING
        if not late:
            return 503, "the worker that had this request ended; try again"
        limit = f"{self._serving.predict_timeout_seconds:g} seconds (predict_timeout_seconds)"
        return 504, f"predict took longer than {limit}; its worker was restarted"

    def _has_room(self) -> bool:
        """Whether there is room once what waits for clients that are gone is dropped."""
        waiting = [job for job in self._queue if not job.answer.done()]
        self.held.size -= sum(job.size for job in self._queue if job.answer.done())
        self._queue = deque(waiting)
        return not self.held.is_full

    def _fail(self, job: Job, status: int, message: str) -> None:
        self.held.size -= job.size
        error = Unanswered(status, message)
        if job.stream is not None:
            job.stream.end(json.dumps({"error": message}).encode())
        elif not job.answer.done():
            job.answer.set_exception(error)

    def _least_busy(self) -> Worker | None:
        """The worker with the fewest requests; None if all are full."""
        best = None
        for worker in self._workers:
            asked = len(worker.jobs) - worker.streaming
            room = worker.ready and asked < self._max_in_flight
            if room and (best is None or len(worker.jobs) < len(best.jobs)):
                best = worker
        return best

    def _dispatch(self) -> None:
        """Send what waits to workers that have room."""
        while self._queue:
            worker = self._least_busy()
            if worker is None:
                return
            job = self._queue.popleft()
            if job.answer.done():
                self.held.size -= job.size
            else:
                worker.send(job)

    async def _connect(self, child: Child, is_spare: bool = False) -> Worker:
        loop = asyncio.get_running_loop()
        worker = Worker(self, child, loop.create_future(), is_spare=is_spare)
        worker.loaded.add_done_callback(_retrieve)
        self._workers.append(worker)
        child.connection.setblocking(False)
        await loop.create_unix_connection(lambda: worker, sock=child.connection)
        return worker

    async def _replace(self, gpu: str | None) -> None:
        """Start a worker, again after a pause if it fails, until one is ready.

        Args:
            gpu: the GPU of the worker that it replaces.
        """
        pause = 1.0
        while not await self._restarted(pause, gpu):
            self._refuse_waiting()
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RETRY_SECONDS)
            self._replacing += 1
        self._dispatch()

    async def _restarted(self, pause: float, gpu: str | None) -> bool:
        """Start a worker and wait until it is ready.

        Args:
            pause: how long the pause after a failure is, in seconds; for the log.
            gpu: the GPU that it alone sees; None for all that it may see.

        Returns:
            Whether it is ready.
        """
        worker = None
        try:
            if self._is_complete:  # by a reload
                return True
            worker = await self._connect(launch.start(self._config, gpu=gpu))
            await self._loaded(worker)
        except (LoadError, OSError) as error:
            if worker is not None and worker.is_retired:  # by a reload
                return True
            logger.error(
                "a worker could not be restarted; retrying in %g seconds: %s", pause, error
            )
            if worker is not None:
                self.lost(worker)
            return False
        finally:
            self._replacing -= 1
        return True

    async def _loaded(self, worker: Worker) -> None:
        """Wait until a worker is ready.

        Raises:
            LoadError: it cannot load the model, or takes longer than `load_timeout_seconds`.
        """
        limit = self._serving.load_timeout_seconds
        try:
            await asyncio.wait_for(asyncio.shield(worker.loaded), limit)
        except asyncio.TimeoutError:
            worker.kill()
            raise LoadError(
                f"the model was not loaded within {limit:g} seconds; "
                "raise serving.load_timeout_seconds in config.yaml"
            ) from None

    def _refuse_waiting(self) -> None:
        """Fail what waits if there is no worker to wait for."""
        if not self._workers:
            for job in self._queue:
                self._fail(job, 503, "the model is not ready; try again later")
            self._queue.clear()

    @property
    def _is_complete(self) -> bool:
        """Whether there are as many workers as there should be."""
        staying = [one for one in self._workers if not (one.is_spare or one.is_retired)]
        return len(staying) >= len(self._gpus)

    def _end(self, worker: Worker) -> None:
        """End a worker's process. One that a reload has replaced may close what it holds."""
        if not (worker.is_retired and worker.said.closes):
            return self._reap(worker)
        self._leaving.add(worker)
        return self._spawn(self._let_leave(worker))

    async def _let_leave(self, worker: Worker) -> None:
        await _until_ended(worker, time.monotonic())
        self._leaving.discard(worker)
        self._reap(worker)

    def _reap(self, worker: Worker) -> None:
        """Kill a worker's process if it still runs, and collect its exit status."""
        worker.kill()
        with contextlib.suppress(RuntimeError):  # the loop is closing: nobody needs the status
            asyncio.get_running_loop().run_in_executor(None, worker.process.wait)

    async def _watch(self) -> None:
        """Kill workers that hang, and fail requests that waited too long for a worker."""
        limit = self._serving.predict_timeout_seconds
        while True:
            await asyncio.sleep(min(WATCH_SECONDS, limit / 4))
            now = time.monotonic()
            for worker in list(self._workers):
                waits = worker.has_loaded and worker.is_asked
                worker.stuck = waits and now - worker.progress > limit
                if worker.stuck or worker.process.ended:
                    worker.kill()
                else:
                    takes_part = not (worker.is_spare or worker.is_retired)
                    worker.ready = takes_part and worker.has_loaded and not worker.process.stopped
                if worker.said.tells_health and now - worker.health_asked >= HEALTH_SECONDS:
                    worker.ask_health()
            if self._queue:
                self._dispatch()  # to one that goes on
            if os.getpid() == FIRST_PROCESS:
                reap_orphans()
            while self._queue and now - self._queue[0].since > limit and not self._any_ready:
                late = self._queue.popleft()
                self._fail(late, 503, "no worker became ready in time; try again later")

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _until_ended(worker: Worker, since: float) -> None:
    """Wait until a worker's process ends by itself, as long as it may take.

    Args:
        worker: the worker, whose connection is closed.
        since: when it was closed, by `time.monotonic`.
    """
    limit = OWNERS_CLOSE_SECONDS if worker.said.closes else CLOSE_SECONDS
    while not worker.process.ended and time.monotonic() < since + limit:
        await asyncio.sleep(0.02)


def full(limit: int) -> str:
    """The message for a body that there is no room for."""
    return f"bodies of {limit} bytes are held already (serving.max_queue_bytes); try again later"


def _take(current: beside.Beside, done: "asyncio.Future[Response]") -> None:
    if not done.cancelled() and done.exception() is None:
        current.take(done.result())


def _retrieve(loaded: "asyncio.Future[None]") -> None:
    """Retrieve the exception: asyncio warns about one that nobody has retrieved."""
    if not loaded.cancelled():
        loaded.exception()
