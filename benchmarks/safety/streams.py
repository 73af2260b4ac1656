"""Streams: the time to the first chunk, a thousand at once, and clients that stop reading.

    python benchmarks/safety/streams.py
    python benchmarks/safety/streams.py --streams 100

The scaffold's model yields texts without computing. It prints the time to a first chunk, the
memory (Pss) of the server and its workers before, during and after, and how long a request of one
row takes beside the streams. The exit status is 1 where a stream lost a chunk, or where the worker
went on for clients that do not read.
"""

import argparse
import asyncio
import contextlib
import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from watch import memory

import generator

MEGABYTE = 1 << 20
TOKENS = 100
FIRSTS = 200
STILL = 200  # clients that stop reading
STILL_SECONDS = 3
STILL_LOOKS = 20
MODEL = """
from common import route


class InferenceModel:
    def __init__(self, config):
        self.made = 0

    def load(self): ...

    def preprocess(self, request):
        return request

    def predict(self, request):
        if request.get("whole"):
            return {"predictions": request["instances"]}
        return self.tokens(request["instances"][0], request.get("fill", 4))

    def tokens(self, count, fill):
        for _ in range(count):
            self.made += 1
            yield {"predictions": ["x" * fill]}

    def postprocess(self, response):
        return response

    @route("/made", methods=["GET"])
    def told(self, request):
        return self.made
"""


class Server:
    """What clients say to a server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self.address = (parts.hostname, parts.port)

    async def open(self, body: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection with a request that is sent."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(self.request(body))
        return reader, writer

    def request(self, body: dict[str, Any]) -> bytes:
        data = json.dumps(body).encode()
        head = f"POST /v1/models/model:predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(data)}"
        return f"{head}\r\nConnection: close\r\n\r\n".encode() + data

    async def read(self, body: dict[str, Any]) -> tuple[float, int]:
        """The seconds to the first chunk of an answer, and how many chunks came."""
        start, first, chunks = time.perf_counter(), 0.0, 0
        reader, writer = await self.open(body)
        async for line in reader:
            if line.startswith(b"{"):
                first = first or time.perf_counter() - start
                chunks += 1
        writer.close()
        return first, chunks


async def typical(ask: Callable[[], Awaitable[float]], count: int) -> str:
    times = sorted([await ask() for _ in range(count)])
    return f"{times[count // 2] * 1000:.1f} ms, at most {times[-1] * 1000:.1f} ms"


@contextlib.contextmanager
def beside(address: tuple[str, int], times: list[float]) -> Iterator[None]:
    """Ask for one row every 20 ms during the block, in a process of its own."""
    command = [sys.executable, __file__, "--ask", address[0], str(address[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()  # it has begun
        try:
            yield
        finally:
            process.stdin.close()
            times += json.loads(process.stdout.readline())


def ask(host: str, port: str) -> None:
    """What `beside` starts: prints the seconds of each request."""
    connection, times = HTTPConnection(host, int(port), timeout=60), []
    print("asking", flush=True)
    while not select.select([sys.stdin], [], [], 0.02)[0]:
        start = time.perf_counter()
        body = json.dumps({"instances": [1], "whole": True})
        connection.request("POST", "/v1/models/model:predict", body)
        connection.getresponse().read()
        times.append(time.perf_counter() - start)
    print(json.dumps(times))


async def many(server: Server, pid: int, count: int) -> bool:
    """So many streams at once."""
    before, during, times = memory(pid), [0], []
    start = time.perf_counter()

    async def watch() -> None:
        while True:
            during[0] = max(during[0], await asyncio.to_thread(memory, pid))
            await asyncio.sleep(0.2)

    watching = asyncio.create_task(watch())
    with beside(server.address, times):
        came = await asyncio.gather(*(server.read({"instances": [TOKENS]}) for _ in range(count)))
    took = time.perf_counter() - start
    watching.cancel()
    firsts = sorted(first for first, _ in came)
    lost = sum(chunks != TOKENS for _, chunks in came)
    print(
        f"{count} streams at once of {TOKENS} chunks: {count * TOKENS / took:.0f} chunks a second"
    )
    print(f"  first chunk: {firsts[count // 2] * 1000:.0f} ms, at most {firsts[-1] * 1000:.0f} ms")
    print(f"  {said(before, during[0], memory(pid))}; {lost} streams lost a chunk")
    print(f"  {rows(times)}")
    return not lost


async def still(server: Server, pid: int) -> bool:
    """Clients that stop reading after their requests."""
    made_before, before, times = await made(server), memory(pid), []
    clients = []
    for _ in range(STILL):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(server.address)
        client.sendall(server.request({"instances": [10**9], "fill": 1000}))
        clients.append(client)
    first = second = made_before
    with beside(server.address, times):
        for _ in range(STILL_LOOKS):  # the system buffers megabytes for each
            await asyncio.sleep(STILL_SECONDS)
            first, second = second, await made(server)
            if first == second:
                break
    during = memory(pid)
    for client in clients:
        client.close()
    await asyncio.sleep(1)
    print(f"{STILL} clients that stop reading, of a stream without end")
    print(f"  {(first - made_before) / STILL:.0f} chunks of 1 kB for each, then {second - first}")
    print(f"  {said(before, during, memory(pid))}")
    print(f"  {rows(times)}")
    return first == second


async def made(server: Server) -> int:
    """How many chunks the model has made."""
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(b"GET /made HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return int(answer.rpartition(b"\r\n")[2])


def said(before: int, during: int, after: int) -> str:
    in_megabytes = [f"{size / MEGABYTE:.0f}" for size in (before, during, after)]
    return f"memory: {' MiB, then '.join(in_megabytes)} MiB"


def rows(times: list[float]) -> str:
    ordered = sorted(times)
    middle, most = ordered[len(ordered) // 2] * 1000, ordered[-1] * 1000
    return (
        f"requests of one row beside them: {len(ordered)}, {middle:.1f} ms, at most {most:.1f} ms"
    )


async def measure(server: Server, pid: int, count: int) -> bool:
    async def first() -> float:
        return (await server.read({"instances": [1]}))[0]

    async def whole() -> float:
        return (await server.read({"instances": [1], "whole": True}))[0]

    print(f"first chunk of one stream: {await typical(first, FIRSTS)}")
    print(f"whole answer of one row: {await typical(whole, FIRSTS)}")
    return await many(server, pid, count) and await still(server, pid)


def main() -> int:
    parser = argparse.ArgumentParser(description="measures streams")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--ask", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ask:
        ask(*given.ask)
        return 0
    count = given.streams
    with tempfile.TemporaryDirectory() as place:
        scaffold = generator.new(Path(place) / "streamed", server="standalone")
        (scaffold.directory / "src/server/inference_model.py").write_text(MODEL)
        with scaffold.serve(port=0) as server:
            return not asyncio.run(measure(Server(server.url), server.process.pid, count))


if __name__ == "__main__":
    sys.exit(main())
