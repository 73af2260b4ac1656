"""Granian with an application without a framework, and micro-batching by hand.

Granian serves ASGI, and its own interface, RSGI. One worker with uvloop, no access log.

python granian_batching.py MODEL_FILE PORT
"""

import os
import sys
from typing import Any

import orjson
import predictor
from batching import Batcher
from granian import Granian
from granian.constants import Loops

TITLE = "Granian, batching by hand"
REQUIREMENTS = ["granian[uvloop]==2.8.9", "orjson==3.13.0"]
PROTOCOL = "v1"
VARIANTS = {"RSGI": {"INTERFACE": "rsgi"}, "ASGI": {"INTERFACE": "asgi"}}

FILE = "MODEL_FILE"
TYPE = "application/json"


def answerer() -> Any:
    """A function from the body of a request to the body of its answer."""
    batcher = Batcher(predictor.load(os.environ[FILE]), thread=False)

    async def answer(content: bytes) -> bytes:
        predictions = await batcher.predict(orjson.loads(content)["instances"])
        return orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY)

    return answer


def rsgi() -> Any:
    answer = answerer()

    async def application(scope: Any, protocol: Any) -> None:
        body = await answer(await protocol())
        protocol.response_bytes(200, [("content-type", TYPE)], body)

    return application


def asgi() -> Any:
    answer = answerer()
    headers = [(b"content-type", TYPE.encode())]

    async def application(scope: Any, receive: Any, send: Any) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            content += message.get("body", b"")
            more = message.get("more_body", False)
        body = await answer(content)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


if __name__ == "__main__":
    os.environ[FILE] = sys.argv[1]
    interface = os.environ["INTERFACE"]
    os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))
    Granian(
        f"granian_batching:{interface}",
        port=int(sys.argv[2]),
        interface=interface,
        factory=True,
        loop=Loops.uvloop,
        websockets=False,
        log_access=False,
    ).serve()
