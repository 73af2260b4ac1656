"""The model's page: what `/` answers where HTML is asked for. Probes and clients get JSON there.

`page.html` is all of it. It reads `openapi.json`, and asks `:predict` and `/invocations`.

Sources: https://www.rfc-editor.org/rfc/rfc9110#name-accept, https://www.w3.org/TR/CSP3/
"""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

HTML, JSON = "text/html", "application/json"
FILE = Path(__file__).with_name("page.html")


def with_page(application: Application) -> Application:
    """An application that answers `/` with the page where HTML is asked for."""
    body = FILE.read_bytes()
    fields = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"content-security-policy", _policy(body.decode()).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-cache"),
        (b"vary", b"accept"),
    ]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if not _asks_for_it(scope):
            return await application(scope, receive, send)
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})
        return None

    return answer


def _asks_for_it(scope: Scope) -> bool:
    if scope["type"] != "http" or (scope["method"], scope["path"]) != ("GET", "/"):
        return False
    accepted = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"]
    return prefers_html(accepted)


def prefers_html(accepted: Iterable[str]) -> bool:
    """Whether `Accept` fields name HTML, and do not want JSON more. `*/*` names nothing."""
    wanted = {HTML: 0.0, JSON: 0.0}
    for item in ",".join(accepted).lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        if media_type in wanted:
            wanted[media_type] = max(wanted[media_type], _quality(parameters))
    return 0 < wanted[HTML] >= wanted[JSON]


def _quality(parameters: Iterable[str]) -> float:
    """The weight of a media type, from 0 to 1."""
    for parameter in parameters:
        if found := re.fullmatch(r"q\s*=\s*([01](?:\.[0-9]{0,3})?)", parameter):
            return float(found[1])
    return 1.0


def _policy(page: str) -> str:
    """The page may run its own script alone, and ask only the server that it came from."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hashes(page, 'script')}",
            f"style-src {_hashes(page, 'style')}",
            "img-src data: blob:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hashes(page: str, tag: str) -> str:
    """The hashes of a page's scripts or styles, as a policy names them."""
    texts = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
