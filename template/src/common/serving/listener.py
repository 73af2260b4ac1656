"""The ports of the server: taken before anything is loaded, opened when the model can answer."""

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator

from ..config import Config
from ..errors import ConfigError

BACKLOG = 2048
SO_BINDTOIFINDEX = 62
NO_INTERFACE = 2**31 - 1


class Port:
    """A port that no other server can take. It does not listen yet.

    Args:
        address: of this machine; all of them, of IPv4 and of IPv6, if it is empty.
        port: the port.
        setting: the variable that sets the port.

    Attributes:
        socket: the socket that is bound to it.

    Raises:
        ConfigError: the port is in use, or not allowed, or the address is not this machine's.
    """

    def __init__(self, address: str, port: int, setting: str) -> None:
        self._address, self._port, self._setting = address, port, setting
        self._lock: socket.socket | None = None
        try:
            self.socket = self._taken()
        except OSError as error:
            raise self._refused(error) from error

    def listen(self) -> socket.socket:
        """Open the port.

        Raises:
            ConfigError: another program listens there by now.
        """
        try:
            # Connections that were served must not keep the next server from the port.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.listen(BACKLOG)
        except OSError as error:
            raise self._refused(error) from error
        return self.socket

    def refuse(self) -> bool:
        """Refuse new connections, but keep those that the kernel has accepted for us.

        Closing the socket would reset those. On Linux it is bound to an interface that there is
        not: no later connection finds it. Since Linux 5.7 any user may do that.

        Returns:
            Whether that was possible.
        """
        if sys.platform != "linux":
            return False
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, NO_INTERFACE)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give the port back."""
        self.socket.close()
        if self._lock is not None:
            self._lock.close()

    def _taken(self) -> socket.socket:
        """A socket bound to the port, to which then no other can be bound.

        With SO_REUSEADDR Linux binds any number of sockets to a port until one of them listens. So
        it is not set, unless connections of an earlier server are left, which would be in the way.
        """
        try:
            return self._bound(reuse=False)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        bound = self._bound(reuse=True)
        try:
            self._lock = self._locked()
        except OSError:
            bound.close()
            raise
        return bound

    def _bound(self, reuse: bool) -> socket.socket:
        made = _socket(self._address)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            made.bind((self._address, self._port))
        except OSError:
            made.close()
            raise
        return made

    def _locked(self) -> socket.socket | None:
        """A socket with a name that only one can have at a time, on Linux; others need none."""
        if sys.platform != "linux":
            return None
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0scaffold server at {self._address}:{self._port}")
        except OSError:
            lock.close()
            raise
        return lock

    def _refused(self, error: OSError) -> ConfigError:
        where, settings = "", self._setting
        if self._address:
            where, settings = f" on {self._address}", f"{settings} or LISTEN_ADDRESS"
        return ConfigError(
            f"port {self._port} cannot be taken{where}: {error.strerror}; "
            f"set {settings} in the environment, or the port in config.yaml"
        )


@contextlib.contextmanager
def ports(config: Config, address: str) -> Iterator[tuple[Port, Port | None]]:
    """The ports for HTTP and for gRPC, if there is one, until the block ends.

    Raises:
        ConfigError: they are the same, or one of them cannot be taken.
    """
    http, grpc = config.serving.http_port, config.serving.grpc_port
    if http == grpc:
        raise ConfigError(
            f"{config.port_variable} and GRPC_PORT are both {http}: set one to another port in the"
            " environment or in config.yaml, or GRPC_PORT to 0, which turns gRPC off"
        )
    with contextlib.ExitStack() as taken:
        first = taken.enter_context(contextlib.closing(Port(address, http, config.port_variable)))
        second = None
        if grpc:  # gRPC would share a port that is in use, silently
            second = taken.enter_context(contextlib.closing(Port("", grpc, "GRPC_PORT")))
        yield first, second


def _socket(address: str) -> socket.socket:
    """A socket for an address; for both versions of IP where that is empty and IPv6 is there."""
    if ":" in address or (not address and socket.has_dualstack_ipv6()):
        made = socket.socket(socket.AF_INET6)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(address))
        return made
    return socket.socket(socket.AF_INET)
