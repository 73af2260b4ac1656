"""What a client can make the server hold has limits: requests, bytes, connections and time."""

import asyncio
from typing import Any

import pytest

from common.serving.http import connections
from common.serving.http.connection import MAX_PIPELINED, PIECE_BYTES
from support.servers.conversations import HEAD, PREDICT, Client, Connect, conversation

GET = b"GET / HTTP/1.1\r\n\r\n"
SHORT = 0.3  # seconds


def head(length: int) -> bytes:
    return HEAD.replace(b": 2", b": %d" % length)


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.01)


# ---- pipelined requests ----


@pytest.mark.parametrize("request_", [HEAD + b"[]", GET], ids=["predict", "other"])
def test_reading_stops_at_a_few_dozen_unanswered_requests(request_: bytes) -> None:
    many = 20_000

    async def talk(connect: Connect) -> None:
        client = await connect()
        connect.workers.paused = True
        client.send(HEAD + b"[]" + many * request_)
        await until(lambda: connect.workers.asked)
        await asyncio.sleep(SHORT)
        [protocol] = connect.protocols
        most = MAX_PIPELINED + PIECE_BYTES // len(request_) + 1
        assert MAX_PIPELINED <= len(protocol.pipeline) <= most
        connect.workers.go_on()
        for _ in range(many + 1):
            assert await client.status() == 200
        assert len(protocol.pipeline) == 0

    conversation(talk)


def test_pipelined_requests_of_any_size_are_answered_in_order() -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        bodies = [b"%d" % size * size for size in (1, 3, 3000, 2, 70_000, 1, 5, 5000) * 20]
        client.send(b"".join(head(len(body)) + body for body in bodies))
        for body in bodies:
            assert (await client.answer())[1] == body

    conversation(talk)


@pytest.mark.parametrize("before", [[HEAD + b"[]"], [GET], [HEAD + b"[]", GET, HEAD + b"{}"]])
@pytest.mark.parametrize(
    "after",
    [
        b"\x16\x03\x01 garbage\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        GET[:-2] + b"a: " + b"b" * 2000 + b"\r\n\r\n",
    ],
    ids=["no request", "no header", "no chunk", "too large"],
)
def test_what_came_before_garbage_is_answered_first(before: list[bytes], after: bytes) -> None:
    async def talk(connect: Connect) -> None:
        for paused in (False, True):
            client = await connect()
            connect.workers.paused = paused
            client.send(b"".join([*before, after]))
            await asyncio.sleep(SHORT / 6)
            connect.workers.go_on()
            for _ in before:
                assert await client.status() == 200
            answer, body = await client.answer()
            assert answer.split()[1] in (b"400", b"431") and body.startswith(b'{"error": ')
            assert await client.closed()

    conversation(talk, max_head_bytes=1024)


@pytest.mark.parametrize("path", [PREDICT, b"/"])
def test_trailers_are_no_header_fields(path: bytes) -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        fields = b"transfer-encoding: chunked\r\ncontent-type: application/json\r\n"
        chunks = b"2\r\n[]\r\n0\r\ncontent-type: image/png\r\nx-request-id: mine\r\n\r\n"
        client.send(b"POST " + path + b" HTTP/1.1\r\n" + fields + b"\r\n" + chunks)
        answer, _ = await client.answer()
        assert answer.split()[1] == b"200" and b"mine" not in answer

    conversation(talk)


# ---- bytes ----


def test_a_body_that_finds_no_room_is_503_and_the_largest_upload_makes_room() -> None:
    size = 100_000

    async def talk(connect: Connect) -> None:
        uploads = []
        for part in (size * 3 // 4, size // 2, size // 3):
            client = await connect()
            uploads.append(client)
            client.send(head(size) + b" " * part)
        total = size * 3 // 4 + size // 2 + size // 3
        await until(lambda: connect.workers.held.size == total)
        small = await connect()
        small.send(head(60_000) + b" " * 60_000)
        assert await small.status() == 200
        answer, body = await uploads[0].answer()
        assert answer.split()[1] == b"503" and b"retry-after" in answer
        assert b"max_queue_bytes" in body and await uploads[0].closed()
        for upload, missing in zip(uploads[1:], (size - size // 2, size - size // 3), strict=True):
            upload.send(b" " * missing)
            assert await upload.status() == 200

    conversation(talk, max_queue_bytes=200_000)


@pytest.mark.parametrize("fields", [b"content-length: 300000", b"transfer-encoding: chunked"])
def test_a_body_alone_that_finds_no_room_is_503(fields: bytes) -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        body = b"493e0\r\n" + b" " * 300_000
        client.send(b"POST / HTTP/1.1\r\n" + fields + b"\r\n\r\n" + body)
        assert await client.status() == 503
        other = await connect()
        other.send(HEAD + b"[]")
        assert await other.status() == 200

    conversation(talk, max_queue_bytes=200_000)


# ---- time ----


async def trickle(client: Client, data: bytes, pause: float) -> None:
    for at in range(len(data)):
        client.send(data[at : at + 1])
        await asyncio.sleep(pause)


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"", None), (HEAD[:20], 408), (HEAD, 408), (head(90_000) + b" " * 20_000, 408)],
    ids=["nothing", "half a head", "no body", "half a body"],
)
def test_a_client_that_sends_too_slowly_is_cut_off(sent: bytes, status: int | None) -> None:
    async def talk(connect: Connect) -> None:
        for before in (b"", HEAD + b"[]"):
            client = await connect()
            client.send(before + sent)
            if before:
                assert await client.status() == 200
            if status is not None:
                assert await client.status() == status
            assert await client.closed()

    conversation(
        talk, header_timeout_seconds=SHORT, body_timeout_seconds=SHORT, keep_alive_seconds=SHORT
    )


def test_a_trickle_is_cut_off() -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        client.send(head(90_000))
        sending = asyncio.create_task(trickle(client, b" " * 90_000, 0.005))
        assert await client.status() == 408
        sending.cancel()

    conversation(talk, body_timeout_seconds=SHORT)


def test_a_body_that_comes_fast_enough_may_take_long() -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        client.send(head(20_000))
        for _ in range(20):
            client.send(b" " * 1000)
            await asyncio.sleep(SHORT / 5)
        assert await client.status() == 200

    conversation(talk, body_timeout_seconds=SHORT)


def test_a_request_that_the_model_answers_slowly_is_not_cut_off() -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        connect.workers.paused = True
        client.send(HEAD + b"[]")
        await asyncio.sleep(4 * SHORT)
        connect.workers.go_on()
        assert await client.status() == 200

    conversation(
        talk, header_timeout_seconds=SHORT, body_timeout_seconds=SHORT, keep_alive_seconds=SHORT
    )


def test_a_client_that_does_not_read_its_answer_is_cut_off() -> None:
    size = 30_000_000

    async def talk(connect: Connect) -> None:
        client = await connect()
        client.pause_reading()
        client.send(head(size) + b" " * size)
        await until(lambda: connect.workers.asked)
        await until(lambda: not connect.protocols)

    conversation(talk, body_timeout_seconds=SHORT)


# ---- connections ----


def test_an_idle_connection_makes_room_for_another_one() -> None:
    async def talk(connect: Connect) -> None:
        clients = [await connect() for _ in range(4)]
        for client in clients:
            client.send(HEAD + b"[]")
            assert await client.status() == 200
        late = await connect()
        late.send(HEAD + b"{}")
        assert (await late.answer())[1] == b"{}"
        assert await clients[0].closed()
        for client in clients[1:]:
            client.send(HEAD + b"[]")
            assert await client.status() == 200

    conversation(talk, max_connections=4)


def test_a_connection_too_many_is_answered_but_not_with_a_prediction() -> None:
    async def talk(connect: Connect) -> None:
        connect.workers.paused = True
        clients = [await connect() for _ in range(4)]
        for client in clients:
            client.send(HEAD + b"[]")
        await until(lambda: connect.workers.asked == 4)
        late, probe = await connect(), await connect()
        late.send(HEAD + b"{}")
        answer, body = await late.answer()
        assert answer.split()[1] == b"503" and b"max_connections" in body
        probe.send(GET)
        answer, body = await probe.answer()
        assert body == b"up" and b"connection: close" in answer
        for client in (late, probe):
            assert await client.closed()
        connect.workers.go_on()
        for client in clients:
            assert await client.status() == 200

    conversation(talk, max_connections=4)


def test_of_far_too_many_connections_the_newest_are_heard() -> None:
    most = 4 + connections.SURPLUS + 1

    async def talk(connect: Connect) -> None:
        connect.workers.paused = True
        busy = [await connect() for _ in range(4)]
        for client in busy:
            client.send(HEAD + b"[]")
        await until(lambda: connect.workers.asked == 4)
        silent = [await connect() for _ in range(4 * connections.SURPLUS)]
        probe = await connect()
        probe.send(GET)
        assert await probe.status() == 200
        assert len(connect.protocols) <= most
        for client in silent[: -connections.SURPLUS]:
            assert await client.closed()
        connect.workers.go_on()
        for client in busy:
            assert await client.status() == 200

    conversation(talk, max_connections=4)


def test_connections_leave_files_for_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from common.config import Serving

    monkeypatch.setattr(connections, "open_files", lambda: 300)
    assert connections.Connections(Serving()).limit == 300 - connections.RESERVE
    assert connections.Connections(Serving(max_connections=7)).limit == 7
