"""An ASGI application that does nothing, on our uvicorn: the limit for applications on it.

Our server passes it: it answers plain requests of the predict routes without ASGI.

python empty_server.py PORT
"""

import sys
from typing import Any

import uvicorn

BODY = b'{"predictions":[0]}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))],
}
END = {"type": "http.response.body", "body": BODY}


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Read the body and answer."""
    await receive()
    await send(START)
    await send(END)


if __name__ == "__main__":
    uvicorn.run(
        application,
        port=int(sys.argv[1]),
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
