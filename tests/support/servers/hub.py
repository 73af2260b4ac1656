"""A server of repositories that answers as Hugging Face's hub does, for its own client.

Source: https://huggingface.co/docs/hub/api
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40


@contextlib.contextmanager
def hub(repositories: dict[str, Path]) -> Iterator[str]:
    """The address of a hub with these repositories: `owner/name` to the directory of its files."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self) -> None:
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            is_api = parts[:2] == ["api", "models"]
            owner, name, *rest = parts[2:] if is_api else parts
            place = repositories.get(f"{owner}/{name}")
            if place is None:
                self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            elif not is_api:
                self._send_file(place / "/".join(rest[2:]))
            elif rest[:1] == ["tree"]:
                self._send(200, json.dumps([_entry(place, file) for file in _files(place)]))
            else:
                self._send(200, json.dumps(_information(f"{owner}/{name}", place)))

        def _send_file(self, file: Path) -> None:
            if not file.is_file():
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            content = file.read_bytes()
            self._send(200, content, {"ETag": f'"{_identity(content)}"', "X-Repo-Commit": COMMIT})

        def _send(self, status: int, body: bytes | str, fields: Mapping[str, str] = {}) -> None:
            content = body.encode() if isinstance(body, str) else body
            self.send_response(status)
            for field, value in {**fields, "Content-Length": str(len(content))}.items():
                self.send_header(field, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _files(place: Path) -> list[Path]:
    return sorted(file for file in place.rglob("*") if file.is_file())


def _information(name: str, place: Path) -> dict[str, Any]:
    siblings = [{"rfilename": str(file.relative_to(place))} for file in _files(place)]
    return {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": []}


def _entry(place: Path, file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    return {
        "type": "file",
        "oid": _identity(content),
        "size": len(content),
        "path": str(file.relative_to(place)),
    }


def _identity(content: bytes) -> str:
    """The name that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
