"""Prints what connection.py and server.py rely on and uvicorn does not have, one name a line.

Needs a server's environment.
"""

import ast
import inspect
from collections.abc import Iterator
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl
from uvicorn.server import ServerState

# Class: the attributes that we use.
USED = {
    "HttpToolsProtocol": {
        "app",
        "cycle",
        "expect_100_continue",
        "flow",
        "headers",
        "loop",
        "on_header",
        "on_url",
        "parser",
        "pipeline",
        "server_state",
        "timeout_keep_alive",
        "timeout_keep_alive_task",
        "_unset_keepalive_if_required",
        "transport",
        "url",
    },
    "RequestResponseCycle": {"disconnected", "keep_alive", "message_event", "response_complete"},
    "FlowControl": {"resume_reading", "write_paused"},
    "ServerState": {"default_headers", "total_requests"},
    "Server": {"force_exit", "serve", "should_exit", "shutdown"},
    "HttpRequestParser": {
        "get_http_version",
        "get_method",
        "should_keep_alive",
        "feed_data",
        "set_dangerous_leniencies",
        "should_upgrade",
    },
}
# Method that we override: its parameters.
PARAMETERS = {
    "HttpToolsProtocol.connection_lost": ["self", "exc"],
    "HttpToolsProtocol.connection_made": ["self", "transport"],
    "HttpToolsProtocol.data_received": ["self", "data"],
    "HttpToolsProtocol.on_body": ["self", "body"],
    "HttpToolsProtocol.on_headers_complete": ["self"],
    "HttpToolsProtocol.on_message_begin": ["self"],
    "HttpToolsProtocol.on_message_complete": ["self"],
    "HttpToolsProtocol.on_response_complete": ["self"],
    "HttpToolsProtocol.send_400_response": ["self", "msg"],
    "Server.handle_exit": ["self", "sig", "frame"],
    "Server.shutdown": ["self", "sockets"],
}
# Method that ours do the work of for a plain request: all that it uses of its object.
IMITATED = {
    "data_received": {
        "_should_upgrade",
        "_unset_keepalive_if_required",
        "_unsupported_upgrade_warning",
        "handle_websocket_upgrade",
        "logger",
        "parser",
        "send_400_response",
    },
    "on_message_begin": {
        "app_state",
        "asgi_version",
        "client",
        "expect_100_continue",
        "headers",
        "root_path",
        "scheme",
        "scope",
        "server",
        "url",
    },
    "on_response_complete": {
        "_start_asgi_task",
        "_unset_keepalive_if_required",
        "flow",
        "loop",
        "pipeline",
        "server_state",
        "timeout_keep_alive",
        "timeout_keep_alive_handler",
        "timeout_keep_alive_task",
        "transport",
    },
    "timeout_keep_alive_handler": {"transport"},
}
# What the protocol uses of a cycle. `body` and `more_body` only where ours does not call it.
OF_A_CYCLE = {
    "body",
    "disconnected",
    "keep_alive",
    "message_event",
    "more_body",
    "response_complete",
}
CLASSES = {
    "HttpToolsProtocol": httptools_impl.HttpToolsProtocol,
    "RequestResponseCycle": httptools_impl.RequestResponseCycle,
    "FlowControl": flow_control.FlowControl,
    "ServerState": ServerState,
    "Server": uvicorn.Server,
    "HttpRequestParser": httptools.HttpRequestParser,
}


def tree(code: Any) -> ast.AST:
    return ast.parse(inspect.cleandoc("\n" + inspect.getsource(code)))


def attributes(node: ast.AST, *owners: str) -> set[str]:
    """The attributes that code uses of the named objects, as in `self` or `self.cycle`."""
    return {
        found.attr
        for found in ast.walk(node)
        if isinstance(found, ast.Attribute) and ast.unparse(found.value) in owners
    }


def known(kind: Any) -> set[str]:
    """The attributes that a class has, and those that its methods give to its instances."""
    names = {name for base in kind.__mro__ for name in vars(base)}
    names |= set(getattr(kind, "__annotations__", {}))
    if kind.__module__.startswith("httptools."):  # compiled: it has no source
        return names
    nodes = ast.walk(tree(kind))
    stored = (node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store))
    return names | {ast.unparse(node).removeprefix("self.") for node in stored}


def differences(what: str, expected: set[str], found: set[str]) -> Iterator[str]:
    for name in sorted(expected - found):
        yield f"{what} no longer has or uses {name}"
    for name in sorted(found - expected):
        yield f"{what} also uses {name}"


def changes() -> Iterator[str]:
    """What differs from what our code was written for."""
    for name, expected in USED.items():
        yield from differences(name, expected, known(CLASSES[name]) & expected)
    for path, expected in PARAMETERS.items():
        kind, method = path.split(".")
        function = getattr(CLASSES[kind], method, None)
        found = list(inspect.signature(function).parameters) if function else "missing"
        if found != expected:
            yield f"{path} is {found}, not {expected}"
    protocol = httptools_impl.HttpToolsProtocol
    for method, expected in IMITATED.items():
        found = attributes(tree(getattr(protocol, method)), "self")
        yield from differences(f"HttpToolsProtocol.{method}", expected, found)
    found = attributes(tree(protocol), "self.cycle", "existing_cycle")
    yield from differences("HttpToolsProtocol, of self.cycle,", OF_A_CYCLE, found)
    line = getattr(httptools_impl, "STATUS_LINE", {}).get(200)
    if line != b"HTTP/1.1 200 OK\r\n":
        yield f"STATUS_LINE[200] is {line!r}"


if __name__ == "__main__":
    print(*changes(), sep="\n", end="")
