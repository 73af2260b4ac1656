"""Serves scaffolds one after another, each in a fork of a process that has imported KServe.

A line of standard input names a scaffold's directory and a port, in JSON. Two lines of standard
output answer it: the process id of the server, and its exit status when it has ended.
"""

import json
import os
import runpy
import sys

import grpc  # noqa: F401
import kserve.model_server  # noqa: F401
import kserve.protocol.grpc.server  # noqa: F401
import kserve.protocol.rest.server  # noqa: F401
import uvloop  # noqa: F401


def serve(directory: str, port: int) -> None:
    """What `python inference_server.py` does in a new process."""
    os.environ["PORT"] = str(port)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    source = os.path.join(directory, "src")
    sys.path[0] = source
    runpy.run_path(os.path.join(source, "inference_server.py"), run_name="__main__")


for line in iter(sys.stdin.readline, ""):
    server = os.fork()
    if not server:
        serve(*json.loads(line))
    print(server, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(server, 0)[1]), flush=True)
