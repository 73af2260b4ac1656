"""The scaffold as an application of Ray Serve: deploy/ray.yaml names `application`.

Every replica loads the same InferenceModel as a worker does, and answers the same routes. It runs
in an environment of `ray[serve]` and requirements.txt, without KServe.
"""

import asyncio
import dataclasses
import logging
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from pathlib import Path

import ray
from ray import serve

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))  # src/ is where modules are found, as in the container

from common import logs  # noqa: E402
from common.config import Config, config_path  # noqa: E402
from common.errors import LoadError, Unanswered  # noqa: E402
from common.link.frames import Kind, Request, Response  # noqa: E402
from common.model_file import MODEL_DIRECTORY  # noqa: E402
from common.routes import OwnersRoute  # noqa: E402
from common.serving import asgi, metrics  # noqa: E402
from common.serving.applications import fallback_routes  # noqa: E402
from common.serving.asgi import Message, Receive, Scope, Send  # noqa: E402
from common.serving.predict_routes import version_fields  # noqa: E402
from common.serving.streams import Stream  # noqa: E402
from common.worker.flow import Flow  # noqa: E402
from common.worker.main import load  # noqa: E402
from common.worker.recovery import Broken, Stuck  # noqa: E402

logger = logging.getLogger(__name__)

LAST_ANSWERS_SECONDS = 1.0  # for answers to leave before the process ends


class Replica:
    """A replica's model. Requests that wait at the same time share a call of `predict`.

    Args:
        config: the scaffold's configuration.

    Raises:
        LoadError: the model cannot be loaded.
    """

    def __init__(self, config: Config) -> None:
        serving = config.serving
        self._limit = serving.predict_timeout_seconds
        # One thread loads and predicts, as in a worker: some frameworks keep settings by thread.
        # Serve's own thread stays free for health checks.
        self._thread = ThreadPoolExecutor(1, "model")
        self._flow = self._load(config)
        self._batched = serve.batch(max_batch_size=serving.max_batch_size, batch_wait_timeout_s=0)(
            self._answer
        )
        self._idle = asyncio.Event()
        self._idle.set()
        self._batches = metrics.Batches(config.name)
        self._progress = 0.0  # when the thread last showed that it goes forward
        self._stuck = self._broken = False
        self._waiting = 0
        metrics.QUEUE.set_function(lambda: self._waiting)
        self.draining = False  # Serve itself sends nothing more to a replica that is to end

    @property
    def ready(self) -> bool:
        """Whether a request would be answered now."""
        return not self._stuck

    @property
    def reads_context(self) -> bool:
        """Whether a hook reads what is said of a request beside its body."""
        return self._flow.ready().reads_context

    @property
    def own_routes(self) -> tuple[OwnersRoute, ...]:
        """The owner's routes."""
        return self._flow.ready().routes

    async def submit(self, kind: Kind, body: bytes, request_id: str, said: bytes = b"") -> Response:
        """Answer a body.

        Raises:
            Unanswered: predict takes, or took, longer than `predict_timeout_seconds`.
        """
        self._waiting += 1
        try:
            # Serve closes a batch while the call before still runs. Requests that wait here share
            # the next one.
            await self._idle.wait()
            answer = await self._batched(Request(0, kind, request_id, body, said))
        finally:
            self._waiting -= 1
        if isinstance(answer, Response):
            return answer
        raise Unanswered(*answer)

    async def submit_stream(
        self, kind: Kind, body: bytes, request_id: str, said: bytes = b""
    ) -> Response | Stream:
        """As `submit`: Serve gathers a batch of answers, so there are no streams."""
        return await self.submit(kind, body, request_id, said)

    async def _answer(self, requests: list[Request]) -> list[Response | tuple[int, str]]:
        """Answers to requests that arrived together; a status and its reason if one is too late."""
        if self._stuck:
            return [(503, "the model is not ready; try again later") for _ in requests]
        for ident, request in enumerate(requests):
            request.ident = ident
        answers: dict[int, Response] = {}
        self._idle.clear()
        try:
            self._progress = time.monotonic()
            await self._finish(self._thread.submit(self._work, requests, answers))
        finally:
            self._idle.set()
        limit = (
            f"predict took longer than {self._limit:g} seconds (predict_timeout_seconds);"
            " its replica was restarted"
        )
        missing = (504, limit)
        if self._broken:
            missing = (503, "the replica that had this request ended; try again")
        return [answers.get(request.ident, missing) for request in requests]

    def _work(self, requests: list[Request], answers: dict[int, Response]) -> None:
        """What the thread does: answer group by group."""
        for responses, stats in self._flow.answer_all(requests):
            answers.update((response.ident, response) for response in responses)
            self._progress = time.monotonic()
            if stats is not None:
                self._batches.observe(stats)

    async def _finish(self, work: "Future[None]") -> None:
        """Return when the thread is done, or has made no progress for too long."""
        done = asyncio.wrap_future(work)
        while (left := self._progress + self._limit - time.monotonic()) > 0:
            await asyncio.wait([done], timeout=left)
            if done.done():
                try:
                    done.result()
                except Broken as error:
                    self._broken = True
                    self._end("broken", f"the model can answer nothing more: {error}")
                except Stuck as error:
                    self._end("stuck", str(error))
                return
        self._end("stuck", "predict is stuck")

    def _end(self, reason: str, why: str) -> None:
        self._stuck = True
        metrics.WORKER_RESTARTS.labels(reason).inc()
        logger.error("%s; the replica ends and Serve starts another one in its place", why)
        # A thread cannot be ended, and Serve's health checks would take seconds to notice.
        asyncio.get_running_loop().call_later(LAST_ANSWERS_SECONDS, os._exit, 1)

    def _load(self, config: Config) -> Flow:
        limit = config.serving.load_timeout_seconds
        try:
            flow: Flow = self._thread.submit(load, config).result(limit)
        except TimeoutError:
            raise LoadError(
                f"the model was not loaded within {limit:g} seconds;"
                " raise serving.load_timeout_seconds in config.yaml"
            ) from None
        return flow


class Mounted:
    """An application behind Serve's proxy, which may prefix the paths and adds the request's id.

    Args:
        application: the application.
        fields: header fields that every answer has.
    """

    def __init__(
        self, application: asgi.ASGIApplication, fields: list[tuple[bytes, bytes]]
    ) -> None:
        self._application = application
        self._fields = fields

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_once(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in message["headers"] if header[0] != b"x-request-id"]
                message = {**message, "headers": [*headers, *self._fields]}
            await send(message)

        if scope["type"] == "http":
            scope = {
                **scope,
                "path": scope["path"].removeprefix(scope.get("root_path", "")),
                "root_path": "",
            }
        await self._application(scope, receive, send_once)


def build() -> Mounted:
    """What a replica serves, around a model that it has loaded; Serve calls it in each."""
    logs.configure()
    os.chdir(SOURCE)
    sys.path.append(
        str(MODEL_DIRECTORY.resolve())
    )  # at the end, so that the owner's modules hide no package
    config = dataclasses.replace(Config.read(config_path()), server="ray")
    replica = Replica(config)
    behind = fallback_routes.application(
        config, lambda: replica.ready, "ray", ray.__version__, own_routes=lambda: replica.own_routes
    )
    fields = [(name.encode(), value.encode()) for name, value in version_fields(config)]
    return Mounted(asgi.Application(config, replica, behind), fields)


application = serve.deployment(name="model")(serve.ingress(build)()).bind()
