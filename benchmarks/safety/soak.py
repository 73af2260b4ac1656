"""Soaks a server of a new scaffold in all that clients do, while workers are killed.

    python benchmarks/safety/soak.py                # ten minutes
    python benchmarks/safety/soak.py --seconds 60

The scaffold's model is a random forest on the iris flowers, with two workers. Clients post to all
routes: one row to thousands, JSON, msgpack, V2 as JSON and raw, plain and compressed, mistakes
among them. Some disconnect before their answer. Every 20 seconds a worker is killed. Meanwhile
another process asks for readiness.

It prints the memory of the server and its workers each minute, then what was seen. The exit status
is 1 where an answer was wrong, where a mistake was not answered 4xx, or where a request was lost:
one that got neither an answer nor, while a worker was killed, 503.
"""

import argparse
import gzip
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgpack
import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from watch import children, memory, watched

import generator

CLIENTS = 8
KILL_EVERY_SECONDS = 20
REPORT_EVERY_SECONDS = 60
TIMEOUT_SECONDS = 60
MEGABYTE = 1 << 20
JSON = {"Content-Type": "application/json"}
OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Asked:
    """A request, and whether an answer to it is right."""

    path: str
    body: bytes
    headers: dict[str, str]
    is_right: Callable[[int, bytes], bool]


@dataclass
class Clients:
    """The clients, and what they have seen."""

    host: str
    port: int
    name: str
    rows: Any
    expected: list[int]
    seen: "Counter[str]" = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self, seed: int) -> None:
        """Ask until the end."""
        choice = random.Random(seed)
        connection: HTTPConnection | None = None
        while not self.ended.is_set():
            connection = connection or HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
            asked = self._asked(choice)
            try:
                connection.request("POST", asked.path, asked.body, asked.headers)
                if choice.random() < 0.05:
                    self.seen["disconnected"] += 1
                    raise HTTPException
                answer = connection.getresponse()
                self._judge(asked, answer.status, answer.read())
            except HTTPException:
                connection.close()
                connection = None
            except OSError as error:
                self.wrong.append(f"{asked.path} lost: {error!r}")
                connection = None

    def _judge(self, asked: Asked, status: int, body: bytes) -> None:
        self.seen[str(status)] += 1
        if status != 503 and not asked.is_right(status, body):
            self.wrong.append(f"{asked.path} answered {status}: {body[:200]!r}")

    def _asked(self, choice: random.Random) -> Asked:
        count = choice.choice([1, 1, 1, 1, 3, 20, 300, 3000])
        picked = [choice.randrange(len(self.rows)) for _ in range(count)]
        make = choice.choice([self._json, self._json, self._binary, self._v2, self._raw, self._bad])
        return make(choice, self.rows[picked], [self.expected[index] for index in picked])

    def _json(self, choice: random.Random, rows: Any, expected: list[int]) -> Asked:
        body, headers = json.dumps({"instances": rows.tolist()}).encode(), dict(JSON)
        if choice.random() < 0.2:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        return Asked(f"/v1/models/{self.name}:predict", body, headers, _same(expected))

    def _binary(self, _: random.Random, rows: Any, expected: list[int]) -> Asked:
        array = {
            b"nd": True,
            b"type": rows.dtype.str,
            b"kind": b"",
            b"shape": rows.shape,
            b"data": rows.tobytes(),
        }

        def is_right(status: int, body: bytes) -> bool:
            found = msgpack.unpackb(body)["predictions"]
            return status == 200 and np.frombuffer(found[b"data"], "<i8").tolist() == expected

        path = f"/v1/models/{self.name}:predict_binary"
        headers = {"Content-Type": "application/msgpack"}
        return Asked(path, msgpack.packb({"instances": array}), headers, is_right)

    def _v2(self, _: random.Random, rows: Any, expected: list[int]) -> Asked:
        tensor = {"name": "x", "shape": rows.shape, "datatype": "FP64", "data": rows.tolist()}
        body = json.dumps({"inputs": [tensor]}).encode()
        return Asked(f"/v2/models/{self.name}/infer", body, JSON, _same_output(expected))

    def _raw(self, _: random.Random, rows: Any, expected: list[int]) -> Asked:
        raw = rows.tobytes()
        tensor = {"name": "x", "shape": rows.shape, "datatype": "FP64"}
        tensor["parameters"] = {"binary_data_size": len(raw)}
        head = json.dumps({"inputs": [tensor]}).encode()
        headers = {**OCTETS, "Inference-Header-Content-Length": str(len(head))}
        path = f"/v2/models/{self.name}/infer"
        return Asked(path, head + raw, headers, _same_output(expected))

    def _bad(self, choice: random.Random, rows: Any, _: list[int]) -> Asked:
        body = choice.choice(
            [b"", b"{", b"[]", b'{"instances": [[1]]}', b'{"instances": [["x", 1, 2, 3]]}']
        )
        verb = choice.choice(["predict", "predict_binary"])
        path = f"/v1/models/{self.name}:{verb}"
        return Asked(path, body, {}, lambda status, _: 400 <= status < 500)


def _same(expected: list[int]) -> Callable[[int, bytes], bool]:
    return lambda status, body: (status, json.loads(body)) == (200, {"predictions": expected})


def _same_output(expected: list[int]) -> Callable[[int, bytes], bool]:
    return lambda status, body: status == 200 and json.loads(body)["outputs"][0]["data"] == expected


def kill_workers(pid: int, ended: threading.Event, seed: int) -> None:
    """Kill a worker from time to time."""
    choice = random.Random(seed)
    while not ended.wait(KILL_EVERY_SECONDS):
        workers = [child for child in children(pid) if _is_worker(child)]
        if workers:
            with suppress(ProcessLookupError):
                os.kill(choice.choice(workers), signal.SIGKILL)


def _is_worker(pid: int) -> bool:
    with suppress(OSError):
        return b"common.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def soak(clients: Clients, pid: int, seconds: float) -> None:
    """Run the clients for so long, and print the memory from time to time."""
    work = [threading.Thread(target=clients.run, args=(seed,)) for seed in range(CLIENTS)]
    work.append(threading.Thread(target=kill_workers, args=(pid, clients.ended, 0)))
    for thread in work:
        thread.start()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, REPORT_EVERY_SECONDS))
        answers = sum(clients.seen.values())
        print(f"{answers:9} answers, {memory(pid) / MEGABYTE:6.0f} MiB", flush=True)
    clients.ended.set()
    for thread in work:
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description="soaks a server")
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    flowers, kinds = load_iris(return_X_y=True)
    model = RandomForestClassifier(20, random_state=0).fit(flowers, kinds)
    os.environ["WORKERS"] = "2"
    with tempfile.TemporaryDirectory() as place:
        scaffold = generator.from_model(
            model, target_directory=Path(place) / "soaked", sample_input=flowers[:5]
        )
        with scaffold.serve(port=0) as server:
            parts = urlsplit(server.url)
            assert parts.hostname is not None and parts.port is not None
            name = server.predict_url.rpartition("/")[2].removesuffix(":predict")
            expected = model.predict(flowers).tolist()
            clients = Clients(parts.hostname, parts.port, name, flowers, expected)
            with watched(server.url, server.process.pid) as seen:
                soak(clients, server.process.pid, seconds)
    print(", ".join(f"{count} x {status}" for status, count in sorted(clients.seen.items())))
    print(
        f"health checks: {seen.checks}, {seen.failed} failed, {seen.slowest * 1000:.0f} ms at most"
    )
    for line in clients.wrong[:20]:
        print(f"WRONG: {line}")
    print(f"{len(clients.wrong)} wrong or lost")
    return bool(clients.wrong)


if __name__ == "__main__":
    sys.exit(main())
