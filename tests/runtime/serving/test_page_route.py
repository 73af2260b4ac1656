"""`/`: a page for browsers, JSON for probes and clients; and which of them asks."""

import asyncio
import re
from typing import Any

import pytest

from common.serving.applications.page import FILE, prefers_html, with_page
from support.servers.conversations import Client, Connect, conversation

BROWSER = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
ALIVE = b"up"  # as the application behind the page answers


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ([BROWSER.decode()], True),
        (["text/html"], True),
        (["TEXT/HTML; charset=utf-8"], True),
        (["application/json", "text/html"], True),  # alike: a browser
        ([], False),
        ([""], False),
        (["*/*"], False),  # curl, and Kubernetes' probes
        (["text/*"], False),
        (["application/json"], False),
        (["application/json, text/html;q=0.5"], False),
        (["text/html;q=0"], False),
        (["text/html; q = 0.2, */*"], True),
        (["text/html;q=nonsense"], True),
        (["xtext/html, text/htmlx"], False),
        ([",;,;;q=1"], False),
    ],
)
def test_who_asks_for_html(accepted: list[str], expected: bool) -> None:
    assert prefers_html(accepted) is expected


async def answered(client: Client, path: bytes, accept: bytes) -> tuple[str, bytes]:
    """The head and the body of an answer."""
    client.send(b"GET %b HTTP/1.1\r\naccept: %b\r\n\r\n" % (path, accept))
    head, body = await client.answer()
    return head.decode().lower(), body


def test_a_browser_gets_the_page_and_a_probe_the_answer() -> None:
    async def talk(connect: Connect) -> None:
        client = await connect()
        head, body = await answered(client, b"/", BROWSER)
        assert "content-type: text/html; charset=utf-8" in head and "vary: accept" in head
        assert body == FILE.read_bytes() and "x-request-id" in head
        for accept in (b"*/*", b"application/json"):
            assert (await answered(client, b"/", accept))[1] == ALIVE
        assert (await answered(client, b"/v2", BROWSER))[1] == ALIVE
        assert connect.workers.asked == 0

    conversation(talk)


def test_the_page_is_off() -> None:
    async def talk(connect: Connect) -> None:
        assert (await answered(await connect(), b"/", BROWSER))[1] == ALIVE

    conversation(talk, page=False)


def test_what_is_no_request_passes() -> None:
    """Ray Serve starts and ends the lifespan of an application."""
    passed = []

    async def behind(scope: Any, *_: Any) -> None:
        passed.append(scope["type"])

    asyncio.run(with_page(behind)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert passed == ["lifespan"]


def test_the_page_asks_nobody_else() -> None:
    text = FILE.read_text()
    assert not re.search(r"https?://|(?:src|href)=\"//|@import|url\(", text)
    assert "innerHTML" not in text and "eval(" not in text
