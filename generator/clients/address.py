"""A server's address, and why a request that was sent there has no answer."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from ..errors import ServingError, SettingError

PRINTABLE = re.compile(r"[\x20-\x7e\t]*")


class Address:
    """Where a server is.

    Args:
        url: the server's.
        headers: are sent with each request.
        timeout: seconds to wait for a connection, or for more of an answer; None for any.

    Attributes:
        url: the server's, without a slash at its end.
        shown: the same without a user's name and password.

    Raises:
        SettingError: an argument has a value that its rule forbids.
        ServingError: httpx is not installed.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None, timeout: float | None) -> None:
        self.url = url.rstrip("/")
        self.shown = without_password(self.url)
        self.headers = dict(headers or {})
        self.timeout = timeout
        self.httpx = _httpx()
        self._check()

    def __str__(self) -> str:
        return self.shown

    @property
    def settings(self) -> dict[str, Any]:
        """What httpx's clients are made with."""
        return {"base_url": self.url, "headers": self.headers, "timeout": self.timeout}

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Raise what kept a request from being answered as a ServingError."""
        try:
            yield
        except self.httpx.TimeoutException as error:
            raise ServingError(
                f"the server at {self} did not answer within {self.timeout:g} seconds: pass a"
                " larger timeout if it needs longer"
            ) from error
        except self.httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise ServingError(f"the server at {self} did not answer: {said}") from error

    def _check(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise SettingError(f"url {self.shown!r}: write one such as 'http://localhost:8080'")
        if "?" in self.url or "#" in self.url:
            shown = re.split("[?#]", self.shown)[0]
            raise SettingError(f"url {shown!r}: leave out ? and what follows; pass keys in headers")
        if self.timeout is not None and not self.timeout > 0:
            raise SettingError(f"timeout {self.timeout}: write more than 0, or None for no limit")
        for name, value in self.headers.items():
            if not isinstance(value, str) or not PRINTABLE.fullmatch(value):
                raise SettingError(
                    f"headers[{name!r}]: the value must be printable ASCII on one line"
                )
        for url, shown in ((self.shown, self.shown), (self.url, None)):
            try:
                self.httpx.URL(url)
            except self.httpx.InvalidURL as error:
                reason = error if shown else "percent-encode the user's name and password"
                raise SettingError(f"url {self.shown!r}: {reason}") from None


def without_password(url: str) -> str:
    """A URL without a user's name and password; these may hold @ and slashes."""
    return re.sub("//.*@", "//", url)


def _httpx() -> ModuleType:
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise ServingError("a client needs httpx: run `pip install httpx`") from error
    return httpx
