"""A worker: one process of the model's environment that owns one loaded model.

    python -m common.worker FD LIFELINE

FD is an open Unix socket, LIFELINE what `link/guardian.py` watches. The server first sends the
configuration. The worker answers that it is ready, or why it failed, and then answers requests
until the server closes the socket.
"""

import contextlib
import functools
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from typing import Any

from .. import logs
from ..config import Config, Serving
from ..errors import ConfigError, LoadError, text_of
from ..link import guardian, launch
from ..link.frames import Frame, Kind, Request, Response, Splitter, receive
from ..link.lifeline import keep_from_forks
from ..model_file import MODEL_DIRECTORY
from . import gpu
from .batch_window import BatchWindow

logger = logging.getLogger(__name__)

# With more frames than this, polling does not pay: the next one comes soon, and the server needs
# the processor to read what the clients send.
FEW_FRAMES = 8
AT_ONCE_SECONDS = 0.00005  # reading what has already arrived takes less
MOST_SECONDS = 0.1  # of decoding a large body before smaller ones are answered again
STOPPING = (signal.SIGINT, signal.SIGTERM)
METHODS = ("load", "preprocess", "predict", "postprocess")


def main() -> None:
    """Serve the model over the socket that the command line names."""
    descriptor, lifeline = map(int, sys.argv[1:])
    guardian.start(lifeline, descriptor)
    logs.configure()
    # The owner's modules keep the names that they had in training. Last, so that none hides a
    # package.
    sys.path.append(str(MODEL_DIRECTORY.resolve()))
    connection = _connect(descriptor)
    splitter = Splitter()
    try:
        first, *rest = receive(connection, splitter)
        config = Config.from_document(json.loads(bytes(Request.unpack(first).body)))
        flow = _start(connection, config)
    except (EOFError, ConnectionError):
        return  # the server has ended: nobody waits for an answer
    if flow is None:
        return
    from .streams import Streams

    flow.streams = Streams()
    try:
        _serve_until_broken(connection, splitter, flow, rest, config.serving)
    except (EOFError, ConnectionError):
        flow.close()


def _connect(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    connection = socket.socket(fileno=descriptor)
    # The server stops a worker by closing the socket. A command that the owner's code runs gets no
    # handler of ours, but would ignore what is ignored here.
    for number in STOPPING:
        signal.signal(number, lambda *_: None)
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING),
        after_in_child=_end_as_usual,
    )
    keep_from_forks(connection)  # the server waits until nobody holds it
    return connection


def _end_as_usual() -> None:
    """Let the signals end a forked process as they do outside a server."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _start(connection: socket.socket, config: Config) -> Any:
    """Load the model and tell the server; None if that failed."""
    try:
        flow = load(config)
    except LoadError as error:
        connection.sendall(Response(0, 500, Kind.FAILED, str(error).encode()).pack())
        return None
    gc.collect()
    gc.freeze()  # collections that examine all of the framework would take tens of milliseconds
    connection.sendall(Response(0, 200, Kind.READY, flow.ready().pack()).pack())
    return flow


def load(config: Config) -> Any:
    """Load the owner's InferenceModel and warm it up.

    Returns:
        The Flow that answers requests with it.

    Raises:
        LoadError: it cannot be imported or loaded.
    """
    _ensure_temporary_directory()
    _set_sklearn_config(config.model.sklearn_config)
    flows, sharings = _import("common.worker.flow"), _import("common.worker.sharing")
    bodies, recoveries = _import("common.bodies.v2.v2_codec"), _import("common.worker.recovery")
    if config.framework in ("sklearn", "xgboost", "lightgbm", "catboost"):
        with contextlib.suppress(ImportError):
            importlib.import_module("scipy.sparse")
    _prepare_gpu(config)
    logs.reset_warnings()  # after numpy's and SciPy's filters, before the owner's
    model = _inference_model(config)
    try:
        _import("common.worker.coroutines").finished(model.load())
    except LoadError:
        raise
    except (Exception, SystemExit) as error:
        logger.error("load() failed", exc_info=error)
        raise LoadError(f"the model cannot be loaded: {_reason(error)}") from error
    gpu.check(config)
    v2 = bodies.V2(config.name, config.model.input, config.model.version)
    options = _import("common.worker.options").Options.of_config(config)
    sharing, fixed_size = sharings.of_config(config), sharings.fixed_size(config)
    grpc = _grpc(config)
    first = _import("common.worker.first_rows").FirstRows(model, config.model.input, grpc)
    flow = flows.Flow(
        model,
        sharing,
        v2,
        fixed_size,
        options,
        grpc,
        first,
        config.serving.max_answer_bytes,
        config.model.input,
        config.model.version,
        config.serving.max_concurrency,
        config.serving.predict_timeout_seconds,
    )
    flow.lifecycle.warm_up()
    try:
        _warm_up(flow, config)
        _try_example(flow, config)
    except (recoveries.Broken, recoveries.Stuck) as error:
        raise LoadError(f"the model cannot predict: {error}") from error
    return flow


def _prepare_gpu(config: Config) -> None:
    try:
        gpu.prepare(config)
    except Exception as error:
        logger.warning("the GPU cannot be prepared: %s", _reason(error))


def _grpc(config: Config) -> Any:
    """What decodes and encodes gRPC's messages; None if no port is set for them."""
    if not config.serving.grpc_port:
        return None
    codec = _import("common.bodies.v2.grpc_codec")
    return codec.ModelInfer(config.name, config.model.input, config.model.version)


def _set_sklearn_config(settings: dict[str, Any] | None) -> None:
    """Set what was set when the model was trained, for this thread, which predicts too."""
    if not settings:
        return
    if settings.get("array_api_dispatch"):
        os.environ.setdefault("SCIPY_ARRAY_API", "1")  # which SciPy reads when it is imported
    coroutines = _import("common.worker.coroutines")
    try:
        set_config = functools.partial(importlib.import_module("sklearn").set_config, **settings)
        set_config()
        coroutines.OF_A_THREAD.append(set_config)
    except (ImportError, TypeError, ValueError, RuntimeError) as error:
        raise LoadError(
            f"model.sklearn_config in config.yaml cannot be set: {_reason(error)}"
        ) from error


def _ensure_temporary_directory() -> None:
    """Use shared memory if no directory is writable: TensorFlow cannot start without one."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        os.environ["TMPDIR"] = "/dev/shm"


def _inference_model(config: Config) -> Any:
    module = _import("server.inference_model")
    factory = getattr(module, "InferenceModel", None)
    if not isinstance(factory, type):
        raise LoadError("src/server/inference_model.py must define a class InferenceModel")
    if missing := [name for name in METHODS if not callable(getattr(factory, name, None))]:
        raise LoadError(
            f"InferenceModel in src/server/inference_model.py lacks the method {missing[0]}()"
        )
    try:
        return factory(config)
    except ConfigError as error:
        raise LoadError(str(error)) from error
    except Exception as error:
        logger.error("InferenceModel(config) failed", exc_info=error)
        reason = _reason(error)
        raise LoadError(
            f"InferenceModel(config) in src/server/inference_model.py failed: {reason}"
        ) from error


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        logger.error("%s cannot be imported", name, exc_info=error)
        file = f"src/{name.replace('.', '/')}.py"
        raise LoadError(f"{file} cannot be imported: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """One line: the error, and how to fix it if that is known."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {error.filename}: {error.msg}"
    line = f"{type(error).__name__}: {' '.join(text_of(error).split())}"
    if isinstance(error, ModuleNotFoundError):
        fix = "add the package that provides it to requirements.txt, or the module to src/model/"
        return f"{line}; {fix}"
    if gpu.NEEDED.search(line):
        return f"{gpu.FIX} ({line})"
    return line


def _warm_up(flow: Any, config: Config) -> None:
    """Answer the example of `config.yaml`, so that the first request is as fast as the others."""
    if config.model.example is None:
        return
    body = json.dumps({"instances": config.model.example}).encode()
    refusal = flow.refusal(body, "warm-up")
    if refusal is None:
        flow.try_after_failures(body)
        return
    logger.warning(
        "model.example in config.yaml gets no prediction, correct it or set it to null: %s", refusal
    )


def _try_example(flow: Any, config: Config) -> None:
    """Try whether the example's rows are independent, before requests share calls of predict."""
    if config.model.example is None:
        return
    others: list[dict[str, Any]] = [{}]
    if getattr(config.model.output, "probabilities", False):
        others.append({"probabilities": True})
    flow.try_example(config.model.example, others)


def _serve_until_broken(
    connection: socket.socket, splitter: Splitter, flow: Any, first: list[Frame], serving: Serving
) -> None:
    from .recovery import Broken, Stuck  # numpy is there once the model is loaded

    try:
        _serve(connection, splitter, flow, first, serving)
    except Broken as error:
        connection.sendall(Response(0, 500, Kind.BROKEN, str(error).encode()).pack())
    except Stuck as error:
        logger.error("%s", error)
        connection.sendall(Response(0, 500, Kind.STUCK, str(error).encode()).pack())


def _serve(
    connection: socket.socket, splitter: Splitter, flow: Any, first: list[Frame], serving: Serving
) -> None:
    poll_seconds = serving.poll_seconds
    if launch.cores() == 1:
        poll_seconds = 0
    window = BatchWindow()
    large: deque[Request] = deque()
    opened = _open(flow, first or receive(connection, splitter), large)
    while True:
        begin = time.perf_counter()
        _answer(connection, flow, opened)
        served, end = len(opened), time.perf_counter()
        if served:
            window.observe(served, end - begin)
        while large:
            _serve_large(connection, splitter, flow, large)
        if flow.tasks is not None and flow.tasks.pending:
            _go_on(connection, flow)
            flow.tasks.wait(connection)
            opened = _open_ready(connection, splitter, flow, large)
            continue
        if flow.streams.can_go_on:
            _go_on(connection, flow)
            frames = receive(connection, splitter)
        elif served <= FEW_FRAMES:
            frames = receive(connection, splitter, poll_seconds)
        else:
            frames = receive(connection, splitter)
        # The clients that were served send again. Frames that waited are other clients'.
        expected = served
        if time.perf_counter() - end < AT_ONCE_SECONDS:
            expected += len(frames)
        wanted = min(expected, flow.max_batch_size) - len(frames)
        opened = _open(flow, frames, large)
        for frames in window.collect(connection, splitter, wanted):
            opened += _open(flow, frames, large)


def _serve_large(
    connection: socket.socket, splitter: Splitter, flow: Any, large: deque[Request]
) -> None:
    """Answer the first large request, and before it the smaller ones that come meanwhile.

    Decoding gets as much time as those take, so that it comes to an end however many there are.
    """
    until = 0.0
    for outcome in flow.open_in_pieces(large.popleft()):
        begin = time.perf_counter()
        if outcome is not None:
            _answer(connection, flow, [outcome])
        elif begin >= until and _is_ready(connection, flow):
            _answer(connection, flow, _open_ready(connection, splitter, flow, large))
            end = time.perf_counter()
            until = end + min(end - begin, MOST_SECONDS)


def _go_on(connection: socket.socket, flow: Any) -> None:
    """Send chunks of streams until other frames come, or no stream may send more.

    One is sent even so: frames that never end must not hold up streams.
    """
    streams = flow.streams
    while streams.can_go_on:
        response = streams.step()
        if response is not None:
            connection.sendall(response.pack())
        if _is_ready(connection, flow):
            return


def _is_ready(connection: socket.socket, flow: Any) -> bool:
    """Whether something waits for an answer: frames, or what the event loop has done."""
    watched = [connection]
    if flow.tasks is not None:
        watched.append(flow.tasks)
    return bool(select.select(watched, [], [], 0)[0])


def _open_ready(
    connection: socket.socket, splitter: Splitter, flow: Any, large: deque[Request]
) -> list[Any]:
    """Open what waits for an answer."""
    opened: list[Any] = []
    if flow.tasks is not None:
        opened += flow.tasks.came()
        if (beat := flow.tasks.beat()) is not None:
            connection.sendall(beat.pack())
    if select.select([connection], [], [], 0)[0]:
        opened += _open(flow, receive(connection, splitter), large)
    return opened


def _open(flow: Any, frames: list[Frame], large: deque[Request]) -> list[Any]:
    """Open requests. Large ones that are decoded in pieces are added to the others that wait."""
    opened = []
    for frame in frames:
        request = Request.unpack(frame)
        if flow.is_large(request):
            large.append(request)
        elif (outcome := flow.open(request)) is not None:
            opened.append(outcome)
    return opened


def _answer(connection: socket.socket, flow: Any, opened: list[Any]) -> None:
    for responses, stats in flow.answer(opened):
        packed = [response.pack() for response in responses]
        if stats is not None:
            packed.append(Response(0, 200, Kind.STATS, stats.pack()).pack())
        connection.sendall(b"".join(packed))
