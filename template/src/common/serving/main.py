"""Starts the server: reads the configuration, binds the port, starts the workers, serves."""

import logging
import os
import signal
import socket
import sys

from .. import logs
from ..config import SOURCE, Config, config_path
from ..errors import ConfigError, LoadError
from ..link import launch
from ..link.child import Child

logger = logging.getLogger(__name__)


def main() -> int:
    """Serve the scaffold whose `src/` holds this package.

    Returns:
        The exit status of the process.
    """
    logs.configure()
    # Until the server handles signals itself, SIGTERM interrupts the start like SIGINT. Linux
    # ignores signals to a container's first process that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    os.chdir(SOURCE)
    workers: list[Child] = []
    try:
        config = Config.read(config_path())
        address = os.environ.get("LISTEN_ADDRESS", "")
        listener = _listener(address, config.serving.http_port, "PORT")
        if config.serving.grpc_port:  # gRPC would share a port that is in use, silently
            _listener("", config.serving.grpc_port, "GRPC_PORT").close()
        for _ in range(config.serving.workers):
            workers.append(launch.start(config))
        # After the workers' start: they import the framework while this process imports KServe.
        import uvloop

        from .server import serve

        uvloop.run(serve(config, listener, workers))
    except (ConfigError, LoadError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        for worker in workers:  # one that is loading does not see that the server ended
            worker.kill()
    return 0


def _listener(address: str, port: int, setting: str) -> socket.socket:
    """A socket that is bound to the port, and does not listen yet.

    Args:
        address: of this machine; all of them, of IPv4 and of IPv6, if it is empty.
        port: the port.
        setting: the variable that sets the port.

    Raises:
        ConfigError: the port is in use, or not allowed, or the address is not this machine's.
    """
    listener = _socket(address)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        where, settings = "", setting
        if address:
            where, settings = f" on {address}", f"{setting} or LISTEN_ADDRESS"
        raise ConfigError(
            f"port {port} cannot be taken{where}: {error.strerror}; "
            f"set {settings} in the environment, or the port in config.yaml"
        ) from error
    return listener


def _socket(address: str) -> socket.socket:
    """A socket for an address; for both versions of IP where that is empty and IPv6 is there."""
    if ":" in address or (not address and socket.has_dualstack_ipv6()):
        made = socket.socket(socket.AF_INET6)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(address))
    else:
        made = socket.socket(socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made
