"""Ports: no two servers get the same one, loaded or not, and a restart gets its own again."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from common.errors import ConfigError
from common.serving.listener import Port
from support.servers.running import free_port

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning")


@pytest.fixture
def number() -> int:
    return free_port()


@contextlib.contextmanager
def taken(number: int, address: str = "127.0.0.1") -> Iterator[Port]:
    with contextlib.closing(Port(address, number, "PORT")) as port:
        yield port


def refused(number: int, address: str = "127.0.0.1") -> None:
    with pytest.raises(ConfigError, match=f"port {number} cannot be taken"), taken(number, address):
        pass


def leave_a_connection(port: Port) -> None:
    """Close a connection as a server does, which the kernel remembers for a minute."""
    listening = port.listen()
    with socket.create_connection(listening.getsockname()) as client:
        accepted, _ = listening.accept()
        accepted.close()
        assert client.recv(1) == b""


@pytest.mark.parametrize("other", ["127.0.0.1", ""])
def test_a_port_that_is_taken_is_refused_before_it_listens_and_after(
    number: int, other: str
) -> None:
    with taken(number) as port:
        refused(number, other)
        port.listen()
        refused(number, other)
    with taken(number, other):
        refused(number)


def test_another_address_is_another_port(number: int) -> None:
    with taken(number), taken(number, "127.0.0.2"):
        refused(number, "127.0.0.2")


def test_a_restarted_server_gets_its_port_and_nobody_else_does(number: int) -> None:
    with taken(number) as port:
        leave_a_connection(port)
    with pytest.raises(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", number))  # this is why an address is reused
    for _ in range(2):
        with taken(number) as port:
            refused(number)
            leave_a_connection(port)
            refused(number)


def test_a_port_that_another_program_opens_meanwhile_is_an_error(number: int) -> None:
    with taken(number) as port:
        leave_a_connection(port)
    with taken(number) as port, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", number))
        other.listen()
        with pytest.raises(ConfigError, match=f"port {number} cannot be taken"):
            port.listen()
