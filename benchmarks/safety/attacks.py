"""Attacks a server of a new scaffold, and prints what became of each attack.

    python benchmarks/safety/attacks.py             # all: five minutes
    python benchmarks/safety/attacks.py heads bombs # some

The scaffold's model is a logistic regression on the iris flowers, with one worker. Its time limits
are set to a few seconds, and its connections to 256, so that the table shows their effect. While an
attack goes on, another process asks for readiness every 20 ms. After each attack the server must
predict what the model in memory predicts. The exit status is 1 where it does not, or where it
answers a client's mistake with 5xx.

Each line shows how long the attack took, the slowest and the median health check, and how many of
them failed. Then it shows by how much the memory of the server and its worker grew, and what the
attacker saw: statuses, or "closed".
"""

import argparse
import gzip
import json
import os
import select
import socket
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tritonclient.grpc import service_pb2
from watch import Seen, watched

import generator

NAME = "attacked"
SETTINGS = {
    "header_timeout_seconds": "3",
    "body_timeout_seconds": "3",
    "keep_alive_seconds": "3",
    "max_connections": "256",
}
MEGABYTE = 1 << 20
BODY_BYTES = 64 * MEGABYTE
LARGE_BYTES = 54_000_000
PATIENCE_SECONDS = 120
DEAF_SECONDS = 20  # the server ends a connection after 3 without progress
GRPC_PORT = "GRPC_PORT"
JSON = "application/json"
ROW = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
INFER = "/inference.GRPCInferenceService/ModelInfer"
BUSY = {503}  # no mistake of the client, and no failure either: it may try again


@dataclass(frozen=True)
class Target:
    """The server that is attacked."""

    host: str
    port: int
    grpc_port: int
    model: str

    @property
    def predict(self) -> str:
        return f"/v1/models/{self.model}:predict"

    @property
    def infer(self) -> str:
        return f"/v2/models/{self.model}/infer"

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=PATIENCE_SECONDS)

    def post(self, path: str, body: bytes, **headers: str) -> str:
        """The status of the answer to a body."""
        connection = HTTPConnection(self.host, self.port, timeout=PATIENCE_SECONDS)
        named = {"Content-Type": JSON, **{key.replace("_", "-"): headers[key] for key in headers}}
        try:
            connection.request("POST", path, body, named)
            return str(connection.getresponse().status)
        except (OSError, HTTPException):
            return "closed"
        finally:
            connection.close()


Attack = Callable[[Target], "Counter[str]"]
ATTACKS: dict[str, tuple[str, Attack]] = {}


def attack(words: str) -> Callable[[Attack], Attack]:
    """Adds an attack to the table, described in words."""

    def add(function: Attack) -> Attack:
        ATTACKS[function.__name__] = (words, function)
        return function

    return add


def heard(connection: socket.socket) -> str:
    """The status of the answer that comes on a connection; `closed` where none comes."""
    with suppress(OSError):
        line = connection.recv(1 << 16)
        if line.startswith(b"HTTP/1.1 "):
            return line.split()[1].decode()
    return "closed"


def at_once(count: int, work: Callable[[], str]) -> "Counter[str]":
    """What work returned, in so many threads."""
    found: Counter[str] = Counter()
    threads = [threading.Thread(target=lambda: found.update([work()])) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# ---- heads and requests ----


def endless(target: Target, begun: bytes, more: bytes) -> str:
    with target.connect() as connection:
        with suppress(OSError):
            connection.sendall(begun)
            for _ in range(15 * MEGABYTE // len(more)):
                connection.sendall(more)
        return heard(connection)


@attack("header fields of 300 MB, 20 connections")
def heads(target: Target) -> "Counter[str]":
    fields = b"x: " + b"y" * 1000 + b"\r\n"
    return at_once(20, lambda: endless(target, b"GET / HTTP/1.1\r\n", 60 * fields))


@attack("a request line of 15 MB")
def line(target: Target) -> "Counter[str]":
    return at_once(1, lambda: endless(target, b"GET /?", b"x" * 60_000))


@attack("780,000 pipelined requests of 14 MB, no answer read")
def pipelined(target: Target) -> "Counter[str]":
    def send() -> str:
        with target.connect() as connection:
            connection.settimeout(5)
            with suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * 780_000)
            return heard(connection)

    return at_once(1, send)


@attack("a valid request, then bytes that are no HTTP")
def garbage(target: Target) -> "Counter[str]":
    def send() -> str:
        with target.connect() as connection:
            head = f"POST {target.predict} HTTP/1.1\r\nContent-Length: {len(ROW)}\r\n\r\n"
            connection.sendall(head.encode() + ROW + bytes(range(256)))
            return heard(connection)

    return at_once(50, send)


# ---- time ----


def stalled(target: Target, sent: bytes) -> str:
    with target.connect() as connection:
        with suppress(OSError):
            connection.sendall(sent)
        return heard(connection)


def head_of(target: Target, size: int) -> bytes:
    return f"POST {target.predict} HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode()


@attack("25 uploads of 64 MiB that never end")
def uploads(target: Target) -> "Counter[str]":
    sent = head_of(target, BODY_BYTES) + bytes(BODY_BYTES - 1)
    return at_once(25, lambda: stalled(target, sent))


@attack("100 heads, 100 bodies and 100 connections on which nothing more comes")
def silence(target: Target) -> "Counter[str]":
    half = at_once(100, lambda: stalled(target, b"GET / HTT"))
    body = at_once(100, lambda: stalled(target, head_of(target, 1000)))
    return half + body + at_once(100, lambda: stalled(target, b""))


@attack("50 bodies at 100 bytes a second")
def trickle(target: Target) -> "Counter[str]":
    def send() -> str:
        with target.connect() as connection:
            with suppress(OSError):
                connection.sendall(head_of(target, MEGABYTE))
                for _ in range(100):
                    connection.sendall(b" " * 10)
                    time.sleep(0.1)
            return heard(connection)

    return at_once(50, send)


@attack("2,000 connections, held open")
def connections(target: Target) -> "Counter[str]":
    held: list[socket.socket] = []
    for _ in range(2000):
        with suppress(OSError):
            held.append(target.connect())
    found: Counter[str] = Counter()
    for connection in held:
        connection.settimeout(10)
        found.update([heard(connection)])
        connection.close()
    return found


@attack("10 clients that do not read answers of 3 MB")
def deaf(target: Target) -> "Counter[str]":
    body = b'{"instances": [' + b",".join([b"[5.1, 3.5, 1.4, 0.2]"] * 50_000) + b"]}"
    body = body[:-1] + b', "probabilities": true}'

    def send() -> str:
        with target.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with suppress(OSError):
                connection.sendall(head_of(target, len(body)) + body)
                _wait_for_the_end(connection)
            return "closed" if _is_cut(connection) else "kept"

    return at_once(10, send)


def _wait_for_the_end(connection: socket.socket) -> None:
    """Wait, without reading, until the server has reset the connection, or for long enough."""
    poll = select.poll()
    poll.register(connection, 0)  # an error and a reset are told all the same
    poll.poll(DEAF_SECONDS * 1000)


def _is_cut(connection: socket.socket) -> bool:
    connection.settimeout(5)
    size = 0
    try:
        while chunk := connection.recv(1 << 16):
            size += len(chunk)
            if size > 2 * MEGABYTE:
                return False
    except OSError:
        pass
    return True


# ---- bodies ----


def repeated(start: bytes, part: bytes, end: bytes, size: int = BODY_BYTES) -> bytes:
    """A body of nearly `size` bytes."""
    count = (size - len(start) - len(end)) // len(part)
    return start + part * (count - 1) + part.rstrip(b",") + end


@attack("64 MiB of `[],`")
def empty_lists(target: Target) -> "Counter[str]":
    return Counter([target.post(target.predict, repeated(b'{"instances": [', b"[],", b"]}"))])


@attack("64 MiB of `{},`, of `0,` and of `[`")
def values(target: Target) -> "Counter[str]":
    bodies = [
        repeated(b'{"instances": [', b"{},", b"]}"),
        repeated(b'{"instances": [', b"0,", b"]}"),
        b'{"instances": ' + b"[" * (BODY_BYTES - 20),
    ]
    return Counter(target.post(target.predict, body) for body in bodies)


@attack("64 MiB of msgpack's empty maps")
def maps(target: Target) -> "Counter[str]":
    count = BODY_BYTES - 32
    body = b"\x81\xa9instances\xdd" + struct.pack("!I", count) + b"\x80" * count
    path = f"{target.predict}_binary"
    return Counter([target.post(path, body, Content_Type="application/msgpack")])


@attack("64 MiB of V2's empty lists, and of its empty texts")
def tensors(target: Target) -> "Counter[str]":
    head = b'{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": ['
    found = [target.post(target.infer, repeated(head, b"[],", b"]}]}"))]
    count = (BODY_BYTES - 1000) // 4
    tensor = {"name": "x", "shape": [count, 1], "datatype": "BYTES"}
    described = {"inputs": [{**tensor, "parameters": {"binary_data_size": 4 * count}}]}
    packed = json.dumps(described).encode()
    found.append(
        target.post(
            target.infer,
            packed + bytes(4 * count),
            Content_Type="application/octet-stream",
            Inference_Header_Content_Length=str(len(packed)),
        )
    )
    return Counter(found)


@attack("bombs of gzip and deflate, 10 at once")
def bombs(target: Target) -> "Counter[str]":
    packed = gzip.compress(bytes(1 << 28), 6)
    other = zlib.compress(b"[]," * (1 << 26), 6)
    found = at_once(5, lambda: target.post(target.predict, packed, Content_Encoding="gzip"))
    return found + at_once(
        5, lambda: target.post(target.predict, other, Content_Encoding="deflate")
    )


@attack("CloudEvents and octets of 64 MiB")
def events(target: Target) -> "Counter[str]":
    body = repeated(b'{"data": [', b"[],", b"]}")
    named = {f"ce-{name}": "1.0" for name in ("specversion", "id", "source", "type")}
    return Counter(
        [
            target.post(target.predict, body, Content_Type="application/cloudevents+json"),
            target.post(target.predict, body, Content_Type="application/octet-stream"),
            target.post(target.predict, body, **named),
            target.post("/v2/models/other/infer", body),
            target.post(f"/v2/models/{target.model}/versions/1/infer", body),
        ]
    )


def longest_wait(target: Target, path: str, body: bytes) -> "Counter[str]":
    """The answers to one row after another while a large body is answered, and to that."""
    found: Counter[str] = Counter()
    slowest = 0.0
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(target.post, path, body)
        while not large.done():
            start = time.perf_counter()
            found.update([target.post(target.predict, ROW)])
            slowest = max(slowest, time.perf_counter() - start)
        found.update([large.result()])
    return found + Counter([f"a wait of {slowest:.2f} s"])


def slowest(each: Iterable["Counter[str]"]) -> "Counter[str]":
    """What came of several attacks, with the longest of the waits."""
    found = Counter[str]()
    for one in each:
        found += one
    waits = [name for name in found if name.startswith("a wait")]
    for name in waits:
        del found[name]
    return found + Counter([max(waits)])


def infer_request(model: str, rows: int) -> bytes:
    """A ModelInferRequest with rows of four numbers."""
    raw = struct.pack("<4d", 5.1, 3.5, 1.4, 0.2) * rows
    request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[raw])
    request.inputs.add(name="x", datatype="FP64", shape=[rows, 4])
    return bytes(request.SerializeToString())


@attack("right rows of 54 MB, and the longest that one row waits meanwhile")
def rows(target: Target) -> "Counter[str]":
    body = repeated(b'{"instances": [', b"[5.1,3.5,1.4,0.2],", b"]}", LARGE_BYTES)
    return longest_wait(target, target.predict, body)


@attack("the same, with numbers of 16 digits")
def digits(target: Target) -> "Counter[str]":
    row = b"[5.123456789012345,3.523456789012345,1.423456789012345,0.223456789012345],"
    body = repeated(b'{"instances": [', row, b"]}", LARGE_BYTES)
    return longest_wait(target, target.predict, body)


@attack("the same as V2")
def v2_rows(target: Target) -> "Counter[str]":
    count = LARGE_BYTES // len("5.1,3.5,1.4,0.2,")
    tensor = {"name": "instances", "shape": [count, 4], "datatype": "FP64", "data": []}
    head = json.dumps({"inputs": [tensor]}).encode()[: -len("]}]}")]
    body = head + b"5.1,3.5,1.4,0.2," * (count - 1) + b"5.1,3.5,1.4,0.2]}]}"
    return longest_wait(target, target.infer, body)


@attack("64 MiB beside the rows, and the longest that one row waits meanwhile")
def beside(target: Target) -> "Counter[str]":
    head = b'{"instances": [[5.1, 3.5, 1.4, 0.2]], '
    tensor = b'{"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP64", "data": [1]'
    bodies = [
        (target.predict, repeated(b'{"other": [', b"[1],", b"], " + head[1:-2] + b"}")),
        (target.predict, repeated(head + b'"other": [', b"[1],", b"]}")),
        (target.predict, repeated(head + b'"parameters": {"a": [', b"{},0,", b"0]}}")),
        (target.predict, repeated(head + b'"instances": [', b"[1],", b"]}")),
        (target.infer, repeated(tensor + b', "parameters": {"a": [', b"[1],", b"]}}]}")),
        (target.infer, repeated(tensor + b'}], "outputs": [', b"[1],", b"]}")),
        ("/invocations", repeated(b'{"dataframe_split": {"columns": [', b"[1],", b"]}}")),
        ("/invocations", repeated(b'{"dataframe_split": {"data": [', b"[1],", b"]}}")),
    ]
    return slowest(longest_wait(target, path, body) for path, body in bodies)


@attack("one row of 64 MiB, and the longest that one row waits meanwhile")
def one_row(target: Target) -> "Counter[str]":
    parts = (b"[],", b"[1],", b"5.1,")
    bodies = [repeated(b'{"instances": [[', part, b"]]}") for part in parts]
    return slowest(longest_wait(target, target.predict, body) for body in bodies)


@attack("25 gRPC messages of 60 MiB at once")
def messages(target: Target) -> "Counter[str]":
    message = infer_request(target.model, 60 * MEGABYTE // 32)

    def send() -> str:
        # A connection of its own for each.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(f"{target.host}:{target.grpc_port}", options) as channel:
            try:
                channel.unary_unary(INFER)(message, timeout=PATIENCE_SECONDS)
            except grpc.RpcError as error:
                return str(error.code().name)
            return "OK"

    return at_once(25, send)


# ---- the run ----


@contextmanager
def served() -> Iterator[tuple[Target, int, Callable[[], bool]]]:
    """A server, its process id, and whether it still predicts what the model predicts."""
    flowers, kinds = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=1000).fit(flowers, kinds)
    expected = model.predict(flowers).tolist()
    with tempfile.TemporaryDirectory() as place:
        scaffold = generator.from_model(
            model, target_directory=Path(place) / NAME, sample_input=flowers[:5]
        )
        set_limits(scaffold.directory / "config.yaml")
        grpc_port = free_port()
        with grpc_at(grpc_port), scaffold.serve(port=0) as server:
            parts = urlsplit(server.url)
            assert parts.hostname is not None and parts.port is not None
            name = server.predict_url.rpartition("/")[2].removesuffix(":predict")
            target = Target(parts.hostname, parts.port, grpc_port, name)

            def is_right() -> bool:
                connected = HTTPConnection(target.host, target.port, timeout=PATIENCE_SECONDS)
                body = json.dumps({"instances": flowers.tolist()})
                with closing(connected) as connection, suppress(OSError, HTTPException, ValueError):
                    connection.request("POST", target.predict, body, {"Content-Type": JSON})
                    answer = json.loads(connection.getresponse().read())
                    return bool(answer == {"predictions": expected})
                return False

            yield target, server.process.pid, is_right


@contextmanager
def grpc_at(port: int) -> Iterator[None]:
    """In the block, a server that starts has this port for gRPC."""
    before = os.environ.get(GRPC_PORT)
    os.environ[GRPC_PORT] = str(port)
    try:
        yield
    finally:
        os.environ.pop(GRPC_PORT)
        if before is not None:
            os.environ[GRPC_PORT] = before


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def set_limits(config: Path) -> None:
    lines = config.read_text().splitlines()
    for index, text in enumerate(lines):
        key, _, _ = text.strip().partition(":")
        if key in SETTINGS:
            lines[index] = f"    {key}: {SETTINGS[key]}"
    config.write_text("\n".join(lines) + "\n")


def shown(seen: Seen, found: "Counter[str]", seconds: float) -> str:
    answers = ", ".join(f"{count} x {name}" for name, count in sorted(found.items()))
    slowest, typical = seen.slowest * 1000, seen.typical * 1000
    health = f"{slowest:6.0f} {typical:5.1f} {seen.failed:3}/{seen.checks:<5}"
    growth = (seen.peak - seen.before) / MEGABYTE
    return f"{seconds:6.1f} s  {health} {growth:+7.0f} MiB  {answers}"


def main() -> int:
    parser = argparse.ArgumentParser(description="attacks a server and prints what became of it")
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(ATTACKS)}")
    chosen = parser.parse_args().attacks or list(ATTACKS)
    if unknown := set(chosen) - set(ATTACKS):
        parser.error(f"there is no attack {min(unknown)}: the attacks are {', '.join(ATTACKS)}")
    wrong = 0
    with served() as (target, pid, is_right):
        print("attack, time, health checks (slowest and median in ms, failed), memory, answers")
        for name in chosen:
            words, run = ATTACKS[name]
            start = time.perf_counter()
            with watched(f"http://{target.host}:{target.port}", pid) as seen:
                found = run(target)
                seconds = time.perf_counter() - start
            print(f"{words}\n    {shown(seen, found, seconds)}", flush=True)
            failed = [key for key in found if key.startswith("5") and int(key) not in BUSY | {501}]
            if failed or not is_right():
                print("    WRONG: the server failed, or predicts otherwise", flush=True)
                wrong += 1
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
