"""The header fields of a request that needs no server."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..arguments import argument
from ..common import FIELD_NAME, FIELD_VALUE
from ..errors import SettingError


def header_fields(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Header fields as a worker reads them: with names in lower case.

    Raises:
        SettingError: no request can have one of them.
    """
    if not isinstance(headers, Mapping):
        raise SettingError(
            f"{argument('headers')} must be a dict of strings, as in {{'X-Tenant': 'a'}}, it is a"
            f" {type(headers).__name__}"
        )
    return [_field(name, value) for name, value in headers.items()]


def parsed_fields(lines: Sequence[str]) -> dict[str, str]:
    """Header fields of lines such as `X-Tenant: a`. Those of one name are joined, as in a request.

    Raises:
        SettingError: a line has another form.
    """
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise SettingError(f"{argument('headers')} {line!r} must be like 'X-Tenant: a'")
        found[name] = ", ".join(filter(None, (found.get(name), value.strip())))
    return found


def _field(name: Any, value: Any) -> tuple[bytes, bytes]:
    if not isinstance(name, str) or not FIELD_NAME.fullmatch(name):
        raise SettingError(f"{argument('headers')}: {name!r} is no name of a header field")
    if not isinstance(value, str) or not FIELD_VALUE.fullmatch(value):
        raise SettingError(
            f"{argument('headers')}: {name} must be a string of Latin-1 characters on one line, it"
            f" is {value!r}"
        )
    return name.lower().encode(), value.strip().encode("latin-1")
