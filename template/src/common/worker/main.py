"""A worker: one process of the model's environment that owns one loaded model.

    python -m common.worker FD

FD is an open Unix socket on which the server speaks first, with the configuration. The worker answers that it is
ready, or why it cannot be, and then answers requests until the server closes.
"""

import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from typing import Any

from .. import logs
from ..config import Config, Serving
from ..errors import LoadError
from ..link import launch
from ..link.frames import Frame, Kind, Request, Response, Splitter, receive
from ..model_file import MODEL_DIRECTORY
from .batch_window import Patience

logger = logging.getLogger(__name__)

FEW_FRAMES = (
    8  # of more clients one comes soon, and the server needs the processor to read what they send
)
AT_ONCE_SECONDS = 0.00005  # to read what is there already takes less
METHODS = ("load", "preprocess", "predict", "postprocess")


def main() -> None:
    """Serve the model to whoever holds the other end of the socket."""
    logs.configure()
    # The owner's modules import under the names they were trained with; at the end, so that they hide no package.
    sys.path.append(str(MODEL_DIRECTORY.resolve()))
    connection = _connect(int(sys.argv[1]))
    splitter = Splitter()
    try:
        first, *rest = receive(connection, splitter)
        config = Config.from_document(json.loads(bytes(Request.unpack(first).body)))
        flow = _start(connection, config)
        if flow is not None:
            _serve(connection, splitter, flow, rest, config.serving)
    except (EOFError, ConnectionError):
        return  # the server is gone, and with it whoever waits for an answer


def _connect(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # the server says when to end: it closes the socket
        signal.signal(number, signal.SIG_IGN)
    return socket.socket(fileno=descriptor)


def _start(connection: socket.socket, config: Config) -> Any:
    """Load the model and tell the server; None where that failed."""
    try:
        flow = load(config)
    except LoadError as error:
        connection.sendall(Response(0, 500, Kind.FAILED, str(error).encode()).pack())
        return None
    gc.collect()
    gc.freeze()  # to look through all that was loaded, again and again, would hold up requests for tens of milliseconds
    connection.sendall(Response(0, 200, Kind.READY, b"").pack())
    return flow


def load(config: Config) -> Any:
    """A Flow around the owner's InferenceModel, loaded and warmed up."""
    _find_temporary_directory()
    flows, bodies = _import("common.worker.flow"), _import("common.bodies.v2_codec")
    if config.framework == "sklearn":
        with contextlib.suppress(ImportError):
            importlib.import_module("scipy.sparse")
    logs.reset_warnings()  # after what numpy and SciPy set, before what the owner does
    model = _inference_model(config)
    try:
        model.load()
    except LoadError:
        raise
    except (Exception, SystemExit) as error:
        logger.error("load() failed", exc_info=error)
        raise LoadError(f"the model cannot be loaded: {_reason(error)}") from error
    v2 = bodies.V2(config.name, config.model.input)
    flow = flows.Flow(model, config.serving.max_batch_size, v2)
    _warm_up(flow, config)
    return flow


def _find_temporary_directory() -> None:
    """Shared memory where nothing else can be written, as in a read-only container: TensorFlow wants one to start."""
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
    except Exception as error:
        logger.error("InferenceModel(config) failed", exc_info=error)
        raise LoadError(
            f"InferenceModel(config) in src/server/inference_model.py failed: {_reason(error)}"
        ) from error


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        logger.error("%s cannot be imported", name, exc_info=error)
        raise LoadError(
            f"src/{name.replace('.', '/')}.py cannot be imported: {_reason(error)}"
        ) from error


def _reason(error: BaseException) -> str:
    """One line that says what was wrong and, where that is plain, what to do."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno} of {error.filename}: {error.msg}"
    line = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, ModuleNotFoundError):
        line += (
            "; add the package that provides it to requirements.txt, or the module to src/model/"
        )
    return line


def _warm_up(flow: Any, config: Config) -> None:
    """Send the example of `config.yaml` through the whole flow, so that the first client does not wait longer."""
    if config.model.example is None:
        return
    body = json.dumps({"instances": config.model.example}).encode()
    for responses, _ in flow.answer([flow.open(Request(0, Kind.JSON, "warm-up", body))]):
        if responses[0].status != 200:
            text = responses[0].body.decode()
            logger.warning(
                "model.example in config.yaml gets no prediction, correct it or set it to null: %s",
                text,
            )


def _serve(
    connection: socket.socket, splitter: Splitter, flow: Any, first: list[Frame], serving: Serving
) -> None:
    poll_seconds = serving.poll_seconds if launch.cores() > 1 else 0
    patience = Patience()
    opened = _open(flow, first or receive(connection, splitter))
    while True:
        begin = time.perf_counter()
        for responses, stats in flow.answer(opened):
            packed = [response.pack() for response in responses]
            if stats is not None:
                packed.append(Response(0, 200, Kind.STATS, stats.pack()).pack())
            connection.sendall(b"".join(packed))
        served, end = len(opened), time.perf_counter()
        patience.observe(served, end - begin)
        frames = receive(connection, splitter, poll_seconds if served <= FEW_FRAMES else 0)
        # Those that were served come back, and those that had come before are beside them.
        expected = served + (len(frames) if time.perf_counter() - end < AT_ONCE_SECONDS else 0)
        wanted = min(expected, serving.max_batch_size) - len(frames)
        opened = _open(flow, frames)
        for frames in patience.others(connection, splitter, wanted):
            opened += _open(flow, frames)


def _open(flow: Any, frames: list[Frame]) -> list[Any]:
    return [flow.open(Request.unpack(frame)) for frame in frames]
