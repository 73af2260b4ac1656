"""Many clients that post at once to one server, each answer held against the same body alone."""

import json
import random
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from support.servers.running import PATIENCE, PREDICT, together

RECEIVE = 1 << 16


class Client:
    """One connection, which is kept. It is several times as fast as httpx's.

    Args:
        url: the server's.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), PATIENCE)

    def post(self, request: bytes) -> tuple[bytes, bytes]:
        """Send a request. Returns the first line and the body of the answer."""
        self._socket.sendall(request)
        data = self._socket.recv(RECEIVE)
        while b"\r\n\r\n" not in data:
            data += self._received()
        head, _, body = data.partition(b"\r\n\r\n")
        fields = head.lower().split(b"\r\n")
        size = next(field for field in fields if field.startswith(b"content-length:"))
        while len(body) < int(size.split(b":")[1]):
            body += self._received()
        return head.split(b"\r\n")[0], body

    def close(self) -> None:
        self._socket.close()

    def _received(self) -> bytes:
        data = self._socket.recv(RECEIVE)
        assert data, "the server has closed the connection"
        return data


def packed(body: Any) -> bytes:
    """A request of the predict route."""
    content = json.dumps(body).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def stress(url: str, bodies: Sequence[Any], count: int, clients: int = 8) -> list[str]:
    """Post bodies at random, several at once.

    Args:
        url: the server's.
        bodies: what is posted.
        count: how many requests there are.
        clients: how many are waiting at the same time.

    Returns:
        The answers that differ from those that the body got alone, in words.
    """
    requests = [packed(body) for body in bodies]
    first = Client(url)
    alone = [first.post(request) for request in requests]
    first.close()
    assert {line.split()[1] for line, _ in alone} == {b"200"}, alone[0]

    def ask(number: int) -> list[str]:
        chance, wrong, client = random.Random(number), [], Client(url)
        for _ in range(count // clients):
            index = chance.randrange(len(requests))
            answer = client.post(requests[index])
            if answer != alone[index]:
                wrong.append(f"{bodies[index]}: {answer[1]!r} for {alone[index][1]!r}")
        client.close()
        return wrong

    return [line for lines in together(clients, ask) for line in lines]
